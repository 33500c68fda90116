//! `null`: bump allocation that never collects.
//!
//! Each object is placed directly after the previous one, and nothing is ever freed. This is the
//! fastest possible allocation. It suits programs that end before the heap is full, and is the
//! baseline for the other collectors. (The JVM's Epsilon, JEP 318, is similar.) Emitted code
//! allocates inline between the data words `NEXT` and `LIMIT`. The host does the same here. Memory
//! is handed out once and is therefore zero. Barriers do nothing, and header bits are zero.

use crate::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcProgress, GcRequest, GcRuntime, GcStats,
    HeapCore, HeapError, HeapMemory, Occupancy, Reclaims,
};
use gc_types::collector::null::{LIMIT, NAME, NEXT};
use gc_types::{NULL_PAGE_SIZE, VMGcHeader, VMGcRef};
use std::sync::{Mutex, PoisonError};

/// Makes heaps that never collect.
#[derive(Clone, Copy, Debug, Default)]
pub struct NullCollector;

impl GcRuntime for NullCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn summary(&self) -> &'static str {
        "programs that end before the heap is full, and as a baseline: no barriers, no collections"
    }

    fn moves_objects(&self) -> bool {
        false
    }

    fn reclaims(&self) -> Reclaims {
        Reclaims::Nothing
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        let mut heap = NullHeap { core: HeapCore::new(memory), counted: Mutex::default() };
        heap.set_up();
        Ok(Box::new(heap))
    }
}

struct NullHeap {
    core: HeapCore,
    /// The objects that were counted so far. Emitted code does not count the objects that it makes.
    counted: Mutex<Counted>,
}

/// The number of objects before the one at `at`. The object at `at` is counted again each time,
/// because its size may not have been written yet.
#[derive(Clone, Copy)]
struct Counted {
    at: u32,
    objects: u64,
}

impl Default for Counted {
    fn default() -> Counted {
        Counted { at: NULL_PAGE_SIZE, objects: 0 }
    }
}

impl NullHeap {
    fn set_up(&mut self) {
        self.core.memory.set_data_u32(NEXT, NULL_PAGE_SIZE);
        self.raise_limit();
    }

    fn raise_limit(&mut self) {
        let limit = u32::try_from(self.core.memory.len()).expect("heaps end below 4 GiB");
        self.core.memory.set_data_u32(LIMIT, limit);
    }

    fn next(&self) -> u32 {
        self.core.memory.data_u32(NEXT)
    }

    fn used_bytes(&self) -> u64 {
        u64::from(self.next().saturating_sub(NULL_PAGE_SIZE))
    }

    /// Calls `visit` with the index of each object from the one at `at` on.
    fn walk(&self, mut at: u32, mut visit: impl FnMut(u32)) -> Result<(), HeapError> {
        let end = self.next();
        while at < end {
            // `size` is at least a header's, and `at + size` is mapped.
            let size = self.core.size_at(at)?;
            visit(at);
            at += size;
        }
        if at == end {
            Ok(())
        } else {
            Err(HeapError::Corrupt {
                at,
                what: "the last object extends beyond the next free index",
            })
        }
    }
}

impl NullHeap {
    /// Counts the objects that were not counted before.
    fn count_objects(&self) -> u64 {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut objects, mut last) = (counted.objects, *counted);
        let walked = self.walk(counted.at, |at| {
            last = Counted { at, objects };
            objects += 1;
        });
        if let Err(damage) = walked {
            log::warn!("allocations are counted only up to the damage: {damage}");
        }
        *counted = last;
        objects
    }
}

impl GcHeap for NullHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    fn counts_handles(&self) -> bool {
        false
    }

    fn copy_ref_range(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        to: u64,
        from: u64,
        count: u32,
    ) -> Result<(), HeapError> {
        self.core.copy_refs_at(to, from, count)
    }

    fn fill_ref_range(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        self.core.fill_refs_at(at, source, count)
    }

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        VMGcRef::from_heap_index(self.core.bump(header, size)?)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        self.alloc_fast(header, size).ok_or(HeapError::NeedsRoom { bytes: size.into() })
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let grown = self.core.grow(bytes)?;
        self.raise_limit();
        Ok(grown)
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.assert_may_collect();
        request.weak.keep_all();
        request.host_data.keep_all();
        Box::new(NullCollection { heap: self, complete: false })
    }

    fn occupancy(&self) -> Occupancy {
        Occupancy { used: self.used_bytes(), collection_pays: false, ..Occupancy::default() }
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.walk(NULL_PAGE_SIZE, |at| {
            VMGcRef::from_heap_index(at).into_iter().for_each(&mut *visit);
        })
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        let mut starts = Vec::new();
        self.walk(NULL_PAGE_SIZE, |at| starts.push(at))?;
        for &object in &starts {
            if self.core.header_at(object)?.collector_bits() != 0 {
                return Err(HeapError::Corrupt {
                    at: object,
                    what: "unexpected collector bits in a header",
                });
            }
            let mut dangling = false;
            self.core.for_each_ref_at(object, |_, contents| {
                let target = contents.as_heap_index();
                dangling |= target.is_some_and(|index| starts.binary_search(&index.get()).is_err());
            })?;
            if dangling {
                return Err(HeapError::Corrupt { at: object, what: "a reference to no object" });
            }
        }
        Ok(())
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats.clone();
        let objects = self.count_objects();
        let bytes = self.used_bytes();
        (stats.allocations, stats.live_objects) = (objects, objects);
        (stats.allocated_bytes, stats.live_bytes) = (bytes, bytes);
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        self.set_up();
        self.counted = Mutex::default();
        host_data.clear();
        true
    }
}

struct NullCollection<'a> {
    heap: &'a mut NullHeap,
    complete: bool,
}

impl<'a> GarbageCollection<'a> for NullCollection<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        if !self.complete {
            self.complete = true;
            self.heap.core.check_damage()?;
            self.heap.core.stats.collections += 1;
        }
        Ok(GcProgress::Complete)
    }
}
