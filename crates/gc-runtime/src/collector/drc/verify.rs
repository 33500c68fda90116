//! Checks of every invariant the deferred-reference-counting heap keeps.

use super::DrcHeap;
use super::block_map::BlockMap;
use super::counts::count;
use crate::HeapError;
use gc_types::collector::drc::{IN_ROOT_SET, MARKED};

/// Numbers the live objects 0, 1, 2, … in address order.
struct Ranks {
    /// Live bits of each 512 bytes, and the number of live objects below them.
    words: Vec<(u64, u32)>,
}

impl Ranks {
    fn new(map: &BlockMap) -> Ranks {
        let mut below = 0;
        let words = map.live_words().map(|live| {
            let word = (live, below);
            below += live.count_ones();
            word
        });
        Ranks { words: words.collect() }
    }

    /// The number of the object at `index`, which is one.
    fn of(&self, index: u32) -> usize {
        let (word, lower) = BlockMap::live_place(index);
        let (live, below) = self.words[word];
        (below + (live & lower).count_ones()) as usize
    }
}

fn corrupt(at: u32, what: &'static str) -> Result<(), HeapError> {
    Err(HeapError::Corrupt { at, what })
}

impl DrcHeap {
    /// Checks that blocks tile the heap and are free or live as the lists say;
    /// that headers, sizes and references are those of objects; that the root set
    /// and its flags agree; that no count is less than the references there are.
    pub(super) fn verify_all(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.blocks.check().or_else(|(at, what)| corrupt(at, what))?;
        if u64::from(self.blocks.map().end()) != self.core.memory.len() {
            corrupt(self.blocks.map().end(), "the allocator does not end where the heap does")?;
        }
        if !self.dying.is_empty() || self.cursor.is_some() {
            corrupt(0, "dead objects are not buried")?;
        }

        let ranks = Ranks::new(self.blocks.map());
        // References there are to each object, those from the root set included.
        let mut references = vec![0u32; self.blocks.live_objects() as usize];
        let mut is_member = vec![false; references.len()];
        for member in self.roots.members(&self.core.memory) {
            if !self.blocks.is_object(member) {
                corrupt(member, "a member of the root set is no object")?;
            }
            let rank = ranks.of(member);
            if std::mem::replace(&mut is_member[rank], true) {
                corrupt(member, "an object is in the root set twice")?;
            }
            references[rank] += 1;
        }

        for (rank, object) in self.blocks.map().live_blocks().enumerate() {
            let bits = self.core.header_at(object)?.collector_bits();
            if self.blocks.size(object) != Some(self.core.size_at(object)?) {
                corrupt(object, "an object is not of its block's size")?;
            }
            if (bits & IN_ROOT_SET != 0) != is_member[rank] {
                corrupt(object, "an object's flag says otherwise than the root set")?;
            }
            if bits & MARKED != 0 {
                corrupt(object, "an object is marked and no collection is under way")?;
            }
            let mut dangling = false;
            self.core.trace_at(object, |_, contents| match contents.as_heap_index() {
                Some(target) if self.blocks.is_object(target.get()) => {
                    references[ranks.of(target.get())] += 1;
                }
                Some(_) => dangling = true,
                None => {}
            })?;
            if dangling {
                corrupt(object, "an object refers to what is no object")?;
            }
        }

        for (rank, object) in self.blocks.map().live_blocks().enumerate() {
            let counted = count(self.core.header_at(object)?.collector_bits());
            if counted == 0 {
                corrupt(object, "an object without a reference is alive")?;
            }
            if counted < references[rank] {
                corrupt(object, "an object has more references than are counted")?;
            }
        }
        Ok(())
    }
}
