//! Stores, which contain instances, their heap and the host's data.

mod asynchronous;
mod call_hook;
mod callees;
mod epoch;
mod fuel;
mod growing;
mod host_state;
pub(crate) mod limits;
mod object_types;
mod opaque;
pub(crate) mod roots;
pub(crate) mod weak;
mod work;

pub use call_hook::{CallHook, CallHookHandler};
pub(crate) use callees::{Callee, Known, KnownFunc};
pub use epoch::UpdateDeadline;
pub(crate) use growing::GrownBy;
pub(crate) use opaque::{StoreId, StoreOpaque};

use crate::{Engine, GcHeapOutOfMemory};
use anyhow::Result;
use gc_jit::InterruptHandle;
use gc_runtime::{GcLeft, GcStats, HostPanic, PauseLog};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// Instances, their heap, and the host's data of type `T`. Everything that is made in a store lives
/// until the store is dropped, except objects of its heap.
///
/// Dropping a store drops the host values of its externrefs. If the destructor of one panics, the
/// panic continues when the whole store has been dropped.
///
/// # Examples
/// ```
/// use gc_wasm::{Caller, Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("host", "add", |mut caller: Caller<'_, i32>, more: i32| {
///     *caller.data_mut() += more;
/// })?;
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (import "host" "add" (func $add (param i32)))
///         (func (export "run") (call $add (i32.const 1)) (call $add (i32.const 2))))"#,
/// )?;
///
/// // The data of this store is a sum.
/// let mut store = Store::new(&engine, 39);
/// let instance = linker.instantiate(&mut store, &module)?;
/// instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
/// assert_eq!(store.into_data(), 42);
/// # gc_wasm::error::Ok(())
/// ```
pub struct Store<T: 'static> {
    opaque: Box<StoreOpaque>,
    /// Declared after `opaque`, so that the panic of a host value continues after the whole store
    /// has been dropped.
    _host_panic: HostPanic,
    _data: PhantomData<(T, Invariant<T>)>,
}

/// No other type stands in place of `T`, even if its values could be used as such.
type Invariant<T> = fn(T) -> T;

/// A shared reference to a store.
pub struct StoreContext<'a, T: 'static>(&'a StoreOpaque, PhantomData<&'a T>);

/// A mutable reference to a store.
pub struct StoreContextMut<'a, T: 'static>(&'a mut StoreOpaque, PhantomData<&'a mut T>);

/// Types that give shared access to a store: a store, a reference to one, and the
/// [`Caller`](crate::Caller) of a host function.
pub trait AsContext {
    /// The host's data in the store.
    type Data: 'static;

    /// The store.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// Types that give mutable access to a store.
pub trait AsContextMut: AsContext {
    /// The store.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

impl<T: 'static> Store<T> {
    /// Creates a store with the host's `data`. The heap is made when the first module that uses one
    /// is instantiated, or when the host makes the first object.
    ///
    /// # Panics
    /// If the system refuses what a store needs before it has a heap: the handler of traps, or a
    /// page of memory. [`try_new`](Store::try_new) returns an error then.
    pub fn new(engine: &Engine, data: T) -> Store<T> {
        Store::try_new(engine, data).unwrap_or_else(|error| panic!("making a store: {error:#}"))
    }

    /// Like [`new`](Store::new), but returns an error.
    ///
    /// # Errors
    /// If the system refuses the handler of traps or a page of memory.
    pub fn try_new(engine: &Engine, data: T) -> Result<Store<T>> {
        let opaque = StoreOpaque::new(engine, Box::new(data))?;
        let host_panic = opaque.gc_store().host_panic();
        Ok(Store { opaque, _host_panic: host_panic, _data: PhantomData })
    }

    /// The store's engine.
    pub fn engine(&self) -> &Engine {
        self.opaque.engine()
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        self.opaque.data()
    }

    /// The host's data, mutable.
    pub fn data_mut(&mut self) -> &mut T {
        self.opaque.data_mut()
    }

    /// Drops the store and returns the host's data.
    pub fn into_data(self) -> T {
        self.opaque.into_data()
    }

    /// Collects garbage now: the whole heap. `why` is the error of an allocation that found no room,
    /// if one is the reason.
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.as_context_mut().gc(why)
    }

    /// Collects garbage for at most `time`, while the host has nothing better to do, and returns what is
    /// left ([`GcStore::gc_for`](gc_runtime::GcStore::gc_for) says more). A host that does this often enough,
    /// for example once for each frame that it draws, has few other pauses, as long as garbage is made
    /// slower than it is collected.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Store};
    /// use std::time::Duration;
    ///
    /// let engine = Engine::new(&Config::new())?;
    /// let mut store = Store::new(&engine, ());
    /// // Work for a frame. Then:
    /// let left = store.gc_for(Duration::from_micros(200))?;
    /// assert!(left.is_nothing());
    /// # anyhow::Ok(())
    /// ```
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn gc_for(&mut self, time: Duration) -> Result<GcLeft> {
        self.as_context_mut().gc_for(time)
    }

