//! `wasm_val_t`: values. A reference that a value owns is a pointer to a handle.

use crate::error::given;
use crate::macros::exports;
use crate::reference::wasm_ref_t;
use crate::store::{Data, StoreRef};
use crate::vector::{Out, put};
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{HeapType, Ref, StoreContextMut, V128, Val, ValType};
use std::ptr;

/// The kinds of values and of their types: `wasm_valkind_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValKind {
    /// `i32`.
    I32 = 0,
    /// `i64`.
    I64 = 1,
    /// `f32`.
    F32 = 2,
    /// `f64`.
    F64 = 3,
    /// `v128`. The value owns 16 bytes.
    V128 = 4,
    /// An external reference.
    ExternRef = 128,
    /// A function reference.
    FuncRef = 129,
    /// An internal reference.
    AnyRef = 130,
    /// An exception reference.
    ExnRef = 131,
}

impl ValKind {
    /// The kind with this number.
    pub(crate) fn of_number(number: u8) -> Result<ValKind> {
        use ValKind::*;
        let mut all = [I32, I64, F32, F64, V128, ExternRef, FuncRef, AnyRef, ExnRef].into_iter();
        all.find(|kind| *kind as u8 == number)
            .with_context(|| format!("{number} is no kind of values"))
    }

    /// Its name in the text format.
    fn name(self) -> &'static str {
        match self {
            ValKind::I32 => "i32",
            ValKind::I64 => "i64",
            ValKind::F32 => "f32",
            ValKind::F64 => "f64",
            ValKind::V128 => "v128",
            ValKind::ExternRef => "externref",
            ValKind::FuncRef => "funcref",
            ValKind::AnyRef => "anyref",
            ValKind::ExnRef => "exnref",
        }
    }

    /// The kind of the values of a type.
    pub(crate) fn of_type(ty: &ValType) -> ValKind {
        match ty {
            ValType::I32 => ValKind::I32,
            ValType::I64 => ValKind::I64,
            ValType::F32 => ValKind::F32,
            ValType::F64 => ValKind::F64,
            ValType::V128 => ValKind::V128,
            ValType::Ref(ty) => match ty.heap_type().top() {
                HeapType::Extern => ValKind::ExternRef,
                HeapType::Func => ValKind::FuncRef,
                HeapType::Exn => ValKind::ExnRef,
                _ => ValKind::AnyRef,
            },
        }
    }

    /// The type of all values of this kind, null among them.
    pub(crate) fn ty(self) -> ValType {
        match self {
            ValKind::I32 => ValType::I32,
            ValKind::I64 => ValType::I64,
            ValKind::F32 => ValType::F32,
            ValKind::F64 => ValType::F64,
            ValKind::V128 => ValType::V128,
            ValKind::ExternRef => ValType::EXTERNREF,
            ValKind::FuncRef => ValType::FUNCREF,
            ValKind::AnyRef => ValType::ANYREF,
            ValKind::ExnRef => ValType::EXNREF,
        }
    }

    pub(crate) fn is_ref(self) -> bool {
        self as u8 >= ValKind::ExternRef as u8
    }
}

/// A value: `wasm_val_t`.
#[repr(C)]
pub struct wasm_val_t {
    /// A [`ValKind`].
    pub kind: u8,
    /// What the kind says.
    pub of: wasm_val_of_t,
}

/// The value of each kind.
#[repr(C)]
#[derive(Clone, Copy)]
pub union wasm_val_of_t {
    /// `i32`.
    pub i32: i32,
    /// `i64`.
    pub i64: i64,
    /// `f32`.
    pub f32: f32,
    /// `f64`.
    pub f64: f64,
    /// A reference, which the value owns. NULL is the null reference.
    pub reference: *mut wasm_ref_t,
    /// 16 bytes, which the value owns.
    pub v128: *mut [u8; 16],
}

/// What a value is.
enum Content<'a> {
    Number(Val),
    Ref(Option<&'a wasm_ref_t>),
}

