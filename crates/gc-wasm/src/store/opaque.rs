//! The part of a store that does not depend on the type of the host's data: the heap, the instances
//! and everything that belongs to them.

use super::call_hook::Hook;
use super::callees::Callees;
use super::epoch::DeadlineReached;
use super::fuel::FuelReserve;
use super::growing::Counts;
use super::host_state::{HostState, Limiter};
use super::object_types::ObjectTypes;
use crate::trap::ModulesByCode;
use crate::types::HeapType;
use crate::types::registered::RegisteredType;
use crate::vm::func_ref::FuncRef;
use crate::vm::globals::Globals;
use crate::vm::instance::InstanceData;
use crate::vm::memory::MemoryData;
use crate::vm::table::{CannotGrow, TableData};
use crate::vm::tag::TagData;
use crate::{Engine, Module, Val, WasmBacktrace};
use anyhow::{Context as _, Result};
use gc_jit::{InterruptHandle, JitState, JitStore, Part, VMContextPrefix};
use gc_runtime::{GcLeft, GcStore, TraceRoots};
use gc_types::{TypeIndex, VMGcRef};
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Identifies a store, so that a handle of one store is not used with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct StoreId(u64);

impl StoreId {
    fn next() -> StoreId {
        // Only a counter can distinguish the handles of a dropped store from those of a new store
        // at the same address.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        StoreId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A store without the type of the host's data.
pub(crate) struct StoreOpaque {
    id: StoreId,
    /// The driver's part, with the heap. It is dropped first, because host values may be dropped
    /// with it.
    pub(crate) jit: JitState<StoreOpaque>,
    engine: Engine,
    pub(crate) instances: Vec<InstanceData>,
    /// For backtraces.
    pub(crate) modules_by_code: Mutex<ModulesByCode>,
    pub(crate) tables: Vec<TableData>,
    pub(crate) memories: Vec<MemoryData>,
    pub(crate) globals: Globals,
    pub(crate) tags: Vec<TagData>,
    /// The vector of arguments and results of a host function that was called before. What is in it
    /// has no meaning.
    pub(crate) host_values: Vec<Val>,
    /// The number of elements that tables and segments may still get.
    pub(crate) elements_left: u64,
    /// Data that compiled code points to and that has no other owner.
    kept: Vec<Box<dyn Any>>,
    /// Data about the store's functions: how the host calls them.
    pub(crate) callees: Callees,
    /// Whether only asynchronous calls are allowed.
    pub(super) async_required: bool,
    /// The fuel that code does not see yet.
    pub(super) fuel: FuelReserve,
    /// What happens when the deadline of the epoch is reached.
    pub(super) deadline_reached: DeadlineReached,
    /// The types of the heap's objects, whose layouts the heap knows. They stay registered, because
    /// objects have their indices.
    pub(super) object_types: ObjectTypes,
    /// Whether it has warned of its many handles.
    pub(crate) warned_of_handles: bool,
    /// The instance whose start function is the host function that the host called last, while it runs.
    pub(crate) starting: Option<u32>,
    /// How many instances there are and may be, and what they define.
    pub(super) counts: Counts,
    /// What is told of calls.
    pub(super) call_hook: Option<Box<Hook>>,
    /// The host's data and its limiter. The heap asks the limiter, so this is dropped after the heap.
    pub(super) host: HostState,
}

// SAFETY: the raw pointers point to memory that this store owns and that only it uses. The values
// that are kept as `dyn Any` are only dropped; they are `Send` closures, vmctxs and types. The host's data
// is only accessed through a `Store` or a reference to one, which know its type.
unsafe impl Send for StoreOpaque {}
// SAFETY: nothing is written through a shared reference.
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
            (Some(actual), Some(expected)) => self.is_subtype(actual, expected),
            _ => false,
        }
    }

    fn has_backtrace(&self, error: &anyhow::Error) -> bool {
        error.is::<WasmBacktrace>()
    }

    fn before_part(&mut self, part: &Part) -> Result<()> {
        self.begin_part(part)
    }

    fn catches(&self, vmctx: usize, tag: u32, exception: &VMGcRef) -> bool {
        self.tag_matches(vmctx, tag, exception)
    }
}

impl StoreOpaque {
    /// It is made where it stays, because it is large. (With up to 1032 bytes, common allocators give
    /// the memory of the last store to the next one at once.)
    pub(crate) fn new(engine: &Engine, data: Box<dyn Any>) -> Result<Box<StoreOpaque>> {
        let config = engine.config();
        let gc = engine.new_heap();
        let mut jit = JitState::new(gc, engine.host_calls(), config.run.max_stack)?;
        // SAFETY: the engine owns the table and outlives the store.
        unsafe { jit.set_type_displays(engine.types().displays().as_ptr()) };
        if config.metering.epochs {
            jit.set_epoch_counter(engine.epoch().clone());
        }
        let store = StoreOpaque {
            id: StoreId::next(),
            jit,
            engine: engine.clone(),
            instances: Vec::new(),
            modules_by_code: Mutex::default(),
            tables: Vec::new(),
            memories: Vec::new(),
            globals: Globals::default(),
            tags: Vec::new(),
            host_values: Vec::new(),
            elements_left: config.table_elements_maximum,
            kept: Vec::new(),
            callees: Callees::default(),
            async_required: false,
            fuel: FuelReserve::default(),
            deadline_reached: DeadlineReached::default(),
            object_types: ObjectTypes::default(),
            warned_of_handles: false,
            starting: None,
            counts: Counts::default(),
            call_hook: None,
            host: HostState::new(data),
        };
        Ok(Box::write(Box::new_uninit(), store))
    }

