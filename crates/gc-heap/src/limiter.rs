//! [`HeapLimiter`]: an embedder's limit for one heap.
//!
//! A [`GrowthPolicy`](crate::GrowthPolicy) belongs to the options of many heaps and knows their
//! history. A limiter belongs to one store, and is usually the host's own data. So it is asked in
//! addition to the policy, at the same places, and a heap deals with its refusal in the same way.

use crate::HeapError;
use std::fmt;

/// Growth of a heap that a [`HeapLimiter`] is asked about, in bytes. The first bytes of a heap, which
/// are never mapped, are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapGrowth {
    /// Bytes that the heap uses, or that it was allowed to use before. 0 if there is no heap yet.
    pub current: u64,
    /// Bytes that it would use.
    pub desired: u64,
    /// The most that it can use.
    pub maximum: u64,
}

/// Decides whether the heap of one store may grow.
///
/// # The duties of a `HeapLimiter`
/// 1. No method panics or blocks, because all are called in the middle of an allocation or a
///    collection. If one panics in the middle of a collection, the heap is refused until it is
///    reset ([`GcStore::check_usable`](crate::GcStore::check_usable)).
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapError, HeapGrowth, HeapLimiter, HeapOptions};
/// use gc_heap::toy::ToyCollector;
///
/// #[derive(Debug)]
/// struct Below(u64);
///
/// impl HeapLimiter for Below {
///     fn growing(&mut self, growth: HeapGrowth) -> Result<bool, String> {
///         Ok(growth.desired <= self.0)
///     }
/// }
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// store.set_limiter(Some(Box::new(Below(3 << 20))));
/// assert!(store.heap_mut().unwrap().grow(1 << 20).is_ok());
/// let error = store.heap_mut().unwrap().grow(4 << 20).unwrap_err();
/// assert!(matches!(error, HeapError::Refused { .. }));
/// # Ok::<(), HeapError>(())
/// ```
pub trait HeapLimiter: Send + Sync + fmt::Debug {
    /// Returns whether the heap may grow. After a refusal the heap may ask for less, collects, and
    /// in the end is out of memory. It does not ask about memory that it has or was allowed.
    ///
    /// # Errors
    /// An error is a refusal too, and is the reason. If the heap is then out of memory, its error has
    /// the reason ([`RefusedBy::Limiter`](crate::RefusedBy::Limiter)).
    fn growing(&mut self, growth: HeapGrowth) -> Result<bool, String>;

    /// Growth that was allowed has failed, because there is no memory.
    fn grow_failed(&mut self, error: &HeapError) {
        let _ = error;
    }
}
