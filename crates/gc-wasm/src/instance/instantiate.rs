//! Instantiation, in the order of the specification: it checks the imports, allocates the parts of
//! the instance, computes constant expressions, copies active segments, and calls the start
//! function.

use super::const_eval::eval;
use crate::module::info::{ElementItems, ElementMode};
use crate::pool;
use crate::store::{StoreOpaque, limits};
use crate::vm::func_ref::FuncRef;
use crate::vm::globals::GlobalData;
use crate::vm::instance::{InstanceData, SegmentElements};
use crate::vm::layout::DefinitionPlace;
use crate::vm::table::Element;
use crate::vm::tag::{TagData, TagId};
use crate::vm::words::VMWords;
use crate::{Engine, Extern, Module, Val};
use anyhow::{Context, Result, bail, ensure};
use gc_jit::VMContextPrefix;
use gc_runtime::{Admission, MemoryPurpose};
use gc_types::{Trap, VMGcRef, VMOffsets};
use wasmtime_types::EntityIndex;

/// Instantiates `module` with imports whose types and stores were checked. Returns the instance's
/// number in the store.
pub(crate) fn instantiate(
    store: &mut StoreOpaque,
    module: &Module,
    imports: &[Extern],
) -> Result<usize> {
    let index = allocate(store, module, imports)?;
    store.consume_startup_fuel(module.info())?;
    let scope = store.gc_store().enter_handle_scope();
    let result = initialize(store, index);
    store.exit_scope(scope);
    result?;
    start(store, index)?;
    Ok(index)
}

/// Checks that the module and the store belong to the same engine, and otherwise names the
/// difference. So code that was compiled for one collector never runs with the heap of another.
pub(crate) fn check_engine(store: &Engine, module: &Module) -> Result<()> {
    if !Engine::same(module.engine(), store) {
        let difference = store.abi().check(module.code().image().abi());
        difference.context(
            "the module's code does not fit the store (here: the store; there: the code)",
        )?;
        bail!("the module and the store belong to different engines");
    }
    Ok(())
}

/// Writes the words with which every vmctx begins.
fn set_prefix(vmctx: &VMWords, offsets: &VMOffsets, prefix: VMContextPrefix) {
    let VMContextPrefix { heap_base, heap_data, store_context, number, poll_page } = prefix;
    vmctx.set_pointer(offsets.vmctx_heap_base(), heap_base);
    vmctx.set_pointer(offsets.vmctx_heap_data(), heap_data);
    vmctx.set_pointer(offsets.vmctx_store_context(), store_context);
    vmctx.set(offsets.vmctx_number(), number as u64);
    vmctx.set_pointer(offsets.vmctx_poll_page(), poll_page);
}

