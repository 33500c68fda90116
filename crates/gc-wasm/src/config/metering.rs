//! Settings that end code after a certain amount of work or time: fuel and epochs.

use super::Config;

impl Config {
    /// Sets whether code consumes fuel while it runs (default: no). When a store's fuel is used up,
    /// its code traps. So a program ends after a certain amount of work, which is the same in each
    /// run, on each machine and under each collector. A store has no fuel at first: see
    /// [`Store::set_fuel`](crate::Store::set_fuel).
    ///
    /// Most instructions consume one unit. `nop`, `drop`, `block`, `loop`, `unreachable`, `return`,
    /// `else` and `end` consume nothing. A call of a function consumes one more unit. An instruction
    /// that works on many bytes or elements, such as `memory.fill`, `table.copy` or `array.new`,
    /// consumes one more for each. Code checks what is left where a function begins, where each turn
    /// of a loop begins, and before instructions that work on many elements. Between two checks it
    /// may consume more than there is.
    ///
    /// Each basic block has an addition, and each loop and each function a test. To end code after
    /// some time, [epochs](Config::epoch_interruption) cost less. Neither ends a host function that
    /// waits.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, Store, Trap};
    ///
    /// let engine = Engine::new(Config::new().consume_fuel(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "hang") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let hang = instance.get_typed_func::<(), ()>(&mut store, "hang")?;
    ///
    /// store.set_fuel(10_000)?;
    /// let error = hang.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast::<Trap>()?, Trap::OutOfFuel);
    /// assert_eq!(store.get_fuel()?, 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn consume_fuel(&mut self, enable: bool) -> &mut Config {
        self.consume_fuel = enable;
        self
    }

    /// Sets whether code compares the engine's epoch with its store's deadline (default: no). An
    /// epoch is a counter that the host [increments](crate::Engine::increment_epoch) from time to
    /// time, for example with a thread that sleeps. When the
    /// [deadline](crate::Store::set_epoch_deadline) is reached, the store's code
    /// [traps](crate::Store::epoch_deadline_trap) or
    /// [calls the host](crate::Store::epoch_deadline_callback). A store's deadline is reached at
    /// first, so it must be set before code runs.
    ///
    /// The comparison stands where a function begins, where each turn of a loop begins, and before
    /// instructions that work on many bytes or elements. It is a load, a comparison and a branch.
    /// When code ends depends on time; [fuel](Config::consume_fuel) does not. One increment reaches
    /// all stores of an engine. To interrupt a single store, without any branch, see
    /// [`interruptible`](Config::interruptible). None of them ends a host function that waits.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, Store, Trap};
    /// use std::time::Duration;
    ///
    /// let engine = Engine::new(Config::new().epoch_interruption(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "hang") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let hang = instance.get_typed_func::<(), ()>(&mut store, "hang")?;
    ///
    /// // At most one tick from now on.
    /// store.set_epoch_deadline(1);
    /// let ticker = std::thread::spawn(move || {
    ///     std::thread::sleep(Duration::from_millis(10));
    ///     engine.increment_epoch();
    /// });
    /// let error = hang.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast::<Trap>()?, Trap::Interrupt);
    /// # ticker.join().unwrap();
    /// # anyhow::Ok(())
    /// ```
    pub fn epoch_interruption(&mut self, enable: bool) -> &mut Config {
        self.epoch_interruption = enable;
        self
    }
}
