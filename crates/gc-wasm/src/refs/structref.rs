//! Structs that the host makes and accesses.

use crate::refs::Reference as _;
use crate::refs::out_of_memory::failed;
use crate::store::{StoreId, StoreOpaque};
use crate::types::StructType;
use crate::types::registered::{RegisteredType, storage_of};
use crate::{AsContext, AsContextMut, Engine, Func, Rooted, StoreContextMut, Val};
use anyhow::{Result, bail, ensure};
use gc_runtime::Handle;
use gc_types::{StorageType, VMGcKind, VMGcRef};
use wasmtime_types::{WasmFieldType, WasmStorageType, WasmValType};

/// A reference to a struct. [`Rooted`] and [`OwnedRooted`](crate::OwnedRooted) handles give access
/// to it.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, FieldType, Mutability, Store, StructRef, StructRefPre, StructType, Val, ValType};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let x = FieldType::new(Mutability::Var, ValType::I32.into());
/// let ty = StructType::new(&engine, [x.clone(), x])?;
/// let allocator = StructRefPre::new(&mut store, ty);
///
/// let point = StructRef::new(&mut store, &allocator, &[Val::I32(1), Val::I32(2)])?;
/// point.set_field(&mut store, 0, Val::I32(5))?;
/// let fields: Vec<i32> = point.fields(&mut store)?.map(|value| value.unwrap_i32()).collect();
/// assert_eq!(fields, [5, 2]);
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StructRef(pub(super) Handle);

/// The type of structs that the host makes in a store. [`StructRef::new`] takes it, so that an
/// allocation does not look up the type again.
#[derive(Clone, Debug)]
pub struct StructRefPre {
    store: StoreId,
    ty: RegisteredType,
}

impl StructRefPre {
    /// Prepares to make structs of type `ty`.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: StructType) -> StructRefPre {
        let store = store.as_context_mut().into_opaque();
        assert!(
            Engine::same(ty.engine(), store.engine()),
            "the struct type belongs to another engine"
        );
        StructRefPre { store: store.id(), ty: ty.registered().clone() }
    }
}

impl StructRef {
    /// Makes a struct with these fields. May collect.
    ///
    /// # Errors
    /// If the number or a type of the fields is wrong, the scope of a handle has ended, or the heap
    /// is full ([`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory)).
    ///
    /// # Panics
    /// If the allocator or a value belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &StructRefPre,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        let store = store.as_context_mut().into_opaque();
        assert!(
            allocator.store == store.id(),
            "an allocator of structs was used with the wrong store"
        );
        let types = &allocator.ty.sub_type.unwrap_struct().fields;
        ensure!(
            types.len() == fields.len(),
            "expected {} fields, got {}",
            types.len(),
            fields.len()
        );
        for (i, (value, ty)) in fields.iter().zip(types).enumerate() {
            value.check(store, &unpacked(ty), || format!("field {i}"))?;
        }
        store.may_drop(|store| make(store, &allocator.ty, Some(fields)))
    }
}

/// Makes a struct with these fields, which must match its type, or with zeros and nulls.
pub(crate) fn make(
    store: &mut StoreOpaque,
    ty: &RegisteredType,
    fields: Option<&[Val]>,
) -> Result<Rooted<StructRef>> {
    store.ensure_layout(ty)?;
    let gc_ref = store
        .with_gc(|gc, roots| gc.alloc_struct(roots, ty.index))
        .map_err(|error| failed(error, "a struct", ()))?;
    let object: Rooted<StructRef> = store.root(gc_ref);
    let gc_ref = object.gc_ref(store)?;
    let layout = ty.layout.as_ref().and_then(|layout| layout.fields());
    let types = &ty.sub_type.unwrap_struct().fields;
    for ((value, ty), place) in
        fields.into_iter().flatten().zip(types).zip(layout.into_iter().flatten())
    {
        write_place(store, &gc_ref, place.offset, ty, value)?;
    }
    Ok(object)
}

impl StructRef {
    /// The struct's type.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> Result<StructType> {
        let store = store.as_context().opaque();
        let ty = store.registered_type_of(&self.gc_ref(store)?)?;
        if !ty.sub_type.is_struct() {
            bail!("corrupt GC heap: a reference to a struct refers to something else");
        }
        Ok(StructType::from_registered(store.engine(), ty.clone()))
    }

    /// Whether the struct has this type, or a subtype of it.
    ///
    /// # Errors
    /// If the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store, or the type to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &StructType) -> Result<bool> {
        let store = store.as_context().opaque();
        let gc_ref = self.gc_ref(store)?;
        assert!(
            Engine::same(ty.engine(), store.engine()),
            "the struct type belongs to another engine"
        );
        store.is_of(&gc_ref, VMGcKind::StructRef, ty.index())
    }

    /// The value of field `index`. A reference is rooted in the current scope.
    ///
    /// # Errors
    /// If there is no such field, the handle's scope has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle belongs to another store.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.gc_ref(store)?;
        let (field, offset) = locate(store, &gc_ref, index)?;
        read_place(store, &gc_ref, offset, &field)
    }

    /// The values of all fields. References are rooted in the current scope.
    ///
    /// # Errors
    /// As [`field`](StructRef::field).
    ///
    /// # Panics
    /// As [`field`](StructRef::field).
    pub fn fields<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let mut store = store.into();
        let count = self.ty(&store)?.fields().len();
        let fields = (0..count).map(|i| self.field(&mut store, i)).collect::<Result<Vec<Val>>>()?;
        Ok(fields.into_iter())
    }

    /// Overwrites field `index`.
    ///
    /// # Errors
    /// If there is no such field, it is not mutable, the value is not of its type, the scope of a
    /// handle has ended, or the heap is corrupt.
    ///
    /// # Panics
    /// If the handle or the value belongs to another store.
    pub fn set_field(&self, mut store: impl AsContextMut, index: usize, value: Val) -> Result<()> {
        let store = store.as_context_mut().into_opaque();
        let gc_ref = self.gc_ref(store)?;
        let (field, offset) = locate(store, &gc_ref, index)?;
        if !field.mutable {
            bail!("field {index} is not mutable");
        }
        value.check(store, &unpacked(&field), || format!("field {index}"))?;
        store.may_drop(|store| write_place(store, &gc_ref, offset, &field, &value))
    }
}

