//! Lending: parts of a heap go to another thread, which works on them while the program runs, and come back.
//!
//! [`Slot`] is the protocol for one value. [`GcExecutor`] runs the work: the threads of an engine ([`GcThreads`]), or what
//! a host has. What is lent is moved, so it needs no locks and no atomic accesses. Only the bytes of the heap are read
//! while the program writes them ([`SharedBytes`](crate::SharedBytes)).

#[cfg(test)]
mod modelled;
mod slot;
mod threads;

pub use slot::{Lost, Recall, Slot};
pub use threads::{GcExecutor, GcThreads, GcWork};

/// What the protocol is made of. Its tests have a model of the same.
mod sync {
    pub(super) use std::hint::spin_loop;
    pub(super) use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    pub(super) use std::sync::atomic::{AtomicBool, AtomicU8};
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

    /// How often a recall looks before it sleeps: for some 20 µs.
    pub(super) const SPINS: u32 = 4000;
}
