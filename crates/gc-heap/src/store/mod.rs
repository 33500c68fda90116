//! [`GcStore`]: one heap with its side tables, its collections (`collect.rs`) and its barriers.
//! `room.rs` handles allocations that find no room.
//!
//! A collection is skipped if not all roots can be found. With zeal, every Nth allocation collects
//! first, and the heap is verified before and after every collection (`verify.rs`).

mod barriers;
mod collect;
mod collecting;
mod given_time;
mod handles;
mod held;
mod late;
mod objects;
mod reset;
mod room;
mod side;
mod verify;
mod weak;

use crate::heap_pool::PooledPlace;
use crate::{
    ExternRefHostDataId, ExternRefHostDataTable, FuncRefTable, GcCause, GcHeap, GcRootsList,
    GcRuntime, GcStats, HeapBounds, HeapError, HeapFactory, HeapMapping, HeapOptions, HostPanic,
    HostValue, PauseLog, PolicyFactory, Reclaims, TraceRoots, WeakTable, factory,
};
use gc_types::{
    Abi, AbiDifference, CollectorAbi, ExnLayout, GcLayout, HeapDataOffsets, NULL_PAGE_SIZE,
    StorageType, TypeIndex, VMGcHeader, VMGcKind, VMGcRef,
};
pub use given_time::GcLeft;
use held::StoreHeap;
pub use side::StoreSide;
use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Number of host values at which allocating another one asks for a collection. Host values may be
/// large, and the heap's size does not include them.
const HOST_DATA_THRESHOLD: u32 = 1 << 14;

/// A request for an allocation.
#[derive(Clone, Copy)]
struct Request {
    header: VMGcHeader,
    size: u32,
    /// The id of an externref's box.
    id: Option<ExternRefHostDataId>,
}

/// What precedes each use of a heap.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeapState {
    /// Nothing.
    Usual,
    /// An allocation is counted first.
    Zeal,
    /// Every use is refused: a collector works, or it was unwound.
    Interrupted,
}

impl HeapState {
    /// The state of a heap that is not damaged.
    fn with(zeal: u32) -> HeapState {
        if zeal == 0 { HeapState::Usual } else { HeapState::Zeal }
    }
}

/// A heap with its side tables and the driver of its collector.
///
/// The heap of a [lazy](GcStore::lazy) store is made when it is needed.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
/// use gc_types::{GcLayout, StorageType, StructLayout, TypeIndex, VMGcHeader};
/// use std::sync::{Arc, OnceLock};
///
/// let cell = TypeIndex::new(0).unwrap();
/// let layout = GcLayout::Struct(StructLayout::new([StorageType::I64]).unwrap());
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// store.ensure_layout(cell, &Arc::new(layout))?;
///
/// // The only field is after the header.
/// let object = store.alloc_struct(&mut NoStack, cell)?;
/// store.write_field(&object, VMGcHeader::SIZE, StorageType::I64, 42)?;
///
/// // A handle keeps the object alive. The collection moves it.
/// let handle = store.root(object).unwrap();
/// store.alloc_struct(&mut NoStack, cell)?;
/// store.gc(&mut NoStack)?;
/// assert_eq!(store.stats().live_objects, 1);
/// let object = store.rooted(&handle).unwrap();
/// assert_eq!(store.read_field(object, VMGcHeader::SIZE, StorageType::I64)?, 42);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
pub struct GcStore {
    heap: StoreHeap,
    /// The place of the heap among those of its factory, if a factory has made it.
    pooled: Option<(PooledPlace, Arc<HeapFactory>)>,
    /// The memory that was made for the heap. Until there is a heap, address space that is never mapped.
    mapping: Arc<HeapMapping>,
    state: HeapState,
    /// Makes the heap, if there is none yet.
    without_heap: Option<Arc<HeapFactory>>,
    policy: PolicyFactory,
    /// The garbage that collections reclaim.
    reclaims: Reclaims,
    collector: Arc<CollectorAbi>,
    bounds: HeapBounds,
    host_data: ExternRefHostDataTable,
    func_refs: FuncRefTable,
    /// Made at the first collection, or with the first weak reference.
    weak: OnceLock<Box<WeakTable>>,
    roots: GcRootsList,
    zeal: u32,
    /// Number of collections under zeal that will not be verified.
    unverified: u32,
    host_data_threshold: u32,
    /// Whether a warning about a skipped collection was logged.
    warned: bool,
}

