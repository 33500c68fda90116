//! Runs a module in this engine, with the calls of the run in Wasmtime.

use anyhow::{Context, Error, Result, bail};
use differential::{Argument, Call, FUEL, FUEL_EXPORT, Outcome, Run, Value, hash};
use gc_wasm::{
    AnyRef, AsContextMut, Caller, Collector, Config, Engine, Extern, ExternRef, ExternType, Func,
    Global, HeapBounds, HeapType, I31, Instance, Memory, Module, RootScope, Store, Table, Tag,
    ThrownException, Trap, TrapError, Val, ValType,
};

/// An engine with which the module of a seed is run.
pub(crate) struct Setting {
    collector: Collector,
    zeal: u32,
    bounds: HeapBounds,
    small_reservations: bool,
}

impl Setting {
    /// Every collector, in the modes that `seed` selects. `generational` always has zeal.
    pub(crate) fn of(seed: u64) -> Vec<Setting> {
        let collectors = Collector::all().into_iter().enumerate();
        collectors
            .map(|(index, collector)| {
                let mode = seed / 3 + index as u64;
                let zealous = collector.name() == "generational" || mode.is_multiple_of(2);
                Setting {
                    collector,
                    zeal: if zealous { [1, 2, 3, 7][(seed % 4) as usize] } else { 0 },
                    bounds: match mode % 3 {
                        0 => HeapBounds::Checked,
                        _ => HeapBounds::Guarded,
                    },
                    small_reservations: mode.is_multiple_of(5),
                }
            })
            .collect()
    }

    /// Its name in messages.
    pub(crate) fn name(&self) -> String {
        format!(
            "{}, zeal {}, {:?}{}",
            self.collector.name(),
            self.zeal,
            self.bounds,
            if self.small_reservations { ", small reservations" } else { "" }
        )
    }

    fn engine(&self) -> Result<Engine> {
        let mut config = Config::new();
        config
            .collector(self.collector.clone())
            .gc_zeal(self.zeal)
            .gc_heap_bounds(self.bounds)
            .gc_heap_maximum(64 << 20)
            .max_wasm_stack(super::STACK);
        if self.small_reservations {
            config.memory_reservation(1 << 16).memory_guard_size(1 << 16);
        }
        Engine::new(&config)
    }
}

/// Runs a module with the calls of `expected`.
///
/// # Errors
/// If it is not compiled.
pub(crate) fn run(bytes: &[u8], setting: &Setting, expected: &Run) -> Result<Run> {
    let engine = setting.engine()?;
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
    let exports = instance.exports(&store)?;
    let mut seen = Vec::new();
    for (_, export) in &exports {
        if let Extern::Global(global) = export {
            let value = global.get(&mut store)?;
            see(&mut seen, &value);
        }
    }
    let fuel = instance.get_global(&mut store, FUEL_EXPORT).context("it is exported")?;
    for expected in &expected.calls {
        let func = instance.get_func(&mut store, &expected.export).context("it is exported")?;
        fuel.set(&mut store, Val::I32(FUEL as i32))?;
        let outcome = call(&mut store, &func, &expected.arguments, &mut seen)?;
        let fuel = fuel.get(&mut store)?;
        let fuel = describe(&mut store, &fuel, &mut 1)?;
        let exhausted = matches!(outcome, Outcome::Exhausted(_));
        run.calls.push(Call { outcome, fuel, ..expected.clone() });
        if exhausted {
            return Ok(run);
        }
    }
    for (name, export) in exports {
        let mut store = RootScope::new(&mut store);
        let mut budget = Value::BUDGET;
        let value = match export {
            Extern::Global(global) => {
                let value = global.get(&mut store)?;
                describe(&mut store, &value, &mut budget)?
            }
            Extern::Memory(memory) => {
                let data = memory.data(&store)?;
                Value::Memory(data.len(), hash(data))
            }
            Extern::Table(table) => {
                let mut elements = Vec::new();
                for index in 0..table.size(&store)? {
                    let element = table.get(&mut store, index)?.context("it is in bounds")?;
                    elements.push(describe(&mut store, &element, &mut budget)?);
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
                                    None => bail!(super::NO_VALUE),
                                },
                            };
                        }
                        Ok(())
                    };
                Func::new(&mut *store, ty.clone(), host)?.into()
            }
            ExternType::Global(ty) => match host_value(&mut *store, ty.content(), number)? {
                Some(value) => Global::new(&mut *store, ty.clone(), value)?.into(),
                None => return Ok(None),
            },
            ExternType::Table(ty) => {
                let element = ValType::Ref(ty.element().clone());
                match host_value(&mut *store, &element, number)? {
                    Some(init) => Table::new(&mut *store, ty.clone(), init)?.into(),
                    None => return Ok(None),
                }
            }
            ExternType::Memory(ty) => Memory::new(&mut *store, ty.clone())?.into(),
            ExternType::Tag(ty) => Tag::new(&mut *store, ty)?.into(),
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
    if matches!(
        value,
        Val::FuncRef(Some(_))
            | Val::ExternRef(Some(_))
            | Val::AnyRef(Some(_))
            | Val::ExnRef(Some(_))
    ) {
        seen.push(*value);
    }
}

