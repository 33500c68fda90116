//! The calls, each with what must come of it.

use super::host::{Data, Host, TABLE_LIMIT};
use super::memories::memory_call;
use super::ops::Op;
use super::world::{Handle, KnownGlobal, KnownTable, Object, Value, Weak, World};
use crate::refs::internal;
use anyhow::{Context as _, Error, Result, bail, ensure};
use gc_wasm::{
    AnyRef, ArrayRef, AsContext, AsContextMut, ExternRef, Func, Global, GlobalType, I31,
    Mutability, OwnedRooted, Ref, RefType, Rooted, StoreContextMut, StructRef, Table, TableType,
    Trap, Val, ValType,
};

/// The most objects of one kind that the host keeps.
const MOST: usize = 8;

/// The element of `list` that a byte chooses.
pub(super) fn pick<T>(list: &[T], byte: u8) -> Option<usize> {
    usize::from(byte).checked_rem(list.len())
}

/// A handle as a value for a place of this type.
pub(super) fn value(
    store: impl AsContextMut,
    handle: Option<Rooted<AnyRef>>,
    external: bool,
) -> Result<Val> {
    Ok(match (handle, external) {
        (handle, false) => Val::AnyRef(handle),
        (None, true) => Val::ExternRef(None),
        (Some(handle), true) => Val::ExternRef(Some(ExternRef::convert_any(store, handle)?)),
    })
}

fn element(
    store: impl AsContextMut,
    handle: Option<Rooted<AnyRef>>,
    external: bool,
) -> Result<Ref> {
    value(store, handle, external)?.ref_().context("a reference")
}

/// Why a call fails.
pub(super) trait Why {
    fn is_of(&self, error: &Error) -> bool;
}

/// A part of the text.
impl Why for &str {
    fn is_of(&self, error: &Error) -> bool {
        format!("{error:#}").contains(self)
    }
}

/// One of these.
impl Why for [&str; 2] {
    fn is_of(&self, error: &Error) -> bool {
        self.iter().any(|why| why.is_of(error))
    }
}

impl Why for Trap {
    fn is_of(&self, error: &Error) -> bool {
        error.downcast_ref() == Some(self)
    }
}

/// Whether a call has ended rightly. If it is not `possible`, it must end with this error.
pub(super) fn ended<T>(result: Result<T>, possible: bool, why: impl Why) -> Result<Option<T>> {
    match (result, possible) {
        (Ok(value), true) => Ok(Some(value)),
        (Err(error), false) => {
            ensure!(why.is_of(&error), "another error: {error:#}");
            Ok(None)
        }
        (Ok(_), false) => bail!("no error"),
        (Err(error), true) => Err(error),
    }
}

/// Checks that a call failed with an error whose text has this part.
pub(super) fn failed<T>(result: Result<T>, why: &str) -> Result<()> {
    ended(result, false, why).map(drop)
}

