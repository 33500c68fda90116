//! A source of memory that counts what it gives and what comes back.

use gc_wasm::{
    HeapError, MemoryPurpose, MemoryRequest, MemorySource, OnDemand, Reservation, UsedReservation,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is in use: for each purpose a number of reservations, and of bytes that were admitted.
type Used = BTreeMap<String, (i64, i64)>;

#[derive(Debug)]
pub(crate) struct Counting {
    inner: OnDemand,
    used: Mutex<Used>,
}

impl Default for Counting {
    /// A source that keeps a few reservations for the next stores.
    fn default() -> Counting {
        Counting { inner: OnDemand::keeping(2, 2), used: Mutex::default() }
    }
}

impl Counting {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, purpose: MemoryPurpose, reservations: i64, bytes: i64) {
        let mut used = self.used();
        let count = used.entry(purpose.to_string()).or_default();
        count.0 += reservations;
        count.1 += bytes;
    }

    /// What was taken and not given back.
    pub(crate) fn in_use(&self) -> Vec<String> {
        let used = self.used();
        let left = used.iter().filter(|(_, count)| **count != (0, 0));
        left.map(|(purpose, (reservations, bytes))| {
            format!("{purpose}: {reservations} reservations, {bytes} bytes")
        })
        .collect()
    }
}

impl MemorySource for Counting {
    fn reserve(&self, request: &MemoryRequest) -> Result<Reservation, HeapError> {
        let reservation = self.inner.reserve(request)?;
        self.count(request.purpose, 1, 0);
        Ok(reservation)
    }

    fn give_back(&self, used: UsedReservation) {
        self.count(used.request().purpose, -1, 0);
        self.inner.give_back(used);
    }

    fn admit(&self, purpose: MemoryPurpose, bytes: usize) -> Result<(), HeapError> {
        self.inner.admit(purpose, bytes)?;
        self.count(purpose, 0, bytes as i64);
        Ok(())
    }

    fn freed(&self, purpose: MemoryPurpose, bytes: usize) {
        self.inner.freed(purpose, bytes);
        self.count(purpose, 0, -(bytes as i64));
    }
}
