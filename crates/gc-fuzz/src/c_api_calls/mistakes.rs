//! Calls that cannot succeed. Each says why, and changes nothing.

use super::c::{last_error, written};
use super::calls::{TABLE_LIMIT, invoke, pick, trap_message};
use super::host::{Export, Host};
use super::world::{Value, no_error};
use anyhow::{Context as _, Result, bail, ensure};
use reclaim::*;

/// Checks that a call has failed, for this reason.
fn failed(failed: bool, why: &str) -> Result<()> {
    ensure!(failed, "it succeeded, although: {why}");
    let error = last_error().context("no reason was given")?;
    ensure!(!error.contains("internal error"), "it panicked: {error}");
    ensure!(error.contains(why), "another reason than {why:?}: {error}");
    no_error()
}

/// The number of kinds of mistakes.
const KINDS: u8 = 22;

impl Host {
    /// A mistake with the store in use and a handle. `other` is another store, if there is one.
    pub(super) fn mistake(&mut self, slot: usize, what: u8, other: usize, from: u8) -> Result<()> {
        let engine = self.world(slot).engine;
        let mut another = self.worlds[other].take_if(|_| other != slot);
        let result = match &another {
            Some(world) => {
                let store = world.store().filter(|_| world.engine != engine);
                self.mistake_with(slot, what, from, world.handle(from).handle.clone(), store)
            }
            None => self.mistake_with(slot, what, from, None, None),
        };
        if another.is_some() {
            self.worlds[other] = another.take();
        }
        result
    }

