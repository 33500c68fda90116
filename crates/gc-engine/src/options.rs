//! The options of an engine by subject, beside those of its heaps
//! ([`HeapOptions`](gc_runtime::HeapOptions)): how code runs, and how it is compiled.

#[cfg(feature = "compiler")]
use gc_compiler::{CompileOptions, OptLevel, cache::CacheStore};
#[cfg(feature = "compiler")]
use std::fmt;
#[cfg(feature = "compiler")]
use std::sync::Arc;
#[cfg(feature = "compiler")]
use std::time::Duration;

/// How compiled code runs.
///
/// ```
/// use gc_engine::{Collector, Engine, RunOptions};
///
/// let run = RunOptions { interruptible: true, ..RunOptions::default() };
/// let engine = Engine::builder(Collector::copying()).run(run).build()?;
/// assert_eq!(engine.max_stack(), RunOptions::DEFAULT_MAX_STACK);
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// Bytes of native stack that compiled code may use, at least
    /// [`Engine::MIN_STACK`](crate::Engine::MIN_STACK). Code traps if it needs more.
    pub max_stack: usize,
    /// Whether running code can be interrupted from another thread. Then each loop polls, with one
    /// instruction. See [`InterruptHandle`](crate::InterruptHandle).
    pub interruptible: bool,
}

impl RunOptions {
    /// The stack of [`RunOptions::default`], in bytes.
    pub const DEFAULT_MAX_STACK: usize = 1 << 20;
}

impl Default for RunOptions {
    /// [`DEFAULT_MAX_STACK`](RunOptions::DEFAULT_MAX_STACK) bytes of stack, without polls.
    fn default() -> RunOptions {
        RunOptions { max_stack: RunOptions::DEFAULT_MAX_STACK, interruptible: false }
    }
}

/// How code is compiled.
///
/// ```
/// use gc_engine::{CodeOptions, Collector, Engine};
///
/// let code = CodeOptions { inlining: false, ..CodeOptions::default() };
/// assert!(!Engine::builder(Collector::copying()).code(code).build()?.inlines());
/// # anyhow::Ok(())
/// ```
#[cfg(feature = "compiler")]
#[derive(Clone)]
pub struct CodeOptions {
    /// The options of the compiler. [`CompileOptions::verifier`] only lets Cranelift verify functions again
    /// while it compiles them. It is independent of [`verify`](CodeOptions::verify).
    pub compile: CompileOptions,
    /// Whether each function is verified, and checked against the rules of emitted code
    /// ([`gc_compiler::check`]), before it is compiled. Without it, CLIF that is not valid may panic in
    /// Cranelift, and code that breaks a rule may read memory outside the heap or lose references. So switch
    /// it off only for code from a compiler that is well tested.
    ///
    /// The checkers find mistakes. They are no defence against CLIF that is written to deceive them: code that
    /// uses [`Body::builder`](crate::Body::builder) is part of the compiler, and trusted.
    pub verify: bool,
    /// Whether small functions of a module are inlined into others. Without optimization
    /// ([`OptLevel::None`]) none are.
    pub inlining: bool,
    /// Whether code tests the type of an object before it reads or writes its fields or elements. If the
    /// object is of another type, the code traps ([`Trap::CastFailure`](gc_types::Trap::CastFailure)). Without
    /// it, such an access reads or writes other bytes of the heap. It is for the development of a
    /// compiler, and takes time. Engines with [zeal](crate::EngineBuilder::zeal) always do it.
    ///
    /// ```
    /// use gc_engine::{CodeOptions, Collector, Engine, Module, Rooted, Store, Type};
    ///
    /// let code = CodeOptions { checked: true, ..CodeOptions::default() };
    /// let engine = Engine::builder(Collector::copying()).code(code).build()?;
    /// let mut module = Module::new(&engine);
    /// let one = module.struct_type("one", [Type::I64])?;
    /// let other = module.struct_type("other", [Type::I32])?;
    /// module.function("wrong", [], [Type::I64], |f| {
    ///     let zero = f.i32(0);
    ///     let object = f.struct_new(&other, &[zero]);
    ///     let field = f.struct_get(&one, object, 0);
    ///     f.ret(&[field]);
    /// })?;
    /// let mut store = Store::new(&engine, ())?;
    /// store.load(&module.compile()?)?;
    /// let error = store.function::<(), i64>("wrong")?.call(&mut store, ()).unwrap_err();
    /// assert!(error.to_string().starts_with("cast failure"), "{error}");
    /// # anyhow::Ok(())
    /// ```
    pub checked: bool,
    /// Whether [objects](crate::native) have `.eh_frame`: tables by which unwinders walk the frames of compiled code
    /// to their callers, such as `_Unwind_Backtrace` in a function of C, and profilers that follow no frame pointers.
    /// They are for walks only: no exception of C++ or panic of Rust may leave compiled code.
    ///
    /// The tables describe functions after their first instructions and before the last ones, as Cranelift does.
    pub unwind_tables: bool,
    /// Where compiled functions are kept, so that they are not compiled again. Engines can share a cache,
    /// whatever their options are. What it returns is trusted: see [`gc_compiler::cache`].
    pub cache: Option<Arc<dyn CacheStore>>,
    /// The time that the compilation of one module may take. If it takes longer,
    /// [`Module::compile`](crate::Module::compile) fails with
    /// [`CompilationEnded::TimeLimit`](crate::CompilationEnded::TimeLimit), soon after that. An embedder that
    /// compiles itself decides what a compilation is ([`Compiler::begin`](gc_compiler::Compiler::begin)).
    pub time_limit: Option<Duration>,
}

#[cfg(feature = "compiler")]
impl CodeOptions {
    /// Whether functions are inlined with these options.
    pub(crate) fn inlines(&self) -> bool {
        self.inlining && self.compile.opt_level != OptLevel::None
    }
}

#[cfg(feature = "compiler")]
impl Default for CodeOptions {
    /// [`CompileOptions::default`], verified, with inlining, without tests of types, without tables for
    /// unwinders, without a cache and without a limit of time.
    fn default() -> CodeOptions {
        CodeOptions {
            compile: CompileOptions::default(),
            verify: true,
            inlining: true,
            checked: false,
            unwind_tables: false,
            cache: None,
            time_limit: None,
        }
    }
}

#[cfg(feature = "compiler")]
impl fmt::Debug for CodeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeOptions")
            .field("compile", &self.compile)
            .field("verify", &self.verify)
            .field("inlining", &self.inlining)
            .field("checked", &self.checked)
            .field("unwind_tables", &self.unwind_tables)
            .field("cached", &self.cache.is_some())
            .field("time_limit", &self.time_limit)
            .finish()
    }
}
