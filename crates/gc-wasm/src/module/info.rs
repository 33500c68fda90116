//! The declarations of a module, without the bodies of its functions.

#[cfg(feature = "compiler")]
use super::branch_hints::BranchHints;
use super::declarations::Bytes;
use super::names::Names;
use super::table_growth::{self, TableGrowth};
use crate::types::convert::ModuleTypes;
use gc_types::TypeIndex;
use indexmap::IndexMap;
use wasmtime_types::{ConstExpr, EntityIndex, FuncIndex, Global, Memory, Table, TableIndex};

/// One import.
#[derive(Debug)]
pub(crate) struct Import {
    /// The first of the two names.
    pub(crate) module: String,
    /// The second of the two names.
    pub(crate) name: String,
    /// Its index in the module's index spaces.
    pub(crate) index: EntityIndex,
}

/// One function, imported or defined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FuncInfo {
    /// Its engine-wide type.
    pub(crate) ty: TypeIndex,
    /// Its number among the defined functions that can be referenced, if it is one. Such a function
    /// is exported, is the start function, or is named by `ref.func` outside a body or by an
    /// element segment.
    pub(crate) func_ref: Option<u32>,
    /// Whether `ref.func` outside a body or an element segment names it.
    pub(crate) named: bool,
    /// The offset of its body in the module in bytes. `None` if it is imported, or if the module was
    /// saved and loaded.
    pub(crate) body: Option<u32>,
}

/// One tag, imported or defined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TagInfo {
    /// Its engine-wide function type.
    pub(crate) ty: TypeIndex,
    /// The engine-wide type of its exceptions.
    pub(crate) exn: TypeIndex,
}

/// The mode of an element segment.
#[derive(Debug)]
pub(crate) enum ElementMode {
    /// Used only by `table.init`.
    Passive,
    /// Never used. It only declares that functions are referenced.
    Declared,
    /// Copied to this table at instantiation, from this element on.
    Active(TableIndex, ConstExpr),
}

/// An element segment: one expression for each element.
#[derive(Debug)]
pub(crate) struct ElementSegment {
    pub(crate) mode: ElementMode,
    pub(crate) items: ElementItems,
}

/// The elements of a segment.
#[derive(Debug)]
pub(crate) enum ElementItems {
    /// Only functions.
    Functions(Box<[FuncIndex]>),
    /// Any constant expressions.
    Expressions(Box<[ConstExpr]>),
}

impl ElementItems {
    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            ElementItems::Functions(items) => items.len(),
            ElementItems::Expressions(items) => items.len(),
        }
    }
}

/// A data segment.
#[derive(Debug)]
pub(crate) struct DataSegment {
    /// The memory and the place to which it is copied at instantiation; `None` if passive.
    pub(crate) active: Option<(u32, ConstExpr)>,
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// Whether a function of the module may drop it.
    #[cfg(feature = "compiler")]
    pub(crate) may_be_dropped: bool,
}

impl DataSegment {
    /// The bytes of the segment, if it has them whenever a function of the module runs.
    #[cfg(feature = "compiler")]
    pub(crate) fn constant(&self) -> Option<&[u8]> {
        (self.active.is_none() && !self.may_be_dropped).then_some(&self.bytes)
    }
}

