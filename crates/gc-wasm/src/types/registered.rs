//! [`RegisteredType`]: a type of an engine, which stays registered as long as somebody has it.
//!
//! A type belongs to a recursion group, and a group is registered and freed as a whole. Whoever has
//! a type of a group keeps the group. A group keeps the groups to which its types refer, so every
//! type that can be reached from a registered type is registered too. No group refers to a newer one,
//! so groups never keep each other in a circle.

use super::registry::Registry;
use anyhow::{Context as _, Result, bail};
use gc_types::{
    ArrayLayout, CallSignature, ExnLayout, GcLayout, StorageType, StructLayout, TypeIndex,
    VMGcKind, ValueType,
};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use wasmtime_types::{
    WasmCompositeInnerType, WasmRecGroup, WasmStorageType, WasmSubType, WasmValType,
};

/// The definition of a type.
#[derive(Debug)]
pub(crate) struct TypeDefinition {
    /// Its index in the engine. No other type has it while this one is registered.
    pub(crate) index: TypeIndex,
    /// The definition. All references in it are engine-wide indices.
    pub(crate) sub_type: WasmSubType,
    /// The layout of its objects, unless it is a function type.
    pub(crate) layout: Option<Arc<GcLayout>>,
    /// Its ancestors, the root first and the type itself last.
    pub(crate) chain: Box<[u32]>,
    /// How its functions are called, if it is a function type.
    pub(super) signature: Option<CallSignature>,
}

impl TypeDefinition {
    /// Number of proper ancestors.
    #[cfg(feature = "compiler")]
    pub(crate) fn depth(&self) -> u32 {
        self.chain.len() as u32 - 1
    }

    /// How the host calls the store's functions.
    ///
    /// # Errors
    /// If it is no function type.
    pub(crate) fn signature(&self) -> Result<&CallSignature> {
        self.signature.as_ref().context("not a function type")
    }

    /// The kind of its objects, `None` for a function type.
    pub(crate) fn kind(&self) -> Option<VMGcKind> {
        self.layout.as_ref().map(|layout| layout.kind())
    }
}

/// A registered recursion group. It is freed when it is dropped.
pub(super) struct RecGroup {
    pub(super) registry: Arc<Registry>,
    /// The canonical form by which it is found.
    pub(super) key: Arc<WasmRecGroup>,
    pub(super) types: Box<[TypeDefinition]>,
    /// The groups to which its types refer.
    pub(super) referenced: Vec<Arc<RecGroup>>,
}

impl Drop for RecGroup {
    fn drop(&mut self) {
        // Before the groups to which it refers are freed, because `key` has their indices.
        self.registry.free(self);
        // A loop, because a module chooses how many groups refer to each other in a row, and each
        // would take some of the stack.
        let mut left = std::mem::take(&mut self.referenced);
        while let Some(group) = left.pop() {
            if let Some(mut last) = Arc::into_inner(group) {
                left.append(&mut last.referenced);
            }
        }
    }
}

/// A type of an engine. Clones are cheap. The type keeps its index until all of them are dropped.
#[derive(Clone)]
pub(crate) struct RegisteredType {
    group: Arc<RecGroup>,
    position: u32,
}

impl RegisteredType {
    /// Type number `position` of `group`.
    pub(super) fn new(group: Arc<RecGroup>, position: u32) -> RegisteredType {
        assert!((position as usize) < group.types.len(), "a group without type {position}");
        RegisteredType { group, position }
    }

    /// The group to which it belongs.
    pub(super) fn group(&self) -> &Arc<RecGroup> {
        &self.group
    }
}

impl Deref for RegisteredType {
    type Target = TypeDefinition;

    fn deref(&self) -> &TypeDefinition {
        &self.group.types[self.position as usize]
    }
}

impl fmt::Debug for RegisteredType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TypeDefinition::fmt(self, f)
    }
}

/// The storage type of a field of this type.
pub(crate) fn storage_of(ty: &WasmStorageType) -> StorageType {
    match ty {
        WasmStorageType::I8 => StorageType::I8,
        WasmStorageType::I16 => StorageType::I16,
        WasmStorageType::Val(ty) => storage_of_val(ty),
    }
}

/// The storage type of a value of this type in an object.
pub(crate) fn storage_of_val(ty: &WasmValType) -> StorageType {
    match ty {
        WasmValType::I32 => StorageType::I32,
        WasmValType::I64 => StorageType::I64,
        WasmValType::F32 => StorageType::F32,
        WasmValType::F64 => StorageType::F64,
        WasmValType::V128 => StorageType::V128,
        WasmValType::Ref(ty) if ty.is_vmgcref_type() => StorageType::Ref,
        WasmValType::Ref(_) => StorageType::FuncRef,
    }
}

/// How functions of this type are called; `None` if it is no function type.
pub(super) fn signature_of(ty: &WasmSubType) -> Option<CallSignature> {
    let WasmCompositeInnerType::Func(ty) = &ty.composite_type.inner else { return None };
    let value = |ty: &WasmValType| match ty {
        WasmValType::I32 => ValueType::I32,
        WasmValType::I64 | WasmValType::Ref(_) => ValueType::I64,
        WasmValType::F32 => ValueType::F32,
        WasmValType::F64 => ValueType::F64,
        WasmValType::V128 => ValueType::V128,
    };
    Some(CallSignature::new(ty.params().iter().map(value), ty.results().iter().map(value)))
}

/// The layout of the objects of this type; `None` if it is a function type.
///
/// # Errors
/// If an object would be too large.
pub(super) fn layout_of(ty: &WasmSubType) -> Result<Option<GcLayout>> {
    Ok(match &ty.composite_type.inner {
        WasmCompositeInnerType::Func(_) => None,
        WasmCompositeInnerType::Struct(ty) => Some(GcLayout::Struct(StructLayout::new(
            ty.fields.iter().map(|field| storage_of(&field.element_type)),
        )?)),
        WasmCompositeInnerType::Array(ty) => {
            Some(GcLayout::Array(ArrayLayout::new(storage_of(&ty.0.element_type))))
        }
        WasmCompositeInnerType::Exn(ty) => Some(GcLayout::Exn(ExnLayout::new(
            ty.fields.iter().map(|field| storage_of(&field.element_type)),
        )?)),
        WasmCompositeInnerType::Cont(_) => bail!("unsupported: continuation types"),
    })
}
