//! Stores, which C uses through any number of handles in any order: also in functions that a store's
//! code calls, and after `wasm_store_delete`.

use crate::engine::wasm_engine_t;
use crate::error::given;
use crate::host_info::HostInfo;
use crate::macros::exports;
use anyhow::{Error, Result, anyhow, bail, ensure};
use gc_wasm::{
    AnyRef, AsContext, AsContextMut, Caller, ExternRef, Func, Global, Instance, Memory, Module,
    RootScope, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder, Table, WeakMap,
};
use std::cell::{Cell, UnsafeCell};
use std::collections::HashMap;
use std::mem;
use std::ptr;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A store: `wasm_store_t`.
pub struct wasm_store_t(pub(crate) StoreRef);

/// What a store has for the C interface.
pub(crate) struct Data {
    /// The store itself, for functions of the host.
    store: Weak<StoreCell>,
    limits: StoreLimits,
    /// What C has attached to things that live as long as the store.
    pub(crate) infos: HashMap<StoreItem, HostInfo>,
    /// What C has attached to objects of the heap, as external references to [`HostInfo`].
    pub(crate) object_infos: Option<WeakMap<AnyRef, ExternRef>>,
    /// The instances that C has made, with their modules.
    pub(crate) instances: Vec<(Module, Instance)>,
    /// Whether code looks at the engine's epoch.
    epochs: bool,
}

/// A thing that lives as long as its store.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum StoreItem {
    Func(Func),
    Global(Global),
    Table(Table),
    Memory(Memory),
    Instance(Instance),
}

/// A store that several handles share.
#[derive(Clone)]
pub(crate) struct StoreRef(Arc<StoreCell>);

pub(crate) struct StoreCell {
    store: UnsafeCell<Store<Data>>,
    user: Cell<User>,
    /// Whether the last handle was deleted while the store is used. Then the use counts as a handle.
    orphaned: Cell<bool>,
}

// A function of C that a call reaches may delete every handle of the store, so a call keeps the store alive.
// It does not clone the `Arc`: two atomic instructions each way were a large part of a call with raw values.
impl Drop for StoreRef {
    fn drop(&mut self) {
        // A store is used by one thread at a time, so nobody else counts now.
        if self.0.user.get() != User::NOBODY && Arc::strong_count(&self.0) == 1 {
            self.0.orphaned.set(true);
            mem::forget(self.0.clone());
        }
    }
}

// SAFETY: the header says that a store, and everything that belongs to it, is used by one thread at a
// time. So the cells are never used by two threads at once.
unsafe impl Send for StoreCell {}
// SAFETY: as above.
unsafe impl Sync for StoreCell {}

/// Who uses a store: nobody, a function of the C interface, or a function of C that the store's code has
/// called, with the caller. It is one word, because each call of the store's code writes it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct User(*mut Caller<'static, Data>);

impl User {
    const NOBODY: User = User(ptr::null_mut());
    const API: User = User(ptr::dangling_mut());
}

/// A use of a store by the C interface. When it is dropped, the user of before is restored. If that was
/// nobody, and C has deleted the last handle meanwhile, the store is dropped too.
struct InUse {
    /// The address in its [`Arc`].
    cell: *const StoreCell,
    before: User,
}

impl InUse {
    /// Uses the store of this cell.
    ///
    /// # Safety
    /// It is the address of a cell in its [`Arc`], which lives.
    #[inline]
    unsafe fn new(cell: *const StoreCell) -> InUse {
        // SAFETY: as the caller promises.
        InUse { cell, before: unsafe { &*cell }.user.replace(User::API) }
    }

    #[cold]
    fn drop_last_handle(&self) {
        // SAFETY: as for `drop`.
        unsafe { &*self.cell }.orphaned.set(false);
        // SAFETY: `Drop` for `StoreRef` has counted this handle. Nothing uses the cell afterwards.
        drop(unsafe { Arc::from_raw(self.cell) });
    }
}

impl Drop for InUse {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the cell lives until its last use ends, as `Drop` for `StoreRef` says.
        let cell = unsafe { &*self.cell };
        cell.user.set(self.before);
        if self.before == User::NOBODY && cell.orphaned.get() {
            self.drop_last_handle();
        }
    }
}

/// A call of a function of C. When it is dropped, the store is used by who called, whose use ends later.
struct Calling<'a> {
    user: &'a Cell<User>,
    before: User,
}

impl Drop for Calling<'_> {
    #[inline]
    fn drop(&mut self) {
        self.user.set(self.before);
    }
}

impl Data {
    /// The store of the caller.
    pub(crate) fn store(&self) -> Result<StoreRef> {
        match self.store.upgrade() {
            Some(cell) => Ok(StoreRef(cell)),
            None => bail!("the store is being deleted"),
        }
    }
}

