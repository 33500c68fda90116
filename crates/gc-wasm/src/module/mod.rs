//! Modules: parsing, validation, compilation and saving.

#[cfg(feature = "compiler")]
pub(crate) mod branch_hints;
#[cfg(feature = "compiler")]
mod cached;
#[cfg(feature = "compiler")]
mod compiled;
#[cfg(feature = "compiler")]
mod data_drops;
mod declarations;
pub(crate) mod info;
pub(crate) mod mismatch;
mod names;
#[cfg(feature = "compiler")]
mod opcodes;
pub(crate) mod parse;
mod saved;
mod sections;
pub(crate) mod table_growth;

use crate::Engine;
use crate::types::named::Named;
use crate::types::{ExportType, ExternType, ImportType, ValType};
use crate::vm::layout::VMContextLayout;
use anyhow::{Context as _, Result};
use gc_jit::CodeMemory;
use gc_types::TypeIndex;
use info::ModuleInfo;
pub use mismatch::TypeMismatch;
pub use names::Names;
use std::fmt;
use std::sync::{Arc, Weak};
use wasmtime_types::EntityIndex;

/// A compiled module, ready to be instantiated in any store of its engine. Cheap
/// to clone.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, Module};
///
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (import "host" "log" (func (param i32)))
///         (func (export "run") (result i64) (i64.const 1)))"#,
/// )?;
/// let import = module.imports().next().unwrap();
/// assert_eq!((import.module(), import.name()), ("host", "log"));
/// let export = module.exports().next().unwrap();
/// assert_eq!(export.name(), "run");
/// assert_eq!(export.ty().unwrap_func().results().len(), 1);
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone)]
pub struct Module(Arc<ModuleInner>);

struct ModuleInner {
    engine: Engine,
    info: ModuleInfo,
    layout: VMContextLayout,
    code: Arc<CodeMemory>,
    /// Its number in the engine.
    number: u64,
    /// See [`Module::func_refs`].
    func_refs: Box<[(u32, u32, TypeIndex)]>,
    /// The module in WebAssembly's binary format, if its code cannot be saved.
    #[cfg_attr(not(feature = "compiler"), expect(dead_code))]
    binary: Option<Box<[u8]>>,
}

impl Module {
    /// The module with the declarations `info` and the published code. If the code cannot be saved,
    /// `binary` is what to compile instead.
    ///
    /// # Errors
    /// If its instances do not fit the engine's pool, or if a profiler cannot be told of its code.
    fn of(
        engine: &Engine,
        info: ModuleInfo,
        code: Arc<CodeMemory>,
        binary: Option<Box<[u8]>>,
    ) -> Result<Module> {
        let layout = VMContextLayout::new(engine.abi().offsets(), &info)?;
        if let Some(pool) = engine.pool() {
            pool.check_module(&info, &layout)?;
        }
        if let Some(profiler) = engine.profiler() {
            profiler.add(&code, binary.as_deref()).context("telling a profiler of a module")?;
        }
        let func_refs = (0..).zip(&info.funcs);
        let func_refs =
            func_refs.filter_map(|(i, func)| Some((i, layout.func_ref(func.func_ref?), func.ty)));
        Ok(Module(Arc::new(ModuleInner {
            engine: engine.clone(),
            number: engine.next_module(),
            func_refs: func_refs.collect(),
            info,
            layout,
            code,
            binary,
        })))
    }

    /// Checks that `bytes` are a valid module, without compiling it.
    ///
    /// # Errors
    /// If it is malformed, invalid or uses an unsupported feature.
    pub fn validate(engine: &Engine, bytes: &[u8]) -> Result<()> {
        let (info, bodies) = parse::parse(engine.types(), engine.config().features.on, bytes)?;
        let mut allocations = Default::default();
        for body in bodies {
            let mut validator = body.validator.into_validator(allocations);
            if let Err(error) = validator.validate(&body.body) {
                return Err(mismatch::explain(error.into(), &validator, &body.body, &info));
            }
            allocations = validator.into_allocations();
        }
        Ok(())
    }

    /// The module's engine.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Its name, if its name section has one.
    pub fn name(&self) -> Option<&str> {
        self.0.info.names.module.as_deref()
    }

    /// The names of its items, from its name section.
    pub fn names(&self) -> &Names {
        &self.0.info.names
    }

