//! Guile Hoot's host: the functions that programs of this Scheme compiler import
//! (<https://spritely.institute/hoot>).
//!
//! | module | functions | file |
//! |---|---|---|
//! | `rt` | numbers beyond 62 bits | `numbers.rs` |
//! | `rt` | strings, regular expressions | `text.rs` |
//! | `rt`, `finalization`, `ffi` | weak references, weak maps, finalization registries | `weak.rs` |
//! | `rt`, `io`, `debug` | time, exit, standard streams, messages for debugging | `system.rs` |
//!
//! Missing are functions that need JavaScript or its event loop (`rt.async_invoke`, promises,
//! streams, calls of module `ffi`), dates (`rt.make_date` and its like), and files (`io.open_input_file` and
//! its like).
//!
//! Strings are those of [`js_string`](crate::js_string), and large numbers are arrays of bytes. Both
//! are in the heap of the program, so its limit counts them.

pub(crate) mod context;
mod numbers;
mod system;
mod text;
mod weak;

use crate::call::Functions;
use crate::context::HostCtx;
use crate::host::Host;
use crate::strings::Strings;
use anyhow::Result;
use gc_wasm::{Linker, Module};
use std::sync::Arc;

pub use context::HootCtx;

/// The modules from which programs import.
const MODULES: [&str; 5] = ["rt", "io", "debug", "ffi", "finalization"];

/// Guile Hoot's host.
pub(crate) const HOST: Host = Host {
    name: "hoot",
    summary: "Guile Hoot's runtime: large numbers, strings, regular expressions, weak references",
    claims: |import| match import.module() {
        "rt" | "finalization" | "ffi" => true,
        "io" => system::IO.contains(&import.name()),
        "debug" => import.name().starts_with("debug_str") || import.name().starts_with("code_"),
        _ => false,
    },
    define: |linker, _, module| add_to_linker(linker, module, |ctx: &mut HostCtx| &mut ctx.hoot),
    reads_args: false,
};

/// Defines the functions that `module` imports. `get` returns the context from the data of the
/// store.
///
/// # Errors
/// If a name is taken, or the engine has too many types.
///
/// # Examples
/// ```
/// use gc_hosts::hoot::{self, HootCtx};
/// use gc_hosts::Stdio;
/// use gc_wasm::{Config, Engine, Linker, Module, Store};
///
/// # fn main() -> anyhow::Result<()> {
/// let engine = Engine::new(&Config::new())?;
/// let module = Module::new(&engine, r#"(module
///     (import "rt" "bignum_from_i64" (func $from (param i64) (result (ref extern))))
///     (import "rt" "bignum_mul"
///         (func $mul (param (ref extern) (ref extern)) (result (ref extern))))
///     (import "rt" "bignum_to_f64" (func $f64 (param (ref extern)) (result f64)))
///     (func (export "square") (param i64) (result f64)
///         (call $f64 (call $mul (call $from (local.get 0)) (call $from (local.get 0))))))"#)?;
/// let mut store = Store::new(&engine, HootCtx::new(Stdio::none()));
/// let mut linker = Linker::new(&engine);
/// hoot::add_to_linker(&mut linker, &module, |ctx: &mut HootCtx| ctx)?;
/// let instance = linker.instantiate(&mut store, &module)?;
/// let square = instance.get_typed_func::<i64, f64>(&mut store, "square")?;
/// assert_eq!(square.call(&mut store, 10_000_000_000)?, 1e20);
/// # Ok(())
/// # }
/// ```
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    module: &Module,
    get: impl Fn(&mut T) -> &mut HootCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    if !module.imports().any(|import| MODULES.contains(&import.module())) {
        return Ok(());
    }
    let strings = Arc::new(Strings::new(linker.engine())?);
    let rt = &mut Functions::new(linker, module, "rt", &strings);
    numbers::define(rt)?;
    text::define(rt)?;
    weak::define(rt)?;
    system::define(rt, get)?;
    weak::define_finalization(&mut Functions::new(linker, module, "finalization", &strings))?;
    weak::define_ffi(&mut Functions::new(linker, module, "ffi", &strings))?;
    system::define_io(&mut Functions::new(linker, module, "io", &strings), get)?;
    system::define_debug(&mut Functions::new(linker, module, "debug", &strings), get)
}