/// The declarations of a module. Imports come first in all index spaces.
#[derive(Debug, Default)]
pub(crate) struct ModuleInfo {
    /// The module with empty function bodies, from which the other fields can be read again.
    pub(crate) declarations: Bytes,
    /// The names of its items.
    pub(crate) names: Names,
    /// Its custom sections: their names and contents.
    pub(crate) custom: Vec<(String, Bytes)>,
    /// Whether its branches are likely to be taken.
    #[cfg(feature = "compiler")]
    pub(crate) branch_hints: BranchHints,
    pub(crate) types: ModuleTypes,
    pub(crate) imports: Vec<Import>,
    pub(crate) num_imported_funcs: u32,
    pub(crate) num_imported_tables: u32,
    pub(crate) num_imported_memories: u32,
    pub(crate) num_imported_globals: u32,
    pub(crate) num_imported_tags: u32,
    pub(crate) funcs: Vec<FuncInfo>,
    /// Number of functions that can be referenced.
    pub(crate) num_func_refs: u32,
    pub(crate) tables: Vec<Table>,
    /// The initial element of each defined table. `None` means null.
    pub(crate) table_inits: Vec<Option<ConstExpr>>,
    /// How each table may change its size.
    pub(crate) table_growth: Vec<TableGrowth>,
    /// Whether functions of the module may grow tables.
    pub(crate) grows_tables: bool,
    pub(crate) memories: Vec<Memory>,
    pub(crate) globals: Vec<Global>,
    /// The indices of the defined globals that are mutable, ascending.
    pub(crate) mutable_globals: Vec<u32>,
    /// Initial value of each defined global.
    pub(crate) global_inits: Vec<ConstExpr>,
    pub(crate) tags: Vec<TagInfo>,
    /// The exports in the order in which they are declared.
    pub(crate) exports: IndexMap<Box<str>, EntityIndex>,
    pub(crate) start: Option<FuncIndex>,
    pub(crate) elements: Vec<ElementSegment>,
    pub(crate) data: Vec<DataSegment>,
}

impl ModuleInfo {
    /// Whether an object of the GC heap can be within reach of the module's code. If not, its
    /// instances need no heap.
    ///
    /// Objects come from allocations, whose types the module declares, and through parameters and
    /// results of functions (whose types it declares too), tables and globals. Element segments
    /// have new objects and values of globals. A module that has none of these, and no tags, has at
    /// most `i31`s, null, and the exceptions that it catches with `catch_all_ref`. It can only throw
    /// those again, which the host does.
    pub(crate) fn uses_heap(&self) -> bool {
        self.types.use_heap()
            || self.tables.iter().any(|table| table.ref_type.is_vmgcref_type())
            || self.globals.iter().any(|global| global.wasm_ty.is_vmgcref_type())
    }

    /// Says whether functions of the module may grow tables. Call this once, after parsing.
    pub(crate) fn set_table_growth(&mut self, grows_tables: bool) {
        self.grows_tables = grows_tables;
        self.table_growth = table_growth::of_tables(self, grows_tables);
    }

    /// The bytes that are saved with the code of the module, from which `parse_saved` makes
    /// this value again: its declarations, and a byte that says whether functions may grow tables.
    pub(crate) fn saved(&self) -> Vec<u8> {
        [&self.declarations[..], &[self.grows_tables.into()]].concat()
    }

    /// The number of function `index` among the defined functions, if it is one.
    pub(crate) fn defined_func(&self, index: u32) -> Option<u32> {
        index.checked_sub(self.num_imported_funcs)
    }

    /// The number of global `index` among the defined globals, if it is one.
    #[cfg(feature = "compiler")]
    pub(crate) fn defined_global(&self, index: u32) -> Option<u32> {
        index.checked_sub(self.num_imported_globals)
    }

    /// A name for function `index`: its own name, or its number.
    #[cfg(feature = "compiler")]
    pub(crate) fn func_name(&self, index: u32) -> String {
        match self.names.funcs.get(&index) {
            Some(name) => name.clone(),
            None => format!("func[{index}]"),
        }
    }

    /// Gives each function without a name in the name section the name of its first export. Call
    /// this once, after parsing.
    pub(crate) fn name_by_exports(&mut self) {
        for (name, entity) in &self.exports {
            if let EntityIndex::Function(func) = entity {
                self.names.funcs.entry(func.as_u32()).or_insert_with(|| name.to_string());
            }
        }
    }

    /// Marks function `index` as one that `ref.func` outside a body or an element segment names.
    pub(crate) fn name_func(&mut self, index: u32) {
        self.mark_func_ref(index);
        self.funcs[index as usize].named = true;
    }

    /// Marks function `index` as one that can be referenced. Imported functions need no mark,
    /// because they already have a reference.
    pub(crate) fn mark_func_ref(&mut self, index: u32) {
        if self.defined_func(index).is_none() {
            return;
        }
        let func = &mut self.funcs[index as usize];
        if func.func_ref.is_none() {
            func.func_ref = Some(self.num_func_refs);
            self.num_func_refs += 1;
        }
    }
}
