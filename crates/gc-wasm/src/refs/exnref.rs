//! Exceptions that the host makes and reads.

use crate::refs::out_of_memory::failed;
use crate::refs::{Reference as _, structref};
use crate::store::{StoreId, StoreOpaque};
use crate::types::{ExnType, HeapType};
use crate::{AsContext, AsContextMut, Engine, Rooted, StoreContextMut, Tag, Val};
use anyhow::{Result, bail, ensure};
use gc_runtime::Handle;
use gc_types::VMGcKind;

/// An exception: a tag and a payload. [`Rooted`] and [`OwnedRooted`](crate::OwnedRooted) handles give
/// access to it.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, ExnRef, ExnRefPre, ExnType, FuncType, Store, Tag, TagType, Val, ValType};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
/// let tag = Tag::new(&mut store, &ty)?;
/// let pre = ExnRefPre::new(&mut store, ExnType::from_tag_type(&ty)?);
///
/// let exception = ExnRef::new(&mut store, &pre, &tag, &[Val::I32(42)])?;
/// assert!(Tag::eq(&exception.tag(&mut store)?, &tag, &store));
/// assert_eq!(exception.field(&mut store, 0)?.i32(), Some(42));
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ExnRef(pub(super) Handle);

/// The type of exceptions that the host makes in a store.
///
/// [`ExnRef::new`] takes it, so that an allocation does not prepare the type again. The example of
/// [`Store::throw`](crate::Store::throw) makes one.
#[derive(Clone, Debug)]
pub struct ExnRefPre {
    store: StoreId,
    ty: ExnType,
}

impl ExnRefPre {
    /// Prepares to make exceptions of type `ty`.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: ExnType) -> ExnRefPre {
        let store = store.as_context_mut().into_opaque();
        assert!(
            Engine::same(ty.engine(), store.engine()),
            "the exception type belongs to another engine"
        );
        ExnRefPre { store: store.id(), ty }
    }
}

impl ExnRef {
    /// Makes an exception with the tag `tag`, rooted in the current scope.
    ///
    /// # Errors
    /// If the tag has another type, if the fields are not of the tag's parameter types, if the scope
    /// of a handle has ended, or if there is no room in the heap
    /// ([`GcHeapOutOfMemory`](crate::GcHeapOutOfMemory)).
    ///
    /// # Panics
    /// If the allocator, the tag or a value belongs to another store.
    pub fn new(
        mut store: impl AsContextMut,
        allocator: &ExnRefPre,
        tag: &Tag,
        fields: &[Val],
    ) -> Result<Rooted<ExnRef>> {
        let store = store.as_context_mut().into_opaque();
        assert!(
            allocator.store == store.id(),
            "an allocator of exceptions was used with the wrong store"
        );
        let tag = tag.data(store);
        let registered = allocator.ty.registered();
        ensure!(tag.exn.index == registered.index, "the tag is not of the type {:?}", allocator.ty);
        let id = tag.id;
        let exn = registered.sub_type.unwrap_exn();
        if exn.fields.len() != fields.len() {
            let wanted = exn.fields.len();
            bail!("an exception of {wanted} fields cannot be made of {} values", fields.len());
        }
        for (i, (value, ty)) in fields.iter().zip(&exn.fields).enumerate() {
            value.check(store, &structref::unpacked(ty), || format!("field {i}"))?;
        }
        store.may_drop(|store| {
            store.ensure_layout(registered)?;
            let ty = registered.index;
            let gc_ref = store
                .with_gc(|gc, roots| gc.alloc_exn(roots, ty, id.instance, id.index))
                .map_err(|error| failed(error, "an exception", ()))?;
            let object: Rooted<ExnRef> = store.root(gc_ref);
            let gc_ref = object.gc_ref(store)?;
            let layout = registered.layout.as_ref().and_then(|layout| layout.fields());
            let places = layout.into_iter().flatten();
            for ((value, ty), place) in fields.iter().zip(&exn.fields).zip(places) {
                structref::write_place(store, &gc_ref, place.offset, ty, value)?;
            }
            Ok(object)
        })
    }
}

impl ExnRef {
    /// Its type.
    ///
    /// # Errors
    /// If it is not rooted in this store, or the heap is corrupt.
    pub fn ty(&self, store: impl AsContext) -> Result<ExnType> {
        self.exn_type(store.as_context().opaque())
    }

    pub(crate) fn exn_type(&self, store: &StoreOpaque) -> Result<ExnType> {
        let header = store.gc_store().header(&self.gc_ref(store)?)?;
        match store.object_type(header.ty()) {
            Some(ty) if header.kind() == Some(VMGcKind::ExnRef) && ty.kind() == header.kind() => {
                Ok(ExnType::from_registered(store.engine(), ty.clone()))
            }
            _ => bail!("corrupt GC heap: a reference to an exception refers to something else"),
        }
    }

    /// Whether it is of type `ty`.
    ///
    /// # Errors
    /// As [`ty`](ExnRef::ty).
    pub fn matches_ty(&self, store: impl AsContext, ty: &HeapType) -> Result<bool> {
        Ok(HeapType::ConcreteExn(self.ty(store)?).matches(ty))
    }

    /// The tag with which it was made.
    ///
    /// # Errors
    /// As [`ty`](ExnRef::ty).
    pub fn tag(&self, mut store: impl AsContextMut) -> Result<Tag> {
        let store = store.as_context_mut().into_opaque();
        let tag = store.tag_of(&self.gc_ref(store)?)?;
        Ok(Tag::from_index(store, tag))
    }

    /// Field `index` of the payload. A reference is rooted in the current scope.
    ///
    /// # Errors
    /// As [`ty`](ExnRef::ty), or if there is no such field.
    pub fn field(&self, mut store: impl AsContextMut, index: usize) -> Result<Val> {
        let store = store.as_context_mut().into_opaque();
        let ty = self.exn_type(store)?;
        let registered = ty.registered();
        let fields = &registered.sub_type.unwrap_exn().fields;
        let places = registered.layout.as_ref().and_then(|layout| layout.fields());
        let (Some(field), Some(place)) =
            (fields.get(index), places.and_then(|places| places.get(index)))
        else {
            bail!("there is no field {index} in an exception of {} fields", fields.len());
        };
        let gc_ref = self.gc_ref(store)?;
        structref::read_place(store, &gc_ref, place.offset, field)
    }

    /// The payload. References are rooted in the current scope.
    ///
    /// # Errors
    /// As [`ty`](ExnRef::ty).
    ///
    /// # Panics
    /// As [`ty`](ExnRef::ty).
    pub fn fields<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> Result<impl ExactSizeIterator<Item = Val> + 'a> {
        let mut store = store.into();
        let count = self.ty(&store)?.fields().len();
        let fields = (0..count).map(|i| self.field(&mut store, i)).collect::<Result<Vec<Val>>>()?;
        Ok(fields.into_iter())
    }
}
