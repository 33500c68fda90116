//! The calls that succeed, each with what must come of it.

use super::c::{last_error, message, write_and_read, written};
use super::host::{Export, Host};
use super::ops::Op;
use super::world::{KnownGlobal, KnownTable, Program, Running, Value, World, no_error};
use anyhow::{Context as _, Result, bail, ensure};
use reclaim::*;
use std::ffi::c_void;

/// The most things of one kind that are kept.
const MOST: usize = 8;
/// The most handles of a store.
const HANDLES: usize = 60;
/// The most elements of a table.
pub(super) const TABLE_LIMIT: u32 = 20;

/// The element of `list` that a byte chooses.
pub(super) fn pick<T>(list: &[T], byte: u8) -> Option<usize> {
    usize::from(byte).checked_rem(list.len())
}

/// The kind of references that a byte chooses.
fn kind(external: u8) -> ValKind {
    if external % 2 == 1 { ValKind::ExternRef } else { ValKind::AnyRef }
}

/// A trap's message.
pub(super) fn trap_message(trap: &wasm_trap_t) -> String {
    let ((), text) = written(|out| wasm_trap_message(Some(trap), out));
    message(&text)
}

/// Calls a function. The results or the trap.
pub(super) fn invoke(
    func: &wasm_func_t,
    arguments: Vec<wasm_val_t>,
    results: usize,
) -> Result<wasm_val_vec_t, Box<wasm_trap_t>> {
    let arguments = arguments.into();
    let mut results = vec![wasm_val_t::default(); results].into();
    match wasm_func_call(func, Some(&arguments), Some(&mut results)).into_trap() {
        Some(trap) => {
            let why = format!("wasm_func_call: {}", trap_message(&trap));
            assert_eq!(last_error(), Some(why), "another reason than the trap's message");
            Err(trap)
        }
        None => Ok(results),
    }
}

fn succeeded(result: Result<wasm_val_vec_t, Box<wasm_trap_t>>) -> Result<wasm_val_vec_t> {
    result.map_err(|trap| anyhow::anyhow!("a trap: {}", trap_message(&trap)))
}

impl Program {
    /// A function that the first instance exports.
    pub(super) fn func(&self, export: Export) -> Result<Box<wasm_func_t>> {
        let external = self.exports[export as usize].as_deref();
        wasm_func_copy(wasm_extern_as_func(external)).context("no function")
    }

    /// A global that the first instance exports.
    pub(super) fn global(&self, export: Export) -> Result<&wasm_global_t> {
        wasm_extern_as_global(self.exports[export as usize].as_deref()).context("no global")
    }
}

impl World {
    /// Collects, if the store has a handle, and checks what lives.
    pub(super) fn gc(&mut self) -> Result<()> {
        let Some(store) = self.store() else { return Ok(()) };
        ensure!(reclaim_store_gc(Some(store)), "{:?}", last_error());
        let (read, stats) = written(|out| reclaim_store_gc_stats(Some(store), out));
        ensure!(read, "no statistics");
        self.check_alive(stats.live_objects)
    }

    /// Keeps a new object.
    fn made(&mut self, handle: Option<Box<wasm_ref_t>>, value: Value) -> Result<()> {
        ensure!(handle.is_some(), "no object: {:?}", last_error());
        self.push(handle, value);
        Ok(())
    }

    /// Keeps a handle to something that is not in the heap.
    fn thing(&mut self, handle: Option<&wasm_ref_t>) -> Result<()> {
        let handle = wasm_ref_copy(handle).context("nothing")?;
        let known = |thing: &wasm_ref_t| wasm_ref_same(Some(thing), Some(&handle));
        let known = self.things.iter().position(known);
        let number = known.unwrap_or_else(|| {
            self.things.push((*handle).clone());
            self.things.len() - 1
        });
        self.check(Some(&handle), Value::Thing(number))?;
        self.push(Some(handle), Value::Thing(number));
        Ok(())
    }
}

