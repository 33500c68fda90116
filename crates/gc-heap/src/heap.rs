//! [`GcHeap`]: the interface of every collector's heap.
//!
//! # The duties of a `GcHeap`
//! 1. Objects live only in [`HeapCore::memory`]. Everything read from there is untrusted.
//! 2. Between two calls of [`gc`](GcHeap::gc) no object moves or is freed, except
//!    those whose last reference a barrier of this heap dropped.
//! 3. A reference handed out (by an allocation or `clone_gc_ref`) stays valid
//!    until `drop_gc_ref` or `expose_gc_ref_to_wasm` takes it back. The references of scoped handles are not
//!    handed out. They are like those on the stack: every collection must visit them
//!    ([`GcRootsList::uncounted`], [`GcRootsList::all`]).
//! 4. Allocations return objects with a complete header and a zero body.
//! 5. No method panics on a corrupt heap. If a method without a `Result` finds damage, it continues
//!    only with safe actions and records the damage ([`HeapCore::note_damage`]). The next
//!    allocation or collection reports it.
//! 6. `i31`s refer to no object. Every barrier accepts them.
//! 7. The store drops the host values of dead externrefs. A collection lets it
//!    [sweep](ExternRefHostDataTable::sweep) their boxes. Or it [keeps all](ExternRefHostDataTable::keep_all), and
//!    the heap reports each death ([`dealloc`](ExternRefHostDataTable::dealloc)). If a drop panics, the table keeps the panic. No method
//!    resumes it, because compiled code may be above the method on the stack.
//! 8. A collection looks at the weak references of the store ([`GcRequest::weak`]) when it has
//!    found what lives, and before it frees anything or drops a host value.
//!    [`WeakTracer`](crate::WeakTracer) has the details.

use crate::{
    ExternRefHostDataId, ExternRefHostDataTable, GarbageCollection, GcRequest, GcRootsList,
    GcStats, HeapCore, HeapError, HeapUsage, Idle,
};
use gc_types::{GcLayout, TypeIndex, VMGcHeader, VMGcKind, VMGcRef, forward};
use std::num::NonZeroU32;
use std::time::Duration;

/// The reason why an allocation is tried [once more](GcHeap::alloc_last_resort).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LastResort {
    /// A collection could not begin, because not all roots were found.
    NoCollection,
    /// All garbage was freed, and the heap cannot grow.
    NoMemory,
}

/// The use of a heap's memory, and whether a collection is worth its cost ([`GcHeap::occupancy`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// The bytes of the heap's objects, some of which may be garbage.
    pub used: u64,
    /// Bytes of mapped memory whose pages were given back to the system.
    pub given_back: u64,
    /// Bytes that should be allocated at least between two collections of the whole heap. A
    /// collection has a cost even if nothing lives.
    pub least_room: u64,
    /// Bytes by which the heap must grow to reach the goal of the policy's plan, if that is known.
    pub wanted: Option<u64>,
    /// Whether a collection is likely to be worth its cost, after an allocation found no room. If
    /// not, the heap grows first.
    pub collection_pays: bool,
    /// Whether young objects are also collected on their own, so that a collection of the whole heap
    /// frees only what has survived that.
    pub frees_young: bool,
}

impl Default for Occupancy {
    /// The occupancy of an empty heap that is collected whenever an allocation finds no room.
    fn default() -> Occupancy {
        Occupancy {
            used: 0,
            given_back: 0,
            least_room: 0,
            wanted: None,
            collection_pays: true,
            frees_young: false,
        }
    }
}

