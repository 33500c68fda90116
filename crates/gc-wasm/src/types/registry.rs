//! Canonical types: in all modules of an engine and in the host, two types have the same index
//! exactly if they are equal. (GC proposal, "Type equivalence": recursion groups are equal if they
//! are structurally equal. References within a group are compared by position.)
//!
//! A recursion group is found by its canonical form, in which references into the group are
//! relative and all others are engine-wide indices. Types live as long as the engine.

use super::display::DisplayTable;
use anyhow::{Context as _, Result, bail};
use gc_types::{
    ArrayLayout, CallSignature, ExnLayout, GcLayout, StorageType, StructLayout, TypeIndex,
    VMGcKind, ValueType,
};
use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use wasmtime_types::prelude::TryClone;
use wasmtime_types::{
    EngineOrModuleTypeIndex, TypeTrace, VMSharedTypeIndex, WasmCompositeInnerType,
    WasmCompositeType, WasmExnType, WasmFieldType, WasmRecGroup, WasmStorageType, WasmSubType,
    WasmValType,
};

/// A type of an engine.
#[derive(Debug)]
pub(crate) struct RegisteredType {
    /// Its index.
    pub(crate) index: TypeIndex,
    /// The definition. All references in it are engine-wide indices.
    pub(crate) sub_type: WasmSubType,
    /// The layout of its objects, unless it is a function type.
    pub(crate) layout: Option<Arc<GcLayout>>,
    /// Its ancestors, the root first and the type itself last.
    pub(crate) chain: Box<[u32]>,
    /// How its functions are called, if it is a function type.
    signature: Option<CallSignature>,
}

impl RegisteredType {
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

#[derive(Default)]
struct Inner {
    types: Vec<Arc<RegisteredType>>,
    /// Maps a canonical recursion group to the index of its first type.
    groups: HashMap<WasmRecGroup, u32>,
}

/// All types of an engine.
pub(crate) struct TypeRegistry {
    inner: RwLock<Inner>,
    displays: DisplayTable,
}

impl TypeRegistry {
    /// An empty registry.
    pub(crate) fn new() -> Result<TypeRegistry> {
        Ok(TypeRegistry { inner: RwLock::default(), displays: DisplayTable::new()? })
    }

    /// The display table.
    pub(crate) fn displays(&self) -> &DisplayTable {
        &self.displays
    }

    /// The type with this index.
    ///
    /// # Panics
    /// If there is none. The index must come from this registry; for an untrusted index use
    /// [`TypeRegistry::try_get`].
    pub(crate) fn get(&self, index: TypeIndex) -> Arc<RegisteredType> {
        self.try_get(index).expect("a type index of this engine")
    }

    /// The type with this index, if there is one.
    pub(crate) fn try_get(&self, index: TypeIndex) -> Option<Arc<RegisteredType>> {
        self.inner.read().unwrap().types.get(index.as_u32() as usize).cloned()
    }

    /// Whether `actual` is `expected` or one of its descendants. Unknown indices
    /// are subtypes of nothing.
    pub(crate) fn is_subtype(&self, actual: TypeIndex, expected: TypeIndex) -> bool {
        if actual == expected {
            return true;
        }
        let inner = self.inner.read().unwrap();
        let get = |i: TypeIndex| inner.types.get(i.as_u32() as usize);
        match (get(actual), get(expected)) {
            (Some(actual), Some(expected)) => {
                let depth = expected.chain.len() - 1;
                actual.chain.get(depth) == Some(&expected.index.as_u32())
            }
            _ => false,
        }
    }

    /// The type of exceptions whose tag has the function type `func`: its parameters are the
    /// payload.
    ///
    /// # Errors
    /// As [`TypeRegistry::register`].
    pub(crate) fn exn_type(&self, func: TypeIndex) -> Result<TypeIndex> {
        let ty = self.get(func);
        let field = |ty: &WasmValType| WasmFieldType {
            element_type: WasmStorageType::Val(*ty),
            mutable: false,
        };
        let exn = WasmExnType {
            func_ty: VMSharedTypeIndex::new(func.as_u32()).into(),
            fields: ty.sub_type.unwrap_func().params().iter().map(field).collect(),
        };
        let ty = WasmSubType {
            is_final: true,
            supertype: None,
            composite_type: WasmCompositeType {
                inner: WasmCompositeInnerType::Exn(exn),
                shared: false,
            },
        };
        let index = self.register(WasmRecGroup { types: Box::new([ty]) })?;
        Ok(TypeIndex::new(index).expect("registered types fit"))
    }

    /// Registers a recursion group in canonical form. Returns the engine-wide index of its first
    /// type; the indices of the others follow.
    ///
    /// # Errors
    /// If there are too many types, or an object of one would be too large.
    pub(crate) fn register(&self, group: WasmRecGroup) -> Result<u32> {
        debug_assert!(group.is_canonicalized_for_hash_consing());
        if let Some(first) = self.inner.read().unwrap().groups.get(&group) {
            return Ok(*first);
        }
        let mut inner = self.inner.write().unwrap();
        if let Some(first) = inner.groups.get(&group) {
            return Ok(*first);
        }
        let first = inner.types.len() as u32;
        if u64::from(first) + group.types.len() as u64 > u64::from(DisplayTable::CAPACITY) {
            bail!("more than {} types in one engine", DisplayTable::CAPACITY);
        }
        let mut new: Vec<Arc<RegisteredType>> = Vec::with_capacity(group.types.len());
        for (i, canonical) in group.types.iter().enumerate() {
            let index = first + i as u32;
            let mut sub_type = canonical.try_clone().map_err(anyhow::Error::msg)?;
            sub_type
                .trace_mut::<_, ()>(&mut |edge| {
                    if let EngineOrModuleTypeIndex::RecGroup(relative) = *edge {
                        *edge = VMSharedTypeIndex::new(first + relative.as_u32()).into();
                    }
                    Ok(())
                })
                .expect("the visitor does not fail");
            let mut chain: Vec<u32> = match sub_type.supertype {
                None => Vec::new(),
                Some(sup) => {
                    let sup = sup.unwrap_engine_type_index().bits();
                    match sup.checked_sub(first) {
                        Some(relative) => new[relative as usize].chain.to_vec(),
                        None => inner.types[sup as usize].chain.to_vec(),
                    }
                }
            };
            chain.push(index);
            let layout = layout_of(&sub_type)?.map(Arc::new);
            let signature = signature_of(&sub_type);
            new.push(Arc::new(RegisteredType {
                index: TypeIndex::new(index).expect("display capacity is below the limit"),
                sub_type,
                layout,
                chain: chain.into(),
                signature,
            }));
        }
        for ty in &new {
            self.displays.write_row(ty.index.as_u32(), &ty.chain);
        }
        inner.types.extend(new);
        inner.groups.insert(group, first);
        Ok(first)
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
fn signature_of(ty: &WasmSubType) -> Option<CallSignature> {
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

fn layout_of(ty: &WasmSubType) -> Result<Option<GcLayout>> {
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
