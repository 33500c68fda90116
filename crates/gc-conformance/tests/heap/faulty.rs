//! A collector with one fault, as a wrapper around any other collector.

use gc_runtime::{
    ExternRefHostDataTable, GarbageCollection, GcCause, GcHeap, GcProgress, GcRequest, GcRootsList,
    GcRuntime, GcStats, HeapCore, HeapError, HeapMemory, LastResort, Reclaims, WeakScope, WeakStep,
    WeakTable, WeakTracer,
};
use gc_types::{GcLayout, TypeIndex, VMGcHeader, VMGcKind, VMGcRef};
use std::num::NonZeroU32;

/// The fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The last word of one in a hundred objects is not zero.
    DirtyBody,
    /// One in a hundred objects has the type of the next number.
    WrongType,
    /// New objects are misplaced by eight bytes now and then.
    Overlap,
    /// One in fifty writes to a field is lost.
    LostFieldWrite,
    /// Fields are written without a barrier.
    NoFieldBarrier,
    /// Copies of references go upwards even where they overlap.
    CopyUpwards,
    /// Slots are written without a barrier.
    NoSlotBarrier,
    /// Clones are not counted.
    NoCloneBarrier,
    /// Dropped references are kept.
    NoDropBarrier,
    /// Exposed references are also dropped.
    DropsExposed,
    /// The stack's roots are not visited.
    ForgetsRoots,
    /// Roots are visited, but their host values are dropped.
    DropsHostValues,
    /// Host values are kept.
    KeepsHostValues,
    /// A collection does not sweep host values.
    IgnoresHostValues,
    /// A collection does nothing.
    NoCollection,
    /// A complete collection is not complete when asked again.
    NeverComplete,
    /// Collections begin inside no-GC scopes.
    IgnoresScopes,
    /// Growth reports one page too many.
    WrongGrowth,
    /// Objects are counted twice.
    WrongCount,
    /// Reset does nothing.
    NoReset,
    /// Reset leaves host values alone.
    ResetKeepsHostValues,
    /// Damage is a panic.
    PanicsOnDamage,
    /// Damage is not reported.
    IgnoresDamage,
    /// After a collection, entering compiled code needs another.
    AlwaysNeedsGc,
    /// Every other externref has the box of the one before.
    WrongHostValue,
    /// Host values are dropped in barriers, and their panics unwind out of the barriers.
    UnwindsBarriers,
    /// A null root is overwritten.
    WritesNullRoots,
    /// Objects are visited in any order.
    WrongOrder,
    /// There is an object beyond the end of the heap.
    ObjectBehindEnd,
    /// Cycles are not freed.
    LeaksCycles,
    /// Collections never end.
    NeverEnds,
    /// A collection that is dropped early leaves its work half done.
    NeverAbandons,
    /// Unknown slow-path operations do something.
    AnySlowPath,
    /// The collector declares that collections free nothing.
    SaysNothingDies,
    /// The collector declares that it does not move objects.
    SaysObjectsStay,
    /// Weak references are not looked at.
    IgnoresWeak,
    /// Weak references are left as they are.
    SkipsWeak,
    /// Weak references keep their objects.
    StrongWeak,
    /// Weak references of live objects are cleared.
    ClearsWeak,
    /// Weak references are read without a barrier.
    NoWeakBarrier,
}

pub(crate) struct Faulty<'a> {
    pub(crate) inner: &'a dyn GcRuntime,
    pub(crate) fault: Fault,
}

impl GcRuntime for Faulty<'_> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn wrapped(&self) -> Option<&dyn GcRuntime> {
        Some(self.inner)
    }

    fn reclaims(&self) -> Reclaims {
        match self.fault {
            Fault::SaysNothingDies => Reclaims::Nothing,
            _ => self.inner.reclaims(),
        }
    }

    fn moves_objects(&self) -> bool {
        self.fault != Fault::SaysObjectsStay && self.inner.moves_objects()
    }

    fn new_gc_heap(&self, memory: HeapMemory) -> Result<Box<dyn GcHeap>, HeapError> {
        let inner = self.inner.new_gc_heap(memory)?;
        let (no_roots, no_values, no_weak) = Default::default();
        let (fault, last_box) = (self.fault, None);
        Ok(Box::new(FaultyHeap { inner, fault, count: 0, last_box, no_roots, no_values, no_weak }))
    }
}

struct FaultyHeap {
    inner: Box<dyn GcHeap>,
    fault: Fault,
    count: u32,
    last_box: Option<VMGcRef>,
    no_roots: GcRootsList,
    no_values: ExternRefHostDataTable,
    no_weak: WeakTable,
}

impl FaultyHeap {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Whether this is the `n`th occasion for the fault.
    fn has_every(&mut self, n: u32, fault: Fault) -> bool {
        self.count += u32::from(self.fault == fault);
        self.fault == fault && self.count.is_multiple_of(n)
    }

