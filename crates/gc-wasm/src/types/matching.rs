//! Subtyping between canonical types (GC proposal, "Matching").

use super::registry::TypeRegistry;
use gc_types::TypeIndex;
use wasmtime_types::{EngineOrModuleTypeIndex, WasmHeapType, WasmRefType, WasmValType};

/// The engine-wide index of a canonical reference.
pub(crate) fn type_index(edge: EngineOrModuleTypeIndex) -> TypeIndex {
    TypeIndex::new(edge.unwrap_engine_type_index().bits()).expect("registered types fit")
}

/// The engine-wide index of a canonical heap type, if it is concrete.
pub(crate) fn concrete_index(ty: &WasmHeapType) -> Option<TypeIndex> {
    match ty {
        WasmHeapType::ConcreteFunc(edge)
        | WasmHeapType::ConcreteStruct(edge)
        | WasmHeapType::ConcreteArray(edge)
        | WasmHeapType::ConcreteExn(edge) => Some(type_index(*edge)),
        _ => None,
    }
}

impl TypeRegistry {
    /// Whether every value of type `sub` is one of type `sup`.
    pub(crate) fn val_matches(&self, sub: &WasmValType, sup: &WasmValType) -> bool {
        match (sub, sup) {
            (WasmValType::Ref(sub), WasmValType::Ref(sup)) => self.ref_matches(sub, sup),
            _ => sub == sup,
        }
    }

    /// Whether every reference of type `sub` is one of type `sup`.
    pub(crate) fn ref_matches(&self, sub: &WasmRefType, sup: &WasmRefType) -> bool {
        (sup.nullable || !sub.nullable) && self.heap_matches(&sub.heap_type, &sup.heap_type)
    }

    /// Whether every object of type `sub` is one of type `sup`.
    pub(crate) fn heap_matches(&self, sub: &WasmHeapType, sup: &WasmHeapType) -> bool {
        use WasmHeapType::*;
        match (sub, sup) {
            (ConcreteFunc(a), ConcreteFunc(b))
            | (ConcreteStruct(a), ConcreteStruct(b))
            | (ConcreteArray(a), ConcreteArray(b))
            | (ConcreteExn(a), ConcreteExn(b)) => self.is_subtype(type_index(*a), type_index(*b)),
            _ => abstract_heap_matches(sub, sup),
        }
    }
}

/// Whether every object of type `sub` is one of type `sup`. At least one type is abstract, or both
/// are the same.
pub(crate) fn abstract_heap_matches(sub: &WasmHeapType, sup: &WasmHeapType) -> bool {
    use WasmHeapType::*;
    sub == sup
        || matches!(
            (sub, sup),
            (ConcreteFunc(_) | NoFunc, Func)
                | (NoFunc, ConcreteFunc(_))
                | (NoExtern, Extern)
                | (ConcreteExn(_) | NoExn, Exn)
                | (NoExn, ConcreteExn(_))
                | (NoCont, Cont)
                | (None, Any | Eq | I31 | Struct | Array | ConcreteStruct(_) | ConcreteArray(_))
                | (Eq | I31 | Struct | Array | ConcreteStruct(_) | ConcreteArray(_), Any)
                | (I31 | Struct | Array | ConcreteStruct(_) | ConcreteArray(_), Eq)
                | (ConcreteStruct(_), Struct)
                | (ConcreteArray(_), Array)
        )
}
