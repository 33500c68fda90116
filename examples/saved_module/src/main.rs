//! Runs a module that `reclaim compile` wrote. There is no compiler in this program: it is
//! built without the feature `compiler` of gc-wasm, and so without Cranelift.
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
    // As `reclaim compile` has it unless it is told otherwise.
    let engine = Engine::new(&Config::new())?;
    // SAFETY: whoever runs this trusts the file, and nobody changes it meanwhile.
    let module = unsafe { Module::deserialize_file(&engine, &file)? };
    let mut store = Store::new(&engine, ())?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let function = instance.get_typed_func::<i32, i32>(&mut store, &function)?;
    println!("{}", function.call(&mut store, number)?);
    Ok(())
}
