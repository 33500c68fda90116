//! The part of a store that does not depend on the host's data: the heap, the
//! instances and everything that belongs to them.

use super::callees::Callees;
use crate::Engine;
use crate::types::registry::RegisteredType;
use crate::vm::func_ref::FuncRef;
use crate::vm::globals::Globals;
use crate::vm::instance::InstanceData;
use crate::vm::memory::MemoryData;
use crate::vm::table::{CannotGrow, Element, TableData};
use anyhow::Result;
use gc_jit::{JitState, JitStore, VMContextPrefix};
use gc_runtime::{GcStore, TraceRoots};
use gc_types::TypeIndex;
use std::any::Any;
use std::collections::HashSet;
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

/// A store whose host's data is of some type.
pub(crate) struct StoreOpaque {
    id: StoreId,
    /// The driver's part. It has the heap; dropped first, since host values may die with it.
    pub(crate) jit: JitState<StoreOpaque>,
    engine: Engine,
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
    /// The host's data.
    data: Box<dyn Any>,
}

// SAFETY: the raw pointers are to memory this store owns and only it uses; what is
// kept as `dyn Any` is only dropped, and consists of `Send` closures and vmctxs. The host's
// data is only reached through a `Store` or a borrow of one, which say its type.
unsafe impl Send for StoreOpaque {}
// SAFETY: through a shared reference nothing is written.
unsafe impl Sync for StoreOpaque {}

impl JitStore for StoreOpaque {
    fn jit(&self) -> &JitState<StoreOpaque> {
        &self.jit
    }

    fn jit_mut(&mut self) -> &mut JitState<StoreOpaque> {
        &mut self.jit
    }

    fn is_subtype(&self, actual: u32, expected: u32) -> bool {
        match (TypeIndex::new(actual), TypeIndex::new(expected)) {
            (Some(actual), Some(expected)) => self.engine.types().is_subtype(actual, expected),
            _ => false,
        }
    }
}

impl StoreOpaque {
    pub(crate) fn new(engine: &Engine, data: Box<dyn Any>) -> Result<StoreOpaque> {
        let config = engine.config();
        let gc = engine.new_heap()?;
        let mut jit = JitState::new(gc, engine.host_calls(), config.max_wasm_stack)?;
        // SAFETY: the engine, which owns the table, outlives the store.
        unsafe { jit.set_type_displays(engine.types().displays().as_ptr()) };
        Ok(StoreOpaque {
            id: StoreId::next(),
            jit,
            engine: engine.clone(),
            instances: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            globals: Globals::default(),
            elements_left: config.table_elements_maximum,
            kept: Vec::new(),
            callees: Callees::default(),
            layouts: HashSet::new(),
            data,
        })
    }

    /// The host's data, which is a `T`.
    pub(crate) fn data<T: 'static>(&self) -> &T {
        self.data.downcast_ref().expect("the type that the store was made with")
    }

    /// The host's data, to change it.
    pub(crate) fn data_mut<T: 'static>(&mut self) -> &mut T {
        self.data.downcast_mut().expect("the type that the store was made with")
    }

    /// Ends the store, gives the host's data back.
    pub(crate) fn into_data<T: 'static>(self) -> T {
        *self.data.downcast().expect("the type that the store was made with")
    }

    pub(crate) fn id(&self) -> StoreId {
        self.id
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn gc_store(&self) -> &GcStore {
        self.jit.gc()
    }

    pub(crate) fn gc_store_mut(&mut self) -> &mut GcStore {
        self.jit.gc_mut()
    }

    /// Does what may collect: `f` gets the heap and the stack.
    pub(crate) fn with_gc<R>(
        &mut self,
        f: impl FnOnce(&mut GcStore, &mut dyn TraceRoots) -> R,
    ) -> R {
        let (gc, mut roots) = self.jit.gc_and_stack();
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

    /// Keeps `context` until the store is dropped.
    pub(crate) fn keep(&mut self, context: Box<dyn Any>) {
        self.kept.push(context);
    }

    /// Keeps a module's code until the store is dropped.
    pub(crate) fn keep_code(&mut self, code: &Arc<gc_jit::CodeMemory>) {
        self.jit.keep_alive(code.clone());
    }

    /// The code of the modules that the store has instances of.
    pub(crate) fn code(&self) -> &[Arc<gc_jit::CodeMemory>] {
        self.jit.code()
    }

    /// Gives a function reference its id.
    pub(crate) fn register_func_ref(&mut self, func_ref: FuncRef) {
        let address = func_ref.address().expose_provenance();
        func_ref.set_id(self.jit.gc_mut().func_refs_mut().intern(address));
        self.jit.refresh_func_refs();
    }

    /// Takes `count` elements of those that tables and segments may have in all.
    pub(crate) fn take_elements(&mut self, count: u64) -> Result<(), CannotGrow> {
        match self.elements_left.checked_sub(count) {
            Some(left) => self.elements_left = left,
            None => {
                let maximum = self.engine().config().table_elements_maximum;
                return Err(CannotGrow::Store { maximum, left: self.elements_left });
            }
        }
        Ok(())
    }

    /// Grows a table by `delta` elements, all `init`; the former size.
    pub(crate) fn grow_table(
        &mut self,
        index: usize,
        delta: u64,
        init: Element,
    ) -> Result<u32, CannotGrow> {
        self.take_elements(delta)?;
        let (table, gc) = self.table_and_gc(index);
        table.grow(gc, delta, init).ok_or_else(|| {
            self.elements_left += delta;
            CannotGrow::Table
        })
    }

    /// A table beside the heap, to change both.
    pub(crate) fn table_and_gc(&mut self, index: usize) -> (&mut TableData, &mut GcStore) {
        (&mut self.tables[index], self.jit.gc_mut())
    }

    /// The number of the instance that a vmctx belongs to.
    ///
    /// # Safety
    /// `vmctx` must be an instance's, of this store.
    pub(crate) unsafe fn instance_of(vmctx: *mut u8) -> usize {
        // SAFETY: every vmctx begins so.
        unsafe { (*vmctx.cast::<VMContextPrefix>()).number }
    }
}
