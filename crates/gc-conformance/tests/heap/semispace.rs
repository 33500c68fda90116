//! A copying collector as a crate outside this project would write it: two spaces in one heap (C.
//! J. Cheney, "A Nonrecursive List Compacting Algorithm", 1970).
//!
//! Objects are in `start .. next`. A collection copies the live ones to the heap's beginning if
//! they fit there, otherwise into its upper half. The collector's word of a copied object is the
//! index of its copy; in other objects it is zero. Everything read from the heap is untrusted. An
//! invalid value is damage and ends the collection.

use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcHeap, GcProgress, GcRequest, GcRootsIter,
    GcRuntime, GcStats, HeapCore, HeapError, HeapMemory, WeakScope, WeakStep, WeakTable,
    WeakTracer,
};
use gc_types::{NULL_PAGE_SIZE, OBJECT_ALIGN, VMGcHeader, VMGcRef};
use std::time::Instant;

pub(crate) struct Semispace;

impl GcRuntime for Semispace {
    fn name(&self) -> &'static str {
        "semispace"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(SemispaceHeap::new(memory, None)))
    }
}

/// The same with a fault in what it does with weak references.
pub(crate) struct FaultySemispace(pub(crate) WeakFault);

/// A fault that a wrapper around a collector cannot have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WeakFault {
    /// What weak references keep is moved, but not what that refers to.
    ForgetsReferents,
    /// Weak references are looked at once.
    StopsEarly,
    /// Host values are dropped before weak references are looked at.
    DropsValuesFirst,
}

impl GcRuntime for FaultySemispace {
    fn name(&self) -> &'static str {
        "faulty-semispace"
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        Ok(Box::new(SemispaceHeap::new(memory, Some(self.0))))
    }
}

struct SemispaceHeap {
    core: HeapCore,
    start: u32,
    next: u32,
    objects: u64,
    fault: Option<WeakFault>,
}

fn corrupt(at: u32, what: &'static str) -> HeapError {
    HeapError::Corrupt { at, what }
}

impl SemispaceHeap {
    fn new(memory: HeapMemory, fault: Option<WeakFault>) -> SemispaceHeap {
        let core = HeapCore::new(memory);
        let (start, next) = (NULL_PAGE_SIZE, NULL_PAGE_SIZE);
        SemispaceHeap { core, start, next, objects: 0, fault }
    }

    fn end(&self) -> u32 {
        u32::try_from(self.core.memory.len()).expect("heaps end below 4 GiB")
    }

    /// The index where allocation must stop, so that the next collection has room.
    fn limit(&self) -> u32 {
        let half = (self.end() - NULL_PAGE_SIZE) / 2 / OBJECT_ALIGN * OBJECT_ALIGN;
        let (below, above) = (self.start - NULL_PAGE_SIZE, (self.end() - self.start) / 2);
        let room = half.min(below.max(above));
        self.start.saturating_add(room).min(self.end()).max(self.next)
    }

    fn walk(&self, mut visit: impl FnMut(u32)) -> Result<(), HeapError> {
        let mut at = self.start;
        while at < self.next {
            let size = self.core.size_at(at)?;
            visit(at);
            at += size;
        }
        if at == self.next { Ok(()) } else { Err(corrupt(at, "the last object is too long")) }
    }
}

impl GcHeap for SemispaceHeap {
    fn core(&self) -> &HeapCore {
        &self.core
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        &mut self.core
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        self.core.check_damage()?;
        let index = self.next;
        let Some(end) = index.checked_add(size).filter(|&end| end <= self.limit()) else {
            return Err(HeapError::NeedsRoom { bytes: size.into() });
        };
        let filled = self.core.memory.fill(index.into(), size.into(), 0);
        filled.and_then(|()| self.core.set_header_at(index, header)).expect("it is mapped");
        self.next = end;
        self.objects += 1;
        self.core.stats.allocations += 1;
        self.core.stats.allocated_bytes += u64::from(size);
        VMGcRef::from_heap_index(index).ok_or(corrupt(index, "an odd index"))
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        // Twice the bytes, because there are two spaces.
        self.core.grow(bytes.saturating_mul(2))
    }

    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        self.core.side.assert_may_collect();
        let GcRequest { roots, host_data, weak, .. } = request;
        Box::new(Copying { heap: self, roots: roots.all(), host_data, weak, complete: false })
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        self.walk(|at| VMGcRef::from_heap_index(at).into_iter().for_each(&mut *visit))
    }

    fn verify(&self) -> Result<(), HeapError> {
        self.core.check_damage()?;
        let mut starts = Vec::new();
        self.walk(|at| starts.push(at))?;
        for &object in &starts {
            if self.core.header_at(object)?.collector_bits() != 0 {
                return Err(corrupt(object, "an object has a copy and no collection is under way"));
            }
            let mut dangling = false;
            self.core.for_each_ref_at(object, |_, to| {
                let to = to.as_heap_index();
                dangling |= to.is_some_and(|to| starts.binary_search(&to.get()).is_err());
            })?;
            if dangling {
                return Err(corrupt(object, "a reference to no object"));
            }
        }
        Ok(())
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.core.stats.clone();
        (stats.live_objects, stats.live_bytes) = (self.objects, u64::from(self.next - self.start));
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        self.core.reset();
        (self.start, self.next, self.objects) = (NULL_PAGE_SIZE, NULL_PAGE_SIZE, 0);
        host_data.clear();
        true
    }
}

struct Copying<'a> {
    heap: &'a mut SemispaceHeap,
    roots: GcRootsIter<'a>,
    host_data: &'a mut ExternRefHostDataTable,
    weak: &'a mut WeakTable,
    complete: bool,
}

