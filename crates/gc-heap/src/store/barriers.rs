//! The barriers of a store: its heap's, or a plain copy if there is no heap. Without a heap, every reference is an `i31`.

use super::GcStore;
use crate::roots;
use gc_types::VMGcRef;
use std::num::NonZeroU32;

impl GcStore {
    /// Makes a second reference to the same object for the host.
    pub fn clone_gc_ref(&mut self, gc_ref: &VMGcRef) -> VMGcRef {
        // Without a heap, a reference is an `i31`.
        self.heap
            .get_mut()
            .map_or_else(|| gc_ref.unchecked_copy(), |heap| heap.clone_gc_ref(gc_ref))
    }

    /// Releases a reference that the host held.
    pub fn drop_gc_ref(&mut self, gc_ref: VMGcRef) {
        if let Some(heap) = self.heap.get_mut() {
            heap.drop_gc_ref(&mut self.host_data, gc_ref);
        }
    }

    /// Overwrites `destination`, a slot outside the heap, with a new reference to the object of
    /// `source`. Pass the slot itself, not a copy, because the heap may remember its address. For a
    /// slot that is a plain word use [`write_slot`](GcStore::write_slot).
    pub fn write_gc_ref(&mut self, destination: &mut Option<VMGcRef>, source: Option<&VMGcRef>) {
        match self.heap.get_mut() {
            Some(heap) => heap.write_gc_ref(&mut self.host_data, destination, source),
            None => *destination = source.map(VMGcRef::unchecked_copy),
        }
    }

    /// Like [`write_gc_ref`](GcStore::write_gc_ref), for a slot that is a word: a reference, or
    /// zero for null.
    pub fn write_slot(&mut self, slot: &mut u32, source: Option<&VMGcRef>) {
        self.write_gc_ref(roots::as_slot(slot), source);
    }

    /// Passes a reference that the host held to compiled code. Never collects. Returns the word to
    /// pass.
    pub fn expose_gc_ref_to_wasm(&mut self, gc_ref: VMGcRef) -> u32 {
        match self.heap.get_mut() {
            Some(heap) => heap.expose_gc_ref_to_wasm(gc_ref),
            None => gc_ref.as_raw_u32(),
        }
    }

    /// Whether a collection should happen before `count` references are exposed.
    pub fn need_gc_before_entering_wasm(&self, count: NonZeroU32) -> bool {
        self.heap.get().is_some_and(|heap| heap.need_gc_before_entering_wasm(count))
    }

    /// Serves the calls of [`HostCall::COLLECTOR`](gc_types::HostCall::COLLECTOR) from compiled
    /// code. Never collects.
    pub fn collector_slow_path(
        &mut self,
        operation: u32,
        gc_ref: Option<VMGcRef>,
        operand: u64,
    ) -> u64 {
        match self.heap.get_mut() {
            Some(heap) => heap.collector_slow_path(&mut self.host_data, operation, gc_ref, operand),
            None => 0,
        }
    }
}
