//! [`WeakTable`]: the references of a store that do not keep their objects alive. These are weak
//! handles of the host, the entries of weak maps (ephemerons), and finalizers.
//!
//! The table is outside the heap, as the host values of externrefs are. So the heap needs no kind of
//! object for weak references, and a guest cannot damage the table.
//!
//! * `handles.rs`: the host's names for weak references and weak maps.
//! * `entries.rs`: the entries of weak maps, and their index by key.
//! * `process.rs`: what a collection does with the table, and the collector's duty.
//! * `reach.rs`: a search that finds in linear time which ephemerons keep each other alive.
//!
//! # What a collection does
//! 1. The collector finds everything that the roots reach.
//! 2. An entry of a weak map whose key was found keeps its value, and everything that the value
//!    reaches. This is repeated until no more keys are found (Barry Hayes, "Ephemerons: A New
//!    Finalization Mechanism", 1997).
//! 3. Weak handles of objects that were not found are cleared.
//! 4. Objects with finalizers that were not found are kept once more, with everything that they
//!    reach, and wait for the host in the order in which the finalizers were added. Step 2 is
//!    repeated.
//! 5. Entries whose keys were not found are removed.
//! 6. Only now the host values of dead externrefs are dropped
//!    ([`sweep`](crate::ExternRefHostDataTable::sweep)), so their destructors see no reference to a dead
//!    object.
//!
//! A collection of young objects looks only at references that may refer to young objects.

mod entries;
mod handles;
mod process;
mod reach;
#[cfg(test)]
mod tests;

pub use handles::{WeakHandle, WeakMap};
pub use process::{WeakScope, WeakStep, WeakTracer};

use crate::roots::{TableId, Tokens};
use crate::{HandleError, HostPanic, HostValue};
use entries::Entries;
use gc_types::VMGcRef;
use process::Run;
use std::collections::VecDeque;
use std::fmt;

/// The reference in a word. `None` for zero.
fn reference(word: u32) -> Option<VMGcRef> {
    VMGcRef::from_raw_u32(word)
}

/// The place of a weak handle.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    /// Zero if the object is dead, or if the place is free.
    target: u32,
    /// Whether the place is in the list of young places.
    young: bool,
}

/// An object with a finalizer.
struct Finalizer {
    object: u32,
    /// How many finalizers were added before.
    number: u64,
    value: HostValue,
}

/// The weak references of a store, as a collector sees them in a [`GcRequest`](crate::GcRequest).
///
/// A collector calls [`begin`](WeakTable::begin) and [`step`](WeakTable::step), or
/// [`keep_all`](WeakTable::keep_all). [`WeakTracer`] has the details.
///
/// # Examples
/// The host's side is in [`GcStore`](crate::GcStore):
///
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// let externref = store.alloc_externref(&mut NoStack, Box::new(7)).map_err(|(error, _)| error)?;
/// let weak = store.downgrade(&externref).unwrap();
/// let strong = store.root_owned(externref).unwrap();
/// store.gc(&mut NoStack)?;
/// let externref = store.upgrade(&weak).unwrap().unwrap();
/// store.drop_gc_ref(externref);
///
/// drop(strong);
/// store.gc(&mut NoStack)?;
/// assert!(store.upgrade(&weak).unwrap().is_none());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
pub struct WeakTable {
    id: TableId,
    handles: Vec<Cell>,
    free_handles: Vec<u32>,
    /// Places of handles that may refer to young objects.
    young_handles: Vec<u32>,
    handle_tokens: Tokens,
    entries: Entries,
    map_tokens: Tokens,
    /// In the order in which they were added. `None` while a collection is under way, or after one
    /// was abandoned.
    finalizers: Vec<Option<Finalizer>>,
    /// The finalizers from here on may refer to young objects.
    old_finalizers: usize,
    /// Objects that were found dead and wait for the host.
    ready: VecDeque<Finalizer>,
    /// Those from here on may be young.
    old_ready: usize,
    /// The number of finalizers that were ever added.
    added: u64,
    run: Run,
    panic: HostPanic,
}

impl Default for WeakTable {
    fn default() -> WeakTable {
        WeakTable::new(HostPanic::default())
    }
}

impl fmt::Debug for WeakTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeakTable")
            .field("handles", &(self.handles.len() - self.free_handles.len()))
            .field("entries", &self.entries.len())
            .field("finalizers", &self.finalizers.len())
            .field("ready", &self.ready.len())
            .finish_non_exhaustive()
    }
}

impl WeakTable {
    /// The maximal number of weak handles, of weak maps, of entries of weak maps, and of finalizers
    /// in a store at the same time.
    pub const MAX: usize = 1 << 25;

    /// An empty table. Panics in the drop of finalizers' values are kept in `panic`.
    pub(crate) fn new(panic: HostPanic) -> WeakTable {
        WeakTable {
            id: TableId::next(),
            handles: Vec::new(),
            free_handles: Vec::new(),
            young_handles: Vec::new(),
            handle_tokens: Tokens::default(),
            entries: Entries::default(),
            map_tokens: Tokens::default(),
            finalizers: Vec::new(),
            old_finalizers: 0,
            ready: VecDeque::new(),
            old_ready: 0,
            added: 0,
            run: Run::default(),
            panic,
        }
    }

    /// Whether the table has no references. Then a collector has nothing to do.
    pub fn is_empty(&self) -> bool {
        self.handles.len() == self.free_handles.len()
            && self.entries.is_empty()
            && self.finalizers.is_empty()
            && self.ready.is_empty()
    }

