//! Verification of a store's heap: on request, and with zeal before and after a collection.

use super::GcStore;
use crate::{HeapError, TraceRoots, verify};

/// For each this many bytes in the heap, one collection under zeal is not verified. So with one
/// megabyte, every 33rd collection is verified. Verifying at every allocation would be too slow.
const BYTES_PER_SKIP: u64 = 32 << 10;

impl GcStore {
    /// Checks a heap of any collector: all references that can be reached from the roots must refer
    /// to objects, and every invariant of the collector must hold. This is slow, because it visits
    /// every object. If `tracer` cannot find all roots on the stack, only the collector's
    /// invariants are checked.
    ///
    /// # Errors
    /// The first wrong object, with the path from a root ([`HeapError::Verification`]);
    /// [`HeapError::Interrupted`] if a collection was unwound.
    pub fn verify(&mut self, tracer: &mut dyn TraceRoots) -> Result<(), HeapError> {
        self.check_usable()?;
        if !self.has_heap() {
            return Ok(());
        }
        let result = match self.trace_stack(tracer) {
            Ok(()) => self.verify_roots(Some(&*tracer)),
            Err(_) => self.heap.made().verify(),
        };
        self.roots.clear_stack();
        result
    }

    /// Verifies the heap. The roots on the stack are in the list. `tracer` names their frames.
    pub(super) fn verify_roots(
        &mut self,
        tracer: Option<&dyn TraceRoots>,
    ) -> Result<(), HeapError> {
        self.weak();
        let GcStore { heap, host_data, weak, roots, .. } = self;
        let weak = weak.get().expect("it was made above");
        verify::verify(heap.made(), host_data, weak, roots, tracer)?;
        self.unverified = (self.heap.made().occupancy().used / BYTES_PER_SKIP) as u32;
        Ok(())
    }

    /// Whether the heap is to be verified before and after the collection that begins.
    pub(super) fn verification_is_due(&mut self) -> bool {
        if self.zeal == 0 {
            return false;
        }
        match self.unverified.checked_sub(1) {
            None => true,
            Some(left) => {
                self.unverified = left;
                false
            }
        }
    }

    /// Verifies the heap after a collection, which has updated the roots on the stack in place. An
    /// asynchronous collection has borrowed the tracer.
    pub(super) fn verify_after(
        &mut self,
        tracer: Option<&mut dyn TraceRoots>,
    ) -> Result<(), HeapError> {
        match tracer {
            Some(tracer) => self.verify(tracer),
            None => self.verify_roots(None),
        }
    }
}
