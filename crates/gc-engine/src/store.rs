//! [`Store`]: a heap and the code that uses it.

use crate::{Code, Engine, Params, Results, TypedFunction};
use anyhow::Result;
use gc_jit::{JitState, JitStore, VMContextPrefix};
use gc_runtime::{GcStats, GcStore};
use std::fmt;

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
    jit: JitState<Store>,
    engine: Engine,
    code: Code,
    /// The first argument of compiled functions. Compiled code has its address.
    vmctx: Box<VMContextPrefix>,
}

impl Store {
    /// Creates a store with an empty heap, in which `code` runs.
    ///
    /// # Errors
    /// If `code` was compiled for another kind of heap than this engine's (the error names the
    /// difference), if the system refuses the memory, or if the options need a disabled feature.
    pub fn new(engine: &Engine, code: &Code) -> Result<Store> {
        let mut jit = JitState::new(
            engine.new_heap()?,
            engine.abi(),
            engine.host_calls(),
            engine.max_stack(),
        )?;
        jit.keep_alive(code.memory().clone())?;
        for (ty, layout) in code.layouts() {
            jit.gc_mut().ensure_layout(ty, layout)?;
        }
        // Every object has a type, which the code declares.
        let has_objects = code.layouts().next().is_some();
        let vmctx = Box::new(match has_objects {
            true => jit.vmctx_prefix(0)?,
            false => jit.vmctx_prefix_without_heap(0),
        });
        Ok(Store { jit, engine: engine.clone(), code: code.clone(), vmctx })
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

    /// Collects all garbage. Returns false if the collection was skipped because not all roots were
    /// found.
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub fn collect(&mut self) -> Result<bool> {
        self.jit.gc_mut().drop_dead_handles();
        let (gc, mut roots) = self.jit.gc_and_stack();
        Ok(gc.gc(&mut roots)?)
    }

    /// The heap's statistics.
    pub fn stats(&self) -> GcStats {
        self.gc().stats()
    }

    /// The heap.
    pub fn gc(&self) -> &GcStore {
        self.jit.gc()
    }

    pub(crate) fn gc_mut(&mut self) -> &mut GcStore {
        self.jit.gc_mut()
    }

    /// The first argument of compiled functions.
    pub(crate) fn vmctx(&mut self) -> *mut u8 {
        (&raw mut *self.vmctx).cast()
    }
}

impl JitStore for Store {
    fn jit(&self) -> &JitState<Store> {
        &self.jit
    }

    fn jit_mut(&mut self) -> &mut JitState<Store> {
        &mut self.jit
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("engine", &self.engine).finish_non_exhaustive()
    }
}
