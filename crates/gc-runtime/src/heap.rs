//! [`GcHeap`]: what every collector's heap can do.
//!
//! # The duties of a `GcHeap`
//! 1. Objects live in [`HeapCore::memory`] and nowhere else; everything read from
//!    there is untrusted.
//! 2. Between two calls of [`gc`](GcHeap::gc) no object moves or is freed, except
//!    those whose last reference a barrier of this heap dropped.
//! 3. A reference handed out (by an allocation or `clone_gc_ref`) stays valid
//!    until `drop_gc_ref` or `expose_gc_ref_to_wasm` takes it back.
//! 4. Allocations return objects whose header is complete and whose body is zero.
//! 5. No method panics on a corrupt heap. One without a `Result` that finds damage
//!    does no more than it can do safely and notes it
//!    ([`HeapCore::note_damage`]); the next allocation or collection reports it.
//! 6. `i31`s are references to nothing: every barrier lets them pass.
//! 7. A host value is dropped by [`ExternRefHostDataTable::dealloc`] or
//!    [`clear`](ExternRefHostDataTable::clear) when its externref dies. If it panics,
//!    the table keeps that; no method lets it go on, since compiled code may be above
//!    it on the stack.

use crate::{
    ExternRefHostDataId, ExternRefHostDataTable, GarbageCollection, GcRequest, GcRootsList,
    GcStats, HeapCore, HeapError, HeapUsage,
};
use gc_types::{GcLayout, TypeIndex, VMGcHeader, VMGcKind, VMGcRef};
use std::num::NonZeroU32;

/// Why an allocation is tried [once more](GcHeap::alloc_last_resort).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LastResort {
    /// A collection should have made room and could not begin: not all roots were found.
    NoCollection,
    /// Everything that is garbage was freed, and the heap cannot grow.
    NoMemory,
}

/// How full a heap is, and what its collector would do about it ([`GcHeap::occupancy`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Bytes of the objects in the heap, some of which may be garbage.
    pub used: u64,
    /// Bytes of mapped memory whose pages the system has back.
    pub given_back: u64,
    /// Bytes that should be allocated, at least, between two collections of the whole
    /// heap, so that what each costs even if nothing lives is worth its while.
    pub least_room: u64,
    /// Bytes the heap would have to grow by to come to the goal of the policy's plan, if
    /// that can be told.
    pub wanted: Option<u64>,
    /// Whether, now that an allocation found no room, a collection is likely to free more
    /// than it costs. If not, the heap grows first.
    pub collection_pays: bool,
}

impl Default for Occupancy {
    /// An empty heap that is collected whenever an allocation finds no room.
    fn default() -> Occupancy {
        Occupancy { used: 0, given_back: 0, least_room: 0, wanted: None, collection_pays: true }
    }
}

/// A heap under one collector.
///
/// What no collector changes stands in [`HeapCore`], and some of it on `dyn GcHeap` for
/// those who have that.
pub trait GcHeap: Send + Sync {
    /// What all heaps have.
    fn core(&self) -> &HeapCore;
    /// What all heaps have, to change it.
    fn core_mut(&mut self) -> &mut HeapCore;

    // ---- barriers -------------------------------------------------------
    //
    // As provided they copy references and do nothing else, which is all that a
    // collector that finds what lives by tracing all of it needs.

