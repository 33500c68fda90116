//! The part of a store that does not depend on the host's data: the heap, the
//! instances and everything that belongs to them.

use super::globals::Globals;
use super::roots::RootTable;
use crate::Engine;
use crate::externals::Extern;
use crate::func::Callees;
use crate::instance::data::{InstanceData, SegmentElements};
use crate::instance::host_calls;
use crate::instance::linear::MemoryData;
use crate::instance::table::{TableData, TableElements};
use crate::types::registry::RegisteredType;
use anyhow::Result;
use gc_jit::{EmbedderHooks, JitStore, StoreRoots, VMContextPrefix, VMFuncRef};
use gc_runtime::{GcRootsList, GcStore, IncompleteWalk, RootKind, RootsWanted};
use gc_types::{TypeIndex, VMGcRef, VMOffsets};
use std::any::Any;
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells stores apart, so that a handle of one is not used with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoreId(u64);

impl StoreId {
    fn next() -> StoreId {
        // A counter is all that can tell a dropped store's handles from a new
        // store's at the same address.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        StoreId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A store without the host's data.
pub(crate) struct StoreOpaque {
    id: StoreId,
    engine: Engine,
    /// Owned; a raw pointer because compiled code and host calls reach it too.
    jit: NonNull<JitStore>,
    pub(crate) roots: RootTable,
    pub(crate) instances: Vec<InstanceData>,
    pub(crate) tables: Vec<TableData>,
    pub(crate) memories: Vec<MemoryData>,
    pub(crate) globals: Globals,
    /// Elements that tables and segments may still have.
    pub(crate) elements_left: u64,
    /// What compiled code points to and nobody else owns.
    kept: Vec<Box<dyn Any>>,
    /// How its functions are called.
    pub(crate) callees: Callees,
    /// Types whose layout the heap knows.
    layouts: HashSet<TypeIndex>,
}

// SAFETY: the raw pointers are to memory this store owns and only it uses; what is
// kept as `dyn Any` is only dropped, and consists of `Send` closures and vmctxs.
unsafe impl Send for StoreOpaque {}
// SAFETY: through a shared reference nothing is written.
unsafe impl Sync for StoreOpaque {}

impl StoreOpaque {
    pub(crate) fn new(engine: &Engine) -> Result<StoreOpaque> {
        let config = engine.config();
        let gc = GcStore::new(engine.collector().runtime(), &config.heap_options())?;
        let mut jit = JitStore::new(gc, &host_calls::table(), config.max_wasm_stack)?;
        // SAFETY: the engine, which owns the table, outlives the store.
        unsafe { jit.set_type_displays(engine.types().displays().as_ptr()) };
        Ok(StoreOpaque {
            id: StoreId::next(),
            engine: engine.clone(),
            jit: NonNull::from(Box::leak(jit)),
            roots: RootTable::default(),
            instances: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            globals: Globals::default(),
            elements_left: config.table_elements_maximum,
            kept: Vec::new(),
            callees: Callees::default(),
            layouts: HashSet::new(),
        })
    }

    /// Tells the driver where this store is. It must not move afterwards.
    pub(crate) fn set_address(&mut self) {
        let data = (&raw mut *self).cast();
        let hooks = EmbedderHooks { data, trace_roots, drop_dead_handles, is_subtype };
        // SAFETY: the store is in a box and owns the driver's, so it outlives it.
        unsafe { self.jit.as_mut().set_embedder(hooks) };
    }

    pub(crate) fn id(&self) -> StoreId {
        self.id
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The driver's part, for calls into compiled code.
    pub(crate) fn jit(&mut self) -> *mut JitStore {
        self.jit.as_ptr()
    }

    pub(crate) fn gc_store(&self) -> &GcStore {
        // SAFETY: the driver's part is owned by `self`, borrowed as `self` is.
        unsafe { self.jit.as_ref() }.gc()
    }

    pub(crate) fn gc_store_mut(&mut self) -> &mut GcStore {
        // SAFETY: as above.
        unsafe { self.jit.as_mut() }.gc_mut()
    }

    /// Does what may collect: `f` gets the heap and all roots.
    pub(crate) fn with_gc<R>(
        &mut self,
        f: impl FnOnce(&mut GcStore, &mut StoreRoots<'_>) -> R,
    ) -> R {
        // SAFETY: as above; the hook that names this store's roots does not touch
        // the driver's part.
        let (gc, mut roots) = unsafe { self.jit.as_mut() }.gc_and_roots();
        f(gc, &mut roots)
    }

    pub(crate) fn gc(&mut self) -> Result<()> {
        self.with_gc(|gc, roots| gc.gc(roots))?;
        Ok(())
    }

    /// Does what the host asked for and host values may die by. If one panicked that
    /// did, that goes on when all is done: to be the last thing before the host.
    pub(crate) fn may_drop<R>(&mut self, action: impl FnOnce(&mut StoreOpaque) -> R) -> R {
        let result = action(self);
        self.gc_store_mut().resume_host_panic();
        result
    }

    /// Makes the heap know the layout of a type, before its first object.
    pub(crate) fn ensure_layout(&mut self, ty: &RegisteredType) {
        if let Some(layout) = &ty.layout
            && self.layouts.insert(ty.index)
        {
            let layout = layout.clone();
            self.gc_store_mut().ensure_layout(ty.index, &layout);
        }
    }

    /// What a vmctx of this store begins with.
    pub(crate) fn vmctx_prefix(&mut self) -> VMContextPrefix {
        // SAFETY: as above.
        unsafe { self.jit.as_mut() }.vmctx_prefix()
    }

    /// Keeps `context` until the store is dropped.
    pub(crate) fn keep(&mut self, context: Box<dyn Any>) {
        self.kept.push(context);
    }

    /// Keeps a module's code until the store is dropped.
    pub(crate) fn keep_code(&mut self, code: &Arc<gc_jit::CodeMemory>) {
        // SAFETY: as above.
        unsafe { self.jit.as_mut() }.keep_alive(code.clone());
    }

    /// The code of the modules that the store has instances of.
    pub(crate) fn code(&self) -> &[Arc<gc_jit::CodeMemory>] {
        // SAFETY: as above.
        unsafe { self.jit.as_ref() }.code()
    }

    /// Gives function references their ids.
    ///
    /// # Safety
    /// Each must be valid for as long as the store lives.
    pub(crate) unsafe fn register_func_refs(
        &mut self,
        func_refs: impl IntoIterator<Item = *mut VMFuncRef>,
    ) {
        // SAFETY: as above.
        let jit = unsafe { self.jit.as_mut() };
        for func_ref in func_refs {
            let id = jit.gc_mut().func_refs_mut().intern(func_ref.expose_provenance());
            // SAFETY: the caller vouches for the pointer.
            unsafe { (*func_ref).id = id };
        }
        jit.refresh_func_refs();
    }

    /// The number of the instance that a vmctx of this store's belongs to.
    ///
    /// # Safety
    /// `vmctx` must be an instance's.
    pub(crate) unsafe fn instance_of(vmctx: *mut u8) -> usize {
        let offset = VMOffsets::HOST.vmctx_prefix_size() as usize;
        // SAFETY: every instance's vmctx has its number behind the prefix.
        unsafe { vmctx.add(offset).cast::<usize>().read() }
    }

    /// The number of the instance whose code last called the host, if it was one's.
    /// Walks the stack: asked only when somebody wants to know.
    pub(crate) fn caller_instance(&self) -> Option<usize> {
        // SAFETY: the driver's part is owned by `self`; only the code of instances
        // keeps its vmctx in its frame.
        unsafe { self.jit.as_ref().caller_vmctx().map(|vmctx| StoreOpaque::instance_of(vmctx)) }
    }

    /// An export of an instance.
    pub(crate) fn instance_export(&mut self, instance: usize, name: &str) -> Option<Extern> {
        let info = self.instances[instance].module.info();
        let (_, index) = info.exports[*info.exports_by_name.get(name)?];
        Some(self.instances[instance].entity(self, index))
    }
}

impl Drop for StoreOpaque {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak`, and nobody runs code of a store that is
        // being dropped.
        drop(unsafe { Box::from_raw(self.jit.as_ptr()) });
    }
}

/// The hook that names the roots outside the stack.
///
/// # Safety
/// `data` must be what [`StoreOpaque::set_address`] set.
unsafe fn trace_roots(data: *mut (), roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
    // SAFETY: the caller vouches for it; whoever collects has the store to itself,
    // and uses no other part of it meanwhile.
    let store = unsafe { &mut *data.cast::<StoreOpaque>() };
    match roots.wanted() {
        RootsWanted::Stack => return Ok(()),
        RootsWanted::Remembered => store.roots.trace_recent(roots),
        RootsWanted::All => store.roots.trace(roots),
    }
    store.globals.trace(roots);
    let in_tables = store.tables.iter_mut().filter_map(|table| match &mut table.elements {
        TableElements::Gc(elements) => Some(&mut elements[..]),
        TableElements::Func(_) => None,
    });
    if roots.wanted() == RootsWanted::Remembered {
        for elements in in_tables {
            // SAFETY: elements are references, and no table changes before the collection
            // that uses the list is over.
            unsafe { roots.add_remembered(elements.as_mut_ptr(), elements.len()) };
        }
        return Ok(());
    }
    let segments = store.instances.iter_mut().flat_map(|instance| &mut instance.elements);
    let in_segments = segments.filter_map(|segment| match segment {
        SegmentElements::Gc(elements) => Some(&mut elements[..]),
        SegmentElements::Func(_) => None,
    });
    // A table may be ten million nulls, which a list of roots should not hold.
    for word in in_tables.chain(in_segments).flatten().filter(|word| **word != 0) {
        // SAFETY: elements are references, and neither table nor segment
        // changes before the collection that uses the list is over.
        unsafe { roots.add_non_stack_root(word, RootKind::Table) };
    }
    Ok(())
}

/// The hook that gives up the owned handles that were dropped.
///
/// # Safety
/// `data` must be what [`StoreOpaque::set_address`] set.
unsafe fn drop_dead_handles(data: *mut (), drop: &mut dyn FnMut(VMGcRef)) {
    // SAFETY: as in `trace_roots`.
    let store = unsafe { &mut *data.cast::<StoreOpaque>() };
    store.roots.take_dead().into_iter().for_each(drop);
}

/// The hook that tells subtypes.
///
/// # Safety
/// `data` must be what [`StoreOpaque::set_address`] set.
unsafe fn is_subtype(data: *mut (), actual: u32, expected: u32) -> bool {
    // SAFETY: the caller vouches for it; the engine is not changed.
    let store = unsafe { &*data.cast::<StoreOpaque>() };
    match (TypeIndex::new(actual), TypeIndex::new(expected)) {
        (Some(actual), Some(expected)) => store.engine.types().is_subtype(actual, expected),
        _ => false,
    }
}
