//! [`StructType`], [`ArrayType`]: types of objects, for code and for the host.

use crate::store::{Inner as _, StoreInner};
use crate::types::{describe, storage_name};
use crate::{ArrayRef, AsStoreMut, Field, FieldValue, Handle, RefKind, Rooted, StructRef, Val};
use anyhow::{Context as _, Result, ensure};
#[cfg(feature = "compiler")]
use gc_types::TypeWord;
use gc_types::{ArrayLayout, GcLayout, StorageType, StructLayout, TypeIndex, VMGcRef};
use std::sync::Arc;

/// What types of structs and of arrays have in common.
#[derive(Clone, Debug)]
pub(crate) struct ObjectType {
    /// The number of its module. A type of a store has none, so no module takes it for its own.
    #[cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "only modules read it"))]
    pub(crate) module: u64,
    pub(crate) name: Arc<str>,
    /// Its number in the image of the module.
    #[cfg_attr(not(feature = "compiler"), expect(dead_code, reason = "only modules read it"))]
    pub(crate) number: TypeIndex,
    pub(crate) layout: Arc<GcLayout>,
}

/// The number of no module.
const NO_MODULE: u64 = u64::MAX;

impl ObjectType {
    /// The type of a store with this name and this layout.
    fn of_store(name: &Arc<str>, layout: &Arc<GcLayout>) -> ObjectType {
        let (name, layout) = (name.clone(), layout.clone());
        ObjectType { module: NO_MODULE, name, number: TypeIndex::NONE, layout }
    }

    /// The first word of the headers of its objects.
    #[cfg(feature = "compiler")]
    pub(crate) fn header_word(&self) -> TypeWord {
        TypeWord::header(self.number, self.layout.kind())
    }

    /// The index of the type in a store, which has it from now on.
    fn index(&self, store: &mut StoreInner) -> Result<TypeIndex> {
        store.index_of_type(&self.name, &self.layout)
    }

    /// The reference of a handle whose object is of this type.
    pub(crate) fn object<T: RefKind>(
        &self,
        store: &mut StoreInner,
        object: &impl Handle<T>,
    ) -> Result<VMGcRef> {
        store.object_of_type(object, &self.name, &self.layout)
    }
}

/// A type of objects with fields. The heap and the code take the layout from here.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Engine, Module, Rooted, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// let counter = module.struct_type("counter", [Type::I64])?;
/// assert_eq!(counter.layout().size, 16);
/// module.function("counter", [], [Type::Ref], |f| {
///     let zero = f.i64(0);
///     let new = f.struct_new(&counter, &[zero]);
///     f.ret(&[new]);
/// })?;
/// module.function("next", [Type::Ref], [Type::I64], |f| {
///     let (object, one) = (f.param(0), f.i64(1));
///     let value = f.struct_get(&counter, object, 0);
///     let next = f.add(value, one);
///     f.struct_set(&counter, object, 0, next);
///     f.ret(&[next]);
/// })?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
/// let counter = store.function::<(), Rooted>("counter")?.call(&mut store, ())?;
/// let next = store.function::<Rooted, i64>("next")?;
/// assert_eq!(next.call(&mut store, counter.clone())?, 1);
/// assert_eq!(next.call(&mut store, counter)?, 2);
/// # }
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct StructType(pub(crate) ObjectType);

impl StructType {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its layout.
    pub fn layout(&self) -> &StructLayout {
        self.0.layout.as_struct().expect("made of one")
    }
}

/// A type of arrays. The heap and the code take the layout from here.
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::{Collector, Engine, Module, StorageType, Store, Type};
///
/// let engine = Engine::new(Collector::copying())?;
/// let mut module = Module::new(&engine);
/// let bytes = module.array_type("bytes", StorageType::I8)?;
/// module.function("last", [Type::I32], [Type::I32], |f| {
///     let (value, length, one) = (f.param(0), f.i32(10), f.i32(1));
///     let array = f.array_new(&bytes, value, length);
///     let length = f.array_len(array);
///     let index = f.sub(length, one);
///     let last = f.array_get(&bytes, array, index);
///     f.ret(&[last]);
/// })?;
/// let mut store = Store::new(&engine, ())?;
/// store.load(&module.compile()?)?;
/// let last = store.function::<i32, i32>("last")?;
/// assert_eq!(last.call(&mut store, 0x1ff)?, 0xff, "an element has eight bits");
/// # }
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct ArrayType(pub(crate) ObjectType);

