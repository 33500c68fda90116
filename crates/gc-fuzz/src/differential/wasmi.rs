//! Runs a module in wasmi, an interpreter. It has neither garbage collection nor exceptions.

use super::features::Features;
use super::generate::FUEL;
use super::instrument::FUEL_EXPORT;
use super::run::{Argument, Call, Number, ObservedValue, Outcome, Run, hash};
use anyhow::{Context as _, Result, ensure};
use std::sync::LazyLock;
use wasmi::errors::{ErrorKind, InstantiationError};
use wasmi::{
    AsContext, AsContextMut, Caller, Config, Engine, Error, Extern, ExternRef, ExternType, Func,
    Global, Instance, Memory, Module, Nullable, Ref, Store, Table, TrapCode, Val, ValType,
};
use wasmparser::{Parser, Payload, TypeRef};

/// What modules for wasmi may have.
pub(super) const FEATURES: Features =
    Features { gc: false, exceptions: false, relaxed_simd: false, ..Features::ALL };

static ENGINE: LazyLock<Engine> = LazyLock::new(|| Engine::new(&config()));

fn config() -> Config {
    let mut config = Config::default();
    config
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(false)
        .set_max_recursion_depth(10_000)
        .set_max_stack_height(super::STACK);
    config
}

/// Runs a module with the calls of `leader`. `None` if wasmi does not compile it.
///
/// # Errors
/// If the calls do not fit the module.
pub(super) fn repeat(bytes: &[u8], leader: &Run) -> Result<Option<Run>> {
    let Ok(module) = Module::new(&ENGINE, bytes) else { return Ok(None) };
    let mut store = Store::new(&ENGINE, ());
    let mut run = Run::default();
    let Some(imports) = imports(&mut store, &module, bytes) else {
        run.refused = Some(Outcome::Failed(super::NO_IMPORT.to_string()));
        return Ok(Some(run));
    };
    let instance = match Instance::new(&mut store, &module, &imports) {
        Ok(instance) => instance,
        Err(error) => return Ok(Some(Run { refused: Some(ended(&error)), ..run })),
    };
    let mut seen = Vec::new();
    for export in exports(bytes).context("the module is valid")? {
        if let Some(global) = instance.get_global(&store, export) {
            see(&mut seen, global.get(&store));
        }
    }
    let fuel = instance.get_global(&store, FUEL_EXPORT).context("it is exported")?;
    for call in &leader.calls {
        let func = instance.get_func(&store, &call.export).context("there is no such function")?;
        fuel.set(&mut store, Val::I32(FUEL as i32)).map_err(|why| anyhow::anyhow!("{why}"))?;
        let outcome = self::call(&mut store, &func, &call.arguments, &mut seen)?;
        let fuel = describe(&store, &fuel.get(&store));
        let exhausted = matches!(outcome, Outcome::Exhausted(_));
        run.calls.push(Call { outcome, fuel, ..call.clone() });
        if exhausted {
            return Ok(Some(run));
        }
    }
    for (name, _) in &leader.state {
        let export = instance.get_export(&store, name).context("there is no such export")?;
        if let Some(value) = state(&store, export) {
            run.state.push((name.clone(), value));
        }
    }
    Ok(Some(run))
}

/// A run without what is not seen of one in wasmi: which function a reference refers to. Such modules
/// have no other references but those to values of the host.
pub(super) fn comparable(run: &Run) -> Run {
    let mut run = run.clone();
    let hide = |values: &mut Vec<ObservedValue>| {
        for value in values {
            if let ObservedValue::Func(_, _, number) = value {
                *number = 0;
            }
        }
    };
    for call in &mut run.calls {
        if let Outcome::Returned(values) = &mut call.outcome {
            hide(values);
        }
    }
    for (_, value) in &mut run.state {
        match value {
            ObservedValue::Table(elements) => hide(elements),
            ObservedValue::Func(_, _, number) => *number = 0,
            _ => {}
        }
    }
    run
}

