//! Where the boxes of externrefs are, and which of them a collection has not found.
//!
//! The list is beside the heap, by the ids of the values. So the store sweeps it. If the collector lets it, a guest
//! that damages a box can neither keep another one's value nor drop it.

#[cfg(test)]
mod tests;

use super::{ExternRefHostDataId, ExternRefHostDataTable, Slot, State};
use crate::{WeakScope, WeakTracer};
use gc_types::VMGcRef;

/// The place of a box, and whether its value's slot is in the list of young ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place(u32);

// Objects are aligned, so the bit is free.
const _: () = assert!(gc_types::OBJECT_ALIGN > Place::LISTED);

impl Place {
    const LISTED: u32 = 1;

    fn at(self) -> Option<VMGcRef> {
        VMGcRef::from_heap_index(self.0 & !Place::LISTED)
    }

    fn is_listed(self) -> bool {
        self.0 & Place::LISTED != 0
    }

    pub(super) fn set(&mut self, at: u32) {
        self.0 = at | self.0 & Place::LISTED;
    }
}

/// What is known of the boxes of all values.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    /// The slots whose boxes may be young, once each.
    young: Vec<u32>,
    sweep: Sweep,
    /// Whether they were swept since [`ExternRefHostDataTable::expect_sweep`].
    swept: bool,
}

/// The progress of a sweep.
#[derive(Debug, Default)]
enum Sweep {
    #[default]
    Done,
    /// The slots of boxes that were looked at and are still young.
    Young(Vec<u32>),
    /// The next slot.
    All(usize),
    /// Every slot was looked at. The next place in the list of young ones, from which old ones are removed.
    Prune(usize),
}

impl Boxes {
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.sweep = Sweep::Done;
    }

    /// Ends a sweep, also one that was abandoned.
    fn end_sweep(&mut self) {
        if let Sweep::Young(still) = std::mem::take(&mut self.sweep) {
            self.young.extend(still);
        }
    }
}

/// For collectors.
///
/// # The duty of a collector
/// A collection that moves or frees the box of an externref calls
/// [`begin_sweep`](ExternRefHostDataTable::begin_sweep) when it has found everything that lives, after it has
/// looked at [weak references](crate::WeakTracer) and before it frees anything. Then it calls
/// [`sweep`](ExternRefHostDataTable::sweep) until that returns `true`. Boxes that move later need
/// [`update`](ExternRefHostDataTable::update).
///
/// A collection that moves no box calls [`keep_all`](ExternRefHostDataTable::keep_all) instead. If it frees
/// boxes, it drops their values itself, with [`dealloc`](ExternRefHostDataTable::dealloc).
///
/// A collector that marks while the mutator runs decides in a collection what is dead, as long as the store has
/// externrefs ([`StoreSide::marking_must_wait`](crate::StoreSide::marking_must_wait)).
///
/// A collection may be abandoned in the middle of a sweep, if no object has moved.
impl ExternRefHostDataTable {
    /// Says that the box of the value `id` is at `externref`. Does nothing if there is no such value.
    ///
    /// [`GcStore::alloc_externref`](crate::GcStore::alloc_externref) does this. A value without a box lives
    /// until it is [removed](ExternRefHostDataTable::dealloc).
    pub fn set_box(&mut self, id: ExternRefHostDataId, externref: &VMGcRef) {
        let slot = id.slot();
        if let Some(Slot { state: State::Taken(_), place }) = self.slots.get_mut(slot)
            && let Some(at) = externref.as_heap_index()
        {
            if !place.is_listed() {
                self.boxes.young.push(slot as u32);
            }
            *place = Place(at.get() | Place::LISTED);
        }
    }

    /// The box of the value `id`, if it has one.
    pub fn box_of(&self, id: ExternRefHostDataId) -> Option<VMGcRef> {
        self.slots.get(id.slot())?.place.at()
    }

    /// Calls `visit` with every box.
    pub fn for_each_box(&self, visit: &mut dyn FnMut(VMGcRef)) {
        self.slots.iter().filter_map(|slot| slot.place.at()).for_each(visit);
    }

    /// For [`WeakScope::All`] the number of values, and for [`WeakScope::Young`] about the number of those whose
    /// boxes may be young.
    pub fn count(&self, scope: WeakScope) -> u32 {
        match scope {
            WeakScope::Young => self.boxes.young.len() as u32,
            WeakScope::All => self.len(),
        }
    }

    /// Begins to look for dead boxes in a collection that has found everything that lives, or begins again.
    /// A collection of [young](WeakScope::Young) objects moves and frees no others.
    pub fn begin_sweep(&mut self, scope: WeakScope) {
        self.boxes.end_sweep();
        self.boxes.sweep = match scope {
            WeakScope::Young => Sweep::Young(Vec::new()),
            WeakScope::All => Sweep::All(0),
        };
    }