/// A heap under one collector.
///
/// The methods that are the same for all collectors are in [`HeapCore`], and some also on `dyn
/// GcHeap`.
///
/// # Examples
/// A store has a heap and calls these methods. A tester may call them directly:
///
/// ```
/// use gc_heap::toy::ToyCollector;
/// use gc_heap::{GcRuntime, HeapMemory, HeapOptions};
/// use gc_types::{ArrayLayout, GcLayout, StorageType, TypeIndex, VMGcHeader, VMGcKind};
/// use std::sync::Arc;
///
/// let mut heap = ToyCollector.new_gc_heap(HeapMemory::new(&HeapOptions::default())?)?;
/// let bytes = TypeIndex::new(3).unwrap();
/// let layout = ArrayLayout::new(StorageType::I8);
/// heap.core_mut().side.layouts.ensure(bytes, &Arc::new(GcLayout::Array(layout)))?;
///
/// let header = VMGcHeader::new(VMGcKind::ArrayRef, bytes);
/// let array = heap.alloc_raw(header, layout.size(0).unwrap())?;
/// assert_eq!(heap.header(&array)?, header);
/// assert!(heap.is_kind(&array, VMGcKind::EqRef));
/// assert_eq!(heap.object_size(&array)?, 16);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
pub trait GcHeap: Send + Sync {
    /// The state that all heaps have.
    fn core(&self) -> &HeapCore;
    /// The state that all heaps have, mutable.
    fn core_mut(&mut self) -> &mut HeapCore;

    /// The heap that this one wraps, to watch or to change what it does. Then each provided method calls
    /// that of the wrapped heap, so the wrapper implements only the required methods and those that it
    /// changes. The wrapped heap calls its own methods: a wrapper that changes
    /// [`alloc_raw`](GcHeap::alloc_raw) implements [`alloc_fast`](GcHeap::alloc_fast) and
    /// [`alloc_last_resort`](GcHeap::alloc_last_resort) too, and one that changes
    /// [`write_field_ref`](GcHeap::write_field_ref) the copies and fills of ranges. Only
    /// [`reset`](GcHeap::reset) is not forwarded. `None` by default.
    fn wrapped(&self) -> Option<&dyn GcHeap> {
        None
    }

    /// The heap that [`wrapped`](GcHeap::wrapped) returns, mutable. Implement both or neither.
    fn wrapped_mut(&mut self) -> Option<&mut dyn GcHeap> {
        None
    }

    // ---- barriers -------------------------------------------------------
    //
    // The provided methods only copy references. That suffices for a collector that traces all live
    // objects.

