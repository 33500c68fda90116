//! [`TraceRoots`]: the interface that finds the roots on the stack.

use super::GcRootsList;
use std::fmt;

/// Some roots could not be found. A collection must not happen, because it would free their
/// referents.
///
/// # Examples
/// ```
/// use gc_heap::toy::ToyCollector;
/// use gc_heap::{GcRootsList, GcStore, HeapOptions, IncompleteWalk, TraceRoots};
///
/// /// A stack that cannot be walked.
/// struct Unknown;
///
/// impl TraceRoots for Unknown {
///     fn trace_stack(&mut self, _: &mut GcRootsList) -> Result<(), IncompleteWalk> {
///         Err(IncompleteWalk { why: "a frame of unknown code".into() })
///     }
/// }
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// assert!(!store.gc(&mut Unknown)?, "the collection is skipped");
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
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
///
/// # Examples
/// ```
/// use gc_heap::FrameSlot;
///
/// let slot = FrameSlot { function: "cons".into(), offset: 16 };
/// assert_eq!(slot.to_string(), "stack slot +16 of cons");
/// ```
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
///
/// # Examples
/// A mutator with a shadow stack of its own:
///
/// ```
/// use gc_heap::toy::ToyCollector;
/// use gc_heap::{GcRootsList, GcStore, HeapOptions, IncompleteWalk, TraceRoots};
/// use gc_types::{GcLayout, StructLayout, TypeIndex};
/// use std::sync::Arc;
///
/// /// References, zero-extended. Zero is null.
/// struct Shadow(Vec<u64>);
///
/// impl TraceRoots for Shadow {
///     fn trace_stack(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
///         for slot in &mut self.0 {
///             // SAFETY: the collection borrows `self`, so nothing else accesses the slot.
///             unsafe { roots.add_stack_root(slot) };
///         }
///         Ok(())
///     }
/// }
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// let ty = TypeIndex::new(0).unwrap();
/// let layout = GcLayout::Struct(StructLayout::new([]).unwrap());
/// store.ensure_layout(ty, &Arc::new(layout))?;
/// let mut stack = Shadow(Vec::new());
/// let object = store.alloc_struct(&mut stack, ty)?;
/// stack.0.push(object.as_raw_u32().into());
/// assert!(store.gc(&mut stack)?);
/// assert_eq!(store.stats().live_objects, 1);
/// assert_ne!(stack.0, [object.as_raw_u32().into()], "the object has moved");
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
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

    /// Whether the host wants to do other things between the increments of a collection. Then
    /// [`between_increments`](TraceRoots::between_increments) is called.
    fn wants_increments(&self) -> bool {
        false
    }

    /// Does other things of the host, between two increments of a collection. The stack must be as it
    /// was when this returns, and the heap must not be used before.
    fn between_increments(&mut self) {}
}

/// A stack without references, for embedders and tests that run no compiled code.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStack;

impl TraceRoots for NoStack {
    fn trace_stack(&mut self, _roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        Ok(())
    }
}