/// The type and the offset of a field of the object, which must be a struct.
fn locate(store: &StoreOpaque, object: &VMGcRef, index: usize) -> Result<(WasmFieldType, u32)> {
    let ty = store.registered_type_of(object)?;
    if !ty.sub_type.is_struct() {
        bail!("corrupt GC heap: a reference to a struct refers to something else");
    }
    let fields = &ty.sub_type.unwrap_struct().fields;
    let places = ty.layout.as_ref().and_then(|layout| layout.fields());
    match (fields.get(index), places.and_then(|places| places.get(index))) {
        (Some(field), Some(place)) => Ok((*field, place.offset)),
        _ => bail!("there is no field {index} in a struct of {} fields", fields.len()),
    }
}

/// The type of the values that are read from and written to a field.
pub(crate) fn unpacked(ty: &WasmFieldType) -> WasmValType {
    match ty.element_type {
        WasmStorageType::I8 | WasmStorageType::I16 => WasmValType::I32,
        WasmStorageType::Val(ty) => ty,
    }
}

/// Reads the field or element at `offset` in an object. Packed values are zero-extended.
pub(crate) fn read_place(
    store: &mut StoreOpaque,
    object: &VMGcRef,
    offset: u32,
    ty: &WasmFieldType,
) -> Result<Val> {
    let storage = storage_of(&ty.element_type);
    if storage == StorageType::Ref {
        // The program chose how many elements an array has.
        store.gc_store().check_scoped_handles()?;
        let gc_ref = store.gc_store_mut().read_field_ref(object, offset)?;
        let WasmStorageType::Val(WasmValType::Ref(ty)) = &ty.element_type else {
            unreachable!("only reference types are stored as references");
        };
        return Ok(Val::from_gc_ref(store, gc_ref, ty));
    }
    let bits = store.gc_store_mut().read_field(object, offset, storage)?;
    Ok(match storage {
        StorageType::I8 | StorageType::I16 | StorageType::I32 => Val::I32(bits as u32 as i32),
        StorageType::I64 => Val::I64(bits as u64 as i64),
        StorageType::F32 => Val::F32(bits as u32),
        StorageType::F64 => Val::F64(bits as u64),
        StorageType::FuncRef => Val::FuncRef(match bits as u32 {
            0 => None,
            id => match Func::from_id(store, id) {
                Some(func) => Some(func),
                None => bail!("corrupt GC heap: there is no function reference {id}"),
            },
        }),
        StorageType::V128 => Val::V128(bits.into()),
        StorageType::Ref => unreachable!("references were read above"),
    })
}

/// Overwrites the field or element at `offset` in an object, with barriers.
pub(crate) fn write_place(
    store: &mut StoreOpaque,
    object: &VMGcRef,
    offset: u32,
    ty: &WasmFieldType,
    value: &Val,
) -> Result<()> {
    let storage = storage_of(&ty.element_type);
    if storage == StorageType::Ref {
        let gc_ref = value.gc_ref(store)?;
        return Ok(store.gc_store_mut().write_field_ref(object, offset, gc_ref.as_ref())?);
    }
    let bits = value_bits(store, value)?;
    Ok(store.gc_store_mut().write_field(object, offset, storage, bits)?)
}

/// The bits of a value as they are stored in objects. For a reference this is its 32-bit word, and
/// no barrier runs.
pub(crate) fn value_bits(store: &StoreOpaque, value: &Val) -> Result<u128> {
    Ok(match value {
        Val::I32(value) => u128::from(*value as u32),
        Val::I64(value) => u128::from(*value as u64),
        Val::F32(bits) => u128::from(*bits),
        Val::F64(bits) => u128::from(*bits),
        Val::V128(value) => value.as_u128(),
        Val::FuncRef(None) => 0,
        Val::FuncRef(Some(func)) => u128::from(func.id(store)),
        Val::ExternRef(_) | Val::AnyRef(_) | Val::ExnRef(_) => {
            value.gc_ref(store)?.map_or(0, |gc_ref| u128::from(gc_ref.as_raw_u32()))
        }
    })
}
