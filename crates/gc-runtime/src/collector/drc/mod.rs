//! `drc`: deferred reference counting.
//!
//! L. Peter Deutsch and Daniel G. Bobrow, "An Efficient, Incremental, Automatic
//! Garbage Collector", 1976. Counts change only when a reference is stored in the
//! heap, a table, a global or a host handle; what compiled code holds in registers
//! and frames costs nothing to copy and drop. Instead every object whose reference
//! reaches the stack enters an over-approximated set of roots (`root_set.rs`), once,
//! and membership counts as one reference. A collection compares the set with the
//! precise roots from stack maps and counts the others down (`collect.rs`); an
//! object whose count reaches zero then, or in any barrier, dies at once with all
//! that hangs on it (`counts.rs`). Cycles are never freed (Luke Quinane, "An
//! Examination of Deferred Reference Counting and Cycle Detection", 2003, has an
//! overview of what can be done about them).
//!
//! New objects are made by the host, with a count of one that belongs to whoever
//! asked; [`GcHeap::expose_gc_ref_to_wasm`] turns that count into membership.
//! Memory comes from segregated free lists (`free_list.rs`), whose metadata is native
//! and cannot be damaged from inside the heap.

mod block_map;
mod collect;
mod counts;
mod free_list;
mod root_set;
#[cfg(test)]
mod tests;
mod verify;

use crate::object::unmapped;
use crate::{
    ExternRefHostDataTable, GarbageCollection, GcCause, GcHeap, GcRootsIter, GcRuntime, GcStats,
    HeapCore, HeapError, HeapMemory, RootsWanted,
};
use collect::DrcCollection;
use counts::{ArrayCursor, count, read_word, write_word};
use free_list::{Allocation, FreeList};
use gc_types::collector::drc::{COUNT_ONE, IN_ROOT_SET, NAME, OP_DEAD, OP_ROOT_SET_FULL};
use gc_types::{NULL_PAGE_SIZE, VMGcHeader, VMGcRef};
use root_set::RootSet;
use std::num::NonZeroU32;

/// Makes heaps under deferred reference counting.
#[derive(Clone, Copy, Debug, Default)]
pub struct DrcCollector;

impl GcRuntime for DrcCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn max_heap_size(&self) -> u64 {
        gc_types::collector::drc::MAX_HEAP_SIZE
    }

    fn new_gc_heap(&self, memory: HeapMemory, zeal: u32) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(DrcHeap::new(memory, zeal != 0)))
    }
}

struct DrcHeap {
    core: HeapCore,
    blocks: FreeList,
    roots: RootSet,
    /// Objects whose count is zero and that are not buried yet. Empty between the
    /// heap's methods, unless a collection is under way.
    dying: Vec<u32>,
    /// The array that is being buried.
    cursor: Option<ArrayCursor>,
    /// Bytes allocated since the last collection.
    allocated: u64,
    /// Whether freed memory is overwritten.
    poison: bool,
}

impl DrcHeap {
    fn new(memory: HeapMemory, poison: bool) -> DrcHeap {
        let mut heap = DrcHeap {
            core: HeapCore::new(memory),
            blocks: FreeList::new(NULL_PAGE_SIZE),
            roots: RootSet::new(),
            dying: Vec::new(),
            cursor: None,
            allocated: 0,
            poison,
        };
        heap.take_new_memory();
        heap
    }

    /// Lets the allocator have what is mapped behind what it knows.
    fn take_new_memory(&mut self) {
        self.blocks.extend(u32::try_from(self.core.memory.len()).expect("heaps end below 4 GiB"));
    }

    #[cold]
    fn alloc_merged(&mut self, size: u32) -> Option<Allocation> {
        let (memory, blocks) = (&self.core.memory, &mut self.blocks);
        // Merging looks at every block: only for much, or as a last resort.
        let worth = if memory.len() == memory.maximum() { 1 } else { memory.usable() / 4 };
        if blocks.free_bytes() < u64::from(size) || blocks.mergeable() < worth {
            return None;
        }
        blocks.consolidate();
        blocks.alloc(size)
    }

    /// Makes an object of a block. `None` cannot be, since blocks are mapped.
    #[inline]
    fn begin_object(
        &mut self,
        Allocation { index, used }: Allocation,
        header: VMGcHeader,
        size: u32,
    ) -> Option<VMGcRef> {
        let core = &mut self.core;
        if let Some(used_body @ 1..) = used.checked_sub(VMGcHeader::SIZE) {
            core.memory.fill(u64::from(index + VMGcHeader::SIZE), u64::from(used_body), 0)?;
        }
        core.set_header_at(index, header.with_collector_bits(COUNT_ONE))?;
        self.allocated += u64::from(size);
        core.stats.allocations += 1;
        core.stats.allocated_bytes += u64::from(size);
        VMGcRef::from_heap_index(index)
    }

    /// Makes an object a member of the root set, with `added` references more.
    fn enter_root_set(&mut self, index: u32, word: u32, added: u32) {
        let word = (word | IN_ROOT_SET).wrapping_add(added * COUNT_ONE);
        write_word(&mut self.core.memory, index, word);
        self.roots.push(&mut self.core.memory, index);
    }
}

