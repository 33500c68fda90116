//! Vectors of C: a size and the address of the elements. A vector that a function takes as `own`
//! passes its elements on and is empty afterwards.

use crate::error::given;
use crate::macros::exports;
use crate::reference::wasm_extern_t;
use crate::trap::wasm_frame_t;
use crate::types::{
    wasm_exporttype_t, wasm_externtype_t, wasm_functype_t, wasm_globaltype_t, wasm_importtype_t,
    wasm_memorytype_t, wasm_tabletype_t, wasm_tagtype_t, wasm_valtype_t,
};
use crate::value::wasm_val_t;
use anyhow::Result;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;

/// An array that is owned by whoever has the vector, or is lent by C.
#[repr(C)]
pub struct Vector<T> {
    /// The number of elements.
    size: usize,
    /// The first element. NULL if there is none.
    data: *mut T,
}

/// Where a function writes a result. The memory may be uninitialised.
pub type Out<'a, T> = Option<&'a mut MaybeUninit<T>>;

/// The place of a result. It is the default until something else is written, also if the function
/// fails.
pub(crate) fn put<'a, T: Default>(out: Out<'a, T>, name: &str) -> Result<&'a mut T> {
    Ok(given(out, name)?.write(T::default()))
}

impl<T> Vector<T> {
    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: the header says that `data` has `size` elements.
        unsafe { std::slice::from_raw_parts(self.data, self.size) }
    }

    /// The elements, mutable.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if self.data.is_null() {
            return &mut [];
        }
        // SAFETY: as above. The vector is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data, self.size) }
    }

    /// Takes the elements. The vector is empty afterwards.
    pub(crate) fn take(&mut self) -> Vec<T> {
        let vector = ManuallyDrop::new(std::mem::take(self));
        if vector.data.is_null() {
            return Vec::new();
        }
        let elements = ptr::slice_from_raw_parts_mut(vector.data, vector.size);
        // SAFETY: a vector whose ownership is passed on was made by `from`.
        unsafe { Box::from_raw(elements) }.into_vec()
    }

    /// Writes an element over whatever is in its place, which may be uninitialised.
    pub(crate) fn write(&mut self, index: usize, element: T) {
        assert!(index < self.size && !self.data.is_null(), "element {index} of {}", self.size);
        // SAFETY: the header says that `data` has `size` elements.
        unsafe { self.data.add(index).write(element) }
    }

    /// A vector of `count` elements, which are moved out of the array at `elements`.
    fn moved(count: usize, elements: *const T) -> Result<Vector<T>> {
        if count == 0 {
            return Ok(Vector::default());
        }
        let elements = given(ptr::NonNull::new(elements.cast_mut()), "elements")?;
        // SAFETY: the header says that the array has `count` elements, which are passed on.
        let elements = (0..count).map(|i| unsafe { elements.add(i).read() });
        Ok(elements.collect::<Vec<T>>().into())
    }
}

impl<T> From<Vec<T>> for Vector<T> {
    fn from(elements: Vec<T>) -> Vector<T> {
        if elements.is_empty() {
            return Vector::default();
        }
        let elements = Box::into_raw(elements.into_boxed_slice());
        Vector { size: elements.len(), data: elements.cast() }
    }
}

impl<T> Default for Vector<T> {
    fn default() -> Vector<T> {
        Vector { size: 0, data: ptr::null_mut() }
    }
}

impl<T: Clone> Clone for Vector<T> {
    fn clone(&self) -> Vector<T> {
        self.as_slice().to_vec().into()
    }
}

impl<T> Drop for Vector<T> {
    fn drop(&mut self) {
        if !self.data.is_null() {
            drop(self.take());
        }
    }
}

/// The vectors of one type of element, and their functions.
macro_rules! vectors {
    ($($what:literal $vector:ident of $element:ty: $new_empty:ident $new_uninitialized:ident $new:ident
       $copy:ident $delete:ident;)*) => {$(
        #[doc = concat!("A vector of ", $what, ".")]
        pub type $vector = Vector<$element>;

        exports! {
            /// Writes an empty vector to `out`.
            fn $new_empty(out: Out<'_, $vector>) {
                put(out, "out")?;
                Ok(())
            }

            /// Writes a vector of `size` zeros or NULLs to `out`.
            fn $new_uninitialized(out: Out<'_, $vector>, size: usize) {
                let out = put(out, "out")?;
                *out = (0..size).map(|_| <$element>::default()).collect::<Vec<_>>().into();
                Ok(())
            }

            /// Writes a vector to `out` that takes over the `size` elements of the array.
            fn $new(out: Out<'_, $vector>, size: usize, elements: *const $element) {
                let out = put(out, "out")?;
                *out = Vector::moved(size, elements)?;
                Ok(())
            }

            /// Writes a copy of a vector and of its elements to `out`.
            fn $copy(out: Out<'_, $vector>, vector: Option<&$vector>) {
                let out = put(out, "out")?;
                *out = given(vector, "vector")?.clone();
                Ok(())
            }

            /// Deletes the elements. The vector is empty afterwards.
            fn $delete(vector: Option<&mut $vector>) {
                drop(vector.map(std::mem::take));
                Ok(())
            }
        }
    )*};
}

