//! Globals, tables and objects that get a value of another type, or are used outside of their ends. Each such
//! call fails with the error that names what is wrong, and changes nothing.

use super::mistakes::failed;
use super::wrong::{Given, MISMATCH, another, another_element};
use super::{Cx, Handled, Rust, value};
use crate::api::host::TABLE_LIMIT;
use crate::api::world::{World, pick};
use crate::refs::internal;
use crate::value::Referent;
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{
    ArrayRef, Global, GlobalType, HeapType, Mutability, Ref, RefType, StructRef, Table, TableType,
    Trap, Val, ValType,
};

/// Checks that there is no such element of a table.
fn is_outside<T>(result: Result<T>) -> Result<()> {
    match result {
        Err(error) if error.downcast_ref() == Some(&Trap::TableOutOfBounds) => Ok(()),
        Err(error) => Err(error.context("another error")),
        Ok(_) => bail!("there is an element behind the last one"),
    }
}

/// Makes a global of a value of another type, or sets one to it, or sets one that is not mutable.
pub(super) fn global(
    world: &mut World<Rust>,
    cx: &mut Cx<'_>,
    index: u8,
    (handle, _): Given,
) -> Result<()> {
    let external = index.is_multiple_of(2);
    let ty = if external { ValType::EXTERNREF } else { ValType::ANYREF };
    match index / 2 % 4 {
        0 => {
            let ty = GlobalType::new(ty, Mutability::Const);
            let null = value(&mut *cx, None, external)?;
            let global = Global::new(&mut *cx, ty, null)?;
            let new = value(&mut *cx, handle, external)?;
            failed(global.set(&mut *cx, new), "immutable global cannot be set")?;
            let read = global.get(&mut *cx);
            ensure!(internal(&mut *cx, read)?.is_none(), "an immutable global changed");
        }
        1 => {
            let ty = GlobalType::new(ty, Mutability::Var);
            let new = another(cx, index / 8, handle, external)?;
            let made = Global::new(&mut *cx, ty, new);
            failed(made, "initial value provided does not match the type of this global")?;
        }
        2 => {
            let ty = GlobalType::new(ValType::I32, Mutability::Const);
            let global = Global::new(&mut *cx, ty, Val::I32(i32::from(index)))?;
            failed(global.set(&mut *cx, Val::I32(-1)), "immutable global cannot be set")?;
            let read = global.get(&mut *cx).i32();
            ensure!(read == Some(i32::from(index)), "an immutable global is {read:?}");
        }
        _ => {
            let Some(i) = pick(&world.globals, index / 8) else { return Ok(()) };
            let known = &world.globals[i];
            let new = another(cx, index / 8, handle, known.external)?;
            let set = known.global.set(&mut *cx, new);
            failed(set, "attempt to set global to value of wrong type")?;
            let read = known.global.get(&mut *cx);
            let read = internal(&mut *cx, read)?;
            world.check(cx, read.as_ref(), known.value)?;
        }
    }
    Ok(())
}