impl GcHeap for DrcHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    // ---- barriers -------------------------------------------------------

    fn clone_gc_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        self.counts().up(gc_ref.as_raw_u32());
        gc_ref.unchecked_copy()
    }

    fn drop_gc_ref(&mut self, host_data: &mut ExternRefHostDataTable, gc_ref: VMGcRef) {
        self.counts().down(gc_ref.as_raw_u32());
        self.bury_all(host_data);
    }

    fn write_gc_ref(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        destination: &mut Option<VMGcRef>,
        source: Option<&VMGcRef>,
    ) {
        // Up before down: the new object may be the old one, or hang on it.
        let new = source.map(|source| self.clone_gc_ref(source));
        if let Some(old) = std::mem::replace(destination, new) {
            self.drop_gc_ref(host_data, old);
        }
    }

    fn write_field_ref(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        let old = self.core.memory.read_u32(at).ok_or_else(|| unmapped(at as u32))?;
        let new = source.map_or(0, VMGcRef::as_raw_u32);
        let mut counts = self.counts();
        counts.up(new);
        counts.memory.write_u32(at, new).ok_or_else(|| unmapped(at as u32))?;
        counts.down(old);
        self.bury_all(host_data);
        Ok(())
    }

    fn expose_gc_ref_to_wasm(&mut self, gc_ref: VMGcRef) -> u32 {
        let raw = gc_ref.as_raw_u32();
        if gc_ref.is_i31() {
            return raw;
        }
        match read_word(&self.core.memory, &self.blocks, raw) {
            None => self.core.note_damage(raw, "a reference to no object was exposed"),
            // Membership holds one reference, the caller another.
            Some(word) if word & IN_ROOT_SET != 0 => match count(word) {
                0 | 1 => self.core.note_damage(raw, "a reference that was not counted"),
                _ => write_word(&mut self.core.memory, raw, word - COUNT_ONE),
            },
            Some(word) if count(word) == 0 => {
                self.core.note_damage(raw, "a reference that was not counted");
            }
            Some(word) => self.enter_root_set(raw, word, 0),
        }
        raw
    }

    fn need_gc_before_entering_wasm(&self, count: NonZeroU32) -> bool {
        self.roots.is_crowded(&self.core.memory, count.get())
    }

    fn collector_slow_path(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        operation: u32,
        gc_ref: Option<VMGcRef>,
        _operand: u64,
    ) -> u64 {
        let Some(index) = gc_ref.as_ref().and_then(VMGcRef::as_heap_index) else { return 0 };
        let index = index.get();
        match (operation, read_word(&self.core.memory, &self.blocks, index)) {
            (OP_DEAD, Some(word)) if count(word) == 0 && word & IN_ROOT_SET == 0 => {
                self.dying.push(index);
                self.bury_all(host_data);
            }
            (OP_DEAD, Some(_)) => {
                self.core.note_damage(index, "an object died that is referred to")
            }
            (OP_ROOT_SET_FULL, Some(word)) => {
                if word & IN_ROOT_SET == 0 {
                    self.enter_root_set(index, word, 1);
                }
            }
            (OP_DEAD | OP_ROOT_SET_FULL, None) => {
                self.core.note_damage(index, "compiled code has a reference to no object");
            }
            _ => log::error!("the drc collector has no slow path {operation}"),
        }
        0
    }

    // ---- allocation -----------------------------------------------------

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        debug_assert!(size >= VMGcHeader::SIZE && size.is_multiple_of(8));
        if self.core.damage.is_some() {
            return None;
        }
        let block = self.blocks.alloc(size)?;
        self.begin_object(block, header, size)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        if let Some(object) = self.alloc_fast(header, size) {
            return Ok(object);
        }
        let block = self.alloc_merged(size).ok_or(HeapError::NeedsRoom { bytes: size.into() })?;
        self.begin_object(block, header, size).ok_or_else(|| unmapped(block.index))
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let grown = self.core.grow(bytes)?;
        self.take_new_memory();
        Ok(grown)
    }

    // ---- collection -----------------------------------------------------

    fn announce_gc(&mut self, _cause: GcCause) -> RootsWanted {
        RootsWanted::Stack
    }

    fn gc<'a>(
        &'a mut self,
        roots: GcRootsIter<'a>,
        host_data: &'a mut ExternRefHostDataTable,
    ) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.assert_may_collect();
        Box::new(DrcCollection::new(self, roots, host_data))
    }

    /// A collection costs time for each member of the root set, and most of what
    /// it frees was allocated since the last one.
    fn collection_pays(&self) -> bool {
        self.allocated > self.core.memory.usable() / 2
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.blocks.map().live_blocks().filter_map(VMGcRef::from_heap_index).for_each(visit);
        Ok(())
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.verify_all()
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats.clone();
        stats.live_objects = self.blocks.live_objects();
        stats.live_bytes = self.blocks.live_bytes();
        stats
    }

    fn used_bytes(&self) -> u64 {
        self.blocks.live_bytes()
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) {
        self.core.reset();
        self.roots.reset(&mut self.core.memory);
        self.blocks.clear();
        self.take_new_memory();
        self.dying.clear();
        self.cursor = None;
        self.allocated = 0;
        host_data.clear();
    }
}
