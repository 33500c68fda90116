//! Tags of exceptions, and exceptions that the host throws and catches.

use crate::refs::Reference as _;
use crate::store::{StoreId, StoreOpaque};
use crate::types::TagType;
use crate::vm::tag::{TagData, TagId};
use crate::{AsContext, AsContextMut, Engine, ExnRef, Rooted, Store, StoreContextMut};
use anyhow::{Result, ensure};
use gc_jit::ThrownException;
use gc_types::{ExnLayout, StorageType, VMGcRef};
use wasmtime_types::{EntityIndex, TagIndex};

/// A tag of exceptions in a store. Copies are the same tag.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, FuncType, Store, Tag, TagType, ValType};
///
/// # fn main() -> anyhow::Result<()> {
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
/// let (a, b) = (Tag::new(&mut store, &ty)?, Tag::new(&mut store, &ty)?);
/// assert!(Tag::eq(&a, &a, &store) && !Tag::eq(&a, &b, &store));
/// assert_eq!(a.ty(&store), ty);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    store: StoreId,
    index: usize,
}

impl Tag {
    /// Makes a tag.
    ///
    /// # Errors
    /// If the type has results, or the engine has too many types.
    ///
    /// # Panics
    /// If the type belongs to another engine.
    pub fn new(mut store: impl AsContextMut, ty: &TagType) -> Result<Tag> {
        let store = store.as_context_mut().into_opaque();
        assert!(
            Engine::same(ty.ty().engine(), store.engine()),
            "the tag type belongs to another engine"
        );
        ensure!(ty.ty().results().len() == 0, "a tag's type has no results");
        let func = ty.ty().registered().clone();
        let exn = store.engine().types().exn_type(&func)?;
        let index = store.tags.len();
        let id = TagId { instance: TagId::HOST, index: u32::try_from(index)? };
        store.tags.push(TagData { ty: func, exn, id });
        Ok(Tag::from_index(store, index))
    }

    pub(crate) fn from_index(store: &StoreOpaque, index: usize) -> Tag {
        Tag { store: store.id(), index }
    }

    pub(crate) fn store(&self) -> StoreId {
        self.store
    }

    /// Its index in `store`, which must be its store.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub(crate) fn index(&self, store: &StoreOpaque) -> usize {
        assert!(self.store == store.id(), "a tag was used with the wrong store");
        self.index
    }

    /// Its data in `store`.
    pub(crate) fn data<'a>(&self, store: &'a StoreOpaque) -> &'a TagData {
        &store.tags[self.index(store)]
    }

    /// Its type.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TagType {
        let store = store.as_context().opaque();
        TagType::from_registered(store.engine(), &self.data(store).ty)
    }

    /// Its name in the name section of the module that defines it, or else the name of its first
    /// export there. `None` if it has neither, or the host made it.
    ///
    /// # Panics
    /// If it belongs to another store.
    pub fn name(&self, store: impl AsContext) -> Option<String> {
        let store = store.as_context().opaque();
        let TagId { instance, index } = self.data(store).id;
        let info = store.instances.get(instance as usize)?.module.info();
        let entity = EntityIndex::Tag(TagIndex::from_u32(index));
        let exported = || info.exports.iter().find(|(_, exported)| **exported == entity);
        info.names.tag(index).or_else(|| exported().map(|(name, _)| &**name)).map(str::to_owned)
    }

    /// Whether `a` and `b` are the same tag.
    ///
    /// # Panics
    /// If one of them belongs to another store.
    pub fn eq(a: &Tag, b: &Tag, store: impl AsContext) -> bool {
        let store = store.as_context().opaque();
        a.index(store) == b.index(store)
    }
}

impl StoreOpaque {
    /// The tag of an exception: its index in the store.
    ///
    /// # Errors
    /// If the heap is corrupt.
    pub(crate) fn tag_of(&self, exception: &VMGcRef) -> Result<usize> {
        let TagId { instance, index } = self.tag_id_of(exception)?;
        let found = match instance {
            TagId::HOST => self.tags.get(index as usize).map(|_| index as usize),
            _ => {
                let instance = self.instances.get(instance as usize);
                instance.and_then(|instance| instance.tags.get(index as usize).copied())
            }
        };
        match found {
            Some(tag) => Ok(tag),
            None => anyhow::bail!("corrupt GC heap: an exception of an unknown tag"),
        }
    }

    fn tag_id_of(&self, exception: &VMGcRef) -> Result<TagId> {
        let at = ExnLayout::TAG_INSTANCE_OFFSET;
        let bits = self.gc_store().read_field(exception, at, StorageType::I64)?;
        Ok(TagId::from_bits(bits as u64))
    }