/// The space for copies: `start .. next`, at most up to `end`.
struct To {
    start: u32,
    next: u32,
    end: u32,
    objects: u64,
}

impl Copying<'_> {
    fn collect_all(&mut self) -> Result<(), HeapError> {
        let began = Instant::now();
        let heap = &mut *self.heap;
        heap.core.check_damage()?;
        let used = heap.next - heap.start;
        let below = heap.start - NULL_PAGE_SIZE;
        let upper = NULL_PAGE_SIZE + (heap.end() - NULL_PAGE_SIZE).div_ceil(16) * 8;
        let start = if used <= below {
            NULL_PAGE_SIZE
        } else {
            upper.max(heap.next).min(heap.end() - used)
        };
        let mut to = To { start, next: start, end: start + used, objects: 0 };
        for mut root in self.roots.by_ref() {
            if let Some(old) = root.get()
                && let Some(new) = copy(heap, &mut to, &old)?
            {
                root.set(new);
            }
        }
        let mut scan = to.start;
        copy_referents(heap, &mut to, &mut scan)?;
        if heap.fault == Some(WeakFault::DropsValuesFirst) {
            drop_values(heap, &mut to, self.host_data);
        }
        self.weak.begin(WeakScope::All);
        loop {
            let mut during = During { heap: &mut *heap, to: &mut to };
            let step = self.weak.step(&mut during, &mut { u32::MAX });
            if step == WeakStep::Done || heap.fault == Some(WeakFault::StopsEarly) {
                break;
            }
            if heap.fault != Some(WeakFault::ForgetsReferents) {
                copy_referents(heap, &mut to, &mut scan)?;
            }
        }
        heap.core.check_damage()?;
        drop_values(heap, &mut to, self.host_data);
        heap.core.memory.poison(heap.start.into(), used.into());
        (heap.start, heap.next, heap.objects) = (to.start, to.next, to.objects);
        let occupancy = heap.occupancy();
        let live = u64::from(to.next - to.start);
        heap.core.make_plan(&occupancy, live, used.into(), began.elapsed());
        heap.core.stats.collections += 1;
        self.complete = true;
        Ok(())
    }
}

/// Drops the host values of externrefs that have no copy.
fn drop_values(heap: &mut SemispaceHeap, to: &mut To, values: &mut ExternRefHostDataTable) {
    values.begin_sweep(WeakScope::All);
    assert!(values.sweep(&During { heap, to }, &mut { u32::MAX }));
}

/// Copies the objects to which the copies from `scan` on refer, and those to which these refer.
fn copy_referents(heap: &mut SemispaceHeap, to: &mut To, scan: &mut u32) -> Result<(), HeapError> {
    let mut fields = Vec::new();
    while *scan < to.next {
        heap.core.for_each_ref_at(*scan, |at, contents| fields.push((at, contents)))?;
        let size = heap.core.size_at(*scan)?;
        for (at, old) in fields.drain(..) {
            if let Some(new) = copy(heap, to, &old)? {
                let written = heap.core.memory.write_u32(at, new.as_raw_u32());
                written.ok_or(corrupt(at as u32, "a field outside the heap"))?;
            }
        }
        *scan += size;
    }
    heap.core.check_damage()
}

/// The heap during a collection, for weak references.
struct During<'h> {
    heap: &'h mut SemispaceHeap,
    to: &'h mut To,
}

impl WeakTracer for During<'_> {
    fn core(&self) -> &HeapCore {
        &self.heap.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        VMGcRef::from_heap_index(self.heap.core.header(object).ok()?.collector_bits())
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        match copy(self.heap, self.to, object) {
            Ok(Some(new)) => new,
            Ok(None) => object.unchecked_copy(),
            Err(damage) => {
                self.heap.core.damage.get_or_insert(damage);
                object.unchecked_copy()
            }
        }
    }
}

/// The place of the copy of the object to which `old` refers; `None` for an `i31`.
fn copy(
    heap: &mut SemispaceHeap,
    to: &mut To,
    old: &VMGcRef,
) -> Result<Option<VMGcRef>, HeapError> {
    let Some(index) = old.as_heap_index() else { return Ok(None) };
    let index = index.get();
    let inside = index >= heap.start && index < heap.next;
    if !inside || !index.is_multiple_of(OBJECT_ALIGN) {
        return Err(corrupt(index, "a reference to no object"));
    }
    let header = heap.core.header_at(index)?;
    let mut new = header.collector_bits();
    if new == 0 {
        let size = heap.core.size_at(index)?;
        let fits =
            size <= to.end - to.next && u64::from(index) + u64::from(size) <= heap.next.into();
        new = to.next;
        let copied = fits
            .then(|| heap.core.memory.copy_within(new.into(), index.into(), size.into()))
            .flatten();
        copied.ok_or(corrupt(index, "an object too large to be one"))?;
        to.next += size;
        to.objects += 1;
        let forwarded = heap.core.set_header_at(index, header.with_collector_bits(new));
        forwarded.ok_or(corrupt(index, "an object outside the heap"))?;
    }
    if new < to.start || new >= to.next {
        return Err(corrupt(index, "a copy outside the space copied to"));
    }
    VMGcRef::from_heap_index(new).map(Some).ok_or(corrupt(index, "an odd copy"))
}

impl<'a> GarbageCollection<'a> for Copying<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        if !self.complete
            && let Err(error) = self.collect_all()
        {
            self.complete = true;
            self.heap.core.damage.get_or_insert(error.clone());
            return Err(error);
        }
        Ok(GcProgress::Complete)
    }
}