    /// Calls `visit` with every reference in the table.
    pub fn for_each(&self, visit: &mut dyn FnMut(VMGcRef)) {
        let handles = self.handles.iter().map(|cell| cell.target);
        let entries = self.entries.all().flat_map(|entry| [entry.key, entry.value]);
        let finalizers = self.finalizers.iter().flatten().chain(&self.ready);
        let objects = finalizers.map(|finalizer| finalizer.object);
        handles.chain(entries).chain(objects).filter_map(reference).for_each(visit);
    }

    /// Replaces every reference for which `new` returns another one. For collectors that move
    /// objects after the table was [processed](WeakTable::step).
    pub fn update(&mut self, new: &mut dyn FnMut(&VMGcRef) -> Option<VMGcRef>) {
        let mut update = |word: &mut u32| {
            if let Some(moved) = reference(*word).and_then(|old| new(&old)) {
                *word = moved.as_raw_u32();
            }
        };
        self.handles.iter_mut().for_each(|cell| update(&mut cell.target));
        self.entries.update(&mut update);
        let finalizers = self.finalizers.iter_mut().flatten().chain(&mut self.ready);
        finalizers.for_each(|finalizer| update(&mut finalizer.object));
    }

    /// Forgets every reference. Weak handles refer to nothing, weak maps are empty. Values of
    /// finalizers are dropped. If that panics, the panic is kept.
    pub(crate) fn reset(&mut self) -> bool {
        self.handles.iter_mut().for_each(|cell| cell.target = 0);
        self.young_handles.clear();
        self.handles.iter_mut().for_each(|cell| cell.young = false);
        self.entries.reset();
        self.run = Run::default();
        (self.old_finalizers, self.old_ready) = (0, 0);
        self.drop_values()
    }

    /// Drops the values of finalizers. Returns whether one panicked.
    fn drop_values(&mut self) -> bool {
        let mut panicked = false;
        let finalizers = std::mem::take(&mut self.finalizers).into_iter().flatten();
        for Finalizer { value, .. } in finalizers.chain(std::mem::take(&mut self.ready)) {
            panicked |= self.panic.drop_value(value);
        }
        panicked
    }

    // ---- for the host -------------------------------------------------------

    /// Makes a weak handle, which owns `gc_ref`, or returns `gc_ref`.
    pub(crate) fn add_handle(&mut self, gc_ref: VMGcRef) -> Result<WeakHandle, VMGcRef> {
        if self.handles.len() - self.free_handles.len() >= WeakTable::MAX {
            return Err(gc_ref);
        }
        let place = self.free_handles.pop().unwrap_or_else(|| {
            self.handles.push(Cell::default());
            self.handles.len() as u32 - 1
        });
        let cell = &mut self.handles[place as usize];
        cell.target = gc_ref.as_raw_u32();
        if !std::mem::replace(&mut cell.young, true) {
            self.young_handles.push(place);
        }
        Ok(WeakHandle(self.handle_tokens.issue(self.id, place)))
    }

    /// The reference of a weak handle. `None` if its object is dead.
    pub(crate) fn get(&self, handle: &WeakHandle) -> Result<Option<VMGcRef>, HandleError> {
        let place = handle.0.place_in(self.id).ok_or(HandleError::OtherStore)?;
        Ok(self.handles.get(place as usize).and_then(|cell| reference(cell.target)))
    }

    /// Removes the handles and the maps that were dropped with all their clones. Returns the
    /// references of the handles. A collection removes the entries of the maps.
    pub(crate) fn take_dropped(&mut self) -> Vec<VMGcRef> {
        for map in self.map_tokens.take_dropped() {
            self.entries.drop_map(map);
        }
        let dropped = self.handle_tokens.take_dropped();
        let take = |place: &u32| {
            self.free_handles.push(*place);
            reference(std::mem::take(&mut self.handles[*place as usize].target))
        };
        dropped.iter().filter_map(take).collect()
    }

    /// Makes an empty weak map. `None` if there are too many.
    pub(crate) fn add_map(&mut self) -> Option<WeakMap> {
        let map = self.entries.add_map()?;
        Some(WeakMap(self.map_tokens.issue(self.id, map)))
    }

    /// The number of a weak map of this table.
    pub(crate) fn map(&self, map: &WeakMap) -> Result<u32, HandleError> {
        map.0.place_in(self.id).ok_or(HandleError::OtherStore)
    }

    /// The entries of the weak maps.
    pub(crate) fn entries(&self) -> &Entries {
        &self.entries
    }

    /// The entries of the weak maps, mutable.
    pub(crate) fn entries_mut(&mut self) -> &mut Entries {
        &mut self.entries
    }

    /// Adds a finalizer, which owns `object`, or returns both.
    pub(crate) fn add_finalizer(
        &mut self,
        object: VMGcRef,
        value: HostValue,
    ) -> Result<(), (VMGcRef, HostValue)> {
        if self.finalizers.len() + self.ready.len() >= WeakTable::MAX {
            return Err((object, value));
        }
        let (object, number) = (object.as_raw_u32(), self.added);
        self.added += 1;
        self.finalizers.push(Some(Finalizer { object, number, value }));
        Ok(())
    }

    /// The next object that waits for the host, with the value of its finalizer.
    pub(crate) fn next_finalizable(&mut self) -> Option<(VMGcRef, HostValue)> {
        let Finalizer { object, value, .. } = self.ready.pop_front()?;
        self.old_ready = self.old_ready.saturating_sub(1);
        reference(object).map(|object| (object, value))
    }

    /// The number of objects that wait for the host.
    pub(crate) fn finalizable(&self) -> usize {
        self.ready.len()
    }
}

impl Drop for WeakTable {
    fn drop(&mut self) {
        // Each value is dropped on its own. The first panic resumes when `panic` is dropped.
        self.drop_values();
    }
}