/// Makes the instance. All its parts are zero, null or empty.
fn allocate(store: &mut StoreOpaque, module: &Module, imports: &[Extern]) -> Result<usize> {
    let (info, layout) = (module.info(), module.layout());
    store.count_instance(info)?;
    let globals = store.globals.len() + info.global_inits.len();
    ensure!(globals <= limits::GLOBALS, "a store cannot have {globals} globals");
    let place = store.engine().take_instance()?;
    store.add_code(module.code())?;
    let number = store.instances.len();
    let size = layout.size() as usize;
    let source = store.engine().memory_source();
    let admission = Admission::new(source, MemoryPurpose::Instance, size)?;
    let vmctx = VMWords::new(size);
    let prefix = match info.uses_heap() {
        true => {
            // The heap first, so that the layouts are registered there.
            let heap = store.gc_store_mut().ensure_heap();
            heap.map_err(pool::error).context("making the GC heap")?;
            store.ensure_layouts(module)?;
            store.jit.vmctx_prefix(number)?
        }
        false => store.jit.vmctx_prefix_without_heap(number),
    };
    set_prefix(&vmctx, &layout.offsets, prefix);
    let mut instance = InstanceData {
        module: module.clone(),
        vmctx,
        tables: Vec::new(),
        memories: Vec::new(),
        globals: Vec::new(),
        tags: Vec::new(),
        elements: Vec::new(),
        dropped_data: vec![false; info.data.len()],
        _admission: admission,
        _place: place,
    };
    let before = (store.memories.len(), store.tables.len());
    if let Err(error) = allocate_parts(store, &mut instance, number, imports) {
        // Nobody knows them.
        store.memories.truncate(before.0);
        store.tables.truncate(before.1);
        return Err(error);
    }
    // Nothing can fail after this, so the parts whose addresses the store keeps are kept too.
    for (i, ty) in info.globals.iter().enumerate().skip(info.num_imported_globals as usize) {
        let DefinitionPlace::Inline(offset) = layout.global(i as u32) else {
            unreachable!("defined")
        };
        let place = instance.vmctx.at(offset);
        let global = GlobalData { place, ty: *ty };
        instance.globals.push(store.globals.push(store.jit.gc_mut(), global));
    }
    for (i, tag) in info.tags.iter().enumerate().skip(info.num_imported_tags as usize) {
        let id = TagId { instance: number as u32, index: i as u32 };
        instance.tags.push(store.tags.len());
        let (ty, exn) = (info.types.registered(tag.ty), info.types.registered(tag.exn));
        store.tags.push(TagData { ty: ty.clone(), exn: exn.clone(), id });
    }
    for (i, tag) in instance.tags.iter().enumerate() {
        instance.vmctx.set(layout.tag(i as u32), store.tags[*tag].id.to_bits());
    }
    store.reserve_func_refs(module.func_refs().count());
    for (_, offset, _) in module.func_refs() {
        store.register_func_ref(FuncRef::at(&instance.vmctx, offset));
    }
    if number == 0 {
        // Most stores have one instance.
        store.instances.reserve_exact(1);
    }
    store.instances.push(instance);
    Ok(number)
}

/// Writes the imports, allocates the memories and tables, and fills in the function references.
fn allocate_parts(
    store: &mut StoreOpaque,
    instance: &mut InstanceData,
    number: usize,
    imports: &[Extern],
) -> Result<()> {
    let module = instance.module.clone();
    let (info, layout) = (module.info(), module.layout());
    ensure!(u32::try_from(number).is_ok(), "a store cannot have {number} instances");
    for (import, given) in info.imports.iter().zip(imports) {
        import_one(store, instance, import.index, given)?;
    }
    for (i, ty) in info.memories.iter().enumerate().skip(info.num_imported_memories as usize) {
        let DefinitionPlace::Inline(offset) = layout.memory(i as u32) else {
            unreachable!("defined")
        };
        let definition = instance.vmctx.at(offset);
        let what = || format!("allocating {}", info.names.describe_memory(i as u32));
        // Which memory of which module it is.
        let affinity = module.number() << 20 | i as u64;
        instance.memories.push(store.new_memory(*ty, definition, affinity, Some(&what))?);
    }
    for (i, ty) in info.tables.iter().enumerate().skip(info.num_imported_tables as usize) {
        let DefinitionPlace::Inline(offset) = layout.table(i as u32) else {
            unreachable!("defined")
        };
        let definition = instance.vmctx.at(offset);
        let what = || format!("allocating {}", info.names.describe_table(i as u32));
        let growth = info.table_growth[i];
        instance.tables.push(store.new_table(*ty, growth, definition, Some(&what))?);
    }
    let vmctx = instance.vmctx.address();
    for (i, offset, ty) in module.func_refs() {
        let code = module.code().function_address(i);
        let code = code.with_context(|| format!("function {i} has no code"))?;
        FuncRef::fill(&instance.vmctx, offset, code, vmctx, ty);
    }
    Ok(())
}

