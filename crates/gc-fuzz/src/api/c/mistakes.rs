//! Calls that cannot succeed. Each says why, and changes nothing.

use super::functions::{invoke, trap_message};
use super::pointers::{last_error, written};
use super::{Boxed, C, Program, Shared};
use crate::api::driver::{Export, Mistakes, Stores as _, Wrong};
use crate::api::host::{Host, TABLE_LIMIT};
use crate::api::world::{Handle, World, pick};
use crate::value::Referent;
use anyhow::{Context as _, Result, ensure};
use reclaim::*;

impl Mistakes for C {
    fn foreign(
        _: &mut Shared,
        host: &mut Host<C>,
        slot: usize,
        other: Option<&World<C>>,
        [handle, how]: [u8; 2],
    ) -> Result<()> {
        match other {
            Some(other) => self::foreign(host.world(slot), other, handle, how),
            None => Ok(()),
        }
    }

    fn wrong(cx: &mut Shared, host: &mut Host<C>, slot: usize, call: Wrong) -> Result<()> {
        host.is_ready(slot, cx)?;
        self::wrong(host.world(slot), call.what, call.from)
    }
}

/// Checks that a call has failed, for this reason.
fn failed(failed: bool, why: &str) -> Result<()> {
    ensure!(failed, "it succeeded, although: {why}");
    let error = last_error().context("no reason was given")?;
    ensure!(!error.contains("internal error"), "it panicked: {error}");
    ensure!(error.contains(why), "another reason than {why:?}: {error}");
    C::settled()
}

/// Checks that a call ended with a trap, for this reason.
fn trapped(result: Result<wasm_val_vec_t, Box<wasm_trap_t>>, why: &str) -> Result<()> {
    let message = trap_message(&*result.err().context("no trap")?);
    ensure!(message.contains(why), "another trap than {why:?}: {message}");
    C::settled()
}

/// Uses a handle of another store, or that store if it is one of another engine.
pub(super) fn foreign(world: &mut World<C>, other: &World<C>, handle: u8, how: u8) -> Result<()> {
    if how % 5 == 4 {
        let store = other.own.store.as_deref().filter(|_| other.engine != world.engine);
        return store.map_or(Ok(()), |store| another_engine(world, store));
    }
    let Some(foreign) = other.handle(handle).handle else { return Ok(()) };
    let value = wasm_val_t::of_ref(ValKind::AnyRef, Some(foreign.clone()));
    match how % 5 {
        0 => {
            let Some(i) = pick(&world.globals, handle) else { return Ok(()) };
            wasm_global_set(Some(&world.globals[i].global), Some(&value));
            failed(true, "another store")
        }
        1 => {
            let Some(i) = pick(&world.tables, handle) else { return Ok(()) };
            let table = Some(&*world.tables[i].table);
            failed(!wasm_table_set(table, 0, Some(&foreign)), "another store")?;
            failed(!wasm_table_grow(table, 0, Some(&foreign)), "another store")
        }
        2 => {
            let Some(program) = &world.program else { return Ok(()) };
            trapped(invoke(&*program.func(Export::Throw)?, vec![value], 0), "another store")
        }
        _ => {
            let Some(store) = world.own.store.as_deref() else { return Ok(()) };
            let ty = wasm_globaltype_new(wasm_valtype_new(ValKind::AnyRef as u8), 0);
            let global = wasm_global_new(Some(store), ty.as_deref(), Some(&value));
            failed(global.is_none(), "another store")
        }
    }
}

/// Uses a module and types of another engine than that of `store`.
fn another_engine(world: &mut World<C>, store: &wasm_store_t) -> Result<()> {
    let Some(program) = &world.program else { return Ok(()) };
    let (store, number) = (Some(store), wasm_val_t::from(1));
    let shared = wasm_module_share(Some(&program.module));
    let obtained = wasm_module_obtain(store, shared.as_deref());
    failed(obtained.is_none(), "another engine")?;
    let fields = wasm_val_vec_t::default();
    let made = reclaim_struct_new(store, Some(&world.own.struct_type), Some(&fields));
    failed(made.is_none(), "another engine")?;
    let made = reclaim_array_new(store, Some(&world.own.array_type), Some(&number), 1);
    failed(made.is_none(), "another engine")?;
    let concrete = reclaim_valtype_new_concrete(Some(&world.own.struct_type), true);
    let ty = wasm_globaltype_new(concrete, 1);
    let null = wasm_val_t::of_ref(ValKind::AnyRef, None);
    let made = wasm_global_new(store, ty.as_deref(), Some(&null));
    failed(made.is_none(), "another engine")
}

/// Makes a call whose arguments do not fit.
pub(super) fn wrong(world: &mut World<C>, what: u8, from: u8) -> Result<()> {
    match what % 17 {
        0..=2 => {
            let Handle { handle: Some(handle), value: Referent::Object(n) } = world.handle(from)
            else {
                return Ok(());
            };
            object(world, &handle, n, what % 17)
        }
        3 => arguments(world),
        4 => imports(world),
        5 => bytes(world, from),
        6 => constant(world),
        7 => kinds(from),
        8 => types(),
        9 => nulls(world),
        10 => table(world, from),
        11 => reference(world, from),
        12 => new_object(world, from),
        13 => large_array(world),
        14 => values(world),
        15 => fuel(world),
        _ => texts(),
    }
}

