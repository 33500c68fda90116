//! Operations on structs and arrays.

use super::values::NOT_A_REFERENCE;
use super::{Body, RefType};
use crate::{ArrayType, StructType};
use anyhow::{Result, anyhow, ensure};
use cranelift_codegen::ir::{self, Value, types};
use gc_compiler::ArrayInit;
use gc_types::StorageType;

/// The CLIF type of values that are read from this storage.
fn loaded(ty: StorageType) -> ir::Type {
    match ty {
        StorageType::I8 | StorageType::I16 | StorageType::I32 | StorageType::FuncRef => types::I32,
        StorageType::I64 | StorageType::Ref => types::I64,
        StorageType::F32 => types::F32,
        StorageType::F64 => types::F64,
        StorageType::V128 => types::I8X16,
    }
}

/// A recorded misuse.
struct Misused;

impl Body<'_, '_> {
    /// Records the error of `check`.
    fn checked<T>(&mut self, check: Result<T>) -> Result<T, Misused> {
        check.map_err(|error| {
            self.misused(error);
            Misused
        })
    }

    /// Checks that `value` can be stored as a `ty`.
    fn storable(&mut self, what: &str, value: Value, ty: StorageType) -> Result<(), Misused> {
        let found = self.type_of(what, value).ok_or(Misused)?;
        let expected = loaded(ty);
        self.checked(match found == expected {
            true => Ok(()),
            false => Err(anyhow!("{what} is of type {ty:?}, but the value is of {found}")),
        })?;
        let fits = !ty.is_ref() || self.is_reference(value);
        self.checked(match fits {
            true => Ok(()),
            false => Err(anyhow!("{what} must be a reference, but {NOT_A_REFERENCE}")),
        })?;
        let fits = ty != StorageType::FuncRef || self.is_function(value);
        self.checked(match fits {
            true => Ok(()),
            false => {
                Err(anyhow!("{what} is a reference to a function, but the value is an integer"))
            }
        })?;
        self.checked(match !ty.is_ref() && self.is_declared(value) {
            false => Ok(()),
            true => Err(anyhow!("{what} is of type {ty:?}, but the value is a reference")),
        })
    }

    fn object(&mut self, what: &str, value: Value) -> Result<(), Misused> {
        self.storable(what, value, StorageType::Ref)
    }

    fn index(&mut self, what: &str, value: Value) -> Result<(), Misused> {
        self.storable(what, value, StorageType::I32)
    }

    /// Checks that a type belongs to the module with this number.
    fn known(&mut self, module: u64) -> Result<(), Misused> {
        let known = module == self.function().module;
        self.checked(match known {
            true => Ok(()),
            false => Err(anyhow!("a type of another module is used")),
        })
    }

    fn field(&mut self, ty: &StructType, field: usize) -> Result<StorageType, Misused> {
        self.known(ty.0.module)?;
        let fields = &ty.layout().fields;
        let found = fields.get(field).map(|field| field.ty);
        let count = fields.len();
        self.checked(
            found.ok_or_else(|| {
                anyhow!("there is no field {field}: the number of fields is {count}")
            }),
        )
    }

    /// Traps if an object is of another type, in engines that
    /// [check types](crate::CodeOptions::checked). The access that follows traps if it is null.
    fn check_type(&mut self, object: Value, ty: impl Into<RefType>) {
        if self.engine().checks_types() {
            self.ref_cast(object, ty.into().nullable());
        }
    }

    /// Records what a value is that was read from this storage.
    fn loaded(&mut self, value: Value, ty: StorageType) -> Value {
        if ty == StorageType::FuncRef {
            self.env.functions.insert(value);
        }
        value
    }

    /// Emits an operation with a result of type `ty`. If it is misused, emits a dummy of the same
    /// type.
    fn result(
        &mut self,
        ty: ir::Type,
        checks: impl FnOnce(&mut Self) -> Result<(), Misused>,
        emit: impl FnOnce(&mut Self) -> Value,
    ) -> Value {
        match checks(self) {
            Ok(()) => emit(self),
            Err(Misused) => self.dummy(ty),
        }
    }

    /// A new object with these fields. May collect.
    pub fn struct_new(&mut self, ty: &StructType, fields: &[Value]) -> Value {
        let layout = ty.layout();
        let checks = |f: &mut Self| {
            f.known(ty.0.module)?;
            let (given, count) = (fields.len(), layout.fields.len());
            f.checked((|| {
                ensure!(
                    given == count,
                    "a `{}` has {count} fields, but `struct_new` is given {given}",
                    ty.name()
                );
                Ok(())
            })())?;
            for (n, (value, field)) in fields.iter().zip(&layout.fields).enumerate() {
                f.storable(&format!("field {n} of a `{}`", ty.name()), *value, field.ty)?;
            }
            Ok(())
        };
        self.result(types::I64, checks, |f| {
            let word = f.type_word(ty.0.header_word());
            f.gc().struct_new(word, layout, fields)
        })
    }

    /// Reads a field. Traps if `object` is null. Packed fields are widened with zeros.
    pub fn struct_get(&mut self, ty: &StructType, object: Value, field: usize) -> Value {
        let storage = ty.layout().fields.get(field).map_or(types::I64, |field| loaded(field.ty));
        let checks = |f: &mut Self| {
            f.field(ty, field)?;
            f.object("the object of `struct_get`", object)
        };
        self.result(storage, checks, |f| {
            f.check_type(object, ty);
            let value = f.gc().struct_get(object, ty.layout(), field, None);
            f.loaded(value, ty.layout().fields[field].ty)
        })
    }