/// Writes one import to the place where compiled code reads it.
fn import_one(
    store: &StoreOpaque,
    instance: &mut InstanceData,
    index: EntityIndex,
    given: &Extern,
) -> Result<()> {
    let layout = instance.module.layout();
    /// Writes the address of an imported definition.
    fn put(instance: &InstanceData, place: DefinitionPlace, definition: &VMWords) {
        let DefinitionPlace::Indirect(offset) = place else { unreachable!("imported") };
        instance.vmctx.set_pointer(offset, definition.address());
    }
    match (index, given) {
        (EntityIndex::Function(index), Extern::Func(func)) => {
            let (func_ref, index) = (func.as_vm(store), index.as_u32());
            let callee = func_ref.get();
            instance.vmctx.set_pointer(layout.func_import_code(index), callee.code);
            instance.vmctx.set_pointer(layout.func_import_vmctx(index), callee.vmctx);
            instance.vmctx.set_pointer(layout.func_import_ref(index), func_ref.address());
        }
        (EntityIndex::Table(index), Extern::Table(table)) => {
            let table = table.index(store);
            put(instance, layout.table(index.as_u32()), &store.tables[table].definition);
            instance.tables.push(table);
        }
        (EntityIndex::Memory(index), Extern::Memory(memory)) => {
            let memory = memory.index(store);
            put(instance, layout.memory(index.as_u32()), &store.memories[memory].definition);
            instance.memories.push(memory);
        }
        (EntityIndex::Global(index), Extern::Global(global)) => {
            let global = global.index(store);
            put(instance, layout.global(index.as_u32()), &store.globals[global].place);
            instance.globals.push(global);
        }
        (EntityIndex::Tag(_), Extern::Tag(tag)) => instance.tags.push(tag.index(store)),
        _ => unreachable!("imports were checked"),
    }
    Ok(())
}

/// Evaluates the constant expressions and copies the active segments.
fn initialize(store: &mut StoreOpaque, number: usize) -> Result<()> {
    let module = store.instances[number].module.clone();
    let info = module.info();
    for (i, init) in info.global_inits.iter().enumerate() {
        let value = eval(store, number, init)
            .with_context(|| info.names.describe_global(info.num_imported_globals + i as u32))?;
        let global = store.instances[number].globals[info.num_imported_globals as usize + i];
        store.write_global(global, &value)?;
        store.globals.initialized(store.jit.gc_mut(), global);
    }
    for (i, init) in info.table_inits.iter().enumerate() {
        let index = info.num_imported_tables as usize + i;
        let name = || info.names.describe_table(index as u32);
        let table = store.instances[number].tables[index];
        let ty = store.tables[table].ty;
        let element = match init {
            Some(init) => {
                let value = eval(store, number, init).with_context(name)?;
                store.element_of(&value)?
            }
            None if ty.ref_type.is_vmgcref_type() => Element::Gc(0),
            None => Element::Func(None),
        };
        if let Err(why) = store.fill_new_table(table, element)? {
            bail!("{} cannot have {} elements{why}", name(), ty.limits.min);
        }
    }
    for (i, segment) in info.elements.iter().enumerate() {
        let elements = elements(store, number, i as u32, &segment.items)
            .with_context(|| info.names.describe_element(i as u32))?;
        store.instances[number].elements.push(elements);
    }
    for (i, segment) in info.elements.iter().enumerate() {
        match &segment.mode {
            ElementMode::Passive => continue,
            ElementMode::Declared => {}
            ElementMode::Active(table, offset) => {
                let offset = offset_of(store, number, offset)?;
                let len = u32::try_from(segment.items.len())?;
                table_init(store, number, table.as_u32(), i as u32, offset, 0, len)
                    .with_context(|| info.names.describe_element(i as u32))?;
            }
        }
        drop_elements(store, number, i as u32);
    }
    for (i, segment) in info.data.iter().enumerate() {
        let Some((memory, offset)) = &segment.active else { continue };
        let offset = offset_of(store, number, offset)?;
        let len = segment.bytes.len() as u64;
        let memory = store.instances[number].memories[*memory as usize];
        store.memories[memory]
            .init(offset, &segment.bytes, 0, len)
            .with_context(|| info.names.describe_data(i as u32))?;
        store.instances[number].dropped_data[i] = true;
    }
    Ok(())
}

