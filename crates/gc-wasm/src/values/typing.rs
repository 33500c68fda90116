//! The types of values, and checks that values are of a type.

use super::Val;
use crate::refs::Reference as _;
use crate::store::StoreOpaque;
use crate::types::registered::RegisteredType;
use crate::types::{HeapType, RefType, ValType};
use crate::{AsContext, Ref};
use anyhow::{Result, anyhow, bail, ensure};
use gc_types::{TypeIndex, VMGcKind, VMGcRef, ValRaw};
use wasmtime_types::{
    EngineOrModuleTypeIndex, VMSharedTypeIndex, WasmHeapTopType, WasmHeapType, WasmValType,
};

/// The error of a value of another store, where it is one.
pub(crate) const CROSS_STORE: &str = "cross-`Store` values are not currently supported";

impl Val {
    /// The most precise type of this value.
    ///
    /// # Errors
    /// If it is a reference whose scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If it is a reference of another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ValType> {
        let store = store.as_context().opaque();
        Ok(match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(None) => ValType::NULLFUNCREF,
            Val::ExternRef(None) => ValType::NULLEXTERNREF,
            Val::AnyRef(None) => ValType::NULLREF,
            Val::ExnRef(None) => ValType::NULLEXNREF,
            Val::FuncRef(Some(_))
            | Val::ExternRef(Some(_))
            | Val::AnyRef(Some(_))
            | Val::ExnRef(Some(_)) => {
                let ty = self.heap_type(store)?;
                ValType::Ref(RefType::new(false, HeapType::from_wasm(store.engine(), &ty)))
            }
        })
    }

    /// Whether this is a value of type `ty`.
    ///
    /// # Errors
    /// If it is a reference whose scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If it is a reference of another store, or the type belongs to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ValType) -> Result<bool> {
        let store = store.as_context().opaque();
        assert!(ty.comes_from(store.engine()), "the type {ty} belongs to another engine");
        self.matches(store, &ty.to_wasm())
    }

    /// The most precise heap type of a reference that is not null.
    fn heap_type(&self, store: &StoreOpaque) -> Result<WasmHeapType> {
        match self {
            Val::FuncRef(Some(func)) => Ok(func_heap_type(func.type_index(store))),
            Val::ExternRef(Some(gc_ref)) => {
                gc_ref.gc_ref(store)?;
                Ok(WasmHeapType::Extern)
            }
            Val::AnyRef(Some(gc_ref)) => store.heap_type_of(&gc_ref.gc_ref(store)?),
            Val::ExnRef(Some(gc_ref)) => {
                Ok(HeapType::ConcreteExn(gc_ref.exn_type(store)?).to_wasm())
            }
            _ => unreachable!("only for references that are not null"),
        }
    }

    /// Whether this is a value of type `ty`.
    pub(crate) fn matches(&self, store: &StoreOpaque, ty: &WasmValType) -> Result<bool> {
        let WasmValType::Ref(ty) = ty else {
            return Ok(matches!(
                (self, ty),
                (Val::I32(_), WasmValType::I32)
                    | (Val::I64(_), WasmValType::I64)
                    | (Val::F32(_), WasmValType::F32)
                    | (Val::F64(_), WasmValType::F64)
                    | (Val::V128(_), WasmValType::V128)
            ));
        };
        let same_hierarchy = matches!(
            (self, ty.heap_type.top()),
            (Val::FuncRef(_), WasmHeapTopType::Func)
                | (Val::ExternRef(_), WasmHeapTopType::Extern)
                | (Val::AnyRef(_), WasmHeapTopType::Any)
                | (Val::ExnRef(_), WasmHeapTopType::Exn)
        );
        if !same_hierarchy {
            return Ok(false);
        }
        match self {
            Val::FuncRef(None) | Val::ExternRef(None) | Val::AnyRef(None) | Val::ExnRef(None) => {
                Ok(ty.nullable)
            }
            _ => Ok(store.engine().types().heap_matches(&self.heap_type(store)?, &ty.heap_type)),
        }
    }

    /// Whether this is a number, null, or a reference of `store`.
    pub(crate) fn comes_from(&self, store: &StoreOpaque) -> bool {
        match self {
            Val::FuncRef(Some(func)) => func.store() == store.id(),
            Val::ExternRef(Some(gc_ref)) => gc_ref.comes_from(store),
            Val::AnyRef(Some(gc_ref)) => gc_ref.comes_from(store),
            Val::ExnRef(Some(gc_ref)) => gc_ref.comes_from(store),
            _ => true,
        }
    }

    /// Fails unless this is a value of type `ty`, and not one of another store. `what` names the value
    /// in the error.
    pub(crate) fn check_given(
        &self,
        store: &StoreOpaque,
        ty: &WasmValType,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        ensure!(self.comes_from(store), CROSS_STORE);
        self.check(store, ty, what)
    }

    /// Fails unless this is a value of type `ty`. `what` names the value in the error.
    pub(crate) fn check(
        &self,
        store: &StoreOpaque,
        ty: &WasmValType,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        if !self.matches(store, ty)? {
            let expected = ValType::from_wasm(store.engine(), ty);
            let found = self.kind_name();
            let error = match self {
                Val::AnyRef(Some(_)) | Val::FuncRef(Some(_)) | Val::ExnRef(Some(_)) => {
                    let ty = HeapType::from_wasm(store.engine(), &self.heap_type(store)?);
                    anyhow!("type mismatch: expected {expected}, found {found} to {ty}")
                }
                _ => anyhow!("type mismatch: expected {expected}, found {found}"),
            };
            return Err(error.context(what()));
        }
        Ok(())
    }

    fn kind_name(&self) -> &'static str {
        match self {
            Val::I32(_) => "i32",
            Val::I64(_) => "i64",
            Val::F32(_) => "f32",
            Val::F64(_) => "f64",
            Val::V128(_) => "v128",
            Val::FuncRef(None) => "a null function reference",
            Val::FuncRef(Some(_)) => "a function reference",
            Val::ExternRef(None) => "a null external reference",
            Val::ExternRef(Some(_)) => "an external reference",
            Val::AnyRef(None) => "a null internal reference",
            Val::AnyRef(Some(_)) => "an internal reference",
            Val::ExnRef(None) => "a null exception reference",
            Val::ExnRef(Some(_)) => "an exception reference",
        }
    }
}

