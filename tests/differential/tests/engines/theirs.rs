//! Runs a module in Wasmtime. This run comes first: it chooses the calls and their arguments, and
//! the other engine repeats them.

use differential::{Argument, Call, FUEL, FUEL_EXPORT, Outcome, Run, Seeded, Value, hash};
use wasmtime::{
    AnyRef, AsContextMut, Caller, Collector, Config, Engine, Error, Extern, ExternRef, ExternType,
    Func, FuncType, GcHeapOutOfMemory, Global, HeapType, I31, Instance, Memory, Module, RefType,
    Result, Store, Table, Tag, ThrownException, Trap, Val, ValType,
};

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
    let exports: Vec<(String, Extern)> = instance
        .exports(&mut store)
        .map(|export| (export.name().to_string(), export.into_extern()))
        .collect();
    let mut seen = Vec::new();
    for (_, export) in &exports {
        if let Extern::Global(global) = export {
            let value = global.get(&mut store);
            see(&mut seen, &value);
        }
    }
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
    for (name, export) in exports {
        let mut budget = Value::BUDGET;
        let value = match export {
            Extern::Global(global) => {
                let value = global.get(&mut store);
                describe(&mut store, &value, &mut budget)?
            }
            Extern::Memory(memory) => {
                let data = memory.data(&store);
                Value::Memory(data.len(), hash(data))
            }
            Extern::Table(table) => {
                let mut elements = Vec::new();
                for index in 0..table.size(&store) {
                    let element = table.get(&mut store, index).expect("it is in bounds");
                    elements.push(describe(&mut store, &Val::from(element), &mut budget)?);
                }
                Value::Table(elements)
            }
            _ => continue,
        };
        run.state.push((name, value));
    }
    Ok(run)
}

/// What the module imports, or `None` if there is no value of a type. Host functions return their
/// first parameter of the result's type, or a value like those of imported globals.
fn imports(store: &mut Store<()>, module: &Module) -> Result<Option<Vec<Extern>>> {
    let mut imports = Vec::new();
    for (number, import) in (1..).zip(module.imports()) {
        imports.push(match import.ty() {
            ExternType::Func(ty) => {
                let signature = ty.clone();
                let host =
                    move |mut caller: Caller<'_, ()>, params: &[Val], results: &mut [Val]| {
                        for (result, ty) in results.iter_mut().zip(signature.results()) {
                            let same = signature.params().position(|param| param.matches(&ty));
                            *result = match same {
                                Some(index) => params[index],
                                None => match host_value(&mut caller, &ty, number)? {
                                    Some(value) => value,
                                    None => wasmtime::bail!(super::NO_VALUE),
                                },
                            };
                        }
                        Ok(())
                    };
                Func::new(&mut *store, ty, host).into()
            }
            ExternType::Global(ty) => match host_value(&mut *store, ty.content(), number)? {
                Some(value) => Global::new(&mut *store, ty, value)?.into(),
                None => return Ok(None),
            },
            ExternType::Table(ty) => {
                let element = ValType::Ref(ty.element().clone());
                match host_value(&mut *store, &element, number)? {
                    Some(init) => {
                        Table::new(&mut *store, ty, init.ref_().expect("a reference"))?.into()
                    }
                    None => return Ok(None),
                }
            }
            ExternType::Memory(ty) => Memory::new(&mut *store, ty)?.into(),
            ExternType::Tag(ty) => Tag::new(&mut *store, &ty)?.into(),
        });
    }
    Ok(Some(imports))
}

/// A value of type `ty` that depends only on the type and `number`, if there is one.
fn host_value(
    store: impl AsContextMut<Data = ()>,
    ty: &ValType,
    number: i32,
) -> Result<Option<Val>> {
    Ok(Some(match ty {
        ValType::I32 => Val::I32(number),
        ValType::I64 => Val::I64(number.into()),
        ValType::F32 => Val::F32((number as f32).to_bits()),
        ValType::F64 => Val::F64(f64::from(number).to_bits()),
        ValType::V128 => Val::V128((number as u128).into()),
        ValType::Ref(ty) => match ty.heap_type() {
            HeapType::Any | HeapType::Eq | HeapType::I31 => {
                AnyRef::from_i31(store, I31::wrapping_i32(number)).into()
            }
            HeapType::Extern => ExternRef::new(store, number as u32)?.into(),
            heap_type if ty.is_nullable() => Val::null_ref(heap_type),
            _ => return Ok(None),
        },
    }))
}

fn see(seen: &mut Vec<Val>, value: &Val) {
    let null = matches!(
        value,
        Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None)
    );
    if value.ref_().is_some() && !null {
        seen.push(*value);
    }
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