    /// The imports, in order.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> {
        self.0.info.imports.iter().map(|import| {
            let ty = ExternType::of(&self.0.engine, &self.0.info, import.index);
            ImportType::new(&import.module, &import.name, ty)
        })
    }

    /// The exports, in order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> {
        self.0.info.exports.iter().map(|(name, index)| {
            ExportType::new(name, ExternType::of(&self.0.engine, &self.0.info, *index))
        })
    }

    /// The type of the export with this name, if there is one.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let index = self.0.info.exports.get(name)?;
        Some(ExternType::of(&self.0.engine, &self.0.info, *index))
    }

    /// The export with this name, looked up once for all instances of the module, if there is one.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Engine, Instance, Module, Store};
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module (func (export "f")))"#)?;
    /// let f = module.get_export_index("f").unwrap();
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// assert!(instance.get_module_export(&mut store, &f).unwrap().into_func().is_some());
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn get_export_index(&self, name: &str) -> Option<ModuleExport> {
        let number = self.0.info.exports.get_index_of(name)?;
        Some(ModuleExport { module: Arc::downgrade(&self.0), number })
    }

    /// Whether `a` and `b` are the same module: clones of each other.
    pub fn same(a: &Module, b: &Module) -> bool {
        Arc::ptr_eq(&a.0, &b.0)
    }

    /// A type in the text format. Types to which it refers have the names that they have in this
    /// module. Types without names, and those that the module does not have, are shown by their
    /// structure, as by the type itself.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Engine, Module};
    ///
    /// let wat = r#"(module (type $node (struct (field i32)))
    ///     (func (export "f") (param (ref $node) (ref null 1))) (type (array i8)))"#;
    /// let module = Module::new(&Engine::default(), wat)?;
    /// let ty = module.get_export("f").unwrap();
    /// let text = module.show_type(&ty).to_string();
    /// assert_eq!(text, "(func (param (ref $node) (ref null (array i8))))");
    /// # anyhow::Ok(())
    /// ```
    pub fn show_type<'a>(&'a self, ty: &'a ExternType) -> impl fmt::Display + 'a {
        Named(self.info(), ty)
    }

    /// A type of values in the text format, as by [`Module::show_type`].
    pub fn show_val_type<'a>(&'a self, ty: &'a ValType) -> impl fmt::Display + 'a {
        Named(self.info(), ty)
    }

    /// The contents of its custom sections with this name, in order. A module that was saved and
    /// loaded has the same ones.
    ///
    /// ```
    /// use gc_wasm::{Engine, Module};
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module (@custom "note" "a") (@custom "note" "b"))"#)?;
    /// let notes: Vec<&[u8]> = module.custom_sections("note").collect();
    /// assert_eq!(notes, [b"a", b"b"]);
    /// # anyhow::Ok(())
    /// ```
    pub fn custom_sections<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let sections = self.0.info.custom.iter();
        sections.filter(move |(other, _)| other == name).map(|(_, content)| &**content)
    }

    /// Whether it has a start function, which runs at instantiation. This is not an export with
    /// the name `_start`.
    pub fn has_start_function(&self) -> bool {
        self.0.info.start.is_some()
    }

    pub(crate) fn info(&self) -> &ModuleInfo {
        &self.0.info
    }

    pub(crate) fn layout(&self) -> &VMContextLayout {
        &self.0.layout
    }

    /// Its number in the engine.
    pub(crate) fn number(&self) -> u64 {
        self.0.number
    }

    /// The defined functions that can be referenced: their indices, the offsets of their references in
    /// a vmctx, and their types.
    pub(crate) fn func_refs(&self) -> impl Iterator<Item = (u32, u32, TypeIndex)> {
        self.0.func_refs.iter().copied()
    }

    pub(crate) fn code(&self) -> &Arc<CodeMemory> {
        &self.0.code
    }
}

/// An export of a module that was looked up by its name ([`Module::get_export_index`]).
#[derive(Clone)]
pub struct ModuleExport {
    module: Weak<ModuleInner>,
    number: usize,
}

impl ModuleExport {
    /// What is exported, if it is an export of `module`.
    pub(crate) fn index_in(&self, module: &Module) -> Option<EntityIndex> {
        let own = std::ptr::eq(self.module.as_ptr(), Arc::as_ptr(&module.0));
        own.then(|| module.info().exports[self.number])
    }
}

impl fmt::Debug for ModuleExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModuleExport").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.name())
            .field("functions", &self.0.info.funcs.len())
            .finish_non_exhaustive()
    }
}