/// Gives a table an element of another type.
pub(super) fn table(
    world: &mut World<Rust>,
    cx: &mut Cx<'_>,
    index: u8,
    (handle, _): Given,
) -> Result<()> {
    let (how, number) = (index % 8, index / 8);
    let why = "value does not match table element type";
    let Some(i) = pick(&world.tables, number).filter(|_| how < 5) else {
        let external = how.is_multiple_of(2);
        let ty = if external { RefType::EXTERNREF } else { RefType::ANYREF };
        if how == 7 {
            // There can be no table of this type.
            let ty = TableType::new(RefType::ANYREF, 5, Some(u32::from(number % 5)));
            let made = Table::new(&mut *cx, ty, Ref::null(&HeapType::Any));
            return failed(made, "exceeds table limits");
        }
        let new = another_element(cx, number, handle, external)?;
        return failed(Table::new(&mut *cx, TableType::new(ty, 1, None), new), why);
    };
    let known = &world.tables[i];
    let new = another_element(cx, number, handle, known.external)?;
    let len = known.elements.len();
    match how {
        0 => failed(known.table.set(&mut *cx, 0, new), why)?,
        1 => failed(known.table.fill(&mut *cx, 0, new, len as u64), why)?,
        2 => failed(known.table.grow(&mut *cx, 1, new), why)?,
        3 => {
            let far = u64::MAX - u64::from(number % 4);
            let null = if known.external { HeapType::Extern } else { HeapType::Any };
            let filled = known.table.fill(&mut *cx, far, Ref::null(&null), 2);
            is_outside(filled)?;
            let set = known.table.set(&mut *cx, len as u64, Ref::null(&null));
            is_outside(set)?;
            let grown = known.table.grow(&mut *cx, far, Ref::null(&null));
            failed(grown, "failed to grow table by")?;
        }
        _ => {
            // Of functions.
            let ty = TableType::new(RefType::FUNCREF, 1, Some(TABLE_LIMIT as u32));
            let other = Table::new(&mut *cx, ty, Ref::Func(None))?;
            let why = "source table's element type does not match";
            failed(Table::copy(&mut *cx, &other, 0, &known.table, 0, 0), why)?;
            failed(Table::copy(&mut *cx, &known.table, 0, &other, 0, 1), why)?;
        }
    }
    let known = &world.tables[i];
    ensure!(known.table.size(&*cx) == len as u64, "a call that failed changed a table's size");
    if let Some(expected) = known.elements.first() {
        let read = known.table.get(&mut *cx, 0).context("it has an element")?;
        let read = internal(&mut *cx, read.into())?;
        world.check(cx, read.as_ref(), *expected)?;
    }
    Ok(())
}

/// Writes to a field or an element that is not there or not mutable, or a value of another type.
pub(super) fn object(
    world: &mut World<Rust>,
    cx: &mut Cx<'_>,
    index: u8,
    (handle, known): Given,
) -> Result<()> {
    let (Some(handle), Referent::Object(n)) = (handle, known) else { return Ok(()) };
    let refs = &world.objects[n].refs;
    let (place, read) = match world.objects[n].is_array {
        true => (0, array(cx, handle, refs.len(), index)?),
        false => {
            let field = usize::from(index / 4 % 2);
            (field, Some(structure(cx, handle, field, index)?))
        }
    };
    if let Some(read) = read {
        let read = internal(&mut *cx, read)?;
        world.check(cx, read.as_ref(), refs[place])?;
    }
    // The first field of a struct is the object's number.
    world.check(cx, Some(&handle), known)
}

/// Makes a mistake with an array. Returns its first element.
fn array(cx: &mut Cx<'_>, handle: Handled, len: usize, index: u8) -> Result<Option<Val>> {
    let number = index / 4;
    let array = handle.unwrap_array(&*cx)?;
    let far = [len as u32, u32::MAX, u32::MAX - 1, 1 << 31][usize::from(number % 4)];
    match index % 4 {
        0 => failed(array.get(&mut *cx, far), "out of bounds array access")?,
        1 => {
            let set = array.set(&mut *cx, far, Val::AnyRef(Some(handle)));
            failed(set, "out of bounds array access")?;
        }
        2 => {
            let mut bytes = [0; 4];
            let read = array.read_bytes(&*cx, 0, &mut bytes);
            failed(read, "the elements of the array are references")?;
            let written = array.write_bytes(&mut *cx, 0, &bytes);
            failed(written, "the elements of the array are references")?;
        }
        _ => {
            let new = another(cx, number, Some(handle), false)?;
            let set = array.set(&mut *cx, 0, new);
            failed(set, &format!("element 0: {MISMATCH}"))?;
        }
    }
    if len == 0 { Ok(None) } else { array.get(cx, 0).map(Some) }
}

/// Makes a mistake with a struct. Returns one of its references.
fn structure(cx: &mut Cx<'_>, handle: Handled, field: usize, index: u8) -> Result<Val> {
    let number = index / 4;
    let object = handle.unwrap_struct(&*cx)?;
    let far = [3, usize::MAX, 1 << 32][usize::from(number % 3)];
    match index % 4 {
        0 => failed(object.field(&mut *cx, far), "there is no field ")?,
        1 => {
            let set = object.set_field(&mut *cx, far, Val::AnyRef(Some(handle)));
            failed(set, "there is no field ")?;
        }
        2 => {
            let set = object.set_field(&mut *cx, 0, Val::I32(-1));
            failed(set, "field 0 is not mutable")?;
        }
        _ => {
            let new = another(cx, number, Some(handle), field == 0)?;
            let set = object.set_field(&mut *cx, field + 1, new);
            failed(set, &format!("field {}: {MISMATCH}", field + 1))?;
        }
    }
    object.field(cx, field + 1)
}

