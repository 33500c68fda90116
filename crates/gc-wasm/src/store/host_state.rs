//! [`HostState`]: what the host has put in a store, which is its data and the way from the data to its
//! limiter.
//!
//! The heap asks the limiter when it grows, in the middle of an allocation. The heap and the host's
//! data belong to the same store, which the allocation has borrowed, so the heap has the address of
//! the data.
#![allow(unsafe_code)]

use crate::{ResourceLimiter, ResourceLimiterAsync};
use anyhow::{Error, Result};
use gc_jit::Blocking;
use gc_runtime::{HeapError, HeapGrowth, HeapLimiter};
use std::any::{Any, TypeId};
use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

/// Finds the limiter in the host's data.
type FindLimiter = dyn for<'a> FnMut(&'a mut (dyn Any + 'static)) -> &'a mut (dyn ResourceLimiter + 'a)
    + Send
    + Sync;

/// The same for one that answers later.
type FindAsyncLimiter = dyn for<'a> FnMut(&'a mut (dyn Any + 'static)) -> &'a mut (dyn ResourceLimiterAsync + 'a)
    + Send
    + Sync;

/// The limiter of a store.
pub(super) enum Limiter {
    /// One that answers at once.
    Sync(Box<FindLimiter>),
    /// One that answers later. Only calls that can wait may ask it about memories and tables.
    Async(Box<FindAsyncLimiter>),
}

/// A limiter that can be asked now.
pub(super) enum Asked<'a> {
    Sync(&'a mut dyn ResourceLimiter),
    Async(&'a mut dyn ResourceLimiterAsync, Blocking),
}

impl Asked<'_> {
    pub(super) fn memory_growing(
        self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        match self {
            Asked::Sync(limiter) => limiter.memory_growing(current, desired, maximum),
            Asked::Async(limiter, blocking) => {
                blocking.block_on(limiter.memory_growing(current, desired, maximum))?
            }
        }
    }

    pub(super) fn memory_grow_failed(self, error: Error) -> Result<()> {
        match self {
            Asked::Sync(limiter) => limiter.memory_grow_failed(error),
            Asked::Async(limiter, _) => limiter.memory_grow_failed(error),
        }
    }

    pub(super) fn table_growing(
        self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        match self {
            Asked::Sync(limiter) => limiter.table_growing(current, desired, maximum),
            Asked::Async(limiter, blocking) => {
                blocking.block_on(limiter.table_growing(current, desired, maximum))?
            }
        }
    }

    pub(super) fn table_grow_failed(self, error: Error) -> Result<()> {
        match self {
            Asked::Sync(limiter) => limiter.table_grow_failed(error),
            Asked::Async(limiter, _) => limiter.table_grow_failed(error),
        }
    }
}

struct Contents {
    data: Box<dyn Any>,
    /// The type of the data, which is compared at each use. To ask the data for it takes a call.
    ty: TypeId,
    limiter: Option<Limiter>,
}

impl Contents {
    #[inline]
    fn check_type<T: 'static>(&self) {
        assert!(self.ty == TypeId::of::<T>(), "the store was made with data of another type");
    }
}

/// The host's data and its limiter, at an address that does not change.
///
/// Everything accesses them by this address: this value while it is borrowed, and the [`HeapLimit`]
/// of the same store while the heap grows. The heap only grows while the whole store is borrowed
/// mutably, and no borrow of this value is in use then.
pub(super) struct HostState(NonNull<Contents>);

impl HostState {
    pub(super) fn new(data: Box<dyn Any>) -> HostState {
        let ty = (*data).type_id();
        let contents = Box::new(Contents { data, ty, limiter: None });
        HostState(NonNull::from(Box::leak(contents)))
    }

    fn contents(&self) -> &Contents {
        // SAFETY: the contents live as long as this value. The heap does not grow while it is
        // borrowed.
        unsafe { self.0.as_ref() }
    }

    fn contents_mut(&mut self) -> &mut Contents {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }

    /// The host's data, which is a `T`.
    pub(super) fn data<T: 'static>(&self) -> &T {
        let contents = self.contents();
        contents.check_type::<T>();
        // SAFETY: this is the data's type.
        unsafe { &*ptr::from_ref(&*contents.data).cast() }
    }

    /// The host's data, mutable.
    pub(super) fn data_mut<T: 'static>(&mut self) -> &mut T {
        let contents = self.contents_mut();
        contents.check_type::<T>();
        // SAFETY: this is the data's type.
        unsafe { &mut *ptr::from_mut(&mut *contents.data).cast() }
    }

    /// The host's data, without the limiter.
    pub(super) fn into_data<T: 'static>(self) -> T {
        // SAFETY: the address is that of a box, which is not dropped twice.
        let contents = unsafe { Box::from_raw(self.0.as_ptr()) };
        mem::forget(self);
        *contents.data.downcast().expect("the type that the store was made with")
    }

    /// Whether there is a limiter that answers later.
    pub(super) fn limiter_waits(&self) -> bool {
        matches!(self.contents().limiter, Some(Limiter::Async(_)))
    }

    /// The limiter, if there is one. `blocking` gives what waits for the answer.
    pub(super) fn limiter(
        &mut self,
        blocking: impl FnOnce() -> Result<Blocking>,
    ) -> Result<Option<Asked<'_>>> {
        let Contents { data, limiter, .. } = self.contents_mut();
        Ok(match limiter {
            None => None,
            Some(Limiter::Sync(find)) => Some(Asked::Sync(find(&mut **data))),
            Some(Limiter::Async(find)) => Some(Asked::Async(find(&mut **data), blocking()?)),
        })
    }

    /// Replaces the limiter. Returns what asks it for the heap, which must be given to the heap of
    /// the same store and to nothing else.
    pub(super) fn set_limiter(&mut self, limiter: Limiter) -> Box<dyn HeapLimiter> {
        self.contents_mut().limiter = Some(limiter);
        Box::new(HeapLimit(self.0))
    }
}