    /// Makes a second reference to the same object for the host.
    fn clone_gc_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        forward!(self.wrapped_mut(), clone_gc_ref(gc_ref));
        gc_ref.unchecked_copy()
    }

    /// Makes a reference for the host from one that is not a root: that of a weak handle, the value
    /// in a weak map, or an object that waits for its finalizer. A collector that marks while the
    /// mutator runs must find the object in the marking under way. The provided method
    /// [clones](GcHeap::clone_gc_ref) the reference.
    fn read_weak_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        forward!(self.wrapped_mut(), read_weak_ref(gc_ref));
        self.clone_gc_ref(gc_ref)
    }

    /// Releases a reference that the host held. The provided method overwrites it with
    /// [nothing](GcHeap::write_gc_ref), in a slot that is gone when it returns. A collector whose
    /// `write_gc_ref` keeps the slot's address, or calls this method, needs a method of its own.
    fn drop_gc_ref(&mut self, host_data: &mut ExternRefHostDataTable, gc_ref: VMGcRef) {
        forward!(self.wrapped_mut(), drop_gc_ref(host_data, gc_ref));
        self.write_gc_ref(host_data, &mut Some(gc_ref), None);
    }

    /// Overwrites `destination`, a slot outside the heap (a table element, a global, a host
    /// handle), with a new reference to `source`'s object. Pass the slot itself and not a copy,
    /// because the heap may record its address.
    fn write_gc_ref(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        destination: &mut Option<VMGcRef>,
        source: Option<&VMGcRef>,
    ) {
        forward!(self.wrapped_mut(), write_gc_ref(host_data, destination, source));
        *destination = source.map(VMGcRef::unchecked_copy);
    }

    /// Overwrites the reference at byte index `at` inside the heap with a new
    /// reference to `source`'s object.
    ///
    /// # Errors
    /// If `at` is outside the heap.
    fn write_field_ref(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        forward!(self.wrapped_mut(), write_field_ref(host_data, at, source));
        self.core_mut().write_ref_at(at, source)
    }

    /// Copies `count` references within the heap from byte index `from` to byte index `to`, with
    /// all barriers. The ranges may overlap. The provided method [writes](GcHeap::write_field_ref)
    /// one reference after the other. A collector without barriers can copy them [at
    /// once](HeapCore::copy_refs_at).
    ///
    /// # Errors
    /// If a range is not completely inside the heap. A part may have been copied.
    fn copy_ref_range(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        to: u64,
        from: u64,
        count: u32,
    ) -> Result<(), HeapError> {
        forward!(self.wrapped_mut(), copy_ref_range(host_data, to, from, count));
        let mut copy_one = |i: u64| {
            let source = self.core().read_ref_at(from.saturating_add(i * 4))?;
            self.write_field_ref(host_data, to.saturating_add(i * 4), source.as_ref())
        };
        if to <= from {
            (0..u64::from(count)).try_for_each(&mut copy_one)
        } else {
            (0..u64::from(count)).rev().try_for_each(&mut copy_one)
        }
    }

    /// Overwrites `count` references within the heap, from byte index `at` on, with new references
    /// to `source`'s object, with all barriers. The provided method
    /// [writes](GcHeap::write_field_ref) one after the other. A collector without barriers can
    /// write them [all at once](HeapCore::fill_refs_at).
    ///
    /// # Errors
    /// If the range is not completely inside the heap. A part may have been written.
    fn fill_ref_range(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        forward!(self.wrapped_mut(), fill_ref_range(host_data, at, source, count));
        (0..u64::from(count))
            .try_for_each(|i| self.write_field_ref(host_data, at.saturating_add(i * 4), source))
    }

    /// Passes a reference that the host held to compiled code. Never collects. Returns the word to
    /// pass.
    fn expose_gc_ref_to_wasm(&mut self, gc_ref: VMGcRef) -> u32 {
        forward!(self.wrapped_mut(), expose_gc_ref_to_wasm(gc_ref));
        gc_ref.as_raw_u32()
    }

    /// Whether a collection should happen before `count` references are exposed.
    fn need_gc_before_entering_wasm(&self, count: NonZeroU32) -> bool {
        forward!(self.wrapped(), need_gc_before_entering_wasm(count));
        false
    }

    /// The collector's slow path, which its emitted code calls
    /// ([`HostCall::COLLECTOR`](gc_types::HostCall::COLLECTOR)). Never collects. An unknown
    /// operation is logged and returns 0.
    fn collector_slow_path(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        operation: u32,
        gc_ref: Option<VMGcRef>,
        operand: u64,
    ) -> u64 {
        forward!(self.wrapped_mut(), collector_slow_path(host_data, operation, gc_ref, operand));
        log::error!("this heap's collector has no slow path {operation}");
        0
    }

    // ---- allocation -----------------------------------------------------

    /// Allocates `size` bytes (a multiple of 8, header included) with the kind and type of
    /// `header`. The body is zero. The caller holds the only reference.
    ///
    /// # Errors
    /// [`HeapError::NeedsRoom`] if a collection or growth should come first;
    /// [`HeapError::Corrupt`] if damage was noted.
    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError>;

    /// The fast path of [`alloc_raw`](GcHeap::alloc_raw), which every allocation tries first. It
    /// makes no decisions, merges no free memory and gives no error. `None` only means that
    /// `alloc_raw` must be called. The result fits a register, which that of `alloc_raw` does not.
    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        forward!(self.wrapped_mut(), alloc_fast(header, size));
        self.alloc_raw(header, size).ok()
    }

    /// Allocates when everything else has failed, for the reason `why`. A heap may use memory that
    /// it normally avoids, such as the reserve for its next collection. The provided method calls
    /// [`alloc_raw`](GcHeap::alloc_raw).
    ///
    /// # Errors
    /// As [`alloc_raw`](GcHeap::alloc_raw).
    fn alloc_last_resort(
        &mut self,
        header: VMGcHeader,
        size: u32,
        why: LastResort,
    ) -> Result<VMGcRef, HeapError> {
        forward!(self.wrapped_mut(), alloc_last_resort(header, size, why));
        self.alloc_raw(header, size)
    }

    /// Limits the memory that emitted code gets at a time to `bytes`. With `None` the heap chooses.
    /// With a limit, at least one allocation in this number of bytes calls the host, which a
    /// sampling profiler needs. Returns whether the heap supports this. The provided method does
    /// not.
    fn limit_inline_allocation(&mut self, bytes: Option<NonZeroU32>) -> bool {
        forward!(self.wrapped_mut(), limit_inline_allocation(bytes));
        false
    }

    /// Makes room for about `bytes` more bytes by mapping more of the reservation
    /// ([`HeapCore::grow`]). Returns by how many bytes the heap grew.
    ///
    /// # Errors
    /// If the limit, the policy or the system does not allow it.
    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError>;

    // ---- collection -----------------------------------------------------

    /// Begins a collection. The heap decides by the request's cause what to collect, and takes the
    /// roots that it needs.
    ///
    /// # Panics
    /// Inside a no-GC scope.
    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a>;

    /// Uses time that the host gives to the collector
    /// ([`GcStore::gc_for`](crate::GcStore::gc_for)), of which `left` is left. The store calls it again
    /// until it returns [`Idle::Rest`]. A heap that works between collections, without roots, does so in
    /// it. The provided method asks for a collection when half of the room of the plan is used, and
    /// collections of the whole heap took so long that another one is likely to end in time.
    fn idle(&mut self, left: Duration) -> Idle {
        forward!(self.wrapped_mut(), idle(left));
        let (used, core) = (self.occupancy().used, self.core());
        // A heap that makes no plans has none of it.
        let lived =
            core.live.max(core.side.pauses.last_complete().map_or(0, |pause| pause.bytes_after));
        let (grown, room) = (used.saturating_sub(lived), core.plan_room());
        if grown == 0 || grown < room / 2 {
            return Idle::Rest { bytes: 0 };
        }
        match core.side.expected_time(used) <= left {
            true => Idle::Collect,
            false => Idle::Rest { bytes: used },
        }
    }

    /// The use of the heap's memory, and whether a collection is worth its cost. The store calls
    /// this before and after each pause and when an allocation finds no room. Implement it if
    /// [`stats`](GcHeap::stats) walks the heap.
    fn occupancy(&self) -> Occupancy {
        forward!(self.wrapped(), occupancy());
        Occupancy { used: self.stats().live_bytes, ..Occupancy::default() }
    }

    /// Calls `visit` with the index of each object in the heap, in address order.
    /// For verifiers, snapshots and statistics.
    ///
    /// # Errors
    /// If the heap cannot be walked because it is corrupt.
    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError>;

    /// Checks all invariants of the collector (headers, counts, free lists). This is slow and meant
    /// for `gc_zeal` and tests.
    ///
    /// # Errors
    /// If an object is wrong. The error names the first one.
    fn verify(&self) -> Result<(), HeapError>;

    /// Like [`verify`](GcHeap::verify), but also checks the facts that depend on the mutator's
    /// roots, such as counts or the slots that the collector need not visit.
    /// [`GcStore::verify`](crate::GcStore::verify) checks for all collectors that roots, and all
    /// references that can be reached from them, refer to objects.
    ///
    /// # Errors
    /// As [`verify`](GcHeap::verify).
    fn verify_with_roots(&self, roots: &mut GcRootsList) -> Result<(), HeapError> {
        forward!(self.wrapped(), verify_with_roots(roots));
        self.verify()
    }

    /// Waits until no thread works for the heap beside the program, and notes the damage that it met
    /// ([`HeapCore::note_damage`]). The provided method does nothing: a heap that lends nothing has nothing to wait for.
    fn recall(&mut self) {
        forward!(self.wrapped_mut(), recall());
    }

    /// The counters, including what emitted code did inline.
    fn stats(&self) -> GcStats;

    /// Forgets every object and drops every host value. Keeps the mappings, the layouts and the
    /// policy. The heap is then like a new one in the same memory, of which no byte and no data word
    /// tells anything about the objects that were there ([`HeapCore::reset`]).
    ///
    /// Returns whether the heap was reset. The provided method does nothing and returns `false`.
    /// Heaps of such a collector are dropped instead: a [pool](crate::HeapFactory::with_pool) makes a
    /// new one for each store, and [`GcStore::reset`](crate::GcStore::reset) is an error.
    #[must_use = "a heap that was not reset still has its objects"]
    fn reset(&mut self, host_data: &mut ExternRefHostDataTable) -> bool {
        // Not forwarded: a wrapper may have a state of its own, which must be reset too.
        let _ = host_data;
        false
    }
}