    /// Writes a field. Traps if `object` is null.
    pub fn struct_set(&mut self, ty: &StructType, object: Value, field: usize, value: Value) {
        let mut checks = || {
            let storage = self.field(ty, field)?;
            self.object("the object of `struct_set`", object)?;
            self.storable(&format!("field {field}"), value, storage)
        };
        if checks().is_ok() {
            self.check_type(object, ty);
            self.gc().struct_set(object, ty.layout(), field, value);
        }
    }

    /// A new array of `length` (`I32`) elements that are all `value`. May collect.
    pub fn array_new(&mut self, ty: &ArrayType, value: Value, length: Value) -> Value {
        let checks = |f: &mut Self| {
            f.known(ty.0.module)?;
            f.storable("the element of `array_new`", value, ty.layout().element)?;
            f.index("the length of `array_new`", length)
        };
        self.array(ty, checks, ArrayInit::Fill(value, length))
    }

    /// A new array of `length` (`I32`) elements that are zero or null. May collect.
    pub fn array_new_default(&mut self, ty: &ArrayType, length: Value) -> Value {
        let checks = |f: &mut Self| {
            f.known(ty.0.module)?;
            f.index("the length of `array_new_default`", length)
        };
        self.array(ty, checks, ArrayInit::Default(length))
    }

    /// A new array of these elements. May collect.
    pub fn array_of(&mut self, ty: &ArrayType, elements: &[Value]) -> Value {
        let checks = |f: &mut Self| {
            f.known(ty.0.module)?;
            for (n, value) in elements.iter().enumerate() {
                f.storable(&format!("element {n}"), *value, ty.layout().element)?;
            }
            Ok(())
        };
        self.array(ty, checks, ArrayInit::Elements(elements))
    }

    fn array(
        &mut self,
        ty: &ArrayType,
        checks: impl FnOnce(&mut Self) -> Result<(), Misused>,
        init: ArrayInit<'_>,
    ) -> Value {
        self.result(types::I64, checks, |f| {
            let word = f.type_word(ty.0.header_word());
            f.gc().array_new(word, ty.layout(), init)
        })
    }

    /// An array's length (`I32`). Traps if `array` is null.
    pub fn array_len(&mut self, array: Value) -> Value {
        let checks = |f: &mut Self| f.object("the array of `array_len`", array);
        self.result(types::I32, checks, |f| {
            f.check_type(array, RefType::ARRAY);
            f.gc().array_len(array)
        })
    }

    /// Reads the element at `index` (`I32`). Traps if `array` is null or has no such element.
    /// Packed elements are widened with zeros.
    pub fn array_get(&mut self, ty: &ArrayType, array: Value, index: Value) -> Value {
        let checks = |f: &mut Self| {
            f.known(ty.0.module)?;
            f.object("the array of `array_get`", array)?;
            f.index("the index of `array_get`", index)
        };
        let element = loaded(ty.layout().element);
        self.result(element, checks, |f| {
            f.check_type(array, ty);
            let value = f.gc().array_get(array, ty.layout(), index, None);
            f.loaded(value, ty.layout().element)
        })
    }

    /// Writes the element at `index` (`I32`). Traps if `array` is null or has no such element.
    pub fn array_set(&mut self, ty: &ArrayType, array: Value, index: Value, value: Value) {
        let mut checks = || {
            self.known(ty.0.module)?;
            self.object("the array of `array_set`", array)?;
            self.index("the index of `array_set`", index)?;
            self.storable("the value of `array_set`", value, ty.layout().element)
        };
        if checks().is_ok() {
            self.check_type(array, ty);
            self.gc().array_set(array, ty.layout(), index, value);
        }
    }

    /// Copies `length` elements (`I32`) of an array to another one or to itself. Each place is an array and an
    /// index (`I32`). The ranges may overlap. Traps if an array is null or has no such elements.
    pub fn array_copy(
        &mut self,
        ty: &ArrayType,
        destination: (Value, Value),
        source: (Value, Value),
        length: Value,
    ) {
        let mut checks = || {
            self.known(ty.0.module)?;
            for (array, index) in [destination, source] {
                self.object("an array of `array_copy`", array)?;
                self.index("an index of `array_copy`", index)?;
            }
            self.index("the length of `array_copy`", length)
        };
        if checks().is_ok() {
            self.check_type(destination.0, ty);
            self.check_type(source.0, ty);
            self.gc().array_copy(ty.layout(), destination, source, length);
        }
    }

    /// Writes `value` to `length` elements (`I32`) of an array from `index` (`I32`) on. Traps if the array is
    /// null or has no such elements.
    pub fn array_fill(
        &mut self,
        ty: &ArrayType,
        array: Value,
        index: Value,
        value: Value,
        length: Value,
    ) {
        let mut checks = || {
            self.known(ty.0.module)?;
            self.object("the array of `array_fill`", array)?;
            self.index("the index of `array_fill`", index)?;
            self.storable("the value of `array_fill`", value, ty.layout().element)?;
            self.index("the length of `array_fill`", length)
        };
        if checks().is_ok() {
            self.check_type(array, ty);
            self.gc().array_fill(array, ty.layout(), index, value, length);
        }
    }
}