impl Host {
    /// A call that does not nest.
    pub(super) fn simple(&mut self, slot: usize, op: Op) -> Result<()> {
        let world = self.world(slot);
        if world.handles.len() > HANDLES {
            // A deleted handle's number is used by another then.
            world.handles.drain(..HANDLES / 2);
        }
        match op {
            Op::Foreign { attached } => {
                let Some(store) = world.store() else { return Ok(()) };
                let foreign = wasm_foreign_new(Some(store)).context("no foreign object")?;
                let handle = wasm_ref_copy(wasm_foreign_as_ref(Some(&foreign)));
                let value = Value::Foreign(world.foreigns);
                world.foreigns += 1;
                world.push(handle, value);
                if attached % 4 != 0 {
                    world.attach(0)?;
                }
            }
            Op::I31 { value } => {
                let Some(store) = world.store() else { return Ok(()) };
                let handle = reclaim_i31_new(Some(store), value.into());
                world.made(handle, Value::I31(value.into()))?;
            }
            Op::Struct { external, from } => {
                let (e, a) =
                    (world.value(ValKind::ExternRef, external), world.value(ValKind::AnyRef, from));
                let Some(store) = world.store() else { return Ok(()) };
                let number = wasm_val_t::from(world.objects.len() as i32);
                let fields = vec![number, e.0, a.0].into();
                let handle =
                    reclaim_struct_new(Some(store), Some(&world.struct_type), Some(&fields));
                let value = world.object(false, vec![e.1, a.1]);
                world.made(handle, value)?;
            }
            Op::Array { len, from } => {
                let (element, known) = world.value(ValKind::AnyRef, from);
                let (count, ty) = (u32::from(len % 20), &world.array_type);
                let Some(store) = world.store() else { return Ok(()) };
                let handle = if len & 0x80 == 0 {
                    reclaim_array_new(Some(store), Some(ty), Some(&element), count)
                } else {
                    let elements = vec![element; count as usize].into();
                    reclaim_array_new_fixed(Some(store), Some(ty), Some(&elements))
                };
                let value = world.object(true, vec![known; count as usize]);
                world.made(handle, value)?;
            }
            Op::Get { object, index } => {
                let Some((n, i)) = place(world, object, index) else { return Ok(()) };
                let handle = world.handle(object).handle.as_deref();
                let (read, value) = match world.objects[n].is_array {
                    true => written(|out| reclaim_array_get(handle, i as u32, out)),
                    false => written(|out| reclaim_struct_get(handle, i + 1, out)),
                };
                ensure!(read, "not read: {:?}", last_error());
                world.read(&value, world.objects[n].refs[i])?;
            }
            Op::Set { object, index, from } => {
                let Some((n, i)) = place(world, object, index) else { return Ok(()) };
                // An object's fields take references of any kind.
                let (value, known) = world.value(ValKind::AnyRef, from);
                let handle = world.handle(object).handle.as_deref();
                let set = match world.objects[n].is_array {
                    true => reclaim_array_set(handle, i as u32, Some(&value)),
                    false => reclaim_struct_set(handle, i + 1, Some(&value)),
                };
                ensure!(set, "not written: {:?}", last_error());
                world.objects[n].refs[i] = known;
            }
            Op::Equal { a, b } => {
                let (a, b) = (world.handle(a), world.handle(b));
                world.check(a.handle.as_deref(), a.value)?;
                let same = wasm_ref_same(a.handle.as_deref(), b.handle.as_deref());
                ensure!(same == (a.value == b.value), "{:?} is {:?}: {same}", a.value, b.value);
            }
            Op::Copy { from } => {
                let known = world.handle(from);
                let (copy, value) = (wasm_ref_copy(known.handle.as_deref()), known.value);
                world.check(copy.as_deref(), value)?;
                world.push(copy, value);
            }
            Op::Delete { from } => {
                if let Some(i) = pick(&world.handles, from) {
                    wasm_ref_delete(world.handles.swap_remove(i).handle);
                }
            }
            Op::Attach { from } => world.attach(from)?,
            Op::NewGlobal { from, external } => {
                if world.globals.len() < MOST {
                    let kind = kind(external);
                    let (value, known) = world.value(kind, from);
                    let ty = wasm_globaltype_new(wasm_valtype_new(kind as u8), 1);
                    let Some(store) = world.store() else { return Ok(()) };
                    let global = wasm_global_new(Some(store), ty.as_deref(), Some(&value));
                    let global = global.context("no global")?;
                    world.globals.push(KnownGlobal { global, value: known, kind });
                }
            }
            Op::GlobalGet { global } => {
                if let Some(i) = pick(&world.globals, global) {
                    let known = &world.globals[i];
                    let ((), value) = written(|out| wasm_global_get(Some(&known.global), out));
                    ensure!(value.kind == known.kind as u8, "another kind: {}", value.kind);
                    world.read(&value, known.value)?;
                }
            }
            Op::GlobalSet { global, from } => {
                if let Some(i) = pick(&world.globals, global) {
                    let (value, known) = world.value(world.globals[i].kind, from);
                    wasm_global_set(Some(&world.globals[i].global), Some(&value));
                    no_error()?;
                    world.globals[i].value = known;
                }
            }
            Op::NewTable { len, from, external } => {
                let (value, known) = world.value(kind(external), from);
                let Some(store) = world.store() else { return Ok(()) };
                if world.tables.len() < MOST {
                    let limits = wasm_limits_t { min: u32::from(len % 10), max: TABLE_LIMIT };
                    let element = wasm_valtype_new(kind(external) as u8);
                    let ty = wasm_tabletype_new(element, Some(&limits));
                    let table = wasm_table_new(Some(store), ty.as_deref(), value.reference()?);
                    let table = table.context("no table")?;
                    let elements = vec![known; limits.min as usize];
                    world.tables.push(KnownTable { table, elements });
                }
            }
            Op::TableGet { .. } | Op::TableSet { .. } | Op::TableGrow { .. } => {
                return table_call(world, op);
            }
            Op::Gc => world.gc()?,
            Op::Kept => {
                let Some(program) = &world.program else { return Ok(()) };
                let kept = program.global(Export::Kept)?;
                let ((), value) = written(|out| wasm_global_get(Some(kept), out));
                world.read(&value, world.kept)?;
            }
            Op::Func { from } => return func(world, from),
            Op::Thing { what } => return self.thing(slot, what),
            Op::Throw { from } => return self.throw(slot, from),
            Op::Again { how } => return self.again(slot, how),
            Op::MemoryGrow { pages } => return self.memory_grow(slot, pages.into()),
            Op::Call { from, external, how } => return self.call(slot, from, external, how),
            // Those that nest, and those that fail.
            Op::Enter { .. }
            | Op::End
            | Op::DeleteStore { .. }
            | Op::Drop { .. }
            | Op::NewEngine { .. }
            | Op::Mistake { .. } => {}
        }
        Ok(())
    }

