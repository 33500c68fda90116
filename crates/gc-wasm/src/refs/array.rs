//! Arrays that the host makes and accesses.

use crate::refs::structref::{read_place, unpacked, value_bits, write_place};
use crate::refs::{AnyRef, EqRef};
use crate::store::StoreOpaque;
use crate::types::registry::RegisteredType;
use crate::types::{ArrayType, StorageType, ValType};
use crate::{AsContext, AsContextMut, Mutability, Rooted, Val};
use anyhow::{Context, Result, bail};
use gc_types::{VMGcKind, VMGcRef};
use std::sync::Arc;
use wasmtime_types::WasmFieldType;

/// A reference to an array.
#[derive(Debug)]
pub struct ArrayRef(());

impl ArrayRef {
    /// Makes an array of `length` elements that are all `element`. May collect.
    ///
    /// # Errors
    /// If `ty` belongs to another engine, `element` is not of its type, a handle belongs to another
    /// store or its scope has ended, or the heap is full.
    pub fn new(
        mut store: impl AsContextMut,
        ty: &ArrayType,
        element: &Val,
        length: u32,
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        let registered = check(store, ty, std::slice::from_ref(element))?;
        store.may_drop(|store| make_filled(store, &registered, Some(element), length))
    }

    /// Makes an array of these elements. May collect.
    ///
    /// # Errors
    /// As [`ArrayRef::new`].
    pub fn new_fixed(
        mut store: impl AsContextMut,
        ty: &ArrayType,
        elements: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        let registered = check(store, ty, elements)?;
        store.may_drop(|store| make_fixed(store, &registered, elements))
    }
}

impl ArrayRef {
    /// Makes an array of numbers, whose elements are these little-endian bytes. May collect.
    ///
    /// # Errors
    /// If the elements are references, or `bytes` is not a whole number of them. Also if `ty`
    /// belongs to another engine, or the heap is full.
    pub fn from_bytes(
        mut store: impl AsContextMut,
        ty: &ArrayType,
        bytes: &[u8],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        let registered = check(store, ty, &[])?;
        let size = match ty.field_type().element_type() {
            StorageType::I8 => 1,
            StorageType::I16 => 2,
            StorageType::ValType(ValType::I32 | ValType::F32) => 4,
            StorageType::ValType(ValType::I64 | ValType::F64) => 8,
            StorageType::ValType(ValType::V128) => 16,
            StorageType::ValType(ValType::Ref(_)) => bail!("the elements of {ty} are references"),
        };
        let length = u32::try_from(bytes.len() / size).ok();
        let Some(length) = length.filter(|_| bytes.len().is_multiple_of(size)) else {
            bail!("{} bytes are no elements of {ty}", bytes.len());
        };
        store.may_drop(|store| {
            let array = alloc(store, &registered, length)?;
            let gc_ref = array.get(store)?;
            store.gc_store_mut().array_write_bytes(&gc_ref, 0, bytes)?;
            Ok(array)
        })
    }
}

/// Returns the type if it belongs to the store's engine and the elements match it.
fn check(store: &StoreOpaque, ty: &ArrayType, elements: &[Val]) -> Result<Arc<RegisteredType>> {
    if !ty.engine().same(store.engine()) {
        bail!("the array type belongs to another engine");
    }
    let registered = store.engine().types().get(ty.index());
    let element_ty = unpacked(&registered.sub_type.unwrap_array().0);
    for (i, element) in elements.iter().enumerate() {
        element.check(store, &element_ty, || format!("element {i}"))?;
    }
    Ok(registered)
}

fn alloc(store: &mut StoreOpaque, ty: &RegisteredType, length: u32) -> Result<Rooted<ArrayRef>> {
    store.ensure_layout(ty)?;
    let gc_ref = store
        .with_gc(|gc, roots| gc.alloc_array(roots, ty.index, length))
        .context("allocating an array")?;
    Ok(store.root(gc_ref))
}

/// Makes an array whose elements are all `element`, or zero or null if it is `None`. `element` must
/// match the type.
pub(crate) fn make_filled(
    store: &mut StoreOpaque,
    ty: &RegisteredType,
    element: Option<&Val>,
    length: u32,
) -> Result<Rooted<ArrayRef>> {
    let array = alloc(store, ty, length)?;
    if let Some(element) = element {
        let bits = value_bits(store, element)?;
        let gc_ref = array.get(store)?;
        store.gc_store_mut().array_fill(&gc_ref, 0, bits, length)?;
    }
    Ok(array)
}

/// Makes an array of these elements, which must match its type.
pub(crate) fn make_fixed(
    store: &mut StoreOpaque,
    ty: &RegisteredType,
    elements: &[Val],
) -> Result<Rooted<ArrayRef>> {
    let Ok(length) = u32::try_from(elements.len()) else {
        bail!("an array cannot have {} elements", elements.len());
    };
    let array = alloc(store, ty, length)?;
    let field = ty.sub_type.unwrap_array().0;
    let gc_ref = array.get(store)?;
    for (i, element) in elements.iter().enumerate() {
        let (offset, _) = store.gc_store().array_element(&gc_ref, i as u32, 1)?;
        write_place(store, &gc_ref, offset, &field, element)?;
    }
    Ok(array)
}

