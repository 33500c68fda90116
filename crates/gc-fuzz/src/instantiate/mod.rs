//! Modules of `wasm-smith` are compiled, instantiated and called in engines with any configuration, or
//! refused. Every store gives back all that it had, and leaves nothing for the next one to see: the
//! second store of an engine does the same as the first.

mod items;
mod setting;
mod source;

use super::differential::{Features, config, hash};
use super::{Target, compiling, report};
use anyhow::{Result, anyhow, ensure};
use arbitrary::Unstructured;
use gc_script::stack::with_stack;
use gc_testkit::Ledger;
use gc_testkit::choices::Choices;
use gc_wasm::{
    AnyRef, Engine, Error, Extern, ExternRef, Func, HeapType, I31, Instance, Linker, Module,
    PoolConcurrencyLimitError, Ref, RootScope, Store, StoreLimits, Table, ThrownException, Trap,
    Val, ValType,
};
pub(super) use setting::Setting;
use setting::{ELEMENTS, MEMORY};
pub(super) use setting::{MEMORIES, TABLES};
pub(super) use source::Counting;

pub(super) const TARGET: Target =
    Target { name: "instantiate", run: instantiate, seeds: 400, length: 4 << 10, mutate: None };

/// The first bytes make choices. The others become the module.
const CHOICES: usize = 72;

fn instantiate(bytes: &[u8]) -> Result<()> {
    let Some((head, rest)) = bytes.split_at_checked(CHOICES) else { return Ok(()) };
    let mut choices = Choices::from_bytes(head);
    let setting = Setting::some(&mut choices)?;
    let calls = choices.many();
    let mut config = config(&mut choices, Features::ALL);
    config.max_memory32_bytes = MEMORY;
    config.max_memory64_bytes = MEMORY.into();
    config.max_table_elements = ELEMENTS;
    config.memory_max_size_required = choices.once_in(2);
    config.table_max_size_required = choices.once_in(2);
    config.canonicalize_nans = false;
    let Ok(mut module) = wasm_smith::Module::new(config, &mut Unstructured::new(rest)) else {
        return Ok(());
    };
    module.ensure_termination(300)?;
    let module = module.to_bytes();
    report::configuration(&setting);
    report::module(&module);
    with_stack(setting.stack, || play(&setting, &module, &calls))?;
    let left = setting.source.in_use();
    ensure!(left.is_empty(), "memory is not given back: {left:?}");
    Ok(())
}

/// Why an engine refuses a module that is valid.
const REFUSED: &str = "does not fit in pooling allocator requirements";

fn play(setting: &Setting, module: &[u8], calls: &Choices) -> Result<()> {
    // Not all settings go together.
    let engine = match Engine::new(&setting.config) {
        Ok(engine) => engine,
        Err(why) => {
            log::debug!("no engine: {why:#}");
            return Ok(());
        }
    };
    let weak = engine.weak();
    let Some(compiled) = compile(&engine, module)? else { return Ok(()) };
    let metrics = engine.pooling_allocator_metrics();
    let mut seen: Option<Vec<String>> = None;
    for round in 0..3 {
        let ledger = Ledger::default();
        let (store, now) = session(setting, &engine, &compiled, &mut calls.clone(), &ledger)?;
        drop(store);
        ledger.check_all_once()?;
        if let Some(metrics) = &metrics {
            let used = (metrics.core_instances(), metrics.memories(), metrics.tables());
            ensure!(used == (0, 0, 0), "a pool without stores has {used:?} in use");
            ensure!(metrics.gc_heaps() == 0, "a pool without stores has heaps in use");
        }
        log::debug!("a store did this: {now:#?}");
        match &seen {
            None => seen = Some(now),
            Some(first) => same(first, &now).map_err(|why| anyhow!("round {round}: {why}"))?,
        }
    }
    drop((compiled, metrics, engine));
    ensure!(weak.upgrade().is_none(), "something keeps the engine");
    Ok(())
}

