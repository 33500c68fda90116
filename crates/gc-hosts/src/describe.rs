//! The text of values that programs get from hosts, for messages: what a program threw and nobody
//! caught, and what a function returned.

use crate::j2cl;
use crate::strings::Strings;
use anyhow::Result;
use gc_wasm::{AsContext, AsContextMut, ExternRef, Rooted};

/// Code units that are shown of a string.
const SHOWN: usize = 10_000;

/// The text of a string, or of an error of J2CL, as JavaScript would print it. `None` if the value is
/// neither. Of a very long text, the end is missing and `…` stands for it.
///
/// # Errors
/// If the handle's scope has ended, or the heap is corrupt.
///
/// # Panics
/// If the handle belongs to another store.
///
/// # Examples
/// ```
/// use gc_hosts::{Host, HostOptions};
/// use gc_wasm::{Config, Engine, ExternRef, Linker, Module, Rooted, Store};
///
/// # fn main() -> anyhow::Result<()> {
/// let engine = Engine::new(&Config::new())?;
/// let module = Module::new(&engine, r#"(module
///     (import "'" "Hello" (global $hello (ref extern)))
///     (func (export "hello") (result externref) (global.get $hello)))"#)?;
/// let mut store = Store::new(&engine, HostOptions::default().build()?);
/// let mut linker = Linker::new(&engine);
/// for host in Host::recognised(&module) {
///     host.define(&mut linker, &mut store, &module)?;
/// }
/// let instance = linker.instantiate(&mut store, &module)?;
/// let hello = instance.get_typed_func::<(), Option<Rooted<ExternRef>>>(&mut store, "hello")?;
/// let value = hello.call(&mut store, ())?.unwrap();
/// assert_eq!(gc_hosts::text_of(&mut store, value)?.as_deref(), Some("Hello"));
/// # Ok(())
/// # }
/// ```
pub fn text_of(mut store: impl AsContextMut, value: Rooted<ExternRef>) -> Result<Option<String>> {
    let strings = Strings::new(store.as_context().engine())?;
    if let Some(text) = shown(&strings, &store, value)? {
        return Ok(Some(text));
    }
    let Some((name, message)) = j2cl::error(&mut store, value)? else { return Ok(None) };
    let message = message.map(|message| shown(&strings, &store, message)).transpose()?.flatten();
    Ok(Some(match message {
        Some(message) if !message.is_empty() => format!("{name}: {message}"),
        _ => name.to_owned(),
    }))
}

/// The begin of the string, if the value is one.
fn shown(
    strings: &Strings,
    store: &impl AsContext,
    value: Rooted<ExternRef>,
) -> Result<Option<String>> {
    let Some(string) = strings.find(store, value)? else { return Ok(None) };
    let more = string.len(store)? as usize > SHOWN;
    let text = String::from_utf16_lossy(&strings.part(store, value, 0..SHOWN)?);
    Ok(Some(if more { text + "…" } else { text }))
}