impl Host {
    /// A call that does not nest.
    pub(super) fn simple(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
        op: Op,
    ) -> Result<()> {
        let ledger = self.ledger.clone();
        let world = self.world(slot);
        match op {
            Op::Host => {
                let token = ledger.issue();
                let number = token.number();
                world.boxed.push(number);
                let new = ExternRef::new(&mut store, token)?;
                let new = AnyRef::convert_extern(&store, new)?;
                world.push(Some(new), Value::Host(number));
            }
            Op::I31 { value } => {
                let new = AnyRef::from_i31(&mut store, I31::wrapping_u32(value.into()));
                world.push(Some(new), Value::I31(value.into()));
            }
            Op::Struct { external, from } => {
                let (e, a) = (world.handle(external), world.handle(from));
                let number = Val::I32(world.objects.len() as i32);
                let fields = [number, value(&mut store, e.0, true)?, Val::AnyRef(a.0)];
                let new = StructRef::new(&mut store, &world.struct_pre, &fields)?;
                let object = world.object(false, vec![e.1, a.1]);
                world.push(Some(new.to_anyref()), object);
            }
            Op::Array { len, from } => {
                let (element, len) = (world.handle(from), u32::from(len % 20));
                let all = Val::AnyRef(element.0);
                let new = ArrayRef::new(&mut store, &world.array_pre, &all, len)?;
                let object = world.object(true, vec![element.1; len as usize]);
                world.push(Some(new.to_anyref()), object);
            }
            Op::Get { object, index } => return get(world, store, world.handle(object), index),
            Op::Set { object, index, from } => {
                let (object, from) = (world.handle(object), world.handle(from));
                return set(world, store, object, index, from);
            }
            Op::Equal { a, b } => {
                let (a, b) = (world.handle(a), world.handle(b));
                world.check(&mut store, a.0, a.1)?;
                if let (Some(first), Some(second)) = (a.0, b.0) {
                    let same = Rooted::ref_eq(&store, &first, &second)?;
                    ensure!(same == (a.1 == b.1), "{a:?} is the same as {b:?}: {same}");
                }
            }
            Op::Own { from } => {
                if let (Some(handle), value) = world.handle(from)
                    && world.owned.len() < MOST
                {
                    world.owned.push((handle.to_owned_rooted(&mut store)?, value));
                }
            }
            Op::Unown { owned } => {
                if let Some(i) = pick(&world.owned, owned) {
                    let (owned, value) = &world.owned[i];
                    let (handle, value) = (owned.to_rooted(&mut store), *value);
                    world.check(&mut store, Some(handle), value)?;
                    world.push(Some(handle), value);
                }
            }
            Op::CloneOwned { owned } => {
                if let Some(i) = pick(&world.owned, owned)
                    && world.owned.len() < MOST
                {
                    let (owned, value) = &world.owned[i];
                    let clone = (owned.clone(), *value);
                    ensure!(OwnedRooted::ref_eq(&store, owned, &clone.0)?, "a clone differs");
                    world.owned.push(clone);
                }
            }
            Op::DropOwned { owned } => {
                if let Some(i) = pick(&world.owned, owned) {
                    world.owned.swap_remove(i);
                }
            }
            Op::Downgrade { from } => {
                if let (Some(handle), value) = world.handle(from)
                    && world.weak.len() < MOST
                {
                    world.weak.push(Weak::new(handle.downgrade(&mut store)?, value));
                }
            }
            Op::Upgrade { weak } => {
                if let Some(i) = pick(&world.weak, weak) {
                    let weak = &world.weak[i];
                    let (handle, value) = (weak.weak.upgrade(&mut store)?, weak.value);
                    weak.check(handle.is_none())?;
                    if handle.is_some() {
                        world.check(&mut store, handle, value)?;
                        world.push(handle, value);
                    }
                }
            }
            Op::AddFinalizer { from } => {
                if let (Some(handle), value) = world.handle(from)
                    && world.finalizers.len() < MOST
                    && !matches!(value, Value::I31(_))
                {
                    let token = ledger.issue();
                    let number = token.number();
                    handle.add_finalizer(&mut store, token)?;
                    world.finalizers.push(Weak::new(number, value));
                }
            }
            Op::NextFinalizable => {
                let Some((object, value)) = store.next_finalizable() else { return Ok(()) };
                world.finalized(store, object, value)?;
            }
            Op::NewGlobal { from, external } => {
                if world.globals.len() < MOST {
                    let (handle, known) = world.handle(from);
                    let external = external % 2 == 1;
                    let ty = if external { ValType::EXTERNREF } else { ValType::ANYREF };
                    let handle = value(&mut store, handle, external)?;
                    let ty = GlobalType::new(ty, Mutability::Var);
                    let global = Global::new(&mut store, ty, handle)?;
                    world.globals.push(KnownGlobal { global, value: known, external });
                }
            }
            Op::GlobalGet { global } => {
                if let Some(i) = pick(&world.globals, global) {
                    let KnownGlobal { global, value, .. } = world.globals[i];
                    let read = global.get(&mut store);
                    let handle = internal(&mut store, read)?;
                    world.check(&mut store, handle, value)?;
                    world.push(handle, value);
                }
            }
            Op::GlobalSet { global, from } => {
                if let Some(i) = pick(&world.globals, global) {
                    let (handle, new) = world.handle(from);
                    let known = &mut world.globals[i];
                    let handle = value(&mut store, handle, known.external)?;
                    known.global.set(&mut store, handle)?;
                    known.value = new;
                }
            }
            Op::NewTable { .. }
            | Op::TableGet { .. }
            | Op::TableSet { .. }
            | Op::TableGrow { .. }
            | Op::TableFill { .. }
            | Op::TableCopy { .. } => return table_call(world, store, op),
            Op::Gc => {
                store.gc(None)?;
                let live = store.as_context().gc_stats().live_objects;
                world.check_alive(live)?;
                if world.some_finalizable() {
                    let next = store.next_finalizable().context("no dead object is found")?;
                    world.finalized(store, next.0, next.1)?;
                }
            }
            Op::Kept => {
                let Some(instance) = world.instance else { return Ok(()) };
                let kept = instance.get_global(&mut store, "kept").context("a global")?;
                let Val::AnyRef(handle) = kept.get(&mut store) else { bail!("another type") };
                let value = world.kept;
                world.check(&mut store, handle, value)?;
                world.push(handle, value);
            }
            Op::Func { from } => {
                if world.others.len() < MOST {
                    let (handle, value) = world.handle(from);
                    let token = ledger.issue();
                    let number = token.number();
                    world.others.push(number);
                    let func = Func::wrap(&mut store, move |a: Option<Rooted<AnyRef>>| {
                        (token.number() as i32, a)
                    });
                    let func = func
                        .typed::<Option<Rooted<AnyRef>>, (i32, Option<Rooted<AnyRef>>)>(&store)?;
                    let (result, same) = func.call(&mut store, handle)?;
                    ensure!(result as u32 == number, "{result} instead of {number}");
                    world.check(&mut store, same, value)?;
                    world.push(same, value);
                }
            }
            Op::Stale { handle, how } => return self.stale(slot, store, handle, how),
            Op::Foreign { slot: other, handle, how } => {
                return self.foreign(slot, store, usize::from(other), handle, how);
            }
            Op::Wrong { what, index, from } => return self.wrong(slot, store, what, index, from),
            Op::Burn { fuel } => return self.burn(slot, store, fuel.into()),
            Op::MemoryGrow { .. } | Op::MemoryWrite { .. } | Op::MemoryRead { .. } => {
                return memory_call(world, store, op);
            }
            // Those that nest too deeply.
            Op::New { .. }
            | Op::Drop { .. }
            | Op::Enter { .. }
            | Op::Interrupt { .. }
            | Op::Scope
            | Op::End
            | Op::Call { .. } => {}
        }
        Ok(())
    }

