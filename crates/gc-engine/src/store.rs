//! [`Store`]: a heap and the code that uses it.
#![allow(unsafe_code)]

use crate::{Code, Engine, Params, Results, TypedFunction};
use anyhow::{Context as _, Result};
use gc_jit::{InterruptHandle, JitState, JitStore, VMContextPrefix};
use gc_runtime::{GcLeft, GcStats, GcStore};
use std::fmt;
use std::time::Duration;

/// A heap of an engine's collector, and the code that uses it.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Engine, Module, Store, Type};
///
/// let engine = Engine::new(Collector::generational())?;
/// let mut module = Module::new(&engine);
/// let cell = module.struct_type([Type::I64])?;
/// module.function("garbage", [Type::I64], [], |f| {
///     let value = f.param(0);
///     f.struct_new(&cell, &[value]);
/// })?;
/// let mut store = Store::new(&engine, &module.compile()?)?;
///
/// store.function::<i64, ()>("garbage")?.call(&mut store, 1)?;
/// assert_eq!(store.stats().allocations, 1);
/// store.collect()?;
/// assert_eq!(store.stats().live_objects, 0);
/// # }
/// # anyhow::Ok(())
/// ```
pub struct Store {
    engine: Engine,
    code: Code,
    inner: Inner,
}

/// The part of a store that compiled code uses. It is not public, because whoever could replace its
/// heap could make compiled code use a heap that is gone.
pub(crate) struct Inner {
    jit: JitState<Inner>,
    vmctx: Vmctx,
}

/// The first argument of compiled functions. Compiled code has its address. It points into the
/// store's state, heap and code.
struct Vmctx(Box<VMContextPrefix>);

// SAFETY: what it points to belongs to the same store and moves to another thread with it. Only
// compiled code uses the pointers, with exclusive access to the store.
unsafe impl Send for Vmctx {}
// SAFETY: shared access to a store uses none of the pointers.
unsafe impl Sync for Vmctx {}

impl Store {
    /// Creates a store with an empty heap, in which `code` runs.
    ///
    /// # Errors
    /// If `code` was compiled for another kind of heap than this engine's (the error names the
    /// difference), or if the system refuses the memory.
    pub fn new(engine: &Engine, code: &Code) -> Result<Store> {
        let mut jit = JitState::new(engine.new_heap(), engine.host_calls()?, engine.max_stack())?;
        jit.keep_alive(code.memory().clone())?;
        for (ty, layout) in code.layouts() {
            jit.gc_mut().ensure_layout(ty, layout)?;
        }
        // Every object has a type, which the code declares.
        let has_objects = code.layouts().next().is_some();
        let vmctx = Vmctx(Box::new(match has_objects {
            true => jit.vmctx_prefix(0)?,
            false => jit.vmctx_prefix_without_heap(0),
        }));
        Ok(Store { engine: engine.clone(), code: code.clone(), inner: Inner { jit, vmctx } })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The code that runs in it.
    pub fn code(&self) -> &Code {
        &self.code
    }

    /// The function with this name, the parameters `P` and the results `R`.
    ///
    /// # Errors
    /// If the code has no function with this name, or if the function has other parameters or
    /// results.
    pub fn function<P: Params, R: Results>(&self, name: &str) -> Result<TypedFunction<P, R>> {
        TypedFunction::new(&self.code, name)
    }

    /// A handle that interrupts the store's code from another thread.
    ///
    /// # Errors
    /// Unless the engine is [interruptible](crate::EngineBuilder::interruptible).
    ///
    /// # Examples
    /// ```
    /// use gc_engine::{Collector, Engine, Module, Store, Trap, TrapError};
    ///
    /// let engine = Engine::builder(Collector::copying()).interruptible(true).build()?;
    /// let mut module = Module::new(&engine);
    /// module.function("hang", [], [], |f| f.while_loop(|f| f.i32(1), |_| ()))?;
    /// let mut store = Store::new(&engine, &module.compile()?)?;
    ///
    /// let handle = store.interrupt_handle()?;
    /// std::thread::spawn(move || handle.interrupt());
    /// let error = store.function::<(), ()>("hang")?.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast::<TrapError>()?.trap, Trap::Interrupt);
    /// # anyhow::Ok(())
    /// ```
    pub fn interrupt_handle(&self) -> Result<InterruptHandle> {
        let handle = self.inner.jit.interrupt_handle();
        handle.context("the engine is not interruptible: see `EngineBuilder::interruptible`")
    }

    /// Takes an [interrupt](InterruptHandle::interrupt) back, so that functions can be called again.
    ///
    /// # Errors
    /// If code of the store runs: it must end first.
    pub fn clear_interrupt(&mut self) -> Result<()> {
        self.inner.jit.clear_interrupt()
    }

    /// Collects all garbage. Returns false if the collection was skipped because not all roots were
    /// found.
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn collect(&mut self) -> Result<bool> {
        self.inner.jit.gc_mut().drop_dead_handles();
        self.gc_all()
    }

    /// Collects for at most `time`, while the host has nothing better to do, and returns what is left
    /// ([`GcStore::gc_for`] says more).
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn collect_for(&mut self, time: Duration) -> Result<GcLeft> {
        self.inner.jit.gc_mut().drop_dead_handles();
        let (gc, mut roots) = self.inner.jit.gc_and_stack();
        Ok(gc.gc_for(&mut roots, time)?)
    }

    /// The heap's statistics.
    pub fn stats(&self) -> GcStats {
        self.gc().stats()
    }

    /// The heap.
    pub fn gc(&self) -> &GcStore {
        self.inner.jit.gc()
    }

    pub(crate) fn gc_mut(&mut self) -> &mut GcStore {
        self.inner.jit.gc_mut()
    }

    /// Collects, with all roots of the store.
    pub(crate) fn gc_all(&mut self) -> Result<bool> {
        let (gc, mut roots) = self.inner.jit.gc_and_stack();
        Ok(gc.gc(&mut roots)?)
    }

    /// The part that compiled code uses, and the context to call it with.
    pub(crate) fn entry(&mut self) -> (&mut Inner, *mut u8) {
        let vmctx = (&raw mut *self.inner.vmctx.0).cast();
        (&mut self.inner, vmctx)
    }
}

impl JitStore for Inner {
    fn jit(&self) -> &JitState<Inner> {
        &self.jit
    }

    fn jit_mut(&mut self) -> &mut JitState<Inner> {
        &mut self.jit
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("engine", &self.engine).finish_non_exhaustive()
    }
}
