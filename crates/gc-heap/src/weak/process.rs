//! What a collection does with weak references, in steps between which the collector traces.

use super::reach::Reach;
use super::{Finalizer, WeakTable, reference};
use crate::HeapCore;
use gc_types::{I31, VMGcRef};
use std::mem;

/// What a collector tells a [`WeakTable`] about objects.
///
/// # The duty of a collector
/// When a collection has found all objects that the roots reach, and before it frees anything or
/// drops the host value of an externref, it calls [`begin`](WeakTable::begin) once, and then
/// [`step`](WeakTable::step) until that returns [`WeakStep::Done`]. Whenever `step` returns
/// [`WeakStep::Trace`], the collector first finds everything that the
/// [kept](WeakTracer::keep) objects reach. Then every reference in the table is to an object that
/// was found, and where it is now. Objects that move later need [`update`](WeakTable::update).
///
/// A collection that moves no object and frees none to which the table refers calls
/// [`keep_all`](WeakTable::keep_all) instead. The references in the table are then like handles of
/// the host: [`clone_gc_ref`](crate::GcHeap::clone_gc_ref) made them, and
/// [`drop_gc_ref`](crate::GcHeap::drop_gc_ref) drops them when the host removes them from the
/// table. A collector that counts references takes those that the table has away itself, before it
/// finds the dead objects ([`for_each`](WeakTable::for_each)).
///
/// A collection may be abandoned between two steps, if no object has moved.
///
/// # Examples
/// A collector that marks objects in place:
///
/// ```
/// use gc_heap::{HeapCore, WeakScope, WeakStep, WeakTable, WeakTracer};
/// use gc_types::VMGcRef;
/// use std::collections::HashSet;
///
/// struct Marker<'a> {
///     core: &'a HeapCore,
///     marked: &'a mut HashSet<u32>,
///     to_do: &'a mut Vec<u32>,
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
///         if self.marked.insert(object.as_raw_u32()) {
///             self.to_do.push(object.as_raw_u32());
///         }
///         object.unchecked_copy()
///     }
/// }
///
/// /// Called when `marked` has everything that the roots reach.
/// fn process(weak: &mut WeakTable, mut marker: Marker<'_>) {
///     weak.begin(WeakScope::All);
///     while weak.step(&mut marker, &mut 1000) != WeakStep::Done {
///         while let Some(object) = marker.to_do.pop() {
///             // Marks what it refers to.
///         }
///     }
/// }
/// ```
pub trait WeakTracer {
    /// The heap's core.
    fn core(&self) -> &HeapCore;

    /// The present place of the object to which `object` refers, if the collection has found it.
    /// `object` is from before the collection and no `i31`. In a collection of young objects, old
    /// objects count as found.
    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef>;

    /// Finds an object, as if a root referred to it: marks it, or moves it. Returns its present
    /// place. `object` is as for [`survivor`](WeakTracer::survivor), and may have been found
    /// before. If the heap is damaged, the result does not matter.
    fn keep(&mut self, object: &VMGcRef) -> VMGcRef;

    /// Whether the next collection of [young](WeakScope::Young) objects may move or free the
    /// object, whose place is the present one. A collector without such collections need not
    /// implement it.
    fn is_young(&self, object: &VMGcRef) -> bool {
        let _ = object;
        false
    }
}

/// The references of a [`WeakTable`] at which a collection looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeakScope {
    /// Those that may refer to [young](WeakTracer::is_young) objects, and new ones. The collection
    /// moves and frees no other objects.
    Young,
    /// All.
    #[default]
    All,
}

/// The result of a [`step`](WeakTable::step).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeakStep {
    /// The budget was used. Call `step` again.
    More,
    /// Find everything that the kept objects reach. Then call `step` again.
    Trace,
    /// The table refers only to objects that were found.
    Done,
}

/// The number of entries that are looked at again before a search may be cheaper.
const PATIENCE: usize = 1000;

/// What is done next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Idle,
    /// Keeps the objects that wait for the host.
    Ready,
    /// Looks at every entry.
    Entries,
    /// Looks again at the entries whose key was not found.
    Waiting,
    /// Searches for the keys that the values of entries reach.
    Reach,
    /// Clears weak handles.
    Handles,
    /// Looks for objects with finalizers.
    Finalizers,
    /// Removes entries.
    Clear,
}