fn offset_of(
    store: &mut StoreOpaque,
    number: usize,
    expr: &wasmtime_types::ConstExpr,
) -> Result<u64> {
    match eval(store, number, expr)? {
        Val::I32(offset) => Ok(u64::from(offset.cast_unsigned())),
        Val::I64(offset) => Ok(offset.cast_unsigned()),
        _ => bail!("an offset that is not an integer"),
    }
}

/// The elements of segment `segment`. References are counted.
fn elements(
    store: &mut StoreOpaque,
    number: usize,
    segment: u32,
    items: &ElementItems,
) -> Result<SegmentElements> {
    let exprs = match items {
        ElementItems::Functions(items) => {
            let instance = &store.instances[number];
            let items = items.iter().map(|index| Some(instance.func_ref(index.as_u32())));
            return Ok(SegmentElements::Func(items.collect()));
        }
        ElementItems::Expressions(exprs) => exprs,
    };
    // All elements are computed and rooted before the first one is stored in the segment: the
    // segment becomes a root only when it is complete.
    let mut values = Vec::with_capacity(exprs.len());
    for expr in exprs {
        let value = eval(store, number, expr)?;
        values.push(value);
    }
    if values.iter().all(|value| matches!(value, Val::FuncRef(_))) {
        let funcs = values.iter().map(|value| match store.element_of(value)? {
            Element::Func(func) => Ok(func),
            Element::Gc(_) => bail!("a segment of functions and other references"),
        });
        return Ok(SegmentElements::Func(funcs.collect::<Result<_>>()?));
    }
    if let Err(why) = store.take_elements(values.len() as u64) {
        bail!("it cannot have {} elements{why}", values.len());
    }
    let mut refs = Vec::with_capacity(values.len());
    for value in &values {
        let gc_ref = VMGcRef::from_raw_u32(store.gc_word(value)?);
        refs.push(gc_ref.map(|gc_ref| store.gc_store_mut().clone_gc_ref(&gc_ref)));
    }
    let len = refs.len();
    let id = store.gc_store_mut().roots_mut().add_segment(segment, refs);
    Ok(SegmentElements::Gc { id, len })
}

/// `table.init`: copies elements of a segment into a table.
pub(crate) fn table_init(
    store: &mut StoreOpaque,
    number: usize,
    table: u32,
    segment: u32,
    at: u64,
    from: u32,
    len: u32,
) -> Result<(), Trap> {
    let table = store.instances[number].tables[table as usize];
    // The elements are taken out of the store, because the heap is borrowed from the same store.
    let none = SegmentElements::Func(Box::default());
    let place = &mut store.instances[number].elements[segment as usize];
    let elements = std::mem::replace(place, none);
    let (table, gc) = store.table_and_gc(table);
    let result = table.init(gc, at, &elements, from.into(), len.into());
    store.instances[number].elements[segment as usize] = elements;
    result
}

/// `elem.drop`: drops a segment's references.
pub(crate) fn drop_elements(store: &mut StoreOpaque, number: usize, segment: u32) {
    let none = SegmentElements::Func(Box::default());
    let place = &mut store.instances[number].elements[segment as usize];
    if let SegmentElements::Gc { id, len } = std::mem::replace(place, none) {
        store.elements_left += len as u64;
        let gc = store.gc_store_mut();
        for gc_ref in gc.roots_mut().remove_segment(id).into_iter().flatten() {
            gc.drop_gc_ref(gc_ref);
        }
    }
}

fn start(store: &mut StoreOpaque, number: usize) -> Result<()> {
    let instance = &store.instances[number];
    let Some(index) = instance.module.info().start else { return Ok(()) };
    let func = instance.func_ref(index.as_u32());
    store.consume_fuel(1);
    store.invoke_start(number, func)
}
