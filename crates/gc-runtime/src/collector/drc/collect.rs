//! One collection of the deferred-reference-counting heap, in increments.
//!
//! 1. *Mark*: every object the stack maps name is in the root set; it gets a flag.
//! 2. *Sweep*: members with the flag lose it and stay. The others leave the set,
//!    which counts one reference down; those that nothing else refers to die,
//!    with all that dies with them, before the next member is looked at.
//!
//! Nothing dies before everything is marked. Roots that are not on the stack
//! (tables, globals, host handles) hold counts of their own and need no look.

use super::DrcHeap;
use super::counts::{read_word, write_word};
use crate::{ExternRefHostDataTable, GarbageCollection, GcProgress, GcRootsIter, HeapError};
use gc_types::collector::drc::{IN_ROOT_SET, MARKED};

/// Roots, members and objects an increment looks at: some tens of microseconds.
const INCREMENT: u32 = 4096;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Mark,
    Sweep,
    Complete,
}

pub(super) struct DrcCollection<'a> {
    heap: &'a mut DrcHeap,
    roots: GcRootsIter<'a>,
    host_data: &'a mut ExternRefHostDataTable,
    phase: Phase,
    /// Members of the set from `next` on were not looked at yet; of the others
    /// those that stay were moved below `kept`.
    next: u32,
    kept: u32,
}

impl<'a> DrcCollection<'a> {
    pub(super) fn new(
        heap: &'a mut DrcHeap,
        roots: GcRootsIter<'a>,
        host_data: &'a mut ExternRefHostDataTable,
    ) -> Self {
        DrcCollection { heap, roots, host_data, phase: Phase::Mark, next: 0, kept: 0 }
    }

    /// Marks up to `budget` roots; whether there are no more.
    fn mark(&mut self, budget: &mut u32) -> bool {
        let heap = &mut *self.heap;
        while *budget > 0 {
            *budget -= 1;
            let Some(root) = self.roots.next() else { return true };
            if !root.is_on_stack() {
                continue;
            }
            let Some(index) = root.get().and_then(|root| root.as_heap_index()) else { continue };
            let index = index.get();
            match read_word(&heap.core.memory, &heap.blocks, index) {
                Some(word) if word & IN_ROOT_SET != 0 => {
                    write_word(&mut heap.core.memory, index, word | MARKED);
                }
                Some(_) => heap.core.note_damage(index, "an object on the stack is not in the set"),
                None => heap.core.note_damage(index, "a reference to no object on the stack"),
            }
        }
        false
    }

    /// Sweeps and buries as far as `budget` goes; whether all is done.
    fn sweep(&mut self, budget: &mut u32) -> bool {
        let heap = &mut *self.heap;
        let len = heap.roots.len(&heap.core.memory);
        let mut buried = heap.bury(self.host_data, budget);
        while buried && self.next < len && *budget > 0 {
            *budget -= 1;
            let member = heap.roots.get(self.next);
            self.next += 1;
            match read_word(&heap.core.memory, &heap.blocks, member) {
                Some(word) if word & (IN_ROOT_SET | MARKED) == IN_ROOT_SET | MARKED => {
                    write_word(&mut heap.core.memory, member, word & !MARKED);
                    heap.roots.set(self.kept, member);
                    self.kept += 1;
                }
                Some(word) if word & IN_ROOT_SET != 0 => {
                    write_word(&mut heap.core.memory, member, word & !IN_ROOT_SET);
                    heap.counts().down(member);
                    buried = heap.bury(self.host_data, budget);
                }
                Some(_) => heap.core.note_damage(member, "a member of the set without its flag"),
                None => heap.core.note_damage(member, "a member of the set that is no object"),
            }
        }
        if buried && self.next == len {
            heap.roots.truncate(&mut heap.core.memory, self.kept);
            return true;
        }
        false
    }

    fn complete(&mut self) {
        let heap = &mut *self.heap;
        heap.roots.set_threshold(&heap.core.memory);
        heap.allocated = 0;
        heap.core.stats.collections += 1;
        self.phase = Phase::Complete;
    }

    /// Puts the heap in order without finishing: who was not looked at stays.
    fn abandon(&mut self) {
        let heap = &mut *self.heap;
        if std::mem::replace(&mut self.phase, Phase::Complete) == Phase::Complete {
            return;
        }
        for place in self.next..heap.roots.len(&heap.core.memory) {
            let member = heap.roots.get(place);
            if let Some(word) = read_word(&heap.core.memory, &heap.blocks, member)
                && word & MARKED != 0
            {
                write_word(&mut heap.core.memory, member, word & !MARKED);
            }
            heap.roots.set(self.kept, member);
            self.kept += 1;
        }
        heap.roots.truncate(&mut heap.core.memory, self.kept);
        heap.bury_all(self.host_data);
    }
}

impl<'a> GarbageCollection<'a> for DrcCollection<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        let mut budget = INCREMENT;
        match self.phase {
            Phase::Mark => {
                if self.mark(&mut budget) {
                    self.phase = Phase::Sweep;
                }
            }
            Phase::Sweep => {
                if self.sweep(&mut budget) {
                    self.complete();
                }
            }
            Phase::Complete => {}
        }
        if let Err(damage) = self.heap.core.check_damage() {
            self.abandon();
            return Err(damage);
        }
        Ok(match self.phase {
            Phase::Complete => GcProgress::Complete,
            Phase::Mark | Phase::Sweep => GcProgress::Continue,
        })
    }
}

impl Drop for DrcCollection<'_> {
    fn drop(&mut self) {
        self.abandon();
    }
}
