//! [`HeapType`]: what references refer to.

use super::composite::{ArrayType, ExnType, FuncType, StructType};
use super::matching::{abstract_heap_matches, type_index};
use crate::Engine;
use std::fmt;
use wasmtime_types::{EngineOrModuleTypeIndex, VMSharedTypeIndex, WasmHeapType};

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

impl HeapType {
    /// Whether this is [`HeapType::Extern`], any host value.
    pub fn is_extern(&self) -> bool {
        matches!(self, HeapType::Extern)
    }

    /// Whether this is [`HeapType::NoExtern`], the bottom of the external references.
    pub fn is_no_extern(&self) -> bool {
        matches!(self, HeapType::NoExtern)
    }

    /// Whether this is [`HeapType::Func`], any function.
    pub fn is_func(&self) -> bool {
        matches!(self, HeapType::Func)
    }

    /// Whether this is [`HeapType::NoFunc`], the bottom of the functions.
    pub fn is_no_func(&self) -> bool {
        matches!(self, HeapType::NoFunc)
    }

    /// Whether this is [`HeapType::Any`], any internal reference.
    pub fn is_any(&self) -> bool {
        matches!(self, HeapType::Any)
    }

    /// Whether this is [`HeapType::Eq`], any internal reference that can be compared.
    pub fn is_eq(&self) -> bool {
        matches!(self, HeapType::Eq)
    }

    /// Whether this is [`HeapType::I31`], an unboxed integer.
    pub fn is_i31(&self) -> bool {
        matches!(self, HeapType::I31)
    }

    /// Whether this is [`HeapType::Array`], any array.
    pub fn is_array(&self) -> bool {
        matches!(self, HeapType::Array)
    }

    /// Whether this is [`HeapType::Struct`], any struct.
    pub fn is_struct(&self) -> bool {
        matches!(self, HeapType::Struct)
    }

    /// Whether this is [`HeapType::None`], the bottom of the internal references.
    pub fn is_none(&self) -> bool {
        matches!(self, HeapType::None)
    }

    /// Whether this is [`HeapType::Exn`], any exception.
    pub fn is_exn(&self) -> bool {
        matches!(self, HeapType::Exn)
    }

    /// Whether this is [`HeapType::NoExn`], the bottom of the exceptions.
    pub fn is_no_exn(&self) -> bool {
        matches!(self, HeapType::NoExn)
    }

    /// Whether this is no type of an engine.
    pub fn is_abstract(&self) -> bool {
        !self.is_concrete()
    }

    /// Whether this is a function, array, struct or exception type of an engine.
    pub fn is_concrete(&self) -> bool {
        self.engine().is_some()
    }

    /// Whether this is the type of one function type.
    pub fn is_concrete_func(&self) -> bool {
        matches!(self, HeapType::ConcreteFunc(_))
    }

    /// The function type, if this is one.
    pub fn as_concrete_func(&self) -> Option<&FuncType> {
        match self {
            HeapType::ConcreteFunc(ty) => Some(ty),
            _ => None,
        }
    }

    /// The function type.
    ///
    /// # Panics
    /// If this is none.
    pub fn unwrap_concrete_func(&self) -> &FuncType {
        self.as_concrete_func().expect("expected a concrete function type")
    }

    /// Whether this is the type of one array type's objects.
    pub fn is_concrete_array(&self) -> bool {
        matches!(self, HeapType::ConcreteArray(_))
    }

    /// The array type, if this is one.
    pub fn as_concrete_array(&self) -> Option<&ArrayType> {
        match self {
            HeapType::ConcreteArray(ty) => Some(ty),
            _ => None,
        }
    }

    /// The array type.
    ///
    /// # Panics
    /// If this is none.
    pub fn unwrap_concrete_array(&self) -> &ArrayType {
        self.as_concrete_array().expect("expected a concrete array type")
    }

    /// Whether this is the type of one struct type's objects.
    pub fn is_concrete_struct(&self) -> bool {
        matches!(self, HeapType::ConcreteStruct(_))
    }

    /// The struct type, if this is one.
    pub fn as_concrete_struct(&self) -> Option<&StructType> {
        match self {
            HeapType::ConcreteStruct(ty) => Some(ty),
            _ => None,
        }
    }

    /// The struct type.
    ///
    /// # Panics
    /// If this is none.
    pub fn unwrap_concrete_struct(&self) -> &StructType {
        self.as_concrete_struct().expect("expected a concrete struct type")
    }

    /// Whether this is the type of one exception type's objects.
    pub fn is_concrete_exn(&self) -> bool {
        matches!(self, HeapType::ConcreteExn(_))
    }

    /// The exception type, if this is one.
    pub fn as_concrete_exn(&self) -> Option<&ExnType> {
        match self {
            HeapType::ConcreteExn(ty) => Some(ty),
            _ => None,
        }
    }

    /// The exception type.
    ///
    /// # Panics
    /// If this is none.
    pub fn unwrap_concrete_exn(&self) -> &ExnType {
        self.as_concrete_exn().expect("expected a concrete exception type")
    }

    /// Whether every object of this type is one of type `sup`.
    ///
    /// # Panics
    /// If the types belong to different engines.
    pub fn matches(&self, sup: &HeapType) -> bool {
        let (sub, sup_wasm) = (self.to_wasm(), sup.to_wasm());
        match self.engine().or(sup.engine()) {
            Some(engine) => {
                assert!(
                    self.comes_from(engine) && sup.comes_from(engine),
                    "types of different engines were compared"
                );
                engine.types().heap_matches(&sub, &sup_wasm)
            }
            None => abstract_heap_matches(&sub, &sup_wasm),
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

    /// Whether this is the top of its hierarchy.
    pub fn is_top(&self) -> bool {
        *self == self.top()
    }

    /// The bottom of the hierarchy of this type. It has no objects.
    pub fn bottom(&self) -> HeapType {
        match self.top() {
            HeapType::Extern => HeapType::NoExtern,
            HeapType::Func => HeapType::NoFunc,
            HeapType::Exn => HeapType::NoExn,
            _ => HeapType::None,
        }
    }

    /// Whether this is the bottom of its hierarchy.
    pub fn is_bottom(&self) -> bool {
        *self == self.bottom()
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

    pub(crate) fn comes_from(&self, engine: &Engine) -> bool {
        self.engine().is_none_or(|own| Engine::same(own, engine))
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

impl From<FuncType> for HeapType {
    fn from(ty: FuncType) -> HeapType {
        HeapType::ConcreteFunc(ty)
    }
}

impl From<ArrayType> for HeapType {
    fn from(ty: ArrayType) -> HeapType {
        HeapType::ConcreteArray(ty)
    }
}

impl From<StructType> for HeapType {
    fn from(ty: StructType) -> HeapType {
        HeapType::ConcreteStruct(ty)
    }
}

impl From<ExnType> for HeapType {
    fn from(ty: ExnType) -> HeapType {
        HeapType::ConcreteExn(ty)
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