impl Ref {
    /// The most precise type of this reference.
    ///
    /// # Errors
    /// If its scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<RefType> {
        Ok(Val::from(*self).ty(store)?.unwrap_ref().clone())
    }

    /// Whether this is a reference of type `ty`.
    ///
    /// # Errors
    /// If its scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If it belongs to another store, or the type to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &RefType) -> Result<bool> {
        Val::from(*self).matches_ty(store, &ty.clone().into())
    }
}

/// The heap type of functions with this type.
fn func_heap_type(index: TypeIndex) -> WasmHeapType {
    WasmHeapType::ConcreteFunc(VMSharedTypeIndex::new(index.as_u32()).into())
}

impl StoreOpaque {
    /// Fails unless the value in a slot, which is of the hierarchy of `ty` if it is a reference, is
    /// of type `ty`. `what` names it in the error.
    pub(crate) fn check_slot(
        &mut self,
        raw: ValRaw,
        ty: &WasmValType,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        if let WasmValType::Ref(_) = ty {
            let scope = self.gc_store().enter_handle_scope();
            let result = Val::from_slot(self, raw, ty).check(self, ty, what);
            self.exit_scope(scope);
            result?;
        }
        Ok(())
    }

    /// The most precise heap type of an internal reference.
    pub(crate) fn heap_type_of(&self, gc_ref: &VMGcRef) -> Result<WasmHeapType> {
        if gc_ref.is_i31() {
            return Ok(WasmHeapType::I31);
        }
        let header = self.gc_store().header(gc_ref)?;
        let edge = || -> Result<EngineOrModuleTypeIndex> {
            match self.object_type(header.ty()) {
                Some(ty) if ty.kind() == header.kind() => {
                    Ok(VMSharedTypeIndex::new(ty.index.as_u32()).into())
                }
                _ => bail!("corrupt GC heap: an object of unknown type {:?}", header.ty()),
            }
        };
        Ok(match header.kind() {
            Some(VMGcKind::StructRef) => WasmHeapType::ConcreteStruct(edge()?),
            Some(VMGcKind::ArrayRef) => WasmHeapType::ConcreteArray(edge()?),
            // An external reference made internal.
            Some(VMGcKind::ExternRef) => WasmHeapType::Any,
            _ => bail!("corrupt GC heap: an object with the header {header:?}"),
        })
    }

    /// The registered type of the object, which must be a struct or an array. It is for accesses
    /// through handles whose type the host asserted.
    pub(crate) fn registered_type_of(&self, gc_ref: &VMGcRef) -> Result<&RegisteredType> {
        if gc_ref.is_i31() {
            bail!("expected a struct or array, found an unboxed integer");
        }
        let header = self.gc_store().header(gc_ref)?;
        if !matches!(header.kind(), Some(VMGcKind::StructRef | VMGcKind::ArrayRef)) {
            bail!("expected a struct or array, found an object with the header {header:?}");
        }
        match self.object_type(header.ty()) {
            Some(ty) if ty.kind() == header.kind() => Ok(ty),
            _ => bail!("corrupt GC heap: an object of unknown type {:?}", header.ty()),
        }
    }

    /// Whether the object is a struct or an array of this type, or of a subtype.
    pub(crate) fn is_of(&self, gc_ref: &VMGcRef, kind: VMGcKind, ty: TypeIndex) -> Result<bool> {
        let header = self.gc_store().header(gc_ref)?;
        if header.kind() == Some(kind) && header.ty() == ty {
            return Ok(true);
        }
        let actual = self.registered_type_of(gc_ref)?;
        Ok(actual.kind() == Some(kind) && self.is_subtype(actual.index, ty))
    }
}
