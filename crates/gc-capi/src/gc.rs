//! `reclaim_gctype_t`: the types of structs and arrays.

use crate::engine::wasm_engine_t;
use crate::error::given;
use crate::macros::exports;
use crate::types::{of_engine, wasm_valtype_t};
use crate::vector::Out;
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{ArrayType, Engine, FieldType, HeapType, Mutability, StorageType, StructType};
use std::ptr::NonNull;

/// The type of structs or arrays of an engine: `reclaim_gctype_t`.
#[derive(Clone)]
pub struct reclaim_gctype_t(pub(crate) GcType);

#[derive(Clone)]
pub(crate) enum GcType {
    Struct(StructType),
    Array(ArrayType),
}

/// How a field is stored: `reclaim_storage_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Storage {
    /// A whole value.
    Value = 0,
    /// 8 bits of an `i32`.
    I8 = 1,
    /// 16 bits of an `i32`.
    I16 = 2,
}

/// The type of a field of a struct, or of the elements of an array: `reclaim_fieldtype_t`.
#[repr(C)]
#[derive(Default)]
pub struct reclaim_fieldtype_t {
    /// A [`Storage`].
    pub storage: u8,
    /// Whether it can be written: 0 or 1.
    pub mutability: u8,
    /// The type of a whole value. NULL for 8 or 16 bits.
    pub ty: Option<Box<wasm_valtype_t>>,
}

impl reclaim_fieldtype_t {
    fn of(ty: &FieldType) -> reclaim_fieldtype_t {
        let storage = match ty.element_type() {
            StorageType::ValType(_) => Storage::Value,
            StorageType::I8 => Storage::I8,
            StorageType::I16 => Storage::I16,
        };
        let value = ty.element_type().as_val_type().cloned();
        reclaim_fieldtype_t {
            storage: storage as u8,
            mutability: u8::from(ty.mutability().is_var()),
            ty: value.map(|ty| Box::new(wasm_valtype_t(ty))),
        }
    }

    fn to_field_type(&self, engine: &Engine) -> Result<FieldType> {
        ensure!(self.mutability <= 1, "{} is no mutability", self.mutability);
        let mutability = if self.mutability == 1 { Mutability::Var } else { Mutability::Const };
        let storage = match self.storage {
            0 => {
                let ty = &given(self.ty.as_ref(), "type")?.0;
                of_engine(ty, engine)?;
                StorageType::ValType(ty.clone())
            }
            1 => StorageType::I8,
            2 => StorageType::I16,
            other => bail!("{other} is no way to store a field"),
        };
        Ok(FieldType::new(mutability, storage))
    }
}

impl reclaim_gctype_t {
    /// The type of what references to `ty` refer to, if it is one type of structs or arrays.
    pub(crate) fn of_heap_type(ty: &HeapType) -> Option<reclaim_gctype_t> {
        Some(reclaim_gctype_t(match ty {
            HeapType::ConcreteStruct(ty) => GcType::Struct(ty.clone()),
            HeapType::ConcreteArray(ty) => GcType::Array(ty.clone()),
            _ => return None,
        }))
    }

    pub(crate) fn heap_type(&self) -> HeapType {
        match &self.0 {
            GcType::Struct(ty) => HeapType::ConcreteStruct(ty.clone()),
            GcType::Array(ty) => HeapType::ConcreteArray(ty.clone()),
        }
    }

    /// The engine that has the type.
    pub(crate) fn engine(&self) -> &Engine {
        match &self.0 {
            GcType::Struct(ty) => ty.engine(),
            GcType::Array(ty) => ty.engine(),
        }
    }

    fn field(&self, index: usize) -> Option<FieldType> {
        match &self.0 {
            GcType::Struct(ty) => ty.field(index),
            GcType::Array(ty) => (index == 0).then(|| ty.field_type()),
        }
    }
}

exports! {
    /// The type of structs with these fields. NULL if one of them is wrong.
    fn reclaim_structtype_new(
        engine: Option<&wasm_engine_t>,
        fields: *const reclaim_fieldtype_t,
        count: usize,
    ) -> Option<Box<reclaim_gctype_t>> {
        let engine = &given(engine, "engine")?.engine;
        let fields = match count {
            0 => &[],
            _ => {
                let fields = given(NonNull::new(fields.cast_mut()), "fields")?;
                // SAFETY: the header says that there are so many.
                unsafe { std::slice::from_raw_parts(fields.as_ptr(), count) }
            }
        };
        let fields = fields.iter().enumerate().map(|(i, field)| {
            field.to_field_type(engine).with_context(|| format!("field {i}"))
        });
        let ty = StructType::new(engine, fields.collect::<Result<Vec<_>>>()?)?;
        Ok(Some(Box::new(reclaim_gctype_t(GcType::Struct(ty)))))
    }

    /// The type of arrays with these elements. NULL if their type is wrong.
    fn reclaim_arraytype_new(
        engine: Option<&wasm_engine_t>,
        element: Option<&reclaim_fieldtype_t>,
    ) -> Option<Box<reclaim_gctype_t>> {
        let engine = &given(engine, "engine")?.engine;
        let ty = ArrayType::new(engine, given(element, "element")?.to_field_type(engine)?);
        Ok(Some(Box::new(reclaim_gctype_t(GcType::Array(ty)))))
    }

    /// Deletes a type.
    fn reclaim_gctype_delete(ty: Option<Box<reclaim_gctype_t>>) {
        drop(ty);
        Ok(())
    }

    /// A copy. NULL for NULL.
    fn reclaim_gctype_copy(ty: Option<&reclaim_gctype_t>) -> Option<Box<reclaim_gctype_t>> {
        Ok(ty.cloned().map(Box::new))
    }

    /// Whether the type is one of arrays.
    fn reclaim_gctype_is_array(ty: Option<&reclaim_gctype_t>) -> bool {
        Ok(matches!(given(ty, "type")?.0, GcType::Array(_)))
    }

    /// The number of fields of a struct. 1 for arrays.
    fn reclaim_gctype_field_count(ty: Option<&reclaim_gctype_t>) -> usize {
        Ok(match &given(ty, "type")?.0 {
            GcType::Struct(ty) => ty.fields().len(),
            GcType::Array(_) => 1,
        })
    }

    /// Writes the type of a field, or of the elements of an array (`index` is 0), to `out`. The type in
    /// it is to be deleted. `false` if there is no such field.
    fn reclaim_gctype_field(
        ty: Option<&reclaim_gctype_t>,
        index: usize,
        out: Out<'_, reclaim_fieldtype_t>,
    ) -> bool {
        let out = crate::vector::put(out, "out")?;
        let field = given(ty, "type")?.field(index);
        *out = reclaim_fieldtype_t::of(&field.with_context(|| format!("no field {index}"))?);
        Ok(true)
    }
}
