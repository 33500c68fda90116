//! Settings of the code generator.

use super::Config;
#[cfg(feature = "compiler")]
use anyhow::{Context as _, Result};
#[cfg(feature = "compiler")]
use gc_types::{Machine, Processor};
#[cfg(feature = "compiler")]
use std::sync::Arc;
use std::time::Duration;

/// The default of [`Config::huge_function`].
const HUGE_FUNCTION: usize = 100_000;

#[cfg(feature = "compiler")]
const _: () = assert!(HUGE_FUNCTION == gc_compiler::CompileOptions::HUGE_FUNCTION);

/// How far Cranelift optimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptLevel {
    /// Compile fast.
    None,
    /// Make fast code.
    Speed,
    /// Make fast and small code.
    SpeedAndSize,
}

/// The register allocator of Cranelift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegallocAlgorithm {
    /// Makes fast code.
    Backtracking,
    /// Compiles fast.
    SinglePass,
}

/// The code generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// The default: Cranelift.
    Auto,
    /// Cranelift.
    Cranelift,
    /// Wasmtime's baseline compiler, which is not supported.
    Winch,
}

/// Which calls are inlined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inlining {
    /// Calls of small functions of the same module.
    Yes,
    /// No calls.
    No,
}

/// How code is compiled.
#[derive(Clone, Debug)]
pub(crate) struct CodeSettings {
    pub(crate) opt_level: OptLevel,
    pub(crate) regalloc: RegallocAlgorithm,
    pub(crate) nan_canonicalization: bool,
    pub(crate) sign_return_addresses: bool,
    pub(crate) verifier: bool,
    pub(crate) huge_function: usize,
    /// Whether functions are compiled on several threads.
    pub(crate) parallel: bool,
    pub(crate) inlining: Inlining,
    /// How long the compilation of a module may take.
    pub(crate) compilation_time_limit: Option<Duration>,
    /// What is written into saved code in place of the version of this crate.
    pub(crate) module_version: Option<String>,
    /// The machine that code is compiled for, if it is not this one.
    #[cfg(feature = "compiler")]
    pub(crate) target: Option<Machine>,
    /// Where compiled modules are kept.
    #[cfg(feature = "compiler")]
    pub(crate) cache: Option<super::Cache>,
    /// Where compiled functions are kept.
    #[cfg(feature = "compiler")]
    pub(crate) cache_store: Option<Arc<dyn gc_compiler::cache::CacheStore>>,
}

impl Default for CodeSettings {
    fn default() -> CodeSettings {
        CodeSettings {
            opt_level: OptLevel::Speed,
            regalloc: RegallocAlgorithm::Backtracking,
            nan_canonicalization: false,
            sign_return_addresses: false,
            verifier: cfg!(debug_assertions),
            huge_function: HUGE_FUNCTION,
            parallel: true,
            inlining: Inlining::Yes,
            compilation_time_limit: None,
            module_version: None,
            #[cfg(feature = "compiler")]
            target: None,
            #[cfg(feature = "compiler")]
            cache: None,
            #[cfg(feature = "compiler")]
            cache_store: None,
        }
    }
}

#[cfg(feature = "compiler")]
impl CodeSettings {
    /// Whether calls are inlined. Code that is to be compiled fast has no use for it.
    pub(crate) fn inlines(&self) -> bool {
        self.inlining != Inlining::No && self.optimizes()
    }

    /// Whether functions are simplified.
    pub(crate) fn optimizes(&self) -> bool {
        self.opt_level != OptLevel::None
    }

    /// The options of the engine below.
    pub(crate) fn options(&self) -> gc_engine::CodeOptions {
        let compile = gc_compiler::CompileOptions {
            opt_level: match self.opt_level {
                OptLevel::None => gc_compiler::OptLevel::None,
                OptLevel::Speed => gc_compiler::OptLevel::Speed,
                OptLevel::SpeedAndSize => gc_compiler::OptLevel::SpeedAndSize,
            },
            regalloc: match self.regalloc {
                RegallocAlgorithm::Backtracking => gc_compiler::RegallocAlgorithm::Backtracking,
                RegallocAlgorithm::SinglePass => gc_compiler::RegallocAlgorithm::SinglePass,
            },
            nan_canonicalization: self.nan_canonicalization,
            sign_return_addresses: self.sign_return_addresses,
            verifier: self.verifier,
            huge_function: self.huge_function,
        };
        gc_engine::CodeOptions {
            compile,
            inlining: self.inlines(),
            cache: self.cache_store.clone(),
            time_limit: self.compilation_time_limit,
            ..gc_engine::CodeOptions::default()
        }
    }
}

impl Config {
    /// Sets the code generator (default: Cranelift, the only one).
    pub fn strategy(&mut self, strategy: Strategy) -> &mut Config {
        let winch = strategy == Strategy::Winch;
        self.refuse("strategy", winch, "the only code generator is Cranelift")
    }

