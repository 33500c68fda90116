//! Runs a module that `reclaim compile` wrote. This program has no compiler: it uses gc-wasm
//! without the feature `compiler`, so it does not contain Cranelift.
//!
//! ```text
//! reclaim compile tests/programs/json_tree.wat -o json_tree.elf
//! cargo run -p saved_module -- json_tree.elf run 10
//! ```

#![allow(unsafe_code)]

use anyhow::{Context, Result};
use gc_wasm::{Config, Engine, Instance, Module, Store};

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let (Some(file), Some(function)) = (args.next(), args.next()) else {
        println!("usage: saved_module FILE FUNCTION [NUMBER]");
        return Ok(());
    };
    let number: i32 = args.next().unwrap_or_default().parse().context("the argument")?;
    // The configuration must be the one of `reclaim compile`, here the default.
    let engine = Engine::new(&Config::new())?;
    // SAFETY: the user trusts the file, and no one changes it while the program runs.
    let module = unsafe { Module::deserialize_file(&engine, &file)? };
    let mut store = Store::new(&engine, ())?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let function = instance.get_typed_func::<i32, i32>(&mut store, &function)?;
    println!("{}", function.call(&mut store, number)?);
    Ok(())
}