    /// Calls a function that calls the host.
    fn call(&mut self, slot: usize, from: u8, external: u8, how: u8) -> Result<()> {
        let how = how % 4;
        if self.program(slot)?.is_none() {
            return Ok(());
        }
        let world = self.world(slot);
        let ((a, first), (e, second)) =
            (world.value(ValKind::AnyRef, from), world.value(ValKind::ExternRef, external));
        let program = world.program.as_ref().context("a program")?;
        let caught = how == 3;
        let func = program.func(if caught { Export::Catch } else { Export::Run })?;
        world.running.push(Running { arguments: [first, second], how });
        let mut arguments = vec![a, e];
        if !caught {
            arguments.push(wasm_val_t::from(i32::from(how == 1)));
        }
        let shared = self.shared.clone();
        shared.replace(Some(std::mem::take(self)));
        let result = invoke(&func, arguments, if caught { 1 } else { 2 });
        *self = shared.take().context("the host is back")?;
        let world = self.worlds[slot].as_mut().context("a store that runs code stays")?;
        world.running.pop();
        if let Some(fault) = self.fault.take() {
            return Err(fault.context("in a function of C"));
        }
        let returned = world.returned.take();
        if how == 1 || how == 2 && returned.is_none() {
            let trap = result.err().context("no trap")?;
            let message = trap_message(&trap);
            let expected = if how == 1 { "unreachable" } else { "a trap of C" };
            ensure!(message.contains(expected), "another trap: {message}");
            let frame = wasm_trap_origin(Some(&trap)).context("no function")?;
            ensure!(wasm_frame_func_index(Some(&frame)) == 1, "another function");
            return match world.trap.take() {
                Some(same) => world.check(wasm_trap_as_ref(Some(&trap)), same),
                None => Ok(()),
            };
        }
        let results = succeeded(result)?;
        let returned = returned.context("the function of C was called")?;
        if caught {
            return world.read(&results.as_slice()[0], returned);
        }
        world.kept = returned;
        world.read(&results.as_slice()[0], first)?;
        world.read(&results.as_slice()[1], second)
    }

    /// The function of C is called with these arguments.
    pub(super) fn called(
        &mut self,
        slot: usize,
        arguments: &[wasm_val_t],
        results: &mut [wasm_val_t],
    ) -> Result<Option<Box<wasm_trap_t>>> {
        let world = self.world(slot);
        let Running { arguments: expected, how } = *world.running.last().context("no call runs")?;
        for (argument, expected) in arguments.iter().zip(expected) {
            world.read(argument, expected)?;
        }
        self.calls(slot)?;
        let world = self.world(slot);
        let (value, known) = world.value(ValKind::AnyRef, 0);
        match (how, world.store()) {
            (2, Some(store)) => {
                let message = b"a trap of C\0".to_vec().into();
                let trap = wasm_trap_new(Some(store), Some(&message)).context("no trap")?;
                let handle = wasm_ref_copy(wasm_trap_as_ref(Some(&trap)));
                world.thing(handle.as_deref())?;
                world.attach(0)?;
                world.trap = Some(world.handle(0).value);
                return Ok(Some(trap));
            }
            (3, Some(store)) => {
                let program = world.program.as_ref().context("a program")?;
                let (tag, values) = (program.imports[1].as_deref(), vec![value].into());
                let exception = reclaim_exception_new(Some(store), tag, Some(&values));
                let trap = reclaim_trap_new_exception(exception.as_deref());
                let trap = trap.context("no trap of an exception")?;
                let found = reclaim_trap_exception(Some(&trap));
                ensure!(wasm_ref_same(found.as_deref(), exception.as_deref()), "another exception");
                world.returned = Some(known);
                return Ok(Some(trap));
            }
            _ => {}
        }
        // A store without a handle has no traps.
        results[0] = value;
        world.returned = Some(known);
        Ok(None)
    }

