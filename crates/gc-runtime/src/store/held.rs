//! [`StoreHeap`]: the heap of a store, and whether anybody has used it.

use crate::GcHeap;
use std::ops::{Deref, DerefMut};

/// A heap that notes whether it was borrowed mutably, after which it may have objects.
pub(super) struct StoreHeap {
    /// `None` only when the store is being dropped.
    heap: Option<Box<dyn GcHeap>>,
    used: bool,
}

impl StoreHeap {
    /// A heap that nobody has used.
    pub(super) fn new(heap: Box<dyn GcHeap>) -> StoreHeap {
        StoreHeap { heap: Some(heap), used: false }
    }

    /// The heap, for changes that leave its memory and its collector's tables as they are.
    pub(super) fn aside(&mut self) -> &mut (dyn GcHeap + 'static) {
        &mut **self.heap.as_mut().expect("a store has a heap")
    }

    /// Notes that compiled code may use the heap.
    #[inline(always)]
    pub(super) fn note_use(&mut self) {
        self.used = true;
    }

    /// Whether it may have been used.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Takes the heap out. This must not be used after that.
    pub(super) fn take(&mut self) -> Option<Box<dyn GcHeap>> {
        self.heap.take()
    }
}

impl Deref for StoreHeap {
    type Target = dyn GcHeap;

    #[inline(always)]
    fn deref(&self) -> &(dyn GcHeap + 'static) {
        &**self.heap.as_ref().expect("a store has a heap")
    }
}

impl DerefMut for StoreHeap {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut (dyn GcHeap + 'static) {
        self.used = true;
        self.aside()
    }
}