impl fmt::Debug for GcStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcStore")
            .field("heap", &self.heap.get().map(GcHeap::core))
            .field("host_data", &self.host_data)
            .field("zeal", &self.zeal)
            .finish_non_exhaustive()
    }
}

impl GcStore {
    /// Reserves memory as `options` specify and makes a heap of `runtime` in it.
    ///
    /// # Errors
    /// If the options cannot be satisfied (zeal needs the feature `gc_zeal`) or the system refuses.
    pub fn new(runtime: &dyn GcRuntime, options: &HeapOptions) -> Result<GcStore, HeapError> {
        factory::check(options)?;
        let options = options.clone().cut_to(runtime);
        let collector = Arc::new(runtime.heap_abi());
        let heap = factory::make(runtime, &options, &collector)?;
        let mapping = heap.core().memory.mapping();
        let mut store = GcStore::with(mapping, None, collector, runtime.reclaims(), &options);
        store.heap.put(heap);
        store.begin();
        Ok(store)
    }

    #[inline(always)]
    fn with(
        mapping: Arc<HeapMapping>,
        without_heap: Option<Arc<HeapFactory>>,
        collector: Arc<CollectorAbi>,
        reclaims: Reclaims,
        options: &HeapOptions,
    ) -> GcStore {
        GcStore {
            mapping,
            heap: StoreHeap::none(StoreSide::new(options.policy.make(), options.pause_target)),
            pooled: None,
            state: HeapState::with(options.zeal),
            without_heap,
            policy: options.policy.clone(),
            reclaims,
            collector,
            bounds: options.bounds,
            weak: OnceLock::new(),
            host_data: ExternRefHostDataTable::default(),
            func_refs: FuncRefTable::default(),
            roots: GcRootsList::default(),
            zeal: options.zeal,
            unverified: 0,
            host_data_threshold: HOST_DATA_THRESHOLD,
            warned: false,
        }
    }

    /// Prepares a heap that is new or was reset.
    fn begin(&mut self) {
        let zeal = self.zeal;
        let Some(heap) = self.heap.aside() else { return };
        let occupancy = heap.occupancy();
        let core = heap.core_mut();
        core.make_plan(&occupancy, 0, 0, Duration::ZERO);
        core.memory.set_data_u32(HeapDataOffsets::ZEAL_COUNTDOWN, zeal);
    }

    /// Checks that code with the ABI `abi` is compiled for heaps like this one: that they have the
    /// same collector, the same values of its options, the same bounds, and both zeal or none. Also
    /// does [`check_memory`](GcStore::check_memory).
    ///
    /// # Errors
    /// What differs. Here is the heap, there is the code.
    pub fn check_abi(&self, abi: &Abi) -> Result<(), AbiDifference> {
        self.check_memory()?;
        abi.check_heap(&self.collector, self.bounds, self.zeal != 0)
    }

    /// Checks that the heap is still in the memory that was made for it. Emitted code may use data
    /// words of this memory as addresses, which only the heap's collector writes. Somebody may have
    /// replaced the memory through [`heap_mut`](GcStore::heap_mut).
    ///
    /// # Errors
    /// If the heap is in other memory.
    pub fn check_memory(&self) -> Result<(), AbiDifference> {
        if self.heap.get().is_none_or(|heap| heap.core().memory.is_in(&self.mapping)) {
            return Ok(());
        }
        let [here, there] = ["replaced", "the heap's own"].map(|text| Some(text.to_owned()));
        Err(AbiDifference { name: "heap.memory".to_owned(), here, there })
    }

    /// The heap. `None` until it is [made](GcStore::ensure_heap).
    pub fn heap(&self) -> Option<&dyn GcHeap> {
        self.heap.get()
    }

