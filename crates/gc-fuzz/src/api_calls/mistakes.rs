//! Mistakes of a host. Each ends with the error or the panic that the documentation promises.

use super::calls::{failed, value};
use super::host::{Data, Host};
use super::world::World;
use anyhow::{Context as _, Result, ensure};
use gc_testkit::panics::expected_panic;
use gc_wasm::{
    AnyRef, AsContextMut, Global, GlobalType, Mutability, Ref, RefType, Rooted, StoreContextMut,
    StructRef, Table, TableType, Val, ValType,
};

impl Host {
    /// Uses a handle whose scope has ended.
    pub(super) fn stale(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
        handle: u8,
        how: u8,
    ) -> Result<()> {
        let world = self.world(slot);
        let Some(i) = usize::from(handle).checked_rem(world.stale.len()) else { return Ok(()) };
        let stale = world.stale[i];
        let why = "after its scope ended";
        match how % 12 {
            0 => failed(stale.is_i31(&store), why),
            1 => failed(stale.to_owned_rooted(&mut store), why),
            2 => failed(stale.downgrade(&mut store), why),
            3 => failed(stale.as_struct(&store), why),
            4 => failed(stale.ty(&store), why),
            5 => failed(stale.add_finalizer(&mut store, 1), why),
            6 => {
                let fields = [Val::I32(0), Val::null_extern_ref(), Val::AnyRef(Some(stale))];
                failed(StructRef::new(&mut store, &world.struct_pre, &fields), why)
            }
            7 => match world.handle(0).0 {
                Some(other) => failed(Rooted::ref_eq(&store, &stale, &other), why),
                None => Ok(()),
            },
            how => given(world, store, stale, how, why),
        }
    }

    /// Uses a handle of another store, which may be gone.
    pub(super) fn foreign(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
        other: usize,
        handle: u8,
        how: u8,
    ) -> Result<()> {
        let mut foreign = self.orphans.iter().rev().nth(handle.into()).copied();
        let mut global = None;
        if let Some(world) = self.other(slot, other) {
            foreign = world.handle(handle).0.or(foreign);
            global = world.globals.first().map(|known| known.global);
        }
        let Some(foreign) = foreign else { return Ok(()) };
        let panics = |text: Option<String>| {
            let text = text.context("no panic")?;
            ensure!(text.contains("used with the wrong store"), "another panic: {text}");
            Ok(())
        };
        let world = self.world(slot);
        match how % 12 {
            0 => panics(expected_panic(|| drop(foreign.is_i31(&store)))),
            1 => panics(expected_panic(|| drop(foreign.to_owned_rooted(&mut store)))),
            2 => panics(expected_panic(|| drop(foreign.as_array(&store)))),
            3 => panics(expected_panic(|| drop(foreign.ty(&store)))),
            4 => {
                let fields = [Val::I32(0), Val::null_extern_ref(), Val::AnyRef(Some(foreign))];
                let new = || drop(StructRef::new(&mut store, &world.struct_pre, &fields));
                panics(expected_panic(new))
            }
            5 => match global {
                Some(global) => panics(expected_panic(|| _ = global.get(&mut store))),
                None => Ok(()),
            },
            6 => match world.handle(0).0 {
                Some(own) => {
                    panics(expected_panic(|| drop(Rooted::ref_eq(&store, &foreign, &own))))
                }
                None => Ok(()),
            },
            how => given(
                world,
                store,
                foreign,
                how,
                "cross-`Store` values are not currently supported",
            ),
        }
    }
}

/// Passes a handle that is none of the store to a global, a table or a call.
fn given(
    world: &World,
    mut store: StoreContextMut<'_, Data>,
    handle: Rooted<AnyRef>,
    how: u8,
    why: &str,
) -> Result<()> {
    match how {
        8 => {
            let ty = GlobalType::new(ValType::ANYREF, Mutability::Var);
            failed(Global::new(&mut store, ty, Val::AnyRef(Some(handle))), why)
        }
        9 => {
            let ty = TableType::new(RefType::ANYREF, 2, None);
            failed(Table::new(&mut store, ty, Ref::Any(Some(handle))), why)
        }
        10 => match world.globals.iter().find(|known| !known.external) {
            Some(known) => failed(known.global.set(&mut store, Val::AnyRef(Some(handle))), why),
            None => Ok(()),
        },
        11 => match world.tables.iter().find(|known| !known.external) {
            Some(known) => {
                let size = known.table.size(&store).min(1);
                let grown = known.table.fill(&mut store, 0, Ref::Any(Some(handle)), size);
                failed(grown, why)
            }
            None => Ok(()),
        },
        _ => {
            let Some(instance) = world.instance else { return Ok(()) };
            let run = instance.get_func(&mut store, "run").context("a function")?;
            let own = value(store.as_context_mut(), None, true)?;
            let arguments = [Val::AnyRef(Some(handle)), own, Val::I32(0)];
            let mut results = [Val::null_any_ref(), Val::null_extern_ref()];
            failed(run.call(&mut store, &arguments, &mut results), why)
        }
    }
}
