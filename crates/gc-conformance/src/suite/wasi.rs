//! The part of WASI (preview 1) for programs that only read their arguments, print, and exit.

use anyhow::{Context, Result, bail};
use gc_wasm::{AsContext, Caller, Linker, Memory};
use std::fmt;

/// The module name under which programs import the functions.
pub(super) const MODULE: &str = "wasi_snapshot_preview1";

/// The names of the functions.
pub(super) const FUNCTIONS: [&str; 4] = ["args_get", "args_sizes_get", "fd_write", "proc_exit"];

/// The input and the output of a program.
#[derive(Default)]
pub(super) struct Wasi {
    /// The command line's arguments, the program's name first.
    pub(super) args: Vec<String>,
    /// The output that it printed.
    pub(super) stdout: Vec<u8>,
}

/// The exit status of a program.
#[derive(Debug)]
pub(super) struct Exit(pub(super) i32);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {}", self.0)
    }
}

impl std::error::Error for Exit {}

/// WASI's error number for success.
const SUCCESS: i32 = 0;

fn memory(caller: &mut Caller<'_, Wasi>) -> Result<Memory> {
    let memory = caller.get_export("memory").and_then(|export| export.into_memory());
    memory.context("the program exports no memory")
}

fn read(caller: &mut Caller<'_, Wasi>, at: u32, len: u32) -> Result<Vec<u8>> {
    let memory = memory(caller)?;
    let context = caller.as_context();
    let bytes = memory.data(&context)?.get(at as usize..).and_then(|b| b.get(..len as usize));
    Ok(bytes.context("a pointer outside the memory")?.to_vec())
}

fn write(caller: &mut Caller<'_, Wasi>, at: u32, bytes: &[u8]) -> Result<()> {
    let memory = memory(caller)?;
    let place = memory.data_mut(caller)?.get_mut(at as usize..);
    let place = place.and_then(|b| b.get_mut(..bytes.len()));
    place.context("a pointer outside the memory")?.copy_from_slice(bytes);
    Ok(())
}

fn read_u32(caller: &mut Caller<'_, Wasi>, at: u32) -> Result<u32> {
    let bytes = read(caller, at, 4)?;
    Ok(u32::from_le_bytes(bytes.try_into().expect("four bytes")))
}

/// Defines [`FUNCTIONS`].
pub(super) fn add_to_linker(linker: &mut Linker<Wasi>) -> Result<()> {
    linker.func_wrap(
        MODULE,
        "args_sizes_get",
        |mut caller: Caller<'_, Wasi>, count: u32, size: u32| -> Result<i32> {
            let args = &caller.data().args;
            let bytes: usize = args.iter().map(|arg| arg.len() + 1).sum();
            let numbers = (args.len() as u32, bytes as u32);
            write(&mut caller, count, &numbers.0.to_le_bytes())?;
            write(&mut caller, size, &numbers.1.to_le_bytes())?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "args_get",
        |mut caller: Caller<'_, Wasi>, pointers: u32, mut text: u32| -> Result<i32> {
            for (i, arg) in caller.data().args.clone().into_iter().enumerate() {
                write(&mut caller, pointers + 4 * i as u32, &text.to_le_bytes())?;
                write(&mut caller, text, format!("{arg}\0").as_bytes())?;
                text += arg.len() as u32 + 1;
            }
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut caller: Caller<'_, Wasi>, fd: i32, parts: u32, count: u32, written: u32| {
            if fd != 1 {
                bail!("writes to file descriptor {fd}");
            }
            let mut total = 0u32;
            for i in 0..count {
                let at = read_u32(&mut caller, parts + 8 * i)?;
                let len = read_u32(&mut caller, parts + 8 * i + 4)?;
                let bytes = read(&mut caller, at, len)?;
                caller.data_mut().stdout.extend(bytes);
                total += len;
            }
            write(&mut caller, written, &total.to_le_bytes())?;
            Ok(SUCCESS)
        },
    )?;
    linker.func_wrap(MODULE, "proc_exit", |code: i32| -> Result<()> { Err(Exit(code).into()) })?;
    Ok(())
}