impl StoreRef {
    /// Makes a store.
    fn new(engine: &wasm_engine_t) -> Result<StoreRef> {
        let data = Data {
            store: Weak::new(),
            limits: unlimited().build(),
            infos: HashMap::new(),
            object_infos: None,
            instances: Vec::new(),
            epochs: engine.epochs,
        };
        let mut store = Store::try_new(&engine.engine, data)?;
        store.limiter(|data| &mut data.limits);
        let cell = StoreCell {
            store: UnsafeCell::new(store),
            user: Cell::new(User::NOBODY),
            orphaned: Cell::new(false),
        };
        let store = StoreRef(Arc::new(cell));
        let this = Arc::downgrade(&store.0);
        store.with(|mut store| {
            store.data_mut().store = this;
            Ok(())
        })?;
        Ok(store)
    }

    /// Uses the store. Handles of the engine that `work` makes end with it.
    ///
    /// # Errors
    /// If the store is in use: a finalizer of C, which runs during a collection, has called a function
    /// that needs its store.
    pub(crate) fn with<R>(
        &self,
        work: impl FnOnce(StoreContextMut<'_, Data>) -> Result<R>,
    ) -> Result<R> {
        let work =
            |context: StoreContextMut<'_, Data>| work(RootScope::new(context).as_context_mut());
        // SAFETY: this is a handle to the store.
        unsafe { self.home().with_unscoped(work) }
    }

    /// The store's address. It does not keep the store alive.
    #[inline]
    pub(crate) fn home(&self) -> Home {
        Home(Arc::as_ptr(&self.0))
    }

    /// Whether this is the same store.
    pub(crate) fn is(&self, other: &StoreRef) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The store's engine.
    pub(crate) fn engine(&self) -> Result<gc_wasm::Engine> {
        self.with(|store| Ok(store.engine().clone()))
    }
}

#[cold]
fn in_use() -> Error {
    anyhow!("the store is in use: a finalizer must not call functions that use its store")
}

/// The address of a store, which does not keep it alive. A function of C has it, because the function is
/// dropped with its store. A call has it, because the function that is called may delete the last handle.
pub(crate) struct Home(*const StoreCell);

// SAFETY: as for the cell.
unsafe impl Send for Home {}
// SAFETY: as for the cell.
unsafe impl Sync for Home {}

impl Home {
    /// Uses the store, as [`StoreRef::with`] does, but `work` must make no handles of the engine. It may
    /// delete the last handle to the store. Then the store is dropped afterwards.
    ///
    /// # Safety
    /// The store lives.
    #[inline]
    pub(crate) unsafe fn with_unscoped<R>(
        self,
        work: impl FnOnce(StoreContextMut<'_, Data>) -> Result<R>,
    ) -> Result<R> {
        // SAFETY: as the caller promises.
        let used = unsafe { InUse::new(self.0) };
        let context = match used.before {
            // SAFETY: the cell lives while it is in use. Nobody else has a reference to the store, as
            // `user` says.
            User::NOBODY => unsafe { &mut *(*used.cell).store.get() }.as_context_mut(),
            User::API => return Err(in_use()),
            // SAFETY: the caller lives until the function of C returns, and is not used until then but
            // here.
            User(caller) => unsafe { &mut *caller }.as_context_mut(),
        };
        work(context)
    }

    /// Calls a function of C, which may use the store of the caller.
    #[inline]
    pub(crate) fn calling_back<R>(
        &self,
        caller: &mut Caller<'_, Data>,
        work: impl FnOnce() -> R,
    ) -> R {
        debug_assert!(ptr::eq(self.0, caller.data().store.as_ptr()), "a function of another store");
        // SAFETY: the store lives while a function of it is called, and is in use.
        let cell = unsafe { &*self.0 };
        let before = cell.user.replace(User(ptr::from_mut(caller).cast()));
        let _calling = Calling { user: &cell.user, before };
        work()
    }
}

/// The header has no limits, and its users make any number of instances.
fn unlimited() -> StoreLimitsBuilder {
    let most = usize::MAX;
    StoreLimitsBuilder::new().instances(most).tables(most).memories(most)
}

/// The store of a handle `store`. The handle may be deleted while a function uses the store: by a function
/// of C that the store's code calls, or by a finalizer.
pub(crate) fn store_of(store: Option<&wasm_store_t>) -> Result<StoreRef> {
    Ok(given(store, "store")?.0.clone())
}

/// Limits of a store: `reclaim_limits_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct reclaim_limits_t {
    /// The most bytes of a linear memory.
    pub memory_size: u64,
    /// The most bytes of the GC heap.
    pub gc_heap_size: u64,
    /// The most elements of a table.
    pub table_elements: u64,
    /// The most instances.
    pub instances: u64,
    /// The most tables.
    pub tables: u64,
    /// The most memories.
    pub memories: u64,
}

/// Statistics of a store's heap: `reclaim_gc_stats_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct reclaim_gc_stats_t {
    /// Objects allocated since the store was made. Only exact with zeal.
    pub allocations: u64,
    /// Bytes allocated since the store was made.
    pub allocated_bytes: u64,
    /// Collections.
    pub collections: u64,
    /// Objects that lived after the last collection of the whole heap.
    pub live_objects: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// Bytes of the heap now.
    pub heap_bytes: u64,
    /// The most bytes that the heap had.
    pub peak_heap_bytes: u64,
    /// Pauses.
    pub pauses: u64,
    /// Nanoseconds of all pauses together.
    pub pause_ns: u64,
}

