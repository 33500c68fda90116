//! Modules: parsing, validation, compilation and saving.

#[cfg(feature = "compiler")]
mod compiled;
mod declarations;
pub(crate) mod info;
pub(crate) mod parse;
mod saved;

use crate::Engine;
use crate::types::{ExportType, ExternType, ImportType};
use crate::vm::layout::VMContextLayout;
use anyhow::Result;
use gc_jit::CodeMemory;
use info::ModuleInfo;
use std::fmt;
use std::sync::Arc;

/// A compiled module, ready to be instantiated in any store of its engine. Cheap
/// to clone.
#[derive(Clone)]
pub struct Module(Arc<ModuleInner>);

struct ModuleInner {
    engine: Engine,
    info: ModuleInfo,
    layout: VMContextLayout,
    code: Arc<CodeMemory>,
    /// The module in WebAssembly's binary format, if its code cannot be saved.
    #[cfg_attr(not(feature = "compiler"), expect(dead_code))]
    binary: Option<Box<[u8]>>,
}

impl Module {
    /// The module with the declarations `info` and the published code. If the code cannot be saved,
    /// `binary` is what to compile instead.
    fn of(
        engine: &Engine,
        info: ModuleInfo,
        code: Arc<CodeMemory>,
        binary: Option<Box<[u8]>>,
    ) -> Module {
        let layout = VMContextLayout::new(engine.abi().offsets(), &info);
        Module(Arc::new(ModuleInner { engine: engine.clone(), info, layout, code, binary }))
    }

    /// Checks that `bytes` are a valid module, without compiling it.
    ///
    /// # Errors
    /// If it is malformed, invalid or uses an unsupported feature.
    pub fn validate(engine: &Engine, bytes: &[u8]) -> Result<()> {
        let (_, bodies) = parse::parse(engine.types(), bytes)?;
        let mut allocations = Default::default();
        for body in bodies {
            let mut validator = body.validator.into_validator(allocations);
            validator.validate(&body.body)?;
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
        self.0.info.name.as_deref()
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
        let (_, index) = &self.0.info.exports[*self.0.info.exports_by_name.get(name)?];
        Some(ExternType::of(&self.0.engine, &self.0.info, *index))
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

    pub(crate) fn code(&self) -> &Arc<CodeMemory> {
        &self.0.code
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
