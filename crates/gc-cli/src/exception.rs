//! Errors of a program's calls: names exceptions that no code caught.

use anyhow::{Error, Result, anyhow};
use gc_script::values;
use gc_wasm::{AsContextMut, Extern, Instance, Tag, ThrownException, Val, WasmBacktrace};

/// The error of a call. If it failed because of an exception that was not caught, it has the
/// exception's tag and payload, and the functions that were on the stack.
///
/// A tag has the name under which `instance` exports it, or that it has in the module that defines
/// it. Other tags are described by their type.
pub fn describe(mut store: impl AsContextMut, instance: Option<&Instance>, error: Error) -> Error {
    if !error.is::<ThrownException>() {
        return error;
    }
    let Ok(Some(text)) = uncaught(&mut store, instance) else { return error };
    let uncaught = anyhow!("uncaught exception {text}");
    match error.downcast::<WasmBacktrace>() {
        Ok(backtrace) => uncaught.context(backtrace),
        Err(_) => uncaught,
    }
}

fn uncaught(store: &mut impl AsContextMut, instance: Option<&Instance>) -> Result<Option<String>> {
    let Some(exn) = store.as_context_mut().take_pending_exception() else { return Ok(None) };
    let tag = exn.tag(&mut *store)?;
    let payload = values::print(&mut *store, &Val::ExnRef(Some(exn)))?;
    let exports = match instance {
        Some(instance) => instance.exports(&mut *store).collect(),
        None => Vec::new(),
    };
    let named = exports.into_iter().filter_map(|export| {
        let name = export.name().to_owned();
        Some((name, export.into_tag()?))
    });
    let named: Vec<(String, Tag)> = named.collect();
    let name = named.into_iter().find(|(_, other)| Tag::eq(&tag, other, &*store));
    let name = name.map(|(name, _)| name).or_else(|| tag.name(&*store));
    Ok(Some(match name {
        Some(name) => format!("`{name}`: {payload}"),
        None => format!("of {}: {payload}", Extern::Tag(tag).ty(&*store)),
    }))
}
