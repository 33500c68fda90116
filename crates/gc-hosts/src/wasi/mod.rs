//! WASI preview 1 (`wasi_snapshot_preview1`): arguments, environment, clocks, random numbers,
//! files, and the end of the program.
//!
//! A program has files only in the directories that are opened for it. Paths are resolved by
//! `cap-std`, so that neither `..` nor a symbolic link leads out of them. Each function returns
//! an error number. No argument of a program, and no pointer outside its memory, is more than an
//! error number.

mod clocks;
pub(crate) mod context;
mod descriptor;
mod errno;
mod fd;
mod memory;
mod path;
mod poll;
mod process;
mod types;

pub use context::{WasiCtx, WasiCtxBuilder};
pub use process::I32Exit;

use crate::context::HostCtx;
use crate::host::Host;
use anyhow::{Context, Result};
use errno::Errno;
use gc_wasm::{Caller, Linker, Trap};
use memory::GuestMemory;

/// The name under which modules import the functions.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// WASI as a host.
pub(crate) const HOST: Host = Host {
    name: "wasi",
    summary: "WASI preview 1: files, arguments, clocks (C, Rust, Go, OCaml, Kotlin, ...)",
    claims: |import| import.module() == MODULE,
    define: |linker, _, _| add_to_linker(linker, |ctx: &mut HostCtx| &mut ctx.wasi),
    reads_args: true,
};

/// Runs a function on the context and the memory of the caller. Returns its error number.
fn call<T: 'static>(
    mut caller: Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx,
    function: impl FnOnce(&mut WasiCtx, &mut GuestMemory<'_>) -> Result<(), Errno>,
) -> Result<i32> {
    let memory = caller.get_export("memory").and_then(|export| export.into_memory());
    let memory = memory.context("a module that calls WASI must export its memory as `memory`")?;
    let (bytes, data) = memory.data_and_store_mut(&mut caller);
    match function(get(data), &mut GuestMemory::new(bytes)) {
        Ok(()) => Ok(0),
        // The program was interrupted while it waited.
        Err(Errno::Canceled) => Err(Trap::Interrupt.into()),
        Err(errno) => Ok(errno as i32),
    }
}

/// Defines functions that are methods of [`WasiCtx`] and return an error number.
macro_rules! functions {
    ($linker:ident, $get:ident: $($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        $linker.func_wrap(
            MODULE,
            stringify!($name),
            move |caller: Caller<'_, T>, $($arg: $ty),*| -> Result<i32> {
                call(caller, $get, |ctx, memory| ctx.$name(memory, $($arg),*))
            },
        )?;
    )*};
}

/// Defines all functions of WASI preview 1. `get` returns the context from the data of the store.
///
/// ```
/// use gc_hosts::wasi::{self, WasiCtx, WasiCtxBuilder};
/// use gc_hosts::{MemoryOutputPipe, OutputStream};
/// use gc_wasm::{Config, Engine, Linker, Module, Store};
///
/// # fn main() -> anyhow::Result<()> {
/// let engine = Engine::new(&Config::new())?;
/// let module = Module::new(&engine, r#"(module
///     (import "wasi_snapshot_preview1" "fd_write"
///         (func $fd_write (param i32 i32 i32 i32) (result i32)))
///     (memory (export "memory") 1)
///     (data (i32.const 0) "\10\00\00\00\06\00\00\00")
///     (data (i32.const 16) "hello\n")
///     (func (export "_start")
///         (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#)?;
/// let stdout = MemoryOutputPipe::new();
/// let ctx = WasiCtxBuilder::new().stdout(OutputStream::new(stdout.clone())).build();
/// let mut store = Store::new(&engine, ctx);
/// let mut linker = Linker::new(&engine);
/// wasi::add_to_linker(&mut linker, |ctx: &mut WasiCtx| ctx)?;
/// let instance = linker.instantiate(&mut store, &module)?;
/// instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
/// assert_eq!(stdout.contents(), b"hello\n");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If a name is taken.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    functions! { linker, get:
        args_get(argv: u32, text: u32);
        args_sizes_get(count: u32, size: u32);
        environ_get(environ: u32, text: u32);
        environ_sizes_get(count: u32, size: u32);
        clock_res_get(id: u32, out: u32);
        clock_time_get(id: u32, precision: u64, out: u32);
        fd_advise(fd: u32, offset: u64, len: u64, advice: u32);
        fd_allocate(fd: u32, offset: u64, len: u64);
        fd_close(fd: u32);
        fd_datasync(fd: u32);
        fd_fdstat_get(fd: u32, out: u32);
        fd_fdstat_set_flags(fd: u32, flags: u32);
        fd_fdstat_set_rights(fd: u32, base: u64, inheriting: u64);
        fd_filestat_get(fd: u32, out: u32);
        fd_filestat_set_size(fd: u32, size: u64);
        fd_filestat_set_times(fd: u32, atim: u64, mtim: u64, flags: u32);
        fd_pread(fd: u32, iovs: u32, count: u32, offset: u64, out: u32);
        fd_prestat_get(fd: u32, out: u32);
        fd_prestat_dir_name(fd: u32, path: u32, len: u32);
        fd_pwrite(fd: u32, iovs: u32, count: u32, offset: u64, out: u32);
        fd_read(fd: u32, iovs: u32, count: u32, out: u32);
        fd_readdir(fd: u32, buffer: u32, len: u32, cookie: u64, out: u32);
        fd_renumber(from: u32, to: u32);
        fd_seek(fd: u32, offset: i64, whence: u32, out: u32);
        fd_sync(fd: u32);
        fd_tell(fd: u32, out: u32);
        fd_write(fd: u32, iovs: u32, count: u32, out: u32);
        path_create_directory(fd: u32, path: u32, len: u32);
        path_filestat_get(fd: u32, flags: u32, path: u32, len: u32, out: u32);
        path_filestat_set_times(
            fd: u32, flags: u32, path: u32, len: u32, atim: u64, mtim: u64, times: u32
        );
        path_link(
            fd: u32, flags: u32, path: u32, len: u32, new_fd: u32, new_path: u32, new_len: u32
        );
        path_open(
            fd: u32, dirflags: u32, path: u32, len: u32, oflags: u32, rights: u64, inheriting: u64,
            fdflags: u32, out: u32
        );
        path_readlink(fd: u32, path: u32, len: u32, buffer: u32, buffer_len: u32, out: u32);
        path_remove_directory(fd: u32, path: u32, len: u32);
        path_rename(fd: u32, path: u32, len: u32, new_fd: u32, new_path: u32, new_len: u32);
        path_symlink(target: u32, target_len: u32, fd: u32, path: u32, len: u32);
        path_unlink_file(fd: u32, path: u32, len: u32);
        poll_oneoff(subscriptions: u32, events: u32, count: u32, out: u32);
        proc_raise(signal: u32);
        random_get(buffer: u32, len: u32);
        sched_yield();
        sock_accept(fd: u32, flags: u32, out: u32);
        sock_recv(fd: u32, iovs: u32, count: u32, flags: u32, out: u32, out_flags: u32);
        sock_send(fd: u32, iovs: u32, count: u32, flags: u32, out: u32);
        sock_shutdown(fd: u32, how: u32);
    }
    linker
        .func_wrap(MODULE, "proc_exit", |code: i32| -> Result<()> { Err(I32Exit(code).into()) })?;
    Ok(())
}
