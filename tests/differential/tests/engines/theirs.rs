//! Runs a module in Wasmtime. This run comes first: it chooses the calls and their arguments, and
//! the other engine repeats them.

use super::embedding::embedding;
use differential::{Argument, Call, FUEL, FUEL_EXPORT, Outcome, Run, Seeded, Value, hash};
use wasmtime::{Collector, Config, FuncType, GcHeapOutOfMemory, RefType};

embedding! { wasmtime }

/// The name of the collector that `seed` selects.
pub(crate) fn collector(seed: u64) -> &'static str {
    ["copying", "drc", "null"][(seed % 3) as usize]
}

fn config(seed: u64) -> Config {
    let mut config = Config::new();
    config
        .collector(match collector(seed) {
            "copying" => Collector::Copying,
            "drc" => Collector::DeferredReferenceCounting,
            _ => Collector::Null,
        })
        .wasm_tail_call(true)
        .wasm_reference_types(true)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_extended_const(true)
        .async_stack_size(super::STACK)
        .max_wasm_stack(super::STACK);
    config
}

/// Runs the module of `seed`.
///
/// # Errors
/// If Wasmtime does not compile it.
pub(crate) fn run(bytes: &[u8], seed: u64) -> Result<Run> {
    let engine = Engine::new(&config(seed))?;
    let module = Module::new(&engine, bytes)?;
    let mut store = Store::new(&engine, ());
    let mut run = Run::default();
    let Some(imports) = imports(&mut store, &module)? else {
        run.refused = Some(Outcome::Failed(super::NO_IMPORT.to_string()));
        return Ok(run);
    };
    let instance = match Instance::new(&mut store, &module, &imports) {
        Ok(instance) => instance,
        Err(error) => {
            run.refused = Some(ended(&mut store, &error)?);
            return Ok(run);
        }
    };
    let exports = exports(&mut store, &instance);
    let mut seen = seen_globals(&mut store, &exports);
    let fuel = instance.get_global(&mut store, FUEL_EXPORT).expect("it is exported");
    let mut choices = Seeded::new(seed, 2);
    for round in 0..2 {
        for (name, export) in &exports {
            let Extern::Func(func) = export else { continue };
            let Some(arguments) = choose(&mut store, func, &seen, &mut choices)? else {
                run.uncalled += usize::from(round == 0);
                continue;
            };
            fuel.set(&mut store, Val::I32(FUEL as i32))?;
            let outcome = call(&mut store, func, &arguments, &mut seen)?;
            let left = fuel.get(&mut store);
            let fuel = describe(&mut store, &left, &mut 1)?;
            let exhausted = matches!(outcome, Outcome::Exhausted(_));
            run.calls.push(Call { export: name.clone(), arguments, outcome, fuel });
            if exhausted {
                return Ok(run);
            }
        }
    }
    run.state = state(&mut store, exports)?;
    Ok(run)
}

/// Arguments for `func`, if there are any of its types.
fn choose(
    store: &mut Store<()>,
    func: &Func,
    seen: &[Val],
    choices: &mut Seeded,
) -> Result<Option<Vec<Argument>>> {
    let mut arguments = Vec::new();
    for ty in func.ty(&*store).params() {
        let word = choices.word();
        // Small numbers are indices that exist, and large ones are interesting bits.
        let number = match word % 4 {
            0 => word >> 60,
            1 => (word as i64 >> 60) as u64,
            2 => 1 << (word >> 58),
            _ => word >> 2,
        };
        arguments.push(match &ty {
            ValType::I32 => Argument::I32(number as i32),
            ValType::I64 => Argument::I64(number as i64),
            ValType::F32 => Argument::F32(f32_bits(number)),
            ValType::F64 => Argument::F64(f64_bits(number)),
            ValType::V128 => Argument::V128(u128::from(number) | u128::from(choices.word()) << 64),
            ValType::Ref(reference) => {
                let mut fitting = Vec::new();
                for (index, value) in seen.iter().enumerate() {
                    if value.matches_ty(&*store, &ty)? && !another_func(store, value, reference) {
                        fitting.push(Argument::Seen(index));
                    }
                }
                match reference.heap_type() {
                    HeapType::Any | HeapType::Eq | HeapType::I31 => {
                        fitting.push(Argument::I31(number as u32 & 0x7fff_ffff));
                    }
                    HeapType::Extern => fitting.push(Argument::Extern(number as u32)),
                    _ => {}
                }
                if reference.is_nullable() && (fitting.is_empty() || word >> 61 == 0) {
                    Argument::Null
                } else if fitting.is_empty() {
                    return Ok(None);
                } else {
                    fitting.swap_remove(choices.below(fitting.len()))
                }
            }
        });
    }
    Ok(Some(arguments))
}

/// Whether this is a function of another type than `reference` names. Wasmtime's API compares
/// function types by their parameters and results. WebAssembly compares them by name.
fn another_func(store: &Store<()>, value: &Val, reference: &RefType) -> bool {
    match (value, reference.heap_type()) {
        (Val::FuncRef(Some(func)), HeapType::ConcreteFunc(ty)) => {
            !FuncType::eq(&func.ty(store), ty)
        }
        _ => false,
    }
}

/// A float whose NaNs are canonical.
fn f32_bits(number: u64) -> u32 {
    let float = if number < 64 { number as f32 } else { f32::from_bits(number as u32) };
    if float.is_nan() { 0x7fc0_0000 } else { float.to_bits() }
}

fn f64_bits(number: u64) -> u64 {
    let float = if number < 64 { number as f64 } else { f64::from_bits(number) };
    if float.is_nan() { 0x7ff8_0000_0000_0000 } else { float.to_bits() }
}

/// How the call that failed with `error` ended.
fn ended(store: &mut Store<()>, error: &Error) -> Result<Outcome> {
    if error.is::<ThrownException>() {
        return thrown(store);
    }
    if error.is::<GcHeapOutOfMemory<()>>() {
        return Ok(Outcome::Exhausted("heap".to_string()));
    }
    let outcome = error.downcast_ref::<Trap>().and_then(|trap| trapped(*trap));
    Ok(outcome.unwrap_or_else(|| match format!("{error:#}").contains(super::NO_VALUE) {
        true => Outcome::Trapped("host function"),
        false => Outcome::Failed(format!("{error:?}")),
    }))
}
