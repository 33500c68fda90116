//! `wasm_ref_t` and the types that are special cases of it. All have the same representation, so that
//! a pointer to one is a pointer to the other after a check.
//!
//! To C there is one space of references: functions, objects of the heap, things of the host. Where
//! WebAssembly has a reference of another hierarchy, it is converted: a host thing that becomes an
//! `externref` is put in a box of the heap, and comes back as the thing.

use crate::error::given;
use crate::host_info::{Finalizer, HostInfo};
use crate::macros::exports;
use crate::module::ModuleObject;
use crate::store::{Data, StoreItem, StoreRef};
use crate::trap::TrapObject;
use anyhow::{Context as _, Result, bail, ensure};
use gc_wasm::{
    AnyRef, AsContextMut, ExnRef, ExternRef, Func, Global, HeapType, Instance, Memory, OwnedRooted,
    Ref, Rooted, StoreContextMut, Table, Tag, UncheckedFunc, WeakMap,
};
use std::ffi::c_void;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A reference to anything, with the store that it belongs to: `wasm_ref_t`.
#[derive(Clone)]
pub struct wasm_ref_t {
    /// Without a store it is a trap of a call that had none.
    pub(crate) store: Option<StoreRef>,
    pub(crate) what: What,
    /// A function for calls with raw values, from the first one on.
    pub(crate) unchecked: OnceLock<UncheckedFunc>,
}

/// What a reference refers to.
#[derive(Clone)]
pub(crate) enum What {
    Func(Func),
    Global(Global),
    Table(Table),
    Memory(Memory),
    Tag(Tag),
    Instance(Instance),
    Module(Arc<ModuleObject>),
    Trap(Arc<TrapObject>),
    /// A host value that C has made.
    Foreign(OwnedRooted<ExternRef>),
    /// An unboxed integer, a struct or an array.
    Object(OwnedRooted<AnyRef>),
    Exception(OwnedRooted<ExnRef>),
}

/// The host values of external references.
pub(crate) enum Boxed {
    /// What C calls a foreign object, with what is attached to it.
    Foreign(Mutex<HostInfo>),
    /// What is attached to an object of the heap, as a value of a weak map.
    Info(HostInfo),
    /// A thing that is not in the heap.
    Thing(What),
}