/// The names of the exports of a module in its order. wasmi has them in another one.
fn exports(bytes: &[u8]) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ExportSection(exports) = payload.ok()? {
            for export in exports {
                names.push(export.ok()?.name);
            }
        }
    }
    Some(names)
}

/// The numbers of the imports of a module, in the order of [`Module::imports`]: those of each kind
/// together.
fn numbers(bytes: &[u8]) -> Option<Vec<i32>> {
    let mut numbers = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ImportSection(imports) = payload.ok()? {
            for (number, import) in (1..).zip(imports.into_imports()) {
                let kind = match import.ok()?.ty {
                    TypeRef::Func(_) | TypeRef::FuncExact(_) => 0,
                    TypeRef::Table(_) => 1,
                    TypeRef::Memory(_) => 2,
                    TypeRef::Global(_) => 3,
                    TypeRef::Tag(_) => return None,
                };
                numbers.push((kind, number));
            }
        }
    }
    numbers.sort_unstable();
    Some(numbers.into_iter().map(|(_, number)| number).collect())
}

fn imports(store: &mut Store<()>, module: &Module, bytes: &[u8]) -> Option<Vec<Extern>> {
    let mut imports = Vec::new();
    for (number, import) in numbers(bytes)?.into_iter().zip(module.imports()) {
        imports.push(match import.ty().clone() {
            ExternType::Func(ty) => {
                let signature = ty.clone();
                let host =
                    move |mut caller: Caller<'_, ()>, params: &[Val], results: &mut [Val]| {
                        for (result, ty) in results.iter_mut().zip(signature.results()) {
                            let same = signature.params().iter().position(|param| param == ty);
                            *result = match same {
                                Some(index) => params[index].clone(),
                                None => host_value(&mut caller, *ty, number),
                            };
                        }
                        Ok(())
                    };
                Func::new(&mut *store, ty, host).into()
            }
            ExternType::Global(ty) => {
                let value = host_value(&mut *store, ty.content(), number);
                Global::new(&mut *store, value, ty.mutability()).into()
            }
            ExternType::Table(ty) => {
                let init = match host_value(&mut *store, ty.element().into(), number) {
                    Val::FuncRef(func) => Ref::Func(func),
                    Val::ExternRef(external) => Ref::Extern(external),
                    _ => return None,
                };
                Table::new(&mut *store, ty, init).ok()?.into()
            }
            ExternType::Memory(ty) => Memory::new(&mut *store, ty).ok()?.into(),
        });
    }
    Some(imports)
}

/// The same values as those of the other engines.
fn host_value(store: impl AsContextMut, ty: ValType, number: i32) -> Val {
    match ty {
        ValType::I32 => Val::I32(number),
        ValType::I64 => Val::I64(number.into()),
        ValType::F32 => Val::F32((number as f32).into()),
        ValType::F64 => Val::F64(f64::from(number).into()),
        ValType::V128 => Val::V128((number as u128).into()),
        ValType::ExternRef => Val::ExternRef(ExternRef::new(store, number as u32).into()),
        ValType::FuncRef => Val::FuncRef(Nullable::Null),
    }
}

fn see(seen: &mut Vec<Val>, value: Val) {
    if matches!(value, Val::FuncRef(Nullable::Val(_)) | Val::ExternRef(Nullable::Val(_))) {
        seen.push(value);
    }
}

fn value_of(number: Number) -> Val {
    match number {
        Number::I32(value) => Val::I32(value),
        Number::I64(value) => Val::I64(value),
        Number::F32(bits) => Val::F32(wasmi::F32::from_bits(bits)),
        Number::F64(bits) => Val::F64(wasmi::F64::from_bits(bits)),
        Number::V128(bits) => Val::V128(bits.into()),
    }
}