    /// The heap, mutable. `None` until it is [made](GcStore::ensure_heap).
    pub fn heap_mut(&mut self) -> Option<&mut dyn GcHeap> {
        match self.heap.get_mut() {
            Some(heap) => Some(heap),
            None => None,
        }
    }

    /// The address space of the heap. Until there is a heap, it is address space that is never mapped: code that has
    /// its addresses can access nothing.
    pub fn mapping(&self) -> &Arc<HeapMapping> {
        &self.mapping
    }

    /// What the store tells its heap.
    pub fn side(&self) -> &StoreSide {
        self.heap.side()
    }

    /// Enters a scope in which no collection may begin. Scopes nest.
    pub fn enter_no_gc_scope(&mut self) {
        self.heap.side_mut().enter_no_gc_scope();
    }

    /// Leaves the innermost no-GC scope.
    ///
    /// # Panics
    /// If there is no no-GC scope.
    pub fn exit_no_gc_scope(&mut self) {
        self.heap.side_mut().exit_no_gc_scope();
    }

    /// The function references that compiled code may find in objects.
    pub fn func_refs(&self) -> &FuncRefTable {
        &self.func_refs
    }

    /// The function references, mutable.
    pub fn func_refs_mut(&mut self) -> &mut FuncRefTable {
        &mut self.func_refs
    }

    /// The roots outside the stack.
    pub fn roots(&self) -> &GcRootsList {
        &self.roots
    }

    /// The roots, mutable. The embedder registers slots outside the stack here.
    pub fn roots_mut(&mut self) -> &mut GcRootsList {
        &mut self.roots
    }

    /// The host values of externrefs.
    pub fn host_data(&self) -> &ExternRefHostDataTable {
        &self.host_data
    }

    /// Registers the layout of a type before its first object.
    ///
    /// # Errors
    /// If the type has another layout.
    pub fn ensure_layout(
        &mut self,
        ty: TypeIndex,
        layout: &Arc<GcLayout>,
    ) -> Result<(), HeapError> {
        self.heap.side_mut().layouts.ensure(ty, layout)
    }

    /// Checks that no collection was interrupted by a panic of the store's policy or of its source
    /// of memory. The bytes and the tables of such a heap contradict each other. Until it is
    /// [reset](GcStore::reset), it allocates and collects nothing, and no compiled code may run.
    ///
    /// # Errors
    /// [`HeapError::Interrupted`] if one was.
    #[inline]
    pub fn check_usable(&self) -> Result<(), HeapError> {
        match self.state {
            HeapState::Interrupted => Err(HeapError::Interrupted),
            _ => Ok(()),
        }
    }

    /// Must be called before compiled code runs, which uses the heap without telling the store.
    /// Returns whether it may run: whether the heap is [usable](GcStore::check_usable).
    #[inline]
    #[must_use]
    pub fn enter_compiled(&mut self) -> bool {
        self.heap.note_use();
        self.state != HeapState::Interrupted
    }

    // ---- allocation: collects and grows as needed; `tracer` finds the stack's roots ----

    /// Allocates a struct or an exception (for
    /// [`HostCall::ALLOC_STRUCT`](gc_types::HostCall::ALLOC_STRUCT)). Every field is zero. As in
    /// all allocations here, the caller holds the only reference.
    ///
    /// # Errors
    /// If there is no room and none can be made, the type is of another kind, or the heap is
    /// corrupt.
    pub fn alloc_struct(
        &mut self,
        tracer: &mut dyn TraceRoots,
        ty: TypeIndex,
    ) -> Result<VMGcRef, HeapError> {
        let (kind, size) = match self.heap.side().layouts.get(ty) {
            Some(GcLayout::Struct(layout)) => (VMGcKind::StructRef, layout.size),
            Some(GcLayout::Exn(layout)) => (VMGcKind::ExnRef, layout.size),
            _ => return Err(HeapError::UnknownType { ty }),
        };
        self.alloc(tracer, VMGcHeader::new(kind, ty), size)
    }

