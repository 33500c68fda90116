//! Runs a module in V8, by a `node` program that waits for modules. `NODE` names it.
//!
//! JavaScript sees less of a module than the API of an engine. It cannot see vectors and exceptions
//! as values, and of a function it sees only how many parameters it has. What a trap's message does
//! not tell apart is not told apart here. [`comparable`] leaves that out of a run.

mod answer;
mod helper;
mod node;

use super::features::Features;
use super::generate::FUEL;
use super::instrument::FUEL_EXPORT;
use super::run::{Argument, Call, Number, ObservedValue, Outcome, Run};
use anyhow::{Result, ensure};
use gc_wasm::{ExternType, FuncType, HeapType, Module, ValType};
use serde_json::{Value as Json, json};

/// What modules for V8 may have. The results of its relaxed instructions are those of the machine.
pub(super) const FEATURES: Features = Features { relaxed_simd: false, ..Features::ALL };

/// Starts the `node` program.
pub(super) fn start() -> Result<()> {
    node::start()
}

/// How JavaScript sees values of a type.
fn kind(ty: &ValType) -> &'static str {
    match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        ValType::V128 => "deep",
        ValType::Ref(ty) => match ty.heap_type().top() {
            HeapType::Func => "func",
            HeapType::Extern => "extern",
            HeapType::Exn => "exn",
            _ => "any",
        },
    }
}

fn kinds(types: impl Iterator<Item = ValType>) -> Vec<&'static str> {
    types.map(|ty| kind(&ty)).collect()
}

/// Whether JavaScript can call a function of this type, or be called by it.
pub(super) fn is_callable(ty: &FuncType) -> bool {
    ty.params().chain(ty.results()).all(|ty| !matches!(kind(&ty), "deep" | "exn"))
}

/// Runs a module with the calls of `leader`, of which `compiled` is the same module. `None` if V8 or
/// JavaScript cannot.
///
/// # Errors
/// If `node` does not answer, or fails.
pub(super) fn repeat(bytes: &[u8], compiled: &Module, leader: &Run) -> Result<Option<Run>> {
    let Some(helper) = helper::helper(bytes)? else { return Ok(None) };
    let Some(imports) = imports(compiled) else { return Ok(None) };
    let (mut state, mut tags) = (Vec::new(), Vec::new());
    for export in compiled.exports() {
        let name = export.name();
        match export.ty() {
            ExternType::Global(ty) => {
                state.push(json!({ "name": name, "global": kind(ty.content()) }));
            }
            ExternType::Table(ty) => {
                let element = ValType::Ref(ty.element().clone());
                state.push(json!({ "name": name, "table": kind(&element) }));
            }
            ExternType::Memory(_) => state.push(json!({ "name": name })),
            ExternType::Tag(ty) => tags.push(json!([name, kinds(ty.ty().params())])),
            ExternType::Func(_) => {}
        }
    }
    let calls = leader.calls.iter().map(|call| {
        let ty = compiled.get_export(&call.export);
        let results = ty.iter().filter_map(ExternType::func).flat_map(FuncType::results);
        json!({
            "name": call.export,
            "args": call.arguments.iter().map(argument).collect::<Vec<_>>(),
            "results": kinds(results),
        })
    });
    let answer = node::ask(&json!({
        "module": hex(bytes),
        "helper": hex(&helper.module),
        "types": helper.types,
        "externals": helper.externals,
        "imports": imports,
        "tags": tags,
        "state": state,
        "calls": calls.collect::<Vec<_>>(),
        "fuel": FUEL_EXPORT,
        "full": FUEL,
        "budget": ObservedValue::BUDGET,
        "elements": ObservedValue::ELEMENTS,
    }))?;
    if let Some(why) = answer.get("limit") {
        log::debug!("V8 refuses the module: {why}");
        return Ok(None);
    }
    ensure!(answer.get("error").is_none(), "the program for V8 failed: {answer}");
    answer::run(&answer, leader).map(Some)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string");
    }
    text
}