    fn spoil(&mut self, object: VMGcRef, header: VMGcHeader, size: u32) -> VMGcRef {
        let at = u64::from(object.as_raw_u32());
        let last = at + u64::from(size) - 4;
        if size > 16 && self.has_every(100, Fault::DirtyBody) {
            let _written = self.inner.core_mut().memory.write_u32(last, 0x10);
        }
        if self.has_every(100, Fault::WrongType) {
            let _written = self.inner.core_mut().memory.write_u32(at, header.word() + 7);
        }
        if size > 16 && self.has_every(100, Fault::Overlap) {
            let _written = self.inner.core_mut().set_header_at(object.as_raw_u32() + 8, header);
            return VMGcRef::from_heap_index(object.as_raw_u32() + 8).unwrap_or(object);
        }
        object
    }
}

impl GcHeap for FaultyHeap {
    fn core(&self) -> &HeapCore {
        self.inner.core()
    }

    fn core_mut(&mut self) -> &mut HeapCore {
        self.inner.core_mut()
    }

    fn wrapped(&self) -> Option<&dyn GcHeap> {
        Some(&*self.inner)
    }

    fn wrapped_mut(&mut self) -> Option<&mut dyn GcHeap> {
        Some(&mut *self.inner)
    }

    fn clone_gc_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        if self.has(Fault::NoCloneBarrier) {
            return gc_ref.unchecked_copy();
        }
        self.inner.clone_gc_ref(gc_ref)
    }

    fn read_weak_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        if self.has(Fault::NoWeakBarrier) {
            return gc_ref.unchecked_copy();
        }
        self.inner.read_weak_ref(gc_ref)
    }

    fn drop_gc_ref(&mut self, host_data: &mut ExternRefHostDataTable, gc_ref: VMGcRef) {
        if self.has_every(10, Fault::NoDropBarrier) {
            return;
        }
        if self.has(Fault::UnwindsBarriers)
            && let Ok(id) = self.inner.externref_host_data(&gc_ref)
        {
            host_data.dealloc(id);
            host_data.resume_panic();
        }
        self.inner.drop_gc_ref(host_data, gc_ref);
    }

    fn write_gc_ref(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        destination: &mut Option<VMGcRef>,
        source: Option<&VMGcRef>,
    ) {
        if self.has(Fault::NoSlotBarrier) {
            *destination = source.map(VMGcRef::unchecked_copy);
            return;
        }
        self.inner.write_gc_ref(host_data, destination, source);
    }

    fn write_field_ref(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        if self.has_every(50, Fault::LostFieldWrite) {
            return Ok(());
        }
        if self.has(Fault::NoFieldBarrier) {
            let raw = source.map_or(0, VMGcRef::as_raw_u32);
            let written = self.core_mut().memory.write_u32(at, raw);
            return written.ok_or(HeapError::Corrupt { at: at as u32, what: "unmapped" });
        }
        self.inner.write_field_ref(host_data, at, source)
    }

    fn copy_ref_range(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        to: u64,
        from: u64,
        count: u32,
    ) -> Result<(), HeapError> {
        if !self.has(Fault::CopyUpwards) {
            return self.inner.copy_ref_range(host_data, to, from, count);
        }
        (0..u64::from(count))
            .try_for_each(|i| self.inner.copy_ref_range(host_data, to + i * 4, from + i * 4, 1))
    }

    fn fill_ref_range(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        (0..u64::from(count)).try_for_each(|i| self.write_field_ref(host_data, at + i * 4, source))
    }

    fn expose_gc_ref_to_wasm(&mut self, gc_ref: VMGcRef) -> u32 {
        let copy = gc_ref.unchecked_copy();
        let word = self.inner.expose_gc_ref_to_wasm(gc_ref);
        if self.has_every(20, Fault::DropsExposed) {
            self.inner.drop_gc_ref(&mut ExternRefHostDataTable::default(), copy);
        }
        word
    }

    fn need_gc_before_entering_wasm(&self, count: NonZeroU32) -> bool {
        self.has(Fault::AlwaysNeedsGc) || self.inner.need_gc_before_entering_wasm(count)
    }

    fn collector_slow_path(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        operation: u32,
        gc_ref: Option<VMGcRef>,
        operand: u64,
    ) -> u64 {
        if self.has(Fault::AnySlowPath) {
            let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
            let _allocated = self.inner.alloc_raw(header, GcLayout::EXTERNREF_SIZE);
        }
        self.inner.collector_slow_path(host_data, operation, gc_ref, operand)
    }

    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError> {
        if self.has(Fault::PanicsOnDamage) {
            self.core().check_damage().expect("an undamaged heap");
        }
        if self.has(Fault::IgnoresDamage) {
            self.core_mut().damage = None;
        }
        if self.has(Fault::WrongHostValue) && header.kind() == Some(VMGcKind::ExternRef) {
            if let Some(last) = self.last_box.take() {
                return Ok(last);
            }
            let new = self.inner.alloc_raw(header, size)?;
            self.last_box = Some(new.unchecked_copy());
            return Ok(new);
        }
        let object = self.inner.alloc_raw(header, size)?;
        Ok(self.spoil(object, header, size))
    }

    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        self.alloc_raw(header, size).ok()
    }

    fn alloc_last_resort(
        &mut self,
        header: VMGcHeader,
        size: u32,
        why: LastResort,
    ) -> Result<VMGcRef, HeapError> {
        let object = self.inner.alloc_last_resort(header, size, why)?;
        Ok(self.spoil(object, header, size))
    }

    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let grown = self.inner.grow(bytes)?;
        Ok(if self.has(Fault::WrongGrowth) { grown + 4096 } else { grown })
    }

    fn gc<'a>(&'a mut self, mut request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a> {
        match self.fault {
            Fault::IgnoresScopes => self.inner.core_mut().side.no_gc_scopes = 0,
            Fault::ForgetsRoots => request.roots = &mut self.no_roots,
            Fault::DropsHostValues => request.host_data.clear(),
            Fault::IgnoresHostValues => request.host_data = &mut self.no_values,
            Fault::KeepsHostValues => {
                request.host_data.keep_all();
                request.host_data = &mut self.no_values;
            }
            // Nothing waits for the next collection with this cause. A full heap still looks for cycles.
            Fault::LeaksCycles if request.cause != GcCause::Exhausted => {
                request.cause = GcCause::HostValues;
            }
            Fault::IgnoresWeak => request.weak = &mut self.no_weak,
            Fault::SkipsWeak => {
                request.weak.keep_all();
                request.weak = &mut self.no_weak;
            }
            Fault::StrongWeak => {
                let mut targets = Vec::new();
                request.weak.for_each(&mut |target| targets.push(Some(target)));
                request.roots.add_segment(0, targets);
            }
            Fault::ClearsWeak => {
                let mut dead = AllDead(self.inner.core());
                request.weak.begin(WeakScope::All);
                while request.weak.step(&mut dead, &mut { u32::MAX }) != WeakStep::Done {}
            }
            Fault::NoCollection => {
                self.core().side.assert_may_collect();
                self.core_mut().stats.collections += 1;
                return Box::new(Nothing);
            }
            Fault::NeverComplete => {
                return Box::new(Again { inner: self.inner.gc(request), complete: false });
            }
            Fault::NeverEnds => return Box::new(Endless),
            Fault::NeverAbandons => return Box::new(Kept(self.inner.gc(request))),
            Fault::WritesNullRoots => {
                if let Some(mut root) = request.roots.stack().next()
                    && root.get().is_none()
                {
                    root.set(VMGcRef::from_i31(gc_types::I31::wrapping_u32(1)));
                }
            }
            _ => {}
        }
        self.inner.gc(request)
    }

    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError> {
        if self.has(Fault::ObjectBehindEnd) {
            self.inner.for_each_object(visit)?;
            VMGcRef::from_heap_index(self.core().memory.len() as u32).map(visit);
            return Ok(());
        }
        if !self.has(Fault::WrongOrder) {
            return self.inner.for_each_object(visit);
        }
        let mut objects = Vec::new();
        self.inner.for_each_object(&mut |object| objects.push(object))?;
        objects.into_iter().rev().for_each(visit);
        Ok(())
    }

    fn verify(&self) -> Result<(), HeapError> {
        // The fault must show without the collector's help.
        if self.has(Fault::None) { self.inner.verify() } else { self.core().check_damage() }
    }

    fn verify_with_roots(&self, roots: &mut GcRootsList) -> Result<(), HeapError> {
        match self.fault {
            Fault::None => self.inner.verify_with_roots(roots),
            _ => self.verify(),
        }
    }

    fn stats(&self) -> GcStats {
        let mut stats = self.inner.stats();
        if self.has(Fault::WrongCount) {
            stats.live_objects *= 2;
        }
        stats
    }

    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        match self.fault {
            Fault::NoReset => host_data.clear(),
            Fault::ResetKeepsHostValues => {
                let _reset = self.inner.reset(&mut ExternRefHostDataTable::default());
            }
            _ => return self.inner.reset(host_data),
        }
        true
    }
}

/// Tells weak references that no object lives.
struct AllDead<'a>(&'a HeapCore);

impl WeakTracer for AllDead<'_> {
    fn core(&self) -> &HeapCore {
        self.0
    }

    fn survivor(&self, _object: &VMGcRef) -> Option<VMGcRef> {
        None
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        object.unchecked_copy()
    }
}

struct Nothing;

impl GarbageCollection<'_> for Nothing {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        Ok(GcProgress::Complete)
    }
}

struct Endless;

impl GarbageCollection<'_> for Endless {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        Ok(GcProgress::Continue)
    }
}

struct Kept<'a>(Box<dyn GarbageCollection<'a> + 'a>);

impl<'a> GarbageCollection<'a> for Kept<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        self.0.collect_increment()
    }

    fn abandon(&mut self) {}
}

struct Again<'a> {
    inner: Box<dyn GarbageCollection<'a> + 'a>,
    complete: bool,
}

impl<'a> GarbageCollection<'a> for Again<'a> {
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        let progress = self.inner.collect_increment()?;
        self.complete ^= progress == GcProgress::Complete;
        Ok(if self.complete { progress } else { GcProgress::Continue })
    }
}