/// The type of the elements of the object, which must be an array.
fn element_of(store: &StoreOpaque, object: &VMGcRef) -> Result<WasmFieldType> {
    let ty = store.registered_type_of(object)?;
    if !ty.sub_type.is_array() {
        bail!("corrupt GC heap: a reference to an array refers to something else");
    }
    Ok(ty.sub_type.unwrap_array().0)
}

impl Rooted<ArrayRef> {
    /// The array's type.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn ty(&self, store: impl AsContext) -> Result<ArrayType> {
        let store = store.as_context().opaque();
        let ty = store.registered_type_of(&self.get(store)?)?;
        if !ty.sub_type.is_array() {
            bail!("corrupt GC heap: a reference to an array refers to something else");
        }
        Ok(ArrayType::from_registered(store.engine(), ty))
    }

    /// Whether the array has this type, or a subtype of it.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ArrayType) -> Result<bool> {
        let store = store.as_context().opaque();
        let gc_ref = self.get(store)?;
        Ok(ty.engine().same(store.engine())
            && store.is_of(&gc_ref, VMGcKind::ArrayRef, ty.index())?)
    }

    /// The number of elements.
    ///
    /// # Errors
    /// If the handle belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn len(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context().opaque();
        Ok(store.gc_store().array_len(&self.get(store)?)?)
    }

    /// The value of element `index`.
    ///
    /// # Errors
    /// If there is no such element, the handle belongs to another store or its scope has ended, or
    /// the heap is corrupt.
    pub fn get_element(&self, mut store: impl AsContextMut, index: u32) -> Result<Val> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.get(store)?;
        let field = element_of(store, &gc_ref)?;
        let (offset, _) = store.gc_store().array_element(&gc_ref, index, 1)?;
        read_place(store, &gc_ref, offset, &field)
    }

    /// The values of all elements.
    ///
    /// # Errors
    /// As [`get_element`](Rooted::get_element).
    pub fn elements(&self, mut store: impl AsContextMut) -> Result<Vec<Val>> {
        let length = self.len(&mut store)?;
        (0..length).map(|i| self.get_element(&mut store, i)).collect()
    }

    /// Copies the elements from `index` on as little-endian bytes, as many as fill `bytes`. The
    /// elements must be numbers.
    ///
    /// # Errors
    /// If there are no such elements, they are references, or `bytes` is not a whole number of
    /// them. Also if the handle belongs to another store or its scope has ended, or the heap is
    /// corrupt.
    pub fn read_bytes(&self, store: impl AsContext, index: u32, bytes: &mut [u8]) -> Result<()> {
        let store = store.as_context().opaque();
        Ok(store.gc_store().array_read_bytes(&self.get(store)?, index, bytes)?)
    }

    /// Overwrites the elements from `index` on with these little-endian bytes. The elements must be
    /// numbers.
    ///
    /// # Errors
    /// If there are no such elements, they are references or not mutable, or `bytes` is not a whole
    /// number of them. Also if the handle belongs to another store or its scope has ended, or the
    /// heap is corrupt.
    pub fn write_bytes(
        &self,
        mut store: impl AsContextMut,
        index: u32,
        bytes: &[u8],
    ) -> Result<()> {
        let ty = self.ty(&mut store)?;
        if ty.field_type().mutability() == Mutability::Const {
            bail!("the elements of {ty} are not mutable");
        }
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.get(store)?;
        Ok(store.gc_store_mut().array_write_bytes(&gc_ref, index, bytes)?)
    }

    /// Overwrites element `index`.
    ///
    /// # Errors
    /// If there is no such element, they are not mutable, the value is not of their type, a handle
    /// belongs to another store or its scope has ended, or the heap is corrupt.
    pub fn set_element(&self, mut store: impl AsContextMut, index: u32, value: Val) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.get(store)?;
        let field = element_of(store, &gc_ref)?;
        if !field.mutable {
            let ty = store.registered_type_of(&gc_ref)?;
            bail!(
                "the elements of {} are not mutable",
                ArrayType::from_registered(store.engine(), ty)
            );
        }
        value.check(store, &unpacked(&field), || format!("element {index}"))?;
        let (offset, _) = store.gc_store().array_element(&gc_ref, index, 1)?;
        store.may_drop(|store| write_place(store, &gc_ref, offset, &field, &value))
    }

    /// The same reference as an `anyref`.
    pub fn to_anyref(self) -> Rooted<AnyRef> {
        self.cast()
    }

    /// The same reference as an `eqref`.
    pub fn to_eqref(self) -> Rooted<EqRef> {
        self.cast()
    }
}
