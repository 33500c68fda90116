//! The types of the language's objects.
//!
//! | value | reference |
//! |---|---|
//! | integer | an `i31`: the reference itself, no object |
//! | `()`, which is also "no" | null |
//! | `(cons x xs)` | a struct `{ head, tail }` |
//! | function | a struct `{ function, captured values }` |
//! | string | an array of bytes |
//! | vector | an array of references |
//! | symbol | a struct `{ its name }`, one for each name |

use anyhow::Result;
use gc_engine::{ArrayType, Module, StorageType, StructType, Type};

/// The types, for one module or for the host. Types with the same names are the same in all modules.
pub(crate) struct Types {
    pub(crate) pair: StructType,
    pub(crate) closure: StructType,
    /// The values that a function has captured.
    pub(crate) captured: ArrayType,
    pub(crate) string: ArrayType,
    pub(crate) vector: ArrayType,
    pub(crate) symbol: StructType,
    /// What `throw` throws: a struct with the value.
    pub(crate) thrown: StructType,
}

impl Types {
    pub(crate) fn new(module: &mut Module) -> Result<Types> {
        Ok(Types {
            // ANCHOR: types
            pair: module.struct_type("pair", [Type::Ref; 2])?,
            closure: module.struct_type("closure", [Type::Func, Type::Ref])?,
            captured: module.array_type("captured", Type::Ref)?,
            string: module.array_type("string", StorageType::I8)?,
            vector: module.array_type("vector", Type::Ref)?,
            symbol: module.struct_type("symbol", [Type::Ref])?,
            thrown: module.struct_type("thrown", [Type::Ref])?,
            // ANCHOR_END: types
        })
    }
}

/// The parameters of a function that takes `count` arguments: its closure comes first.
pub(crate) fn params(count: usize) -> Vec<Type> {
    vec![Type::Ref; count + 1]
}
