//! What the thread of a store and a thread that interrupts it do with the limit of the stack.
//!
//! Each of the two writes one word and then reads or writes the other's (Dekker's algorithm). The fences forbid that
//! both miss what the other has written. The functions are generic over the atomic words, so that the tests can run
//! them under `loom`, which tries every order in which the two threads see each other's writes.

use super::NO_STACK;
use crate::vmcontext::Word;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Atomic words and fences. All accesses are relaxed.
pub(super) trait Atomics {
    /// Whether the store's code is interrupted.
    type Request;
    /// The limit of the stack. Compiled code reads it at the entry of functions.
    type Limit;

    fn request(request: &Self::Request);
    fn is_requested(request: &Self::Request) -> bool;
    fn set(limit: &Self::Limit, value: usize);
    fn fence(ordering: Ordering);
}

/// The words of the store context.
pub(super) struct Native;

impl Atomics for Native {
    type Request = AtomicBool;
    type Limit = Word;

    fn request(request: &AtomicBool) {
        request.store(true, Ordering::Relaxed);
    }

    fn is_requested(request: &AtomicBool) -> bool {
        request.load(Ordering::Relaxed)
    }

    fn set(limit: &Word, value: usize) {
        limit.set(value);
    }

    fn fence(ordering: Ordering) {
        fence(ordering);
    }
}

/// Interrupts the store's code: functions at their entry by the limit, and loops by `end_loops`. One thread at a time may
/// do so.
pub(super) fn begin<A: Atomics>(request: &A::Request, limit: &A::Limit, end_loops: impl FnOnce()) {
    A::request(request);
    end_loops();
    A::fence(Ordering::SeqCst);
    A::set(limit, NO_STACK);
}

/// Sets the limit that stops all code if the code is interrupted. The store's thread calls this
/// when it has set another limit.
pub(super) fn hold<A: Atomics>(request: &A::Request, limit: &A::Limit) {
    A::fence(Ordering::SeqCst);
    if A::is_requested(request) {
        A::set(limit, NO_STACK);
    }
}

/// Whether the code is interrupted. It is if the thread has read [`NO_STACK`] as the limit before.
pub(super) fn has_begun<A: Atomics>(request: &A::Request) -> bool {
    A::fence(Ordering::Acquire);
    A::is_requested(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic as model;
    use std::cell::Cell;
    use std::sync::Mutex;

    thread_local! {
        /// The fences of the model that are missing. `loom` runs all its threads on one thread.
        static MISSING: Cell<Option<Fence>> = const { Cell::new(None) };
        /// The function that runs.
        static NOW: Cell<Option<Fence>> = const { Cell::new(None) };
    }

    /// A function with a fence.
    #[derive(Clone, Copy, PartialEq, Debug)]
    enum Fence {
        Begin,
        Hold,
        HasBegun,
    }

    /// The words under `loom`.
    struct Model;

    impl Atomics for Model {
        type Request = model::AtomicBool;
        type Limit = model::AtomicUsize;

        fn request(request: &model::AtomicBool) {
            request.store(true, Ordering::Relaxed);
        }

        fn is_requested(request: &model::AtomicBool) -> bool {
            request.load(Ordering::Relaxed)
        }

        fn set(limit: &model::AtomicUsize, value: usize) {
            limit.store(value, Ordering::Relaxed);
        }

        fn fence(ordering: Ordering) {
            if NOW.get() != MISSING.get() {
                model::fence(ordering);
            }
        }
    }

    /// Calls a function with a fence. No other thread of the model runs between the set of `NOW` and the fence.
    fn calling<R>(function: Fence, call: impl FnOnce() -> R) -> R {
        NOW.set(Some(function));
        call()
    }

    /// Runs a thread that sets limits, and one that interrupts, in every order, without the fence of one function.
    /// Returns whether an interrupt was lost, and whether one was found by the limit but not by [`has_begun`].
    fn run(missing: Option<Fence>) -> (bool, bool) {
        let found = std::sync::Arc::new(Mutex::new((false, false)));
        let result = found.clone();
        MISSING.set(missing);
        loom::model(move || {
            let words = Arc::new((model::AtomicBool::new(false), model::AtomicUsize::new(0)));
            let (request, limit) = (&words.0, &words.1);
            let other = loom::thread::spawn({
                let words = words.clone();
                move || {
                    begin::<Model>(&words.0, &words.1, || NOW.set(Some(Fence::Begin)));
                }
            });
            // As when a call begins and ends.
            for value in [1, 2] {
                Model::set(limit, value);
                calling(Fence::Hold, || hold::<Model>(request, limit));
            }
            if limit.load(Ordering::Relaxed) == NO_STACK {
                let seen = calling(Fence::HasBegun, || has_begun::<Model>(request));
                found.lock().unwrap().1 |= !seen;
            }
            other.join().unwrap();
            found.lock().unwrap().0 |= limit.load(Ordering::Relaxed) != NO_STACK;
        });
        *result.lock().unwrap()
    }

    #[test]
    fn no_interrupt_is_lost_or_taken_for_something_else() {
        assert_eq!(run(None), (false, false));
    }

    #[test]
    fn each_fence_is_needed() {
        assert!(run(Some(Fence::Begin)).0);
        assert!(run(Some(Fence::Hold)).0);
        assert_eq!(run(Some(Fence::HasBegun)), (false, true));
    }
}
