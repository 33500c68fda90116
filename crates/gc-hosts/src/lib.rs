//! What modules import: the functions, globals and memories that toolchains expect from the host of
//! their programs.
//!
//! Each host is a file: [`wasi`], [`js_string`], [`moonbit`], [`hoot`],
//! [`j2cl`], [`assemblyscript`]. It defines its functions in any
//! [`Linker`](gc_wasm::Linker). [`HOSTS`] lists all of them for the command, which chooses those
//! that a module needs by the names that it imports ([`Host::recognised`]). The page "Bring your
//! own host" of the book shows how to add one.
//!
//! ```
//! use gc_hosts::{Host, HostOptions, MemoryOutputPipe, OutputStream, Stdio};
//! use gc_wasm::{Config, Engine, Linker, Module, Store};
//!
//! # fn main() -> anyhow::Result<()> {
//! let engine = Engine::new(&Config::new())?;
//! let module = Module::new(&engine, r#"(module
//!     (import "spectest" "print_char" (func $print_char (param i32)))
//!     (func (export "_start")
//!         (call $print_char (i32.const 0x48)) (call $print_char (i32.const 0x69))
//!         (call $print_char (i32.const 0x0a))))"#)?;
//! let stdout = MemoryOutputPipe::new();
//! let stdio = Stdio { stdout: OutputStream::new(stdout.clone()), ..Stdio::none() };
//! let mut store = Store::new(&engine, HostOptions { stdio, ..Default::default() }.build()?);
//! let mut linker = Linker::new(&engine);
//! for host in Host::recognised(&module) {
//!     host.define(&mut linker, &mut store, &module)?;
//! }
//! let instance = linker.instantiate(&mut store, &module)?;
//! instance.get_typed_func::<(), ()>(&mut store, "_start")?.call(&mut store, ())?;
//! assert_eq!(stdout.contents(), b"Hi\n");
//! # Ok(())
//! # }
//! ```

pub mod assemblyscript;
mod call;
mod context;
mod describe;
pub mod hoot;
mod host;
mod hosts;
pub mod j2cl;
mod js_number;
pub mod js_string;
mod js_text;
pub mod moonbit;
mod own_type;
mod regexp;
mod regexp_objects;
mod regexp_pattern;
mod stdio;
mod strings;
mod wait;
pub mod wasi;
mod work;

pub use context::{HostCtx, HostOptions};
pub use describe::text_of;
pub use host::Host;
pub use hosts::HOSTS;
pub use stdio::{InputStream, MemoryOutputPipe, OutputStream, Stdio};
pub use wasi::I32Exit;