/// The state of a collection's work on the table.
#[derive(Debug, Default)]
pub(super) struct Run {
    scope: WeakScope,
    stage: Stage,
    /// The next one of what the stage looks at.
    next: usize,
    /// Entries whose keys were not found.
    waiting: Vec<u32>,
    /// The number of objects that the stage has kept.
    kept: usize,
    /// The number of entries that may be looked at again before a search is cheaper.
    patience: usize,
    reach: Reach,
    /// The number of objects that waited for the host before objects with finalizers were looked
    /// for.
    ready: usize,
    /// Whether objects with finalizers were looked for.
    finalized: bool,
    /// The number of objects that waited for the host when the collection began.
    waited: usize,
    /// Whether the table was processed since [`WeakTable::expect`].
    processed: bool,
}

/// The present place of the object in `word`, if it lives. An `i31` always lives.
fn lives<T: WeakTracer + ?Sized>(tracer: &T, word: u32) -> Option<u32> {
    if word & I31::TAG != 0 {
        return Some(word);
    }
    tracer.survivor(&reference(word)?).map(|now| now.as_raw_u32())
}

/// Keeps the object in `word`. Returns its present place.
fn keep<T: WeakTracer + ?Sized>(tracer: &mut T, word: u32) -> u32 {
    match reference(word) {
        Some(object) if !object.is_i31() => tracer.keep(&object).as_raw_u32(),
        _ => word,
    }
}

/// Takes one unit of the budget. Returns whether there was none.
fn is_used(budget: &mut u32) -> bool {
    let used = *budget == 0;
    *budget = budget.saturating_sub(1);
    used
}

/// For collectors.
impl WeakTable {
    /// Begins to process the table in a collection that has found everything that the roots reach,
    /// or begins again.
    pub fn begin(&mut self, scope: WeakScope) {
        self.run.waiting.clear();
        self.run.reach.clear();
        self.run.scope = scope;
        (self.run.next, self.run.kept, self.run.finalized) = (0, 0, false);
        let entries = self.in_scope(self.entries.places(), &self.entries.young);
        self.run.patience = PATIENCE + 2 * entries;
        self.run.stage = Stage::Ready;
        if self.run.scope == WeakScope::Young {
            self.run.next = self.old_ready.min(self.ready.len());
        }
    }

    /// Declares that this collection moves no object, and frees none to which the table refers.
    pub fn keep_all(&mut self) {
        self.run.processed = true;
    }

    /// Continues to process the table, with one unit of `budget` for each reference.
    pub fn step<T: WeakTracer + ?Sized>(&mut self, tracer: &mut T, budget: &mut u32) -> WeakStep {
        loop {
            let before = self.run.stage;
            let done = match before {
                Stage::Idle => {
                    self.run.processed = true;
                    return WeakStep::Done;
                }
                Stage::Ready => self.keep_ready(tracer, budget),
                Stage::Entries => self.look_at_entries(tracer, budget),
                Stage::Waiting => self.look_again(tracer, budget),
                Stage::Reach => self.search(tracer, budget),
                Stage::Handles => self.clear_handles(tracer, budget),
                Stage::Finalizers => self.look_at_finalizers(tracer, budget),
                Stage::Clear => self.clear_entries(tracer, budget),
            };
            if !done {
                return WeakStep::More;
            }
            let kept = mem::take(&mut self.run.kept);
            self.run.next = 0;
            self.run.stage = match before {
                Stage::Idle => Stage::Idle,
                Stage::Ready => Stage::Entries,
                Stage::Entries if kept > 0 => Stage::Waiting,
                Stage::Waiting if kept > 0 && self.run.patience == 0 => {
                    let keys = self.run.waiting.iter();
                    self.run.reach.begin(keys.map(|&place| (self.entries.at(place).key, place)));
                    Stage::Reach
                }
                Stage::Waiting if kept > 0 => Stage::Waiting,
                Stage::Reach => Stage::Waiting,
                Stage::Entries | Stage::Waiting if self.run.finalized => Stage::Clear,
                Stage::Entries | Stage::Waiting => Stage::Handles,
                Stage::Handles => {
                    if self.run.scope == WeakScope::Young {
                        self.run.next = self.old_finalizers.min(self.finalizers.len());
                    }
                    self.run.ready = self.ready.len();
                    Stage::Finalizers
                }
                Stage::Finalizers => {
                    self.run.finalized = true;
                    self.run.patience = PATIENCE + 2 * self.run.waiting.len();
                    if kept > 0 { Stage::Waiting } else { Stage::Clear }
                }
                // If a key lives after all, its value is kept.
                Stage::Clear if kept > 0 => Stage::Waiting,
                Stage::Clear => {
                    self.finish(tracer);
                    Stage::Idle
                }
            };
            if kept > 0 {
                return WeakStep::Trace;
            }
        }
    }