    /// A handle to something that is not in the heap.
    fn thing(&mut self, slot: usize, what: u8) -> Result<()> {
        if what.is_multiple_of(2) && self.program(slot)?.is_none() {
            return Ok(());
        }
        let world = self.world(slot);
        let index = what / 8;
        let handle = match (what % 8, &world.program) {
            (0, Some(program)) => wasm_ref_copy(wasm_module_as_ref(Some(&program.module))),
            (2 | 4 | 6, Some(program)) => {
                let i = usize::from(index) % program.exports.len();
                wasm_ref_copy(wasm_extern_as_ref(program.exports[i].as_deref()))
            }
            (1, _) => pick(&world.globals, index)
                .and_then(|i| wasm_ref_copy(wasm_global_as_ref(Some(&world.globals[i].global)))),
            (3, _) => pick(&world.tables, index)
                .and_then(|i| wasm_ref_copy(wasm_table_as_ref(Some(&world.tables[i].table)))),
            _ => {
                let Some(store) = world.store() else { return Ok(()) };
                let trap = wasm_trap_new(Some(store), Some(&b"a thing".to_vec().into()));
                let trap = trap.context("no trap")?;
                ensure!(trap_message(&trap) == "a thing", "another message");
                wasm_ref_copy(wasm_trap_as_ref(Some(&trap)))
            }
        };
        match handle {
            Some(handle) => world.thing(Some(&handle)),
            None => Ok(()),
        }
    }

    /// The module throws what nothing catches.
    fn throw(&mut self, slot: usize, from: u8) -> Result<()> {
        if self.program(slot)?.is_none() {
            return Ok(());
        }
        let world = self.world(slot);
        let (value, known) = world.value(ValKind::AnyRef, from);
        let func = world.program.as_ref().context("a program")?.func(Export::Throw)?;
        let trap = invoke(&func, vec![value], 0).err().context("no trap")?;
        let exception = reclaim_trap_exception(Some(&trap));
        let exception =
            exception.with_context(|| format!("no exception: {}", trap_message(&trap)))?;
        let kind = reclaim_ref_kind(Some(&exception));
        ensure!(kind == RefKind::Exception as u8, "a reference of kind {kind}");
        let (read, value) = written(|out| reclaim_exception_get(Some(&exception), 0, out));
        ensure!(read, "no field");
        let tag = reclaim_exception_tag(Some(&exception));
        let imported = world.program.as_ref().and_then(|program| program.imports[1].as_deref());
        ensure!(wasm_extern_same(tag.as_deref(), imported), "another tag");
        world.read(&value, known)
    }

    /// Makes another instance of the module.
    fn again(&mut self, slot: usize, how: u8) -> Result<()> {
        if self.program(slot)?.is_none() {
            return Ok(());
        }
        let world = self.world(slot);
        let Some(store) = world.store() else { return Ok(()) };
        let program = world.program.as_ref().context("a program")?;
        let module = match how % 3 {
            0 => wasm_module_copy(Some(&program.module)),
            1 => {
                let shared = wasm_module_share(Some(&program.module));
                let obtained = wasm_module_obtain(Some(store), shared.as_deref());
                wasm_shared_module_delete(shared);
                obtained
            }
            _ => {
                let ((), saved) = written(|out| wasm_module_serialize(Some(&program.module), out));
                wasm_module_deserialize(Some(store), Some(&saved))
            }
        };
        let same = wasm_module_same(module.as_deref(), Some(&program.module));
        ensure!(same == how.is_multiple_of(3), "the same module: {same}");
        let imports = program.imports.clone().into();
        let (instance, trap) =
            written(|trap| wasm_instance_new(Some(store), module.as_deref(), Some(&imports), trap));
        let instance = instance
            .with_context(|| format!("no instance: {:?}", trap.as_deref().map(trap_message)))?;
        let (attached, finalizer) = world.token();
        let address = attached.address;
        wasm_instance_set_host_info_with_finalizer(Some(&instance), address, Some(finalizer));
        ensure!(wasm_instance_get_host_info(Some(&instance)) == address, "another address");
        Ok(())
    }

