//! [`TraceRoots`]: what finds the roots on the stack.

use super::GcRootsList;
use std::fmt;

/// Some roots could not be found: a collection must not happen, since it would
/// free what they refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteWalk {
    /// What stopped the search, for the log.
    pub why: String,
}

impl fmt::Display for IncompleteWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not all GC roots could be found: {}", self.why)
    }
}

impl std::error::Error for IncompleteWalk {}

/// The frame a stack slot is in. Shows as words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameSlot {
    /// The name of the frame's function.
    pub function: String,
    /// The slot's offset from the frame's stack pointer, in bytes.
    pub offset: u32,
}

impl fmt::Display for FrameSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stack slot +{} of {}", self.offset, self.function)
    }
}

/// Finds the roots on a mutator's stack. All others are
/// [registered](GcRootsList) with its store.
pub trait TraceRoots {
    /// Adds every root on the stack to `roots`
    /// ([`add_stack_root`](GcRootsList::add_stack_root)). The slots stay where they are for
    /// as long as `self` is borrowed by the collection.
    ///
    /// # Errors
    /// If any root could not be found. What was added is then ignored.
    fn trace_stack(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk>;

    /// The frame that the slot at this address is in, if it can be told. Asked for only
    /// when something is wrong, or by whoever shows a heap.
    fn frame_of(&self, slot: usize) -> Option<FrameSlot> {
        let _ = slot;
        None
    }
}

/// A stack without references; for embedders (and tests) that run no compiled code.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStack;

impl TraceRoots for NoStack {
    fn trace_stack(&mut self, _roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        Ok(())
    }
}
