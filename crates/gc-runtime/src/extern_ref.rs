//! Host values behind externrefs. The heap holds only an id; the value itself is
//! in an [`ExternRefHostDataTable`], out of a guest's reach. Ids read from a heap
//! are untrusted: looking one up may find nothing or another value, and a value
//! is taken out at most once, however many dead objects name it.

use gc_types::VMGcRef;
use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;

/// Names a host value in an [`ExternRefHostDataTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExternRefHostDataId(NonZeroU32);

impl ExternRefHostDataId {
    /// The id that stands in the heap as `raw`; zero is none.
    pub const fn from_raw(raw: u32) -> Option<ExternRefHostDataId> {
        match NonZeroU32::new(raw) {
            Some(raw) => Some(ExternRefHostDataId(raw)),
            None => None,
        }
    }

    /// The word that stands in the heap.
    pub const fn as_raw(self) -> u32 {
        self.0.get()
    }

    fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Any host value an externref can hold.
pub type HostValue = Box<dyn Any + Send + Sync>;

enum Slot {
    Taken(HostValue),
    /// The next free slot.
    Free(Option<u32>),
}

/// The host values of one store's externrefs, by id.
#[derive(Default)]
pub struct ExternRefHostDataTable {
    slots: Vec<Slot>,
    first_free: Option<u32>,
    len: u32,
}

impl ExternRefHostDataTable {
    /// Keeps `value` and names it.
    ///
    /// # Errors
    /// Gives the value back if there are 2^32 - 1 already.
    pub fn alloc(&mut self, value: HostValue) -> Result<ExternRefHostDataId, HostValue> {
        let slot = match self.first_free {
            Some(slot) => {
                let taken = &mut self.slots[slot as usize];
                if let Slot::Free(next) = *taken {
                    self.first_free = next;
                }
                *taken = Slot::Taken(value);
                slot
            }
            None => match u32::try_from(self.slots.len()) {
                Ok(slot) if slot < u32::MAX => {
                    self.slots.push(Slot::Taken(value));
                    slot
                }
                _ => return Err(value),
            },
        };
        self.len += 1;
        Ok(ExternRefHostDataId(NonZeroU32::MIN.saturating_add(slot)))
    }

    /// Takes the value out, if `id` names one: its slot may be used again.
    pub fn dealloc(&mut self, id: ExternRefHostDataId) -> Option<HostValue> {
        let slot = self.slots.get_mut(id.slot())?;
        match std::mem::replace(slot, Slot::Free(self.first_free)) {
            Slot::Taken(value) => {
                self.first_free = Some(id.slot() as u32);
                self.len -= 1;
                Some(value)
            }
            free @ Slot::Free(_) => {
                *slot = free;
                None
            }
        }
    }

    /// The value `id` names, if it names one.
    pub fn get(&self, id: ExternRefHostDataId) -> Option<&(dyn Any + Send + Sync)> {
        match self.slots.get(id.slot())? {
            Slot::Taken(value) => Some(&**value),
            Slot::Free(_) => None,
        }
    }

    /// Number of values.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops all values.
    pub fn clear(&mut self) {
        self.first_free = None;
        self.len = 0;
        self.slots.clear();
    }
}

impl fmt::Debug for ExternRefHostDataTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternRefHostDataTable").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A reference known to be to an externref's box when it was made.
#[derive(Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct VMExternRef(VMGcRef);

impl VMExternRef {
    /// `gc_ref`, if it is to an externref's box in `heap`, else gives it back.
    ///
    /// # Errors
    /// `gc_ref` itself, unless its object's kind is
    /// [`ExternRef`](gc_types::VMGcKind::ExternRef).
    pub fn new(heap: &dyn crate::GcHeap, gc_ref: VMGcRef) -> Result<VMExternRef, VMGcRef> {
        match heap.core().header(&gc_ref).map(|header| header.kind()) {
            Ok(Some(gc_types::VMGcKind::ExternRef)) => Ok(VMExternRef(gc_ref)),
            _ => Err(gc_ref),
        }
    }

    /// The reference.
    pub const fn as_gc_ref(&self) -> &VMGcRef {
        &self.0
    }

    /// The reference, to keep.
    pub fn into_gc_ref(self) -> VMGcRef {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn ids_name_values_until_they_are_taken() {
        let mut table = ExternRefHostDataTable::default();
        let a = table.alloc(Box::new(1i32)).unwrap();
        let b = table.alloc(Box::new("two")).unwrap();
        assert_ne!(a, b);
        assert_eq!(table.get(a).unwrap().downcast_ref(), Some(&1i32));
        assert_eq!(ExternRefHostDataId::from_raw(b.as_raw()), Some(b));
        assert!(table.dealloc(a).is_some());
        assert!(table.get(a).is_none() && table.dealloc(a).is_none());
        assert_eq!(table.len(), 1);
        let c = table.alloc(Box::new(3u8)).unwrap();
        assert_eq!(a, c, "slots are used again");
        assert_eq!(table.get(b).unwrap().downcast_ref(), Some(&"two"));
    }

    #[test]
    fn ids_that_were_never_handed_out_name_nothing() {
        let mut table = ExternRefHostDataTable::default();
        table.alloc(Box::new(())).unwrap();
        for raw in [2, 1000, u32::MAX] {
            let id = ExternRefHostDataId::from_raw(raw).unwrap();
            assert!(table.get(id).is_none() && table.dealloc(id).is_none());
        }
        assert!(ExternRefHostDataId::from_raw(0).is_none());
    }

    #[test]
    fn every_value_is_dropped_once() {
        let value = Arc::new(());
        let mut table = ExternRefHostDataTable::default();
        let ids: Vec<_> =
            (0..10).map(|_| table.alloc(Box::new(Arc::clone(&value))).unwrap()).collect();
        for &id in &ids[3..6] {
            drop(table.dealloc(id));
            assert!(table.dealloc(id).is_none());
        }
        assert_eq!((Arc::strong_count(&value), table.len()), (8, 7));
        table.clear();
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(table.is_empty() && table.dealloc(ids[0]).is_none());
    }
}
