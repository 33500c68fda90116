//! [`HostPanic`] keeps a panic in the drop of a host value.
//!
//! Host values are dropped in the middle of collections and of emitted barriers. A panic that
//! unwound from there would leave the heap in an inconsistent state, or reach compiled frames,
//! which cannot be unwound. So the panic is caught where the value is dropped. The payload of the
//! first one is kept here and resumes when control returns to the host.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError};

type Payload = Box<dyn Any + Send>;

/// Keeps the first panic in the drop of a host value until it is resumed. Clones share the panic,
/// and dropping the last clone resumes it. Keep a clone if the panic must wait until more than the
/// heap is dropped.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
/// use std::panic::{AssertUnwindSafe, catch_unwind};
///
/// struct Bomb;
///
/// impl Drop for Bomb {
///     fn drop(&mut self) {
///         panic!("a host value's drop panicked");
///     }
/// }
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// store.alloc_externref(&mut NoStack, Box::new(Bomb)).map_err(|(error, _)| error)?;
/// let kept = store.host_panic();
/// drop(store); // The value is dropped, and the panic waits.
/// assert!(catch_unwind(AssertUnwindSafe(|| kept.resume())).is_err());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Default)]
pub struct HostPanic {
    first: Arc<Mutex<Option<Payload>>>,
}

impl HostPanic {
    fn take(&self) -> Option<Payload> {
        // The lock is never held while other code runs, so it is never poisoned.
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Drops `value`. Returns whether the drop panicked. The payload is kept if it is the first.
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

    /// Resumes the panic, if there was one. If the thread is panicking already, the panic waits.
    ///
    /// # Panics
    /// If the drop of a host value panicked.
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

/// Number of nested payloads that are dropped before one is leaked.
const NESTED: usize = 16;

/// Drops a payload. Its drop may panic too, and so may the drop of that payload.
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
        /// Calls its function while the stack is being unwound.
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
