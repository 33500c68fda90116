//! Settings that end code after a certain amount of work or time: fuel and epochs.

use super::Config;
use wasmtime_types::{OperatorCost, OperatorCostStrategy};

/// What ends code after a certain amount of work or time.
#[derive(Clone, Debug, Default)]
pub(crate) struct MeteringSettings {
    /// Whether code consumes fuel.
    pub(crate) fuel: bool,
    /// What operators cost.
    pub(crate) operator_cost: OperatorCostStrategy,
    /// Whether code compares the epoch with its deadline.
    pub(crate) epochs: bool,
}

impl Config {
    /// Sets whether code consumes fuel while it runs (default: no). When a store's fuel is used up,
    /// its code traps. So a program ends after a certain amount of work, which is the same in each
    /// run, on each machine and under each collector. A store has no fuel at first: see
    /// [`Store::set_fuel`](crate::Store::set_fuel).
    ///
    /// Most instructions consume one unit. `nop`, `drop`, `block`, `loop`, `unreachable`, `return`,
    /// `else` and `end` consume nothing. A call of a function consumes one more unit. An instruction
    /// that works on many bytes or elements, such as `memory.fill`, `table.copy` or `array.new`,
    /// consumes one more for each, unless it traps or fails. Code checks what is left where a function
    /// begins, where each turn of a loop begins, and before each mebibyte of such an instruction that
    /// works on more than a kibibyte. Between two checks it may consume more than there is. An
    /// instruction that works on more than a kibibyte does nothing if there is too little for all of
    /// it.
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
        self.metering.fuel = enable;
        self
    }

    /// Sets what each operator costs, if code [consumes fuel](Config::consume_fuel). The costs in
    /// `variable` are those of the bytes, elements or pages of operators that work on many.
    /// Instantiation costs the same as without this.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, OperatorCost, Store};
    ///
    /// let cost = OperatorCost { I32Mul: 5, ..Default::default() };
    /// let engine = Engine::new(Config::new().consume_fuel(true).operator_cost(cost))?;
    /// let text = r#"(module (func (export "square") (param i32) (result i32)
    ///     (i32.mul (local.get 0) (local.get 0))))"#;
    /// let module = Module::new(&engine, text)?;
    /// let mut store = Store::new(&engine, ());
    /// store.set_fuel(100)?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let square = instance.get_typed_func::<i32, i32>(&mut store, "square")?;
    /// assert_eq!(square.call(&mut store, 7)?, 49);
    /// // The call, the two operands, and the multiplication.
    /// assert_eq!(store.get_fuel()?, 100 - 1 - 2 - 5);
    /// # anyhow::Ok(())
    /// ```
    pub fn operator_cost(&mut self, cost: OperatorCost) -> &mut Config {
        self.metering.operator_cost = OperatorCostStrategy::table(cost);
        self
    }

    /// The costs of operators that are not the default, for code that depends on them.
    pub(super) fn unusual_costs(&self) -> Option<String> {
        let OperatorCostStrategy::Table(costs) = &self.metering.operator_cost else { return None };
        let [costs, usual] = [&**costs, &OperatorCost::default()].map(|costs| format!("{costs:?}"));
        let differ = costs.split(", ").zip(usual.split(", ")).filter(|(cost, usual)| cost != usual);
        let differ: Vec<&str> = differ.map(|(cost, _)| cost).collect();
        Some(differ.join(", ")).filter(|costs| self.metering.fuel && !costs.is_empty())
    }

    /// Sets whether code compares the engine's epoch with its store's deadline (default: no). An
    /// epoch is a counter that the host [increments](crate::Engine::increment_epoch) from time to
    /// time, for example with a thread that sleeps. When the
    /// [deadline](crate::Store::set_epoch_deadline) is reached, the store's code
    /// [traps](crate::Store::epoch_deadline_trap) or
    /// [calls the host](crate::Store::epoch_deadline_callback). A store's deadline is reached at
    /// first, so it must be set before code runs.
    ///
    /// The comparison stands where a function begins and where each turn of a loop begins. The host
    /// makes it before each mebibyte of an instruction that works on many bytes or elements. It is a
    /// load, a comparison and a branch.
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
        self.metering.epochs = enable;
        self
    }
}
