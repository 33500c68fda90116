//! [`Val`]: a WebAssembly value that the host holds, and its conversions from and to compiled code, tables, globals and objects.

use crate::refs::{AnyRef, ExnRef, ExternRef};
use crate::store::StoreOpaque;
use crate::types::{HeapType, RefType, ValType};
use crate::{AsContext, Func, Rooted, V128};
use anyhow::{Result, bail};
use gc_types::ValRaw;
use gc_types::{TypeIndex, VMGcKind, VMGcRef};
use wasmtime_types::{
    EngineOrModuleTypeIndex, VMSharedTypeIndex, WasmHeapTopType, WasmHeapType, WasmRefType,
    WasmValType,
};

/// A value. Floats are stored as bits, so that the payloads of NaNs are preserved.
#[derive(Clone, Copy, Debug)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float.
    F32(u32),
    /// The bits of a 64-bit float.
    F64(u64),
    /// A vector.
    V128(V128),
    /// A function or null.
    FuncRef(Option<Func>),
    /// An external reference or null.
    ExternRef(Option<Rooted<ExternRef>>),
    /// An internal reference or null.
    AnyRef(Option<Rooted<AnyRef>>),
    /// An exception, or null.
    ExnRef(Option<Rooted<ExnRef>>),
}

impl Val {
    /// The null of the hierarchy of `ty`.
    pub fn null_ref(ty: &HeapType) -> Val {
        match ty.top() {
            HeapType::Extern => Val::ExternRef(None),
            HeapType::Func => Val::FuncRef(None),
            HeapType::Exn => Val::ExnRef(None),
            _ => Val::AnyRef(None),
        }
    }

