//! Calls with arguments that do not fit: values of another type, too many or too few of them, names of
//! something else. Each ends with the error that names what is wrong, and changes nothing.

use super::mistakes::failed;
use super::{Cx, Handled, Rust, linking, value, wrong_places as places};
use crate::api::driver::Export;
use crate::api::host::Host;
use crate::api::world::{Handle, World};
use crate::value::Referent;
use anyhow::{Context as _, Result, ensure};
use gc_wasm::{Func, FuncType, Ref, Val, ValType};

/// A handle, and what it refers to.
pub(super) type Given = (Option<Handled>, Referent);

/// The text of the error of a value of a wrong type.
pub(super) const MISMATCH: &str = "type mismatch: expected ";

/// A value that is not of the type of a place that is external, or of one that is internal. It is an
/// `i32` only for multiples of 8.
pub(super) fn another(
    cx: &mut Cx<'_>,
    number: u8,
    handle: Option<Handled>,
    external: bool,
) -> Result<Val> {
    Ok(match number % 8 {
        0 => Val::I32(0),
        1 => Val::I64(-1),
        2 => Val::F32(0),
        3 => Val::V128(1.into()),
        4 => Val::FuncRef(None),
        5 => Val::ExnRef(None),
        _ => value(cx, handle, !external)?,
    })
}

/// A reference that can be in no table of this kind.
pub(super) fn another_element(
    cx: &mut Cx<'_>,
    number: u8,
    handle: Option<Handled>,
    external: bool,
) -> Result<Ref> {
    let other = another(cx, number % 4 + 4, handle, external)?;
    other.ref_().context("a reference")
}

/// Makes a call whose arguments do not fit.
pub(super) fn wrong(
    cx: &mut Cx<'_>,
    host: &mut Host<Rust>,
    slot: usize,
    what: u8,
    index: u8,
    from: u8,
) -> Result<()> {
    let world = host.world(slot);
    let Handle { handle, value } = world.handle(from);
    let from = (handle, value);
    match what % 9 {
        0 => places::global(world, cx, index, from),
        1 => places::table(world, cx, index, from),
        2 => places::object(world, cx, index, from),
        3 => places::new_object(world, cx, index, from),
        4 => places::typed_place(world, cx, index, from),
        _ if !host.is_ready(slot, cx)? => Ok(()),
        5 => wrong_call(cx, host.world(slot), index, handle),
        6 => linking::wrong_imports(cx, host, slot, index),
        7 => linking::wrong_linker(cx, host, slot, index),
        _ => wrong_names(cx, host.world(slot), index),
    }
}

/// Calls a function with arguments of another number or type. The host is not called.
fn wrong_call(
    cx: &mut Cx<'_>,
    world: &mut World<Rust>,
    index: u8,
    handle: Option<Handled>,
) -> Result<()> {
    let program = world.program.as_ref().context("it is ready")?;
    let run = program.instance.get_func(&mut *cx, Export::Run.name()).context("a function")?;
    let external = value(&mut *cx, handle, true)?;
    let mut arguments = vec![Val::AnyRef(handle), external, Val::I32(0)];
    let mut results = vec![Val::null_any_ref(), Val::null_extern_ref()];
    let place = usize::from(index / 8 % 3);
    let why = match index % 8 {
        0 => {
            arguments.truncate(place);
            format!("expected 3 arguments, got {place}")
        }
        1 => {
            arguments.extend([Val::I32(0); 3].into_iter().take(place + 1));
            format!("expected 3 arguments, got {}", place + 4)
        }
        2 => {
            results = vec![Val::I32(0); if place < 2 { place } else { 3 }];
            format!("expected 2 results, got {}", results.len())
        }
        3 if !world.limited => return failed(cx.set_fuel(1), "fuel is not configured"),
        4 => return wrong_results(cx, handle, place),
        _ => {
            arguments[place] = match place {
                2 => another(cx, index / 24 % 7 + 1, handle, false)?,
                _ => another(cx, index / 24, handle, place == 1)?,
            };
            format!("argument type mismatch: argument {place}: {MISMATCH}")
        }
    };
    // The host is not there: it would be an error if the function called it.
    failed(run.call(&mut *cx, &arguments, &mut results), &why)
}

/// Looks for exports by wrong names and types.
fn wrong_names(cx: &mut Cx<'_>, world: &mut World<Rust>, index: u8) -> Result<()> {
    let instance = world.program.as_ref().context("it is ready")?.instance;
    match index % 6 {
        0 => ensure!(instance.get_func(&mut *cx, "kept").is_none(), "a global is a function"),
        1 => {
            ensure!(instance.get_global(&mut *cx, "run").is_none(), "a function is a global")
        }
        2 => {
            let func = instance.get_typed_func::<(), ()>(&mut *cx, "running");
            failed(func, "failed to find function export `running`")?;
        }
        3 => {
            let func = instance.get_typed_func::<(), ()>(&mut *cx, "burn");
            failed(func, "type mismatch with results: expected 0 types, found 1")?;
        }
        4 => {
            let func = instance.get_typed_func::<i32, i32>(&mut *cx, "burn");
            failed(func, "type mismatch with parameters: expected 1 types, found 0")?;
        }
        _ => {
            let func = instance.get_typed_func::<(), i64>(&mut *cx, "burn");
            failed(func, "type mismatch with results: result 0: type mismatch: expected i64")?;
        }
    }
    Ok(())
}

/// Calls a function of the host that sets its result to a value of another type, or forgets it.
fn wrong_results(cx: &mut Cx<'_>, handle: Option<Handled>, how: usize) -> Result<()> {
    let ty = FuncType::new(cx.engine(), [ValType::ANYREF], [ValType::EXTERNREF]);
    let func = Func::new(&mut *cx, ty, move |_, arguments, results| {
        match how {
            0 => results[0] = arguments[0],
            1 => results[0] = Val::I32(1),
            _ => {}
        }
        Ok(())
    });
    let mut results = [Val::null_extern_ref()];
    let called = func.call(&mut *cx, &[Val::AnyRef(handle)], &mut results);
    failed(called, "type mismatch: expected externref, found ")
}
