//! Runs a module that `reclaim compile` wrote. This program has no compiler: it uses gc-wasm
//! without the feature `compiler`, so it does not contain Cranelift.
//!
//! ```text
//! reclaim compile tests/programs/json_tree.wat -o json_tree.elf
//! cargo run -p saved_module -- json_tree.elf run 10
//! ```
//!
//! The function returns an `i32`, and takes one if there is a NUMBER. If the module was compiled for another
//! collector than the default one, COLLECTOR names it.

#![allow(unsafe_code)]

use anyhow::{Context, Result, ensure};
use gc_wasm::{Collector, Config, Engine, Instance, Module, Store};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: saved_module FILE FUNCTION [NUMBER [COLLECTOR]]";
    let (file, function) = (args.next().context(usage)?, args.next().context(usage)?);
    let number: Option<i32> =
        args.next().map(|number| number.parse()).transpose().context("NUMBER must be a number")?;
    let collector: Collector = args.next().map_or(Ok(Collector::default()), |it| it.parse())?;
    ensure!(args.next().is_none(), "{usage}");
    // The configuration must be the one of `reclaim compile`, whose programs can be interrupted.
    let engine = Engine::new(Config::new().collector(collector).interruptible(true))?;
    // ANCHOR: load
    // SAFETY: the user trusts the file, and no one changes it while the program runs.
    let module = unsafe { Module::deserialize_file(&engine, &file)? };
    // ANCHOR_END: load
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let result = match number {
        Some(number) => {
            let function = instance.get_typed_func::<i32, i32>(&mut store, &function)?;
            function.call(&mut store, number)?
        }
        None => {
            let function = instance.get_typed_func::<(), i32>(&mut store, &function)?;
            function.call(&mut store, ())?
        }
    };
    println!("{result}");
    Ok(())
}
