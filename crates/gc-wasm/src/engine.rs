//! [`Engine`]: a configuration, a set of canonical types and a code generator. Any number of modules and stores on any number of threads share it.

use crate::types::registry::TypeRegistry;
use crate::vm::layout;
use crate::{Collector, Config, host_calls};
use anyhow::{Context, Result};
#[cfg(feature = "compiler")]
use gc_compiler::{CompileOptions, Compiler, OptLevel};
use gc_types::Abi;
use gc_types::collector::generational;
use std::fmt;
use std::sync::Arc;

/// Compiles modules and makes stores, all with the same collector. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<EngineInner>);

struct EngineInner {
    config: Config,
    types: TypeRegistry,
    abi: Abi,
    #[cfg(feature = "compiler")]
    compiler: Compiler,
}

impl Engine {
    /// Creates an engine with these settings.
    ///
    /// # Errors
    /// If the settings are invalid or this machine is not supported.
    pub fn new(config: &Config) -> Result<Engine> {
        config.check().context("engine configuration")?;
        let abi = abi(config);
        Ok(Engine(Arc::new(EngineInner {
            config: config.clone(),
            types: TypeRegistry::new()?,
            #[cfg(feature = "compiler")]
            compiler: compiler(config, &abi)?,
            abi,
        })))
    }

    /// The engine's settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The collector of its stores.
    pub fn collector(&self) -> &Collector {
        &self.0.config.collector
    }

    /// Whether `other` is the same engine.
    pub fn same(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn types(&self) -> &TypeRegistry {
        &self.0.types
    }

    #[cfg(feature = "compiler")]
    pub(crate) fn compiler(&self) -> &Compiler {
        &self.0.compiler
    }

    /// The ABI of its code.
    pub fn abi(&self) -> &Abi {
        &self.0.abi
    }
}

/// The compiler that `config` asks for.
#[cfg(feature = "compiler")]
fn compiler(config: &Config, abi: &Abi) -> Result<Compiler> {
    let options = CompileOptions {
        opt_level: if config.optimize { OptLevel::Speed } else { OptLevel::None },
        verifier: config.verify,
        huge_function: config.huge_function,
    };
    Compiler::new(abi, &options)
}

/// What code compiled with `config` depends on.
fn abi(config: &Config) -> Abi {
    let nursery = config.heap_options().nursery_size();
    let collector = config.collector.abi().with(generational::NURSERY, nursery.into());
    Abi::new(collector)
        .with_bounds(config.gc_heap_bounds)
        .with_zeal(config.gc_zeal != 0)
        .with_host_calls(host_calls::WASM.iter().copied())
        .with_embedder("vmctx", layout::VERSION)
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.collector().name())
    }
}
