//! The types of fields and elements: what is stored, and whether it can be written.

use super::val_type::{RefType, ValType};
use crate::Engine;
use std::fmt;
use wasmtime_types::{WasmFieldType, WasmStorageType};

/// Whether a field or global can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutability {
    /// It never changes.
    Const,
    /// It can be written.
    Var,
}

impl Mutability {
    /// Whether it never changes.
    pub fn is_const(&self) -> bool {
        matches!(self, Mutability::Const)
    }

    /// Whether it can be written.
    pub fn is_var(&self) -> bool {
        matches!(self, Mutability::Var)
    }
}

/// Whether a type can have subtypes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finality {
    /// It has no subtypes.
    Final,
    /// It can have subtypes.
    NonFinal,
}

impl Finality {
    /// Whether the type has no subtypes.
    pub fn is_final(&self) -> bool {
        matches!(self, Finality::Final)
    }

    /// Whether the type can have subtypes.
    pub fn is_non_final(&self) -> bool {
        matches!(self, Finality::NonFinal)
    }
}

/// The storage type of a field or element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StorageType {
    /// Eight bits of an `i32`.
    I8,
    /// Sixteen bits of an `i32`.
    I16,
    /// A whole value.
    ValType(ValType),
}

impl StorageType {
    /// Whether this is [`StorageType::I8`].
    pub fn is_i8(&self) -> bool {
        matches!(self, StorageType::I8)
    }

    /// Whether this is [`StorageType::I16`].
    pub fn is_i16(&self) -> bool {
        matches!(self, StorageType::I16)
    }

    /// Whether this is the type of a whole value.
    pub fn is_val_type(&self) -> bool {
        matches!(self, StorageType::ValType(_))
    }

    /// The type of the whole value, if this is one.
    pub fn as_val_type(&self) -> Option<&ValType> {
        match self {
            StorageType::ValType(ty) => Some(ty),
            _ => None,
        }
    }

    /// The type of the whole value.
    ///
    /// # Panics
    /// If only a part of a value is stored.
    pub fn unwrap_val_type(&self) -> &ValType {
        self.as_val_type().expect("expected the type of a whole value")
    }

    /// The type of the values that are read from and written to a field of this type.
    pub fn unpack(&self) -> &ValType {
        match self {
            StorageType::I8 | StorageType::I16 => &ValType::I32,
            StorageType::ValType(ty) => ty,
        }
    }

    /// Whether everything stored as this type is stored as `sup` too.
    ///
    /// # Panics
    /// If the types belong to different engines.
    pub fn matches(&self, sup: &StorageType) -> bool {
        match (self, sup) {
            (StorageType::ValType(sub), StorageType::ValType(sup)) => sub.matches(sup),
            _ => self == sup,
        }
    }
}

impl From<ValType> for StorageType {
    fn from(ty: ValType) -> StorageType {
        StorageType::ValType(ty)
    }
}

impl From<RefType> for StorageType {
    fn from(ty: RefType) -> StorageType {
        StorageType::ValType(ty.into())
    }
}

/// The type of a struct's field or an array's elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldType {
    mutability: Mutability,
    element_type: StorageType,
}

impl FieldType {
    /// A field type.
    pub fn new(mutability: Mutability, element_type: StorageType) -> FieldType {
        FieldType { mutability, element_type }
    }

    /// Whether the field can be written.
    pub fn mutability(&self) -> Mutability {
        self.mutability
    }

    /// The storage type.
    pub fn element_type(&self) -> &StorageType {
        &self.element_type
    }

    /// Whether a field of this type can be used as one of type `sup` (core specification, "Field
    /// Matching"): if it can be written, the types must be equal.
    ///
    /// # Panics
    /// If the types belong to different engines.
    pub fn matches(&self, sup: &FieldType) -> bool {
        let (sub_type, sup_type) = (&self.element_type, &sup.element_type);
        self.mutability == sup.mutability
            && sub_type.matches(sup_type)
            && (self.mutability.is_const() || sup_type.matches(sub_type))
    }

    pub(super) fn to_wasm(&self) -> WasmFieldType {
        WasmFieldType {
            mutable: self.mutability == Mutability::Var,
            element_type: match &self.element_type {
                StorageType::I8 => WasmStorageType::I8,
                StorageType::I16 => WasmStorageType::I16,
                StorageType::ValType(ty) => WasmStorageType::Val(ty.to_wasm()),
            },
        }
    }

    pub(super) fn from_wasm(engine: &Engine, ty: &WasmFieldType) -> FieldType {
        FieldType {
            mutability: if ty.mutable { Mutability::Var } else { Mutability::Const },
            element_type: match &ty.element_type {
                WasmStorageType::I8 => StorageType::I8,
                WasmStorageType::I16 => StorageType::I16,
                WasmStorageType::Val(ty) => StorageType::ValType(ValType::from_wasm(engine, ty)),
            },
        }
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorageType::I8 => f.write_str("i8"),
            StorageType::I16 => f.write_str("i16"),
            StorageType::ValType(ty) => ty.fmt(f),
        }
    }
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mutability {
            Mutability::Const => self.element_type.fmt(f),
            Mutability::Var => write!(f, "(mut {})", self.element_type),
        }
    }
}