/// Reads behind the end of an object, writes a number to a reference, or takes an object for another.
fn object(world: &World<C>, handle: &Boxed, n: usize, what: u8) -> Result<()> {
    let (is_array, count) = (world.objects[n].is_array, world.objects[n].refs.len());
    let (handle, number) = (Some(&**handle), wasm_val_t::from(1));
    match (what, is_array) {
        (0, _) => {
            let (read, value) = match is_array {
                true => written(|out| reclaim_array_get(handle, count as u32, out)),
                false => written(|out| reclaim_struct_get(handle, count + 1, out)),
            };
            ensure!(value.kind == 0, "a value of kind {}", value.kind);
            failed(!read, "")
        }
        (1, true) if count == 0 => Ok(()),
        (1, true) => failed(!reclaim_array_set(handle, 0, Some(&number)), "type mismatch"),
        (1, false) => failed(!reclaim_struct_set(handle, 1, Some(&number)), "type mismatch"),
        (_, true) => {
            let (read, _) = written(|out| reclaim_struct_get(handle, 0, out));
            failed(!read, "no struct")
        }
        (_, false) => {
            let (read, _) = written(|out| reclaim_array_length(handle, out));
            failed(!read, "no array")
        }
    }
}

/// Calls a function with too few or too many arguments, or with others.
fn arguments(world: &World<C>) -> Result<()> {
    let Some(program) = &world.program else { return Ok(()) };
    let number = wasm_val_t::from(1);
    for (arguments, why) in [
        (vec![], "expected 1 arguments, found 0"),
        (vec![number.clone(); 2], "expected 1 arguments, found 2"),
        (vec![number.clone()], "type mismatch"),
    ] {
        trapped(invoke(&*program.func(Export::Throw)?, arguments, 0), why)?;
    }
    Ok(())
}

/// Makes an instance without imports, or with those of another order.
fn imports(world: &World<C>) -> Result<()> {
    let (Some(program), Some(store)) = (&world.program, world.own.store.as_deref()) else {
        return Ok(());
    };
    let mut swapped = program.imports.clone();
    swapped.swap(0, 1);
    let none = wasm_extern_vec_t::default();
    for (imports, why) in [(none, "expected 2 imports"), (swapped.into(), "")] {
        let (instance, trap) = written(|trap| {
            wasm_instance_new(Some(store), Some(&program.module), Some(&imports), trap)
        });
        let message = trap_message(&*trap.context("no trap")?);
        failed(instance.is_none(), why)?;
        ensure!(message.contains(why), "another trap than {why:?}: {message}");
    }
    Ok(())
}

/// Takes bytes for a module that are none.
fn bytes(world: &World<C>, from: u8) -> Result<()> {
    let Some(store) = world.own.store.as_deref() else { return Ok(()) };
    let bytes: wasm_byte_vec_t = vec![0, b'a', b's', b'm', from, 0, 0, from].into();
    let module = wasm_module_new(Some(store), Some(&bytes));
    failed(module.is_none(), "")?;
    failed(!wasm_module_validate(Some(store), Some(&bytes)), "")?;
    let module = wasm_module_deserialize(Some(store), Some(&bytes));
    failed(module.is_none(), "")
}

/// Sets a global that is not mutable.
fn constant(world: &World<C>) -> Result<()> {
    let Some(program) = &world.program else { return Ok(()) };
    let constant = program.global(Program::CONSTANT)?;
    wasm_global_set(Some(constant), Some(&wasm_val_t::from(1)));
    failed(true, "immutable")?;
    let ((), value) = written(|out| wasm_global_get(Some(constant), out));
    ensure!(value.i32() == Some(7), "a constant has changed");
    Ok(())
}

/// Makes types of any kind.
fn kinds(from: u8) -> Result<()> {
    let ty = wasm_valtype_new(from);
    let known = from <= 4 || (128..=131).contains(&from);
    match known {
        true => ensure!(ty.is_some(), "{from} is a kind"),
        false => failed(ty.is_none(), "is no kind")?,
    }
    let ty = reclaim_valtype_new_ref(from | 0x10, true);
    failed(ty.is_none(), "no heap type")
}

/// Makes types that cannot be.
fn types() -> Result<()> {
    let mut types: [wasm_valtype_vec_t; 2] = [vec![None].into(), Default::default()];
    let [params, results] = &mut types;
    let ty = wasm_functype_new(Some(params), Some(results));
    failed(ty.is_none(), "NULL")?;
    let ty = wasm_globaltype_new(wasm_valtype_new(0), 2);
    failed(ty.is_none(), "no mutability")?;
    let limits = wasm_limits_t { min: 0, max: 1 };
    let ty = wasm_tabletype_new(wasm_valtype_new(0), Some(&limits));
    failed(ty.is_none(), "references")?;
    let limits = wasm_limits_t { min: 70_000, max: 80_000 };
    failed(wasm_memorytype_new(Some(&limits)).is_none(), "")
}

