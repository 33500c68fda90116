//! Calls with arguments that do not fit: values of another type, places that cannot be overwritten,
//! too many or too few of them, indices behind the end, imports of another type. Each ends with the
//! error that names what is wrong, and changes nothing.

use super::calls::{ended, failed, pick, value};
use super::host::{Data, Host, TABLE_LIMIT};
use super::world::{Handle, Value, World};
use crate::refs::internal;
use anyhow::{Context as _, Result, ensure};
use gc_wasm::{
    AnyRef, ArrayRef, AsContextMut, Caller, Extern, Func, FuncType, Global, GlobalType, HeapType,
    Instance, Linker, Mutability, Ref, RefType, Rooted, StoreContextMut, StructRef, Table,
    TableType, Trap, UnknownImportError, Val, ValType,
};

/// A value that is not of the type of a place that is external, or of one that is internal. It is an
/// `i32` only for multiples of 8.
fn another(
    store: &mut StoreContextMut<'_, Data>,
    number: u8,
    handle: Option<Rooted<AnyRef>>,
    external: bool,
) -> Result<Val> {
    Ok(match number % 8 {
        0 => Val::I32(0),
        1 => Val::I64(-1),
        2 => Val::F32(0),
        3 => Val::V128(1.into()),
        4 => Val::FuncRef(None),
        5 => Val::ExnRef(None),
        _ => value(store, handle, !external)?,
    })
}

/// A reference that can be in no table of this kind.
fn another_element(
    store: &mut StoreContextMut<'_, Data>,
    number: u8,
    handle: Option<Rooted<AnyRef>>,
    external: bool,
) -> Result<Ref> {
    let other = another(store, number % 4 + 4, handle, external)?;
    other.ref_().context("a reference")
}

/// The texts of the errors of a module of another engine.
const OTHER_ENGINE: [&str; 2] = ["belong to different engines", "code does not fit the store"];

/// The text of the error of a value of a wrong type.
const MISMATCH: &str = "type mismatch: expected ";

impl Host {
    /// Makes a call whose arguments do not fit.
    pub(super) fn wrong(
        &mut self,
        slot: usize,
        store: StoreContextMut<'_, Data>,
        what: u8,
        index: u8,
        from: u8,
    ) -> Result<()> {
        let world = self.world(slot);
        let from = world.handle(from);
        match what % 9 {
            0 => global(world, store, index, from),
            1 => table(world, store, index, from),
            2 => object(world, store, index, from),
            3 => new_object(world, store, index, from),
            4 => typed_place(world, store, index, from),
            5 => self.wrong_call(slot, store, index, from),
            6 => self.wrong_imports(slot, store, index),
            7 => self.wrong_linker(slot, store, index),
            _ => self.wrong_names(slot, store, index),
        }
    }

