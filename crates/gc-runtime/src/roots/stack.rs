//! [`TraceRoots`]: the interface that finds the roots on the stack.

use super::GcRootsList;
use std::fmt;

/// Some roots could not be found. A collection must not happen, because it would free their
/// referents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteWalk {
    /// The reason why the search stopped, for the log.
    pub why: String,
}

impl fmt::Display for IncompleteWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not all GC roots could be found: {}", self.why)
    }
}

impl std::error::Error for IncompleteWalk {}

/// The frame of a stack slot. It is displayed as text.
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

/// Finds the roots on a mutator's stack. All other roots are [registered](GcRootsList) with its
/// store.
pub trait TraceRoots {
    /// Adds every root on the stack to `roots` ([`add_stack_root`](GcRootsList::add_stack_root)).
    /// The slots must not move as long as the collection borrows `self`.
    ///
    /// # Errors
    /// If a root could not be found. The roots added so far are then ignored.
    fn trace_stack(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk>;

    /// The frame of the slot at this address, if it is known. It is needed only for errors and for
    /// displays of a heap.
    fn frame_of(&self, slot: usize) -> Option<FrameSlot> {
        let _ = slot;
        None
    }
}

/// A stack without references, for embedders and tests that run no compiled code.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStack;

impl TraceRoots for NoStack {
    fn trace_stack(&mut self, _roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        Ok(())
    }
}
