//! The words by which compiled code is metered: the fuel that it consumes, and the epoch until which
//! it runs.
//!
//! Code adds to the fuel word what it does. It begins as a negative number, so that the test whether
//! the fuel is used up is a test of the sign. Code reads the counter of epochs, which many stores
//! share, and compares it with the store's deadline. What happens when the fuel is used up or the
//! deadline is reached is the embedder's to decide, in a host call of its own.

use crate::vmcontext::Pointer;
use crate::{JitState, JitStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// The part of the store context for fuel and epochs.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct VMMeter {
    /// Minus the fuel that is left.
    pub(crate) fuel: AtomicI64,
    /// The first epoch in which code calls the host.
    pub(crate) deadline: AtomicU64,
    /// The counter of epochs. Null if code does not check epochs.
    pub(crate) counter: Pointer<AtomicU64>,
}

impl<S: JitStore> JitState<S> {
    /// The word to which code adds the fuel that it consumes. As long as it is negative, that much
    /// fuel is left. Code that runs has added what it consumed before it called the host.
    ///
    /// # Examples
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
    /// # use gc_jit::JitStore;
    /// # fn main() -> anyhow::Result<()> {
    /// # let mut store = new_store()?;
    /// // Enough for a hundred units.
    /// store.jit().set_fuel_word(-100);
    /// assert_eq!(store.jit().fuel_word(), -100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fuel_word(&self) -> i64 {
        self.context().meter.fuel.load(Ordering::Relaxed)
    }

    /// Sets the [fuel word](JitState::fuel_word). Code that called the host reads it again when the
    /// host returns.
    pub fn set_fuel_word(&self, word: i64) {
        self.context().meter.fuel.store(word, Ordering::Relaxed);
    }

    /// The epoch from which on code calls the host.
    pub fn epoch_deadline(&self) -> u64 {
        self.context().meter.deadline.load(Ordering::Relaxed)
    }

    /// Sets the [deadline](JitState::epoch_deadline), at first 0. Code that called the host reads
    /// it again.
    pub fn set_epoch_deadline(&self, epoch: u64) {
        self.context().meter.deadline.store(epoch, Ordering::Relaxed);
    }

    /// Sets the counter of epochs that code compares with the [deadline](JitState::epoch_deadline).
    /// Any thread may increment it at any time. A new state has a counter of its own. Code that
    /// runs already may go on with the former counter until it returns, so the state keeps that
    /// too.
    pub fn set_epoch_counter(&mut self, counter: Arc<AtomicU64>) {
        self.context().meter.counter.set(Arc::as_ptr(&counter).cast_mut());
        self.epoch_counters.push(counter);
    }
}