    /// Calls a function with arguments of another number or type. The host is not called.
    fn wrong_call(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
        index: u8,
        (handle, _): Handle,
    ) -> Result<()> {
        let (instance, limited) = self.instance(slot, store.as_context_mut())?;
        let run = instance.get_func(&mut store, "run").context("a function")?;
        let external = value(&mut store, handle, true)?;
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
            3 if !limited => return failed(store.set_fuel(1), "fuel is not configured"),
            4 => return wrong_results(store, handle, place),
            _ => {
                arguments[place] = match place {
                    2 => another(&mut store, index / 24 % 7 + 1, handle, false)?,
                    _ => another(&mut store, index / 24, handle, place == 1)?,
                };
                format!("argument type mismatch: argument {place}: {MISMATCH}")
            }
        };
        // The host is not there: it would be an error if the function called it.
        failed(run.call(&mut store, &arguments, &mut results), &why)
    }

    /// Instantiates the module with imports that do not fit.
    fn wrong_imports(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
        index: u8,
    ) -> Result<()> {
        self.instance(slot, store.as_context_mut())?;
        let foreign = self.other(slot, usize::from(index / 8));
        let foreign = foreign.and_then(|world| world.globals.first().map(|known| known.global));
        let own = self.world(slot).globals.first().map(|known| known.global);
        let prepared = self.prepared(store.engine())?;
        let module = prepared.module.clone().context("it was instantiated")?;
        let incompatible = "incompatible import type for `::host`: expected ";
        let (imports, why): (Vec<Extern>, _) = match index % 8 {
            0 => (Vec::new(), "expected 1 imports, found 0"),
            1 => {
                let func = Func::wrap(&mut store, || {});
                (vec![func.into(), func.into()], "expected 1 imports, found 2")
            }
            2 => (vec![Func::wrap(&mut store, || {}).into()], incompatible),
            3 => {
                let result = |_: Option<Rooted<AnyRef>>| None::<Rooted<AnyRef>>;
                (vec![Func::wrap(&mut store, result).into()], incompatible)
            }
            4 => match own {
                Some(global) => (vec![global.into()], incompatible),
                None => return Ok(()),
            },
            5 => match foreign {
                Some(global) => (vec![global.into()], "cross-`Store` instantiation"),
                None => return Ok(()),
            },
            6 => {
                let ty = TableType::new(RefType::ANYREF, 0, Some(1));
                let null = Ref::null(&HeapType::Any);
                (vec![Table::new(&mut store, ty, null)?.into()], incompatible)
            }
            _ => {
                let engine = store.engine().clone();
                let Some(other) = self.another_module(&engine) else { return Ok(()) };
                let made = Instance::new(&mut store, &other, &[]);
                return ended(made, false, OTHER_ENGINE).map(drop);
            }
        };
        failed(Instance::new(&mut store, &module, &imports), why)
    }

    /// Defines names of a linker twice, or as what does not fit.
    fn wrong_linker(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
        index: u8,
    ) -> Result<()> {
        self.instance(slot, store.as_context_mut())?;
        let known = self.world(slot).globals.first().map(|known| known.global);
        let engine = store.engine().clone();
        let module = self.prepared(&engine)?.module.clone().context("it was instantiated")?;
        let mut linker = Linker::<Data>::new(&engine);
        match index % 6 {
            0 => {
                let error = linker.instantiate(&mut store, &module).err();
                let error = error.context("an import is not defined")?;
                let unknown: &UnknownImportError = error.downcast_ref().context("another error")?;
                ensure!((unknown.module(), unknown.name()) == ("", "host"), "{unknown}");
            }
            1 => {
                linker.func_wrap("", "host", || {})?;
                failed(linker.func_wrap("", "host", || 1), "import of `::host` defined twice")?;
                let made = linker.instantiate(&mut store, &module);
                failed(made, "incompatible import type for `::host`: expected ")?;
            }
            2 => {
                let missing = linker.get(&mut store, "", "host");
                failed(missing, "missing definition for `::host`")?;
                failed(linker.alias("", "host", "", "other"), "no item named `::host` defined")?;
            }
            3 => {
                linker.func_wrap("", "host", |_: Caller<'_, Data>, _: i32| {})?;
                let pre = linker.instantiate_pre(&module);
                failed(pre, "incompatible import type for `::host`: expected ")?;
            }
            4 => {
                if let Some(global) = known {
                    linker.define(&store, "", "host", global)?;
                    let made = linker.instantiate(&mut store, &module);
                    failed(made, "incompatible import type for `::host`: expected ")?;
                }
            }
            _ => {
                let Some(other) = self.another_module(&engine) else { return Ok(()) };
                linker.func_wrap("", "host", super::host::called)?;
                let made = linker.instantiate(&mut store, &other);
                ended(made, false, OTHER_ENGINE)?;
            }
        }
        Ok(())
    }

    /// Looks for exports by wrong names and types.
    fn wrong_names(
        &mut self,
        slot: usize,
        mut store: StoreContextMut<'_, Data>,
        index: u8,
    ) -> Result<()> {
        let (instance, _) = self.instance(slot, store.as_context_mut())?;
        match index % 6 {
            0 => ensure!(instance.get_func(&mut store, "kept").is_none(), "a global is a function"),
            1 => {
                ensure!(instance.get_global(&mut store, "run").is_none(), "a function is a global")
            }
            2 => {
                let func = instance.get_typed_func::<(), ()>(&mut store, "running");
                failed(func, "failed to find function export `running`")?;
            }
            3 => {
                let func = instance.get_typed_func::<(), ()>(&mut store, "burn");
                failed(func, "type mismatch with results: expected 0 types, found 1")?;
            }
            4 => {
                let func = instance.get_typed_func::<i32, i32>(&mut store, "burn");
                failed(func, "type mismatch with parameters: expected 1 types, found 0")?;
            }
            _ => {
                let func = instance.get_typed_func::<(), i64>(&mut store, "burn");
                failed(func, "type mismatch with results: result 0: type mismatch: expected i64")?;
            }
        }
        Ok(())
    }
}

