//! The errors of calls: a [`Trap`](crate::Trap) or a host function's error, with a
//! [`WasmBacktrace`] as context.

use crate::store::StoreOpaque;
use crate::vm::instance::InstanceData;
use crate::{AsContext, GcHeapOutOfMemory, Module};
use anyhow::Error;
use gc_jit::{Backtrace, BacktraceFrame, CallError};
use gc_types::{FunctionId, Trap};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::PoisonError;

/// The WebAssembly functions that were on the stack when an error happened, the innermost first. It
/// is context of the error: [`Error::downcast_ref`](anyhow::Error::downcast_ref) finds it.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, Instance, Module, Store, Trap, WasmBacktrace};
///
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     "(module (func $inner unreachable) (func $outer (export \"run\") (call $inner)))",
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
/// let error = run.call(&mut store, ()).unwrap_err();
///
/// assert_eq!(*error.downcast_ref::<Trap>().unwrap(), Trap::UnreachableCodeReached);
/// # if cfg!(feature = "backtrace") {
/// let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
/// assert_eq!(frames.len(), 2);
/// assert_eq!(frames[0].func_name(), Some("inner"));
/// assert_eq!(frames[1].func_index(), 1);
/// # }
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct WasmBacktrace {
    frames: Vec<FrameInfo>,
    omitted: usize,
}

impl WasmBacktrace {
    /// The WebAssembly functions of `store` that are on the stack. There are none if the host is not
    /// in a function that WebAssembly called.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Caller, Engine, Func, Instance, Module, Store, WasmBacktrace};
    ///
    /// let engine = Engine::default();
    /// let wat = r#"(module (import "" "" (func $host)) (func $run (export "run") (call $host)))"#;
    /// let mut store = Store::new(&engine, ());
    /// let host = Func::wrap(&mut store, |caller: Caller<'_, ()>| {
    ///     # if cfg!(feature = "backtrace") {
    ///     assert_eq!(WasmBacktrace::capture(&caller).frames()[0].func_name(), Some("run"));
    ///     # }
    /// });
    /// let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[host.into()])?;
    /// instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context().opaque();
        WasmBacktrace::new(store, &store.jit.backtrace())
    }

    /// The same as [`capture`](WasmBacktrace::capture), also if the engine's errors have no
    /// backtraces ([`Config::wasm_backtrace_max_frames`](crate::Config::wasm_backtrace_max_frames)).
    pub fn force_capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context().opaque();
        let most = store.engine().config().trace.backtrace_frames.unwrap_or(NonZeroUsize::MAX);
        WasmBacktrace::limited(store, &store.jit.backtrace(), most.get())
    }

    pub(crate) fn new(store: &StoreOpaque, backtrace: &Backtrace) -> WasmBacktrace {
        let most = store.engine().config().trace.backtrace_frames.map_or(0, NonZeroUsize::get);
        WasmBacktrace::limited(store, backtrace, most)
    }

    fn limited(store: &StoreOpaque, backtrace: &Backtrace, most: usize) -> WasmBacktrace {
        let mut modules = store.modules_by_code.lock().unwrap_or_else(PoisonError::into_inner);
        modules.update(&store.instances);
        let frames = backtrace.frames().iter();
        let mut frames: Vec<_> =
            frames.filter_map(|frame| FrameInfo::new(store, &modules, frame)).collect();
        let more = frames.len().saturating_sub(most);
        frames.truncate(most);
        WasmBacktrace { frames, omitted: more + backtrace.omitted() }
    }

    /// The functions, the innermost first.
    pub fn frames(&self) -> &[FrameInfo] {
        &self.frames
    }

    /// The number of outer frames on the stack that were not recorded. A frame counts once, however many
    /// calls are inlined into its function.
    pub fn omitted(&self) -> usize {
        self.omitted
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error while executing at wasm backtrace:")?;
        for (i, frame) in self.frames.iter().enumerate() {
            write!(f, "\n  {i:>3}: ")?;
            if let Some(offset) = frame.module_offset() {
                write!(f, "{offset:#8x} - ")?;
            }
            write!(f, "{}!", frame.module().name().unwrap_or("<unknown>"))?;
            match frame.func_name() {
                Some(name) => f.write_str(name)?,
                None => write!(f, "<wasm function {}>", frame.func_index())?,
            }
        }
        if self.omitted > 0 {
            write!(f, "\n       ... {} more functions", self.omitted)?;
        }
        Ok(())
    }
}