/// Compiles a valid module. `None` if the engine refuses it for a reason that it may have.
pub(super) fn compile(engine: &Engine, module: &[u8]) -> Result<Option<Module>> {
    match Module::from_binary(engine, module) {
        Ok(compiled) => Ok(Some(compiled)),
        Err(why) => {
            let why = format!("{why:#}");
            let known = why.contains(REFUSED) || compiling::is_limit(&why);
            ensure!(known, "a valid module is refused: {why}");
            log::debug!("no module: {why}");
            Ok(None)
        }
    }
}

/// Compares what two stores did.
pub(super) fn same(first: &[String], now: &[String]) -> Result<()> {
    for (first, now) in first.iter().zip(now) {
        // When a heap is full depends on what the collector did before.
        if first == FULL || now == FULL {
            return Ok(());
        }
        ensure!(first == now, "the first store: {first}\nthis store: {now}");
    }
    ensure!(first.len() == now.len(), "one store did more");
    Ok(())
}

/// What a call that found no room in the heap did.
const FULL: &str = "the heap is full";

/// What a new store does with the module. Returns the store too.
pub(super) fn session(
    setting: &Setting,
    engine: &Engine,
    module: &Module,
    choices: &mut Choices,
    ledger: &Ledger,
) -> Result<(Store<StoreLimits>, Vec<String>)> {
    let mut seen = Vec::new();
    let mut store = setting.store(engine)?;
    let by_name = choices.once_in(4);
    for _ in 0..2 {
        let instance = match instance(&mut store, module, by_name, ledger) {
            Ok(instance) => instance,
            Err(why) => {
                is_known(&why, setting, by_name)?;
                seen.push(ended(&why));
                continue;
            }
        };
        let exports = instance.exports(&mut store);
        let exports: Vec<_> =
            exports.map(|export| (export.name().to_string(), export.into_extern())).collect();
        for (name, export) in &exports {
            if let Extern::Func(func) = export {
                let end = call(&mut store, func, choices, ledger)?;
                seen.push(if end == FULL { end } else { format!("{name}: {end}") });
            }
            ledger.check_none_twice()?;
        }
        for (name, export) in &exports {
            seen.push(format!("{name}: {}", state(&mut store, *export)));
        }
        let func = exports.iter().find_map(|(_, export)| (*export).into_func());
        for (_, export) in exports {
            soil(&mut store, export, func);
        }
        seen.push(format!("fuel: {:?}", setting.left(&store)));
    }
    Ok((store, seen))
}

/// Makes an instance. The items for the imports are found by their names, or given one by one.
fn instance(
    store: &mut Store<StoreLimits>,
    module: &Module,
    by_name: bool,
    ledger: &Ledger,
) -> Result<Instance> {
    if !by_name {
        let imports = items::imports(store, module, ledger)?;
        return Instance::new(store, module, &imports);
    }
    let mut linker = Linker::new(module.engine());
    linker.define_unknown_imports_as_default_values(&mut *store, module)?;
    linker.instantiate(store, module)
}

/// Why there may be no instance of a module, apart from traps and errors of the heap.
const KNOWN: [&str; 4] = [
    "there is no value for an import",
    "a function of the host fails",
    // Those of an engine.
    "(`table_elements_maximum`)",
    "exceeds the limit of",
];

/// The same, if imports are found by name. If two of different types have the same name, the linker has
/// only one of them.
const BY_NAME: [&str; 2] = ["no default value exists for", "incompatible import type for"];

/// The same, if the store has limits.
const LIMITS: [&str; 3] =
    ["resource limit exceeded", "the store's limiter refuses it", "forcing trap"];

/// Checks that there may be no instance for this reason.
fn is_known(why: &Error, setting: &Setting, by_name: bool) -> Result<()> {
    let text = format!("{why:#}");
    let known = why.is::<Trap>()
        || why.is::<ThrownException>()
        || why.is::<PoolConcurrencyLimitError>()
        || ended(why) == FULL
        || KNOWN.iter().any(|known| text.contains(known))
        || by_name && BY_NAME.iter().any(|known| text.contains(known))
        || setting.is_limited() && LIMITS.iter().any(|known| text.contains(known));
    ensure!(known, "there is no instance: {text}");
    Ok(())
}