    /// Allocates an array of `length` elements that are all zero.
    ///
    /// # Errors
    /// As [`alloc_struct`](GcStore::alloc_struct);
    /// [`HeapError::TooLarge`] if no heap can hold it.
    pub fn alloc_array(
        &mut self,
        tracer: &mut dyn TraceRoots,
        ty: TypeIndex,
        length: u32,
    ) -> Result<VMGcRef, HeapError> {
        let Some(GcLayout::Array(layout)) = self.heap.side().layouts.get(ty) else {
            return Err(HeapError::UnknownType { ty });
        };
        let size = layout.size(length).ok_or(HeapError::TooLarge { length: u64::from(length) })?;
        let array = self.alloc(tracer, VMGcHeader::new(VMGcKind::ArrayRef, ty), size)?;
        self.write_word(&array, gc_types::ArrayLayout::LENGTH_OFFSET, length)?;
        Ok(array)
    }

    /// Allocates an exception of the tag `tag_index` of `tag_instance`. The payload is zero.
    ///
    /// # Errors
    /// As [`alloc_struct`](GcStore::alloc_struct).
    pub fn alloc_exn(
        &mut self,
        tracer: &mut dyn TraceRoots,
        ty: TypeIndex,
        tag_instance: u32,
        tag_index: u32,
    ) -> Result<VMGcRef, HeapError> {
        let Some(GcLayout::Exn(layout)) = self.heap.side().layouts.get(ty) else {
            return Err(HeapError::UnknownType { ty });
        };
        let size = layout.size;
        let exn = self.alloc(tracer, VMGcHeader::new(VMGcKind::ExnRef, ty), size)?;
        self.write_word(&exn, ExnLayout::TAG_INSTANCE_OFFSET, tag_instance)?;
        self.write_word(&exn, ExnLayout::TAG_INDEX_OFFSET, tag_index)?;
        Ok(exn)
    }

    /// Allocates an externref's box around `value`. The value is dropped when the box dies or the
    /// store is reset or dropped.
    ///
    /// # Errors
    /// As [`alloc_struct`](GcStore::alloc_struct), or if there are 2^32 host values. The error
    /// returns the value.
    pub fn alloc_externref(
        &mut self,
        tracer: &mut dyn TraceRoots,
        value: HostValue,
    ) -> Result<VMGcRef, (HeapError, HostValue)> {
        if self.host_data.len() >= self.host_data_threshold
            && self.may_collect()
            && let Err(error) = self.collect(tracer, GcCause::HostValues)
        {
            return Err((error, value));
        }
        let Some(id) = self.host_data.reserve() else {
            return Err((HeapError::TooLarge { length: 1 << 32 }, value));
        };
        let externref = match self.alloc_externref_box(tracer, id) {
            Ok(externref) => externref,
            Err(error) => {
                self.host_data.release(id);
                return Err((error, value));
            }
        };
        match self.host_data.fill(id, value) {
            Ok(()) => {
                self.host_data.set_box(id, &externref);
                Ok(externref)
            }
            Err(value) => {
                let at = externref.as_raw_u32();
                self.drop_gc_ref(externref);
                Err((HeapError::Corrupt { at, what: "an externref's id was released" }, value))
            }
        }
    }

    fn alloc_externref_box(
        &mut self,
        tracer: &mut dyn TraceRoots,
        id: ExternRefHostDataId,
    ) -> Result<VMGcRef, HeapError> {
        if self.state != HeapState::Usual {
            self.before_alloc(tracer)?;
        }
        let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
        let size = GcLayout::EXTERNREF_SIZE;
        self.alloc_slow(tracer, Request { header, size, id: Some(id) })
    }

    /// The host value behind an externref.
    ///
    /// # Errors
    /// If the reference does not refer to an externref with a host value.
    pub fn externref_host_data(
        &self,
        externref: &VMGcRef,
    ) -> Result<&(dyn Any + Send + Sync), HeapError> {
        let id = self.heap.of(externref)?.externref_host_data(externref)?;
        self.host_data.get(id).ok_or(HeapError::Corrupt {
            at: externref.as_raw_u32(),
            what: "an externref without a host value",
        })
    }