impl What {
    /// Its name in messages.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            What::Func(_) => "a function",
            What::Global(_) => "a global",
            What::Table(_) => "a table",
            What::Memory(_) => "a memory",
            What::Tag(_) => "a tag",
            What::Instance(_) => "an instance",
            What::Module(_) => "a module",
            What::Trap(_) => "a trap",
            What::Foreign(_) => "a foreign object",
            What::Object(_) => "an object of the heap",
            What::Exception(_) => "an exception",
        }
    }

    fn place(&self) -> Option<StoreItem> {
        Some(match self {
            What::Func(func) => StoreItem::Func(*func),
            What::Global(global) => StoreItem::Global(*global),
            What::Table(table) => StoreItem::Table(*table),
            What::Memory(memory) => StoreItem::Memory(*memory),
            What::Instance(instance) => StoreItem::Instance(*instance),
            _ => return None,
        })
    }

    /// Whether `self` and `other` are the same.
    fn is(&self, other: &What, store: &mut StoreContextMut<'_, Data>) -> Result<bool> {
        Ok(match (self, other) {
            (What::Tag(a), What::Tag(b)) => Tag::eq(a, b, store.as_context_mut()),
            (What::Module(a), What::Module(b)) => Arc::ptr_eq(a, b),
            (What::Trap(a), What::Trap(b)) => Arc::ptr_eq(a, b),
            (What::Foreign(a), What::Foreign(b)) => OwnedRooted::ref_eq(&*store, a, b)?,
            (What::Object(a), What::Object(b)) => OwnedRooted::ref_eq(&*store, a, b)?,
            (What::Exception(a), What::Exception(b)) => OwnedRooted::ref_eq(&*store, a, b)?,
            (a, b) => a.place().is_some() && a.place() == b.place(),
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces what is attached, and returns what was.
fn replace(place: &Mutex<HostInfo>, info: HostInfo) -> HostInfo {
    std::mem::replace(&mut *locked(place), info)
}

impl wasm_ref_t {
    pub(crate) fn new(store: &StoreRef, what: What) -> wasm_ref_t {
        wasm_ref_t { store: Some(store.clone()), ..wasm_ref_t::without_store(what) }
    }

    /// The trap of a call that had no store.
    pub(crate) fn without_store(what: What) -> wasm_ref_t {
        wasm_ref_t { store: None, what, unchecked: OnceLock::new() }
    }

    /// The store that it belongs to. The handle may be deleted while the store is used.
    pub(crate) fn store(&self) -> Result<StoreRef> {
        self.store.clone().with_context(|| format!("{} of no store", self.what.name()))
    }

    /// What it refers to, for use in `store`.
    pub(crate) fn of(&self, store: &StoreRef) -> Result<&What> {
        ensure!(self.store()?.is(store), "{} of another store", self.what.name());
        Ok(&self.what)
    }

    /// A value of the hierarchy of `ty`, for the engine.
    pub(crate) fn to_ref(
        &self,
        mut context: &mut StoreContextMut<'_, Data>,
        store: &StoreRef,
        ty: &HeapType,
    ) -> Result<Ref> {
        let what = self.of(store)?;
        let internal = match (what, ty.top()) {
            (What::Func(func), HeapType::Func) => return Ok(Ref::Func(Some(*func))),
            (What::Exception(exception), HeapType::Exn) => {
                return Ok(Ref::Exn(Some(exception.to_rooted(context))));
            }
            (_, HeapType::Func | HeapType::Exn) | (What::Exception(_), _) => {
                bail!("type mismatch: expected a reference to {ty}, found {}", what.name())
            }
            (What::Object(object), _) => object.to_rooted(&mut context),
            (What::Foreign(foreign), _) => {
                let foreign = foreign.to_rooted(&mut context);
                AnyRef::convert_extern(&context, foreign)?
            }
            (thing, _) => {
                let thing = ExternRef::new(&mut context, Boxed::Thing(thing.clone()))?;
                AnyRef::convert_extern(&context, thing)?
            }
        };
        Ok(match ty.top() {
            HeapType::Extern => Ref::Extern(Some(ExternRef::convert_any(&context, internal)?)),
            _ => Ref::Any(Some(internal)),
        })
    }

    /// A value of the engine. `None` for null.
    pub(crate) fn of_ref(
        context: &mut StoreContextMut<'_, Data>,
        store: &StoreRef,
        value: Ref,
    ) -> Result<Option<wasm_ref_t>> {
        let what = match value {
            Ref::Func(None) | Ref::Extern(None) | Ref::Any(None) | Ref::Exn(None) => {
                return Ok(None);
            }
            Ref::Func(Some(func)) => What::Func(func),
            Ref::Exn(Some(exception)) => What::Exception(exception.to_owned_rooted(&mut *context)?),
            Ref::Extern(Some(external)) => What::of_external(context, external)?,
            Ref::Any(Some(internal)) => {
                let external = ExternRef::convert_any(&*context, internal)?;
                What::of_external(context, external)?
            }
        };
        Ok(Some(wasm_ref_t::new(store, what)))
    }

    /// The address that is attached to it.
    fn info(&self) -> Result<*mut c_void> {
        Ok(match &self.what {
            What::Module(module) => locked(&module.info).data(),
            What::Trap(trap) => locked(&trap.info).data(),
            what => self.store()?.with(|mut context| what.info_in(&mut context))?,
        })
    }

    /// Attaches an address to it. The store is no longer in use when what
    /// was attached is dropped.
    fn set_info(&self, info: HostInfo) -> Result<()> {
        let old = match &self.what {
            What::Module(module) => Some(replace(&module.info, info)),
            What::Trap(trap) => Some(replace(&trap.info, info)),
            what => self.store()?.with(|mut context| what.set_info_in(&mut context, info))?,
        };
        drop(old);
        Ok(())
    }
}

impl What {
    /// What a reference of the engine refers to.
    fn of_external(
        context: &mut StoreContextMut<'_, Data>,
        external: Rooted<ExternRef>,
    ) -> Result<What> {
        let value = external.data(&*context)?;
        match value.and_then(|value| value.downcast_ref()) {
            Some(Boxed::Thing(thing)) => Ok(thing.clone()),
            Some(Boxed::Foreign(_)) => Ok(What::Foreign(external.to_owned_rooted(context)?)),
            Some(Boxed::Info(_)) | None => {
                let internal = AnyRef::convert_extern(&*context, external)?;
                Ok(What::Object(internal.to_owned_rooted(context)?))
            }
        }
    }

    /// The object of the heap by which a weak map finds what is attached.
    fn key(&self, mut context: &mut StoreContextMut<'_, Data>) -> Result<Rooted<AnyRef>> {
        let What::Object(object) = self else {
            bail!("nothing can be attached to {}", self.name())
        };
        let object = object.to_rooted(&mut context);
        ensure!(!object.is_i31(&context)?, "nothing can be attached to an unboxed integer");
        Ok(object)
    }

    fn info_in(&self, mut context: &mut StoreContextMut<'_, Data>) -> Result<*mut c_void> {
        let none = std::ptr::null_mut();
        if let Some(place) = self.place() {
            return Ok(context.data().infos.get(&place).map_or(none, HostInfo::data));
        }
        let external = match self {
            What::Foreign(foreign) => foreign.to_rooted(&mut context),
            What::Object(object) if object.is_i31(&context)? => return Ok(none),
            What::Object(_) => {
                let key = self.key(context)?;
                let Some(infos) = context.data().object_infos.clone() else { return Ok(none) };
                let Some(info) = infos.get(&mut context, &key)? else { return Ok(none) };
                info
            }
            _ => return Ok(none),
        };
        let value = external.data(&*context)?;
        Ok(match value.and_then(|value| value.downcast_ref()) {
            Some(Boxed::Foreign(info)) => locked(info).data(),
            Some(Boxed::Info(info)) => info.data(),
            _ => none,
        })
    }

    /// Attaches `info`, and returns what was attached unless the heap drops it.
    fn set_info_in(
        &self,
        mut context: &mut StoreContextMut<'_, Data>,
        info: HostInfo,
    ) -> Result<Option<HostInfo>> {
        if let Some(place) = self.place() {
            return Ok(context.data_mut().infos.insert(place, info));
        }
        if let What::Foreign(foreign) = self {
            let value = foreign.data(&*context)?;
            let Some(Boxed::Foreign(place)) = value.and_then(|value| value.downcast_ref()) else {
                bail!("a foreign object has another host value");
            };
            return Ok(Some(replace(place, info)));
        }
        let key = self.key(context)?;
        let infos = match context.data().object_infos.clone() {
            Some(infos) => infos,
            None => {
                let infos = WeakMap::new(&mut context)?;
                context.data_mut().object_infos.insert(infos).clone()
            }
        };
        let info = ExternRef::new(&mut context, Boxed::Info(info))?;
        infos.insert(&mut context, &key, &info)?;
        Ok(None)
    }
}

/// Whether two handles refer to the same thing.
fn same(a: Option<&wasm_ref_t>, b: Option<&wasm_ref_t>) -> Result<bool> {
    match (a, b) {
        (None, None) => Ok(true),
        (Some(a), Some(b)) => match (&a.what, &b.what, &a.store, &b.store) {
            (What::Trap(a), What::Trap(b), ..) => Ok(Arc::ptr_eq(a, b)),
            (one, other, Some(store), Some(also)) if store.is(also) => {
                store.with(|mut context| one.is(other, &mut context))
            }
            _ => Ok(false),
        },
        _ => Ok(false),
    }
}

/// The functions that every type of reference has.
macro_rules! base {
    ($ty:ident, $handle:ident => $inner:expr, $delete:ident $copy:ident $same:ident $get:ident $set:ident
     $finalized:ident) => {
        exports! {
            /// Deletes a handle.
            fn $delete(handle: Option<Box<$ty>>) {
                drop(handle);
                Ok(())
            }

            /// Another handle to the same thing. NULL for NULL.
            fn $copy(handle: Option<&$ty>) -> Option<Box<$ty>> {
                Ok(handle.cloned().map(Box::new))
            }

            /// Whether two handles refer to the same thing. Two NULLs do.
            fn $same(a: Option<&$ty>, b: Option<&$ty>) -> bool {
                same(a.map(|$handle| $inner), b.map(|$handle| $inner))
            }

            /// The address that is attached to the thing, or NULL.
            fn $get(handle: Option<&$ty>) -> *mut c_void {
                let $handle = given(handle, "handle")?;
                $inner.info()
            }

            /// Attaches an address to the thing.
            fn $set(handle: Option<&$ty>, info: *mut c_void) {
                let $handle = given(handle, "handle")?;
                $inner.set_info(HostInfo::new(info, None))
            }

            /// Attaches an address to the thing. The finalizer is called with it when the thing is
            /// gone, when another address is attached, or if nothing can be attached to it.
            fn $finalized(handle: Option<&$ty>, info: *mut c_void, finalizer: Finalizer) {
                let info = HostInfo::new(info, finalizer);
                let $handle = given(handle, "handle")?;
                $inner.set_info(info)
            }
        }
    };
}

base! { wasm_ref_t, handle => handle, wasm_ref_delete wasm_ref_copy wasm_ref_same
wasm_ref_get_host_info wasm_ref_set_host_info wasm_ref_set_host_info_with_finalizer }

/// The special cases of references.
macro_rules! references {
    ($($what:literal $ty:ident of $pattern:pat => $delete:ident $copy:ident $same:ident $get:ident $set:ident
       $finalized:ident $up:ident $down:ident $up_const:ident $down_const:ident;)*) => {$(
        #[doc = concat!("A handle to ", $what, ": `", stringify!($ty), "`.")]
        #[derive(Clone)]
        #[repr(transparent)]
        pub struct $ty(pub(crate) wasm_ref_t);

        impl $ty {
            /// The same handle, if it refers to such a thing.
            #[allow(dead_code)]
            pub(crate) fn of(reference: &wasm_ref_t) -> Option<&$ty> {
                let $pattern = reference.what else { return None };
                // SAFETY: the representation is the same.
                Some(unsafe { &*std::ptr::from_ref(reference).cast() })
            }
        }

        base! { $ty, handle => &handle.0, $delete $copy $same $get $set $finalized }

        exports! {
            /// The handle as a reference. It is not another handle.
            fn $up(handle: Option<&$ty>) -> Option<&wasm_ref_t> {
                Ok(handle.map(|handle| &handle.0))
            }

            /// The reference as such a handle, or NULL if it refers to something else.
            fn $down(reference: Option<&wasm_ref_t>) -> Option<&$ty> {
                Ok(reference.and_then($ty::of))
            }

            /// The handle as a reference. It is not another handle.
            fn $up_const(handle: Option<&$ty>) -> Option<&wasm_ref_t> {
                Ok(handle.map(|handle| &handle.0))
            }

            /// The reference as such a handle, or NULL if it refers to something else.
            fn $down_const(reference: Option<&wasm_ref_t>) -> Option<&$ty> {
                Ok(reference.and_then($ty::of))
            }
        }
    )*};
}

references! {
    "a function" wasm_func_t of What::Func(_) =>
        wasm_func_delete wasm_func_copy wasm_func_same
        wasm_func_get_host_info wasm_func_set_host_info wasm_func_set_host_info_with_finalizer
        wasm_func_as_ref wasm_ref_as_func wasm_func_as_ref_const wasm_ref_as_func_const;
    "a global" wasm_global_t of What::Global(_) =>
        wasm_global_delete wasm_global_copy wasm_global_same
        wasm_global_get_host_info wasm_global_set_host_info wasm_global_set_host_info_with_finalizer
        wasm_global_as_ref wasm_ref_as_global wasm_global_as_ref_const wasm_ref_as_global_const;
    "a table" wasm_table_t of What::Table(_) =>
        wasm_table_delete wasm_table_copy wasm_table_same
        wasm_table_get_host_info wasm_table_set_host_info wasm_table_set_host_info_with_finalizer
        wasm_table_as_ref wasm_ref_as_table wasm_table_as_ref_const wasm_ref_as_table_const;
    "a memory" wasm_memory_t of What::Memory(_) =>
        wasm_memory_delete wasm_memory_copy wasm_memory_same
        wasm_memory_get_host_info wasm_memory_set_host_info wasm_memory_set_host_info_with_finalizer
        wasm_memory_as_ref wasm_ref_as_memory wasm_memory_as_ref_const wasm_ref_as_memory_const;
    "an external" wasm_extern_t
        of (What::Func(_) | What::Global(_) | What::Table(_) | What::Memory(_) | What::Tag(_)) =>
        wasm_extern_delete wasm_extern_copy wasm_extern_same
        wasm_extern_get_host_info wasm_extern_set_host_info wasm_extern_set_host_info_with_finalizer
        wasm_extern_as_ref wasm_ref_as_extern wasm_extern_as_ref_const wasm_ref_as_extern_const;
    "an instance" wasm_instance_t of What::Instance(_) =>
        wasm_instance_delete wasm_instance_copy wasm_instance_same
        wasm_instance_get_host_info wasm_instance_set_host_info
        wasm_instance_set_host_info_with_finalizer
        wasm_instance_as_ref wasm_ref_as_instance wasm_instance_as_ref_const
        wasm_ref_as_instance_const;
    "a module" wasm_module_t of What::Module(_) =>
        wasm_module_delete wasm_module_copy wasm_module_same
        wasm_module_get_host_info wasm_module_set_host_info wasm_module_set_host_info_with_finalizer
        wasm_module_as_ref wasm_ref_as_module wasm_module_as_ref_const wasm_ref_as_module_const;
    "a trap" wasm_trap_t of What::Trap(_) =>
        wasm_trap_delete wasm_trap_copy wasm_trap_same
        wasm_trap_get_host_info wasm_trap_set_host_info wasm_trap_set_host_info_with_finalizer
        wasm_trap_as_ref wasm_ref_as_trap wasm_trap_as_ref_const wasm_ref_as_trap_const;
    "a foreign object" wasm_foreign_t of What::Foreign(_) =>
        wasm_foreign_delete wasm_foreign_copy wasm_foreign_same
        wasm_foreign_get_host_info wasm_foreign_set_host_info
        wasm_foreign_set_host_info_with_finalizer
        wasm_foreign_as_ref wasm_ref_as_foreign wasm_foreign_as_ref_const wasm_ref_as_foreign_const;
}

exports! {
    /// Makes a foreign object: a host value of the heap, to which C can attach an address. It lives
    /// while a handle or a live object of the store refers to it. NULL if the heap is full.
    fn wasm_foreign_new(store: Option<&crate::store::wasm_store_t>) -> Option<Box<wasm_foreign_t>> {
        let store = &crate::store::store_of(store)?;
        let what = store.with(|mut context| {
            let value = Boxed::Foreign(Mutex::default());
            let foreign = ExternRef::new(&mut context, value)?;
            Ok(What::Foreign(foreign.to_owned_rooted(&mut context)?))
        })?;
        Ok(Some(Box::new(wasm_foreign_t(wasm_ref_t::new(store, what)))))
    }
}