impl ArrayType {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its layout.
    pub fn layout(&self) -> &ArrayLayout {
        self.0.layout.as_array().expect("made of one")
    }
}

impl StructType {
    /// The type of a store with this name and this layout.
    pub(crate) fn of_store(name: &Arc<str>, layout: &Arc<GcLayout>) -> Result<StructType> {
        let kind = describe(layout);
        ensure!(layout.as_struct().is_some(), "the type `{name}` is {kind}");
        Ok(StructType(ObjectType::of_store(name, layout)))
    }

    /// A field, by its number, with values of the Rust type `V`.
    ///
    /// # Errors
    /// If there is no such field, or if it is of another type.
    pub fn field<V: FieldValue>(&self, number: usize) -> Result<Field<V>> {
        Field::new(self, number)
    }

    /// Makes a new object of this type. May collect.
    ///
    /// # Errors
    /// If there is not one value of the right type for each field, if a reference belongs to another
    /// store, if the store has another type of this name, or if the heap is full.
    pub fn new_object(
        &self,
        store: &mut impl AsStoreMut,
        fields: &[Val],
    ) -> Result<Rooted<StructRef>> {
        let store = store.inner_mut();
        let (name, layouts) = (self.name(), &self.layout().fields);
        let (given, count) = (fields.len(), layouts.len());
        ensure!(given == count, "a `{name}` has {count} fields, but is given {given}");
        for (number, (value, field)) in fields.iter().zip(layouts).enumerate() {
            let checked = value.check(store, field.ty);
            checked.with_context(|| format!("field {number} of a `{name}`"))?;
        }
        let index = self.0.index(store)?;
        let object = store.alloc(|gc, roots| gc.alloc_struct(roots, index))?;
        let object = Rooted::<StructRef>::new(store, object)?;
        let gc_ref = object.raw(store)?.unchecked_copy();
        for (value, field) in fields.iter().zip(layouts) {
            value.write(store, &gc_ref, field.offset, field.ty)?;
        }
        Ok(object)
    }
}

impl ArrayType {
    /// The type of a store with this name and this layout.
    pub(crate) fn of_store(name: &Arc<str>, layout: &Arc<GcLayout>) -> Result<ArrayType> {
        let kind = describe(layout);
        ensure!(layout.as_array().is_some(), "the type `{name}` is {kind}");
        Ok(ArrayType(ObjectType::of_store(name, layout)))
    }

    /// Makes a new array of these elements. May collect.
    ///
    /// # Errors
    /// If a value is of another type than the elements, if a reference belongs to another store, if
    /// the store has another type of this name, or if the heap is full.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Engine, Module, Store, Type, Val};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let floats = Module::new(&engine).array_type("floats", Type::F64)?;
    /// let mut store = Store::new(&engine, ())?;
    /// let array = floats.new_array(&mut store, &[Val::F64(1.5), Val::F64(2.5)])?;
    /// assert_eq!(floats.len(&mut store, &array)?, 2);
    /// floats.set(&mut store, &array, 1, Val::F64(3.5))?;
    /// assert_eq!(floats.get(&mut store, &array, 1)?.to_string(), "3.5");
    /// assert!(floats.get(&mut store, &array, 2).is_err());
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn new_array(
        &self,
        store: &mut impl AsStoreMut,
        elements: &[Val],
    ) -> Result<Rooted<ArrayRef>> {
        let store = store.inner_mut();
        let ty = self.layout().element;
        for (number, value) in elements.iter().enumerate() {
            let checked = value.check(store, ty);
            checked.with_context(|| format!("element {number} of a `{}`", self.name()))?;
        }
        let array = self.new_zeroed(store, elements.len())?;
        let gc_ref = array.raw(store)?.unchecked_copy();
        for (number, value) in (0..).zip(elements) {
            let (offset, _) = store.gc().array_element(&gc_ref, number, 1)?;
            value.write(store, &gc_ref, offset, ty)?;
        }
        Ok(array)
    }

