//! Runs a program: compiles its functions, makes a heap, calls the code and shows the returned
//! value.

use crate::compiler::{MAIN, compile};
use crate::function::Program;
use crate::syntax::read;
use anyhow::{Result, anyhow};
use gc_engine::{Engine, Module, Rooted, Store, Trap, TrapError};
use gc_runtime::{GcStats, HeapError};
use gc_types::{StorageType, VMGcRef};

/// Bytes of stack that compiled code may use. They are enough to build lists of tens of thousands
/// of elements without tail calls.
pub(crate) const MAX_STACK: usize = 4 << 20;

/// Compiles and runs a program and shows its value.
pub(crate) fn run(source: &str, engine: &Engine) -> Result<(String, GcStats)> {
    let source = source.replace('(', " ( ").replace(')', " ) ");
    let trees = read(&source)?;
    let mut module = Module::new(engine);
    // The error names the line. The outer functions would add nothing.
    let program =
        compile(&trees, &mut module).map_err(|error| anyhow!("{}", error.root_cause()))?;
    let mut store = Store::new(engine, ())?;
    store.load(&module.compile()?)?;
    let main = store.function::<(Option<Rooted>, Option<Rooted>), Option<Rooted>>(MAIN)?;
    // The program's closure and argument are null, and are not used.
    let value = main.call(&mut store, (None, None)).map_err(explain)?;
    let word = match &value {
        Some(value) => value.gc_ref(&store)?.as_raw_u32(),
        None => 0,
    };
    let mut shown = String::new();
    show(&program, &store, word, 0, &mut shown)?;
    Ok((shown, store.stats()))
}

/// The error as a text for a user of the language.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let error = match error.downcast::<TrapError>() {
        Ok(error) => error,
        Err(other) => return other,
    };
    let mut text = match error.trap {
        Trap::CastFailure => "a value has the wrong kind".to_owned(),
        other => other.to_string(),
    };
    for frame in error.backtrace.frames() {
        if let Some(line) = frame.srcloc {
            text += &format!("\n  in {}, line {line}", frame.name);
        }
    }
    anyhow!(text)
}

/// The maximum depth and the maximum number of bytes that are shown. A value may share its parts
/// and be exponentially longer as text.
const MAX_SHOWN: (u32, usize) = (50, 1 << 16);

/// Appends a value to `out`. The values need no roots, because no collection can run during this
/// function.
fn show(
    program: &Program,
    store: &Store<()>,
    word: u32,
    depth: u32,
    out: &mut String,
) -> Result<(), HeapError> {
    let mut rest = VMGcRef::from_raw_u32(word);
    if let Some(value) = &rest {
        if let Some(integer) = value.as_i31() {
            *out += &integer.get_i32().to_string();
            return Ok(());
        }
        if store.type_name(value) == Some(program.closure.name()) {
            *out += "a function";
            return Ok(());
        }
    }
    let layout = program.pair.layout();
    let mut separator = "";
    out.push('(');
    while let Some(pair) = rest {
        *out += separator;
        separator = " ";
        if depth == MAX_SHOWN.0 || out.len() > MAX_SHOWN.1 {
            *out += "...";
            break;
        }
        let field =
            |i: usize| store.gc().read_field(&pair, layout.fields[i].offset, StorageType::Ref);
        show(program, store, field(0)? as u32, depth + 1, out)?;
        rest = VMGcRef::from_raw_u32(field(1)? as u32);
    }
    out.push(')');
    Ok(())
}
