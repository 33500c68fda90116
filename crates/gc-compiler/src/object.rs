//! Structs: allocation with initialisation, and access to fields.

use crate::address::{Access, Trust};
use crate::{GcEmitter, RefPlace, regions};
use cranelift_codegen::ir::{self, InstBuilder, types};
use gc_types::{FieldLayout, StorageType, StructLayout};

/// The extension of a packed field or element (`I8`, `I16`) to an `I32`.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/emit.rs.in"));
/// # use cranelift_codegen::ir::types;
/// # use gc_compiler::collector::copying::CopyingCompiler;
/// use gc_compiler::Extend;
/// use gc_types::{StorageType, StructLayout};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layout = StructLayout::new([StorageType::I8])?;
/// # emit(&CopyingCompiler, &[types::I64], |e, params| {
/// // `e` is a `GcEmitter`. Both values are `I32`s. For the byte 0xff they are -1 and 255.
/// let object = params[0];
/// let signed = e.struct_get(object, &layout, 0, Some(Extend::Signed));
/// let unsigned = e.struct_get(object, &layout, 0, Some(Extend::Unsigned));
/// # })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extend {
    /// With copies of its top bit.
    Signed,
    /// With zeros.
    Unsigned,
}

impl GcEmitter<'_, '_> {
    /// A new struct with these field values, in declaration order.
    ///
    /// # Panics
    /// If the numbers of values and fields differ.
    pub fn struct_new(
        &mut self,
        header_word: ir::Value,
        layout: &StructLayout,
        fields: &[ir::Value],
    ) -> ir::Value {
        assert_eq!(fields.len(), layout.fields.len(), "one value for each field");
        let object = self.alloc_struct(header_word, layout.size);
        for (field, &value) in layout.fields.iter().zip(fields) {
            if !(self.zeroes_structs() && self.is_zero(value)) {
                self.init_field(object, field, value);
            }
        }
        object
    }

    /// A new struct whose fields are all zero and null.
    pub fn struct_new_default(
        &mut self,
        header_word: ir::Value,
        layout: &StructLayout,
    ) -> ir::Value {
        let object = self.alloc_struct(header_word, layout.size);
        if !self.zeroes_structs() {
            for field in &layout.fields {
                let zero = zero(self, field.ty);
                self.init_field(object, field, zero);
            }
        }
        object
    }

    pub(crate) fn init_field(&mut self, object: ir::Value, field: &FieldLayout, value: ir::Value) {
        if field.ty.is_ref() {
            self.init_ref(RefPlace::Field { object, offset: field.offset }, value);
        } else {
            let access = self.field_access(object, field, Trust::Fresh);
            store(self, access, field.ty, value);
        }
    }

    /// Reads a field. Traps if `object` is null. `extend` says how a packed field is extended
    /// (`None`: with zeros).
    ///
    /// # Panics
    /// If there is no such field.
    pub fn struct_get(
        &mut self,
        object: ir::Value,
        layout: &StructLayout,
        field: usize,
        extend: Option<Extend>,
    ) -> ir::Value {
        let field = &layout.fields[field];
        if field.ty.is_ref() {
            return self.read_ref(RefPlace::Field { object, offset: field.offset });
        }
        let access = self.field_access(object, field, Trust::MayBeNull);
        load(self, access, field.ty, extend)
    }

    /// Overwrites a field. Traps if `object` is null.
    ///
    /// # Panics
    /// If there is no such field.
    pub fn struct_set(
        &mut self,
        object: ir::Value,
        layout: &StructLayout,
        field: usize,
        value: ir::Value,
    ) {
        let field = &layout.fields[field];
        if field.ty.is_ref() {
            return self.write_ref(RefPlace::Field { object, offset: field.offset }, value);
        }
        let access = self.field_access(object, field, Trust::MayBeNull);
        store(self, access, field.ty, value);
    }

    pub(crate) fn field_access(
        &mut self,
        object: ir::Value,
        field: &FieldLayout,
        trust: Trust,
    ) -> Access {
        self.object_access(object, field.offset, field.ty.size(), regions::STRUCT_FIELD, trust)
    }
}

/// The CLIF type of a value of storage type `ty`.
pub(crate) fn value_type(ty: StorageType) -> ir::Type {
    match ty {
        StorageType::I8 | StorageType::I16 | StorageType::I32 | StorageType::FuncRef => types::I32,
        StorageType::I64 | StorageType::Ref => types::I64,
        StorageType::F32 => types::F32,
        StorageType::F64 => types::F64,
        StorageType::V128 => types::I8X16,
    }
}

/// Loads a value that is not a reference.
pub(crate) fn load(
    e: &mut GcEmitter<'_, '_>,
    Access { address, offset, flags }: Access,
    ty: StorageType,
    extend: Option<Extend>,
) -> ir::Value {
    debug_assert!(!ty.is_ref(), "references are read through the collector");
    let signed = extend == Some(Extend::Signed);
    let ins = e.builder.ins();
    match ty {
        StorageType::I8 if signed => ins.sload8(types::I32, flags, address, offset),
        StorageType::I8 => ins.uload8(types::I32, flags, address, offset),
        StorageType::I16 if signed => ins.sload16(types::I32, flags, address, offset),
        StorageType::I16 => ins.uload16(types::I32, flags, address, offset),
        _ => ins.load(value_type(ty), flags, address, offset),
    }
}

/// Stores a value that is not a reference.
pub(crate) fn store(
    e: &mut GcEmitter<'_, '_>,
    Access { address, offset, flags }: Access,
    ty: StorageType,
    value: ir::Value,
) {
    debug_assert!(!ty.is_ref(), "references are written through the collector");
    let ins = e.builder.ins();
    match ty {
        StorageType::I8 => ins.istore8(flags, value, address, offset),
        StorageType::I16 => ins.istore16(flags, value, address, offset),
        _ => ins.store(flags, value, address, offset),
    };
}

/// The zero of storage type `ty`.
fn zero(e: &mut GcEmitter<'_, '_>, ty: StorageType) -> ir::Value {
    match value_type(ty) {
        types::F32 => e.builder.ins().f32const(0.0),
        types::F64 => e.builder.ins().f64const(0.0),
        types::I8X16 => {
            let zeros = e.builder.func.dfg.constants.insert([0; 16].as_slice().into());
            e.builder.ins().vconst(types::I8X16, zeros)
        }
        integer => e.builder.ins().iconst(integer, 0),
    }
}
