//! Parses the calls of the command line, and makes them.
//!
//! `--invoke 'NAME(ARG, …)'` is a whole call. `--invoke NAME` is a call without arguments, or whose
//! arguments follow the file's name. A NAME with special characters is written as a string of the
//! text format: `'"odd (name)"(1)'`.

use crate::exception;
use crate::failure::misuse;
use crate::printable::printable;
use anyhow::{Result, anyhow};
use gc_hosts::{HostCtx, I32Exit};
use gc_script::values;
use gc_wasm::{AsContextMut, ExternType, FuncType, Instance, Module, RootScope, Store, Val};
use std::fmt;
use std::time::{Duration, Instant};
use wast::parser::{self, ParseBuffer};

/// A call: the name of an export, and its arguments as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The export's name.
    pub name: String,
    /// The arguments.
    pub args: Vec<String>,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name, self.args.join(", "))
    }
}

/// The arguments of calls and those of the program, of which one is empty: without `--invoke`, all
/// are the program's.
pub fn split_args<'a>(invoke: &[String], args: &'a [String]) -> (&'a [String], &'a [String]) {
    if invoke.is_empty() { (&[], args) } else { (args, &[]) }
}

/// The calls given by `invoke` and the arguments after the file's name.
///
/// # Errors
/// Misuse: if the syntax of a call is wrong, or it is not clear to which call the arguments belong.
pub fn parse_calls(invoke: &[String], args: &[String]) -> Result<Vec<Call>> {
    let mut calls = invoke.iter().map(|text| parse(text)).collect::<Result<Vec<_>>>()?;
    if args.is_empty() {
        return Ok(calls.into_iter().map(|(call, _)| call).collect());
    }
    match &mut calls[..] {
        [(call, false)] => call.args = args.to_vec(),
        [] => {
            return Err(misuse(format!(
                "`{}` is an argument without a call: name a function with `--invoke NAME`",
                args[0]
            )));
        }
        [_] => {
            return Err(misuse(format!(
                "`{}` is one argument too many: the call has its arguments in parentheses",
                args[0]
            )));
        }
        _ => {
            return Err(misuse(
                "with several `--invoke`, write the arguments as in `--invoke 'NAME(ARG, …)'`",
            ));
        }
    }
    Ok(calls.into_iter().map(|(call, _)| call).collect())
}

/// Parses one call. Returns whether it had parentheses.
fn parse(text: &str) -> Result<(Call, bool)> {
    let text = text.trim();
    let (name, rest) = if text.starts_with('"') {
        quoted_name(text)?
    } else {
        let end = text.find('(').unwrap_or(text.len());
        (text[..end].trim_end().to_owned(), &text[end..])
    };
    if rest.is_empty() {
        return Ok((Call { name, args: Vec::new() }, false));
    }
    let Some(inner) = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else {
        return Err(misuse(format!(
            "`{text}` is not a call: expected `NAME(ARG, …)`, where a NAME with parentheses or \
             commas is written as a string: `\"NAME\"(ARG, …)`"
        )));
    };
    let args: Vec<String> = match inner.trim() {
        "" => Vec::new(),
        inner => inner.split(',').map(|arg| arg.trim().to_owned()).collect(),
    };
    if args.iter().any(String::is_empty) {
        return Err(misuse(format!("`{text}` has an empty argument")));
    }
    Ok((Call { name, args }, true))
}

/// Parses a name that is a string of the text format. Returns the name and the text after it.
fn quoted_name(text: &str) -> Result<(String, &str)> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + 1)
    });
    let name = end.and_then(|end| {
        let buffer = ParseBuffer::new(&text[..end]).ok()?;
        let name = parser::parse::<String>(&buffer).ok()?;
        Some((name, text[end..].trim_start()))
    });
    name.ok_or_else(|| misuse(format!("`{text}` begins with an invalid string")))
}

/// The outcome of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The results as printed text.
    pub results: Vec<String>,
    /// The exit status with which the program ended itself, if it did.
    pub exit: Option<I32Exit>,
    /// The time that the call took, without parsing arguments and printing results.
    pub took: Duration,
}

impl Call {
    /// The call of `_start`.
    pub fn start() -> Call {
        Call { name: "_start".to_owned(), args: Vec::new() }
    }

    /// Whether it is a call of `_start`: it runs a program, which happens once in an instance.
    pub fn is_start(&self) -> bool {
        *self == Call::start()
    }

    /// Calls the function of type `ty` that `instance` exports. References are unrooted afterwards.
    ///
    /// # Errors
    /// Misuse: if an argument does not have its parameter's type. Also if the call fails.
    pub fn perform(
        &self,
        store: &mut Store<HostCtx>,
        instance: &Instance,
        ty: &FuncType,
    ) -> Result<Outcome> {
        let mut scope = RootScope::new(store);
        let name = &self.name;
        let mut args = Vec::with_capacity(self.args.len());
        let module = instance.module(&scope).clone();
        for (i, (text, ty)) in self.args.iter().zip(ty.params()).enumerate() {
            let arg = values::parse_as(&mut scope, text, &ty, &module.show_val_type(&ty))
                .map_err(|error| misuse(format!("argument {} of `{name}`: {error:#}", i + 1)))?;
            args.push(arg);
        }
        let func = instance
            .get_func(&mut scope, name)
            .ok_or_else(|| anyhow!("the instance does not export the function `{name}`"))?;
        let mut results = vec![Val::I32(0); ty.results().len()];
        let begin = Instant::now();
        let called = func.call(&mut scope, &args, &mut results);
        let took = begin.elapsed();
        if let Err(error) = called {
            let error = exception::describe(&mut scope, Some(instance), error);
            let exit = error.downcast::<I32Exit>();
            let exit = exit.map_err(|error| error.context(format!("calling `{self}`")))?;
            return Ok(Outcome { results: Vec::new(), exit: Some(exit), took });
        }
        let results = results.iter().map(|result| values::print(scope.as_context_mut(), result));
        Ok(Outcome { results: results.collect::<Result<_>>()?, exit: None, took })
    }