/// Calls a function of the host that sets its result to a value of another type, or forgets it.
fn wrong_results(
    mut store: StoreContextMut<'_, Data>,
    handle: Option<Rooted<AnyRef>>,
    how: usize,
) -> Result<()> {
    let ty = FuncType::new(store.engine(), [ValType::ANYREF], [ValType::EXTERNREF]);
    let func = Func::new(&mut store, ty, move |_, arguments, results| {
        match how {
            0 => results[0] = arguments[0],
            1 => results[0] = Val::I32(1),
            _ => {}
        }
        Ok(())
    });
    let mut results = [Val::null_extern_ref()];
    let called = func.call(&mut store, &[Val::AnyRef(handle)], &mut results);
    failed(called, "type mismatch: expected externref, found ")
}

/// Makes a global of a value of another type, or sets one to it, or sets one that is not mutable.
fn global(
    world: &mut World,
    mut store: StoreContextMut<'_, Data>,
    index: u8,
    (handle, _): Handle,
) -> Result<()> {
    let external = index.is_multiple_of(2);
    let ty = if external { ValType::EXTERNREF } else { ValType::ANYREF };
    match index / 2 % 4 {
        0 => {
            let ty = GlobalType::new(ty, Mutability::Const);
            let null = value(&mut store, None, external)?;
            let global = Global::new(&mut store, ty, null)?;
            let new = value(&mut store, handle, external)?;
            failed(global.set(&mut store, new), "immutable global cannot be set")?;
            let read = global.get(&mut store);
            ensure!(internal(&mut store, read)?.is_none(), "an immutable global changed");
        }
        1 => {
            let ty = GlobalType::new(ty, Mutability::Var);
            let new = another(&mut store, index / 8, handle, external)?;
            let made = Global::new(&mut store, ty, new);
            failed(made, "initial value provided does not match the type of this global")?;
        }
        2 => {
            let ty = GlobalType::new(ValType::I32, Mutability::Const);
            let global = Global::new(&mut store, ty, Val::I32(i32::from(index)))?;
            failed(global.set(&mut store, Val::I32(-1)), "immutable global cannot be set")?;
            let read = global.get(&mut store).i32();
            ensure!(read == Some(i32::from(index)), "an immutable global is {read:?}");
        }
        _ => {
            let Some(i) = pick(&world.globals, index / 8) else { return Ok(()) };
            let known = &world.globals[i];
            let new = another(&mut store, index / 8, handle, known.external)?;
            let set = known.global.set(&mut store, new);
            failed(set, "attempt to set global to value of wrong type")?;
            let read = known.global.get(&mut store);
            let read = internal(&mut store, read)?;
            world.check(&mut store, read, known.value)?;
        }
    }
    Ok(())
}

