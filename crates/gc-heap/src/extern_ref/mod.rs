//! Host values behind externrefs. The heap holds only an id. The value itself is in an
//! [`ExternRefHostDataTable`], out of a guest's reach. Ids read from a heap are untrusted. A lookup
//! may find nothing or another value, and a value is removed at most once, however many dead
//! objects have its id.
//!
//! The table also knows where the box of each value is (`boxes.rs`). A collection tells which boxes it has
//! found, and the table drops the values of the others.
//!
//! Values are dropped only here. If a drop panics, the panic is caught and kept ([`HostPanic`])
//! until control returns to the host.

mod boxes;

use crate::HostPanic;
use boxes::{Boxes, Place};
use gc_types::VMGcRef;
use std::any::Any;
use std::fmt;
use std::num::NonZeroU32;

/// Names a host value in an [`ExternRefHostDataTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExternRefHostDataId(NonZeroU32);

impl ExternRefHostDataId {
    /// The id that the heap stores as `raw`. `None` for zero.
    pub const fn from_raw(raw: u32) -> Option<ExternRefHostDataId> {
        match NonZeroU32::new(raw) {
            Some(raw) => Some(ExternRefHostDataId(raw)),
            None => None,
        }
    }

    /// The word that the heap stores.
    pub const fn as_raw(self) -> u32 {
        self.0.get()
    }