    /// The size of the GC heap in bytes. 0 if it was not needed yet.
    pub fn gc_heap_capacity(&self) -> usize {
        self.as_context().gc_heap_capacity()
    }

    /// Statistics of the store's heap.
    pub fn gc_stats(&self) -> GcStats {
        self.opaque.gc_store().stats()
    }

    /// The pauses of the store's heap, with their causes.
    pub fn gc_pauses(&self) -> &PauseLog {
        self.opaque.gc_store().pauses()
    }

    /// A handle that interrupts the store's code from another thread.
    ///
    /// # Errors
    /// Unless the engine is [interruptible](crate::Config::interruptible).
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, Store, Trap};
    /// use std::time::Duration;
    ///
    /// let engine = Engine::new(Config::new().interruptible(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "hang") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let hang = instance.get_typed_func::<(), ()>(&mut store, "hang")?;
    ///
    /// let handle = store.interrupt_handle()?;
    /// std::thread::spawn(move || {
    ///     std::thread::sleep(Duration::from_millis(10));
    ///     handle.interrupt();
    /// });
    /// let error = hang.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast::<Trap>()?, Trap::Interrupt);
    /// # anyhow::Ok(())
    /// ```
    pub fn interrupt_handle(&self) -> Result<InterruptHandle> {
        self.opaque.interrupt_handle()
    }

    /// Takes an [interrupt](InterruptHandle::interrupt) back, so that functions can be called again.
    ///
    /// # Errors
    /// If code of the store runs: it must end first.
    pub fn clear_interrupt(&mut self) -> Result<()> {
        self.opaque.jit.clear_interrupt()
    }

    /// Overwrites bytes of the GC heap, for tests of the sandbox: no bytes may cause harm outside
    /// the heap. `at` is relative to the heap's base. Returns whether all bytes are mapped, which
    /// means after the null page and before [`gc_heap_len`](Store::gc_heap_len).
    #[doc(hidden)]
    pub fn overwrite_gc_heap(&mut self, at: u64, bytes: &[u8]) -> bool {
        let heap = self.opaque.gc_store_mut().heap_mut();
        heap.is_some_and(|heap| heap.core_mut().memory.write_bytes(at, bytes).is_some())
    }

    /// Bytes of the GC heap from `at` on, a multiple of eight, for the same tests. `None` unless all
    /// are mapped.
    #[doc(hidden)]
    pub fn gc_heap_bytes(&self, at: u64, count: usize) -> Option<Vec<u8>> {
        let memory = &self.opaque.gc_store().heap()?.core().memory;
        let words = (0..count.div_ceil(8)).map(|n| memory.read_u64(at + n as u64 * 8));
        let words: Vec<u64> = words.collect::<Option<_>>()?;
        Some(words.into_iter().flat_map(u64::to_ne_bytes).collect())
    }

    /// The end of the mapped part of the GC heap, in bytes from its base.
    #[doc(hidden)]
    pub fn gc_heap_len(&self) -> u64 {
        self.opaque.gc_store().heap().map_or(0, |heap| heap.core().memory.len())
    }
}

