//! Random programs, as modules in WebAssembly's text format, and what comes of them.
//!
//! A program ends, at the latest when the fuel that it counts itself is used. Everything that it can observe
//! goes into one hash, except values in which collectors may differ. So the [`Outcome`] of a program must be
//! the same under every collector.
//!
//! ```
//! use gc_script::random::{Size, execute, program};
//! use gc_testkit::{Ledger, choices::Choices};
//! use gc_wasm::{Engine, Module, Store};
//!
//! let engine = Engine::default();
//! let module = Module::new(&engine, program(Choices::from_seed(1), Size::USUAL))?;
//! let values = Ledger::default();
//! let mut store = Store::new(&engine, values.clone());
//! let (_, outcome) = execute(&mut store, &module)?;
//! println!("{}: {:x}", outcome.end, outcome.hash);
//! drop(store);
//! values.check_all_once()?;
//! # Ok::<(), anyhow::Error>(())
//! ```

mod expressions;
mod generate;
mod memories;
mod statements;

pub use generate::{ROOTS, Size};

use anyhow::{Context, Result};
use gc_testkit::Ledger;
use gc_testkit::choices::Choices;
use gc_wasm::{AnyRef, Caller, ExternRef, Instance, Linker, Module, Rooted, Store, Trap, Val};

/// The outcome of a program.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The reason why it ended.
    pub end: String,
    /// The hash of its observations.
    pub hash: i64,
    /// What is left of the fuel that it counts itself.
    pub fuel: i32,
}

/// The text of the program that these choices make.
pub fn program(choices: Choices, size: Size) -> String {
    generate::module(choices, size)
}

/// Runs a program in a new store. Its host values are those of the store's ledger.
///
/// # Errors
/// If the module is none of [`program`], or fails otherwise than by a trap.
pub fn execute(store: &mut Store<Ledger>, module: &Module) -> Result<(Instance, Outcome)> {
    let mut linker: Linker<Ledger> = Linker::new(store.engine());
    linker.func_wrap("h", "gc", |mut caller: Caller<'_, Ledger>| caller.gc(None))?;
    linker.func_wrap(
        "h",
        "id",
        |mut caller: Caller<'_, Ledger>,
         any: Option<Rooted<AnyRef>>,
         _: Option<Rooted<ExternRef>>,
         _: i32|
         -> Result<Option<Rooted<AnyRef>>> {
            caller.gc(None)?;
            if any.is_some() {
                return Ok(any);
            }
            let token = caller.data().issue();
            let value = ExternRef::new(&mut caller, token)?;
            AnyRef::convert_extern(&mut caller, value).map(Some)
        },
    )?;
    linker.func_wrap(
        "h",
        "ext",
        |mut caller: Caller<'_, Ledger>,
         host: Option<Rooted<ExternRef>>|
         -> Result<Option<Rooted<ExternRef>>> {
            caller.gc(None)?;
            if host.is_some() {
                return Ok(host);
            }
            let token = caller.data().issue();
            ExternRef::new(&mut caller, token).map(Some)
        },
    )?;
    let instance = linker.instantiate(&mut *store, module)?;
    let end = match instance.get_typed_func::<(), ()>(&mut *store, "run")?.call(&mut *store, ()) {
        Ok(()) => "done".into(),
        Err(error) => error.downcast::<Trap>()?.to_string(),
    };
    let global = |store: &mut Store<Ledger>, name| -> Result<Val> {
        let global = instance.get_global(&mut *store, name);
        Ok(global.context("every program has it")?.get(store))
    };
    let hash = global(store, "h")?.i64().context("it is an i64")?;
    let fuel = global(store, "fuel")?.i32().context("it is an i32")?;
    Ok((instance, Outcome { end, hash, fuel }))
}