    /// The number of places at which the collection looks.
    fn in_scope(&self, all: usize, young: &[u32]) -> usize {
        match self.run.scope {
            WeakScope::Young => young.len(),
            WeakScope::All => all,
        }
    }

    /// Keeps objects that wait for the host.
    fn keep_ready<T: WeakTracer + ?Sized>(&mut self, tracer: &mut T, budget: &mut u32) -> bool {
        while let Some(Finalizer { object, .. }) = self.ready.get_mut(self.run.next) {
            if is_used(budget) {
                return false;
            }
            *object = keep(tracer, *object);
            self.run.next += 1;
            self.run.kept += 1;
        }
        true
    }

    /// Looks at the entry at `place`. Returns whether its key lives. Then its value is kept.
    fn look_at<T: WeakTracer + ?Sized>(&mut self, tracer: &mut T, place: u32) -> bool {
        let entry = self.entries.at(place);
        if entry.key == 0 || !self.entries.is_alive(entry.map) {
            return false;
        }
        let Some(key) = lives(tracer, entry.key) else { return false };
        let value = keep(tracer, entry.value);
        self.entries.set(place, key, value, self.run.scope == WeakScope::Young);
        self.run.kept += 1;
        true
    }

    fn look_at_entries<T: WeakTracer + ?Sized>(
        &mut self,
        tracer: &mut T,
        budget: &mut u32,
    ) -> bool {
        let end = self.in_scope(self.entries.places(), &self.entries.young);
        while self.run.next < end {
            if is_used(budget) {
                return false;
            }
            let place = match self.run.scope {
                WeakScope::Young => self.entries.young[self.run.next],
                WeakScope::All => self.run.next as u32,
            };
            self.run.next += 1;
            if self.entries.at(place).key != 0 && !self.look_at(tracer, place) {
                self.run.waiting.push(place);
            }
        }
        true
    }

    /// Looks again at the entries whose keys were not found.
    fn look_again<T: WeakTracer + ?Sized>(&mut self, tracer: &mut T, budget: &mut u32) -> bool {
        while let Some(&place) = self.run.waiting.get(self.run.next) {
            if is_used(budget) {
                return false;
            }
            self.run.patience = self.run.patience.saturating_sub(1);
            if self.look_at(tracer, place) {
                self.run.waiting.swap_remove(self.run.next);
            } else {
                self.run.next += 1;
            }
        }
        true
    }

    /// Keeps the values of all entries whose keys are found when everything is traced. The entries
    /// themselves are looked at again.
    fn search<T: WeakTracer + ?Sized>(&mut self, tracer: &mut T, budget: &mut u32) -> bool {
        let WeakTable { entries, run, .. } = self;
        // First from the keys that were found meanwhile.
        while let Some(&place) = run.waiting.get(run.next) {
            if is_used(budget) {
                return false;
            }
            run.next += 1;
            let entry = entries.at(place);
            if entries.is_alive(entry.map) && lives(tracer, entry.key).is_some() {
                run.reach.add(entry.value);
            }
        }
        while let Some(object) = run.reach.pop() {
            if is_used(budget) {
                run.reach.add_back(object);
                return false;
            }
            if object & I31::TAG != 0 || lives(tracer, object).is_some() {
                continue;
            }
            for place in run.reach.visit(object, tracer.core(), budget) {
                let entry = entries.at(place);
                if entries.is_alive(entry.map) {
                    run.reach.add(entry.value);
                }
            }
        }
        for object in run.reach.take_values() {
            keep(tracer, object);
            run.kept += 1;
        }
        // The keys that were found before the search count as well.
        run.patience = usize::MAX;
        true
    }