fn call(
    store: &mut Store<()>,
    func: &Func,
    arguments: &[Argument],
    seen: &mut Vec<Val>,
) -> Result<Outcome> {
    let ty = func.ty(&*store);
    let mut values = Vec::new();
    for (argument, ty) in arguments.iter().zip(ty.params()) {
        values.push(match *argument {
            Argument::I32(value) => Val::I32(value),
            Argument::I64(value) => Val::I64(value),
            Argument::F32(bits) => Val::F32(bits),
            Argument::F64(bits) => Val::F64(bits),
            Argument::V128(bits) => Val::V128(bits.into()),
            Argument::Null => Val::default_for_ty(&ty).expect("it can be null"),
            Argument::I31(value) => AnyRef::from_i31(&mut *store, I31::wrapping_u32(value)).into(),
            Argument::Extern(value) => ExternRef::new(&mut *store, value)?.into(),
            Argument::Seen(index) => seen[index],
        });
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    match func.call(&mut *store, &values, &mut results) {
        Ok(()) => {
            let mut described = Vec::new();
            for value in &results {
                see(seen, value);
                described.push(describe(store, value, &mut { Value::BUDGET })?);
            }
            Ok(Outcome::Returned(described))
        }
        Err(error) => ended(store, &error),
    }
}

/// How the call that failed with `error` ended.
fn ended(store: &mut Store<()>, error: &Error) -> Result<Outcome> {
    if error.is::<ThrownException>() {
        let exception = store.take_pending_exception().expect("it was thrown");
        let exception = describe(store, &Val::ExnRef(Some(exception)), &mut { Value::BUDGET })?;
        let Value::Exn(payload) = exception else { unreachable!("it is an exception") };
        return Ok(Outcome::Threw(payload));
    }
    if error.is::<GcHeapOutOfMemory<()>>() {
        return Ok(Outcome::Exhausted("heap".to_string()));
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        if format!("{error:#}").contains(super::NO_VALUE) {
            return Ok(Outcome::Trapped("host function"));
        }
        return Ok(Outcome::Failed(format!("{error:?}")));
    };
    Ok(Outcome::Trapped(match trap {
        Trap::StackOverflow => return Ok(Outcome::Exhausted("stack".to_string())),
        Trap::AllocationTooLarge => return Ok(Outcome::Exhausted("size of an object".to_string())),
        Trap::MemoryOutOfBounds => "memory access",
        Trap::TableOutOfBounds => "table access",
        Trap::IndirectCallToNull => "indirect call to null",
        Trap::BadSignature => "indirect call type",
        Trap::IntegerOverflow => "integer overflow",
        Trap::IntegerDivisionByZero => "division by zero",
        Trap::BadConversionToInteger => "conversion to integer",
        Trap::UnreachableCodeReached => "unreachable",
        Trap::NullReference => "null reference",
        Trap::ArrayOutOfBounds => "array access",
        Trap::CastFailure => "cast",
        other => return Ok(Outcome::Failed(format!("{other:?}"))),
    }))
}

fn describe(store: &mut Store<()>, value: &Val, budget: &mut usize) -> Result<Value> {
    if *budget == 0 {
        return Ok(Value::Deep);
    }
    *budget -= 1;
    Ok(match value {
        Val::I32(value) => Value::I32(*value),
        Val::I64(value) => Value::I64(*value),
        Val::F32(bits) => Value::F32(*bits),
        Val::F64(bits) => Value::F64(*bits),
        Val::V128(value) => Value::V128(value.as_u128()),
        Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) => {
            Value::Null
        }
        Val::FuncRef(Some(func)) => {
            let ty = func.ty(&*store);
            Value::Func(ty.params().len(), ty.results().len())
        }
        Val::ExternRef(Some(external)) => match external.data(&*store)? {
            Some(data) => Value::Extern(*data.downcast_ref().expect("a number")),
            None => {
                let internal = AnyRef::convert_extern(&mut *store, *external)?;
                let value = describe(store, &internal.into(), budget)?;
                Value::Externalized(Box::new(value))
            }
        },
        Val::AnyRef(Some(any)) => {
            if let Some(value) = any.as_i31(&*store)? {
                Value::I31(value.get_i32())
            } else if let Some(object) = any.as_struct(&*store)? {
                let fields: Vec<Val> = object.fields(&mut *store)?.collect();
                let mut described = Vec::new();
                for field in &fields {
                    described.push(describe(store, field, budget)?);
                }
                Value::Struct(described)
            } else if let Some(array) = any.as_array(&*store)? {
                let len = array.len(&*store)?;
                let mut described = Vec::new();
                for index in 0..len.min(Value::ELEMENTS) {
                    let element = array.get(&mut *store, index)?;
                    described.push(describe(store, &element, budget)?);
                }
                Value::Array(len, described)
            } else {
                let external = ExternRef::convert_any(&mut *store, *any)?;
                let data = external.data(&*store)?.expect("a value of the host");
                Value::Internalized(*data.downcast_ref().expect("a number"))
            }
        }
        Val::ExnRef(Some(exception)) => {
            let fields: Vec<Val> = exception.fields(&mut *store)?.collect();
            let mut described = Vec::new();
            for field in &fields {
                described.push(describe(store, field, budget)?);
            }
            Value::Exn(described)
        }
        Val::ContRef(_) => unreachable!("stack switching is off"),
    })
}