impl<'a, T: 'static> StoreContext<'a, T> {
    /// The store's engine.
    pub fn engine(&self) -> &'a Engine {
        self.0.engine()
    }

    /// The host's data.
    pub fn data(&self) -> &'a T {
        self.0.data()
    }

    /// The size of the GC heap in bytes. 0 if it was not needed yet.
    pub fn gc_heap_capacity(&self) -> usize {
        usize::try_from(self.0.gc_store().stats().heap_bytes).unwrap_or(usize::MAX)
    }

    /// Statistics of the store's heap.
    pub fn gc_stats(&self) -> GcStats {
        self.0.gc_store().stats()
    }

    /// The pauses of the store's heap, as [`Store::gc_pauses`]. A host function that runs often
    /// enough sees every pause here, although the log keeps only the last ones: [`PauseLog::count`]
    /// tells how many of [`PauseLog::recent`] are new.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{AsContext, Caller, Engine, Instance, Linker, Module, Store};
    /// use std::time::Duration;
    ///
    /// /// Adds the pauses since the last call.
    /// fn tick(mut caller: Caller<'_, Vec<Duration>>) {
    ///     let log = caller.as_context().gc_pauses();
    ///     let known = caller.data().len();
    ///     let new = usize::try_from(log.count()).map_or(0, |count| count - known);
    ///     let old = log.recent().len().saturating_sub(new);
    ///     let lengths: Vec<Duration> = log.recent().skip(old).map(|pause| pause.length).collect();
    ///     caller.data_mut().extend(lengths);
    /// }
    ///
    /// let engine = Engine::default();
    /// let mut linker = Linker::new(&engine);
    /// linker.func_wrap("host", "tick", tick)?;
    /// let module = Module::new(
    ///     &engine,
    ///     r#"(module
    ///         (import "host" "tick" (func $tick))
    ///         (type $bytes (array i8))
    ///         (func (export "run") (param $n i32)
    ///           (loop $more
    ///             (drop (array.new_default $bytes (i32.const 100000)))
    ///             (call $tick)
    ///             (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#,
    /// )?;
    /// let mut store = Store::new(&engine, Vec::new());
    /// let instance = linker.instantiate(&mut store, &module)?;
    /// instance.get_typed_func::<i32, ()>(&mut store, "run")?.call(&mut store, 1000)?;
    /// assert!(!store.data().is_empty());
    /// assert_eq!(store.data().len() as u64, store.gc_pauses().count());
    /// assert_eq!(store.data().iter().sum::<Duration>(), store.gc_pauses().total());
    /// # anyhow::Ok(())
    /// ```
    pub fn gc_pauses(&self) -> &'a PauseLog {
        self.0.gc_store().pauses()
    }

    /// A handle that interrupts the store's code from another thread.
    ///
    /// # Errors
    /// Unless the engine is [interruptible](crate::Config::interruptible).
    pub fn interrupt_handle(&self) -> Result<InterruptHandle> {
        self.0.interrupt_handle()
    }

    pub(crate) fn opaque(self) -> &'a StoreOpaque {
        self.0
    }
}

impl<'a, T: 'static> StoreContextMut<'a, T> {
    /// The store's engine.
    pub fn engine(&self) -> &Engine {
        self.0.engine()
    }

    /// The host's data.
    pub fn data(&self) -> &T {
        self.0.data()
    }

    /// The host's data, mutable.
    pub fn data_mut(&mut self) -> &mut T {
        self.0.data_mut()
    }

    /// Collects garbage now, as [`Store::gc`] does.
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        // The whole heap is collected, whatever the reason.
        let _ = why;
        self.0.gc()
    }

    /// Collects garbage for at most `time`, as [`Store::gc_for`] does.
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn gc_for(&mut self, time: Duration) -> Result<GcLeft> {
        self.0.gc_for(time)
    }

    pub(crate) fn into_opaque(self) -> &'a mut StoreOpaque {
        self.0
    }

    pub(crate) fn opaque_mut(&mut self) -> &mut StoreOpaque {
        self.0
    }

    /// A context for a store whose data is a `T`.
    pub(crate) fn new(opaque: &'a mut StoreOpaque) -> StoreContextMut<'a, T> {
        StoreContextMut(opaque, PhantomData)
    }
}

impl<T: 'static> AsContext for Store<T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(&self.opaque, PhantomData)
    }
}

impl<T: 'static> AsContextMut for Store<T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut::new(&mut self.opaque)
    }
}

impl<T: 'static> AsContext for StoreContext<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0, PhantomData)
    }
}

impl<T: 'static> AsContext for StoreContextMut<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext(self.0, PhantomData)
    }
}

impl<T: 'static> AsContextMut for StoreContextMut<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut::new(self.0)
    }
}

impl<C: AsContext> AsContext for &'_ C {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContext> AsContext for &'_ mut C {
    type Data = C::Data;

    fn as_context(&self) -> StoreContext<'_, C::Data> {
        C::as_context(self)
    }
}

impl<C: AsContextMut> AsContextMut for &'_ mut C {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, C::Data> {
        C::as_context_mut(self)
    }
}

impl<'a, C: AsContext> From<&'a C> for StoreContext<'a, C::Data> {
    fn from(store: &'a C) -> Self {
        store.as_context()
    }
}

impl<'a, C: AsContext> From<&'a mut C> for StoreContext<'a, C::Data> {
    fn from(store: &'a mut C) -> Self {
        C::as_context(store)
    }
}

impl<'a, C: AsContextMut> From<&'a mut C> for StoreContextMut<'a, C::Data> {
    fn from(store: &'a mut C) -> Self {
        store.as_context_mut()
    }
}

impl<'a, T: 'static> From<StoreContextMut<'a, T>> for StoreContext<'a, T> {
    fn from(store: StoreContextMut<'a, T>) -> Self {
        StoreContext(store.0, PhantomData)
    }
}

impl<T: Default + 'static> Default for Store<T> {
    fn default() -> Store<T> {
        Store::new(&Engine::default(), T::default())
    }
}

impl<T: 'static + fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("data", self.data()).finish_non_exhaustive()
    }
}
