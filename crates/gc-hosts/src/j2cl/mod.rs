//! J2CL's host: the functions of JavaScript that Java programs import from module `imports`, and
//! the tag of their exceptions (<https://github.com/google/j2cl>).
//!
//! | functions | file |
//! |---|---|
//! | `Math`, numbers as text, characters | `numbers.rs` |
//! | strings and `RegExp` | `text.rs` |
//! | errors, arrays, time, the console | `objects.rs` |
//!
//! The compiler adds the number of parameters to some names, as in `RegExp.exec$1`. Programs also
//! import `wasm:js-string` and string constants from [`js_string`](crate::js_string), whose strings
//! are the ones here. Missing are `Date`, and what passes Java functions to JavaScript.
//!
//! An error is a struct, and an array an array, in the heap of the program.

pub(crate) mod context;
mod numbers;
mod objects;
mod text;

use crate::call::Functions;
use crate::context::HostCtx;
use crate::host::Host;
use crate::strings::Strings;
use anyhow::Result;
use gc_wasm::{ExternType, FuncType, ImportType, Linker, Module, Store, Tag, TagType, ValType};
use std::sync::Arc;

pub use context::J2clCtx;
pub(crate) use objects::error;

/// The module of the functions.
pub const MODULE: &str = "imports";

/// The names of the tag, by module and name: the one of today, and the one before it.
const TAGS: [(&str, &str); 2] = [("WebAssembly", "JSTag"), (MODULE, "j2wasm.ExceptionUtils.tag")];

/// J2CL's host.
pub(crate) const HOST: Host = Host {
    name: "j2cl",
    summary: "J2CL's runtime: JavaScript's numbers, strings, `Math`, `RegExp`, errors",
    claims,
    define: |linker, store, module| {
        add_to_linker(linker, store, module, |ctx: &mut HostCtx| &mut ctx.j2cl)
    },
    reads_args: false,
};

/// The objects of JavaScript whose functions are imported.
const OBJECTS: [&str; 14] = [
    "Array",
    "Boolean",
    "Date",
    "Error",
    "Math",
    "Number",
    "RegExp",
    "RegExpResult",
    "String",
    "console",
    "j2wasm",
    "nativebootstrap",
    "performance",
    "string",
];

fn claims(import: &ImportType<'_>) -> bool {
    if is_tag(import) {
        return true;
    }
    let name = import.name();
    let name = name.strip_prefix("get ").or(name.strip_prefix("set ")).unwrap_or(name);
    let object = name.split(['.', '$']).next().unwrap_or(name);
    import.module() == MODULE
        && (OBJECTS.contains(&object) || ["?", "parseFloat", "parseInt"].contains(&object))
}

fn is_tag(import: &ImportType<'_>) -> bool {
    matches!(import.ty(), ExternType::Tag(_)) && TAGS.contains(&(import.module(), import.name()))
}

/// A name without the number of parameters.
fn base(name: &str) -> &str {
    match name.rsplit_once('$') {
        Some((name, count)) if count.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

/// Defines the tag and the functions that `module` imports, for modules in `store`. `get` returns
/// the context from the data of the store.
///
/// # Errors
/// If a name is taken, or the engine has too many types.
///
/// # Examples
/// ```
/// use gc_hosts::j2cl::{self, J2clCtx};
/// use gc_hosts::Stdio;
/// use gc_wasm::{Config, Engine, Linker, Module, Store};
///
/// # fn main() -> anyhow::Result<()> {
/// let engine = Engine::new(&Config::new())?;
/// let module = Module::new(&engine, r#"(module
///     (import "imports" "Math.pow" (func $pow (param f64 f64) (result f64)))
///     (func (export "kibi") (result f64) (call $pow (f64.const 2) (f64.const 10))))"#)?;
/// let mut store = Store::new(&engine, J2clCtx::new(Stdio::none()));
/// let mut linker = Linker::new(&engine);
/// j2cl::add_to_linker(&mut linker, &mut store, &module, |ctx: &mut J2clCtx| ctx)?;
/// let instance = linker.instantiate(&mut store, &module)?;
/// let kibi = instance.get_typed_func::<(), f64>(&mut store, "kibi")?;
/// assert_eq!(kibi.call(&mut store, ())?, 1024.0);
/// # Ok(())
/// # }
/// ```
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    store: &mut Store<T>,
    module: &Module,
    get: impl Fn(&mut T) -> &mut J2clCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    if !module.imports().any(|import| claims(&import)) {
        return Ok(());
    }
    let ty = TagType::new(FuncType::new(linker.engine(), [ValType::EXTERNREF], []));
    let tag = Tag::new(&mut *store, &ty)?;
    for (from, name) in TAGS {
        if module.imports().any(|import| is_tag(&import) && import.module() == from) {
            linker.define(&*store, from, name, tag)?;
        }
    }
    let strings = Arc::new(Strings::new(linker.engine())?);
    let functions = &mut Functions::new(linker, module, MODULE, &strings).base(base);
    let objects = objects::Objects::new(functions.engine(), tag)?;
    numbers::define(functions)?;
    text::define(functions, &objects)?;
    objects::define(functions, &objects, get)
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn names_have_the_number_of_parameters() {
        for (name, expected) in [
            ("RegExp.exec$1", "RegExp.exec"),
            ("RegExp.exec", "RegExp.exec"),
            ("nativebootstrap.Util.$getDefine", "nativebootstrap.Util.$getDefine"),
            ("get Error.stack", "get Error.stack"),
        ] {
            assert_eq!(base(name), expected);
        }
    }
}
