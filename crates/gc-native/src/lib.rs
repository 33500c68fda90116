//! The library of executables whose code `gc-engine` has compiled ahead of time.
//!
//! [`Module::emit_object`](gc_engine::native) writes objects, and `Engine::emit_start` one more. A system linker makes
//! an executable of these objects and of the static library `libgc_native.a`:
//!
//! ```sh
//! cc start.o program.o libgc_native.a -o program
//! ```
//!
//! The executable has no compiler. Its `main` makes a heap, loads the code and calls the function that `emit_start`
//! was given. A language with functions of its own in Rust has a static library of its own, which calls [`run`].
//!
//! The environment variable `RECLAIM_HEAP_MAX` sets the heap's maximum (`64MiB`).
//!
//! # Security
//! Compiled code cannot leave the heap. That does not hold for C code in the same program, which can write anything.
#![allow(unsafe_code)]

use anyhow::{Context as _, Result, bail};
use gc_engine::native::Objects;
use gc_engine::{Engine, Store, size};

unsafe extern "C" {
    /// The symbol of the start object.
    static reclaim_start: u8;
}

/// Runs the program that this executable is: makes a store with `data`, lets `add` add functions of the host, loads the
/// code of all objects, and calls the main function. Returns the exit code for the process: what the function returns,
/// 0 if it returns nothing, and 1 after an error, which is printed to the standard error output.
///
/// It can be called once in a process.
pub fn run<T: Send + Sync + 'static>(
    data: T,
    add: impl FnOnce(&mut Store<T>) -> Result<()>,
) -> i32 {
    run_main(data, add).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        1
    })
}

fn run_main<T: Send + Sync + 'static>(
    data: T,
    add: impl FnOnce(&mut Store<T>) -> Result<()>,
) -> Result<i32> {
    // SAFETY: a system linker has put the start object into this executable.
    let objects = unsafe { Objects::at(&raw const reclaim_start)? };
    let mut store = open(&objects, data, add)?;
    let main = objects.main().context("the start object names no main function")?;
    let signature = store.signature(main);
    let signature =
        signature.with_context(|| format!("the executable has no function `{main}`"))?;
    match signature.to_string().as_str() {
        "() -> ()" => {
            store.function::<(), ()>(main)?.call(&mut store, ())?;
            Ok(0)
        }
        "() -> (i32)" => store.function::<(), i32>(main)?.call(&mut store, ()),
        other => bail!("the function `{main}` is {other}, but main is () -> () or () -> (i32)"),
    }
}

/// A store with the code of all objects.
fn open<T: Send + Sync + 'static>(
    objects: &Objects,
    data: T,
    add: impl FnOnce(&mut Store<T>) -> Result<()>,
) -> Result<Store<T>> {
    let engine = engine(objects)?;
    let mut store = Store::new(&engine, data)?;
    add(&mut store)?;
    // SAFETY: it is called once.
    let codes = unsafe { objects.load(&engine)? };
    // Objects may call each other, so all names are there first.
    for code in &codes {
        for (name, signature) in code.functions() {
            let (params, results) = (signature.params(), signature.results());
            store.declare(name, params.iter().copied(), results.iter().copied())?;
        }
    }
    codes.iter().try_for_each(|code| store.load(code))?;
    Ok(store)
}

/// The engine of the objects, with the user's options.
fn engine(objects: &Objects) -> Result<Engine> {
    const MAXIMUM: &str = "RECLAIM_HEAP_MAX";
    let mut engine = objects.engine()?;
    if let Some(text) = std::env::var_os(MAXIMUM) {
        let bytes = size::parse(&text.to_string_lossy());
        let bytes = bytes.map_err(anyhow::Error::msg).context(MAXIMUM)?;
        engine = engine.heap_maximum(bytes);
    }
    engine.build()
}

/// The `main` of an executable without functions of its own.
#[unsafe(no_mangle)]
extern "C" fn reclaim_main() -> i32 {
    run((), |_| Ok(()))
}
