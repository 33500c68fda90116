//! The over-approximated set of objects the stack may refer to: a chunk of native
//! memory that emitted code appends to and a collection sweeps.
//!
//! An object is in it at most once, which its header's `IN_ROOT_SET` flag tells,
//! and membership counts as one reference. The chunk's address, length and
//! capacity are in the heap data. It is allocated when the first reference
//! reaches the stack, and doubles when it is full.

use crate::HeapMemory;
use gc_types::collector::drc::{ROOT_SET_BASE, ROOT_SET_CAPACITY, ROOT_SET_LEN};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// References the first chunk has room for.
const FIRST_CAPACITY: usize = 1 << 10;
/// Members below which entering compiled code never asks for a collection.
const FIRST_THRESHOLD: u32 = 1 << 14;

/// The native half of the set; the other half is in the heap data.
#[derive(Debug)]
pub(super) struct RootSet {
    /// Atomic because emitted code writes it behind a shared address.
    chunk: Vec<AtomicU32>,
    threshold: u32,
}

impl RootSet {
    /// The empty set, for which nothing is allocated. The heap data is zero.
    pub(super) fn new() -> RootSet {
        RootSet { chunk: Vec::new(), threshold: FIRST_THRESHOLD }
    }

    /// Number of members.
    #[inline]
    pub(super) fn len(&self, memory: &HeapMemory) -> u32 {
        memory.data_u32(ROOT_SET_LEN).min(self.capacity())
    }

    fn capacity(&self) -> u32 {
        self.chunk.len() as u32
    }

    /// Appends a reference.
    #[inline]
    pub(super) fn push(&mut self, memory: &mut HeapMemory, member: u32) {
        let len = self.len(memory);
        if len == self.capacity() {
            self.grow(memory);
        }
        self.chunk[len as usize].store(member, Relaxed);
        memory.set_data_u32(ROOT_SET_LEN, len + 1);
    }

    #[cold]
    fn grow(&mut self, memory: &mut HeapMemory) {
        let capacity = (self.chunk.len() * 2).max(FIRST_CAPACITY);
        self.chunk.resize_with(capacity, AtomicU32::default);
        self.publish(memory);
    }

    /// Writes address and capacity to the heap data.
    fn publish(&self, memory: &mut HeapMemory) {
        memory.set_data_u64(ROOT_SET_BASE, self.chunk.as_ptr().expose_provenance() as u64);
        memory.set_data_u32(ROOT_SET_CAPACITY, self.capacity());
    }

    /// The member at `place`, below the length.
    #[inline]
    pub(super) fn get(&self, place: u32) -> u32 {
        self.chunk[place as usize].load(Relaxed)
    }

    /// Puts `member` at `place`, below the length.
    #[inline]
    pub(super) fn set(&mut self, place: u32, member: u32) {
        self.chunk[place as usize].store(member, Relaxed);
    }

    /// All members.
    pub(super) fn members(&self, memory: &HeapMemory) -> impl Iterator<Item = u32> {
        self.chunk[..self.len(memory) as usize].iter().map(|member| member.load(Relaxed))
    }

    /// Keeps the first `len` members.
    pub(super) fn truncate(&mut self, memory: &mut HeapMemory, len: u32) {
        memory.set_data_u32(ROOT_SET_LEN, len.min(self.len(memory)));
    }

    /// Sets the threshold after a collection: twice what survived.
    pub(super) fn set_threshold(&mut self, memory: &HeapMemory) {
        self.threshold = self.len(memory).saturating_mul(2).max(FIRST_THRESHOLD);
    }

    /// Whether `count` more would pass the threshold.
    pub(super) fn is_crowded(&self, memory: &HeapMemory, count: u32) -> bool {
        self.len(memory).saturating_add(count) > self.threshold
    }

    /// Empties the set, whose heap data was zeroed; keeps the chunk.
    pub(super) fn reset(&mut self, memory: &mut HeapMemory) {
        self.threshold = FIRST_THRESHOLD;
        if !self.chunk.is_empty() {
            self.publish(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapOptions};

    #[test]
    fn the_chunk_comes_late_and_doubles() {
        let bounds = HeapBounds::Checked;
        let options = HeapOptions { initial: 0, maximum: 0, bounds, ..HeapOptions::default() };
        let mut memory = HeapMemory::new(&options).unwrap();
        let mut set = RootSet::new();
        assert_eq!((set.len(&memory), set.chunk.capacity()), (0, 0));
        for i in 0..3000 {
            set.push(&mut memory, i * 8);
        }
        assert_eq!(memory.data_u32(ROOT_SET_LEN), 3000);
        assert_eq!(memory.data_u32(ROOT_SET_CAPACITY), 4096);
        assert_eq!(memory.data_u64(ROOT_SET_BASE), set.chunk.as_ptr().addr() as u64);
        assert!(set.members(&memory).eq((0..3000).map(|i| i * 8)));
        assert!(!set.is_crowded(&memory, 1) && set.is_crowded(&memory, FIRST_THRESHOLD));
        set.truncate(&mut memory, 10);
        assert_eq!(set.len(&memory), 10);
    }
}
