//! A heap whose nursery is being emptied, as weak references see it.
//!
//! A scavenge looks only at references to young objects, and treats old objects as alive. One that traces old objects
//! looks at all of them.

use super::Scavenge;
use crate::trace::forwarding::{OFFSET, forwarded};
use crate::{HeapCore, WeakTracer};
use gc_types::VMGcRef;

impl<const SHIFT: u32> WeakTracer for Scavenge<'_, SHIFT> {
    fn core(&self) -> &HeapCore {
        self.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        let (old, index) = (&self.space.old.region, object.as_raw_u32());
        if !self.space.nursery.is_young(index) {
            let lives = !self.scavenger.is_tracing() || old.is_marked(index);
            return lives.then(|| object.unchecked_copy());
        }
        let survivors = &self.space.nursery.survivors;
        if survivors.to.contains(index) {
            // Its present place.
            return old.is_start(index).then(|| object.unchecked_copy());
        }
        let target = forwarded(self.core.memory.read_u32(u64::from(index) + OFFSET)?)?;
        let is_elsewhere = target >= self.space.nursery.end() || survivors.to.contains(target);
        let moved = target == index || is_elsewhere && old.is_start(target);
        VMGcRef::from_heap_index(target).filter(|_| moved)
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        let index = object.as_raw_u32();
        if self.space.nursery.is_young(index) {
            let new = self.forward(index).and_then(VMGcRef::from_heap_index);
            return new.unwrap_or_else(|| object.unchecked_copy());
        }
        if self.scavenger.is_tracing() {
            self.trace(index);
        }
        object.unchecked_copy()
    }

    fn is_young(&self, object: &VMGcRef) -> bool {
        self.space.nursery.is_young(object.as_raw_u32())
    }
}
