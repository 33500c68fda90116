//! The stages that several kinds of collections share: emptying the nursery, marking from the
//! roots, evacuating blocks.
//!
//! Each stage does a bounded part of its work at a time and returns whether it is done.

use super::super::GenerationalHeap;
use super::super::weak::{Marking, Scavenging};
use crate::{ExternRefHostDataTable, GcRootsIter, HeapView, WeakScope, WeakStep, WeakTable};
use gc_types::VMGcRef;

/// Number of young objects to which roots refer that are fetched at the same time.
const ROOTS: usize = 64;

/// The heap, the roots, the weak references and the host values on which an increment works, and its remaining
/// budget.
pub(super) struct Increment<'c, 'a> {
    pub(super) heap: &'c mut GenerationalHeap,
    pub(super) roots: &'c mut GcRootsIter<'a>,
    pub(super) weak: &'c mut WeakTable,
    pub(super) values: &'c mut ExternRefHostDataTable,
    pub(super) budget: &'c mut u32,
}

/// Empties the nursery: moves its reachable objects to the old generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScavengeStage {
    /// Follows the roots.
    Roots,
    /// Scans the cards of old objects.
    Cards,
    /// Scans the moved objects, and moves those that weak references keep.
    Grey,
    /// Drops the host values of dead externrefs.
    Values,
}

impl ScavengeStage {
    /// Begins the stage. The iterator over the roots must be at the first root.
    pub(super) fn begin(on: &mut Increment<'_, '_>) -> ScavengeStage {
        on.heap.begin_minor();
        on.weak.begin(WeakScope::Young);
        ScavengeStage::Roots
    }

    /// Does a part of the work. Returns whether the nursery is empty, or its survivors are
    /// retained.
    pub(super) fn work(&mut self, on: &mut Increment<'_, '_>) -> bool {
        match self {
            ScavengeStage::Roots => {
                if on.scavenge_roots() {
                    *self = ScavengeStage::Cards;
                }
            }
            ScavengeStage::Cards => {
                if on.heap.scan_cards(on.budget) {
                    *self = ScavengeStage::Grey;
                }
            }
            ScavengeStage::Grey => {
                if on.scavenge_weak() && on.heap.core.damage.is_none() {
                    on.values.begin_sweep(WeakScope::Young);
                    *self = ScavengeStage::Values;
                }
            }
            ScavengeStage::Values => {
                if on.sweep_values() {
                    on.end_minor();
                    return true;
                }
            }
        }
        false
    }
}

/// Moves the live objects of the chosen blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evacuate {
    /// Moves objects.
    Objects,
    /// Updates the slots in objects that refer to moved objects.
    Slots,
    /// Updates the roots.
    Roots,
}

impl Evacuate {
    /// Does a part of the work. Returns whether everything is updated.
    pub(super) fn work(&mut self, on: &mut Increment<'_, '_>) -> bool {
        match self {
            Evacuate::Objects => {
                let GenerationalHeap { core, shapes, old, major, .. } = &mut *on.heap;
                if major.evacuator.move_some(core, shapes, old, on.budget) {
                    *self = Evacuate::Slots;
                }
            }
            Evacuate::Slots => {
                if on.heap.update_evacuated(on.budget) {
                    on.roots.restart();
                    *self = Evacuate::Roots;
                }
            }
            Evacuate::Roots => return on.update_roots(),
        }
        false
    }
}