    /// The type of the function it calls. Checks the number of arguments.
    ///
    /// # Errors
    /// Misuse: if the module does not export such a function, or the function takes another number
    /// of arguments.
    pub fn check(&self, module: &Module) -> Result<FuncType> {
        let name = &self.name;
        let ty = match module.get_export(name) {
            Some(ExternType::Func(ty)) => ty,
            Some(ty) => {
                let ty = module.show_type(&ty);
                return Err(misuse(format!("`{name}` is not a function: it is {ty}")));
            }
            None => {
                let functions = module.exports().filter(|export| export.ty().func().is_some());
                let near = near(name, functions.map(|export| export.name()));
                let hint = match near {
                    Some(near) => Some(format!("; did you mean `{}`?", printable(near))),
                    None if self.is_start() => Some(": name a function with `--invoke`".to_owned()),
                    None => None,
                };
                return Err(misuse(format!(
                    "the module exports no function `{name}`{}\n{}",
                    hint.unwrap_or_default(),
                    list_exports(module, LISTED)
                )));
            }
        };
        let (expected, got) = (ty.params().len(), self.args.len());
        if expected != got {
            let arguments = if expected == 1 { "argument" } else { "arguments" };
            let but = match &self.args[..] {
                [] => "0 are given".to_owned(),
                [arg] => format!("1 is given, `{arg}`"),
                args => format!("{got} are given, `{}`", args.join("`, `")),
            };
            let ty = ExternType::Func(ty);
            return Err(misuse(format!(
                "`{name}` takes {expected} {arguments}, but {but}: its type is {}",
                module.show_type(&ty)
            )));
        }
        Ok(ty)
    }
}

/// The one of `names` that is most similar to `name`, if it is similar enough: the first of several.
pub fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|other| (strsim::normalized_damerau_levenshtein(name, other), other))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .min_by(|(a, _), (b, _)| b.total_cmp(a))
        .map(|(_, other)| other)
}

/// The maximum number of exports that are listed.
const LISTED: usize = 30;

/// The module's exports, one per line, with their types, functions first. Lists at most `most`.
pub fn list_exports(module: &Module, most: usize) -> String {
    let exports = module.exports();
    if exports.len() == 0 {
        return "it exports nothing".to_owned();
    }
    let mut exports: Vec<_> = exports.collect();
    exports.sort_by_key(|export| export.ty().func().is_none());
    let exports = exports
        .iter()
        .map(|export| format!("{}: {}", printable(export.name()), module.show_type(&export.ty())));
    list_up_to(most, "it exports", exports)
}

/// `what:` and the items, one per line. Lists at most 30 of them.
pub fn list<S: AsRef<str>>(what: &str, items: impl ExactSizeIterator<Item = S>) -> String {
    list_up_to(LISTED, what, items)
}

fn list_up_to<S: AsRef<str>>(
    most: usize,
    what: &str,
    items: impl ExactSizeIterator<Item = S>,
) -> String {
    let more = items.len().saturating_sub(most);
    let mut text = format!("{what}:");
    for item in items.take(most) {
        text.push_str("\n  ");
        text.push_str(item.as_ref());
    }
    if more > 0 {
        text.push_str(&format!("\n  … and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| text.to_string()).collect()
    }

    fn call(name: &str, args: &[&str]) -> Call {
        Call { name: name.to_owned(), args: strings(args) }
    }

    #[test]
    fn calls_parse() {
        for (text, expected) in [
            ("f", call("f", &[])),
            ("f()", call("f", &[])),
            (" f ( ) ", call("f", &[])),
            ("f(1)", call("f", &["1"])),
            ("f(-1, nan:0x7 ,null)", call("f", &["-1", "nan:0x7", "null"])),
            ("a-b.c/d", call("a-b.c/d", &[])),
            (r#""odd (name)"(2)"#, call("odd (name)", &["2"])),
            (r#""a\"b\\" (2)"#, call(r#"a"b\"#, &["2"])),
            (r#""""#, call("", &[])),
            ("()", call("", &[])),
        ] {
            assert_eq!(parse(text).unwrap().0, expected, "{text}");
        }
        for text in ["f(1", "f(1,)", "f(,)", "f(1)x", r#""f(1)"#, r#""f"x"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn arguments_belong_to_the_only_call() {
        let calls = |invoke: &[&str], args: &[&str]| parse_calls(&strings(invoke), &strings(args));
        assert_eq!(calls(&["f"], &["1", "-2"]).unwrap(), [call("f", &["1", "-2"])]);
        assert_eq!(calls(&["f(1)", "g"], &[]).unwrap(), [call("f", &["1"]), call("g", &[])]);
        assert_eq!(calls(&[], &[]).unwrap(), []);
        for (invoke, args) in [(&[][..], &["1"]), (&["f()"], &["1"]), (&["f", "g"], &["1"])] {
            let error = calls(invoke, args).unwrap_err();
            assert!(error.downcast_ref::<crate::failure::Failure>().is_some(), "{error}");
        }
    }

    #[test]
    fn names_that_are_near() {
        assert_eq!(near("rum", ["build", "run", "ran"].into_iter()), Some("run"));
        assert_eq!(near("run", ["allocate", "x"].into_iter()), None);
    }
}