vectors! {
    "bytes" wasm_byte_vec_t of u8:
        wasm_byte_vec_new_empty wasm_byte_vec_new_uninitialized wasm_byte_vec_new
        wasm_byte_vec_copy wasm_byte_vec_delete;
    "values" wasm_val_vec_t of wasm_val_t:
        wasm_val_vec_new_empty wasm_val_vec_new_uninitialized wasm_val_vec_new
        wasm_val_vec_copy wasm_val_vec_delete;
    "types of values" wasm_valtype_vec_t of Option<Box<wasm_valtype_t>>:
        wasm_valtype_vec_new_empty wasm_valtype_vec_new_uninitialized wasm_valtype_vec_new
        wasm_valtype_vec_copy wasm_valtype_vec_delete;
    "types of functions" wasm_functype_vec_t of Option<Box<wasm_functype_t>>:
        wasm_functype_vec_new_empty wasm_functype_vec_new_uninitialized wasm_functype_vec_new
        wasm_functype_vec_copy wasm_functype_vec_delete;
    "types of globals" wasm_globaltype_vec_t of Option<Box<wasm_globaltype_t>>:
        wasm_globaltype_vec_new_empty wasm_globaltype_vec_new_uninitialized wasm_globaltype_vec_new
        wasm_globaltype_vec_copy wasm_globaltype_vec_delete;
    "types of tables" wasm_tabletype_vec_t of Option<Box<wasm_tabletype_t>>:
        wasm_tabletype_vec_new_empty wasm_tabletype_vec_new_uninitialized wasm_tabletype_vec_new
        wasm_tabletype_vec_copy wasm_tabletype_vec_delete;
    "types of memories" wasm_memorytype_vec_t of Option<Box<wasm_memorytype_t>>:
        wasm_memorytype_vec_new_empty wasm_memorytype_vec_new_uninitialized wasm_memorytype_vec_new
        wasm_memorytype_vec_copy wasm_memorytype_vec_delete;
    "types of tags" wasm_tagtype_vec_t of Option<Box<wasm_tagtype_t>>:
        wasm_tagtype_vec_new_empty wasm_tagtype_vec_new_uninitialized wasm_tagtype_vec_new
        wasm_tagtype_vec_copy wasm_tagtype_vec_delete;
    "types of externals" wasm_externtype_vec_t of Option<Box<wasm_externtype_t>>:
        wasm_externtype_vec_new_empty wasm_externtype_vec_new_uninitialized wasm_externtype_vec_new
        wasm_externtype_vec_copy wasm_externtype_vec_delete;
    "imports of a module" wasm_importtype_vec_t of Option<Box<wasm_importtype_t>>:
        wasm_importtype_vec_new_empty wasm_importtype_vec_new_uninitialized wasm_importtype_vec_new
        wasm_importtype_vec_copy wasm_importtype_vec_delete;
    "exports of a module" wasm_exporttype_vec_t of Option<Box<wasm_exporttype_t>>:
        wasm_exporttype_vec_new_empty wasm_exporttype_vec_new_uninitialized wasm_exporttype_vec_new
        wasm_exporttype_vec_copy wasm_exporttype_vec_delete;
    "functions of a trace" wasm_frame_vec_t of Option<Box<wasm_frame_t>>:
        wasm_frame_vec_new_empty wasm_frame_vec_new_uninitialized wasm_frame_vec_new
        wasm_frame_vec_copy wasm_frame_vec_delete;
    "externals" wasm_extern_vec_t of Option<Box<wasm_extern_t>>:
        wasm_extern_vec_new_empty wasm_extern_vec_new_uninitialized wasm_extern_vec_new
        wasm_extern_vec_copy wasm_extern_vec_delete;
}

/// The element with this index, if it is there and not NULL.
pub(crate) fn element<'a, T>(
    vector: &'a Vector<Option<Box<T>>>,
    index: usize,
    name: &str,
) -> Result<&'a T> {
    let element = vector.as_slice().get(index).and_then(Option::as_deref);
    given(element, &format!("{name}[{index}]"))
}
