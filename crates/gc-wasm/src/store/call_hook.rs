//! [`CallHook`]: the host is told when calls go from the host to WebAssembly and back.

use super::{Store, StoreContextMut, StoreOpaque};
use crate::{ExnRef, ThrownException};
use anyhow::Result;
use gc_jit::{FiberId, without_waiting};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// A change between the host and WebAssembly, of which
/// [`Store::call_hook`](crate::Store::call_hook) tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallHook {
    /// The host calls a function.
    CallingWasm,
    /// The call of the host returns.
    ReturningFromWasm,
    /// A function of the host is called.
    CallingHost,
    /// The function of the host returns.
    ReturningFromHost,
}

impl CallHook {
    /// Whether the host runs after it.
    pub fn entering_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromWasm | CallHook::CallingHost)
    }

    /// Whether the host has run before it.
    pub fn exiting_host(&self) -> bool {
        matches!(self, CallHook::ReturningFromHost | CallHook::CallingWasm)
    }
}

type SyncHook = dyn FnMut(&mut StoreOpaque, CallHook) -> Result<()> + Send + Sync;
type AsyncHook = dyn Fn(&mut StoreOpaque, CallHook) -> Result<()> + Send + Sync;

/// The host's hook.
pub(super) enum Hook {
    /// `None` while it is called.
    Sync(Option<Box<SyncHook>>),
    Async {
        hook: Arc<AsyncHook>,
        /// The fiber on which it is called, or was called last: a call may be forgotten.
        calling: Option<FiberId>,
    },
}

impl StoreOpaque {
    /// Whether the host wants to know of calls.
    #[inline(always)]
    pub(crate) fn has_call_hook(&self) -> bool {
        self.call_hook.is_some()
    }

    /// Tells the host of a change, if it wants to know. The hook may collect, so no reference may be
    /// held that is not rooted.
    ///
    /// # Errors
    /// Those of the hook.
    #[inline(always)]
    pub(crate) fn call_hook(&mut self, change: CallHook) -> Result<()> {
        if self.has_call_hook() { self.call_the_hook(change) } else { Ok(()) }
    }

    /// Calls the hook in its own root scope. It is not told of calls that it makes itself, and what it
    /// throws is not what the host function throws.
    #[cold]
    #[inline(never)]
    fn call_the_hook(&mut self, change: CallHook) -> Result<()> {
        let scope = self.gc_store().enter_handle_scope();
        let result = catch_unwind(AssertUnwindSafe(|| {
            let pending = self.jit.take_pending_exception();
            let pending = pending.map(|exception| self.root::<ExnRef>(exception));
            let result = match self.call_hook.as_deref_mut() {
                Some(Hook::Sync(hook)) => hook.take().map(|hook| self.call_sync_hook(hook, change)),
                Some(Hook::Async { hook, calling }) => {
                    let (hook, calling) = (hook.clone(), *calling);
                    let is_own = calling.is_some_and(|fiber| self.jit.is_running(fiber));
                    (!is_own).then(|| self.call_async_hook(&hook, change))
                }
                None => None,
            };
            let throws = |result: &Option<Result<()>>| matches!(result, Some(Err(error)) if error.is::<ThrownException>());
            if let Some(exception) = pending
                && !throws(&result)
            {
                self.make_pending(exception)?;
            }
            result.unwrap_or(Ok(()))
        }));
        self.exit_scope(scope);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn call_sync_hook(&mut self, mut hook: Box<SyncHook>, change: CallHook) -> Result<()> {
        // It is a frame of the embedder, which stays in its thread.
        let result =
            catch_unwind(AssertUnwindSafe(|| without_waiting(self, |store| hook(store, change))));
        // The hook has no way to install another one.
        self.call_hook = Some(Box::new(Hook::Sync(Some(hook))));
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn call_async_hook(&mut self, hook: &Arc<AsyncHook>, change: CallHook) -> Result<()> {
        self.set_calling(self.jit.running_fiber());
        let result = catch_unwind(AssertUnwindSafe(|| hook(self, change)));
        self.set_calling(None);
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn set_calling(&mut self, fiber: Option<FiberId>) {
        if let Some(Hook::Async { calling, .. }) = self.call_hook.as_deref_mut() {
            *calling = fiber;
        }
    }
}

/// A hook that is told of calls by futures, for which the calls wait.
/// [`Store::call_hook_async`](crate::Store::call_hook_async) installs one. Implement it with the
/// attribute `async_trait` of the crate `async-trait`.
#[async_trait::async_trait]
pub trait CallHookHandler<T: 'static>: Send {
    /// Is called for each change, as the hook of [`Store::call_hook`](crate::Store::call_hook).
    ///
    /// # Errors
    /// As there.
    async fn handle_call_event(
        &self,
        store: StoreContextMut<'_, T>,
        change: CallHook,
    ) -> Result<()>;
}

impl<T: 'static> Store<T> {
    /// Like [`call_hook`](Store::call_hook), but each call waits for the hook's future. From now on
    /// only asynchronous calls are allowed.
    pub fn call_hook_async(&mut self, hook: impl CallHookHandler<T> + Sync + 'static)
    where
        T: Send,
    {
        self.opaque.require_async();
        let hook = move |store: &mut StoreOpaque, change| {
            let blocking = store.blocking()?;
            blocking.block_on(hook.handle_call_event(StoreContextMut::new(store), change))?
        };
        let hook = Hook::Async { hook: Arc::new(hook), calling: None };
        self.opaque.call_hook = Some(Box::new(hook));
    }

    /// Lets the store call `hook` whenever a call goes from the host to WebAssembly or back. Each call
    /// of a function by the host is a [`CallingWasm`](CallHook::CallingWasm) and a
    /// [`ReturningFromWasm`](CallHook::ReturningFromWasm), also if it is a function of the host or
    /// fails. Each host function that runs is a [`CallingHost`](CallHook::CallingHost) and a
    /// [`ReturningFromHost`](CallHook::ReturningFromHost).
    ///
    /// The hook runs in the thread of the call and cannot wait: if it makes calls itself, fuel and
    /// epochs that yield are errors in them.
    ///
    /// If the hook fails, so does what it was called for: the function is not called, or its result is
    /// replaced by the error. The hook is called for the returns that follow from it.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{CallHook, Func, Store};
    ///
    /// let mut store = Store::<Vec<CallHook>>::default();
    /// store.call_hook(|mut store, change| {
    ///     store.data_mut().push(change);
    ///     Ok(())
    /// });
    /// let one = Func::wrap(&mut store, || 1);
    /// one.typed::<(), i32>(&store)?.call(&mut store, ())?;
    /// let expected = [
    ///     CallHook::CallingWasm,
    ///     CallHook::CallingHost,
    ///     CallHook::ReturningFromHost,
    ///     CallHook::ReturningFromWasm,
    /// ];
    /// assert_eq!(*store.data(), expected);
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn call_hook(
        &mut self,
        mut hook: impl FnMut(StoreContextMut<'_, T>, CallHook) -> Result<()> + Send + Sync + 'static,
    ) {
        let hook = move |store: &mut StoreOpaque, change| hook(StoreContextMut::new(store), change);
        self.opaque.call_hook = Some(Box::new(Hook::Sync(Some(Box::new(hook)))));
    }
}