/// Passes NULL.
fn nulls(world: &World<C>) -> Result<()> {
    failed(wasm_engine_new_with_config(None).is_none(), "NULL")?;
    failed(wasm_store_new(None).is_none(), "NULL")?;
    failed(wasm_module_new(world.own.store.as_deref(), None).is_none(), "NULL")?;
    failed(wasm_func_type(None).is_none(), "NULL")?;
    failed(wasm_table_get(None, 0).is_none(), "NULL")?;
    failed(wasm_memory_data(None).is_null(), "NULL")?;
    failed(!reclaim_store_gc(None), "NULL")?;
    failed(!reclaim_store_gc_for(None, 1000, None), "NULL")?;
    failed(wasm_ref_get_host_info(None).is_null(), "NULL")?;
    let trap = wasm_func_call(std::ptr::null(), None, None).into_trap().context("no trap")?;
    ensure!(trap_message(&trap).contains("NULL"), "another trap");
    failed(true, "NULL")?;
    wasm_ref_delete(None);
    wasm_val_delete(None);
    C::settled()
}

/// Uses a table behind its end.
fn table(world: &World<C>, from: u8) -> Result<()> {
    let Some(i) = pick(&world.tables, from) else { return Ok(()) };
    let table = Some(&*world.tables[i].table);
    let count = world.tables[i].elements.len() as u32;
    let element = wasm_table_get(table, count);
    failed(element.is_none(), "no element")?;
    failed(!wasm_table_set(table, count, None), "")?;
    failed(!wasm_table_grow(table, TABLE_LIMIT as u32 + 1, None), "")?;
    ensure!(wasm_table_size(table) == count, "a table has grown");
    Ok(())
}

/// Takes a reference for an `i31` or an exception.
fn reference(world: &World<C>, from: u8) -> Result<()> {
    let Handle { handle: Some(handle), value } = world.handle(from) else { return Ok(()) };
    if matches!(value, Referent::I31(_)) {
        return Ok(());
    }
    let (read, _) = written(|out| reclaim_i31_get(Some(&handle), out));
    failed(!read, "")?;
    failed(reclaim_trap_new_exception(Some(&handle)).is_none(), "expected an exception")
}

/// Makes an object of too few values, or of a type of another kind.
fn new_object(world: &World<C>, from: u8) -> Result<()> {
    let Some(store) = world.own.store.as_deref() else { return Ok(()) };
    let fields: wasm_val_vec_t = vec![wasm_val_t::from(1); usize::from(from % 3)].into();
    let ty = Some(&*world.own.struct_type);
    let made = reclaim_struct_new(Some(store), ty, Some(&fields));
    failed(made.is_none(), "expected 3 values")?;
    let made = reclaim_array_new(Some(store), ty, None, 1);
    failed(made.is_none(), "structs")?;
    let made = reclaim_struct_new(Some(store), Some(&world.own.array_type), Some(&fields));
    failed(made.is_none(), "arrays")
}

/// Makes an array that is too large.
fn large_array(world: &World<C>) -> Result<()> {
    let Some(store) = world.own.store.as_deref() else { return Ok(()) };
    let null = wasm_val_t::of_ref(ValKind::AnyRef, None);
    let ty = Some(&*world.own.array_type);
    failed(reclaim_array_new(Some(store), ty, Some(&null), 1 << 28).is_none(), "")
}

/// Makes a global of a value that has no kind, or another.
fn values(world: &World<C>) -> Result<()> {
    let Some(store) = world.own.store.as_deref() else { return Ok(()) };
    let value = wasm_val_t { kind: 77, of: wasm_val_of_t { i64: 0x1234 } };
    let ty = wasm_globaltype_new(wasm_valtype_new(0), 0);
    let global = wasm_global_new(Some(store), ty.as_deref(), Some(&value));
    failed(global.is_none(), "no kind of values")?;
    let value = wasm_val_t::of_ref(ValKind::AnyRef, None);
    let global = wasm_global_new(Some(store), ty.as_deref(), Some(&value));
    failed(global.is_none(), "type mismatch")
}

/// Uses fuel of an engine that has none.
fn fuel(world: &World<C>) -> Result<()> {
    let Some(store) = world.own.store.as_deref().filter(|_| !world.limited) else {
        return Ok(());
    };
    failed(!reclaim_store_set_fuel(Some(store), 5), "fuel")?;
    let (read, _) = written(|out| reclaim_store_fuel(Some(store), out));
    failed(!read, "fuel")
}

/// Sets an option to a text that is no number, and translates a module that is none.
fn texts() -> Result<()> {
    let mut config = wasm_config_new();
    let config = config.as_deref_mut();
    let set = reclaim_config_collector(config, c"generational:nursery=many".as_ptr());
    failed(!set, "nursery")?;
    let text = b"(module (func (result i32)))) ";
    let (translated, _) = written(|out| reclaim_wat2wasm(text.as_ptr().cast(), text.len(), out));
    failed(!translated, "")
}