    /// A second reference to the same object, for the host to keep.
    fn clone_gc_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        gc_ref.unchecked_copy()
    }

    /// Gives up a reference the host kept.
    fn drop_gc_ref(&mut self, _host_data: &mut ExternRefHostDataTable, _gc_ref: VMGcRef) {}

    /// Overwrites `destination`, a slot outside the heap (a table element, a
    /// global, a host handle), with a new reference to `source`'s object. The slot itself,
    /// not a copy of it: the heap may remember where it is.
    fn write_gc_ref(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        destination: &mut Option<VMGcRef>,
        source: Option<&VMGcRef>,
    ) {
        *destination = source.map(VMGcRef::unchecked_copy);
    }

    /// Overwrites the reference at byte index `at` inside the heap with a new
    /// reference to `source`'s object.
    ///
    /// # Errors
    /// If `at` is outside the heap.
    fn write_field_ref(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError> {
        self.core_mut().write_ref_at(at, source)
    }

    /// Copies `count` references within the heap, from byte index `from` on to
    /// byte index `to` on, with all barriers. The ranges may overlap. As provided it
    /// [writes](GcHeap::write_field_ref) one after the other; a collector without
    /// barriers copies them [all at once](HeapCore::copy_refs_at).
    ///
    /// # Errors
    /// If a range is not wholly inside the heap; a part may have been copied.
    fn copy_ref_range(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        to: u64,
        from: u64,
        count: u32,
    ) -> Result<(), HeapError> {
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

    /// Overwrites `count` references within the heap, from byte index `at` on, with new
    /// references to `source`'s object, with all barriers. As provided it
    /// [writes](GcHeap::write_field_ref) one after the other; a collector without
    /// barriers writes them [all at once](HeapCore::fill_refs_at).
    ///
    /// # Errors
    /// If the range is not wholly inside the heap; a part may have been written.
    fn fill_ref_range(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
        count: u32,
    ) -> Result<(), HeapError> {
        (0..u64::from(count))
            .try_for_each(|i| self.write_field_ref(host_data, at.saturating_add(i * 4), source))
    }

    /// Hands a reference the host kept over to compiled code. Never collects.
    /// Returns the word to pass.
    fn expose_gc_ref_to_wasm(&mut self, gc_ref: VMGcRef) -> u32 {
        gc_ref.as_raw_u32()
    }

    /// Whether a collection should come before `count` references are exposed.
    fn need_gc_before_entering_wasm(&self, _count: NonZeroU32) -> bool {
        false
    }

    /// The collector's own slow path, called from its emitted code
    /// ([`HostCall::COLLECTOR`](gc_types::HostCall::COLLECTOR)). Never collects. An
    /// operation it does not have is none of its code's: it is logged and comes to 0.
    fn collector_slow_path(
        &mut self,
        _host_data: &mut ExternRefHostDataTable,
        operation: u32,
        _gc_ref: Option<VMGcRef>,
        _operand: u64,
    ) -> u64 {
        log::error!("this heap's collector has no slow path {operation}");
        0
    }

    // ---- allocation -----------------------------------------------------

    /// Allocates `size` bytes (a multiple of 8, header included) with `header`'s
    /// kind and type; the body is zero. The caller holds the one reference.
    ///
    /// # Errors
    /// [`HeapError::NeedsRoom`] if a collection or growth should come first;
    /// [`HeapError::Corrupt`] if damage was noted.
    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError>;

    /// What [`alloc_raw`](GcHeap::alloc_raw) does when there is nothing to decide:
    /// no merging of free memory, no error. `None` says nothing but that
    /// `alloc_raw` must be asked. The result fits a register, which an allocation
    /// that fails with a reason does not; every allocation tries this first.
    fn alloc_fast(&mut self, header: VMGcHeader, size: u32) -> Option<VMGcRef> {
        self.alloc_raw(header, size).ok()
    }

    /// Allocates when all else has failed, for the reason that `why` gives: where a heap
    /// would rather not, such as in memory that it keeps for its next collection. As
    /// provided there is no such place, and it is [`alloc_raw`](GcHeap::alloc_raw).
    ///
    /// # Errors
    /// As [`alloc_raw`](GcHeap::alloc_raw).
    fn alloc_last_resort(
        &mut self,
        header: VMGcHeader,
        size: u32,
        why: LastResort,
    ) -> Result<VMGcRef, HeapError> {
        let _ = why;
        self.alloc_raw(header, size)
    }

    /// Hands out at most `bytes` at a time for emitted code to allocate in, from now on;
    /// `None`: as many as the heap thinks best. So at least one allocation in as many bytes
    /// comes to the host, which is what a profiler that samples allocations needs. Returns
    /// whether the heap does so. As provided it does not.
    fn limit_inline_allocation(&mut self, bytes: Option<NonZeroU32>) -> bool {
        let _ = bytes;
        false
    }

    /// Makes room for about `bytes` more by mapping more of the reservation
    /// ([`HeapCore::grow`]); returns how many bytes the heap grew by.
    ///
    /// # Errors
    /// If the limit, the policy or the system does not allow that.
    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError>;

    // ---- collection -----------------------------------------------------

    /// Begins a collection: decides by the request's cause what to collect, and takes the
    /// roots that this needs.
    ///
    /// # Panics
    /// Inside a no-GC scope.
    fn gc<'a>(&'a mut self, request: GcRequest<'a>) -> Box<dyn GarbageCollection<'a> + 'a>;

    /// How full the heap is, and what its collector thinks of that. Asked for around each
    /// pause and when an allocation finds no room: a heap whose [`stats`](GcHeap::stats)
    /// take a walk tells the bytes in use without one.
    fn occupancy(&self) -> Occupancy {
        Occupancy { used: self.stats().live_bytes, ..Occupancy::default() }
    }

    /// Calls `visit` with the index of each object in the heap, in address order.
    /// For verifiers, snapshots and statistics.
    ///
    /// # Errors
    /// If the heap cannot be walked because it is corrupt.
    fn for_each_object(&self, visit: &mut dyn FnMut(VMGcRef)) -> Result<(), HeapError>;

    /// Checks every invariant the collector keeps (headers, counts, free lists).
    /// Slow; for `gc_zeal` and tests.
    ///
    /// # Errors
    /// The first object that is wrong.
    fn verify(&self) -> Result<(), HeapError>;

    /// As [`verify`](GcHeap::verify), and what the collector keeps of the mutator's roots:
    /// counts, or which slots it need not look at. That roots and what they lead to are
    /// objects is checked for all collectors ([`GcStore::verify`](crate::GcStore::verify)).
    ///
    /// # Errors
    /// As [`verify`](GcHeap::verify).
    fn verify_with_roots(&self, roots: &mut GcRootsList) -> Result<(), HeapError> {
        let _ = roots;
        self.verify()
    }

    /// Counters up to date with what emitted code did inline.
    fn stats(&self) -> GcStats;

    /// Forgets every object and drops every host value, keeps the mappings and
    /// the layouts: the heap is as new.
    fn reset(&mut self, host_data: &mut ExternRefHostDataTable);
}

/// What no collector changes.
impl dyn GcHeap + '_ {
    /// Allocates an externref's box for the host value `id` names, or will name: the
    /// value itself may come later. The caller holds the one reference.
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

    /// The id in an externref's box: untrusted, it may name nothing.
    ///
    /// # Errors
    /// If the object is no externref, or there is no id in it.
    pub fn externref_host_data(
        &self,
        externref: &VMGcRef,
    ) -> Result<ExternRefHostDataId, HeapError> {
        self.core().externref_id(externref)
    }

    /// The object's header.
    ///
    /// # Errors
    /// If the reference is not to an object.
    pub fn header(&self, gc_ref: &VMGcRef) -> Result<VMGcHeader, HeapError> {
        self.core().header(gc_ref)
    }

    /// Whether the reference is to an object whose kind is `kind` or a kind of it.
    pub fn is_kind(&self, gc_ref: &VMGcRef, kind: VMGcKind) -> bool {
        self.core().is_kind(gc_ref, kind)
    }

    /// Bytes of the object, header included.
    ///
    /// # Errors
    /// If the reference is not to an object, or its header cannot be.
    pub fn object_size(&self, gc_ref: &VMGcRef) -> Result<u32, HeapError> {
        self.core().object_size(gc_ref)
    }

    /// Calls `visit` with the offset from the object's start, in bytes, and the
    /// contents of every non-null reference in the object. For verifiers,
    /// snapshots and testers.
    ///
    /// # Errors
    /// If the reference is not to an object, or its header cannot be.
    pub fn for_each_ref(
        &self,
        gc_ref: &VMGcRef,
        visit: &mut dyn FnMut(u32, VMGcRef),
    ) -> Result<(), HeapError> {
        let core = self.core();
        let index = core.index(gc_ref)?;
        core.trace_at(index, |at, contents| visit((at - u64::from(index)) as u32, contents))
    }

    /// What the growth policy decides by; what only a plan needs is zero.
    pub fn usage(&self) -> HeapUsage {
        self.core().usage(&self.occupancy())
    }

    /// Enters a scope in which no collection may begin. Scopes nest.
    pub fn enter_no_gc_scope(&mut self) {
        self.core_mut().enter_no_gc_scope();
    }

    /// Leaves the innermost no-GC scope.
    ///
    /// # Panics
    /// Outside any.
    pub fn exit_no_gc_scope(&mut self) {
        self.core_mut().exit_no_gc_scope();
    }

    /// Address of the heap's first byte, for a vmctx. Constant.
    pub fn vmctx_gc_heap_base(&self) -> *mut u8 {
        self.core().memory.base()
    }

    /// Bytes from the base to the end of what is mapped. Changes when the heap
    /// grows; emitted code reads it from the heap data.
    pub fn vmctx_gc_heap_bound(&self) -> u64 {
        self.core().memory.len()
    }

    /// Address of the heap's [data words](gc_types::HeapDataOffsets), for a
    /// vmctx. Constant.
    pub fn vmctx_gc_heap_data(&self) -> *const u8 {
        self.core().memory.data()
    }
}