fn call(
    store: &mut Store<()>,
    func: &Func,
    arguments: &[Argument],
    seen: &mut Vec<Val>,
) -> Result<Outcome> {
    let ty = func.ty(&*store)?;
    let mut values = Vec::new();
    for (argument, ty) in arguments.iter().zip(ty.params()) {
        values.push(match *argument {
            Argument::I32(value) => Val::I32(value),
            Argument::I64(value) => Val::I64(value),
            Argument::F32(bits) => Val::F32(bits),
            Argument::F64(bits) => Val::F64(bits),
            Argument::V128(bits) => Val::V128(bits.into()),
            Argument::Null => Val::default_for_ty(&ty).context("it can be null")?,
            Argument::I31(value) => AnyRef::from_i31(&mut *store, I31::wrapping_u32(value)).into(),
            Argument::Extern(value) => ExternRef::new(&mut *store, value)?.into(),
            Argument::Seen(index) => *seen.get(index).context("this reference was not seen")?,
        });
    }
    let mut results = vec![Val::I32(0); ty.results().len()];
    match func.call(&mut *store, &values, &mut results) {
        Ok(()) => {
            let mut described = Vec::new();
            for value in &results {
                see(seen, value);
                let mut scope = RootScope::new(&mut *store);
                described.push(describe(&mut scope, value, &mut { Value::BUDGET })?);
            }
            Ok(Outcome::Returned(described))
        }
        Err(error) => ended(store, &error),
    }
}

/// How the call that failed with `error` ended.
fn ended(store: &mut Store<()>, error: &Error) -> Result<Outcome> {
    if error.is::<ThrownException>() {
        let mut scope = RootScope::new(&mut *store);
        let exception = scope.as_context_mut().take_pending_exception().context("it was thrown")?;
        let exception = Val::ExnRef(Some(exception));
        let exception = describe(&mut scope, &exception, &mut { Value::BUDGET })?;
        let Value::Exn(payload) = exception else { unreachable!("it is an exception") };
        return Ok(Outcome::Threw(payload));
    }
    // An active segment that does not fit is a trap without a backtrace.
    let trap = match error.downcast_ref::<TrapError>() {
        Some(error) => Some(error.trap),
        None => error.downcast_ref::<Trap>().copied(),
    };
    let Some(trap) = trap else {
        if format!("{error:#}").contains(super::NO_VALUE) {
            return Ok(Outcome::Trapped("host function"));
        }
        return Ok(Outcome::Failed(format!("{error:#}")));
    };
    Ok(Outcome::Trapped(match trap {
        Trap::StackOverflow => return Ok(Outcome::Exhausted("stack".to_string())),
        Trap::OutOfMemory => return Ok(Outcome::Exhausted("heap".to_string())),
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
        _ => {
            return Ok(Outcome::Failed(format!("{error:#}")));
        }
    }))
}

fn describe(
    store: &mut impl AsContextMut<Data = ()>,
    value: &Val,
    budget: &mut usize,
) -> Result<Value> {
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
            let ty = func.ty(&*store)?;
            Value::Func(ty.params().len(), ty.results().len())
        }
        Val::ExternRef(Some(external)) => match external.data(&*store)? {
            Some(data) => Value::Extern(*data.downcast_ref().context("a number")?),
            None => {
                let internal = AnyRef::convert_extern(&*store, *external)?;
                let value = describe(store, &internal.into(), budget)?;
                Value::Externalized(Box::new(value))
            }
        },
        Val::AnyRef(Some(any)) => {
            if let Some(value) = any.as_i31(&*store)? {
                Value::I31(value.get_i32())
            } else if let Some(object) = any.as_struct(&*store)? {
                let mut described = Vec::new();
                for field in object.fields(&mut *store)? {
                    described.push(describe(store, &field, budget)?);
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
                let external = ExternRef::convert_any(&*store, *any)?;
                let data = external.data(&*store)?.context("a value of the host")?;
                Value::Internalized(*data.downcast_ref().context("a number")?)
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
    })
}
