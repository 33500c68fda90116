//! The deadline of a store's epoch, and what happens when it is reached.

use super::{Store, StoreContextMut, StoreOpaque};
use crate::AsContextMut;
use anyhow::{Context as _, Result, bail};
use gc_types::Trap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::Ordering;

/// What code does after a callback, when the [deadline](Store::set_epoch_deadline) is reached.
#[non_exhaustive]
pub enum UpdateDeadline {
    /// It traps with [`Trap::Interrupt`]. The deadline stays.
    Interrupt,
    /// It goes on. The next deadline is this number of ticks after the current epoch.
    Continue(u64),
    /// It yields to the executor of an asynchronous call, and then goes on, as with
    /// [`Continue`](UpdateDeadline::Continue). In other calls this is an error.
    Yield(u64),
    /// Like [`Yield`](UpdateDeadline::Yield), but it goes on when the future is ready.
    YieldCustom(u64, Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl fmt::Debug for UpdateDeadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateDeadline::Interrupt => f.write_str("Interrupt"),
            UpdateDeadline::Continue(ticks) => write!(f, "Continue({ticks})"),
            UpdateDeadline::Yield(ticks) => write!(f, "Yield({ticks})"),
            UpdateDeadline::YieldCustom(ticks, _) => write!(f, "YieldCustom({ticks}, ..)"),
        }
    }
}

type Callback = dyn FnMut(&mut StoreOpaque) -> Result<UpdateDeadline> + Send + Sync;

/// What happens when the deadline is reached.
#[derive(Default)]
pub(super) enum DeadlineReached {
    /// Code traps.
    #[default]
    Trap,
    /// Code yields, and goes on with a deadline of this number of ticks after the epoch of then.
    Yield(u64),
    /// The host is called.
    Call(Box<Callback>),
    /// The host is being called. If it runs code of the store that reaches its deadline, that code
    /// traps.
    Calling,
}

impl StoreOpaque {
    fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        let epoch = self.engine().epoch().load(Ordering::Relaxed);
        self.jit.set_epoch_deadline(epoch.saturating_add(ticks_beyond_current));
    }

    /// What compiled code calls when the deadline is reached. It may go on if this succeeds.
    ///
    /// # Errors
    /// [`Trap::Interrupt`], or the callback's error.
    pub(crate) fn reach_deadline(&mut self) -> Result<()> {
        let ticks = match self.update_deadline()? {
            UpdateDeadline::Interrupt => bail!(Trap::Interrupt),
            UpdateDeadline::Continue(ticks) => ticks,
            UpdateDeadline::Yield(ticks) => {
                let blocking = self.jit.blocking();
                let blocking = blocking
                    .context("cannot use `UpdateDeadline::Yield` without an asynchronous call")?;
                blocking.yield_now()?;
                ticks
            }
            UpdateDeadline::YieldCustom(ticks, future) => {
                let blocking = self.jit.blocking();
                let blocking = blocking.context(
                    "cannot use `UpdateDeadline::YieldCustom` without an asynchronous call",
                )?;
                blocking.block_on(future)?;
                ticks
            }
        };
        self.set_epoch_deadline(ticks);
        Ok(())
    }

    /// Calls the callback, if there is one, in its own root scope.
    fn update_deadline(&mut self) -> Result<UpdateDeadline> {
        let calling = match self.deadline_reached {
            DeadlineReached::Call(_) => DeadlineReached::Calling,
            DeadlineReached::Trap | DeadlineReached::Calling => {
                return Ok(UpdateDeadline::Interrupt);
            }
            DeadlineReached::Yield(ticks) => return Ok(UpdateDeadline::Yield(ticks)),
        };
        let mut reached = std::mem::replace(&mut self.deadline_reached, calling);
        let DeadlineReached::Call(callback) = &mut reached else { unreachable!("as found above") };
        let scope = self.gc_store().enter_handle_scope();
        let update = catch_unwind(AssertUnwindSafe(|| callback(self)));
        self.exit_scope(scope);
        // The callback may have chosen something else.
        if let DeadlineReached::Calling = self.deadline_reached {
            self.deadline_reached = reached;
        }
        update.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<T: 'static> Store<T> {
    /// Sets the deadline: this number of [ticks](crate::Engine::increment_epoch) after the engine's
    /// current epoch. When code of the store is in that epoch or a later one, it traps or calls the
    /// host. At first the deadline is epoch 0, so that it is reached already.
    ///
    /// Without [`Config::epoch_interruption`](crate::Config::epoch_interruption) no code looks at
    /// the deadline.
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.opaque.set_epoch_deadline(ticks_beyond_current);
    }

    /// Lets code of the store trap with [`Trap::Interrupt`] when it reaches the
    /// [deadline](Store::set_epoch_deadline). This is the default.
    pub fn epoch_deadline_trap(&mut self) {
        self.as_context_mut().epoch_deadline_trap();
    }

    /// Lets code of the store call `callback` when it reaches the
    /// [deadline](Store::set_epoch_deadline). The callback says whether the code goes on, and sets
    /// the next deadline. If it fails, the call into the code fails with its error. It gets the
    /// store and may do everything that a host function may: collect, change the fuel, call
    /// functions. If these reach the deadline themselves, they trap.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, Store, UpdateDeadline};
    ///
    /// let engine = Engine::new(Config::new().epoch_interruption(true))?;
    /// let text = r#"(module (func (export "count") (param i32) (result i32) (local i32)
    ///     (loop
    ///         (local.set 1 (i32.add (local.get 1) (i32.const 1)))
    ///         (br_if 0 (i32.lt_u (local.get 1) (local.get 0))))
    ///     (local.get 1)))"#;
    /// let module = Module::new(&engine, text)?;
    /// let mut store = Store::new(&engine, 0);
    /// // This one is called at each check, because the next deadline is the current epoch.
    /// store.epoch_deadline_callback(|mut store| {
    ///     *store.data_mut() += 1;
    ///     Ok(UpdateDeadline::Continue(0))
    /// });
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let count = instance.get_typed_func::<i32, i32>(&mut store, "count")?;
    /// assert_eq!(count.call(&mut store, 10)?, 10);
    /// // At the beginning of the function, and of each turn of the loop.
    /// assert_eq!(*store.data(), 11);
    /// # anyhow::Ok(())
    /// ```
    pub fn epoch_deadline_callback(
        &mut self,
        callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync + 'static,
    ) {
        self.as_context_mut().epoch_deadline_callback(callback);
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// Sets the deadline. See [`Store::set_epoch_deadline`].
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.0.set_epoch_deadline(ticks_beyond_current);
    }

    /// Lets code of the store trap when it reaches the deadline. See
    /// [`Store::epoch_deadline_trap`].
    pub fn epoch_deadline_trap(&mut self) {
        self.0.deadline_reached = DeadlineReached::Trap;
    }

    /// Lets code of the store yield when it reaches the deadline. See
    /// [`Store::epoch_deadline_async_yield_and_update`].
    pub fn epoch_deadline_async_yield_and_update(&mut self, delta: u64) {
        self.0.require_async();
        self.0.deadline_reached = DeadlineReached::Yield(delta);
    }

    /// Lets code of the store call `callback` when it reaches the deadline. See
    /// [`Store::epoch_deadline_callback`].
    pub fn epoch_deadline_callback(
        &mut self,
        mut callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline>
        + Send
        + Sync
        + 'static,
    ) {
        self.0.deadline_reached =
            DeadlineReached::Call(Box::new(move |store| callback(StoreContextMut::new(store))));
    }
}