/// Gives a table an element of another type.
fn table(
    world: &mut World,
    mut store: StoreContextMut<'_, Data>,
    index: u8,
    (handle, _): Handle,
) -> Result<()> {
    let (how, number) = (index % 8, index / 8);
    let why = "value does not match table element type";
    let Some(i) = pick(&world.tables, number).filter(|_| how < 5) else {
        let external = how.is_multiple_of(2);
        let ty = if external { RefType::EXTERNREF } else { RefType::ANYREF };
        if how == 7 {
            // There can be no table of this type.
            let ty = TableType::new(RefType::ANYREF, 5, Some(u32::from(number % 5)));
            let made = Table::new(&mut store, ty, Ref::null(&HeapType::Any));
            return failed(made, "exceeds table limits");
        }
        let new = another_element(&mut store, number, handle, external)?;
        return failed(Table::new(&mut store, TableType::new(ty, 1, None), new), why);
    };
    let known = &world.tables[i];
    let new = another_element(&mut store, number, handle, known.external)?;
    let len = known.elements.len();
    match how {
        0 => failed(known.table.set(&mut store, 0, new), why)?,
        1 => failed(known.table.fill(&mut store, 0, new, len as u64), why)?,
        2 => failed(known.table.grow(&mut store, 1, new), why)?,
        3 => {
            let far = u64::MAX - u64::from(number % 4);
            let null = if known.external { HeapType::Extern } else { HeapType::Any };
            let filled = known.table.fill(&mut store, far, Ref::null(&null), 2);
            ended(filled, false, Trap::TableOutOfBounds)?;
            let set = known.table.set(&mut store, len as u64, Ref::null(&null));
            ended(set, false, Trap::TableOutOfBounds)?;
            let grown = known.table.grow(&mut store, far, Ref::null(&null));
            failed(grown, "failed to grow table by")?;
        }
        _ => {
            // Of functions.
            let ty = TableType::new(RefType::FUNCREF, 1, Some(TABLE_LIMIT as u32));
            let other = Table::new(&mut store, ty, Ref::Func(None))?;
            let why = "source table's element type does not match";
            failed(Table::copy(&mut store, &other, 0, &known.table, 0, 0), why)?;
            failed(Table::copy(&mut store, &known.table, 0, &other, 0, 1), why)?;
        }
    }
    let known = &world.tables[i];
    ensure!(known.table.size(&store) == len as u64, "a call that failed changed a table's size");
    if let Some(expected) = known.elements.first() {
        let read = known.table.get(&mut store, 0).context("it has an element")?;
        let read = internal(&mut store, read.into())?;
        world.check(&mut store, read, *expected)?;
    }
    Ok(())
}

/// Writes to a field or an element that is not there or not mutable, or a value of another type.
fn object(
    world: &mut World,
    mut store: StoreContextMut<'_, Data>,
    index: u8,
    (handle, known): Handle,
) -> Result<()> {
    let (Some(handle), Value::Object(n)) = (handle, known) else { return Ok(()) };
    let number = index / 4;
    let len = world.objects[n].refs.len();
    if world.objects[n].is_array {
        let array = handle.unwrap_array(&store)?;
        let far = [len as u32, u32::MAX, u32::MAX - 1, 1 << 31][usize::from(number % 4)];
        match index % 4 {
            0 => failed(array.get(&mut store, far), "out of bounds array access")?,
            1 => {
                let set = array.set(&mut store, far, Val::AnyRef(Some(handle)));
                failed(set, "out of bounds array access")?;
            }
            2 => {
                let mut bytes = [0; 4];
                let read = array.read_bytes(&store, 0, &mut bytes);
                failed(read, "the elements of the array are references")?;
                let written = array.write_bytes(&mut store, 0, &bytes);
                failed(written, "the elements of the array are references")?;
            }
            _ => {
                let new = another(&mut store, number, Some(handle), false)?;
                let set = array.set(&mut store, 0, new);
                failed(set, &format!("element 0: {MISMATCH}"))?;
            }
        }
        if len != 0 {
            let read = array.get(&mut store, 0)?;
            let read = internal(&mut store, read)?;
            world.check(&mut store, read, world.objects[n].refs[0])?;
        }
        return Ok(());
    }
    let object = handle.unwrap_struct(&store)?;
    let field = usize::from(number % 2);
    let far = [3, usize::MAX, 1 << 32][usize::from(number % 3)];
    match index % 4 {
        0 => failed(object.field(&mut store, far), "there is no field ")?,
        1 => {
            let set = object.set_field(&mut store, far, Val::AnyRef(Some(handle)));
            failed(set, "there is no field ")?;
        }
        2 => {
            let set = object.set_field(&mut store, 0, Val::I32(-1));
            failed(set, "field 0 is not mutable")?;
        }
        _ => {
            let new = another(&mut store, number, Some(handle), field == 0)?;
            let set = object.set_field(&mut store, field + 1, new);
            failed(set, &format!("field {}: {MISMATCH}", field + 1))?;
        }
    }
    let read = object.field(&mut store, field + 1)?;
    let read = internal(&mut store, read)?;
    world.check(&mut store, read, world.objects[n].refs[field])?;
    // The first field is the object's number.
    world.check(&mut store, Some(handle), known)
}