fn call(
    store: &mut Store<()>,
    func: &Func,
    arguments: &[Argument],
    seen: &mut Vec<Val>,
) -> Result<Outcome> {
    let ty = func.ty(&*store);
    ensure!(arguments.len() == ty.params().len(), "the arguments do not fit");
    let mut values = Vec::new();
    for (argument, ty) in arguments.iter().zip(ty.params()) {
        values.push(match *argument {
            Argument::Number(number) => value_of(number),
            Argument::Null => Val::default_for_ty(*ty),
            Argument::Extern(value) => Val::ExternRef(ExternRef::new(&mut *store, value).into()),
            Argument::Seen(index) => seen.get(index).context("nothing was seen")?.clone(),
            Argument::I31(_) => anyhow::bail!("wasmi has no such values"),
        });
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    Ok(match func.call(&mut *store, &values, &mut results) {
        Ok(()) => {
            let described = results.iter().map(|value| describe(&*store, value)).collect();
            results.into_iter().for_each(|value| see(seen, value));
            Outcome::Returned(described)
        }
        Err(error) => ended(&error),
    })
}

fn describe(store: &Store<()>, value: &Val) -> ObservedValue {
    match value {
        Val::I32(value) => Number::I32(*value).into(),
        Val::I64(value) => Number::I64(*value).into(),
        Val::F32(value) => Number::F32(value.to_bits()).into(),
        Val::F64(value) => Number::F64(value.to_bits()).into(),
        Val::V128(value) => Number::V128(value.as_u128()).into(),
        Val::FuncRef(Nullable::Null) | Val::ExternRef(Nullable::Null) => ObservedValue::Null,
        Val::FuncRef(Nullable::Val(func)) => {
            let ty = func.ty(store);
            ObservedValue::Func(ty.params().len(), ty.results().len(), 0)
        }
        Val::ExternRef(Nullable::Val(external)) => {
            let data = external.data(store.as_context());
            ObservedValue::Extern(*data.downcast_ref().expect("a number"))
        }
    }
}

/// What an exported global, memory or table holds.
fn state(store: &Store<()>, export: Extern) -> Option<ObservedValue> {
    match export {
        Extern::Global(global) => Some(describe(store, &global.get(store))),
        Extern::Memory(memory) => {
            let data = memory.data(store);
            Some(ObservedValue::Memory(data.len(), hash(data)))
        }
        Extern::Table(table) => {
            let elements = (0..table.size(store)).enumerate().map(|(before, index)| {
                let value = match table.get(store, index).expect("it is in bounds") {
                    Ref::Func(func) => Val::FuncRef(func),
                    Ref::Extern(external) => Val::ExternRef(external),
                };
                if before < ObservedValue::BUDGET {
                    describe(store, &value)
                } else {
                    ObservedValue::Deep
                }
            });
            Some(ObservedValue::Table(elements.collect()))
        }
        Extern::Func(_) => None,
    }
}

/// How what failed with `error` ended.
fn ended(error: &Error) -> Outcome {
    if let ErrorKind::Instantiation(InstantiationError::ElementSegmentDoesNotFit { .. }) =
        error.kind()
    {
        return Outcome::Trapped("table access".into());
    }
    let why = match error.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => "unreachable",
        Some(TrapCode::MemoryOutOfBounds) => "memory access",
        Some(TrapCode::TableOutOfBounds) => "table access",
        Some(TrapCode::IndirectCallToNull) => "indirect call to null",
        Some(TrapCode::IntegerDivisionByZero) => "division by zero",
        Some(TrapCode::IntegerOverflow) => "integer overflow",
        Some(TrapCode::BadConversionToInteger) => "conversion to integer",
        Some(TrapCode::BadSignature) => "indirect call type",
        Some(TrapCode::StackOverflow) => return Outcome::Exhausted("stack".to_string()),
        _ => return Outcome::Failed(format!("{error:?}")),
    };
    Outcome::Trapped(why.into())
}
