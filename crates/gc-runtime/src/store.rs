//! [`GcStore`]: one heap with its side tables and its policy: what to do when an
//! allocation finds no room (collect, grow, collect again, give up).

use crate::*;
use gc_types::{GcLayout, StorageType, TypeIndex, VMGcRef};
use std::any::Any;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A heap, its side tables, and the policy that drives its collector.
pub struct GcStore {
    heap: Box<dyn GcHeap>,
    host_data: ExternRefHostDataTable,
    func_refs: FuncRefTable,
    roots: GcRootsList,
}

impl GcStore {
    /// Reserves memory as `options` say and makes a heap of `runtime`'s in it.
    pub fn new(runtime: &dyn GcRuntime, options: &HeapOptions) -> Result<GcStore, HeapError> { todo!() }

    pub fn heap(&self) -> &dyn GcHeap { &*self.heap }
    pub fn heap_mut(&mut self) -> &mut dyn GcHeap { &mut *self.heap }
    pub fn func_refs(&self) -> &FuncRefTable { &self.func_refs }
    pub fn func_refs_mut(&mut self) -> &mut FuncRefTable { &mut self.func_refs }
    pub fn host_data(&self) -> &ExternRefHostDataTable { &self.host_data }

    /// Registers the layout of a type before its first object.
    pub fn ensure_layout(&mut self, ty: TypeIndex, layout: &Arc<GcLayout>) { todo!() }

    // ---- allocation: collects and grows as needed; `tracer` names the roots ----
    pub fn alloc_struct(&mut self, tracer: &mut dyn TraceRoots, ty: TypeIndex) -> Result<VMGcRef, HeapError> { todo!() }
    pub fn alloc_array(&mut self, tracer: &mut dyn TraceRoots, ty: TypeIndex, length: u32) -> Result<VMGcRef, HeapError> { todo!() }
    pub fn alloc_exn(&mut self, tracer: &mut dyn TraceRoots, ty: TypeIndex, tag_instance: u32, tag_index: u32) -> Result<VMGcRef, HeapError> { todo!() }
    /// On failure the host value is given back.
    pub fn alloc_externref(&mut self, tracer: &mut dyn TraceRoots, value: Box<dyn Any + Send + Sync>) -> Result<VMGcRef, (HeapError, Box<dyn Any + Send + Sync>)> { todo!() }
    pub fn externref_host_data(&self, externref: &VMGcRef) -> Result<&(dyn Any + Send + Sync), HeapError> { todo!() }

    // ---- collection ----
    /// Skipped (Ok(false)) if `tracer` cannot name all roots.
    pub fn gc(&mut self, tracer: &mut dyn TraceRoots) -> Result<bool, HeapError> { todo!() }

    // ---- barriers ----
    pub fn clone_gc_ref(&mut self, r: &VMGcRef) -> VMGcRef { todo!() }
    pub fn drop_gc_ref(&mut self, r: VMGcRef) { todo!() }
    pub fn write_gc_ref(&mut self, destination: &mut Option<VMGcRef>, source: Option<&VMGcRef>) { todo!() }
    pub fn expose_gc_ref_to_wasm(&mut self, r: VMGcRef) -> u32 { todo!() }
    pub fn need_gc_before_entering_wasm(&self, count: NonZeroU32) -> bool { todo!() }
    pub fn collector_slow_path(&mut self, operation: u32, r: Option<VMGcRef>, operand: u64) -> u64 { todo!() }

    // ---- objects: checked access for the host; a scalar is its bits, low-aligned ----
    pub fn read_field(&mut self, object: &VMGcRef, offset: u32, ty: StorageType) -> Result<u128, HeapError> { todo!() }
    /// The returned reference is a clone the caller holds.
    pub fn read_field_ref(&mut self, object: &VMGcRef, offset: u32) -> Result<Option<VMGcRef>, HeapError> { todo!() }
    pub fn write_field(&mut self, object: &VMGcRef, offset: u32, ty: StorageType, bits: u128) -> Result<(), HeapError> { todo!() }
    pub fn write_field_ref(&mut self, object: &VMGcRef, offset: u32, source: Option<&VMGcRef>) -> Result<(), HeapError> { todo!() }
    pub fn array_len(&self, array: &VMGcRef) -> Result<u32, HeapError> { todo!() }
    /// Byte offset (from the array's start) of `index`, checked against the length.
    pub fn array_element(&self, array: &VMGcRef, index: u32, count: u32) -> Result<(u32, StorageType), HeapError> { todo!() }
    pub fn array_copy(&mut self, dst: &VMGcRef, dst_index: u32, src: &VMGcRef, src_index: u32, length: u32) -> Result<(), HeapError> { todo!() }
    /// `bits`: the element's bits; for a reference the 32-bit word.
    pub fn array_fill(&mut self, array: &VMGcRef, index: u32, bits: u128, length: u32) -> Result<(), HeapError> { todo!() }
    /// Copies raw little-endian bytes into elements that are not references.
    pub fn array_write_bytes(&mut self, array: &VMGcRef, index: u32, bytes: &[u8]) -> Result<(), HeapError> { todo!() }

    pub fn stats(&self) -> GcStats { todo!() }
    /// Forgets every object and host value, keeps the mappings.
    pub fn reset(&mut self) { todo!() }
}
