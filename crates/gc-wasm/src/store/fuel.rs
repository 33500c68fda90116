//! Fuel: how much of it a store's code may still consume.
//!
//! Compiled code knows one word, minus the fuel that it may consume before it calls the host. The
//! store has a reserve beyond that: what does not fit into the word, or, with a yield interval, what
//! belongs to later intervals. (The same arrangement as Wasmtime's.)

use super::{Store, StoreContext, StoreContextMut, StoreOpaque};
use crate::{AsContext, AsContextMut, Caller};
use anyhow::{Result, bail, ensure};
use gc_types::Trap;
use std::num::NonZeroU64;

/// The fuel of a store that its code does not see yet.
#[derive(Debug, Default)]
pub(super) struct FuelReserve {
    reserve: u64,
    interval: Option<NonZeroU64>,
}

impl StoreOpaque {
    fn check_consumes_fuel(&self) -> Result<()> {
        ensure!(self.engine().config().metering.fuel, "fuel is not configured in this store");
        Ok(())
    }

    fn get_fuel(&self) -> Result<u64> {
        self.check_consumes_fuel()?;
        Ok(self.fuel_left())
    }

    fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.check_consumes_fuel()?;
        self.share_fuel(fuel);
        Ok(())
    }

    fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.check_consumes_fuel()?;
        ensure!(interval != Some(0), "fuel_async_yield_interval must not be 0");
        self.require_async();
        self.fuel.interval = interval.and_then(NonZeroU64::new);
        self.share_fuel(self.fuel_left());
        Ok(())
    }

    /// All that is left. Code may have consumed more than its word allowed.
    pub(super) fn fuel_left(&self) -> u64 {
        self.fuel.reserve.saturating_add_signed(self.jit.fuel_word().saturating_neg())
    }

    /// Divides `fuel` between the word of compiled code and the reserve.
    fn share_fuel(&mut self, fuel: u64) {
        let interval = self.fuel.interval.map_or(u64::MAX, NonZeroU64::get);
        let share = i64::try_from(fuel.min(interval)).unwrap_or(i64::MAX);
        self.fuel.reserve = fuel - share.unsigned_abs();
        self.jit.set_fuel_word(-share);
    }

    /// What compiled code calls when its share is used up. The store's code may continue if this
    /// succeeds. With an interval, the call yields first.
    ///
    /// # Errors
    /// [`Trap::OutOfFuel`] if nothing is left. If the call's future was dropped.
    pub(crate) fn refuel(&mut self) -> Result<()> {
        let left = self.fuel_left();
        // Also if nothing is left: a host function may go on after the error, and what was consumed
        // too much must not add up until the word overflows.
        self.share_fuel(left);
        ensure!(left > 0, Trap::OutOfFuel);
        if self.fuel.interval.is_some() {
            self.blocking()?.yield_now()?;
        }
        Ok(())
    }

    /// Consumes fuel for work of the host, if code consumes fuel. What is left is
    /// [checked](StoreOpaque::check_fuel) later.
    pub(crate) fn consume_fuel(&self, units: u64) {
        if self.engine().config().metering.fuel {
            // Half of the range is left to what code adds before its next check.
            let units = i64::try_from(units).unwrap_or(i64::MAX);
            let word = self.jit.fuel_word().saturating_add(units);
            self.jit.set_fuel_word(word.min(i64::MAX / 2));
        }
    }

    /// Does what code does where it checks its fuel.
    ///
    /// # Errors
    /// [`Trap::OutOfFuel`] if nothing is left.
    pub(crate) fn check_fuel(&mut self) -> Result<()> {
        if self.engine().config().metering.fuel
            && self.jit.fuel_word() >= 0
            && self.refuel().is_err()
        {
            bail!(Trap::OutOfFuel);
        }
        Ok(())
    }
}

impl<T: 'static> Store<T> {
    /// The fuel that is left.
    ///
    /// After a trap it may lack what the function did since it last made a call, unless the
    /// instruction that trapped was `unreachable` or one on many bytes or elements.
    ///
    /// # Errors
    /// Unless [`Config::consume_fuel`](crate::Config::consume_fuel) is set.
    pub fn get_fuel(&self) -> Result<u64> {
        self.as_context().get_fuel()
    }

    /// Sets the fuel that the store's code may consume. At first there is none, and all code traps
    /// with [`Trap::OutOfFuel`].
    ///
    /// # Errors
    /// Unless [`Config::consume_fuel`](crate::Config::consume_fuel) is set.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, Store};
    ///
    /// let engine = Engine::new(Config::new().consume_fuel(true))?;
    /// let text = r#"(module (func (export "add") (param i32 i32) (result i32)
    ///     (i32.add (local.get 0) (local.get 1))))"#;
    /// let module = Module::new(&engine, text)?;
    /// let mut store = Store::new(&engine, ());
    /// store.set_fuel(100)?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let add = instance.get_typed_func::<(i32, i32), i32>(&mut store, "add")?;
    /// assert_eq!(add.call(&mut store, (1, 2))?, 3);
    /// // The call itself and three instructions.
    /// assert_eq!(store.get_fuel()?, 96);
    /// # anyhow::Ok(())
    /// ```
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.as_context_mut().set_fuel(fuel)
    }

    /// Sets the fuel that asynchronous calls consume before they yield to the executor. `None`, the
    /// default, means that they do not yield because of fuel. From now on only asynchronous calls are
    /// allowed.
    ///
    /// # Errors
    /// Unless [`Config::consume_fuel`](crate::Config::consume_fuel) is set. If the interval is 0.
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.as_context_mut().fuel_async_yield_interval(interval)
    }
}

impl<T: 'static> StoreContext<'_, T> {
    /// The fuel that is left. See [`Store::get_fuel`].
    ///
    /// # Errors
    /// As [`Store::get_fuel`].
    pub fn get_fuel(&self) -> Result<u64> {
        self.0.get_fuel()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// The fuel that is left. See [`Store::get_fuel`].
    ///
    /// # Errors
    /// As [`Store::get_fuel`].
    pub fn get_fuel(&self) -> Result<u64> {
        self.0.get_fuel()
    }

    /// Sets the fuel that the store's code may consume. See [`Store::set_fuel`].
    ///
    /// # Errors
    /// As [`Store::set_fuel`].
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.0.set_fuel(fuel)
    }

    /// Sets the fuel after which asynchronous calls yield. See
    /// [`Store::fuel_async_yield_interval`].
    ///
    /// # Errors
    /// As [`Store::fuel_async_yield_interval`].
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.0.fuel_async_yield_interval(interval)
    }
}

impl<T: 'static> Caller<'_, T> {
    /// The fuel that is left. See [`Store::get_fuel`].
    ///
    /// # Errors
    /// As [`Store::get_fuel`].
    pub fn get_fuel(&self) -> Result<u64> {
        self.as_context().get_fuel()
    }

    /// Sets the fuel that the store's code may consume, from the return of the host function on. See
    /// [`Store::set_fuel`].
    ///
    /// # Errors
    /// As [`Store::set_fuel`].
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.as_context_mut().set_fuel(fuel)
    }

    /// Sets the fuel after which asynchronous calls yield. See
    /// [`Store::fuel_async_yield_interval`].
    ///
    /// # Errors
    /// As [`Store::fuel_async_yield_interval`].
    pub fn fuel_async_yield_interval(&mut self, interval: Option<u64>) -> Result<()> {
        self.as_context_mut().fuel_async_yield_interval(interval)
    }
}