    /// The host value behind an externref, mutable.
    ///
    /// # Errors
    /// If the reference does not refer to an externref with a host value.
    pub fn externref_host_data_mut(
        &mut self,
        externref: &VMGcRef,
    ) -> Result<&mut (dyn Any + Send + Sync), HeapError> {
        let id = self.heap.of(externref)?.externref_host_data(externref)?;
        self.host_data.get_mut(id).ok_or(HeapError::Corrupt {
            at: externref.as_raw_u32(),
            what: "an externref without a host value",
        })
    }

    #[inline]
    fn alloc(
        &mut self,
        tracer: &mut dyn TraceRoots,
        header: VMGcHeader,
        size: u32,
    ) -> Result<VMGcRef, HeapError> {
        if self.state != HeapState::Usual {
            self.before_alloc(tracer)?;
        }
        let object = match self.heap.get_mut().and_then(|heap| heap.alloc_fast(header, size)) {
            Some(object) => object,
            None => self.alloc_slow(tracer, Request { header, size, id: None })?,
        };
        self.check_new(&object, size)?;
        Ok(object)
    }

    /// Checks the place of a new object. Emitted code initializes it without a check.
    #[inline]
    fn check_new(&self, object: &VMGcRef, size: u32) -> Result<(), HeapError> {
        let mapped = object.as_heap_index().is_some_and(|at| {
            at.get() >= NULL_PAGE_SIZE
                && u64::from(at.get()) + u64::from(size) <= self.heap.made().core().memory.len()
        });
        if mapped {
            Ok(())
        } else {
            Err(HeapError::Corrupt {
                at: object.as_raw_u32(),
                what: "a new object outside the heap",
            })
        }
    }

    /// With zeal, counts one allocation and collects if it is the Nth. Emitted code counts too, and
    /// gets here when the counter is zero.
    #[cold]
    fn before_alloc(&mut self, tracer: &mut dyn TraceRoots) -> Result<(), HeapError> {
        self.check_usable()?;
        self.ensure_heap()?;
        let memory = &mut self.heap.made_mut().core_mut().memory;
        let left = memory.data_u32(HeapDataOffsets::ZEAL_COUNTDOWN);
        if left > 1 {
            memory.set_data_u32(HeapDataOffsets::ZEAL_COUNTDOWN, left - 1);
            return Ok(());
        }
        self.rearm_zeal();
        if self.heap.side().no_gc_scopes == 0 {
            self.collect(tracer, GcCause::Zeal)?;
        }
        Ok(())
    }

    fn rearm_zeal(&mut self) {
        let zeal = self.zeal;
        self.heap.made_mut().core_mut().memory.set_data_u32(HeapDataOffsets::ZEAL_COUNTDOWN, zeal);
    }

    /// Writes a scalar word of an object that was just allocated.
    fn write_word(&mut self, object: &VMGcRef, offset: u32, word: u32) -> Result<(), HeapError> {
        self.write_field(object, offset, StorageType::I32, u128::from(word))
    }

    // ---- the whole ------------------------------------------------------

    /// Counters.
    pub fn stats(&self) -> GcStats {
        let Some(mut stats) = self.heap.get().map(GcHeap::stats) else { return GcStats::default() };
        stats.peak_heap_bytes = stats.peak_heap_bytes.max(stats.heap_bytes);
        stats
    }

    /// The pauses of the mutator.
    pub fn pauses(&self) -> &PauseLog {
        &self.heap.side().pauses
    }

    /// Resumes the first panic in the drop of a host value since the last call, if there was one.
    /// While the thread is panicking already, the panic waits.
    ///
    /// No panic of a host value unwinds out of an allocation or a barrier, because compiled code
    /// may be above them on the stack, or a loop may be half done. Code that returns to the host
    /// calls this method when everything is consistent.
    ///
    /// # Panics
    /// If the drop of a host value panicked.
    #[inline]
    pub fn resume_host_panic(&mut self) {
        self.host_data.resume_panic();
    }

    /// The [`HostPanic`] that keeps panics of host values. While a clone of it exists, dropping the
    /// store does not resume them. Dropping the last clone does.
    pub fn host_panic(&self) -> HostPanic {
        self.host_data.host_panic()
    }
}