impl Increment<'_, '_> {
    /// Moves the referents of roots out of the nursery. Returns whether there are no more roots.
    pub(super) fn scavenge_roots(&mut self) -> bool {
        let heap = &mut *self.heap;
        let mut last = false;
        while !last && *self.budget > 0 && heap.core.damage.is_none() {
            let (mut roots, mut words) = ([const { None }; ROOTS], [0; ROOTS]);
            let mut count = 0;
            while count < ROOTS && *self.budget > 0 {
                *self.budget -= 1;
                let Some(root) = self.roots.next() else {
                    last = true;
                    break;
                };
                heap.scavenger.roots = heap.scavenger.roots.saturating_add(1);
                let Some(word) = root.get().map(|word| word.as_raw_u32()) else { continue };
                if heap.is_young(word) {
                    if let Some(bytes) = heap.core.memory.bytes() {
                        bytes.prefetch_object(word);
                    }
                    (roots[count], words[count]) = (Some(root), word);
                    count += 1;
                } else if heap.scavenger.trace.is_active {
                    heap.trace(word);
                }
            }
            heap.forward_all(&mut words[..count]);
            for (root, &word) in roots.iter_mut().zip(&words[..count]) {
                if let Some(root) = root
                    && let Some(new) = VMGcRef::from_heap_index(word)
                {
                    root.set(new);
                }
            }
            // A trace that finds too much is given up, but not before all roots are visited.
            if !heap.scavenger.trace.is_active {
                heap.scan_found(self.budget);
            }
        }
        last
    }

    /// Scans the objects that were found, and finds what weak references keep. Returns whether this
    /// is done.
    pub(super) fn scavenge_weak(&mut self) -> bool {
        if !self.heap.scan_found(self.budget) || self.heap.core.damage.is_some() {
            return false;
        }
        self.weak.step(&mut Scavenging(self.heap), self.budget) == WeakStep::Done
    }

    /// Marks the objects that were found, and those that weak references keep. Returns whether this
    /// is done.
    pub(super) fn mark_weak(&mut self) -> bool {
        if !self.heap.mark_some(self.budget) || self.heap.core.damage.is_some() {
            return false;
        }
        let done = self.weak.step(&mut Marking(self.heap), self.budget) == WeakStep::Done;
        done && self.heap.core.damage.is_none()
    }

    /// Drops the host values of externrefs that were not found. The destructors are the embedder's, so their time
    /// does not count for the size of the nursery.
    pub(super) fn sweep_values(&mut self) -> bool {
        let measured = self.values.is_empty();
        if !measured {
            self.heap.end_increment();
        }
        let done = self.values.sweep(&Scavenging(self.heap), self.budget);
        if !measured {
            self.heap.begin_increment();
        }
        done
    }

    /// Drops the host values of externrefs that were not marked, then ends marking. Returns whether this is
    /// done.
    pub(super) fn end_marking(&mut self) -> bool {
        let done = self.values.sweep(&Marking(self.heap), self.budget);
        if done {
            self.heap.end_marking();
        }
        done
    }

    /// Ends a minor collection.
    pub(super) fn end_minor(&mut self) {
        self.heap.end_minor();
        if !self.heap.nursery.retains() {
            // No object is young.
            self.roots.forget_new();
        }
    }

    /// Marks the referents of roots. Returns whether there are no more roots.
    pub(super) fn mark_roots(&mut self) -> bool {
        while *self.budget > 0 && self.heap.core.damage.is_none() {
            *self.budget -= 1;
            let Some(root) = self.roots.next() else { return true };
            root.get().iter().for_each(|word| self.heap.mark(word.as_raw_u32()));
        }
        false
    }

    /// Updates roots that refer to evacuated objects. Returns whether there are no more roots.
    fn update_roots(&mut self) -> bool {
        while *self.budget > 0 {
            *self.budget -= 1;
            let Some(mut root) = self.roots.next() else {
                let heap = &*self.heap;
                let evacuated = |old: &VMGcRef| heap.evacuated(old.as_raw_u32());
                let mut new = |old: &VMGcRef| evacuated(old).and_then(VMGcRef::from_heap_index);
                self.weak.update(&mut new);
                self.values.update(&mut new);
                self.heap.end_evacuation();
                return true;
            };
            if let Some(new) = root.get().and_then(|old| self.heap.evacuated(old.as_raw_u32()))
                && let Some(new) = VMGcRef::from_heap_index(new)
            {
                root.set(new);
            }
        }
        false
    }

    /// Sweeps the old generation and gives free memory back. Returns whether this is done.
    pub(super) fn sweep(&mut self) -> bool {
        if !self.heap.sweep_some(self.budget) {
            return false;
        }
        self.heap.give_back_some(self.budget);
        !self.heap.is_giving_back()
    }
}