    /// The host's data, which is a `T`.
    pub(crate) fn data<T: 'static>(&self) -> &T {
        self.host.data()
    }

    /// The host's data, mutable.
    pub(crate) fn data_mut<T: 'static>(&mut self) -> &mut T {
        self.host.data_mut()
    }

    /// Replaces the limiter.
    pub(super) fn set_limiter(&mut self, limiter: Limiter) {
        let limit = self.host.set_limiter(limiter);
        self.gc_store_mut().set_limiter(Some(limit));
    }

    /// A memory and the host's data, both mutable.
    pub(crate) fn memory_and_data_mut<T: 'static>(
        &mut self,
        index: usize,
    ) -> (&mut MemoryData, &mut T) {
        (&mut self.memories[index], self.host.data_mut())
    }

    /// Drops the store and returns the host's data.
    pub(crate) fn into_data<T: 'static>(self) -> T {
        self.host.into_data()
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

    /// Calls `f`, which may collect, with the heap and the stack.
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

    pub(crate) fn gc_for(&mut self, time: Duration) -> Result<GcLeft> {
        Ok(self.with_gc(|gc, roots| gc.gc_for(roots, time))?)
    }

    /// Performs an action of the host that may drop host values. If the destructor of one panics,
    /// the panic continues when the action is complete. So this must be the last step before the
    /// return to the host.
    pub(crate) fn may_drop<R>(&mut self, action: impl FnOnce(&mut StoreOpaque) -> R) -> R {
        let result = action(self);
        self.gc_store_mut().resume_host_panic();
        result
    }

    /// Registers the layout of a type with the heap, before the first object of the type. The store
    /// keeps the type.
    pub(crate) fn ensure_layout(&mut self, ty: &RegisteredType) -> Result<()> {
        if let Some(layout) = &ty.layout {
            let known = self.gc_store().side().layouts.get_shared(ty.index);
            if !known.is_some_and(|known| Arc::ptr_eq(known, layout)) {
                self.object_types.add(ty);
                self.gc_store_mut().ensure_layout(ty.index, layout)?;
            }
        }
        Ok(())
    }

    /// Does the same for all types of `module`.
    pub(crate) fn ensure_layouts(&mut self, module: &Module) -> Result<()> {
        if self.object_types.add_module(module) {
            let gc = self.jit.gc_mut();
            for ty in module.info().types.all() {
                if let Some(layout) = &ty.layout {
                    gc.ensure_layout(ty.index, layout)?;
                }
            }
        }
        Ok(())
    }

    /// The type of objects with this index. The index may come from a corrupt heap. `None` if the
    /// store cannot have such objects.
    pub(crate) fn object_type(&self, index: TypeIndex) -> Option<&RegisteredType> {
        self.object_types.get(index)
    }

    /// Keeps the type to which an item that the host made in the store refers, if there is one.
    pub(crate) fn keep_type(&mut self, ty: &HeapType) {
        if ty.is_concrete() {
            self.keep(Box::new(ty.clone()));
        }
    }

    /// Whether `actual` is `expected` or one of its descendants. The indices may come from a corrupt
    /// heap.
    pub(crate) fn is_subtype(&self, actual: TypeIndex, expected: TypeIndex) -> bool {
        let types = self.engine.types();
        types.is_shallow_subtype(actual, expected).unwrap_or_else(|| {
            match self.object_type(actual) {
                Some(actual) => actual.chain.contains(&expected.as_u32()),
                // A function's type, or one that does not exist.
                None => types.is_subtype(actual, expected),
            }
        })
    }

    /// Keeps `context` until the store is dropped.
    pub(crate) fn keep(&mut self, context: Box<dyn Any>) {
        self.kept.push(context);
    }

    /// What interrupts its code.
    pub(crate) fn interrupt_handle(&self) -> Result<InterruptHandle> {
        let handle = self.jit.interrupt_handle();
        handle.context("the engine is not interruptible: see `Config::interruptible`")
    }

    /// The code of the modules of the store's instances.
    pub(crate) fn code(&self) -> &[Arc<gc_jit::CodeMemory>] {
        self.jit.code()
    }

    /// Gives a function reference its id.
    pub(crate) fn register_func_ref(&mut self, func_ref: FuncRef) {
        let address = func_ref.address().expose_provenance();
        func_ref.set_id(self.jit.gc_mut().func_refs_mut().add(address));
        self.jit.refresh_func_refs();
    }

    /// Makes room for the ids of `count` more function references.
    pub(crate) fn reserve_func_refs(&mut self, count: usize) {
        if count > 0 {
            self.jit.gc_mut().func_refs_mut().reserve(count);
            self.jit.refresh_func_refs();
        }
    }

    /// Subtracts `count` from the number of elements that the store's tables and segments may still
    /// get.
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

    /// A table and the heap, both mutable.
    pub(crate) fn table_and_gc(&mut self, index: usize) -> (&mut TableData, &mut GcStore) {
        (&mut self.tables[index], self.jit.gc_mut())
    }

    /// The number of the instance to which a vmctx belongs.
    ///
    /// # Safety
    /// `vmctx` must belong to an instance of this store.
    pub(crate) unsafe fn instance_of(vmctx: *mut u8) -> usize {
        // SAFETY: every vmctx begins with a `VMContextPrefix`.
        unsafe { (*vmctx.cast::<VMContextPrefix>()).number }
    }
}
