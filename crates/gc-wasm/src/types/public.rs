//! The types of values in the embedding API.
//!
//! A concrete type ([`FuncType`], [`StructType`], [`ArrayType`], [`ExnType`]) belongs to an engine. It is
//! registered when it is made, and equal types are equal values.

use super::composite::{ArrayType, ExnType, FuncType, StructType};
use super::matching::type_index;
use crate::Engine;
use std::fmt;
use wasmtime_types::{
    EngineOrModuleTypeIndex, VMSharedTypeIndex, WasmHeapType, WasmRefType, WasmValType,
};

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

/// The type of the referent of a reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeapType {
    /// Any host value, or an internal reference made external.
    Extern,
    /// Nothing: the bottom of the external references.
    NoExtern,
    /// Any function.
    Func,
    /// A function of this type.
    ConcreteFunc(FuncType),
    /// Nothing: the bottom of the function references.
    NoFunc,
    /// Any internal reference.
    Any,
    /// Any internal reference that can be compared.
    Eq,
    /// An unboxed 31-bit integer.
    I31,
    /// Any array.
    Array,
    /// An array of this type.
    ConcreteArray(ArrayType),
    /// Any struct.
    Struct,
    /// A struct of this type.
    ConcreteStruct(StructType),
    /// Nothing: the bottom of the internal references.
    None,
    /// Any exception.
    Exn,
    /// An exception of this type.
    ConcreteExn(ExnType),
    /// Nothing: the bottom of the exceptions.
    NoExn,
}

impl ValType {
    /// `externref`: a nullable reference to any host value.
    pub const EXTERNREF: ValType =
        ValType::Ref(RefType { nullable: true, heap_type: HeapType::Extern });
    /// `anyref`: a nullable internal reference.
    pub const ANYREF: ValType = ValType::Ref(RefType { nullable: true, heap_type: HeapType::Any });
    /// `funcref`: a nullable reference to any function.
    pub const FUNCREF: ValType =
        ValType::Ref(RefType { nullable: true, heap_type: HeapType::Func });
    /// `eqref`: a nullable internal reference that can be compared.
    pub const EQREF: ValType = ValType::Ref(RefType { nullable: true, heap_type: HeapType::Eq });
    /// `i31ref`: a nullable unboxed integer.
    pub const I31REF: ValType = ValType::Ref(RefType { nullable: true, heap_type: HeapType::I31 });
    /// `exnref`: a nullable reference to any exception.
    pub const EXNREF: ValType = ValType::Ref(RefType { nullable: true, heap_type: HeapType::Exn });
    /// `structref`: a nullable reference to any struct.
    pub const STRUCTREF: ValType =
        ValType::Ref(RefType { nullable: true, heap_type: HeapType::Struct });
    /// `arrayref`: a nullable reference to any array.
    pub const ARRAYREF: ValType =
        ValType::Ref(RefType { nullable: true, heap_type: HeapType::Array });

    /// The reference type, if this is one.
    pub fn as_ref(&self) -> Option<&RefType> {
        match self {
            ValType::Ref(ty) => Some(ty),
            _ => None,
        }
    }

    /// Whether every value of this type is one of type `sup`.
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

impl HeapType {
    /// Whether every object of this type is one of type `sup`.
    pub fn matches(&self, sup: &HeapType) -> bool {
        match self.engine().or(sup.engine()) {
            Some(engine) => {
                self.comes_from(engine)
                    && sup.comes_from(engine)
                    && engine.types().heap_matches(&self.to_wasm(), &sup.to_wasm())
            }
            None => super::matching::abstract_heap_matches(&self.to_wasm(), &sup.to_wasm()),
        }
    }

    /// The top of the hierarchy of this type.
    pub fn top(&self) -> HeapType {
        match self {
            HeapType::Extern | HeapType::NoExtern => HeapType::Extern,
            HeapType::Func | HeapType::ConcreteFunc(_) | HeapType::NoFunc => HeapType::Func,
            HeapType::Exn | HeapType::ConcreteExn(_) | HeapType::NoExn => HeapType::Exn,
            _ => HeapType::Any,
        }
    }

