//! Asynchronous calls: what runs on a fiber, and what waits there.
//!
//! A call that may wait runs on a [`Fiber`], so that it is a future. All that can wait needs such a
//! call: host functions that are futures, fuel and epochs that yield. A store that has one of them
//! refuses calls that are not asynchronous, because these could not wait.
#![allow(unsafe_code)]

use super::{Store, StoreContextMut, StoreOpaque};
use crate::{AsContextMut, Caller, GcHeapOutOfMemory};
use anyhow::{Context as _, Result, ensure};
use gc_jit::{Blocking, Fiber, JitState};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A fiber of a store whose future may be sent to another thread.
struct CallFuture<'a, R>(Fiber<'a, StoreOpaque, R>);

// SAFETY: all that is on the fiber's stack while it is suspended may be sent. From its bottom these are
// the function and its result, which `on_fiber` requires to be `Send`; this crate's own frames, with the
// store; compiled frames; this crate's frames of the host function, and the future for which it waits,
// which `Blocking::block_on` requires to be `Send`. No frame of the embedder is among them: a host
// function that has one can only wait by a call of its own, which has another fiber.
unsafe impl<R: Send> Send for CallFuture<'_, R> {}

impl<R> Future for CallFuture<'_, R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        Pin::new(&mut self.get_mut().0).poll(context)
    }
}

/// What lets the running code of a store wait.
///
/// # Errors
/// If it must not, because a call is not asynchronous.
pub(super) fn blocking(jit: &JitState<StoreOpaque>) -> Result<Blocking> {
    jit.blocking().context("only an asynchronous call can wait for a future")
}

impl StoreOpaque {
    /// Runs `function` on a fiber, so that it can wait.
    ///
    /// # Errors
    /// If there is no stack for the fiber.
    pub(crate) async fn on_fiber<R: Send>(
        &mut self,
        function: impl FnOnce(&mut StoreOpaque) -> R + Send,
    ) -> Result<R> {
        let stacks = self.engine().fiber_stacks().clone();
        // It is given back after the fiber's stack.
        let _place = self.engine().take_stack()?;
        let fiber = CallFuture(Fiber::new(self, &stacks, function)?);
        Ok(fiber.await)
    }

    /// Runs `function`, which allocates and calls no function of the host, on a fiber. Collections
    /// yield between their increments.
    ///
    /// # Errors
    /// Those of the function. If there is no stack for the fiber.
    pub(crate) async fn allocate_async<R: Send>(
        &mut self,
        function: impl FnOnce(&mut StoreOpaque) -> Result<R> + Send,
    ) -> Result<R> {
        let yielding = |store: &mut StoreOpaque| {
            store.blocking()?.yield_in_collections();
            function(store)
        };
        self.on_fiber(yielding).await?
    }

    /// What lets the running code wait.
    ///
    /// # Errors
    /// If it must not, because a call is not asynchronous.
    pub(crate) fn blocking(&self) -> Result<Blocking> {
        blocking(&self.jit)
    }

    /// From now on only asynchronous calls are allowed.
    pub(crate) fn require_async(&mut self) {
        self.async_required = true;
    }

    /// # Errors
    /// If only asynchronous calls are allowed.
    #[inline]
    pub(crate) fn check_sync_call(&self) -> Result<()> {
        ensure!(
            !self.async_required,
            "store configuration requires that `*_async` functions are used instead"
        );
        Ok(())
    }
}

impl<T: 'static> Store<T> {
    /// Collects garbage now, as [`gc`](Store::gc) does, and yields to the executor between the
    /// increments of the collection. If the future is dropped, the collection is completed.
    ///
    /// # Errors
    /// If the heap is corrupt.
    ///
    /// # Examples
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/block_on.rs.in"));
    /// use gc_wasm::{Engine, ExternRef, RootScope, Store};
    ///
    /// # fn main() -> gc_wasm::Result<()> {
    /// let mut store = Store::new(&Engine::default(), ());
    /// ExternRef::new(&mut RootScope::new(&mut store), "garbage")?;
    /// // `block_on` stands for an executor.
    /// block_on(store.gc_async(None))?;
    /// assert_eq!(store.gc_stats().live_objects, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()>
    where
        T: Send,
    {
        self.as_context_mut().gc_async(why).await
    }

    /// Lets code of the store yield to the executor when it reaches the
    /// [deadline](Store::set_epoch_deadline), and go on when it is polled again, with a deadline of
    /// this number of ticks after the epoch of then. From now on only asynchronous calls are
    /// allowed.
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.as_context_mut().epoch_deadline_async_yield_and_update(delta);
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// Collects garbage now and yields between increments. See [`Store::gc_async`].
    ///
    /// # Errors
    /// As [`Store::gc_async`].
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()>
    where
        T: Send,
    {
        // The whole heap is collected, whatever the reason.
        let _ = why;
        let (gc, mut roots) = self.opaque_mut().jit.gc_and_stack();
        gc.gc_async(&mut roots).await?;
        Ok(())
    }
}

impl<T: 'static> Caller<'_, T> {
    /// Collects garbage now and yields between increments. See [`Store::gc_async`].
    ///
    /// # Errors
    /// As [`Store::gc_async`].
    pub async fn gc_async(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()>
    where
        T: Send,
    {
        self.as_context_mut().gc_async(why).await
    }
}