    /// Makes a new array whose elements are these bytes: a string, for example. The elements must be
    /// [`StorageType::I8`]. May collect.
    ///
    /// # Errors
    /// If the elements are of another type, if the store has another type of this name, or if the heap is
    /// full.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "compiler")] {
    /// use gc_engine::{Collector, Engine, Module, StorageType, Store};
    ///
    /// let engine = Engine::new(Collector::copying())?;
    /// let string = Module::new(&engine).array_type("string", StorageType::I8)?;
    /// let mut store = Store::new(&engine, ())?;
    /// let hello = string.new_bytes(&mut store, b"hello")?;
    /// assert_eq!(string.bytes(&mut store, &hello)?, b"hello");
    /// # }
    /// # anyhow::Ok(())
    /// ```
    pub fn new_bytes(&self, store: &mut impl AsStoreMut, bytes: &[u8]) -> Result<Rooted<ArrayRef>> {
        self.expect_bytes()?;
        let store = store.inner_mut();
        let array = self.new_zeroed(store, bytes.len())?;
        let gc_ref = array.raw(store)?.unchecked_copy();
        store.gc_mut().array_write_bytes(&gc_ref, 0, bytes)?;
        Ok(array)
    }

    /// The bytes of an array whose elements are [`StorageType::I8`].
    ///
    /// # Errors
    /// If the elements are of another type, or if the array is of another type or belongs to another
    /// store.
    pub fn bytes(
        &self,
        store: &mut impl AsStoreMut,
        array: &impl Handle<ArrayRef>,
    ) -> Result<Vec<u8>> {
        self.expect_bytes()?;
        let store = store.inner_mut();
        let gc_ref = self.0.object(store, array)?;
        let mut bytes = vec![0; store.gc().array_len(&gc_ref)? as usize];
        store.gc().array_read_bytes(&gc_ref, 0, &mut bytes)?;
        Ok(bytes)
    }

    /// The number of elements of an array.
    ///
    /// # Errors
    /// If it is of another type, or belongs to another store.
    pub fn len(&self, store: &mut impl AsStoreMut, array: &impl Handle<ArrayRef>) -> Result<u32> {
        let store = store.inner_mut();
        let gc_ref = self.0.object(store, array)?;
        Ok(store.gc().array_len(&gc_ref)?)
    }

    /// Reads an element.
    ///
    /// # Errors
    /// If the array has no such element, is of another type, or belongs to another store.
    pub fn get(
        &self,
        store: &mut impl AsStoreMut,
        array: &impl Handle<ArrayRef>,
        index: u32,
    ) -> Result<Val> {
        let store = store.inner_mut();
        let gc_ref = self.0.object(store, array)?;
        let (offset, ty) = store.gc().array_element(&gc_ref, index, 1)?;
        Val::read(store, &gc_ref, offset, ty)
    }

    /// Writes an element.
    ///
    /// # Errors
    /// If the array has no such element, is of another type, or belongs to another store, or if the value
    /// is of another type or belongs to another store.
    pub fn set(
        &self,
        store: &mut impl AsStoreMut,
        array: &impl Handle<ArrayRef>,
        index: u32,
        value: Val,
    ) -> Result<()> {
        let store = store.inner_mut();
        let gc_ref = self.0.object(store, array)?;
        let (offset, ty) = store.gc().array_element(&gc_ref, index, 1)?;
        let checked = value.check(store, ty);
        checked.with_context(|| format!("an element of a `{}`", self.name()))?;
        value.write(store, &gc_ref, offset, ty)
    }

    fn expect_bytes(&self) -> Result<()> {
        let (name, element) = (self.name(), self.layout().element);
        let found = storage_name(element);
        ensure!(
            element == StorageType::I8,
            "the elements of a `{name}` are of type {found}, not i8"
        );
        Ok(())
    }

    fn new_zeroed(&self, store: &mut StoreInner, length: usize) -> Result<Rooted<ArrayRef>> {
        let length = u32::try_from(length).context("an array has less than 2^32 elements")?;
        let index = self.0.index(store)?;
        let array = store.alloc(|gc, roots| gc.alloc_array(roots, index, length))?;
        Rooted::new(store, array)
    }
}
