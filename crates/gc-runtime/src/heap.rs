//! [`GcHeap`]: what every collector's heap can do, and [`HeapCore`], what all of
//! them have.
//!
//! # The duties of a `GcHeap`
//! 1. Objects live in [`HeapCore::memory`] and nowhere else; everything read from
//!    there is untrusted.
//! 2. Between two calls of [`gc`](GcHeap::gc) no object moves or is freed, except
//!    those whose last reference a barrier of this heap dropped.
//! 3. A reference handed out (by an allocation or `clone_gc_ref`) stays valid
//!    until `drop_gc_ref` or `expose_gc_ref_to_wasm` takes it back.
//! 4. Allocations return objects whose header is complete and whose body is zero.
//! 5. No method panics on a corrupt heap.

use crate::*;
use gc_types::{GcLayout, StorageType, TypeIndex, VMGcHeader, VMGcKind, VMGcRef};
use std::num::NonZeroU32;
use std::sync::Arc;

/// What every heap has, whatever its collector.
#[derive(Debug)]
pub struct HeapCore {
    /// The heap's bytes and its data words.
    pub memory: HeapMemory,
    /// The layouts of the types whose objects may be in it.
    pub layouts: LayoutTable,
    /// Nesting depth of no-GC scopes.
    pub no_gc_scopes: u32,
    /// Counters.
    pub stats: GcStats,
}

/// A heap under one collector.
pub trait GcHeap: Send + Sync {
    /// What all heaps have.
    fn core(&self) -> &HeapCore;
    /// What all heaps have, to change it.
    fn core_mut(&mut self) -> &mut HeapCore;

    // ---- barriers -------------------------------------------------------

    /// A second reference to the same object, for the host to keep.
    fn clone_gc_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef;

    /// Gives up a reference the host kept.
    fn drop_gc_ref(&mut self, host_data: &mut ExternRefHostDataTable, gc_ref: VMGcRef);

    /// Overwrites `destination`, a slot outside the heap (a table element, a
    /// global, a host handle), with a new reference to `source`'s object.
    fn write_gc_ref(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        destination: &mut Option<VMGcRef>,
        source: Option<&VMGcRef>,
    );

    /// Overwrites the reference at byte index `at` inside the heap. With `init`
    /// the old bytes are not a reference.
    ///
    /// # Errors
    /// If `at` is outside the heap.
    fn write_field_ref(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        at: u64,
        source: Option<&VMGcRef>,
    ) -> Result<(), HeapError>;

    /// Hands a reference the host kept over to compiled code. Never collects.
    /// Returns the word to pass.
    fn expose_gc_ref_to_wasm(&mut self, gc_ref: VMGcRef) -> u32;

    /// Whether a collection should come before `count` references are exposed.
    fn need_gc_before_entering_wasm(&self, count: NonZeroU32) -> bool;

    /// The collector's own slow path, called from its emitted code
    /// ([`HostCall::COLLECTOR`](gc_types::HostCall::COLLECTOR)). Never collects.
    fn collector_slow_path(
        &mut self,
        host_data: &mut ExternRefHostDataTable,
        operation: u32,
        gc_ref: Option<VMGcRef>,
        operand: u64,
    ) -> u64;

    // ---- allocation -----------------------------------------------------

    /// Allocates `size` bytes (a multiple of 8, header included) with `header`'s
    /// kind and type; the body is zero. The caller holds the one reference.
    ///
    /// # Errors
    /// [`HeapError::NeedsRoom`] if a collection or growth should come first.
    fn alloc_raw(&mut self, header: VMGcHeader, size: u32) -> Result<VMGcRef, HeapError>;

    /// Makes room for about `bytes` more by mapping more of the reservation;
    /// returns how many bytes the heap grew by.
    ///
    /// # Errors
    /// If the limit or the system does not allow any more.
    fn grow(&mut self, bytes: u64) -> Result<u64, HeapError>;

    // ---- collection -----------------------------------------------------

    /// Begins a collection. `roots` are all roots of the mutator; a moving
    /// collector updates them.
    ///
    /// # Panics
    /// Inside a no-GC scope.
    fn gc<'a>(
        &'a mut self,
        roots: GcRootsIter<'a>,
        host_data: &'a mut ExternRefHostDataTable,
    ) -> Box<dyn GarbageCollection<'a> + 'a>;

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

    /// Counters up to date with what emitted code did inline.
    fn stats(&self) -> GcStats;

    /// Forgets every object, keeps the mappings: the heap is as new.
    fn reset(&mut self, host_data: &mut ExternRefHostDataTable);
}
