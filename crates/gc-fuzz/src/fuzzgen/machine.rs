//! Runs a program's machine code over a heap of its collector.
#![allow(unsafe_code)]

use super::Case;
use super::outcome::{End, Graph, Outcome, Roots};
use anyhow::{Context as _, Result, bail, ensure};
use cranelift_codegen::Context;
use gc_compiler::{Compiler, FinishedFunction, ImageLinker, call_signature};
use gc_jit::{CodeMemory, HostCallTable, JitState, JitStore, VMContextPrefix, VMFuncRef};
use gc_runtime::{GcStore, HeapMemory};
use gc_testkit::clif::world::{self, FUNC, NODE, PROGRAM, TABLE_LENGTH};
use gc_types::host_calls::{ExposedRef, Ref};
use gc_types::{Abi, HostCall, RootKind, StorageType, VMOffsets, ValRaw};
use std::mem::offset_of;
use std::ptr::NonNull;
use std::sync::{Arc, LazyLock};

/// The most bytes of stack.
const MAX_STACK: usize = 256 << 10;

/// The blocks that may begin in a run.
pub(super) const FUEL: u32 = 48;

gc_jit::host_calls! {
    /// The host calls of programs.
    trait Runtime;
    /// The same as [`world::CALLS`].
    pub(super) const CALLS from HostCall::FIRST_EMBEDDER, named "fuzz_";

    /// Makes a [`NODE`].
    NEW: [collects] fn new(value: u32) -> Result<ExposedRef>;
    /// The index of an object's type.
    TYPE_OF: fn type_of(value: Ref) -> u32;
}

/// The store of a run.
struct Store(JitState<Store>);

impl JitStore for Store {
    fn jit(&self) -> &JitState<Store> {
        &self.0
    }

    fn jit_mut(&mut self) -> &mut JitState<Store> {
        &mut self.0
    }
}

impl Runtime for Store {
    fn new(&mut self, _caller: usize, value: u32) -> Result<ExposedRef> {
        let (gc, mut roots) = self.0.gc_and_stack();
        let node = gc.alloc_struct(&mut roots, NODE)?;
        gc.write_field(&node, world::value_field().offset, StorageType::I64, value.into())?;
        Ok(ExposedRef(gc.expose_gc_ref_to_wasm(node)))
    }

    fn type_of(&mut self, _caller: usize, value: Ref) -> u32 {
        let object = value.filter(|value| !value.is_i31());
        let header = object.and_then(|object| self.0.gc().header(&object).ok());
        header.map_or(0, |header| header.ty().as_u32())
    }
}

/// The context of the program, as [`world`] describes it.
#[repr(C)]
struct Vmctx {
    prefix: VMContextPrefix,
    padding: [u64; 2],
    table: *mut u32,
    func_ref: *const VMFuncRef,
    fuel: u64,
    observed: u64,
    more: [u64; 4],
    global: u32,
}

const _: () = {
    assert!(offset_of!(Vmctx, table) == world::TABLE_BASE as usize);
    assert!(offset_of!(Vmctx, func_ref) == world::FUNC_REF as usize);
    assert!(offset_of!(Vmctx, fuel) == world::FUEL as usize);
    assert!(offset_of!(Vmctx, observed) == world::OBSERVED as usize);
    assert!(offset_of!(Vmctx, global) == world::GLOBAL_OFFSET as usize);
    assert!(size_of::<Vmctx>() == world::VMCTX_SIZE as usize);
};

/// The type display table of all stores.
static DISPLAYS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut table = vec![0; VMOffsets::DISPLAY_TABLE_SIZE as usize / 4];
    for (at, word) in world::displays() {
        table[at] = word;
    }
    table
});