impl wasm_val_t {
    fn new(kind: ValKind, of: wasm_val_of_t) -> wasm_val_t {
        wasm_val_t { kind: kind as u8, of }
    }

    /// A value that owns a reference.
    pub fn of_ref(kind: ValKind, reference: Option<Box<wasm_ref_t>>) -> wasm_val_t {
        let reference = reference.map_or(ptr::null_mut(), Box::into_raw);
        wasm_val_t::new(kind, wasm_val_of_t { reference })
    }

    /// The number, if this is an `i32`.
    pub fn i32(&self) -> Option<i32> {
        match self.content() {
            Ok(Content::Number(Val::I32(number))) => Some(number),
            _ => None,
        }
    }

    /// The zero or null of a kind.
    pub(crate) fn zero(kind: ValKind) -> wasm_val_t {
        match kind {
            ValKind::V128 => {
                let v128 = Box::into_raw(Box::new([0; 16]));
                wasm_val_t::new(kind, wasm_val_of_t { v128 })
            }
            kind if kind.is_ref() => wasm_val_t::of_ref(kind, None),
            kind => wasm_val_t::new(kind, wasm_val_of_t { i64: 0 }),
        }
    }

    /// # Errors
    /// If there is no such kind, or a vector is NULL.
    fn content(&self) -> Result<Content<'_>> {
        // SAFETY: the header says that the field of the kind is set, and that a pointer there is NULL
        // or one that this library has made.
        Ok(unsafe {
            match ValKind::of_number(self.kind)? {
                ValKind::I32 => Content::Number(Val::I32(self.of.i32)),
                ValKind::I64 => Content::Number(Val::I64(self.of.i64)),
                ValKind::F32 => Content::Number(Val::F32(self.of.f32.to_bits())),
                ValKind::F64 => Content::Number(Val::F64(self.of.f64.to_bits())),
                ValKind::V128 => {
                    let bytes = given(self.of.v128.as_ref(), "the bytes of a v128")?;
                    Content::Number(Val::V128(V128::from(u128::from_le_bytes(*bytes))))
                }
                _ => Content::Ref(self.of.reference.as_ref()),
            }
        })
    }

    /// The reference, if this is one. The inner `None` is null.
    ///
    /// # Errors
    /// If this is a number, or of no kind.
    pub fn reference(&self) -> Result<Option<&wasm_ref_t>> {
        match self.content()? {
            Content::Ref(reference) => Ok(reference),
            Content::Number(_) => bail!("a number instead of a reference"),
        }
    }

    /// The value for a place of type `ty` in `store`.
    pub(crate) fn to_val(
        &self,
        context: &mut StoreContextMut<'_, Data>,
        store: &StoreRef,
        ty: &ValType,
    ) -> Result<Val> {
        let content = self.content()?;
        match (content, ty) {
            (Content::Ref(None), ValType::Ref(ty)) => {
                ensure!(ty.is_nullable(), "type mismatch: expected {ty}, found null");
                Ok(Val::null_ref(ty.heap_type()))
            }
            (Content::Ref(Some(reference)), ValType::Ref(ty)) => {
                Ok(reference.to_ref(context, store, ty.heap_type())?.into())
            }
            (Content::Number(value), ty) if self.kind == ValKind::of_type(ty) as u8 => Ok(value),
            (_, ty) => {
                bail!(
                    "type mismatch: expected {ty}, found {}",
                    ValKind::of_number(self.kind)?.name()
                )
            }
        }
    }

    /// A value of the engine.
    pub(crate) fn of_val(
        context: &mut StoreContextMut<'_, Data>,
        store: &StoreRef,
        value: Val,
    ) -> Result<wasm_val_t> {
        let (kind, reference) = match value {
            Val::I32(i32) => return Ok(wasm_val_t::new(ValKind::I32, wasm_val_of_t { i32 })),
            Val::I64(i64) => return Ok(wasm_val_t::new(ValKind::I64, wasm_val_of_t { i64 })),
            Val::F32(bits) => {
                let f32 = f32::from_bits(bits);
                return Ok(wasm_val_t::new(ValKind::F32, wasm_val_of_t { f32 }));
            }
            Val::F64(bits) => {
                let f64 = f64::from_bits(bits);
                return Ok(wasm_val_t::new(ValKind::F64, wasm_val_of_t { f64 }));
            }
            Val::V128(value) => {
                let v128 = Box::into_raw(Box::new(value.as_u128().to_le_bytes()));
                return Ok(wasm_val_t::new(ValKind::V128, wasm_val_of_t { v128 }));
            }
            Val::FuncRef(func) => (ValKind::FuncRef, Ref::Func(func)),
            Val::ExternRef(external) => (ValKind::ExternRef, Ref::Extern(external)),
            Val::AnyRef(internal) => (ValKind::AnyRef, Ref::Any(internal)),
            Val::ExnRef(exception) => (ValKind::ExnRef, Ref::Exn(exception)),
        };
        let reference = wasm_ref_t::of_ref(context, store, reference)?;
        Ok(wasm_val_t::of_ref(kind, reference.map(Box::new)))
    }
}

