//! [`Engine`]: one configuration, one set of canonical types, one code generator,
//! shared by any number of modules and stores on any number of threads.

use crate::compile::signature::clif_signature;
use crate::types::registry::TypeRegistry;
use crate::{Collector, Config};
use anyhow::{Context, Result};
use gc_compiler::CompilerOptions;
use gc_jit::{EntryTrampoline, ExitTrampoline, JitCompiler, JitOptions, OptLevel};
use gc_runtime::HeapBounds;
use gc_types::{TypeIndex, VMOffsets};
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, RwLock};

/// Compiles modules and makes stores, all with one collector. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<EngineInner>);

struct EngineInner {
    config: Config,
    types: TypeRegistry,
    jit: JitCompiler,
    compiler_options: CompilerOptions,
    entry_trampolines: Cache<EntryTrampoline>,
    exit_trampolines: Cache<ExitTrampoline>,
}

/// Trampolines by function type, made when first needed.
type Cache<T> = RwLock<HashMap<TypeIndex, Arc<T>>>;

fn cached<K: Eq + Hash + Copy, T>(
    cache: &RwLock<HashMap<K, Arc<T>>>,
    key: K,
    make: impl FnOnce() -> Result<Arc<T>>,
) -> Result<Arc<T>> {
    if let Some(found) = cache.read().unwrap().get(&key) {
        return Ok(found.clone());
    }
    let made = make()?;
    Ok(cache.write().unwrap().entry(key).or_insert(made).clone())
}

impl Engine {
    /// An engine with these settings.
    ///
    /// # Errors
    /// If the settings are not possible, or this machine is not supported.
    pub fn new(config: &Config) -> Result<Engine> {
        config.check().context("engine configuration")?;
        let jit = JitCompiler::new(&JitOptions {
            opt_level: if config.optimize { OptLevel::Speed } else { OptLevel::None },
            verifier: config.verify,
            huge_function: config.huge_function,
        })?;
        let compiler_options = CompilerOptions {
            offsets: VMOffsets::HOST,
            guarded: config.gc_heap_bounds == HeapBounds::Guarded,
            zeal: config.gc_zeal != 0,
            nursery: config.heap_options().nursery_size(),
        };
        Ok(Engine(Arc::new(EngineInner {
            config: config.clone(),
            types: TypeRegistry::new()?,
            jit,
            compiler_options,
            entry_trampolines: Cache::default(),
            exit_trampolines: Cache::default(),
        })))
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The collector of its stores.
    pub fn collector(&self) -> &Collector {
        &self.0.config.collector
    }

    /// Whether both are the same engine.
    pub fn same(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn types(&self) -> &TypeRegistry {
        &self.0.types
    }

    pub(crate) fn jit(&self) -> &JitCompiler {
        &self.0.jit
    }

    pub(crate) fn compiler_options(&self) -> &CompilerOptions {
        &self.0.compiler_options
    }

    /// The way into compiled functions of type `ty`.
    pub(crate) fn entry_trampoline(&self, ty: TypeIndex) -> Result<Arc<EntryTrampoline>> {
        cached(&self.0.entry_trampolines, ty, || {
            let ty = self.types().get(ty);
            self.0.jit.entry_trampoline(&clif_signature(ty.sub_type.unwrap_func())?)
        })
    }

    /// The way out to host functions of type `ty`.
    pub(crate) fn exit_trampoline(&self, ty: TypeIndex) -> Result<Arc<ExitTrampoline>> {
        cached(&self.0.exit_trampolines, ty, || {
            let ty = self.types().get(ty);
            self.0.jit.exit_trampoline(&clif_signature(ty.sub_type.unwrap_func())?)
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({})", self.collector().name())
    }
}