/// Compiles the program and runs it.
pub(super) fn run(case: &Case, abi: Abi, function: FinishedFunction) -> Result<Outcome> {
    let abi = Arc::new(abi);
    let compiler = Compiler::new(case.collector, &abi, &case.options)?;
    let signature = call_signature(&function.func().signature)?;
    let compiled = compiler.compile(&mut Context::new(), function, &compiler.begin())?;
    let mut image = ImageLinker::new();
    image.define(PROGRAM, "program".into(), compiled)?;
    image.export(PROGRAM)?;
    let code = CodeMemory::publish(image.link(&compiler)?, &abi, &[])?;
    let address = code.function_address(PROGRAM).context("the program is in the image")?;
    let trampoline = code.entry_trampoline(&signature).context("the program is exported")?;

    let gc = GcStore::new(case.runtime, &case.heap)?;
    let host_calls = HostCallTable::new(&abi, &Store::host_calls())?;
    let mut jit = JitState::new(gc, &host_calls, MAX_STACK)?;
    jit.keep_alive(Arc::clone(&code))?;
    for (ty, layout) in world::layouts() {
        jit.gc_mut().ensure_layout(ty, &Arc::new(layout))?;
    }
    // SAFETY: the table has this size, lives as long as the process, and has the types' rows.
    unsafe { jit.set_type_displays(DISPLAYS.as_ptr()) };

    // Both live until the end of this function, and are used only by their addresses until the
    // store is dropped, which is first.
    let table: *mut [u32; TABLE_LENGTH as usize] = Box::into_raw(Box::default());
    let vmctx = Box::into_raw(Box::new(Vmctx {
        prefix: jit.vmctx_prefix(0)?,
        padding: [0; 2],
        table: table.cast(),
        func_ref: std::ptr::null(),
        fuel: FUEL.into(),
        observed: 0,
        more: [0; 4],
        global: 0,
    }));
    let func_ref = Box::into_raw(Box::new(VMFuncRef {
        code: address,
        vmctx: vmctx.cast(),
        ty: FUNC.as_u32(),
        id: 0,
    }));
    let id = jit.gc_mut().func_refs_mut().add(func_ref.expose_provenance());
    // SAFETY: both were just made, and nobody else has them.
    unsafe {
        (*func_ref).id = id;
        (*vmctx).func_ref = func_ref;
    }
    jit.refresh_func_refs();
    // SAFETY: the slots are aligned and initialized, and live longer than the store.
    unsafe {
        let roots = jit.gc_mut().roots_mut();
        let table = NonNull::new_unchecked(table.cast());
        roots.add_slots(RootKind::Table, 0, table, TABLE_LENGTH as usize);
        let global = NonNull::new_unchecked(&raw mut (*vmctx).global);
        roots.add_slots(RootKind::Global, 0, global, 1);
    }

    let mut store = Store(jit);
    let mut values = case.arguments.map(|word| ValRaw::i64(word.cast_signed())).to_vec();
    values.resize(values.len().max(trampoline.slots()), ValRaw::ZERO);
    // SAFETY: the function has this signature and a stack limit, and the store keeps its code alive.
    // The vmctx belongs to the store.
    let called =
        unsafe { gc_jit::call(&mut store, &trampoline, address, vmctx.cast(), &mut values) };
    // SAFETY: nothing else uses the words while the store does nothing.
    let words = || unsafe { ((*vmctx).fuel as u32, (*vmctx).observed, (*vmctx).global, *table) };
    let result = finish(called, &mut store, values[0].get_i64().cast_unsigned(), words);
    drop(store);
    // SAFETY: they were made from boxes above, and the store that had their addresses is gone.
    unsafe {
        drop((Box::from_raw(table), Box::from_raw(vmctx), Box::from_raw(func_ref)));
    }
    result
}

/// What can be seen after a call. Also verifies the heap and collects, which changes nothing.
fn finish(
    called: Result<(), gc_jit::CallError>,
    store: &mut Store,
    result: u64,
    words: impl Fn() -> (u32, u64, u32, [u32; TABLE_LENGTH as usize]),
) -> Result<Outcome> {
    let (end, result) = match called {
        Ok(()) => (End::Returned, u32::try_from(result).context("a reference has 32 bits")?),
        Err(error) => match error.trap() {
            Some(trap) => (End::Trapped(trap), 0),
            None => bail!("the call failed: {error:?}"),
        },
    };
    let graph = |store: &Store, result| {
        let (_, _, global, table) = words();
        let memory = &store.0.gc().heap().expect("a heap").core().memory;
        Graph::of(&Roots { result, global, table }, |at, size| read(memory, at, size))
    };
    let (fuel, observed, ..) = words();
    let outcome = Outcome { end, fuel, observed, graph: graph(store, result) };

    let before = graph(store, 0);
    let (gc, mut roots) = store.0.gc_and_stack();
    gc.verify(&mut roots).context("after the run")?;
    ensure!(gc.gc(&mut roots)?, "a collection was skipped");
    gc.verify(&mut roots).context("after a collection")?;
    let after = graph(store, 0);
    ensure!(before == after, "a collection changed the graph:\n{before:?}\n{after:?}");
    Ok(outcome)
}

fn read(memory: &HeapMemory, at: u32, size: u32) -> Option<u64> {
    let mut bytes = [0; 8];
    memory.read_bytes(at.into(), &mut bytes[..size as usize])?;
    Some(u64::from_le_bytes(bytes))
}
