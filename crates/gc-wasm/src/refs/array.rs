//! Arrays that the host makes and accesses.

use crate::refs::Reference as _;
use crate::refs::out_of_memory::failed;
use crate::refs::structref::{read_place, unpacked, value_bits, write_place};
use crate::store::{StoreId, StoreOpaque};
use crate::types::registered::{RegisteredType, storage_of};
use crate::types::{ArrayType, Mutability};
use crate::{AsContext, AsContextMut, Engine, Rooted, StoreContextMut, Val};
use anyhow::{Result, bail, ensure};
use gc_runtime::Handle;
use gc_types::{StorageType, VMGcKind, VMGcRef};
use wasmtime_types::WasmFieldType;

/// A reference to an array. [`Rooted`] and [`OwnedRooted`](crate::OwnedRooted) handles give access
/// to it.
///
/// # Examples
/// ```
/// use gc_wasm::{ArrayRef, ArrayRefPre, ArrayType, Engine, FieldType, Mutability, Store, Val, ValType};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let ty = ArrayType::new(&engine, FieldType::new(Mutability::Var, ValType::I64.into()));
/// let allocator = ArrayRefPre::new(&mut store, ty);
///
/// let numbers = ArrayRef::new(&mut store, &allocator, &Val::I64(7), 3)?;
/// numbers.set(&mut store, 1, Val::I64(8))?;
/// let elements: Vec<i64> = numbers.elems(&mut store)?.map(|value| value.unwrap_i64()).collect();
/// assert_eq!(elements, [7, 8, 7]);
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ArrayRef(pub(super) Handle);

/// The type of arrays that the host makes in a store. [`ArrayRef::new`] takes it, so that an
/// allocation does not look up the type again.
#[derive(Clone, Debug)]
pub struct ArrayRefPre {
    store: StoreId,
    ty: RegisteredType,
}

impl ArrayRefPre {
    /// Prepares to make arrays of type `ty`.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: ArrayType) -> ArrayRefPre {
        let store = store.as_context_mut().into_opaque();
        assert!(
            Engine::same(ty.engine(), store.engine()),
            "the array type belongs to another engine"
        );
        ArrayRefPre { store: store.id(), ty: ty.registered().clone() }
    }

    /// The type, if `elements` are of the type of its elements.
    fn check(&self, store: &StoreOpaque, elements: &[Val]) -> Result<&RegisteredType> {
        assert!(self.store == store.id(), "an allocator of arrays was used with the wrong store");
        let ty = unpacked(&self.ty.sub_type.unwrap_array().0);
        for (i, element) in elements.iter().enumerate() {
            element.check(store, &ty, || format!("element {i}"))?;
        }
        Ok(&self.ty)
    }

    /// How elements are stored.
    fn storage(&self) -> StorageType {
        storage_of(&self.ty.sub_type.unwrap_array().0.element_type)
    }
}

impl ArrayRef {
    /// Makes an array of `length` elements that are all `element`. May collect.
    ///
    /// # Errors
    /// If `element` is not of the elements' type, the scope of a handle has ended, or the heap is
    /// full ([`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory)).
    ///
    /// # Panics
    /// If the allocator or a value belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        element: &Val,
        length: u32,
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        let ty = allocator.check(store, std::slice::from_ref(element))?;
        store.may_drop(|store| make_filled(store, ty, Some(element), length))
    }

    /// Makes an array of these elements. May collect.
    ///
    /// # Errors
    /// As [`ArrayRef::new`].
    ///
    /// # Panics
    /// As [`ArrayRef::new`].
    pub fn new_fixed(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        elements: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        let ty = allocator.check(store, elements)?;
        store.may_drop(|store| make_fixed(store, ty, elements))
    }

    /// Makes an array of `i8` elements that are these bytes. May collect.
    ///
    /// # Errors
    /// If the elements are not `i8`, or the heap is full
    /// ([`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory)).
    ///
    /// # Panics
    /// If the allocator belongs to another store.
    pub fn new_from_i8_slice(
        store: impl AsContextMut,
        allocator: &ArrayRefPre,
        bytes: &[u8],
    ) -> Result<Rooted<ArrayRef>> {
        ensure!(
            allocator.storage() == StorageType::I8,
            "element type mismatch: the elements of the array are not `i8`"
        );
        ArrayRef::from_bytes(store, allocator, bytes)
    }

    /// Makes an array of numbers, whose elements are these little-endian bytes. May collect.
    ///
    /// # Errors
    /// If the elements are references, `bytes` is not a whole number of them, or the heap is full
    /// ([`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory)).
    ///
    /// # Panics
    /// If the allocator belongs to another store.
    pub fn from_bytes(
        mut store: impl AsContextMut,
        allocator: &ArrayRefPre,
        bytes: &[u8],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.as_context_mut().into_opaque();
        let ty = allocator.check(store, &[])?;
        let size = match allocator.storage() {
            StorageType::I8 => 1,
            StorageType::I16 => 2,
            StorageType::I32 | StorageType::F32 => 4,
            StorageType::I64 | StorageType::F64 => 8,
            StorageType::V128 => 16,
            StorageType::Ref | StorageType::FuncRef => {
                bail!("the elements of the array are references")
            }
        };
        let length = u32::try_from(bytes.len() / size).ok();
        let Some(length) = length.filter(|_| bytes.len().is_multiple_of(size)) else {
            bail!("{} bytes are no elements of {size} bytes", bytes.len());
        };
        store.may_drop(|store| {
            let array = alloc(store, ty, length)?;
            let gc_ref = array.gc_ref(store)?;
            store.gc_store_mut().array_write_bytes(&gc_ref, 0, bytes)?;
            Ok(array)
        })
    }
}

