//! The heap as weak references see it: while the nursery is emptied, and while the old generation
//! is marked.
//!
//! A minor collection looks only at references to young objects, and treats old objects as alive. A
//! trace and a major collection look at all of them. A major collection that marks between
//! collections treats young objects as alive, as it does everywhere.

use super::GenerationalHeap;
use crate::trace::forwarding::{OFFSET, forwarded};
use crate::{HeapCore, WeakTracer};
use gc_types::VMGcRef;

/// A heap whose nursery is being emptied.
pub(super) struct Scavenging<'h>(pub(super) &'h mut GenerationalHeap);

/// A heap whose old generation is being marked.
pub(super) struct Marking<'h>(pub(super) &'h mut GenerationalHeap);

impl WeakTracer for Scavenging<'_> {
    fn core(&self) -> &HeapCore {
        &self.0.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        let (heap, index) = (&*self.0, object.as_raw_u32());
        if !heap.is_young(index) {
            let lives = !heap.scavenger.trace.is_active || heap.old.is_marked(index);
            return lives.then(|| object.unchecked_copy());
        }
        let target = forwarded(heap.core.memory.read_u32(u64::from(index) + OFFSET)?)?;
        let moved = target == index || heap.old.is_start(target);
        VMGcRef::from_heap_index(target).filter(|_| moved)
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        let index = object.as_raw_u32();
        if self.0.is_young(index) {
            let new = self.0.forward(index).and_then(VMGcRef::from_heap_index);
            return new.unwrap_or_else(|| object.unchecked_copy());
        }
        if self.0.scavenger.trace.is_active {
            self.0.trace(index);
        }
        object.unchecked_copy()
    }

    fn is_young(&self, object: &VMGcRef) -> bool {
        self.0.is_young(object.as_raw_u32())
    }
}

impl WeakTracer for Marking<'_> {
    fn core(&self) -> &HeapCore {
        &self.0.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        let (heap, index) = (&*self.0, object.as_raw_u32());
        let young = heap.is_young(index) && !heap.major.young;
        (young || heap.old.is_marked(index)).then(|| object.unchecked_copy())
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        self.0.mark(object.as_raw_u32());
        object.unchecked_copy()
    }

    fn is_young(&self, object: &VMGcRef) -> bool {
        self.0.is_young(object.as_raw_u32())
    }
}