/// Methods that are the same for all collectors.
impl dyn GcHeap + '_ {
    /// Allocates an externref's box for the host value of `id`. The value may be added later. The
    /// caller holds the only reference.
    ///
    /// # Errors
    /// As [`alloc_raw`](GcHeap::alloc_raw).
    pub fn alloc_externref(&mut self, id: ExternRefHostDataId) -> Result<VMGcRef, HeapError> {
        let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
        let size = GcLayout::EXTERNREF_SIZE;
        let externref = match self.alloc_fast(header, size) {
            Some(externref) => externref,
            None => self.alloc_raw(header, size)?,
        };
        self.core_mut().set_externref_id(&externref, id)?;
        Ok(externref)
    }

    /// The id in an externref's box. It is untrusted: there may be no such value.
    ///
    /// # Errors
    /// If the object is not an externref, or it has no id.
    pub fn externref_host_data(
        &self,
        externref: &VMGcRef,
    ) -> Result<ExternRefHostDataId, HeapError> {
        self.core().externref_id(externref)
    }

    /// The object's header.
    ///
    /// # Errors
    /// If the reference does not refer to an object.
    pub fn header(&self, gc_ref: &VMGcRef) -> Result<VMGcHeader, HeapError> {
        self.core().header(gc_ref)
    }

    /// Whether the reference refers to an object whose kind is `kind` or a subkind of it.
    pub fn is_kind(&self, gc_ref: &VMGcRef, kind: VMGcKind) -> bool {
        self.core().is_kind(gc_ref, kind)
    }

    /// Bytes of the object, header included.
    ///
    /// # Errors
    /// If the reference does not refer to an object, or if its header is invalid.
    pub fn object_size(&self, gc_ref: &VMGcRef) -> Result<u32, HeapError> {
        self.core().object_size(gc_ref)
    }

    /// Calls `visit` with the offset from the object's start, in bytes, and the
    /// contents of every non-null reference in the object. For verifiers,
    /// snapshots and testers.
    ///
    /// # Errors
    /// If the reference does not refer to an object, or if its header is invalid.
    pub fn for_each_ref(
        &self,
        gc_ref: &VMGcRef,
        visit: &mut dyn FnMut(u32, VMGcRef),
    ) -> Result<(), HeapError> {
        let core = self.core();
        let index = core.index(gc_ref)?;
        core.for_each_ref_at(index, |at, contents| visit((at - u64::from(index)) as u32, contents))
    }

    /// The values for the growth policy's decision. Values that only a plan needs are zero.
    pub fn usage(&self) -> HeapUsage {
        self.core().usage(&self.occupancy())
    }

    /// Enters a scope in which no collection may begin. Scopes nest.
    pub fn enter_no_gc_scope(&mut self) {
        self.core_mut().side.enter_no_gc_scope();
    }

    /// Leaves the innermost no-GC scope.
    ///
    /// # Panics
    /// If there is no no-GC scope.
    pub fn exit_no_gc_scope(&mut self) {
        self.core_mut().side.exit_no_gc_scope();
    }

    /// Address of the heap's first byte, for a vmctx. Constant.
    pub fn vmctx_gc_heap_base(&self) -> *mut u8 {
        self.core().memory.base()
    }

    /// Bytes from the base to the end of the mapped memory. This changes when the heap grows.
    /// Emitted code reads it from the heap data.
    pub fn vmctx_gc_heap_bound(&self) -> u64 {
        self.core().memory.len()
    }

    /// Address of the heap's [data words](gc_types::HeapDataOffsets), for a
    /// vmctx. Constant.
    pub fn vmctx_gc_heap_data(&self) -> *const u8 {
        self.core().memory.data()
    }
}
