//! The types of values in the embedding API.
//!
//! A concrete type ([`FuncType`], [`StructType`], [`ArrayType`], [`ExnType`]) belongs to an engine. It is
//! registered when it is made, and equal types are equal values.
//!
//! [`FuncType`]: crate::FuncType
//! [`StructType`]: crate::StructType
//! [`ArrayType`]: crate::ArrayType
//! [`ExnType`]: crate::ExnType

use super::heap_type::HeapType;
use crate::{Engine, Val};
use std::fmt;
use wasmtime_types::{WasmRefType, WasmValType};

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ValType {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A 128-bit vector.
    V128,
    /// A reference.
    Ref(RefType),
}

/// The type of a reference: what it refers to, and whether it may be null.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RefType {
    nullable: bool,
    heap_type: HeapType,
}

impl ValType {
    /// `externref`: a nullable reference to any host value.
    pub const EXTERNREF: ValType = ValType::Ref(RefType::EXTERNREF);
    /// `nullexternref`: the null external reference.
    pub const NULLEXTERNREF: ValType = ValType::Ref(RefType::NULLEXTERNREF);
    /// `funcref`: a nullable reference to any function.
    pub const FUNCREF: ValType = ValType::Ref(RefType::FUNCREF);
    /// `nullfuncref`: the null function reference.
    pub const NULLFUNCREF: ValType = ValType::Ref(RefType::NULLFUNCREF);
    /// `anyref`: a nullable internal reference.
    pub const ANYREF: ValType = ValType::Ref(RefType::ANYREF);
    /// `eqref`: a nullable internal reference that can be compared.
    pub const EQREF: ValType = ValType::Ref(RefType::EQREF);
    /// `i31ref`: a nullable unboxed integer.
    pub const I31REF: ValType = ValType::Ref(RefType::I31REF);
    /// `arrayref`: a nullable reference to any array.
    pub const ARRAYREF: ValType = ValType::Ref(RefType::ARRAYREF);
    /// `structref`: a nullable reference to any struct.
    pub const STRUCTREF: ValType = ValType::Ref(RefType::STRUCTREF);
    /// `nullref`: the null internal reference.
    pub const NULLREF: ValType = ValType::Ref(RefType::NULLREF);
    /// `exnref`: a nullable reference to any exception.
    pub const EXNREF: ValType = ValType::Ref(RefType::EXNREF);
    /// `nullexnref`: the null exception reference.
    pub const NULLEXNREF: ValType = ValType::Ref(RefType::NULLEXNREF);

    /// Whether this is a number: `i32`, `i64`, `f32` or `f64`.
    pub fn is_num(&self) -> bool {
        matches!(self, ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64)
    }

    /// Whether this is `i32`.
    pub fn is_i32(&self) -> bool {
        matches!(self, ValType::I32)
    }

    /// Whether this is `i64`.
    pub fn is_i64(&self) -> bool {
        matches!(self, ValType::I64)
    }

    /// Whether this is `f32`.
    pub fn is_f32(&self) -> bool {
        matches!(self, ValType::F32)
    }

    /// Whether this is `f64`.
    pub fn is_f64(&self) -> bool {
        matches!(self, ValType::F64)
    }

    /// Whether this is `v128`.
    pub fn is_v128(&self) -> bool {
        matches!(self, ValType::V128)
    }

    /// Whether this is a reference type.
    pub fn is_ref(&self) -> bool {
        matches!(self, ValType::Ref(_))
    }

    /// Whether this is `funcref`, the nullable reference to any function.
    pub fn is_funcref(&self) -> bool {
        *self == ValType::FUNCREF
    }

    /// Whether this is `externref`, the nullable reference to any host value.
    pub fn is_externref(&self) -> bool {
        *self == ValType::EXTERNREF
    }

    /// Whether this is `anyref`, the nullable reference to anything internal.
    pub fn is_anyref(&self) -> bool {
        *self == ValType::ANYREF
    }

    /// The reference type, if this is one.
    pub fn as_ref(&self) -> Option<&RefType> {
        match self {
            ValType::Ref(ty) => Some(ty),
            _ => None,
        }
    }

    /// The reference type.
    ///
    /// # Panics
    /// If this is none.
    pub fn unwrap_ref(&self) -> &RefType {
        self.as_ref().expect("expected a reference type")
    }

    /// The zero or null of this type. `None` for references that cannot be null.
    pub fn default_value(&self) -> Option<Val> {
        Val::default_for_ty(self)
    }

    /// Whether every value of this type is one of type `sup`.
    ///
    /// # Panics
    /// If the types belong to different engines.
    pub fn matches(&self, sup: &ValType) -> bool {
        match (self, sup) {
            (ValType::Ref(sub), ValType::Ref(sup)) => sub.matches(sup),
            _ => self == sup,
        }
    }

