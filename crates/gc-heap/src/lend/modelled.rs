//! The protocol under `loom`, which tries every order in which threads see each other's writes.
#![allow(unreachable_pub, dead_code, reason = "the protocol is compiled once more")]

mod sync {
    pub(super) use loom::hint::spin_loop;
    pub(super) use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicU8};
    pub(super) use loom::sync::{Condvar, Mutex, MutexGuard};
    pub(super) use std::sync::PoisonError;

    pub(super) const SPINS: u32 = 0;
}
#[path = "slot.rs"]
#[allow(clippy::duplicate_mod, reason = "the second time it is compiled for the models")]
mod slot;

use loom::sync::Arc;
use loom::thread;
use slot::{Lost, Slot};

/// What the value has seen: by whom it was worked on. Loom finds accesses that nothing orders.
type Value = loom::cell::UnsafeCell<Vec<u32>>;

fn value() -> Value {
    Value::new(Vec::new())
}

fn push(value: &mut Value, number: u32) {
    // Exclusive access: loom fails if another thread has not finished with it.
    value.with_mut(|_| ());
    let numbers = std::mem::replace(value, Value::new(Vec::new())).into_inner();
    *value = Value::new([numbers, vec![number]].concat());
}

#[test]
fn a_value_is_with_one_at_a_time_and_comes_back() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        slot.lend(value());
        let other = Arc::clone(&slot);
        let thread = thread::spawn(move || other.work(|value, _| push(value, 1)));
        let mut back = slot.take().unwrap().unwrap();
        push(&mut back, 2);
        let numbers = back.into_inner();
        assert!(numbers == [2] || numbers == [1, 2], "{numbers:?}");
        assert!(slot.take().is_none());
        thread.join().unwrap();
        assert!(slot.is_back() && slot.take().is_none());
    });
}

#[test]
fn a_recall_ends_work_that_has_no_end() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        slot.lend(value());
        let other = Arc::clone(&slot);
        let thread = thread::spawn(move || {
            other.work(|value, recall| {
                push(value, 1);
                while !recall.is_asked() {
                    thread::yield_now();
                }
            });
        });
        slot.stop();
        assert!(slot.is_back());
        assert!(slot.take().unwrap().is_ok());
        thread.join().unwrap();
    });
}

#[test]
fn what_is_lent_again_is_not_taken_for_what_was_recalled() {
    loom::model(|| {
        let slot = Arc::new(Slot::default());
        slot.lend(value());
        let other = Arc::clone(&slot);
        let thread = thread::spawn(move || {
            other.work(|value, _| push(value, 1));
            other.work(|value, _| push(value, 2));
        });
        let mut back = slot.take().unwrap().unwrap();
        push(&mut back, 3);
        slot.lend(back);
        thread.join().unwrap();
        let numbers = slot.take().unwrap().unwrap().into_inner();
        assert_eq!(numbers.iter().filter(|&&number| number == 3).count(), 1, "{numbers:?}");
    });
}

#[test]
fn a_panic_loses_the_value() {
    let slot = super::Slot::default();
    slot.lend(7);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        slot.work(|_, _| panic!("a test"));
    }));
    assert!(panicked.is_err() && slot.is_back());
    assert_eq!(slot.take(), Some(Err(super::Lost)));
    let _unused: Option<Lost> = None;
    slot.lend(8);
    assert_eq!(slot.take(), Some(Ok(8)));
}