/// What is imported. The helper has what is no function.
fn imports(module: &Module) -> Option<Vec<Json>> {
    let mut imports = Vec::new();
    for (number, import) in (1..).zip(module.imports()) {
        let (module, name) = (import.module(), import.name());
        imports.push(match import.ty() {
            ExternType::Func(ty) => {
                if !is_callable(&ty) {
                    return None;
                }
                let results = ty.results().map(|result| result_of(&ty, &result, number));
                let results = results.collect::<Option<Vec<_>>>()?;
                json!({ "module": module, "name": name, "results": results })
            }
            _ => json!({ "module": module, "name": name, "item": format!("import {number}") }),
        });
    }
    Some(imports)
}

/// What a host function returns: a parameter, or a value, if there is any.
fn result_of(function: &FuncType, ty: &ValType, number: i32) -> Option<Json> {
    if let Some(index) = function.params().position(|param| param.matches(ty)) {
        return Some(json!(index));
    }
    let kind = match ty {
        ValType::Ref(ty) => match ty.heap_type() {
            HeapType::Any | HeapType::Eq | HeapType::I31 => "i31",
            HeapType::Extern => "extern",
            _ if ty.is_nullable() => "null",
            _ => return None,
        },
        ty => kind(ty),
    };
    Some(json!([kind, number]))
}

fn argument(argument: &Argument) -> Json {
    match *argument {
        Argument::Number(Number::I32(value)) => json!(["i32", value]),
        Argument::Number(Number::I64(value)) => json!(["i64", value.to_string()]),
        Argument::Number(Number::F32(bits)) => json!(["f32", bits]),
        Argument::Number(Number::F64(bits)) => json!(["f64", bits.to_string()]),
        Argument::Null | Argument::Number(Number::V128(_)) => json!(["null", 0]),
        // The number is signed in JavaScript.
        Argument::I31(value) => json!(["i31", (value << 1) as i32 >> 1]),
        Argument::Extern(value) => json!(["extern", value]),
        Argument::Seen(index) => json!(["seen", index]),
    }
}

/// A run without what JavaScript does not see. `theirs` is what V8 did.
pub(super) fn comparable(run: &Run, theirs: &Run) -> Run {
    let mut run = run.clone();
    if let Some(Outcome::Threw(payload)) = &mut run.refused {
        // Instances that do not exist have no tags.
        payload.clear();
    }
    let outcomes = run.calls.iter_mut().map(|Call { outcome, .. }| outcome);
    for outcome in outcomes.chain(&mut run.refused) {
        match outcome {
            Outcome::Returned(values) | Outcome::Threw(values) => values.iter_mut().for_each(hide),
            Outcome::Trapped(why) => match &**why {
                "integer overflow" | "conversion to integer" => {
                    *why = "a number that does not fit".into();
                }
                "indirect call to null" | "indirect call type" => *why = "indirect call".into(),
                _ => {}
            },
            _ => {}
        }
    }
    for (index, (_, value)) in run.state.iter_mut().enumerate() {
        let hidden =
            theirs.state.get(index).is_some_and(|(_, value)| *value == ObservedValue::Deep);
        if hidden { *value = ObservedValue::Deep } else { hide(value) }
    }
    run
}

fn hide(value: &mut ObservedValue) {
    match value {
        ObservedValue::Number(number) => match number {
            Number::F32(bits) if f32::from_bits(*bits).is_nan() => *bits = 0x7fc0_0000,
            Number::F64(bits) if f64::from_bits(*bits).is_nan() => *bits = 0x7ff8 << 48,
            Number::V128(_) => *value = ObservedValue::Deep,
            _ => {}
        },
        ObservedValue::Exn(_) => *value = ObservedValue::Deep,
        ObservedValue::Func(_, results, number) => (*results, *number) = (0, 0),
        ObservedValue::Struct(values)
        | ObservedValue::Array(_, values)
        | ObservedValue::Table(values) => {
            values.iter_mut().for_each(hide);
        }
        ObservedValue::Externalized(value) => hide(value),
        _ => {}
    }
}
