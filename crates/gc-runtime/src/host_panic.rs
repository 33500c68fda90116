//! [`HostPanic`]: what becomes of a panic in the drop of a host value.
//!
//! Host values are dropped in the midst of collections and of emitted barriers. A
//! panic that went on from there would leave a heap in disorder, or reach compiled
//! frames, which nothing can unwind. So it is caught where the value is dropped; the
//! first one's payload is kept here, and goes on when the host is returned to.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

type Payload = Box<dyn Any + Send>;

/// The first panic of a host value that was dropped, until it is resumed. Clones
/// share it, and dropping the last of them resumes it: whoever wants it to wait until
/// more than the heap is dropped keeps one.
#[derive(Clone, Default)]
pub struct HostPanic {
    first: Arc<Mutex<Option<Payload>>>,
}

impl HostPanic {
    fn take(&self) -> Option<Payload> {
        // Never held while other code runs, so never poisoned.
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Drops `value`; returns whether it panicked. Its payload is kept if it is the
    /// first.
    pub(crate) fn drop_value<T>(&self, value: T) -> bool {
        let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) else { return false };
        let mut payload = Some(payload);
        {
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() {
                *first = payload.take();
            }
        }
        payload.into_iter().for_each(discard);
        true
    }

    /// Lets the panic go on, if there was one and the thread is not panicking
    /// already: then it waits.
    ///
    /// # Panics
    /// If a host value did.
    pub fn resume(&self) {
        if !std::thread::panicking()
            && let Some(payload) = self.take()
        {
            resume_unwind(payload);
        }
    }
}

impl Drop for HostPanic {
    fn drop(&mut self) {
        let Some(first) = Arc::get_mut(&mut self.first) else { return };
        let payload = first.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        match payload {
            // A second panic while the stack is unwound would abort the process.
            Some(payload) if std::thread::panicking() => discard(payload),
            Some(payload) => resume_unwind(payload),
            None => {}
        }
    }
}

impl fmt::Debug for HostPanic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostPanic").finish_non_exhaustive()
    }
}

/// Payloads of payloads that are dropped, before one is leaked.
const NESTED: usize = 16;

/// Drops a payload, which may panic in its turn, and so may what it panics with.
fn discard(mut payload: Payload) {
    for _ in 0..NESTED {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return,
            Err(another) => payload = another,
        }
    }
    std::mem::forget(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics with its number.
    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(self.0));
        }
    }

    /// Panics with a payload whose own drop panics.
    struct Nested;

    impl Drop for Nested {
        fn drop(&mut self) {
            resume_unwind(Box::new(Bomb(99)));
        }
    }

    fn panic_of(action: impl FnOnce()) -> Option<u32> {
        let result = catch_unwind(AssertUnwindSafe(action));
        result.err().map(|payload| *payload.downcast().unwrap())
    }

    #[test]
    fn the_first_panic_goes_on_once() {
        let kept = HostPanic::default();
        assert!(!kept.drop_value(5));
        assert_eq!(panic_of(|| kept.resume()), None);
        assert!(kept.drop_value(Bomb(1)) && kept.drop_value(Bomb(2)));
        assert!(kept.drop_value(Nested));
        assert_eq!(panic_of(|| kept.resume()), Some(1));
        assert_eq!(panic_of(|| kept.resume()), None);
    }

    #[test]
    fn the_last_clone_resumes() {
        let kept = HostPanic::default();
        let other = kept.clone();
        kept.drop_value(Bomb(1));
        assert_eq!(panic_of(|| drop(kept)), None);
        assert_eq!(panic_of(|| drop(other)), Some(1));
    }

    #[test]
    fn nothing_goes_on_while_the_thread_panics() {
        /// Does what is asked while the stack is being unwound.
        struct Meanwhile<F: FnMut()>(F);
        impl<F: FnMut()> Drop for Meanwhile<F> {
            fn drop(&mut self) {
                (self.0)();
            }
        }
        let kept = HostPanic::default();
        let unwind = || {
            let _meanwhile = Meanwhile(|| {
                kept.drop_value(Bomb(1));
                kept.resume();
                let last = HostPanic::default();
                last.drop_value(Nested);
            });
            resume_unwind(Box::new(7_u32));
        };
        assert_eq!(panic_of(unwind), Some(7));
        assert_eq!(panic_of(|| kept.resume()), Some(1));
    }
}