/// The modules of a store by their code. It is made for the first backtrace, and each later one adds the
/// instances that were made since. So a backtrace does not look at all modules of the store.
#[derive(Debug, Default)]
pub(crate) struct ModulesByCode {
    /// An instance of each module, by the address of the module's code.
    instances: BTreeMap<usize, usize>,
    /// The number of instances that were looked at.
    seen: usize,
}

impl ModulesByCode {
    fn update(&mut self, instances: &[InstanceData]) {
        for (number, instance) in instances.iter().enumerate().skip(self.seen) {
            self.instances.entry(instance.module.code().base().addr()).or_insert(number);
        }
        self.seen = instances.len();
    }
}

/// A function in a [`WasmBacktrace`].
#[derive(Clone, Debug)]
pub struct FrameInfo {
    module: Module,
    func_index: u32,
    offset: Option<u32>,
}

impl FrameInfo {
    fn new(
        store: &StoreOpaque,
        modules: &ModulesByCode,
        frame: &BacktraceFrame,
    ) -> Option<FrameInfo> {
        let FunctionId::Function(func_index) = frame.function else { return None };
        let instance = *modules.instances.get(&frame.code_base())?;
        let module = store.instances[instance].module.clone();
        let offset = frame.srcloc.filter(|_| store.engine().config().trace.address_map);
        Some(FrameInfo { module, func_index, offset })
    }

    /// The function's index in its module.
    pub fn func_index(&self) -> u32 {
        self.func_index
    }

    /// The function's module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// The function's name in the name section, or else the name of its first export.
    pub fn func_name(&self) -> Option<&str> {
        self.module.names().func(self.func_index)
    }

    /// The offset of the instruction in the module in bytes, if it is known.
    pub fn module_offset(&self) -> Option<usize> {
        self.offset.map(|offset| offset as usize)
    }

    /// The offset of the instruction in the function's body in bytes, if it is known. It is not in
    /// modules that were saved and loaded.
    pub fn func_offset(&self) -> Option<usize> {
        let body = self.module.info().funcs[self.func_index as usize].body?;
        Some(self.offset?.checked_sub(body)? as usize)
    }
}

impl StoreOpaque {
    /// The error of a call for the host: the trap or the host function's own error, with the
    /// WebAssembly functions that were on the stack as context.
    #[cold]
    pub(crate) fn call_error(&mut self, error: CallError) -> Error {
        match error {
            CallError::Trap(error) => {
                let backtrace = WasmBacktrace::new(self, &error.backtrace);
                let trap = Error::from(error.trap);
                let trap = match error.detail {
                    // As for an allocation by the host.
                    Some(detail) if error.trap == Trap::OutOfMemory => {
                        let out_of_memory = GcHeapOutOfMemory::of_code(detail.clone());
                        trap.context(detail).context(out_of_memory)
                    }
                    Some(detail) => trap.context(detail),
                    None => trap,
                };
                with_backtrace(trap, backtrace)
            }
            // The error of a call inside the host function has the functions of both calls.
            CallError::Host(error) if error.is::<WasmBacktrace>() => {
                // Those that were recorded on the way must not become those of another error.
                self.jit.take_backtrace();
                error
            }
            CallError::Host(error) => match self.jit.take_backtrace() {
                Some(backtrace) => with_backtrace(error, WasmBacktrace::new(self, &backtrace)),
                None => error,
            },
        }
    }
}

fn with_backtrace(error: Error, backtrace: WasmBacktrace) -> Error {
    match backtrace.frames.is_empty() {
        true => error,
        false => error.context(backtrace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A trap that Wasmtime has too has its name and its text.
    #[test]
    fn texts_are_those_of_wasmtime() {
        let theirs: Vec<wasmtime_types::Trap> =
            (0..=u8::MAX).filter_map(wasmtime_types::Trap::from_u8).collect();
        let own = [Trap::CorruptHeap, Trap::OutOfMemory, Trap::BadFuncRef];
        for trap in Trap::ALL {
            let same = theirs.iter().find(|their| format!("{their:?}") == format!("{trap:?}"));
            assert_eq!(same.is_none(), own.contains(trap), "{trap:?}");
            if let Some(same) = same {
                assert_eq!(trap.to_string(), same.to_string());
            }
        }
    }
}
