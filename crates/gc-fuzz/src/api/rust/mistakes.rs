//! Handles of scopes that have ended and of other stores. Each use ends with the error or the panic that the
//! documentation promises.

use super::{Cx, Handled, Rust, value, wrong};
use crate::api::driver::{Export, Mistakes, Wrong};
use crate::api::host::Host;
use crate::api::world::World;
use anyhow::{Context as _, Result, bail, ensure};
use gc_testkit::panics::expected_panic;
use gc_wasm::{
    Global, GlobalType, Mutability, Ref, RefType, Rooted, StructRef, Table, TableType, Val, ValType,
};

impl Mistakes for Rust {
    fn stale(cx: &mut Cx<'_>, world: &mut World<Rust>, stale: &Handled, how: u8) -> Result<()> {
        let stale = *stale;
        let why = "after its scope ended";
        match how % 12 {
            0 => failed(stale.is_i31(&*cx), why),
            1 => failed(stale.to_owned_rooted(cx), why),
            2 => failed(stale.downgrade(cx), why),
            3 => failed(stale.as_struct(&*cx), why),
            4 => failed(stale.ty(&*cx), why),
            5 => failed(stale.add_finalizer(cx, 1), why),
            6 => {
                let fields = [Val::I32(0), Val::null_extern_ref(), Val::AnyRef(Some(stale))];
                failed(StructRef::new(cx, &world.own.struct_pre, &fields), why)
            }
            7 => match world.handle(0).handle {
                Some(other) => failed(Rooted::ref_eq(&*cx, &stale, &other), why),
                None => Ok(()),
            },
            how => given(cx, world, stale, how, why),
        }
    }

    fn foreign(
        cx: &mut Cx<'_>,
        host: &mut Host<Rust>,
        slot: usize,
        other: Option<&World<Rust>>,
        [handle, how]: [u8; 2],
    ) -> Result<()> {
        let orphan = host.orphans.iter().rev().nth(handle.into()).copied();
        let foreign = other.and_then(|world| world.handle(handle).handle).or(orphan);
        let Some(foreign) = foreign else { return Ok(()) };
        let global = other.and_then(|world| world.globals.first()).map(|known| known.global);
        let world = host.world(slot);
        let panics = |text: Option<String>| {
            let text = text.context("no panic")?;
            ensure!(text.contains("used with the wrong store"), "another panic: {text}");
            Ok(())
        };
        match how % 12 {
            0 => panics(expected_panic(|| drop(foreign.is_i31(&*cx)))),
            1 => panics(expected_panic(|| drop(foreign.to_owned_rooted(cx)))),
            2 => panics(expected_panic(|| drop(foreign.as_array(&*cx)))),
            3 => panics(expected_panic(|| drop(foreign.ty(&*cx)))),
            4 => {
                let fields = [Val::I32(0), Val::null_extern_ref(), Val::AnyRef(Some(foreign))];
                let new = || drop(StructRef::new(cx, &world.own.struct_pre, &fields));
                panics(expected_panic(new))
            }
            5 => match global {
                Some(global) => panics(expected_panic(|| _ = global.get(cx))),
                None => Ok(()),
            },
            6 => match world.handle(0).handle {
                Some(own) => panics(expected_panic(|| drop(Rooted::ref_eq(&*cx, &foreign, &own)))),
                None => Ok(()),
            },
            how => {
                given(cx, world, foreign, how, "cross-`Store` values are not currently supported")
            }
        }
    }

    fn wrong(cx: &mut Cx<'_>, host: &mut Host<Rust>, slot: usize, call: Wrong) -> Result<()> {
        wrong::wrong(cx, host, slot, call)
    }
}

/// Checks that a call failed with an error whose text has this part.
pub(super) fn failed<T>(result: Result<T>, why: &str) -> Result<()> {
    let Err(error) = result else { bail!("no error, although: {why}") };
    ensure!(format!("{error:#}").contains(why), "another error than `{why}`: {error:#}");
    Ok(())
}

/// Passes a handle that is none of the store to a global, a table or a call.
fn given(cx: &mut Cx<'_>, world: &World<Rust>, handle: Handled, how: u8, why: &str) -> Result<()> {
    match how {
        8 => {
            let ty = GlobalType::new(ValType::ANYREF, Mutability::Var);
            failed(Global::new(cx, ty, Val::AnyRef(Some(handle))), why)
        }
        9 => {
            let ty = TableType::new(RefType::ANYREF, 2, None);
            failed(Table::new(cx, ty, Ref::Any(Some(handle))), why)
        }
        10 => match world.globals.iter().find(|known| !known.external) {
            Some(known) => failed(known.global.set(cx, Val::AnyRef(Some(handle))), why),
            None => Ok(()),
        },
        11 => match world.tables.iter().find(|known| !known.external) {
            Some(known) => {
                let size = known.table.size(&*cx).min(1);
                failed(known.table.fill(cx, 0, Ref::Any(Some(handle)), size), why)
            }
            None => Ok(()),
        },
        _ => {
            let Some(program) = &world.program else { return Ok(()) };
            let run = program.instance.get_func(&mut *cx, Export::Run.name());
            let own = value(&mut *cx, None, true)?;
            let arguments = [Val::AnyRef(Some(handle)), own, Val::I32(0)];
            let mut results = [Val::null_any_ref(), Val::null_extern_ref()];
            failed(run.context("a function")?.call(cx, &arguments, &mut results), why)
        }
    }
}
