//! [`GcHeapOutOfMemory`]: the error of an allocation for which the heap has no room.

use anyhow::Error;
use gc_runtime::HeapError;
use std::fmt;

/// The error of an allocation for which the GC heap has no room, even after a collection. It has the
/// value that was to be put in the heap: the `T` of [`ExternRef::new`](crate::ExternRef::new), and
/// otherwise nothing. If code of a module was allocating, it is context of the error
/// [`Trap::OutOfMemory`](crate::Trap::OutOfMemory).
///
/// # Examples
/// ```
/// use gc_wasm::{Config, Engine, ExternRef, GcHeapOutOfMemory, Store};
///
/// let engine = Engine::new(Config::new().gc_heap_maximum(128 << 10))?;
/// let mut store = Store::new(&engine, ());
/// let error = loop {
///     if let Err(error) = ExternRef::new(&mut store, "a host value") {
///         break error;
///     }
/// };
/// let value = error.downcast::<GcHeapOutOfMemory<&str>>()?.into_inner();
/// assert_eq!(value, "a host value");
/// # gc_wasm::error::Ok(())
/// ```
pub struct GcHeapOutOfMemory<T> {
    inner: T,
    /// What was to be allocated.
    what: &'static str,
    error: HeapError,
}

impl<T> GcHeapOutOfMemory<T> {
    /// The value that was to be put in the heap.
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// The value that was to be put in the heap, and the error without it, which
    /// [`Store::gc`](crate::Store::gc) takes.
    pub fn take_inner(self) -> (T, GcHeapOutOfMemory<()>) {
        (self.inner, GcHeapOutOfMemory { inner: (), what: self.what, error: self.error })
    }

    /// The heap's own error, which names the bytes and the limit.
    pub fn heap_error(&self) -> &HeapError {
        &self.error
    }
}

impl GcHeapOutOfMemory<()> {
    /// The error of code that was allocating.
    pub(crate) fn of_code(error: HeapError) -> GcHeapOutOfMemory<()> {
        GcHeapOutOfMemory { inner: (), what: "an object", error }
    }
}

impl<T> fmt::Debug for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> fmt::Display for GcHeapOutOfMemory<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "allocating {}", self.what)
    }
}

impl<T> std::error::Error for GcHeapOutOfMemory<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The error of an allocation of `what` that failed with `error`. `inner` is the value that was to be
/// put in the heap.
pub(crate) fn failed<T: Send + Sync + 'static>(
    error: HeapError,
    what: &'static str,
    inner: T,
) -> Error {
    match error {
        HeapError::OutOfMemory { .. } | HeapError::Refused { .. } | HeapError::NoMemory { .. } => {
            GcHeapOutOfMemory { inner, what, error }.into()
        }
        HeapError::PoolLimit { .. } => {
            crate::pool::error(error).context(format!("allocating {what}"))
        }
        // The value cannot be put there later either.
        error => Error::from(error).context(format!("allocating {what}")),
    }
}
