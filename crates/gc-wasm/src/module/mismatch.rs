//! [`TypeMismatch`]: the types of a function's operands that do not match, by name.
//!
//! The validator writes every reference to a type of the module as `(ref $type)`. So a function in
//! which such types do not match is validated once more, and the types that are compared are noted.

use super::info::ModuleInfo;
use anyhow::Error;
use std::cell::Cell;
use std::fmt;
use wasmparser::types::CoreTypeId;
use wasmparser::{
    BinaryReaderError, FuncToValidate, FuncType, FuncValidator, FunctionBody, GlobalType, HeapType,
    MemoryType, RefType, SubType, TableType, UnpackedIndex, ValType, ValidatorResources,
    WasmModuleResources,
};

/// The error of a module in which an operand does not have the type that it must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeMismatch {
    /// The offset in bytes of the operator in the module.
    pub offset: u64,
    /// What is wrong, without the place: both types, with the names that the module has for its
    /// types.
    pub message: String,
}

impl fmt::Display for TypeMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (at offset {:#x})", self.message, self.offset)
    }
}

impl std::error::Error for TypeMismatch {}

/// The error of a function's body. If it is about types of the module, with their names.
pub(crate) fn explain(
    error: Error,
    validator: &FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    info: &ModuleInfo,
) -> Error {
    let unnamed = |error: &BinaryReaderError| {
        let message = error.message();
        message.starts_with("type mismatch: expected ") && message.contains("$type")
    };
    if !error.downcast_ref().is_some_and(unnamed) {
        return error;
    }
    let resources = validator.resources();
    let Some(ty) = resources.type_index_of_function(validator.index()) else { return error };
    let again = FuncToValidate {
        resources: Noting { resources, last: Cell::new(None) },
        index: validator.index(),
        ty,
        features: *validator.features(),
    };
    let mut again = again.into_validator(Default::default());
    let Err(same) = again.validate(body) else { return error };
    let Some(types) = again.resources().last.get().filter(|_| unnamed(&same)) else { return error };
    let [found, expected] = [types.0, types.1].map(|ty| show(ty, resources, info));
    let message = format!("type mismatch: expected {expected}, found {found}");
    TypeMismatch { offset: same.offset() as u64, message }.into()
}

/// A type in the text format, with the name of a type of the module, or its index.
fn show(ty: ValType, resources: &ValidatorResources, info: &ModuleInfo) -> String {
    let ValType::Ref(ty) = ty else { return ty.to_string() };
    let HeapType::Concrete(id) = ty.heap_type() else { return ty.to_string() };
    let has_id = |index: &u32| {
        let mut heap_type = HeapType::Concrete(UnpackedIndex::Module(*index));
        resources.check_heap_type(&mut heap_type, 0).is_ok() && heap_type == HeapType::Concrete(id)
    };
    let indices = 0..info.types.all().len() as u32;
    let mut same = indices.filter(|index| resources.sub_type_at(*index).is_some() && has_id(index));
    let Some(first) = same.next() else { return ty.to_string() };
    let named = std::iter::once(first).chain(same).find_map(|index| info.type_identifier(index));
    let null = if ty.is_nullable() { "null " } else { "" };
    format!("(ref {null}{})", named.unwrap_or_else(|| first.to_string()))
}

/// The resources of a module that note the last two types that did not match.
struct Noting<'a> {
    resources: &'a ValidatorResources,
    last: Cell<Option<(ValType, ValType)>>,
}

impl WasmModuleResources for Noting<'_> {
    fn is_subtype(&self, a: ValType, b: ValType) -> bool {
        let is = self.resources.is_subtype(a, b);
        if !is {
            self.last.set(Some((a, b)));
        }
        is
    }

    fn table_at(&self, at: u32) -> Option<TableType> {
        self.resources.table_at(at)
    }

    fn memory_at(&self, at: u32) -> Option<MemoryType> {
        self.resources.memory_at(at)
    }

    fn tag_at(&self, at: u32) -> Option<&FuncType> {
        self.resources.tag_at(at)
    }

    fn global_at(&self, at: u32) -> Option<GlobalType> {
        self.resources.global_at(at)
    }

    fn sub_type_at(&self, at: u32) -> Option<&SubType> {
        self.resources.sub_type_at(at)
    }

    fn sub_type_at_id(&self, id: CoreTypeId) -> &SubType {
        self.resources.sub_type_at_id(id)
    }

    fn type_id_of_function(&self, at: u32) -> Option<CoreTypeId> {
        self.resources.type_id_of_function(at)
    }

    fn type_index_of_function(&self, at: u32) -> Option<u32> {
        self.resources.type_index_of_function(at)
    }

    fn element_type_at(&self, at: u32) -> Option<RefType> {
        self.resources.element_type_at(at)
    }

    fn is_shared(&self, ty: RefType) -> bool {
        self.resources.is_shared(ty)
    }

    fn check_heap_type(&self, ty: &mut HeapType, offset: usize) -> Result<(), BinaryReaderError> {
        self.resources.check_heap_type(ty, offset)
    }

    fn top_type(&self, ty: &HeapType) -> HeapType {
        self.resources.top_type(ty)
    }

    fn element_count(&self) -> u32 {
        self.resources.element_count()
    }

    fn data_count(&self) -> Option<u32> {
        self.resources.data_count()
    }

    fn is_function_referenced(&self, at: u32) -> bool {
        self.resources.is_function_referenced(at)
    }

    fn has_function_exact_type(&self, at: u32) -> bool {
        self.resources.has_function_exact_type(at)
    }
}