    pub(super) fn engine(&self) -> Option<&Engine> {
        match self {
            HeapType::ConcreteFunc(ty) => Some(ty.engine()),
            HeapType::ConcreteStruct(ty) => Some(ty.engine()),
            HeapType::ConcreteArray(ty) => Some(ty.engine()),
            HeapType::ConcreteExn(ty) => Some(ty.engine()),
            _ => None,
        }
    }

    fn comes_from(&self, engine: &Engine) -> bool {
        self.engine().is_none_or(|own| own.same(engine))
    }

    pub(crate) fn to_wasm(&self) -> WasmHeapType {
        fn edge(index: gc_types::TypeIndex) -> EngineOrModuleTypeIndex {
            VMSharedTypeIndex::new(index.as_u32()).into()
        }
        match self {
            HeapType::Extern => WasmHeapType::Extern,
            HeapType::NoExtern => WasmHeapType::NoExtern,
            HeapType::Func => WasmHeapType::Func,
            HeapType::ConcreteFunc(ty) => WasmHeapType::ConcreteFunc(edge(ty.index())),
            HeapType::NoFunc => WasmHeapType::NoFunc,
            HeapType::Any => WasmHeapType::Any,
            HeapType::Eq => WasmHeapType::Eq,
            HeapType::I31 => WasmHeapType::I31,
            HeapType::Array => WasmHeapType::Array,
            HeapType::ConcreteArray(ty) => WasmHeapType::ConcreteArray(edge(ty.index())),
            HeapType::Struct => WasmHeapType::Struct,
            HeapType::ConcreteStruct(ty) => WasmHeapType::ConcreteStruct(edge(ty.index())),
            HeapType::None => WasmHeapType::None,
            HeapType::Exn => WasmHeapType::Exn,
            HeapType::ConcreteExn(ty) => WasmHeapType::ConcreteExn(edge(ty.index())),
            HeapType::NoExn => WasmHeapType::NoExn,
        }
    }

    pub(crate) fn from_wasm(engine: &Engine, ty: &WasmHeapType) -> HeapType {
        let registered = |edge: &EngineOrModuleTypeIndex| engine.types().get(type_index(*edge));
        match ty {
            WasmHeapType::Extern => HeapType::Extern,
            WasmHeapType::NoExtern => HeapType::NoExtern,
            WasmHeapType::Func => HeapType::Func,
            WasmHeapType::ConcreteFunc(edge) => {
                HeapType::ConcreteFunc(FuncType::from_registered(engine, registered(edge)))
            }
            WasmHeapType::NoFunc => HeapType::NoFunc,
            WasmHeapType::Any => HeapType::Any,
            WasmHeapType::Eq => HeapType::Eq,
            WasmHeapType::I31 => HeapType::I31,
            WasmHeapType::Array => HeapType::Array,
            WasmHeapType::ConcreteArray(edge) => {
                HeapType::ConcreteArray(ArrayType::from_registered(engine, registered(edge)))
            }
            WasmHeapType::Struct => HeapType::Struct,
            WasmHeapType::ConcreteStruct(edge) => {
                HeapType::ConcreteStruct(StructType::from_registered(engine, registered(edge)))
            }
            WasmHeapType::None => HeapType::None,
            WasmHeapType::Exn => HeapType::Exn,
            WasmHeapType::ConcreteExn(edge) => {
                HeapType::ConcreteExn(ExnType::from_registered(engine, registered(edge)))
            }
            WasmHeapType::NoExn => HeapType::NoExn,
            WasmHeapType::Cont | WasmHeapType::ConcreteCont(_) | WasmHeapType::NoCont => {
                unreachable!("continuation types do not pass validation")
            }
        }
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

impl fmt::Display for HeapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeapType::Extern => "extern",
            HeapType::NoExtern => "noextern",
            HeapType::Func => "func",
            HeapType::NoFunc => "nofunc",
            HeapType::Any => "any",
            HeapType::Eq => "eq",
            HeapType::I31 => "i31",
            HeapType::Array => "array",
            HeapType::Struct => "struct",
            HeapType::None => "none",
            HeapType::Exn => "exn",
            HeapType::NoExn => "noexn",
            HeapType::ConcreteFunc(ty) => return ty.fmt(f),
            HeapType::ConcreteArray(ty) => return ty.fmt(f),
            HeapType::ConcreteStruct(ty) => return ty.fmt(f),
            HeapType::ConcreteExn(ty) => return ty.fmt(f),
        })
    }
}