    /// Calls a function that calls the host.
    pub(super) fn call(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
        from: u8,
        external: u8,
        end: u8,
    ) -> Result<()> {
        let (instance, _) = self.instance(slot, store.as_context_mut())?;
        let run = instance.get_func(&mut store, "run").context("a function")?;
        let world = self.world(slot);
        let (a, e) = (world.handle(from), world.handle(external));
        let trap = end % 8 == 1;
        let arguments =
            [Val::AnyRef(a.0), value(&mut store, e.0, true)?, Val::I32(i32::from(trap))];
        world.running.extend([a.1, e.1]);
        store.data_mut().host = Some(std::mem::take(self));
        let mut results = [Val::null_any_ref(), Val::null_extern_ref()];
        let result = run.call(&mut store, &arguments, &mut results);
        *self = store.data_mut().host.take().context("the host is back")?;
        let world = self.world(slot);
        world.running.truncate(world.running.len() - 2);
        match result {
            Ok(()) => {
                ensure!(!trap, "no trap");
                let (first, second) = (internal(&mut store, results[0])?, results[1]);
                let second = internal(&mut store, second)?;
                // What the host returned to the function was noted when it returned.
                world.kept = world.running_result.take().context("the host was called")?;
                world.check(&mut store, first, a.1)?;
                world.push(first, a.1);
                world.check(&mut store, second, e.1)?;
                world.push(second, e.1);
                Ok(())
            }
            Err(error) => {
                let expected = trap && world.running_result.take().is_some();
                match error.downcast_ref::<Trap>() {
                    Some(Trap::UnreachableCodeReached) if expected => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }

    /// The host is called with these arguments.
    pub(super) fn called(
        &mut self,
        mut store: StoreContextMut<'_, Data>,
        a: Option<Rooted<AnyRef>>,
        e: Option<Rooted<ExternRef>>,
    ) -> Result<Option<Rooted<AnyRef>>> {
        let slot = store.data().slot;
        let world = self.world(slot);
        let [.., first, second] = world.running[..] else { bail!("no call runs") };
        world.scopes.push(Vec::new());
        world.check(&mut store, a, first)?;
        world.push(a, first);
        let e = e.map(|e| AnyRef::convert_extern(&store, e)).transpose()?;
        world.check(&mut store, e, second)?;
        world.push(e, second);
        self.calls(slot, store)?;
        let world = self.world(slot);
        let (handle, value) = world.handle(0);
        world.running_result = Some(value);
        world.end_scope();
        Ok(handle)
    }

    /// Runs a loop that may need more fuel than this.
    fn burn(&mut self, slot: usize, mut store: StoreContextMut<'_, Data>, fuel: u64) -> Result<()> {
        let (instance, limited) = self.instance(slot, store.as_context_mut())?;
        let burn = instance.get_typed_func::<(), i32>(&mut store, "burn")?;
        if limited {
            store.set_fuel(fuel * 8)?;
        }
        match burn.call(&mut store, ()) {
            Ok(n) => {
                ensure!(n == 100, "a loop of {n} turns");
                if limited {
                    let left = store.get_fuel()?;
                    ensure!(fuel * 8 >= left + 100, "{left} of {} units are left", fuel * 8);
                }
            }
            Err(error) => {
                let trap = error.downcast_ref::<Trap>().copied();
                let expected = limited && fuel * 8 < 2000 && trap == Some(Trap::OutOfFuel);
                return if expected { self.refuel(store) } else { Err(error) };
            }
        }
        if limited { self.refuel(store) } else { Ok(()) }
    }

    /// Gives the functions that run enough fuel to end.
    fn refuel(&self, mut store: StoreContextMut<'_, Data>) -> Result<()> {
        store.set_fuel(1_000_000)
    }
}

/// The error of an index behind the last element or field.
fn outside(is_array: bool) -> &'static str {
    if is_array { "out of bounds array access" } else { "there is no field " }
}

/// Reads a field or an element.
fn get(
    world: &mut World,
    mut store: StoreContextMut<'_, Data>,
    (handle, value): Handle,
    index: u8,
) -> Result<()> {
    let (Some(handle), Value::Object(n)) = (handle, value) else { return Ok(()) };
    let Object { is_array, refs } = &world.objects[n];
    let index = usize::from(index % 20);
    let read = match is_array {
        true => handle.unwrap_array(&store)?.get(&mut store, index as u32),
        // The first field is the number.
        false => handle.unwrap_struct(&store)?.field(&mut store, index + 1),
    };
    let Some(read) = ended(read, index < refs.len(), outside(*is_array))? else { return Ok(()) };
    let value = refs[index];
    let read = internal(&mut store, read)?;
    world.check(&mut store, read, value)?;
    world.push(read, value);
    Ok(())
}

/// Overwrites a field or an element.
fn set(
    world: &mut World,
    mut store: StoreContextMut<'_, Data>,
    (handle, value): Handle,
    index: u8,
    (from, new): Handle,
) -> Result<()> {
    let (Some(handle), Value::Object(n)) = (handle, value) else { return Ok(()) };
    let Object { is_array, refs } = &mut world.objects[n];
    let index = usize::from(index % 20);
    let from = self::value(&mut store, from, !*is_array && index == 0)?;
    let set = match is_array {
        true => handle.unwrap_array(&store)?.set(&mut store, index as u32, from),
        false => handle.unwrap_struct(&store)?.set_field(&mut store, index + 1, from),
    };
    if ended(set, index < refs.len(), outside(*is_array))?.is_some() {
        refs[index] = new;
    }
    Ok(())
}

fn table_call(world: &mut World, mut store: StoreContextMut<'_, Data>, op: Op) -> Result<()> {
    let known = |world: &World, table| pick(&world.tables, table);
    match op {
        Op::NewTable { len, from, external } if world.tables.len() < MOST => {
            let (external, len) = (external % 2 == 1, u32::from(len % 40));
            let (handle, value) = world.handle(from);
            let ty = if external { RefType::EXTERNREF } else { RefType::ANYREF };
            let init = element(&mut store, handle, external)?;
            let new = Table::new(&mut store, TableType::new(ty, len, Some(100)), init);
            if let Some(table) = ended(new, len as usize <= TABLE_LIMIT, "exceeds table limits")? {
                let elements = vec![value; len as usize];
                world.tables.push(KnownTable { table, elements, external });
            }
        }
        Op::TableGet { table, index } => {
            let Some(i) = known(world, table) else { return Ok(()) };
            let (table, index) = (&world.tables[i], index % 40);
            ensure!(table.table.size(&store) == table.elements.len() as u64, "another size");
            let (read, expected) = (
                table.table.get(&mut store, index.into()),
                table.elements.get(usize::from(index)).copied(),
            );
            ensure!(read.is_some() == expected.is_some(), "{read:?} instead of {expected:?}");
            let (Some(read), Some(expected)) = (read, expected) else { return Ok(()) };
            let handle = internal(&mut store, read.into())?;
            world.check(&mut store, handle, expected)?;
            world.push(handle, expected);
        }
        Op::TableSet { table, index, from } => {
            let Some(i) = known(world, table) else { return Ok(()) };
            let (handle, value) = world.handle(from);
            let (table, index) = (&mut world.tables[i], index % 40);
            let handle = element(&mut store, handle, table.external)?;
            let place = table.elements.get_mut(usize::from(index));
            let result = table.table.set(&mut store, index.into(), handle);
            if ended(result, place.is_some(), Trap::TableOutOfBounds)?.is_some()
                && let Some(place) = place
            {
                *place = value;
            }
        }
        Op::TableGrow { table, delta, from } => {
            let Some(i) = known(world, table) else { return Ok(()) };
            let (handle, value) = world.handle(from);
            let (table, delta) = (&mut world.tables[i], usize::from(delta % 16));
            let handle = element(&mut store, handle, table.external)?;
            let (old, new) = (table.elements.len(), table.elements.len() + delta);
            let result = table.table.grow(&mut store, delta as u64, handle);
            if let Some(before) = ended(result, new <= TABLE_LIMIT, "failed to grow table by")? {
                ensure!(before == old as u64, "{before} elements instead of {old}");
                table.elements.resize(new, value);
            }
        }
        Op::TableFill { table, at, len, from } => {
            let Some(i) = known(world, table) else { return Ok(()) };
            let (handle, value) = world.handle(from);
            let (table, at, len) = (&mut world.tables[i], at % 20, len % 20);
            let handle = element(&mut store, handle, table.external)?;
            let places = table.elements.get_mut(usize::from(at)..usize::from(at + len));
            let result = table.table.fill(&mut store, at.into(), handle, len.into());
            if ended(result, places.is_some(), Trap::TableOutOfBounds)?.is_some()
                && let Some(places) = places
            {
                places.fill(value);
            }
        }
        Op::TableCopy { to, from, at, start, len } => {
            let (Some(to), Some(from)) = (known(world, to), known(world, from)) else {
                return Ok(());
            };
            let (at, start, len) = (at % 20, start % 20, len % 20);
            let (first, second) = (&world.tables[to], &world.tables[from]);
            let end = usize::from(start + len);
            let values = second.elements.get(usize::from(start)..end).map(<[Value]>::to_vec);
            let possible = values.is_some() && usize::from(at + len) <= first.elements.len();
            let same = first.external == second.external;
            let (first, second) = (first.table, second.table);
            let result =
                Table::copy(&mut store, &first, at.into(), &second, start.into(), len.into());
            if !same {
                failed(result, "source table's element type does not match")?;
            } else if ended(result, possible, Trap::TableOutOfBounds)?.is_some()
                && let Some(values) = values
            {
                let places = &mut world.tables[to].elements;
                places[usize::from(at)..usize::from(at + len)].copy_from_slice(&values);
            }
        }
        _ => {}
    }
    Ok(())
}