fn alloc(store: &mut StoreOpaque, ty: &RegisteredType, length: u32) -> Result<Rooted<ArrayRef>> {
    store.ensure_layout(ty)?;
    let gc_ref = store
        .with_gc(|gc, roots| gc.alloc_array(roots, ty.index, length))
        .map_err(|error| failed(error, "an array", ()))?;
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
        let gc_ref = array.gc_ref(store)?;
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
    let gc_ref = array.gc_ref(store)?;
    for (i, element) in elements.iter().enumerate() {
        let (offset, _) = store.gc_store().array_element(&gc_ref, i as u32, 1)?;
        write_place(store, &gc_ref, offset, &field, element)?;
    }
    Ok(array)
}

/// Fails unless elements of this type are numbers. The heap knows functions by a number, but the host
/// has no use for it.
fn check_numbers(ty: &WasmFieldType) -> Result<()> {
    let references = [StorageType::Ref, StorageType::FuncRef];
    ensure!(
        !references.contains(&storage_of(&ty.element_type)),
        "the elements of the array are references"
    );
    Ok(())
}

/// The type of the elements of the object, which must be an array.
fn element_of(store: &StoreOpaque, object: &VMGcRef) -> Result<WasmFieldType> {
    let ty = store.registered_type_of(object)?;
    if !ty.sub_type.is_array() {
        bail!("corrupt GC heap: a reference to an array refers to something else");
    }
    Ok(ty.sub_type.unwrap_array().0)
}

impl ArrayRef {
    /// The array's type.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<ArrayType> {
        let store = store.as_context().opaque();
        let ty = store.registered_type_of(&self.gc_ref(store)?)?;
        if !ty.sub_type.is_array() {
            bail!("corrupt GC heap: a reference to an array refers to something else");
        }
        Ok(ArrayType::from_registered(store.engine(), ty.clone()))
    }

    /// Whether the array has this type, or a subtype of it.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store, or the type to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &ArrayType) -> Result<bool> {
        let store = store.as_context().opaque();
        let gc_ref = self.gc_ref(store)?;
        assert!(
            Engine::same(ty.engine(), store.engine()),
            "the array type belongs to another engine"
        );
        store.is_of(&gc_ref, VMGcKind::ArrayRef, ty.index())
    }

    /// The number of elements.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn len(&self, store: impl AsContext) -> Result<u32> {
        let store = store.as_context().opaque();
        Ok(store.gc_store().array_len(&self.gc_ref(store)?)?)
    }

    /// The value of element `index`. A reference is rooted in the current scope.
    ///
    /// # Errors
    /// If there is no such element, the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut, index: u32) -> Result<Val> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.gc_ref(store)?;
        let field = element_of(store, &gc_ref)?;
        let (offset, _) = store.gc_store().array_element(&gc_ref, index, 1)?;
        read_place(store, &gc_ref, offset, &field)
    }

    /// The values of all elements. References are rooted in the current scope.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn elems<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let mut store = store.into();
        let length = self.len(&store)?;
        let elems = (0..length).map(|i| self.get(&mut store, i)).collect::<Result<Vec<Val>>>()?;
        Ok(elems.into_iter())
    }

    /// Copies the elements, which must be `i8`, to `bytes`.
    ///
    /// # Errors
    /// If the elements are not `i8`, the array has another length than `bytes`, the handle's scope
    /// has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn copy_to_i8_slice(&self, mut store: impl AsContextMut, bytes: &mut [u8]) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.gc_ref(store)?;
        let storage = storage_of(&element_of(store, &gc_ref)?.element_type);
        ensure!(
            storage == StorageType::I8,
            "element type mismatch: the elements of the array are not `i8`"
        );
        let length = store.gc_store().array_len(&gc_ref)?;
        ensure!(
            length as usize == bytes.len(),
            "length mismatch: the array has {length} elements, and {} bytes were given",
            bytes.len()
        );
        Ok(store.gc_store().array_read_bytes(&gc_ref, 0, bytes)?)
    }

    /// Copies the elements from `index` on as little-endian bytes, as many as fill `bytes`. The
    /// elements must be numbers.
    ///
    /// # Errors
    /// If there are no such elements, they are references, or `bytes` is not a whole number of
    /// them. Also if the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn read_bytes(&self, store: impl AsContext, index: u32, bytes: &mut [u8]) -> Result<()> {
        let store = store.as_context().opaque();
        let gc_ref = self.gc_ref(store)?;
        check_numbers(&element_of(store, &gc_ref)?)?;
        Ok(store.gc_store().array_read_bytes(&gc_ref, index, bytes)?)
    }

    /// Overwrites the elements from `index` on with these little-endian bytes. The elements must be
    /// numbers.
    ///
    /// # Errors
    /// If there are no such elements, they are references or not mutable, or `bytes` is not a whole
    /// number of them. Also if the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
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
        let gc_ref = self.gc_ref(store)?;
        check_numbers(&element_of(store, &gc_ref)?)?;
        Ok(store.gc_store_mut().array_write_bytes(&gc_ref, index, bytes)?)
    }

    /// Overwrites element `index`.
    ///
    /// # Errors
    /// If there is no such element, they are not mutable, the value is not of their type, the scope
    /// of a handle has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle or the value belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, index: u32, value: Val) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.gc_ref(store)?;
        let field = element_of(store, &gc_ref)?;
        if !field.mutable {
            let ty = store.registered_type_of(&gc_ref)?;
            bail!(
                "the elements of {} are not mutable",
                ArrayType::from_registered(store.engine(), ty.clone())
            );
        }
        value.check(store, &unpacked(&field), || format!("element {index}"))?;
        let (offset, _) = store.gc_store().array_element(&gc_ref, index, 1)?;
        store.may_drop(|store| write_place(store, &gc_ref, offset, &field, &value))
    }
}