    /// Sets the machine for which code is compiled (default: this one, with all of its extensions): a
    /// target triple, for a machine without extensions, or a [level](Machine::baseline) of an
    /// architecture, such as `x86-64-v3`. Modules for another processor can be
    /// [precompiled](crate::Engine::precompile_module), with the feature `cross`, but not run.
    ///
    /// # Errors
    /// If the processor is unknown, or the system is not this one.
    ///
    /// # Examples
    /// ```
    /// # use gc_wasm::{Config, Engine, Module};
    /// let mut config = Config::new();
    /// assert!(config.target("pdp11-unknown-linux-gnu").is_err());
    /// # if !cfg!(feature = "cross") { return gc_wasm::error::Ok(()) }
    /// config.target("aarch64-unknown-linux-gnu")?;
    /// let saved: Vec<u8> = Engine::new(&config)?.precompile_module(b"(module)")?;
    ///
    /// let here = Engine::default();
    /// # if cfg!(target_arch = "aarch64") { return gc_wasm::error::Ok(()) }
    /// // SAFETY: nobody has changed the bytes.
    /// assert!(unsafe { Module::deserialize(&here, &saved) }.is_err());
    /// # gc_wasm::error::Ok(())
    /// ```
    #[cfg(feature = "compiler")]
    pub fn target(&mut self, target: &str) -> Result<&mut Config> {
        let machine = Machine::target(target);
        self.code.target = Some(machine.with_context(|| {
            let all = Processor::ALL.map(|it| format!("{}-{}", it.name(), std::env::consts::OS));
            let levels: Vec<_> = Processor::ALL.iter().flat_map(|it| it.levels()).collect();
            format!(
                "cannot compile for the target `{target}`: there are {}, and the levels {}",
                all.join(" and "),
                levels.join(", ")
            )
        })?);
        Ok(self)
    }

    /// Sets how far compiled code is optimised (default: [`OptLevel::Speed`]).
    pub fn cranelift_opt_level(&mut self, level: OptLevel) -> &mut Config {
        self.code.opt_level = level;
        self
    }

    /// Sets which calls are inlined (default: [`Inlining::Yes`]). Nothing is inlined if the
    /// optimisation level is [`OptLevel::None`]. A backtrace also has the functions whose calls were
    /// inlined.
    pub fn compiler_inlining(&mut self, inlining: Inlining) -> &mut Config {
        self.code.inlining = inlining;
        self
    }

    /// Sets the register allocator (default: [`RegallocAlgorithm::Backtracking`]).
    pub fn cranelift_regalloc_algorithm(&mut self, algorithm: RegallocAlgorithm) -> &mut Config {
        self.code.regalloc = algorithm;
        self
    }

    /// Sets whether the functions of a module are compiled on several threads (default: yes). The
    /// code is the same.
    pub fn parallel_compilation(&mut self, yes: bool) -> &mut Config {
        self.code.parallel = yes;
        self
    }

    /// Sets whether the results of float operations that are NaN are one canonical NaN (default: no;
    /// then they are what the machine makes).
    pub fn cranelift_nan_canonicalization(&mut self, yes: bool) -> &mut Config {
        self.code.nan_canonicalization = yes;
        self
    }

    /// Sets whether functions sign their return addresses while these are on the stack (default: no). Then a return to an
    /// address that was overwritten there is a fault and not a jump. This is the pointer authentication of aarch64. A
    /// processor of aarch64 without it runs the same code, and does not check. An engine for another processor is refused.
    /// Code that signs and code that does not can call each other.
    ///
    /// # Examples
    /// ```
    /// # use gc_wasm::{Config, Engine};
    /// # if !cfg!(feature = "cross") { return gc_wasm::error::Ok(()) }
    /// let mut config = Config::new();
    /// config.sign_return_addresses(true);
    /// assert!(Engine::new(config.target("x86_64-unknown-linux-gnu")?).is_err());
    /// Engine::new(config.target("aarch64-unknown-linux-gnu")?)?;
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn sign_return_addresses(&mut self, yes: bool) -> &mut Config {
        self.code.sign_return_addresses = yes;
        self
    }

    /// Sets whether the code generator's input is verified and checked against the collector's
    /// rules (default: in debug builds).
    pub fn cranelift_debug_verifier(&mut self, yes: bool) -> &mut Config {
        self.code.verifier = yes;
        self
    }

    /// Sets the number of instructions of intermediate code from which a function counts as huge
    /// (default: 100 000, which is some tens of kilobytes of WebAssembly). A huge function is
    /// compiled without optimisation and with a simpler register allocator, in time proportional to
    /// its size. Usually the code generator needs time quadratic in a function's size in the worst
    /// case, and the author of a module can provoke that case. A function in which more than 100 loops
    /// are nested in each other counts as huge too. With 0 all functions count as huge.
    /// With `usize::MAX`, which is for trusted modules, none does.
    pub fn huge_function(&mut self, instructions: usize) -> &mut Config {
        self.code.huge_function = instructions;
        self
    }

    /// Sets the wall-clock time that the compilation of a module may take (default: any). If it takes
    /// longer, it fails with the error
    /// [`CompilationEnded::TimeLimit`](crate::CompilationEnded::TimeLimit), whose context names a
    /// function that was being compiled, or the next one. For modules of authors whom you do not trust.
    ///
    /// The error comes soon after the limit: each thread looks at the time before it begins a function
    /// and between the steps of one. The longest step is that in which Cranelift makes the machine code
    /// of one function, after the function was optimised. For the largest function that is compiled at
    /// all this takes some seconds.
    ///
    /// [`Engine::cancel_compilations`](crate::Engine::cancel_compilations) ends compilations at any
    /// time.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_wasm::{CompilationEnded, Config, Engine, Module};
    /// use std::time::Duration;
    ///
    /// let limit = Duration::from_millis(1);
    /// let engine = Engine::new(Config::new().compilation_time_limit(Some(limit)))?;
    /// let functions = "(func (param i32) (drop (local.get 0)))".repeat(20_000);
    /// let error = Module::new(&engine, format!("(module {functions})")).unwrap_err();
    /// assert_eq!(error.downcast_ref(), Some(&CompilationEnded::TimeLimit(limit)));
    /// # }
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn compilation_time_limit(&mut self, limit: Option<Duration>) -> &mut Config {
        self.code.compilation_time_limit = limit;
        self
    }
}
