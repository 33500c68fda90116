//! Errors of a program's calls: names exceptions that no code caught, and adds backtraces.

use crate::failure::Traced;
use anyhow::{Error, Result, anyhow};
use gc_conformance::values;
use gc_wasm::{AsContextMut, Extern, Instance, Tag, ThrownException, Val};

/// The error of a call, with the functions that were on the stack. If it failed because of an
/// exception that was not caught, it has the exception's tag and payload.
///
/// A tag has the name under which `instance` exports it, or that it has in the module that defines
/// it. Other tags are described by their type.
pub fn describe(mut store: impl AsContextMut, instance: Option<&Instance>, error: Error) -> Error {
    let backtrace = store.as_context_mut().take_backtrace();
    let error = match error.is::<ThrownException>() {
        true => match uncaught(&mut store, instance) {
            Ok(Some(text)) => anyhow!("uncaught exception {text}"),
            Ok(None) | Err(_) => error,
        },
        false => error,
    };
    match backtrace {
        Some(backtrace) => Traced::add(error, backtrace),
        None => error,
    }
}

fn uncaught(store: &mut impl AsContextMut, instance: Option<&Instance>) -> Result<Option<String>> {
    let Some(exn) = store.as_context_mut().take_pending_exception() else { return Ok(None) };
    let tag = exn.tag(&mut *store)?;
    let payload = values::print(&mut *store, &Val::ExnRef(Some(exn)))?;
    let exports = match instance {
        Some(instance) => instance.exports(&*store)?,
        None => Vec::new(),
    };
    let name = exports.into_iter().find(|(_, export)| match export {
        Extern::Tag(other) => Tag::eq(&tag, other, &*store),
        _ => false,
    });
    let name = name.map(|(name, _)| name).or_else(|| tag.name(&*store));
    Ok(Some(match name {
        Some(name) => format!("`{name}`: {payload}"),
        None => format!("of {}: {payload}", Extern::Tag(tag).ty(&*store)?),
    }))
}