/// Makes an object of too few or too many values, or of one of another type.
fn new_object(
    world: &mut World,
    mut store: StoreContextMut<'_, Data>,
    index: u8,
    (handle, _): Handle,
) -> Result<()> {
    let external = value(&mut store, handle, true)?;
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
                0 => another(&mut store, number / 3 % 7 + 1, handle, false)?,
                _ => another(&mut store, number / 3, handle, place == 1)?,
            };
            format!("field {place}: {MISMATCH}")
        }
        _ => {
            let element = another(&mut store, number, handle, false)?;
            let made = ArrayRef::new(&mut store, &world.array_pre, &element, u32::MAX);
            failed(made, &format!("element 0: {MISMATCH}"))?;
            let elements = [Val::AnyRef(handle), element];
            let made = ArrayRef::new_fixed(&mut store, &world.array_pre, &elements);
            return failed(made, &format!("element 1: {MISMATCH}"));
        }
    };
    failed(StructRef::new(&mut store, &world.struct_pre, &fields), &why)
}

/// Gives a global or a table of a more precise type a value that may be of that type.
fn typed_place(
    world: &mut World,
    mut store: StoreContextMut<'_, Data>,
    index: u8,
    (handle, value): Handle,
) -> Result<()> {
    let is = |array: bool| match value {
        Value::Object(n) => world.objects[n].is_array == array,
        _ => false,
    };
    let (i31, host) = (matches!(value, Value::I31(_)), matches!(value, Value::Host(_)));
    let (ty, fits) = match index % 8 {
        0 => (HeapType::Any, true),
        1 => (HeapType::Eq, !host),
        2 => (HeapType::I31, i31),
        3 => (HeapType::Struct, is(false)),
        4 => (HeapType::Array, is(true)),
        5 => (HeapType::None, false),
        6 => (HeapType::ConcreteStruct(world.struct_type.clone()), is(false)),
        _ => (HeapType::ConcreteArray(world.array_type.clone()), is(true)),
    };
    let nullable = index & 8 == 0;
    let fits = if value == Value::Null { nullable } else { fits };
    let ty = RefType::new(nullable, ty);
    let matches = Val::AnyRef(handle).matches_ty(&store, &ValType::Ref(ty.clone()))?;
    ensure!(matches == fits, "{value:?} is of the type {ty}: {matches}");
    if let Some(handle) = handle {
        let matches = handle.matches_ty(&store, ty.heap_type())?;
        ensure!(matches == fits, "{value:?} is of the type {}: {matches}", ty.heap_type());
    }
    if fits && !nullable {
        // It would be reachable from now on.
        return Ok(());
    }
    let null = Val::null_any_ref();
    if index & 16 == 0 {
        let ty = GlobalType::new(ValType::Ref(ty), Mutability::Var);
        match Global::new(&mut store, ty, Val::AnyRef(handle)) {
            Ok(global) if fits => global.set(&mut store, null),
            made => failed(made, "does not match the type of this global"),
        }
    } else {
        let null = null.ref_().context("a reference")?;
        match Table::new(&mut store, TableType::new(ty, 2, Some(3)), Ref::Any(handle)) {
            Ok(table) if fits => table.fill(&mut store, 0, null, 2),
            made => failed(made, "value does not match table element type"),
        }
    }
}
