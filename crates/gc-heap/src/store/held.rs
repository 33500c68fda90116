//! [`StoreHeap`]: the heap of a store, once there is one, and the store's side, which the heap has then.

use super::side::StoreSide;
use crate::{GcHeap, HeapError};
use gc_types::VMGcRef;

/// The heap of a store, if it has been made.
pub(super) struct StoreHeap {
    heap: Option<Box<dyn GcHeap>>,
    /// The store's side while there is no heap. Then the heap has it, and this is the side of a heap without a store.
    side: StoreSide,
    /// Whether the heap was borrowed mutably, or compiled code may use it. Then it may have objects.
    used: bool,
}

impl StoreHeap {
    /// The heap of a store that has none yet.
    #[inline(always)]
    pub(super) fn none(side: StoreSide) -> StoreHeap {
        StoreHeap { heap: None, side, used: false }
    }

    /// Gives the store its heap, which nobody has used.
    pub(super) fn put(&mut self, mut heap: Box<dyn GcHeap>) {
        std::mem::swap(&mut heap.core_mut().side, &mut self.side);
        self.heap = Some(heap);
    }

    /// Takes the heap out, without the store's side.
    pub(super) fn take(&mut self) -> Option<Box<dyn GcHeap>> {
        let mut heap = self.heap.take()?;
        std::mem::swap(&mut heap.core_mut().side, &mut self.side);
        Some(heap)
    }

    /// The store's side.
    #[inline(always)]
    pub(super) fn side(&self) -> &StoreSide {
        match &self.heap {
            Some(heap) => &heap.core().side,
            None => &self.side,
        }
    }

    /// The store's side, mutable. This is no use of the heap.
    #[inline(always)]
    pub(super) fn side_mut(&mut self) -> &mut StoreSide {
        match &mut self.heap {
            Some(heap) => &mut heap.core_mut().side,
            None => &mut self.side,
        }
    }

    /// The heap, if there is one.
    #[inline(always)]
    pub(super) fn get(&self) -> Option<&(dyn GcHeap + 'static)> {
        self.heap.as_deref()
    }

    /// The heap, mutable, if there is one.
    #[inline(always)]
    pub(super) fn get_mut(&mut self) -> Option<&mut (dyn GcHeap + 'static)> {
        self.used |= self.heap.is_some();
        self.heap.as_deref_mut()
    }

    /// The heap, for changes that leave its memory and its collector's tables as they are.
    pub(super) fn aside(&mut self) -> Option<&mut (dyn GcHeap + 'static)> {
        self.heap.as_deref_mut()
    }

    /// The heap of `object`.
    ///
    /// # Errors
    /// If there is no heap. Then there is no object either.
    #[inline(always)]
    pub(super) fn of(&self, object: &VMGcRef) -> Result<&(dyn GcHeap + 'static), HeapError> {
        self.get().ok_or_else(|| no_object(object))
    }

    /// The heap of `object`, mutable.
    ///
    /// # Errors
    /// As [`of`](StoreHeap::of).
    #[inline(always)]
    pub(super) fn of_mut(
        &mut self,
        object: &VMGcRef,
    ) -> Result<&mut (dyn GcHeap + 'static), HeapError> {
        self.get_mut().ok_or_else(|| no_object(object))
    }

    /// The heap, where there must be one.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    pub(super) fn made(&self) -> &(dyn GcHeap + 'static) {
        self.get().expect("the heap was made")
    }

    /// The heap, mutable, where there must be one.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    pub(super) fn made_mut(&mut self) -> &mut (dyn GcHeap + 'static) {
        self.get_mut().expect("the heap was made")
    }

    /// Notes that compiled code may use the heap, this one or the one that is made next.
    #[inline(always)]
    pub(super) fn note_use(&mut self) {
        self.used = true;
    }

    /// Whether it may have been used.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }
}

/// The error for a reference if there is no heap.
#[cold]
fn no_object(gc_ref: &VMGcRef) -> HeapError {
    let raw = gc_ref.as_raw_u32();
    if gc_ref.is_i31() { HeapError::NotAnObject { raw } } else { HeapError::outside(raw) }
}
