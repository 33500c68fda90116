//! Which tables of a module stay as they are. Compiled code need not read their lengths. If such
//! tables are small, every collection visits their elements, and stores into them need no card.
//!
//! The bodies are not decoded to find out whether they grow tables (`opcodes.rs`). If the opcode of
//! `table.grow` is found in another instruction, the tables of the module count as ones that may grow.

use super::info::ModuleInfo;
use gc_types::RootKind;
use wasmtime_types::EntityIndex;

/// The number of `table.grow`.
#[cfg(feature = "compiler")]
const TABLE_GROW: u32 = 15;

/// The most elements of all small tables of a module. Each collection tests all of them, 64 at once. In a heap
/// of 1 MiB beside so many, a program that allocates 50 million objects had pauses of 20 ms together, and of
/// 16 ms with cards.
const SMALL: u64 = 4096;

/// How a table may change its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableGrowth {
    /// It may grow.
    Any,
    /// It has as many elements as at first.
    Never,
    /// It has as many elements as at first, and these are few.
    NeverAndSmall,
}

impl TableGrowth {
    /// Whether it always has as many elements as at first.
    pub(crate) fn is_never(self) -> bool {
        self != TableGrowth::Any
    }

    /// The kind of its elements as roots.
    pub(crate) fn root_kind(self) -> RootKind {
        match self {
            TableGrowth::NeverAndSmall => RootKind::FixedTable,
            _ => RootKind::Table,
        }
    }
}

/// Whether a function with this body may grow a table.
#[cfg(feature = "compiler")]
pub(super) fn may_grow(body: &[u8]) -> bool {
    super::opcodes::find(body, TABLE_GROW).next().is_some()
}

/// How each table may change its size. `in_functions` says whether functions of the module may grow
/// tables.
pub(super) fn of_tables(info: &ModuleInfo, in_functions: bool) -> Vec<TableGrowth> {
    let mut growth = vec![TableGrowth::Any; info.tables.len()];
    if in_functions {
        return growth;
    }
    growth[info.num_imported_tables as usize..].fill(TableGrowth::Never);
    for export in info.exports.values() {
        if let EntityIndex::Table(table) = export {
            growth[table.as_u32() as usize] = TableGrowth::Any;
        }
    }
    let mut left = SMALL;
    for (growth, table) in growth.iter_mut().zip(&info.tables) {
        if *growth == TableGrowth::Never
            && table.ref_type.is_vmgcref_type()
            && let Some(now) = left.checked_sub(table.limits.min)
        {
            *growth = TableGrowth::NeverAndSmall;
            left = now;
        }
    }
    growth
}

#[cfg(all(test, feature = "compiler"))]
mod tests {
    use super::TableGrowth::{Any, Never, NeverAndSmall};
    use super::*;
    use crate::module::parse;
    use crate::types::registry::TypeRegistry;
    use wasmparser::WasmFeatures;

    #[test]
    fn every_form_of_the_instruction_is_found() {
        assert!(may_grow(&[0, 0xfc, 15, 0, 0x0b]));
        // Numbers may be longer than they need be.
        assert!(may_grow(&[0, 0xfc, 0x8f, 0x80, 0, 0, 0x0b]));
        // Other instructions, and ends.
        assert!(!may_grow(&[0, 0xfc, 16, 0, 0x0b]));
        assert!(!may_grow(&[0xfc]));
        // The prefix is an immediate of another instruction.
        assert!(may_grow(&[0xfc, 0xfc, 15, 0]));
    }

    #[test]
    fn tables_that_nobody_else_has_and_nothing_grows_are_fixed() {
        let growth = |text: &str| {
            let bytes = wat::parse_str(text).unwrap();
            let registry = TypeRegistry::new().unwrap();
            let (info, _) = parse::parse(&registry, WasmFeatures::default(), &bytes).unwrap();
            info.table_growth
        };
        let tables = r#"(module
            (import "" "" (table 1 anyref)) (table (export "t") 1 anyref) (table 1 funcref)
            (table 4000 anyref) (table 97 externref) (table 96 externref)"#;
        let fixed = [Any, Any, Never, NeverAndSmall, Never, NeverAndSmall];
        assert_eq!(growth(&format!("{tables})")), fixed);
        let grow = "(func (drop (table.grow 2 (ref.null func) (i32.const 1))))";
        assert_eq!(growth(&format!("{tables}{grow})")), [Any; 6]);
    }
}