    fn slot(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Any host value that an externref can hold.
pub type HostValue = Box<dyn Any + Send + Sync>;

enum State {
    Taken(HostValue),
    /// Reserved for an externref that is being allocated.
    Reserved,
    /// The next free slot.
    Free(Option<u32>),
}

struct Slot {
    state: State,
    /// The box of the value.
    place: Place,
}

/// The host values of one store's externrefs, by id.
///
/// # Examples
/// ```
/// use gc_heap::ExternRefHostDataTable;
///
/// let mut table = ExternRefHostDataTable::default();
/// let id = table.alloc(Box::new("a value")).unwrap();
/// assert_eq!(table.get(id).unwrap().downcast_ref(), Some(&"a value"));
/// assert!(table.dealloc(id));
/// assert!(table.get(id).is_none());
/// ```
#[derive(Default)]
pub struct ExternRefHostDataTable {
    slots: Vec<Slot>,
    first_free: Option<u32>,
    len: u32,
    boxes: Boxes,
    panic: HostPanic,
    /// Whether there may be a panic to resume.
    panicked: bool,
}

impl ExternRefHostDataTable {
    /// Keeps `value` and returns its id.
    ///
    /// # Errors
    /// Returns the value if there are 2^32 - 1 values already.
    pub fn alloc(&mut self, value: HostValue) -> Result<ExternRefHostDataId, HostValue> {
        match self.reserve() {
            Some(id) => self.fill(id, value).map(|()| id),
            None => Err(value),
        }
    }

    /// Reserves an id. It names no value until it is [filled](Self::fill). `None` if there are 2^32
    /// - 1 ids already.
    pub(crate) fn reserve(&mut self) -> Option<ExternRefHostDataId> {
        let slot = match self.first_free {
            Some(slot) => {
                let reserved = &mut self.slots[slot as usize].state;
                if let State::Free(next) = *reserved {
                    self.first_free = next;
                }
                *reserved = State::Reserved;
                slot
            }
            None => {
                let slot = u32::try_from(self.slots.len()).ok().filter(|&slot| slot < u32::MAX)?;
                self.slots.push(Slot { state: State::Reserved, place: Place::default() });
                slot
            }
        };
        Some(ExternRefHostDataId(NonZeroU32::MIN.saturating_add(slot)))
    }

    /// Gives a reserved id the value `value`.
    ///
    /// # Errors
    /// Returns the value if `id` is not reserved.
    pub(crate) fn fill(
        &mut self,
        id: ExternRefHostDataId,
        value: HostValue,
    ) -> Result<(), HostValue> {
        match self.slots.get_mut(id.slot()) {
            Some(Slot { state: state @ State::Reserved, .. }) => {
                *state = State::Taken(value);
                self.len += 1;
                Ok(())
            }
            _ => Err(value),
        }
    }

    /// Releases a reserved id.
    pub(crate) fn release(&mut self, id: ExternRefHostDataId) {
        if let Some(Slot { state: state @ State::Reserved, .. }) = self.slots.get_mut(id.slot()) {
            *state = State::Free(self.first_free);
            self.first_free = Some(id.slot() as u32);
        }
    }

    /// Drops the value of `id`. Returns whether there was one. Never panics: if the value's drop
    /// panics, the panic waits for [`resume_panic`](Self::resume_panic).
    pub fn dealloc(&mut self, id: ExternRefHostDataId) -> bool {
        self.remove(id.slot())
    }

    fn remove(&mut self, number: usize) -> bool {
        let Some(Slot { state: state @ State::Taken(_), place }) = self.slots.get_mut(number)
        else {
            return false;
        };
        place.set(0);
        let value = std::mem::replace(state, State::Free(self.first_free));
        self.first_free = Some(number as u32);
        self.len -= 1;
        // This comes last because it runs the embedder's code.
        self.panicked |= self.panic.drop_value(value);
        true
    }

    /// The value of `id`, if there is one.
    pub fn get(&self, id: ExternRefHostDataId) -> Option<&(dyn Any + Send + Sync)> {
        match &self.slots.get(id.slot())?.state {
            State::Taken(value) => Some(&**value),
            State::Reserved | State::Free(_) => None,
        }
    }

    /// The value of `id`, mutable, if there is one.
    pub fn get_mut(&mut self, id: ExternRefHostDataId) -> Option<&mut (dyn Any + Send + Sync)> {
        match &mut self.slots.get_mut(id.slot())?.state {
            State::Taken(value) => Some(&mut **value),
            State::Reserved | State::Free(_) => None,
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

    /// Drops all values. Like [`dealloc`](Self::dealloc), this never panics.
    pub fn clear(&mut self) {
        self.first_free = None;
        self.len = 0;
        self.boxes.clear();
        while let Some(slot) = self.slots.pop() {
            self.panicked |= self.panic.drop_value(slot.state);
        }
    }

    /// Records that a value was dropped elsewhere, and its panic is kept in
    /// [`host_panic`](Self::host_panic).
    pub(crate) fn note_panic(&mut self) {
        self.panicked = true;
    }

    /// Resumes the first panic of a dropped value since the last call, if there was one and the
    /// thread is not panicking already. Called where control returns to the host.
    ///
    /// # Panics
    /// If the drop of a host value panicked.
    #[inline]
    pub fn resume_panic(&mut self) {
        if self.panicked {
            self.resume_panic_slow();
        }
    }

    #[cold]
    fn resume_panic_slow(&mut self) {
        if !std::thread::panicking() {
            self.panicked = false;
            self.panic.resume();
        }
    }

    /// The [`HostPanic`] that keeps panics of dropped values. While a clone of it exists, dropping
    /// the table does not resume them.
    pub fn host_panic(&self) -> HostPanic {
        self.panic.clone()
    }
}

impl Drop for ExternRefHostDataTable {
    fn drop(&mut self) {
        // Each value is dropped on its own. The first panic resumes when `panic` is dropped.
        self.clear();
    }
}

impl fmt::Debug for ExternRefHostDataTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternRefHostDataTable").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A reference that referred to an externref's box when it was checked.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, VMExternRef, toy::ToyCollector};
/// use gc_types::{I31, VMGcRef};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// let externref = store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
/// assert!(VMExternRef::new(store.heap().unwrap(), externref).is_ok());
/// let integer = VMGcRef::from_i31(I31::wrapping_i32(7));
/// assert!(VMExternRef::new(store.heap().unwrap(), integer).is_err());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct VMExternRef(VMGcRef);

impl VMExternRef {
    /// Wraps `gc_ref` if it refers to an externref's box in `heap`.
    ///
    /// # Errors
    /// Returns `gc_ref` if the kind of its object is not
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

    /// Converts this into the reference.
    pub fn into_gc_ref(self) -> VMGcRef {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    #[test]
    fn ids_name_values_until_they_are_taken() {
        let mut table = ExternRefHostDataTable::default();
        let a = table.alloc(Box::new(1i32)).unwrap();
        let b = table.alloc(Box::new("two")).unwrap();
        assert_ne!(a, b);
        assert_eq!(table.get(a).unwrap().downcast_ref(), Some(&1i32));
        assert_eq!(ExternRefHostDataId::from_raw(b.as_raw()), Some(b));
        assert!(table.dealloc(a));
        assert!(table.get(a).is_none() && !table.dealloc(a));
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
            assert!(table.get(id).is_none() && !table.dealloc(id));
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
            assert!(table.dealloc(id));
            assert!(!table.dealloc(id));
        }
        assert_eq!((Arc::strong_count(&value), table.len()), (8, 7));
        table.clear();
        assert_eq!(Arc::strong_count(&value), 1);
        assert!(table.is_empty() && !table.dealloc(ids[0]));
    }

    /// A value whose drop counts itself and panics with a number.
    struct Panics(u32, Arc<AtomicU32>);

    impl Drop for Panics {
        fn drop(&mut self) {
            self.1.fetch_add(1, Relaxed);
            resume_unwind(Box::new(self.0));
        }
    }

    fn panic_of(action: impl FnOnce()) -> Option<u32> {
        let result = catch_unwind(AssertUnwindSafe(action));
        result.err().map(|payload| *payload.downcast().unwrap())
    }

    #[test]
    fn panics_of_values_wait_for_the_host() {
        let drops = Arc::new(AtomicU32::new(0));
        let bomb = |n| Box::new(Panics(n, Arc::clone(&drops)));
        let mut table = ExternRefHostDataTable::default();
        let ids: Vec<_> = (0..5).map(|n| table.alloc(bomb(n)).unwrap()).collect();
        assert!(table.dealloc(ids[3]) && table.dealloc(ids[1]));
        assert!(!table.dealloc(ids[3]));
        assert_eq!(panic_of(|| table.resume_panic()), Some(3), "the first one");
        assert_eq!(panic_of(|| table.resume_panic()), None, "once");
        assert_eq!(table.alloc(bomb(5)).unwrap(), ids[1], "the table is in order");
        table.clear();
        assert_eq!((drops.load(Relaxed), table.len()), (6, 0), "all, each once");
        assert!(panic_of(|| table.resume_panic()).is_some());

        (7..10).for_each(|n| _ = table.alloc(bomb(n)).unwrap());
        assert!(panic_of(|| drop(table)).is_some());
        assert_eq!(drops.load(Relaxed), 9);
    }

    #[test]
    fn a_table_dropped_by_a_panic_adds_none() {
        let drops = Arc::new(AtomicU32::new(0));
        let mut table = ExternRefHostDataTable::default();
        (0..3).for_each(|n| _ = table.alloc(Box::new(Panics(n, Arc::clone(&drops)))).unwrap());
        let unwind = move || {
            let _table = table;
            resume_unwind(Box::new(9_u32));
        };
        assert_eq!(panic_of(unwind), Some(9));
        assert_eq!(drops.load(Relaxed), 3);
    }

    #[test]
    fn a_reserved_id_names_nothing_until_it_is_filled() {
        let mut table = ExternRefHostDataTable::default();
        let id = table.reserve().unwrap();
        assert!(table.get(id).is_none() && !table.dealloc(id) && table.is_empty());
        table.fill(id, Box::new(1i32)).unwrap();
        assert!(table.fill(id, Box::new(2i32)).is_err(), "filled once");
        table.release(id);
        assert_eq!(table.get(id).unwrap().downcast_ref(), Some(&1i32), "a value is not released");
        let other = table.reserve().unwrap();
        assert_ne!(other, id);
        table.release(other);
        assert_eq!(table.reserve(), Some(other), "slots are used again");
        assert_eq!(table.len(), 1);
    }
}