exports! {
    /// Makes a store. NULL if the system refuses what it needs.
    fn wasm_store_new(engine: Option<&wasm_engine_t>) -> Option<Box<wasm_store_t>> {
        let engine = given(engine, "engine")?;
        Ok(Some(Box::new(wasm_store_t(StoreRef::new(engine)?))))
    }

    /// Deletes a store. It lives until all that belongs to it is deleted too.
    fn wasm_store_delete(store: Option<Box<wasm_store_t>>) {
        drop(store);
        Ok(())
    }

    /// Collects all garbage of the store's heap now. `false` if the heap is corrupt.
    fn reclaim_store_gc(store: Option<&wasm_store_t>) -> bool {
        store_of(store)?.with(|mut store| store.gc(None))?;
        Ok(true)
    }

    /// Collects garbage for at most `ns` nanoseconds, and writes the bytes of the objects that the collector
    /// would still visit now to `left`, if it is not null: 0 if there is nothing to do. `false` if the heap
    /// is corrupt.
    fn reclaim_store_gc_for(
        store: Option<&wasm_store_t>,
        ns: u64,
        left: Option<&mut u64>,
    ) -> bool {
        let found = store_of(store)?.with(|mut store| store.gc_for(Duration::from_nanos(ns)))?;
        if let Some(left) = left {
            *left = found.bytes;
        }
        Ok(true)
    }

    /// Reads the statistics of the store's heap.
    fn reclaim_store_gc_stats(
        store: Option<&wasm_store_t>,
        out: crate::vector::Out<'_, reclaim_gc_stats_t>,
    ) -> bool {
        let out = crate::vector::put(out, "out")?;
        *out = store_of(store)?.with(|store| {
            let (stats, pauses) = (store.as_context().gc_stats(), store.as_context().gc_pauses());
            Ok(reclaim_gc_stats_t {
                allocations: stats.allocations,
                allocated_bytes: stats.allocated_bytes,
                collections: stats.collections,
                live_objects: stats.live_objects,
                live_bytes: stats.live_bytes,
                heap_bytes: stats.heap_bytes,
                peak_heap_bytes: stats.peak_heap_bytes,
                pauses: pauses.count(),
                pause_ns: u64::try_from(pauses.total().as_nanos()).unwrap_or(u64::MAX),
            })
        })?;
        Ok(true)
    }

    /// Limits what the store's programs may use from now on.
    fn reclaim_store_limit(
        store: Option<&wasm_store_t>,
        limits: Option<&reclaim_limits_t>,
    ) -> bool {
        let limits = *given(limits, "limits")?;
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let limits = StoreLimitsBuilder::new()
            .memory_size(size(limits.memory_size))
            .gc_heap_size(size(limits.gc_heap_size))
            .table_elements(size(limits.table_elements))
            .instances(size(limits.instances))
            .tables(size(limits.tables))
            .memories(size(limits.memories))
            .build();
        let store = &store_of(store)?;
        // The engine asks for the numbers of instances and the like when the limiter is set.
        store.exclusively(|store| {
            store.data_mut().limits = limits;
            store.limiter(|data| &mut data.limits);
        })?;
        Ok(true)
    }

    /// Sets the fuel that the store's code may consume. `false` unless the engine was configured so.
    fn reclaim_store_set_fuel(store: Option<&wasm_store_t>, fuel: u64) -> bool {
        store_of(store)?.with(|mut store| store.set_fuel(fuel))?;
        Ok(true)
    }

    /// Reads the fuel that is left. `false` unless the engine was configured so.
    fn reclaim_store_fuel(
        store: Option<&wasm_store_t>,
        out: crate::vector::Out<'_, u64>,
    ) -> bool {
        let out = crate::vector::put(out, "out")?;
        *out = store_of(store)?.with(|store| store.get_fuel())?;
        Ok(true)
    }

    /// Lets the store's code trap when the engine's epoch has been incremented `ticks` times from now.
    /// `false` unless the engine was configured so.
    fn reclaim_store_set_epoch_deadline(store: Option<&wasm_store_t>, ticks: u64) -> bool {
        store_of(store)?.with(|mut store| {
            ensure!(
                store.data().epochs,
                "epochs are off: call `reclaim_config_epoch_interruption` before the engine is made"
            );
            store.set_epoch_deadline(ticks);
            Ok(())
        })?;
        Ok(true)
    }
}

impl StoreRef {
    /// Uses the store itself, which no code of it may run meanwhile.
    fn exclusively<R>(&self, work: impl FnOnce(&mut Store<Data>) -> R) -> Result<R> {
        ensure!(self.0.user.get() == User::NOBODY, "the store is in use");
        // SAFETY: this handle is one.
        let _used = unsafe { InUse::new(Arc::as_ptr(&self.0)) };
        // SAFETY: nobody else has a reference to the store, as `user` says.
        Ok(work(unsafe { &mut *self.0.store.get() }))
    }
}
