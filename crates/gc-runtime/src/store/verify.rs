//! When a store verifies its heap: when asked, and with zeal before and after a
//! collection.

use super::GcStore;
use crate::{HeapError, TraceRoots, verify};

/// Bytes of a heap for which one collection with zeal is not verified: with a megabyte
/// every 33rd is. A collection at every allocation makes programs slow enough.
const BYTES_PER_SKIP: u64 = 32 << 10;

impl GcStore {
    /// Checks the heap, whoever its collector is: that what the roots lead to are
    /// objects, and every invariant of the collector. Slow: it looks at every object. If
    /// `tracer` cannot find all roots on the stack, the collector's invariants alone are
    /// checked.
    ///
    /// # Errors
    /// The first object that is wrong, with how the mutator gets there
    /// ([`HeapError::Verification`]).
    pub fn verify(&mut self, tracer: &mut dyn TraceRoots) -> Result<(), HeapError> {
        let result = match self.trace_stack(tracer) {
            Ok(()) => self.verify_roots(Some(&*tracer)),
            Err(_) => self.heap.verify(),
        };
        self.roots.clear_stack();
        result
    }

    /// Verifies the heap; the roots on the stack are in the list. `tracer` names their
    /// frames.
    pub(super) fn verify_roots(
        &mut self,
        tracer: Option<&dyn TraceRoots>,
    ) -> Result<(), HeapError> {
        verify::verify(&*self.heap, &self.host_data, &mut self.roots, tracer)?;
        self.unverified = (self.heap.occupancy().used / BYTES_PER_SKIP) as u32;
        Ok(())
    }

    /// Whether the collection that begins is one to verify the heap around.
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

    /// Verifies the heap after a collection, which updated the roots on the stack in their
    /// places. One that yields has lent the tracer out.
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