    /// Whether the handler for tag `tag` of the instance `instance` catches an exception.
    pub(crate) fn tag_matches(&self, instance: usize, tag: u32, exception: &VMGcRef) -> bool {
        let Some(instance) = self.instances.get(instance) else { return false };
        let bits = instance.vmctx.get(instance.module.layout().tag(tag));
        self.tag_id_of(exception).is_ok_and(|id| id == TagId::from_bits(bits))
    }

    fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.make_pending(exception)?;
        Err(ThrownException.into())
    }

    /// Makes `exception` the pending exception.
    pub(crate) fn make_pending(&mut self, exception: Rooted<ExnRef>) -> Result<()> {
        let gc_ref = exception.gc_ref(self)?;
        let gc_ref = self.gc_store_mut().clone_gc_ref(&gc_ref);
        self.may_drop(|store| store.jit.set_pending_exception(gc_ref))
    }

    fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        let exception = self.jit.take_pending_exception()?;
        Some(self.root(exception))
    }
}

impl<T: 'static> Store<T> {
    /// Makes `exception` the pending exception, and returns the error [`ThrownException`]. A host
    /// function that returns this error throws the pending exception in the code that called it.
    ///
    /// A call in which an exception is not caught returns the same error. The exception is then the
    /// pending exception. So a host function rethrows it by returning the error, and catches it
    /// with [`take_pending_exception`](Store::take_pending_exception).
    ///
    /// # Errors
    /// Always. With another error if the exception is not rooted in this store, or if there are too
    /// many handles.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{
    ///     Caller, Engine, ExnRef, ExnRefPre, ExnType, FuncType, Linker, Module, Store, Tag,
    ///     TagType, ThrownException, Val, ValType,
    /// };
    ///
    /// # fn main() -> anyhow::Result<()> {
    /// let engine = Engine::default();
    /// let mut store = Store::new(&engine, ());
    /// let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
    /// let tag = Tag::new(&mut store, &ty)?;
    /// let mut linker = Linker::new(&engine);
    /// linker.define(&store, "host", "tag", tag)?;
    /// linker.func_wrap("host", "throw", move |mut caller: Caller<'_, ()>, n: i32| {
    ///     let pre = ExnRefPre::new(&mut caller, ExnType::from_tag_type(&ty)?);
    ///     let exception = ExnRef::new(&mut caller, &pre, &tag, &[Val::I32(n)])?;
    ///     caller.as_context_mut().throw::<()>(exception)
    /// })?;
    /// # use gc_wasm::AsContextMut as _;
    /// let module = Module::new(&engine, r#"(module
    ///     (import "host" "tag" (tag $tag (param i32)))
    ///     (import "host" "throw" (func $throw (param i32)))
    ///     (func (export "caught") (result i32)
    ///         (block $handler (result i32)
    ///             (try_table (catch $tag $handler) (call $throw (i32.const 42)))
    ///             (i32.const 0)))
    ///     (func (export "uncaught") (call $throw (i32.const 43))))"#)?;
    /// let instance = linker.instantiate(&mut store, &module)?;
    /// let caught = instance.get_typed_func::<(), i32>(&mut store, "caught")?;
    /// assert_eq!(caught.call(&mut store, ())?, 42);
    ///
    /// let uncaught = instance.get_typed_func::<(), ()>(&mut store, "uncaught")?;
    /// let error = uncaught.call(&mut store, ()).unwrap_err();
    /// assert!(error.is::<ThrownException>());
    /// let exception = store.take_pending_exception().unwrap();
    /// assert_eq!(exception.field(&mut store, 0)?.i32(), Some(43));
    /// # Ok(())
    /// # }
    /// ```
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.as_context_mut().throw(exception)
    }

    /// Takes the pending exception, if there is one. It is rooted in the current scope.
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.as_context_mut().take_pending_exception()
    }

    /// Whether there is a pending exception.
    pub fn has_pending_exception(&self) -> bool {
        self.as_context().opaque().jit.has_pending_exception()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// Makes `exception` the pending exception, and returns the error [`ThrownException`]; see
    /// [`Store::throw`].
    ///
    /// # Errors
    /// As [`Store::throw`].
    pub fn throw<R>(&mut self, exception: Rooted<ExnRef>) -> Result<R> {
        self.opaque_mut().throw(exception)
    }

    /// Takes the pending exception, if there is one. It is rooted in the current scope.
    pub fn take_pending_exception(&mut self) -> Option<Rooted<ExnRef>> {
        self.opaque_mut().take_pending_exception()
    }

    /// Whether there is a pending exception.
    pub fn has_pending_exception(&self) -> bool {
        self.as_context().opaque().jit.has_pending_exception()
    }
}