impl Drop for HostState {
    fn drop(&mut self) {
        // SAFETY: the address is that of a box, which nothing uses any more: the heap does not grow
        // while the store is dropped.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Asks the limiter of a store for its heap.
struct HeapLimit(NonNull<Contents>);

// SAFETY: it belongs to the heap of a store, and goes to another thread only together with the store
// and the host's data in it.
unsafe impl Send for HeapLimit {}
// SAFETY: nothing can be done with a shared reference to it.
unsafe impl Sync for HeapLimit {}

impl HeapLimit {
    fn contents(&mut self) -> &mut Contents {
        // SAFETY: the heap grows, so the store is borrowed mutably and has not been dropped, and no
        // reference to the host's data is in use (see `HostState`).
        unsafe { self.0.as_mut() }
    }
}

impl fmt::Debug for HeapLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeapLimit")
    }
}

/// Bytes as the host counts them.
fn bytes(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl HeapLimiter for HeapLimit {
    fn growing(&mut self, growth: HeapGrowth) -> Result<bool, String> {
        let HeapGrowth { current, desired, maximum, .. } = growth;
        let sizes = (bytes(current), bytes(desired), Some(bytes(maximum)));
        let Contents { data, limiter, .. } = self.contents();
        let answer = match limiter {
            None => return Ok(true),
            Some(Limiter::Sync(find)) => {
                find(&mut **data).gc_heap_growing(sizes.0, sizes.1, sizes.2)
            }
            Some(Limiter::Async(find)) => {
                find(&mut **data).gc_heap_growing(sizes.0, sizes.1, sizes.2)
            }
        };
        answer.map_err(|error| {
            log::warn!("the GC heap may not grow to {desired} bytes: {error:#}");
            format!("{error:#}")
        })
    }

    fn grow_failed(&mut self, error: &HeapError) {
        let (Contents { data, limiter, .. }, error) = (self.contents(), error.clone().into());
        match limiter {
            None => {}
            Some(Limiter::Sync(find)) => find(&mut **data).gc_heap_grow_failed(error),
            Some(Limiter::Async(find)) => find(&mut **data).gc_heap_grow_failed(error),
        }
    }
}