/// Calls a function in a scope of its own.
fn call(
    store: &mut Store<StoreLimits>,
    func: &Func,
    choices: &mut Choices,
    ledger: &Ledger,
) -> Result<String> {
    let mut store = RootScope::new(store);
    let ty = func.ty(&store);
    let mut arguments = Vec::new();
    for ty in ty.params() {
        let word = choices.word();
        let number = if word.is_multiple_of(2) { word >> 60 } else { word >> 1 };
        arguments.push(match &ty {
            ValType::I32 => Val::I32(number as i32),
            ValType::I64 => Val::I64(number as i64),
            ValType::F32 => Val::F32((number as u32) & 0x7f7f_ffff),
            ValType::F64 => Val::F64(number >> 8),
            ValType::V128 => Val::V128(u128::from(number).into()),
            ValType::Ref(reference) => match reference.heap_type() {
                HeapType::Extern if !word.is_multiple_of(4) => {
                    match ExternRef::new(&mut store, ledger.issue()) {
                        Ok(external) => external.into(),
                        Err(why) => return Ok(ended(&why)),
                    }
                }
                HeapType::Any | HeapType::Eq | HeapType::I31 => {
                    AnyRef::from_i31(&mut store, I31::wrapping_u32(number as u32)).into()
                }
                _ => match Val::default_for_ty(&ty) {
                    Some(null) => null,
                    None => return Ok("no argument".to_string()),
                },
            },
        });
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    Ok(match func.call(&mut store, &arguments, &mut results) {
        Ok(()) => results.iter().map(shown).collect::<Vec<_>>().join(", "),
        Err(why) => ended(&why),
    })
}

fn shown(value: &Val) -> String {
    match value {
        Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) => {
            "null".to_string()
        }
        value if value.ref_().is_some() => "a reference".to_string(),
        value => format!("{value:?}"),
    }
}

/// How what failed ended.
fn ended(error: &Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfMemory) => FULL.to_string(),
        Some(trap) => trap.to_string(),
        None => match format!("{error:#}") {
            text if text.contains("GC heap") => FULL.to_string(),
            text => text.lines().next().unwrap_or_default().to_string(),
        },
    }
}

/// What an exported item holds.
fn state(store: &mut Store<StoreLimits>, export: Extern) -> String {
    let mut store = RootScope::new(store);
    match export {
        Extern::Global(global) => shown(&global.get(&mut store)),
        Extern::Memory(memory) => {
            let data = memory.data(&store);
            format!("{} bytes, {:x}", data.len(), hash(data))
        }
        Extern::Table(table) => {
            let size = table.size(&store);
            let mut elements = String::new();
            for index in 0..size.min(200) {
                let null = table.get(&mut store, index).as_ref().is_none_or(Ref::is_null);
                elements.push(if null { '.' } else { 'x' });
            }
            format!("{size} elements, {elements}")
        }
        _ => String::new(),
    }
}

/// Writes to an exported item what the next store must not see.
fn soil(store: &mut Store<StoreLimits>, export: Extern, func: Option<Func>) {
    match export {
        Extern::Memory(memory) => {
            // It need not succeed.
            let _ = memory.grow(&mut *store, 1);
            let data = memory.data_mut(store);
            data.iter_mut().step_by(1000).for_each(|byte| *byte = 0xa5);
            data.iter_mut().rev().take(5).for_each(|byte| *byte = 0x5a);
        }
        Extern::Table(table) => {
            let value = table_value(&table, store, func);
            let _ = table.grow(&mut *store, 1, value);
            for index in 0..table.size(&*store).min(2000) {
                let value = table_value(&table, store, func);
                let _ = table.set(&mut *store, index, value);
            }
        }
        _ => {}
    }
}

/// A reference for a table that can be in it, if one is at hand.
fn table_value(table: &Table, store: &mut Store<StoreLimits>, func: Option<Func>) -> Ref {
    let ty = table.ty(&*store);
    match (ty.element().heap_type(), func) {
        (HeapType::Any | HeapType::Eq | HeapType::I31, _) => {
            AnyRef::from_i31(store, I31::wrapping_u32(77)).into()
        }
        (HeapType::Func, Some(func)) => func.into(),
        (heap_type, _) => Ref::null(heap_type),
    }
}
