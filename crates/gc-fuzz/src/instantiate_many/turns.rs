//! Threads that take their steps one at a time, in an order that is given. So a failure that depends
//! on the order can be reproduced.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whose turn it is.
pub(super) struct Turns {
    /// The number of the next step, unless threads run freely.
    next: Option<Mutex<usize>>,
    passed: Condvar,
}

/// The turn of a thread. The next step's turn is when this is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Turns in the order of the steps' numbers from 0, or none, so that every step may be taken at
    /// once.
    pub(super) fn new(in_order: bool) -> Turns {
        Turns { next: in_order.then(Mutex::default), passed: Condvar::new() }
    }

    /// Whether steps are taken in order.
    pub(super) fn in_order(&self) -> bool {
        self.next.is_some()
    }

    /// Waits for the turn of a step. Every number must be waited for once.
    pub(super) fn wait(&self, step: usize) -> Turn<'_> {
        if let Some(next) = &self.next {
            let mut next = lock(next);
            while *next != step {
                next = self.passed.wait(next).unwrap_or_else(PoisonError::into_inner);
            }
        }
        Turn(self)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(next) = &self.0.next {
            *lock(next) += 1;
            self.0.passed.notify_all();
        }
    }
}

fn lock(next: &Mutex<usize>) -> MutexGuard<'_, usize> {
    next.lock().unwrap_or_else(PoisonError::into_inner)
}
