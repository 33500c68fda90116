//! Shared parts of the tests of fuel.
#![allow(dead_code, unreachable_pub)]

use crate::common::Setting;
use anyhow::Result;
use gc_wasm::{Engine, Instance, Module, Store};

/// The fuel for what shall not run out of it.
pub const PLENTY: u64 = 1_000_000_000;

/// A store with this much fuel and a module in it, if it could be instantiated.
pub fn with_fuel(
    setting: &Setting,
    fuel: u64,
    text: &str,
) -> Result<(Store<()>, Result<Instance>)> {
    let engine = Engine::new(setting.config().consume_fuel(true))?;
    let module = Module::new(&engine, text)?;
    let mut store = Store::new(&engine, ());
    store.set_fuel(fuel)?;
    let instance = Instance::new(&mut store, &module, &[]);
    Ok((store, instance))
}