    /// The zero or null of a type. `None` for references that cannot be null.
    pub fn default_for_ty(ty: &ValType) -> Option<Val> {
        Some(match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(V128::from(0)),
            ValType::Ref(ty) if ty.is_nullable() => Val::null_ref(ty.heap_type()),
            ValType::Ref(_) => return None,
        })
    }

    /// The most precise type of this value.
    ///
    /// # Errors
    /// If it is a reference of another store, or its scope has ended.
    pub fn ty(&self, store: impl AsContext) -> Result<ValType> {
        let store = store.as_context().opaque();
        Ok(match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(None) => ValType::Ref(RefType::new(true, HeapType::NoFunc)),
            Val::ExternRef(None) => ValType::Ref(RefType::new(true, HeapType::NoExtern)),
            Val::AnyRef(None) => ValType::Ref(RefType::new(true, HeapType::None)),
            Val::ExnRef(None) => ValType::Ref(RefType::new(true, HeapType::NoExn)),
            Val::FuncRef(Some(_))
            | Val::ExternRef(Some(_))
            | Val::AnyRef(Some(_))
            | Val::ExnRef(Some(_)) => {
                let ty = self.heap_type(store)?;
                ValType::Ref(RefType::new(false, HeapType::from_wasm(store.engine(), &ty)))
            }
        })
    }

    /// The integer, if this is an `i32`.
    pub fn i32(&self) -> Option<i32> {
        match self {
            Val::I32(value) => Some(*value),
            _ => None,
        }
    }

    /// The integer, if this is an `i64`.
    pub fn i64(&self) -> Option<i64> {
        match self {
            Val::I64(value) => Some(*value),
            _ => None,
        }
    }

    /// The float, if this is an `f32`.
    pub fn f32(&self) -> Option<f32> {
        match self {
            Val::F32(bits) => Some(f32::from_bits(*bits)),
            _ => None,
        }
    }

    /// The float, if this is an `f64`.
    pub fn f64(&self) -> Option<f64> {
        match self {
            Val::F64(bits) => Some(f64::from_bits(*bits)),
            _ => None,
        }
    }

    /// The vector, if this is a `v128`.
    pub fn v128(&self) -> Option<V128> {
        match self {
            Val::V128(value) => Some(*value),
            _ => None,
        }
    }

    /// The vector.
    ///
    /// # Panics
    /// If this is not a `v128`.
    pub fn unwrap_v128(&self) -> V128 {
        self.v128().expect("expected v128")
    }

    /// The function or null, if this is a function reference.
    pub fn func_ref(&self) -> Option<Option<Func>> {
        match self {
            Val::FuncRef(func) => Some(*func),
            _ => None,
        }
    }

    /// The reference or null, if this is an external reference.
    pub fn extern_ref(&self) -> Option<Option<Rooted<ExternRef>>> {
        match self {
            Val::ExternRef(gc_ref) => Some(*gc_ref),
            _ => None,
        }
    }

    /// The reference or null, if this is an internal reference.
    pub fn any_ref(&self) -> Option<Option<Rooted<AnyRef>>> {
        match self {
            Val::AnyRef(gc_ref) => Some(*gc_ref),
            _ => None,
        }
    }

    /// The exception, if this is one or null.
    pub fn exn_ref(&self) -> Option<Option<Rooted<ExnRef>>> {
        match self {
            Val::ExnRef(gc_ref) => Some(*gc_ref),
            _ => None,
        }
    }

    /// The most precise heap type of a reference that is not null.
    fn heap_type(&self, store: &StoreOpaque) -> Result<WasmHeapType> {
        match self {
            Val::FuncRef(Some(func)) => {
                let index = func.type_index(store)?;
                Ok(WasmHeapType::ConcreteFunc(VMSharedTypeIndex::new(index.as_u32()).into()))
            }
            Val::ExternRef(Some(gc_ref)) => {
                gc_ref.get(store)?;
                Ok(WasmHeapType::Extern)
            }
            Val::AnyRef(Some(gc_ref)) => store.heap_type_of(&gc_ref.get(store)?),
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

    /// Fails unless this is a value of type `ty`. `what` names the value in the error.
    pub(crate) fn check(
        &self,
        store: &StoreOpaque,
        ty: &WasmValType,
        what: impl FnOnce() -> String,
    ) -> Result<()> {
        if !self.matches(store, ty)? {
            let expected = ValType::from_wasm(store.engine(), ty);
            let (what, found) = (what(), self.kind_name());
            match self {
                Val::AnyRef(Some(_)) | Val::FuncRef(Some(_)) | Val::ExnRef(Some(_)) => {
                    let ty = HeapType::from_wasm(store.engine(), &self.heap_type(store)?);
                    bail!("{what}: type mismatch: expected {expected}, found {found} to {ty}")
                }
                _ => bail!("{what}: type mismatch: expected {expected}, found {found}"),
            }
        }
        Ok(())
    }

    fn kind_name(&self) -> &'static str {
        match self {
            Val::I32(_) => "an i32",
            Val::I64(_) => "an i64",
            Val::F32(_) => "an f32",
            Val::F64(_) => "an f64",
            Val::V128(_) => "a v128",
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

    /// The rooted reference, copied without a barrier. `None` for null and for values that are not
    /// GC references.
    pub(crate) fn gc_ref(&self, store: &StoreOpaque) -> Result<Option<VMGcRef>> {
        match self {
            Val::ExternRef(Some(gc_ref)) => gc_ref.get(store).map(Some),
            Val::AnyRef(Some(gc_ref)) => gc_ref.get(store).map(Some),
            Val::ExnRef(Some(gc_ref)) => gc_ref.get(store).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether this is a reference into the GC heap. An `i31` is not.
    pub(crate) fn is_heap_ref(&self, store: &StoreOpaque) -> bool {
        self.gc_ref(store).is_ok_and(|gc_ref| gc_ref.is_some_and(|gc_ref| !gc_ref.is_i31()))
    }

    /// The value in the form that compiled code gets. A reference is exposed, so there must be no
    /// collection between this and the call.
    pub(crate) fn to_raw(self, store: &mut StoreOpaque) -> Result<ValRaw> {
        Ok(match self {
            Val::I32(value) => ValRaw::from_i32(value),
            Val::I64(value) => ValRaw::from_i64(value),
            Val::F32(bits) => ValRaw::from_f32_bits(bits),
            Val::F64(bits) => ValRaw::from_f64_bits(bits),
            Val::V128(value) => value.to_raw(),
            Val::FuncRef(None) => ValRaw::ZERO,
            Val::FuncRef(Some(func)) => ValRaw::from_pointer(func.as_vm(store)?.address()),
            Val::ExternRef(_) | Val::AnyRef(_) | Val::ExnRef(_) => match self.gc_ref(store)? {
                None => ValRaw::ZERO,
                Some(gc_ref) => ValRaw::from_u64(store.expose(&gc_ref).into()),
            },
        })
    }

    /// The value of type `ty` that compiled code passed as `raw`. Roots a reference. There must
    /// have been no collection in between.
    pub(crate) fn from_raw(store: &mut StoreOpaque, raw: ValRaw, ty: &WasmValType) -> Val {
        match ty {
            WasmValType::I32 => Val::I32(raw.i32()),
            WasmValType::I64 => Val::I64(raw.i64()),
            WasmValType::F32 => Val::F32(raw.f32_bits()),
            WasmValType::F64 => Val::F64(raw.f64_bits()),
            WasmValType::V128 => Val::V128(V128::from_raw(raw)),
            WasmValType::Ref(ty) if ty.is_vmgcref_type() => {
                let gc_ref = VMGcRef::from_raw_u32(raw.u32());
                let gc_ref = gc_ref.map(|gc_ref| store.gc_store_mut().clone_gc_ref(&gc_ref));
                Val::from_gc_ref(store, gc_ref, ty)
            }
            WasmValType::Ref(_) => Val::FuncRef(Func::from_raw(store, raw)),
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

impl StoreOpaque {
    /// The most precise heap type of an internal reference.
    pub(crate) fn heap_type_of(&self, gc_ref: &VMGcRef) -> Result<WasmHeapType> {
        if gc_ref.is_i31() {
            return Ok(WasmHeapType::I31);
        }
        let header = self.gc_store().heap().header(gc_ref)?;
        let edge = || -> Result<EngineOrModuleTypeIndex> {
            match self.engine().types().try_get(header.ty()) {
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

    /// Makes a new reference to the object and passes it to compiled code.
    pub(crate) fn expose(&mut self, gc_ref: &VMGcRef) -> u32 {
        let gc = self.gc_store_mut();
        let gc_ref = gc.clone_gc_ref(gc_ref);
        gc.expose_gc_ref_to_wasm(gc_ref)
    }

    /// The registered type of the object, which must be a struct or an array. It is for accesses
    /// through handles whose type the host asserted.
    pub(crate) fn registered_type_of(
        &self,
        gc_ref: &VMGcRef,
    ) -> Result<std::sync::Arc<crate::types::registry::RegisteredType>> {
        if gc_ref.is_i31() {
            bail!("expected a struct or array, found an unboxed integer");
        }
        let header = self.gc_store().heap().header(gc_ref)?;
        if !matches!(header.kind(), Some(VMGcKind::StructRef | VMGcKind::ArrayRef)) {
            bail!("expected a struct or array, found an object with the header {header:?}");
        }
        match self.engine().types().try_get(header.ty()) {
            Some(ty) if ty.kind() == header.kind() => Ok(ty),
            _ => bail!("corrupt GC heap: an object of unknown type {:?}", header.ty()),
        }
    }

    /// Whether the object is a struct or an array of this type, or of a subtype.
    pub(crate) fn is_of(&self, gc_ref: &VMGcRef, kind: VMGcKind, ty: TypeIndex) -> Result<bool> {
        let header = self.gc_store().heap().header(gc_ref)?;
        if header.kind() == Some(kind) && header.ty() == ty {
            return Ok(true);
        }
        let actual = self.registered_type_of(gc_ref)?;
        Ok(actual.kind() == Some(kind) && self.engine().types().is_subtype(actual.index, ty))
    }
}

impl From<i32> for Val {
    fn from(value: i32) -> Val {
        Val::I32(value)
    }
}

impl From<i64> for Val {
    fn from(value: i64) -> Val {
        Val::I64(value)
    }
}

impl From<f32> for Val {
    fn from(value: f32) -> Val {
        Val::F32(value.to_bits())
    }
}

impl From<f64> for Val {
    fn from(value: f64) -> Val {
        Val::F64(value.to_bits())
    }
}

impl From<V128> for Val {
    fn from(value: V128) -> Val {
        Val::V128(value)
    }
}

impl From<u128> for Val {
    fn from(value: u128) -> Val {
        Val::V128(value.into())
    }
}

impl From<Func> for Val {
    fn from(value: Func) -> Val {
        Val::FuncRef(Some(value))
    }
}

impl From<Rooted<ExternRef>> for Val {
    fn from(value: Rooted<ExternRef>) -> Val {
        Val::ExternRef(Some(value))
    }
}

impl From<Rooted<ExnRef>> for Val {
    fn from(value: Rooted<ExnRef>) -> Val {
        Val::ExnRef(Some(value))
    }
}

impl From<Rooted<AnyRef>> for Val {
    fn from(value: Rooted<AnyRef>) -> Val {
        Val::AnyRef(Some(value))
    }
}