    /// `foreign` is a handle of another store, and `foreign_store` a store of another engine.
    fn mistake_with(
        &mut self,
        slot: usize,
        what: u8,
        from: u8,
        foreign: Option<Box<wasm_ref_t>>,
        foreign_store: Option<&wasm_store_t>,
    ) -> Result<()> {
        let with_program = self.program(slot)?.is_some();
        let world = self.world(slot);
        let number = wasm_val_t::from(1);
        match what % KINDS {
            0 => {
                let Value::Object(n) = world.handle(from).value else { return Ok(()) };
                let handle = world.handle(from).handle.as_deref();
                let count = world.objects[n].refs.len();
                let (read, value) = match world.objects[n].is_array {
                    true => written(|out| reclaim_array_get(handle, count as u32, out)),
                    false => written(|out| reclaim_struct_get(handle, count + 1, out)),
                };
                ensure!(value.kind == 0, "a value of kind {}", value.kind);
                failed(!read, "")
            }
            1 => {
                let Value::Object(n) = world.handle(from).value else { return Ok(()) };
                let handle = world.handle(from).handle.as_deref();
                let set = match world.objects[n].is_array {
                    true if world.objects[n].refs.is_empty() => return Ok(()),
                    true => reclaim_array_set(handle, 0, Some(&number)),
                    false => reclaim_struct_set(handle, 1, Some(&number)),
                };
                failed(!set, "type mismatch")
            }
            2 => {
                let Value::Object(n) = world.handle(from).value else { return Ok(()) };
                let handle = world.handle(from).handle.as_deref();
                // The wrong kind of object.
                match world.objects[n].is_array {
                    true => {
                        let (read, _) = written(|out| reclaim_struct_get(handle, 0, out));
                        failed(!read, "no struct")
                    }
                    false => {
                        let (read, _) = written(|out| reclaim_array_length(handle, out));
                        failed(!read, "no array")
                    }
                }
            }
            3 => {
                let Some(handle) = foreign else { return Ok(()) };
                let value = wasm_val_t::of_ref(ValKind::AnyRef, Some(handle));
                let Some(i) = pick(&world.globals, from) else { return Ok(()) };
                wasm_global_set(Some(&world.globals[i].global), Some(&value));
                failed(true, "another store")
            }
            4 => {
                let Some(handle) = foreign else { return Ok(()) };
                let Some(i) = pick(&world.tables, from) else { return Ok(()) };
                let known = &world.tables[i];
                let set = wasm_table_set(Some(&known.table), 0, Some(&handle));
                failed(!set, "another store")?;
                let grown = wasm_table_grow(Some(&known.table), 0, Some(&handle));
                failed(!grown, "another store")
            }
            5 => {
                let Some(handle) = foreign else { return Ok(()) };
                if !with_program {
                    return Ok(());
                }
                let program = world.program.as_ref().context("a program")?;
                let value = wasm_val_t::of_ref(ValKind::AnyRef, Some(handle));
                let trap = invoke(&*program.func(Export::Throw)?, vec![value], 0).err();
                let message = trap_message(&*trap.context("no trap")?);
                ensure!(message.contains("another store"), "another trap: {message}");
                no_error()
            }
            6 => {
                if !with_program {
                    return Ok(());
                }
                let program = world.program.as_ref().context("a program")?;
                for (arguments, why) in [
                    (vec![], "expected 1 arguments, found 0"),
                    (vec![number.clone(); 2], "expected 1 arguments, found 2"),
                    (vec![number.clone()], "type mismatch"),
                ] {
                    let trap = invoke(&*program.func(Export::Throw)?, arguments, 0).err();
                    let message = trap_message(&*trap.context("no trap")?);
                    ensure!(message.contains(why), "another trap than {why:?}: {message}");
                }
                no_error()
            }
            7 => {
                if !with_program || world.store().is_none() {
                    return Ok(());
                }
                let program = world.program.as_ref().context("a program")?;
                let none = wasm_extern_vec_t::default();
                let mut swapped = program.imports.clone();
                swapped.swap(0, 1);
                for (imports, why) in [(none, "expected 2 imports"), (swapped.into(), "")] {
                    let store = world.store();
                    let (instance, trap) = written(|trap| {
                        wasm_instance_new(store, Some(&program.module), Some(&imports), trap)
                    });
                    let message = trap_message(&*trap.context("no trap")?);
                    failed(instance.is_none(), why)?;
                    ensure!(message.contains(why), "another trap than {why:?}: {message}");
                }
                Ok(())
            }
            8 => {
                let Some(store) = world.store() else { return Ok(()) };
                let bytes: wasm_byte_vec_t = vec![0, b'a', b's', b'm', from, 0, 0, from].into();
                let module = wasm_module_new(Some(store), Some(&bytes));
                failed(module.is_none(), "")?;
                failed(!wasm_module_validate(Some(store), Some(&bytes)), "")?;
                let module = wasm_module_deserialize(Some(store), Some(&bytes));
                failed(module.is_none(), "")
            }
            9 => {
                let (Some(store), true) = (foreign_store, with_program) else { return Ok(()) };
                let module = &world.program.as_ref().context("a program")?.module;
                let shared = wasm_module_share(Some(module));
                let obtained = wasm_module_obtain(Some(store), shared.as_deref());
                failed(obtained.is_none(), "another engine")?;
                let fields = wasm_val_vec_t::default();
                let made = reclaim_struct_new(Some(store), Some(&world.struct_type), Some(&fields));
                failed(made.is_none(), "another engine")?;
                let made =
                    reclaim_array_new(Some(store), Some(&world.array_type), Some(&number), 1);
                failed(made.is_none(), "another engine")?;
                let concrete = reclaim_valtype_new_concrete(Some(&world.struct_type), true);
                let ty = wasm_globaltype_new(concrete, 1);
                let null = wasm_val_t::of_ref(ValKind::AnyRef, None);
                let made = wasm_global_new(Some(store), ty.as_deref(), Some(&null));
                failed(made.is_none(), "another engine")
            }
            10 => {
                if !with_program {
                    return Ok(());
                }
                let constant =
                    world.program.as_ref().context("a program")?.global(Export::Constant)?;
                wasm_global_set(Some(constant), Some(&number));
                failed(true, "immutable")?;
                let ((), value) = written(|out| wasm_global_get(Some(constant), out));
                ensure!(value.i32() == Some(7), "a constant has changed");
                Ok(())
            }
            11 => {
                let ty = wasm_valtype_new(from);
                let known = from <= 4 || (128..=131).contains(&from);
                match known {
                    true => ensure!(ty.is_some(), "{from} is a kind"),
                    false => failed(ty.is_none(), "is no kind")?,
                }
                let ty = reclaim_valtype_new_ref(from | 0x10, true);
                failed(ty.is_none(), "no heap type")
            }
            12 => {
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
            13 => {
                failed(wasm_engine_new_with_config(None).is_none(), "NULL")?;
                failed(wasm_store_new(None).is_none(), "NULL")?;
                failed(wasm_module_new(world.store(), None).is_none(), "NULL")?;
                failed(wasm_func_type(None).is_none(), "NULL")?;
                failed(wasm_table_get(None, 0).is_none(), "NULL")?;
                failed(wasm_memory_data(None).is_null(), "NULL")?;
                failed(!reclaim_store_gc(None), "NULL")?;
                failed(wasm_ref_get_host_info(None).is_null(), "NULL")?;
                let trap =
                    wasm_func_call(std::ptr::null(), None, None).into_trap().context("no trap")?;
                ensure!(trap_message(&trap).contains("NULL"), "another trap");
                failed(true, "NULL")?;
                wasm_ref_delete(None);
                wasm_val_delete(None);
                no_error()
            }
            14 => {
                let Some(i) = pick(&world.tables, from) else { return Ok(()) };
                let known = &world.tables[i];
                let count = known.elements.len() as u32;
                let element = wasm_table_get(Some(&known.table), count);
                failed(element.is_none(), "no element")?;
                failed(!wasm_table_set(Some(&known.table), count, None), "")?;
                failed(!wasm_table_grow(Some(&known.table), TABLE_LIMIT + 1, None), "")?;
                ensure!(wasm_table_size(Some(&known.table)) == count, "a table has grown");
                Ok(())
            }
            15 => {
                let handle = world.handle(from).handle.as_deref();
                let is_i31 = matches!(world.handle(from).value, Value::I31(_));
                if is_i31 || handle.is_none() {
                    return Ok(());
                }
                let (read, _) = written(|out| reclaim_i31_get(handle, out));
                failed(!read, "")?;
                failed(reclaim_trap_new_exception(handle).is_none(), "expected an exception")
            }
            16 => {
                let Some(store) = world.store() else { return Ok(()) };
                let fields: wasm_val_vec_t = vec![number; usize::from(from % 3)].into();
                let ty = Some(&*world.struct_type);
                let made = reclaim_struct_new(Some(store), ty, Some(&fields));
                failed(made.is_none(), "expected 3 values")?;
                let made = reclaim_array_new(Some(store), ty, None, 1);
                failed(made.is_none(), "structs")?;
                let made = reclaim_struct_new(Some(store), Some(&world.array_type), Some(&fields));
                failed(made.is_none(), "arrays")
            }
            17 => {
                let Some(store) = world.store() else { return Ok(()) };
                let element = wasm_val_t::of_ref(ValKind::AnyRef, None);
                let made = reclaim_array_new(
                    Some(store),
                    Some(&world.array_type),
                    Some(&element),
                    1 << 28,
                );
                failed(made.is_none(), "")
            }
            18 => {
                let Some(handle) = foreign else { return Ok(()) };
                let Some(store) = world.store() else { return Ok(()) };
                let ty = wasm_globaltype_new(wasm_valtype_new(ValKind::AnyRef as u8), 0);
                let value = wasm_val_t::of_ref(ValKind::AnyRef, Some(handle));
                let global = wasm_global_new(Some(store), ty.as_deref(), Some(&value));
                failed(global.is_none(), "another store")
            }
            19 => {
                let Some(store) = world.store() else { return Ok(()) };
                let value = wasm_val_t { kind: 77, of: wasm_val_of_t { i64: 0x1234 } };
                let ty = wasm_globaltype_new(wasm_valtype_new(0), 0);
                let global = wasm_global_new(Some(store), ty.as_deref(), Some(&value));
                failed(global.is_none(), "no kind of values")?;
                let value = wasm_val_t::of_ref(ValKind::AnyRef, None);
                let global = wasm_global_new(Some(store), ty.as_deref(), Some(&value));
                failed(global.is_none(), "type mismatch")
            }
            20 => {
                let Some(store) = world.store() else { return Ok(()) };
                failed(!reclaim_store_set_fuel(Some(store), 5), "fuel")?;
                let (read, _) = written(|out| reclaim_store_fuel(Some(store), out));
                failed(!read, "fuel")
            }
            21 => {
                let mut config = wasm_config_new();
                let config = config.as_deref_mut();
                let set = reclaim_config_collector(config, c"generational:nursery=many".as_ptr());
                failed(!set, "nursery")?;
                let text = b"(module (func (result i32)))) ";
                let (translated, _) =
                    written(|out| reclaim_wat2wasm(text.as_ptr().cast(), text.len(), out));
                failed(!translated, "")
            }
            other => bail!("mistake {other}"),
        }
    }
}