impl From<i32> for wasm_val_t {
    fn from(i32: i32) -> wasm_val_t {
        wasm_val_t::new(ValKind::I32, wasm_val_of_t { i32 })
    }
}

impl Default for wasm_val_t {
    fn default() -> wasm_val_t {
        wasm_val_t::zero(ValKind::I32)
    }
}

impl Clone for wasm_val_t {
    /// A copy that owns a handle of its own. A value of an unknown kind has no handle.
    fn clone(&self) -> wasm_val_t {
        match (self.content(), ValKind::of_number(self.kind)) {
            (Ok(Content::Ref(reference)), Ok(kind)) => {
                wasm_val_t::of_ref(kind, reference.cloned().map(Box::new))
            }
            (Ok(Content::Number(Val::V128(value))), Ok(kind)) => {
                let v128 = Box::into_raw(Box::new(value.as_u128().to_le_bytes()));
                wasm_val_t::new(kind, wasm_val_of_t { v128 })
            }
            _ => wasm_val_t { kind: self.kind, of: self.of },
        }
    }
}

impl Drop for wasm_val_t {
    fn drop(&mut self) {
        // SAFETY: as in `content`, and the value owns what the pointer refers to.
        unsafe {
            match ValKind::of_number(self.kind) {
                Ok(ValKind::V128) if !self.of.v128.is_null() => drop(Box::from_raw(self.of.v128)),
                Ok(kind) if kind.is_ref() && !self.of.reference.is_null() => {
                    drop(Box::from_raw(self.of.reference));
                }
                _ => {}
            }
        }
    }
}

exports! {
    /// Deletes what a value owns. It is zero afterwards.
    fn wasm_val_delete(value: Option<&mut wasm_val_t>) {
        drop(value.map(std::mem::take));
        Ok(())
    }

    /// Writes a copy, which owns a handle of its own, to `out`.
    fn wasm_val_copy(out: Out<'_, wasm_val_t>, value: Option<&wasm_val_t>) {
        let value = given(value, "value")?.clone();
        *put(out, "out")? = value;
        Ok(())
    }

    /// Writes a `v128` with these 16 bytes, the lowest first, to `out`.
    fn reclaim_val_new_v128(out: Out<'_, wasm_val_t>, bytes: Option<&[u8; 16]>) {
        let out = put(out, "out")?;
        let v128 = Box::into_raw(Box::new(*given(bytes, "bytes")?));
        *out = wasm_val_t::new(ValKind::V128, wasm_val_of_t { v128 });
        Ok(())
    }

    /// Reads the 16 bytes of a `v128`. `false` if the value is another.
    fn reclaim_val_v128(value: Option<&wasm_val_t>, out: Out<'_, [u8; 16]>) -> bool {
        let out = put(out, "out")?;
        let Content::Number(Val::V128(value)) = given(value, "value")?.content()? else {
            bail!("the value is no v128");
        };
        *out = value.as_u128().to_le_bytes();
        Ok(true)
    }
}