    pub(crate) fn to_wasm(&self) -> WasmValType {
        match self {
            ValType::I32 => WasmValType::I32,
            ValType::I64 => WasmValType::I64,
            ValType::F32 => WasmValType::F32,
            ValType::F64 => WasmValType::F64,
            ValType::V128 => WasmValType::V128,
            ValType::Ref(ty) => WasmValType::Ref(ty.to_wasm()),
        }
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &WasmValType) -> ValType {
        match ty {
            WasmValType::I32 => ValType::I32,
            WasmValType::I64 => ValType::I64,
            WasmValType::F32 => ValType::F32,
            WasmValType::F64 => ValType::F64,
            WasmValType::V128 => ValType::V128,
            WasmValType::Ref(ty) => ValType::Ref(RefType::from_wasm(engine, ty)),
        }
    }

    /// Whether this type belongs to `engine`, or to no engine.
    pub(crate) fn comes_from(&self, engine: &Engine) -> bool {
        match self {
            ValType::Ref(ty) => ty.heap_type.comes_from(engine),
            _ => true,
        }
    }
}

impl RefType {
    /// `externref`: a nullable reference to any host value.
    pub const EXTERNREF: RefType = RefType::nullable(HeapType::Extern);
    /// `nullexternref`: the null external reference.
    pub const NULLEXTERNREF: RefType = RefType::nullable(HeapType::NoExtern);
    /// `funcref`: a nullable reference to any function.
    pub const FUNCREF: RefType = RefType::nullable(HeapType::Func);
    /// `nullfuncref`: the null function reference.
    pub const NULLFUNCREF: RefType = RefType::nullable(HeapType::NoFunc);
    /// `anyref`: a nullable internal reference.
    pub const ANYREF: RefType = RefType::nullable(HeapType::Any);
    /// `eqref`: a nullable internal reference that can be compared.
    pub const EQREF: RefType = RefType::nullable(HeapType::Eq);
    /// `i31ref`: a nullable unboxed integer.
    pub const I31REF: RefType = RefType::nullable(HeapType::I31);
    /// `arrayref`: a nullable reference to any array.
    pub const ARRAYREF: RefType = RefType::nullable(HeapType::Array);
    /// `structref`: a nullable reference to any struct.
    pub const STRUCTREF: RefType = RefType::nullable(HeapType::Struct);
    /// `nullref`: the null internal reference.
    pub const NULLREF: RefType = RefType::nullable(HeapType::None);
    /// `exnref`: a nullable reference to any exception.
    pub const EXNREF: RefType = RefType::nullable(HeapType::Exn);
    /// `nullexnref`: the null exception reference.
    pub const NULLEXNREF: RefType = RefType::nullable(HeapType::NoExn);

    const fn nullable(heap_type: HeapType) -> RefType {
        RefType { nullable: true, heap_type }
    }

    /// A type of references to `heap_type`.
    pub fn new(nullable: bool, heap_type: HeapType) -> RefType {
        RefType { nullable, heap_type }
    }

    /// Whether null is a value of this type.
    pub fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// The type of its referents.
    pub fn heap_type(&self) -> &HeapType {
        &self.heap_type
    }

    /// Whether every reference of this type is one of type `sup`.
    ///
    /// # Panics
    /// If the types belong to different engines.
    pub fn matches(&self, sup: &RefType) -> bool {
        (sup.nullable || !self.nullable) && self.heap_type.matches(&sup.heap_type)
    }

    pub(crate) fn to_wasm(&self) -> WasmRefType {
        WasmRefType { nullable: self.nullable, heap_type: self.heap_type.to_wasm() }
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &WasmRefType) -> RefType {
        RefType { nullable: ty.nullable, heap_type: HeapType::from_wasm(engine, &ty.heap_type) }
    }
}

impl From<RefType> for ValType {
    fn from(ty: RefType) -> ValType {
        ValType::Ref(ty)
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValType::I32 => f.write_str("i32"),
            ValType::I64 => f.write_str("i64"),
            ValType::F32 => f.write_str("f32"),
            ValType::F64 => f.write_str("f64"),
            ValType::V128 => f.write_str("v128"),
            ValType::Ref(ty) => ty.fmt(f),
        }
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.heap_type {
            HeapType::Extern if self.nullable => "externref",
            HeapType::NoExtern if self.nullable => "nullexternref",
            HeapType::Func if self.nullable => "funcref",
            HeapType::NoFunc if self.nullable => "nullfuncref",
            HeapType::Any if self.nullable => "anyref",
            HeapType::Eq if self.nullable => "eqref",
            HeapType::I31 if self.nullable => "i31ref",
            HeapType::Struct if self.nullable => "structref",
            HeapType::Array if self.nullable => "arrayref",
            HeapType::None if self.nullable => "nullref",
            HeapType::Exn if self.nullable => "exnref",
            HeapType::NoExn if self.nullable => "nullexnref",
            ref ty if self.nullable => return write!(f, "(ref null {ty})"),
            ref ty => return write!(f, "(ref {ty})"),
        })
    }
}
