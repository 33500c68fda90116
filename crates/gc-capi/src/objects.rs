//! Objects of the GC heap: unboxed integers, structs and arrays. C holds them as `wasm_ref_t`.

use crate::error::given;
use crate::gc::{GcType, reclaim_gctype_t};
use crate::macros::exports;
use crate::reference::{What, wasm_ref_t};
use crate::store::{Data, StoreRef, store_of, wasm_store_t};
use crate::value::wasm_val_t;
use crate::vector::{Out, put, wasm_val_vec_t};
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayRefPre, Engine, I31, Rooted, StoreContextMut, StructRef, StructRefPre,
    Val, ValType,
};
use std::ptr::NonNull;

/// What a reference refers to: `reclaim_refkind_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RefKind {
    /// Null.
    Null = 0,
    /// An unboxed integer.
    I31 = 1,
    /// A struct.
    Struct = 2,
    /// An array.
    Array = 3,
    /// An exception.
    Exception = 4,
    /// A foreign object.
    Foreign = 5,
    /// A function.
    Func = 6,
    /// Another thing of the host: a global, a table, a memory, a tag, an instance, a module or a trap.
    Other = 7,
}

/// The store and the rooted reference behind a handle.
fn object<R>(
    reference: Option<&wasm_ref_t>,
    work: impl FnOnce(StoreContextMut<'_, Data>, &StoreRef, Rooted<AnyRef>) -> Result<R>,
) -> Result<R> {
    let reference = given(reference, "ref")?;
    let store = &reference.store()?;
    let What::Object(object) = &reference.what else {
        bail!("expected an object of the heap, found {}", reference.what.name());
    };
    store.with(|mut context| {
        let object = object.to_rooted(&mut context);
        work(context, store, object)
    })
}

fn as_struct(
    context: &StoreContextMut<'_, Data>,
    object: Rooted<AnyRef>,
) -> Result<Rooted<StructRef>> {
    object.as_struct(context)?.context("the object is no struct")
}

fn as_array(
    context: &StoreContextMut<'_, Data>,
    object: Rooted<AnyRef>,
) -> Result<Rooted<ArrayRef>> {
    object.as_array(context)?.context("the object is no array")
}

/// Values of these types.
fn values(
    context: &mut StoreContextMut<'_, Data>,
    store: &StoreRef,
    given: &wasm_val_vec_t,
    types: impl ExactSizeIterator<Item = ValType>,
) -> Result<Vec<Val>> {
    let (wanted, found) = (types.len(), given.as_slice().len());
    ensure!(wanted == found, "expected {wanted} values, found {found}");
    let values = given.as_slice().iter().zip(types).enumerate();
    let values = values.map(|(i, (value, ty))| {
        value.to_val(context, store, &ty).with_context(|| format!("value {i}"))
    });
    values.collect()
}

/// A handle to a new object.
fn made(
    mut context: StoreContextMut<'_, Data>,
    store: &StoreRef,
    object: Rooted<AnyRef>,
) -> Result<Option<Box<wasm_ref_t>>> {
    let what = What::Object(object.to_owned_rooted(&mut context)?);
    Ok(Some(Box::new(wasm_ref_t::new(store, what))))
}

/// An array type, for `store`.
fn array_type<'a>(
    ty: Option<&'a reclaim_gctype_t>,
    store: &StoreRef,
) -> Result<&'a gc_wasm::ArrayType> {
    let GcType::Array(ty) = &given(ty, "type")?.0 else { bail!("the type is one of structs") };
    check_engine(ty.engine(), store)?;
    Ok(ty)
}

fn check_engine(engine: &Engine, store: &StoreRef) -> Result<()> {
    ensure!(Engine::same(engine, &store.engine()?), "the type belongs to another engine");
    Ok(())
}

