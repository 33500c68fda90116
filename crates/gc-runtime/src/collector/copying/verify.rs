//! Checks of all invariants of the copying heap.

use super::CopyingHeap;
use super::chunks::{Chunks, State};
use crate::{HeapError, HeapMemory};
use gc_types::collector::copying::{CHUNK_SIZE, LIMIT, NEXT};
use gc_types::{NULL_PAGE_SIZE, OBJECT_ALIGN};

fn corrupt(at: u32, what: &'static str) -> Result<(), HeapError> {
    Err(HeapError::Corrupt { at, what })
}

/// The starts of objects: one bit for each eight bytes of the heap.
struct Starts(Vec<u64>);

impl Starts {
    fn place(index: u32) -> (usize, u64) {
        let place = index.wrapping_sub(NULL_PAGE_SIZE) / OBJECT_ALIGN;
        (place as usize / 64, 1 << (place % 64))
    }

    fn set(&mut self, index: u32) {
        let (word, bit) = Starts::place(index);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }

    /// Whether an object starts at `index`, which may be any number.
    fn is_set(&self, index: u32) -> bool {
        let (word, bit) = Starts::place(index);
        index.is_multiple_of(OBJECT_ALIGN) && self.0.get(word).is_some_and(|word| word & bit != 0)
    }
}

impl CopyingHeap {
    /// Checks the pool's counts and the cursor; that headers and sizes are valid and no forwarding
    /// word remains; that references refer to the starts of objects; and that memory to be handed out is
    /// zero.
    pub(super) fn verify_all(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        self.chunks.check().or_else(|(at, what)| corrupt(at, what))?;
        if u64::from(self.chunks.len()) != self.core.memory.usable() / u64::from(CHUNK_SIZE) {
            corrupt(NULL_PAGE_SIZE, "the pool does not have all mapped chunks")?;
        }
        self.verify_cursor()?;

        let mut starts =
            Starts(vec![0; (self.chunks.len() * (CHUNK_SIZE / 8)).div_ceil(64) as usize]);
        self.walk_all(&mut |index, _| {
            let header = self.core.header_at(index)?;
            if header.collector_bits() != 0 {
                corrupt(index, "unexpected collector bits in a header")?;
            }
            starts.set(index);
            Ok(())
        })?;
        self.walk_all(&mut |index, _| {
            let mut dangling = false;
            self.core.for_each_ref_at(index, |_, contents| {
                dangling |= contents.as_heap_index().is_some_and(|to| !starts.is_set(to.get()));
            })?;
            if dangling {
                corrupt(index, "an object refers to something that is not an object")
            } else {
                Ok(())
            }
        })?;
        Ok(())
    }

    fn verify_cursor(&self) -> Result<(), HeapError> {
        let memory = &self.core.memory;
        let (next, limit) = (memory.data_u32(NEXT), memory.data_u32(LIMIT));
        let Some(current) = self.current else {
            return if next < limit { corrupt(next, "free memory in no chunk") } else { Ok(()) };
        };
        if self.chunks.state(current) != Some(State::Live) || self.chunks.is_retained(current) {
            corrupt(next, "the chunk that is being filled has a wrong state")?;
        }
        let inside =
            Chunks::start(current) <= next && next <= limit && limit <= Chunks::limit(current);
        if !inside || !next.is_multiple_of(OBJECT_ALIGN) {
            corrupt(next, "the next object's index is not in its chunk")?;
        }
        let mut bytes = vec![HeapMemory::POISON; (limit - next) as usize];
        memory.read_bytes(next.into(), &mut bytes);
        match bytes.iter().position(|&byte| byte != 0) {
            Some(at) => corrupt(next + at as u32, "memory for the next objects is not zero"),
            None => Ok(()),
        }
    }
}
