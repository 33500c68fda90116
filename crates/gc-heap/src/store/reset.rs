//! The end of what a store has in its heap: by a reset, or when the store is dropped and the heap goes
//! back to its pool.

use super::{GcStore, HOST_DATA_THRESHOLD, HeapState};
use crate::{FixedPolicy, HeapError};

impl GcStore {
    /// Forgets every object and drops every host value. Keeps the mappings, the layouts and the ids
    /// of function references. Handles and segments refer to nothing any more. Slots that are
    /// registered stay so, and must be null, or be removed, before the next collection.
    ///
    /// # Errors
    /// [`HeapError::NoReset`] if heaps of the collector [cannot be reset](crate::GcHeap::reset). Then
    /// nothing changes.
    ///
    /// # Panics
    /// If the drop of a host value panicked, after the heap was reset (see
    /// [`resume_host_panic`](GcStore::resume_host_panic)).
    pub fn reset(&mut self) -> Result<(), HeapError> {
        // So that a reset that is unwound is not taken for one.
        let before = std::mem::replace(&mut self.state, HeapState::Interrupted);
        // This comes first, because the heap's further questions concern the time after the reset.
        let policy = self.policy.make();
        let old = std::mem::replace(&mut self.heap.side_mut().policy, policy);
        match self.heap.get_mut() {
            Some(heap) => {
                if !heap.reset(&mut self.host_data) {
                    self.heap.side_mut().policy = old;
                    self.state = before;
                    return Err(HeapError::NoReset);
                }
            }
            None => self.heap.side_mut().reset(),
        }
        self.roots.reset();
        self.host_data.clear();
        self.reset_weak();
        self.host_data_threshold = HOST_DATA_THRESHOLD;
        self.begin();
        self.state = HeapState::with(self.zeal);
        self.resume_host_panic();
        Ok(())
    }
}

impl Drop for GcStore {
    fn drop(&mut self) {
        if let Some((place, factory)) = self.pooled.take() {
            // A heap that is half collected is not reset.
            let sound = self.check_usable().is_ok();
            let (heap, used) = (self.heap.take(), self.heap.is_used());
            let heap = heap.filter(|_| sound);
            // The policy may count memory: another store may get the heap as soon as it is given back.
            let side = self.heap.side_mut();
            (side.policy, side.limiter) = (Box::new(FixedPolicy), None);
            place.give_back(factory.pool(), heap, &self.mapping, used, &mut self.host_data);
        }
    }
}
