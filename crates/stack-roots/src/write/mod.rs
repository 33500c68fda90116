//! Takes the stack maps of compiled functions, and writes them into objects or hands them to a JIT's runtime.
//!
//! [`Maps::add`] takes the maps of a function after `Module::define_function`. [`Maps::write`] puts all of them into the
//! object of a `cranelift-object` module; `Maps::register` adds those of a `cranelift-jit` module to the
//! [`Tables`](stack_roots_walk::Tables) of the running program. The machine code is left as it is.
//!
//! Every call of a function gets a row, whether references are live across it or not, so a frame without a row is
//! always an error. [`mark_quiet_calls`](crate::calls::mark_quiet_calls) leaves out calls that cannot collect.

mod arch;
mod error;
mod function;
mod object;

pub use error::MapError;
pub use function::{FunctionMap, Row};
pub use stack_roots_walk::format::Slot;

use arch::Arch;
use cranelift_codegen::Context;
use cranelift_codegen::isa::TargetIsa;
use cranelift_module::FuncId;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// The stack maps of the functions of a Cranelift module.
///
/// # Examples
/// ```
/// use cranelift_codegen::settings::{self, Configurable};
/// use cranelift_module::{Linkage, Module, default_libcall_names};
/// use cranelift_object::{ObjectBuilder, ObjectModule};
/// use stack_roots::write::Maps;
///
/// let mut flags = settings::builder();
/// flags.set("preserve_frame_pointers", "true")?;
/// flags.set("is_pic", "true")?;
/// let isa = cranelift_native::builder()?.finish(settings::Flags::new(flags))?;
/// let mut module = ObjectModule::new(ObjectBuilder::new(isa, "unit", default_libcall_names())?);
/// let mut maps = Maps::new(module.isa())?;
///
/// let mut context = module.make_context();
/// let id = module.declare_function("nothing", Linkage::Export, &context.func.signature)?;
/// // A real function keeps references in its stack maps.
/// # {
/// #     use cranelift_codegen::cursor::{Cursor, FuncCursor};
/// #     use cranelift_codegen::ir::InstBuilder;
/// #     let block = context.func.dfg.make_block();
/// #     let mut at = FuncCursor::new(&mut context.func);
/// #     at.insert_block(block);
/// #     at.ins().return_(&[]);
/// # }
/// module.define_function(id, &mut context)?;
/// maps.add(id, &context)?;
/// module.clear_context(&mut context);
///
/// let mut product = module.finish();
/// maps.write(&mut product)?;
/// let object: Vec<u8> = product.emit()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Maps {
    arch: &'static Arch,
    functions: BTreeMap<FuncId, FunctionMap>,
    without: BTreeSet<FuncId>,
}

impl Maps {
    /// Maps for functions that are compiled by `isa`.
    ///
    /// # Errors
    /// If its code does not preserve frame pointers (the setting `preserve_frame_pointers`), or is for a processor that
    /// this crate does not know.
    pub fn new(isa: &dyn TargetIsa) -> Result<Maps, MapError> {
        if !isa.flags().preserve_frame_pointers() {
            return Err(MapError::NoFramePointers);
        }
        let arch = arch::of(isa.name()).ok_or_else(|| MapError::Machine(isa.name().into()))?;
        Ok(Maps { arch, functions: BTreeMap::new(), without: BTreeSet::new() })
    }

    /// Adds the maps of a function. Call it after `define_function`, which compiles the function, and before the context
    /// is cleared.
    ///
    /// # Errors
    /// If the context has no compiled code, the function was added before, or its maps have values that are no
    /// references.
    pub fn add(&mut self, id: FuncId, context: &Context) -> Result<(), MapError> {
        let code = context.compiled_code().ok_or(MapError::NotCompiled(id))?;
        self.insert(id, FunctionMap::new(code)?)
    }

    /// Adds maps that were taken from compiled code before, for example by another thread.
    ///
    /// # Errors
    /// If the function was added before.
    pub fn insert(&mut self, id: FuncId, map: FunctionMap) -> Result<(), MapError> {
        match self.functions.entry(id) {
            Entry::Vacant(place) if !self.without.contains(&id) => place.insert(map),
            _ => return Err(MapError::Twice(id)),
        };
        Ok(())
    }

    /// Says that a function of the module has no maps: no collection happens while it runs. A function that was
    /// defined and was neither added nor left out is an error of [`write`](Maps::write).
    ///
    /// # Errors
    /// If the function was added before.
    pub fn leave_out(&mut self, id: FuncId) -> Result<(), MapError> {
        if self.functions.contains_key(&id) {
            return Err(MapError::Twice(id));
        }
        self.without.insert(id);
        Ok(())
    }

    /// The maps of a function.
    pub fn get(&self, id: FuncId) -> Option<&FunctionMap> {
        self.functions.get(&id)
    }

    /// Adds the maps to the tables of this program. `address` gives the address of a function's code, for example
    /// `JITModule::get_finalized_function`.
    ///
    /// # Errors
    /// If other code is at the place of a function.
    ///
    /// Call the functions by an entry function (`entry!` of `stack-roots-walk`), and not by a function pointer: a walk ends with
    /// an error otherwise. [`Tables::remove`](stack_roots_walk::Tables::remove) a function before its code is freed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cranelift_jit::{JITBuilder, JITModule};
    /// # use stack_roots::{walk::Tables, write::Maps};
    /// fn publish(module: &mut JITModule, maps: &Maps, tables: &mut Tables) -> Result<(), Box<dyn std::error::Error>> {
    ///     module.finalize_definitions()?;
    ///     maps.register(tables, |id| module.get_finalized_function(id))?;
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "walk")]
    pub fn register(
        &self,
        tables: &mut stack_roots_walk::Tables,
        mut address: impl FnMut(FuncId) -> *const u8,
    ) -> Result<(), stack_roots_walk::TableError> {
        for (id, map) in &self.functions {
            let rows = map.rows().iter().map(|row| (row.return_address, row.words()));
            let rows: Vec<(u32, Vec<u32>)> = rows.collect();
            let rows = rows.iter().map(|(return_address, map)| (*return_address, &map[..]));
            tables.insert(address(*id).addr(), map.code_size(), rows)?;
        }
        Ok(())
    }
}