exports! {
    /// What a reference refers to.
    fn reclaim_ref_kind(reference: Option<&wasm_ref_t>) -> u8 {
        let Some(handle) = reference else { return Ok(RefKind::Null as u8) };
        Ok(match &handle.what {
            What::Func(_) => RefKind::Func,
            What::Foreign(_) => RefKind::Foreign,
            What::Exception(_) => RefKind::Exception,
            What::Object(_) => object(reference, |context, _, object| {
                Ok(match () {
                    () if object.is_i31(&context)? => RefKind::I31,
                    () if object.is_struct(&context)? => RefKind::Struct,
                    () => RefKind::Array,
                })
            })?,
            _ => RefKind::Other,
        } as u8)
    }

    /// The type of a struct or an array. NULL if the reference is to something else.
    fn reclaim_ref_type(reference: Option<&wasm_ref_t>) -> Option<Box<reclaim_gctype_t>> {
        let ty = object(reference, |context, _, object| object.ty(context))?;
        Ok(reclaim_gctype_t::of_heap_type(&ty).map(Box::new))
    }

    /// An unboxed integer of the lower 31 bits of `value`.
    fn reclaim_i31_new(store: Option<&wasm_store_t>, value: u32) -> Option<Box<wasm_ref_t>> {
        let store = &store_of(store)?;
        store.with(|mut context| {
            let object = AnyRef::from_i31(&mut context, I31::wrapping_u32(value));
            made(context, store, object)
        })
    }

    /// Reads the value of an unboxed integer, as a signed number. `false` if the reference is to
    /// something else.
    fn reclaim_i31_get(reference: Option<&wasm_ref_t>, out: Out<'_, i32>) -> bool {
        let out = put(out, "out")?;
        *out = object(reference, |context, _, object| {
            let value = object.as_i31(context)?.context("the object is no unboxed integer")?;
            Ok(value.get_i32())
        })?;
        Ok(true)
    }

    /// Makes a struct. NULL if a value is of another type or store, or the heap is full.
    fn reclaim_struct_new(
        store: Option<&wasm_store_t>,
        ty: Option<&reclaim_gctype_t>,
        fields: Option<&wasm_val_vec_t>,
    ) -> Option<Box<wasm_ref_t>> {
        let store = &store_of(store)?;
        let GcType::Struct(ty) = &given(ty, "type")?.0 else { bail!("the type is one of arrays") };
        check_engine(ty.engine(), store)?;
        let fields = given(fields, "fields")?;
        store.with(|mut context| {
            let types = ty.fields().map(|field| field.element_type().unpack().clone());
            let fields = values(&mut context, store, fields, types)?;
            let allocator = StructRefPre::new(&mut context, ty.clone());
            let object = StructRef::new(&mut context, &allocator, &fields)?;
            made(context, store, object.to_anyref())
        })
    }

    /// Reads a field of a struct; 8 and 16 bits are not extended by their sign. `false` if there is no
    /// such field.
    fn reclaim_struct_get(
        reference: Option<&wasm_ref_t>,
        index: usize,
        out: Out<'_, wasm_val_t>,
    ) -> bool {
        let out = put(out, "out")?;
        *out = object(reference, |mut context, store, object| {
            let value = as_struct(&context, object)?.field(&mut context, index)?;
            wasm_val_t::of_val(&mut context, store, value)
        })?;
        Ok(true)
    }

    /// Overwrites a field of a struct. `false` if there is no such field, it cannot be written, or the
    /// value is of another type or store.
    fn reclaim_struct_set(
        reference: Option<&wasm_ref_t>,
        index: usize,
        value: Option<&wasm_val_t>,
    ) -> bool {
        let value = given(value, "value")?;
        object(reference, |mut context, store, object| {
            let object = as_struct(&context, object)?;
            let field = object.ty(&context)?.field(index);
            let field = field.with_context(|| format!("the struct has no field {index}"))?;
            let value = value.to_val(&mut context, store, field.element_type().unpack())?;
            object.set_field(context, index, value)
        })?;
        Ok(true)
    }

    /// Makes an array whose elements are all `element`. NULL if that is of another type or store, or the
    /// heap is full.
    fn reclaim_array_new(
        store: Option<&wasm_store_t>,
        ty: Option<&reclaim_gctype_t>,
        element: Option<&wasm_val_t>,
        length: u32,
    ) -> Option<Box<wasm_ref_t>> {
        let store = &store_of(store)?;
        let ty = array_type(ty, store)?;
        let element = given(element, "element")?;
        store.with(|mut context| {
            let element = element.to_val(&mut context, store, ty.element_type().unpack())?;
            let allocator = ArrayRefPre::new(&mut context, ty.clone());
            let object = ArrayRef::new(&mut context, &allocator, &element, length)?;
            made(context, store, object.to_anyref())
        })
    }

    /// Makes an array of these elements. NULL if one is of another type or store, or the heap is full.
    fn reclaim_array_new_fixed(
        store: Option<&wasm_store_t>,
        ty: Option<&reclaim_gctype_t>,
        elements: Option<&wasm_val_vec_t>,
    ) -> Option<Box<wasm_ref_t>> {
        let store = &store_of(store)?;
        let ty = array_type(ty, store)?;
        let elements = given(elements, "elements")?;
        store.with(|mut context| {
            let types = vec![ty.element_type().unpack().clone(); elements.as_slice().len()];
            let elements = values(&mut context, store, elements, types.into_iter())?;
            let allocator = ArrayRefPre::new(&mut context, ty.clone());
            let object = ArrayRef::new_fixed(&mut context, &allocator, &elements)?;
            made(context, store, object.to_anyref())
        })
    }

    /// Reads the number of elements of an array. `false` if the reference is to something else.
    fn reclaim_array_length(reference: Option<&wasm_ref_t>, out: Out<'_, u32>) -> bool {
        let out = put(out, "out")?;
        *out = object(reference, |context, _, object| as_array(&context, object)?.len(context))?;
        Ok(true)
    }

    /// Reads an element of an array; 8 and 16 bits are not extended by their sign. `false` if there is
    /// no such element.
    fn reclaim_array_get(
        reference: Option<&wasm_ref_t>,
        index: u32,
        out: Out<'_, wasm_val_t>,
    ) -> bool {
        let out = put(out, "out")?;
        *out = object(reference, |mut context, store, object| {
            let value = as_array(&context, object)?.get(&mut context, index)?;
            wasm_val_t::of_val(&mut context, store, value)
        })?;
        Ok(true)
    }

    /// Overwrites an element of an array. `false` if there is no such element, they cannot be written,
    /// or the value is of another type or store.
    fn reclaim_array_set(
        reference: Option<&wasm_ref_t>,
        index: u32,
        value: Option<&wasm_val_t>,
    ) -> bool {
        let value = given(value, "value")?;
        object(reference, |mut context, store, object| {
            let object = as_array(&context, object)?;
            let element = object.ty(&context)?.element_type();
            let value = value.to_val(&mut context, store, element.unpack())?;
            object.set(context, index, value)
        })?;
        Ok(true)
    }

    /// Copies `count` bytes of an array of numbers, from element `index` on, to `bytes`. The numbers are
    /// little-endian. `false` if there are not so many, or they are no whole number of elements.
    fn reclaim_array_read(
        reference: Option<&wasm_ref_t>,
        index: u32,
        bytes: *mut u8,
        count: usize,
    ) -> bool {
        let mut read = vec![0; count];
        object(reference, |context, _, object| {
            as_array(&context, object)?.read_bytes(context, index, &mut read)
        })?;
        if count > 0 {
            let bytes = given(NonNull::new(bytes), "bytes")?;
            // SAFETY: the header says that there is room for `count` bytes.
            unsafe { bytes.copy_from_nonoverlapping(NonNull::from(&read[..]).cast(), count) };
        }
        Ok(true)
    }

    /// Overwrites elements of an array of numbers, from element `index` on, with `count` bytes. The
    /// numbers are little-endian. `false` if there are not so many, they cannot be written, or the bytes
    /// are no whole number of elements.
    fn reclaim_array_write(
        reference: Option<&wasm_ref_t>,
        index: u32,
        bytes: *const u8,
        count: usize,
    ) -> bool {
        let bytes = match count {
            0 => &[],
            _ => {
                let bytes = given(NonNull::new(bytes.cast_mut()), "bytes")?;
                // SAFETY: the header says that there are `count` bytes.
                unsafe { std::slice::from_raw_parts(bytes.as_ptr(), count) }
            }
        };
        object(reference, |context, _, object| {
            as_array(&context, object)?.write_bytes(context, index, bytes)
        })?;
        Ok(true)
    }
}