    fn clear_handles<T: WeakTracer + ?Sized>(&mut self, tracer: &mut T, budget: &mut u32) -> bool {
        let end = self.in_scope(self.handles.len(), &self.young_handles);
        while self.run.next < end {
            if is_used(budget) {
                return false;
            }
            let place = match self.run.scope {
                WeakScope::Young => self.young_handles[self.run.next] as usize,
                WeakScope::All => self.run.next,
            };
            self.run.next += 1;
            let cell = &mut self.handles[place];
            if cell.target != 0 {
                cell.target = lives(tracer, cell.target).unwrap_or(0);
            }
        }
        true
    }

    fn look_at_finalizers<T: WeakTracer + ?Sized>(
        &mut self,
        tracer: &mut T,
        budget: &mut u32,
    ) -> bool {
        while let Some(slot) = self.finalizers.get_mut(self.run.next) {
            if is_used(budget) {
                return false;
            }
            self.run.next += 1;
            let Some(finalizer) = slot else { continue };
            match lives(tracer, finalizer.object) {
                Some(now) => finalizer.object = now,
                None => self.ready.extend(slot.take()),
            }
        }
        // Only now, because one of these objects may refer to another.
        for finalizer in self.ready.range_mut(self.run.ready..) {
            finalizer.object = keep(tracer, finalizer.object);
            self.run.kept += 1;
        }
        true
    }

    fn clear_entries<T: WeakTracer + ?Sized>(&mut self, tracer: &mut T, budget: &mut u32) -> bool {
        while let Some(&place) = self.run.waiting.get(self.run.next) {
            if is_used(budget) {
                return false;
            }
            if self.look_at(tracer, place) {
                self.run.waiting.swap_remove(self.run.next);
            } else {
                self.run.next += 1;
            }
        }
        if self.run.kept == 0 {
            for place in self.run.waiting.drain(..) {
                self.entries.remove_at(place);
            }
        }
        true
    }

    /// Finds out what is still young.
    fn finish<T: WeakTracer + ?Sized>(&mut self, tracer: &T) {
        let is_young = |word: u32| {
            word & I31::TAG == 0 && reference(word).is_some_and(|object| tracer.is_young(&object))
        };
        self.run.reach.clear();
        self.entries.retain_young(|entry| is_young(entry.key) || is_young(entry.value));
        let handles = &mut self.handles;
        self.young_handles.retain(|&place| {
            let cell = &mut handles[place as usize];
            cell.young = is_young(cell.target);
            cell.young
        });
        let (mut finalizers, mut ready) = (self.old_finalizers, self.old_ready);
        if self.run.scope == WeakScope::All {
            (finalizers, ready) = (0, 0);
        }
        let rest = self.finalizers.split_off(finalizers.min(self.finalizers.len()));
        self.finalizers.extend(rest.into_iter().filter(Option::is_some));
        let first = self.finalizers.iter().skip(finalizers).flatten();
        let first = first.take_while(|finalizer| !is_young(finalizer.object)).count();
        self.old_finalizers = finalizers + first;
        let first = self.ready.iter().skip(ready);
        self.old_ready = ready + first.take_while(|ready| !is_young(ready.object)).count();
    }

    /// Expects that the collection that begins now processes the table.
    pub(crate) fn expect(&mut self) {
        self.run.processed = self.is_empty();
        self.run.waited = self.ready.len();
    }

    /// Ends a complete collection. A collection may look at the table several times, so the objects
    /// that it has found dead are put in order. Returns whether it has done its duty.
    pub(crate) fn was_processed(&mut self) -> bool {
        let found = self.ready.make_contiguous();
        let found = &mut found[self.run.waited..];
        if !found.is_sorted_by_key(|finalizer| finalizer.number) {
            found.sort_unstable_by_key(|finalizer| finalizer.number);
            self.old_ready = self.old_ready.min(self.run.waited);
        }
        self.run.processed
    }
}