    /// Grows the memory of the instance, writes its last byte, and reads it again.
    fn memory_grow(&mut self, slot: usize, pages: u32) -> Result<()> {
        let Some(program) = self.program(slot)? else { return Ok(()) };
        let memory = wasm_extern_as_memory(program.exports[Export::Memory as usize].as_deref());
        let before = wasm_memory_size(memory);
        let grown = wasm_memory_grow(memory, pages);
        ensure!(grown == (before + pages <= 4), "{before} pages and {pages} more: {grown}");
        ensure!(last_error().is_none() == grown, "a reason too much or too few");
        let now = if grown { before + pages } else { before };
        let size = wasm_memory_data_size(memory);
        ensure!(wasm_memory_size(memory) == now && size == now as usize * 65536, "another size");
        ensure!(write_and_read(memory, size - 1, 42) == 42, "another byte");
        Ok(())
    }
}

/// The object of a handle, and the index of one of its references.
fn place(world: &World, object: u8, index: u8) -> Option<(usize, usize)> {
    let Value::Object(n) = world.handle(object).value else { return None };
    Some((n, pick(&world.objects[n].refs, index)?))
}

fn table_call(world: &mut World, op: Op) -> Result<()> {
    let (Op::TableGet { table, .. } | Op::TableSet { table, .. } | Op::TableGrow { table, .. }) =
        op
    else {
        bail!("{op:?} is no call with a table");
    };
    let Some(i) = pick(&world.tables, table) else { return Ok(()) };
    let count = wasm_table_size(Some(&world.tables[i].table));
    ensure!(count as usize == world.tables[i].elements.len(), "a table of {count}");
    match op {
        Op::TableGet { index, .. } => {
            let Some(index) = pick(&world.tables[i].elements, index) else { return Ok(()) };
            let element = wasm_table_get(Some(&world.tables[i].table), index as u32);
            let expected = world.tables[i].elements[index];
            world.check(element.as_deref(), expected)?;
            world.push(element, expected);
        }
        Op::TableSet { index, from, .. } => {
            let (value, known) = world.value(ValKind::AnyRef, from);
            let known_table = &mut world.tables[i];
            let Some(index) = pick(&known_table.elements, index) else { return Ok(()) };
            let set = wasm_table_set(Some(&known_table.table), index as u32, value.reference()?);
            ensure!(set, "not set");
            known_table.elements[index] = known;
        }
        Op::TableGrow { delta, from, .. } => {
            let (value, known) = world.value(ValKind::AnyRef, from);
            let delta = u32::from(delta % 8);
            let known_table = &mut world.tables[i];
            let grown = wasm_table_grow(Some(&known_table.table), delta, value.reference()?);
            ensure!(grown == (count + delta <= TABLE_LIMIT), "{count} and {delta} more: {grown}");
            let error = last_error();
            ensure!(error.is_none() == grown, "{error:?}");
            if grown {
                known_table.elements.extend(vec![known; delta as usize]);
            }
        }
        _ => {}
    }
    Ok(())
}

/// A function of C that returns its argument and counts its calls in what it has.
extern "C" fn identity(
    env: *mut c_void,
    arguments: &wasm_val_vec_t,
    results: &mut wasm_val_vec_t,
) -> Option<Box<wasm_trap_t>> {
    if !env.is_null()
        && let ([argument], [result]) = (arguments.as_slice(), results.as_mut_slice())
    {
        result.clone_from(argument);
    }
    None
}

/// Makes a function of C, calls it, and keeps a handle.
fn func(world: &mut World, from: u8) -> Result<()> {
    if world.store().is_none() {
        return Ok(());
    }
    let (env, finalizer) = world.token();
    let mut types = [(); 2].map(|()| vec![wasm_valtype_new(ValKind::ExternRef as u8)].into());
    let [params, results] = &mut types;
    let ty = wasm_functype_new(Some(params), Some(results));
    let (store, env) = (world.store(), env.address);
    let func = wasm_func_new_with_env(store, ty.as_deref(), Some(identity), env, Some(finalizer));
    let func = func.context("no function")?;
    let (value, known) = world.value(ValKind::ExternRef, from);
    let results = succeeded(invoke(&func, vec![value], 1))?;
    world.read(&results.as_slice()[0], known)?;
    world.thing(wasm_func_as_ref(Some(&func)))
}
