//! AssemblyScript's host: `env.abort`, `env.trace` and `env.seed`.
//!
//! A string is a pointer to UTF-16 in the memory that the caller exports. Its number of bytes stands
//! in the four bytes before it.

use crate::context::HostCtx;
use crate::host::Host;
use crate::wait::failed;
use anyhow::{Context, Result, bail};
use gc_wasm::{Caller, ExternType, Linker, Module};
use std::hash::{BuildHasher, RandomState};

pub(crate) mod context;
pub use context::AssemblyScriptCtx;

/// The module from which programs import.
pub const MODULE: &str = "env";

/// AssemblyScript's host.
pub(crate) const HOST: Host = Host {
    name: "assemblyscript",
    summary: "AssemblyScript's runtime: messages of programs that abort, traces",
    claims: |import| {
        let ExternType::Func(ty) = import.ty() else { return false };
        // Other toolchains import other functions of these names.
        let count = ty.params().len();
        import.module() == MODULE
            && matches!((import.name(), count), ("abort", 4) | ("trace", 7) | ("seed", 0))
    },
    define: |linker, _, module| {
        add_to_linker(linker, module, |ctx: &mut HostCtx| &mut ctx.assemblyscript)
    },
    reads_args: false,
};

/// Code units that are shown of a string.
const SHOWN: usize = 10_000;

/// The string at `at`, or what is said if there is none. A pointer of a program that aborts may be
/// wrong, which is said too.
fn text<T: 'static>(caller: &mut Caller<'_, T>, at: u32, otherwise: &str) -> Result<String> {
    if at == 0 {
        return Ok(otherwise.to_owned());
    }
    let memory = caller.get_export("memory").and_then(|item| item.into_memory());
    let memory = memory.context("a caller of `env` must export its memory as `memory`")?;
    let bytes = memory.data(&*caller);
    let at = at as usize;
    let length = at.checked_sub(4).and_then(|start| bytes.get(start..at));
    let length =
        length.map(|length| length.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte)));
    let units = length.and_then(|length| bytes.get(at..at.checked_add(length)?));
    let Some(units) = units else { return Ok(format!("(a string at {at}, outside the memory)")) };
    let units = units.chunks_exact(2);
    let more = if units.len() > SHOWN { "…" } else { "" };
    let units: Vec<u16> =
        units.take(SHOWN).map(|unit| u16::from_le_bytes([unit[0], unit[1]])).collect();
    Ok(String::from_utf16_lossy(&units) + more)
}

/// Defines those of the functions that `module` imports. `get` returns the context from the data of
/// the store.
///
/// # Errors
/// If a name is taken, or the engine has too many types.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    module: &Module,
    get: impl Fn(&mut T) -> &mut AssemblyScriptCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    let imports = |name| module.imports().any(|i| i.module() == MODULE && i.name() == name);
    if imports("abort") {
        linker.func_wrap(
            MODULE,
            "abort",
            |mut caller: Caller<'_, T>,
             message: u32,
             file: u32,
             line: u32,
             column: u32|
             -> Result<()> {
                let message = text(&mut caller, message, "no message")?;
                let file = text(&mut caller, file, "an unknown file")?;
                bail!("the program aborted: {message} in {file}({line}:{column})")
            },
        )?;
    }
    if imports("trace") {
        linker.func_wrap(
            MODULE,
            "trace",
            move |mut caller: Caller<'_, T>,
                  message: u32,
                  count: u32,
                  a: f64,
                  b: f64,
                  c: f64,
                  d: f64,
                  e: f64|
                  -> Result<()> {
                let mut line = format!("trace: {}", text(&mut caller, message, "")?);
                for number in [a, b, c, d, e].iter().take(count as usize) {
                    line.push_str(&format!(" {}", crate::js_number::to_text(*number)));
                }
                let stderr = get(caller.data_mut()).stderr();
                stderr.write_all(format!("{line}\n").as_bytes()).map_err(failed("printing"))
            },
        )?;
    }
    if imports("seed") {
        linker.func_wrap(MODULE, "seed", || -> f64 {
            (RandomState::new().hash_one(0u8) >> 11) as f64
        })?;
    }
    Ok(())
}