    /// Continues to drop the values whose boxes the collection has not found, with one unit of `budget` for
    /// each box. Returns whether it has looked at all. Never panics: if a value's drop panics, the panic waits for
    /// [`resume_panic`](ExternRefHostDataTable::resume_panic).
    ///
    /// # Examples
    /// ```
    /// use gc_heap::{ExternRefHostDataTable, HeapCore, WeakScope, WeakTracer};
    /// use gc_types::VMGcRef;
    /// use std::collections::HashSet;
    ///
    /// struct Marker<'a> {
    ///     core: &'a HeapCore,
    ///     marked: HashSet<u32>,
    /// }
    ///
    /// impl WeakTracer for Marker<'_> {
    ///     fn core(&self) -> &HeapCore {
    ///         self.core
    ///     }
    ///
    ///     fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
    ///         self.marked.contains(&object.as_raw_u32()).then(|| object.unchecked_copy())
    ///     }
    ///
    ///     fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
    ///         self.marked.insert(object.as_raw_u32());
    ///         object.unchecked_copy()
    ///     }
    /// }
    ///
    /// fn drop_values(values: &mut ExternRefHostDataTable, marker: &Marker<'_>) {
    ///     values.begin_sweep(WeakScope::All);
    ///     while !values.sweep(marker, &mut 1000) {
    ///         // The clock may be read here.
    ///     }
    /// }
    /// ```
    pub fn sweep<T: WeakTracer + ?Sized>(&mut self, tracer: &T, budget: &mut u32) -> bool {
        let done = match self.boxes.sweep {
            Sweep::Done => return true,
            Sweep::Young(_) => self.sweep_young(tracer, budget),
            Sweep::All(next) => {
                self.sweep_all(tracer, next, budget) && self.prune(tracer, 0, budget)
            }
            Sweep::Prune(next) => self.prune(tracer, next, budget),
        };
        if done {
            self.boxes.end_sweep();
            self.boxes.swept = true;
        }
        done
    }

    fn sweep_young<T: WeakTracer + ?Sized>(&mut self, tracer: &T, budget: &mut u32) -> bool {
        while *budget > 0 {
            *budget -= 1;
            let Some(slot) = self.boxes.young.pop() else { return true };
            let place = &mut self.slots[slot as usize].place;
            let Some(at) = place.at() else {
                *place = Place::default();
                continue;
            };
            match tracer.survivor(&at) {
                Some(now) if tracer.is_young(&now) => {
                    place.set(now.as_raw_u32());
                    if let Sweep::Young(still) = &mut self.boxes.sweep {
                        still.push(slot);
                    }
                }
                Some(now) => *place = Place(now.as_raw_u32()),
                None => {
                    *place = Place::default();
                    self.remove(slot as usize);
                }
            }
        }
        false
    }

    fn sweep_all<T: WeakTracer + ?Sized>(
        &mut self,
        tracer: &T,
        mut next: usize,
        budget: &mut u32,
    ) -> bool {
        while let Some(Slot { place, .. }) = self.slots.get_mut(next) {
            if *budget == 0 {
                self.boxes.sweep = Sweep::All(next);
                return false;
            }
            *budget -= 1;
            match place.at().map(|at| tracer.survivor(&at)) {
                None => {}
                Some(Some(now)) => place.set(now.as_raw_u32()),
                Some(None) => _ = self.remove(next),
            }
            next += 1;
        }
        true
    }

    /// Removes old boxes from the list of young ones.
    fn prune<T: WeakTracer + ?Sized>(
        &mut self,
        tracer: &T,
        mut next: usize,
        budget: &mut u32,
    ) -> bool {
        while let Some(&slot) = self.boxes.young.get(next) {
            if *budget == 0 {
                self.boxes.sweep = Sweep::Prune(next);
                return false;
            }
            *budget -= 1;
            let place = &mut self.slots[slot as usize].place;
            if place.at().is_some_and(|at| tracer.is_young(&at)) {
                next += 1;
            } else {
                *place = Place(place.0 & !Place::LISTED);
                self.boxes.young.swap_remove(next);
            }
        }
        true
    }

    /// Replaces the place of every box for which `new` returns another one. For collectors that move
    /// objects after the [sweep](ExternRefHostDataTable::sweep).
    pub fn update(&mut self, new: &mut dyn FnMut(&VMGcRef) -> Option<VMGcRef>) {
        for Slot { place, .. } in &mut self.slots {
            if let Some(moved) = place.at().and_then(|old| new(&old)) {
                place.set(moved.as_raw_u32());
            }
        }
    }

    /// Declares that this collection moves no box, and drops the values of those that it frees itself.
    pub fn keep_all(&mut self) {
        self.boxes.swept = true;
    }

    /// Expects that the collection that begins now sweeps.
    pub(crate) fn expect_sweep(&mut self) {
        self.boxes.end_sweep();
        self.boxes.swept = self.is_empty();
    }

    /// Whether the collection that has completed has done its duty.
    pub(crate) fn was_swept(&self) -> bool {
        self.boxes.swept
    }
}
