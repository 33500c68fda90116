//! Values in the form that compiled code gets and passes.
#![allow(unsafe_code)]

use super::Val;
use crate::refs::Reference as _;
use crate::store::StoreOpaque;
use crate::{AsContextMut, Func, V128, ValType};
use anyhow::Result;
use gc_types::{VMGcRef, ValRaw};
use wasmtime_types::{WasmHeapTopType, WasmRefType, WasmValType};

impl Val {
    /// The value as it is passed to compiled code, for a call with raw values
    /// ([`Func::call_unchecked`]). A reference may be passed once, and there must be no collection
    /// before.
    ///
    /// # Errors
    /// If the scope of a handle has ended.
    ///
    /// # Panics
    /// If a handle belongs to another store.
    pub fn to_raw(&self, mut store: impl AsContextMut) -> Result<ValRaw> {
        self.expose(store.as_context_mut().into_opaque())
    }

    /// The value of type `ty` that compiled code passed as `raw`.
    ///
    /// # Safety
    /// `raw` is a value of this type, of the same store, and there was no collection since compiled
    /// code passed it.
    pub unsafe fn from_raw(mut store: impl AsContextMut, raw: ValRaw, ty: ValType) -> Val {
        Val::from_slot(store.as_context_mut().into_opaque(), raw, &ty.to_wasm())
    }

    /// The rooted reference, copied without a barrier. `None` for null and for values that are not
    /// GC references.
    pub(crate) fn gc_ref(&self, store: &StoreOpaque) -> Result<Option<VMGcRef>> {
        match self {
            Val::ExternRef(Some(gc_ref)) => gc_ref.gc_ref(store).map(Some),
            Val::AnyRef(Some(gc_ref)) => gc_ref.gc_ref(store).map(Some),
            Val::ExnRef(Some(gc_ref)) => gc_ref.gc_ref(store).map(Some),
            _ => Ok(None),
        }
    }

    /// The value in the form that compiled code gets. A reference is exposed, so there must be no
    /// collection between this and the call.
    pub(crate) fn expose(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(match self {
            Val::I32(value) => ValRaw::i32(value),
            Val::I64(value) => ValRaw::i64(value),
            Val::F32(bits) => ValRaw::f32(bits),
            Val::F64(bits) => ValRaw::f64(bits),
            Val::V128(value) => value.to_raw(),
            Val::FuncRef(None) => ValRaw::ZERO,
            Val::FuncRef(Some(func)) => ValRaw::funcref(func.as_vm(store).address().cast()),
            Val::ExternRef(_) | Val::AnyRef(_) | Val::ExnRef(_) => match self.gc_ref(store)? {
                None => ValRaw::ZERO,
                Some(gc_ref) => ValRaw::u64(gc_ref.as_raw_u32().into()),
            },
        })
    }

    /// The value of type `ty` that compiled code passed as `raw`. Roots a reference. There must
    /// have been no collection in between.
    pub(crate) fn from_slot(store: &mut StoreOpaque, raw: ValRaw, ty: &WasmValType) -> Val {
        match ty {
            WasmValType::I32 => Val::I32(raw.get_i32()),
            WasmValType::I64 => Val::I64(raw.get_i64()),
            WasmValType::F32 => Val::F32(raw.get_f32()),
            WasmValType::F64 => Val::F64(raw.get_f64()),
            WasmValType::V128 => Val::V128(V128::from_raw(raw)),
            WasmValType::Ref(ty) if ty.is_vmgcref_type() => {
                let gc_ref = VMGcRef::from_raw_u32(raw.get_u32());
                Val::from_borrowed(store, gc_ref.as_ref(), ty)
            }
            WasmValType::Ref(_) => Val::FuncRef(Func::from_raw_slot(store, raw)),
        }
    }

    /// The value of a reference that somebody else owns, of type `ty`.
    pub(crate) fn from_borrowed(
        store: &mut StoreOpaque,
        gc_ref: Option<&VMGcRef>,
        ty: &WasmRefType,
    ) -> Val {
        match ty.heap_type.top() {
            WasmHeapTopType::Extern => Val::ExternRef(gc_ref.map(|it| store.root_borrowed(it))),
            WasmHeapTopType::Exn => Val::ExnRef(gc_ref.map(|it| store.root_borrowed(it))),
            _ => Val::AnyRef(gc_ref.map(|it| store.root_borrowed(it))),
        }
    }

    /// The value of a reference that the caller owns, of type `ty`.
    pub(crate) fn from_gc_ref(
        store: &mut StoreOpaque,
        gc_ref: Option<VMGcRef>,
        ty: &WasmRefType,
    ) -> Val {
        match ty.heap_type.top() {
            WasmHeapTopType::Extern => Val::ExternRef(gc_ref.map(|gc_ref| store.root(gc_ref))),
            WasmHeapTopType::Exn => Val::ExnRef(gc_ref.map(|gc_ref| store.root(gc_ref))),
            _ => Val::AnyRef(gc_ref.map(|gc_ref| store.root(gc_ref))),
        }
    }
}