/// Makes an object of too few or too many values, or of one of another type.
pub(super) fn new_object(
    world: &mut World<Rust>,
    cx: &mut Cx<'_>,
    index: u8,
    (handle, _): Given,
) -> Result<()> {
    let external = value(&mut *cx, handle, true)?;
    let mut fields = vec![Val::I32(-1), external, Val::AnyRef(handle)];
    let (number, place) = (index / 4, usize::from(index / 4 % 3));
    let why = match index % 4 {
        0 => {
            fields.truncate(place);
            format!("expected 3 fields, got {place}")
        }
        1 => {
            fields.push(Val::I32(0));
            "expected 3 fields, got 4".to_string()
        }
        2 => {
            fields[place] = match place {
                0 => another(cx, number / 3 % 7 + 1, handle, false)?,
                _ => another(cx, number / 3, handle, place == 1)?,
            };
            format!("field {place}: {MISMATCH}")
        }
        _ => {
            let element = another(cx, number, handle, false)?;
            let made = ArrayRef::new(&mut *cx, &world.own.array_pre, &element, u32::MAX);
            failed(made, &format!("element 0: {MISMATCH}"))?;
            let elements = [Val::AnyRef(handle), element];
            let made = ArrayRef::new_fixed(&mut *cx, &world.own.array_pre, &elements);
            return failed(made, &format!("element 1: {MISMATCH}"));
        }
    };
    failed(StructRef::new(&mut *cx, &world.own.struct_pre, &fields), &why)
}

/// Gives a global or a table of a more precise type a value that may be of that type.
pub(super) fn typed_place(
    world: &mut World<Rust>,
    cx: &mut Cx<'_>,
    index: u8,
    (handle, value): Given,
) -> Result<()> {
    let is = |array: bool| match value {
        Referent::Object(n) => world.objects[n].is_array == array,
        _ => false,
    };
    let (i31, host) = (matches!(value, Referent::I31(_)), matches!(value, Referent::Host(_)));
    let (ty, fits) = match index % 8 {
        0 => (HeapType::Any, true),
        1 => (HeapType::Eq, !host),
        2 => (HeapType::I31, i31),
        3 => (HeapType::Struct, is(false)),
        4 => (HeapType::Array, is(true)),
        5 => (HeapType::None, false),
        6 => (HeapType::ConcreteStruct(world.own.struct_type.clone()), is(false)),
        _ => (HeapType::ConcreteArray(world.own.array_type.clone()), is(true)),
    };
    let nullable = index & 8 == 0;
    let fits = if value == Referent::Null { nullable } else { fits };
    let ty = RefType::new(nullable, ty);
    let matches = Val::AnyRef(handle).matches_ty(&*cx, &ValType::Ref(ty.clone()))?;
    ensure!(matches == fits, "{value:?} is of the type {ty}: {matches}");
    if let Some(handle) = handle {
        let matches = handle.matches_ty(&*cx, ty.heap_type())?;
        ensure!(matches == fits, "{value:?} is of the type {}: {matches}", ty.heap_type());
    }
    if fits && !nullable {
        // It would be reachable from now on.
        return Ok(());
    }
    let null = Val::null_any_ref();
    if index & 16 == 0 {
        let ty = GlobalType::new(ValType::Ref(ty), Mutability::Var);
        match Global::new(&mut *cx, ty, Val::AnyRef(handle)) {
            Ok(global) if fits => global.set(&mut *cx, null),
            made => failed(made, "does not match the type of this global"),
        }
    } else {
        let null = null.ref_().context("a reference")?;
        match Table::new(&mut *cx, TableType::new(ty, 2, Some(3)), Ref::Any(handle)) {
            Ok(table) if fits => table.fill(&mut *cx, 0, null, 2),
            made => failed(made, "value does not match table element type"),
        }
    }
}
