//! Functions of instances and of the host. Each kind can call both kinds.

mod asynchronous;
mod callee;
mod host;
mod into_func;
mod typed;
mod unchecked;
mod wasm_list;
mod wasm_ty;

pub(crate) use asynchronous::HostFuture;
pub use host::Caller;
pub(crate) use host::HostFunc;
pub use into_func::{IntoFunc, WasmRet};
pub use typed::TypedFunc;
pub use unchecked::UncheckedFunc;
pub use wasm_list::{WasmParams, WasmResults, WasmTyList};
pub use wasm_ty::WasmTy;

use crate::store::{CallHook, KnownFunc, StoreId, StoreOpaque};
use crate::types::FuncType;
use crate::vm::func_ref::FuncRef;
use crate::{AsContext, AsContextMut, Val};
use anyhow::{Result, bail};
use gc_types::{TypeIndex, ValRaw};

/// A function in a store. Copies are the same function.
///
/// # Examples
/// ```
/// use gc_wasm::{Engine, Func, Instance, Module, Store, Val};
///
/// let engine = Engine::default();
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (type $op (func (param i32) (result i32)))
///         (func (export "twice") (param funcref i32) (result i32)
///             (local $f (ref null $op))
///             (local.set $f (ref.cast (ref null $op) (local.get 0)))
///             (call_ref $op (call_ref $op (local.get 1) (local.get $f)) (local.get $f))))"#,
/// )?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let twice = instance.get_func(&mut store, "twice").unwrap();
/// assert_eq!(twice.ty(&store).params().len(), 2);
///
/// // A function of the host is an argument of a function of the module.
/// let triple = Func::wrap(&mut store, |n: i32| n * 3);
/// let mut results = [Val::I32(0)];
/// twice.call(&mut store, &[triple.into(), Val::I32(2)], &mut results)?;
/// assert_eq!(results[0].unwrap_i32(), 18);
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Func {
    store: StoreId,
    /// The id of its function reference in the store.
    id: u32,
}

impl Func {
    /// Creates a host function of type `ty`. It must set each of its results to a value of the
    /// result's type. When it is called, they are null function references, so that the call fails if
    /// it forgets one that is of another type.
    ///
    /// # Panics
    /// If `ty` belongs to another engine.
    pub fn new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Func {
        let mut store = store.as_context_mut();
        HostFunc::new(ty, func).instantiate(store.opaque_mut())
    }

    /// Creates a host function with the type of a closure. The closure may have a [`Caller`] as its
    /// first parameter.
    ///
    /// # Panics
    /// If the engine has too many types.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Caller, Func, Store};
    ///
    /// let mut store = Store::<u32>::default();
    /// let count = Func::wrap(&mut store, |mut caller: Caller<'_, u32>, more: u32| {
    ///     *caller.data_mut() += more;
    ///     *caller.data()
    /// });
    /// let count = count.typed::<u32, u32>(&store)?;
    /// assert_eq!(count.call(&mut store, 3)?, 3);
    /// assert_eq!(count.call(&mut store, 4)?, 7);
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Func {
        let mut store = store.as_context_mut();
        let func = func.into_func(store.engine()).into_inner();
        func.instantiate(store.opaque_mut())
    }

    /// The function's type.
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        let store = store.as_context().opaque();
        let ty = store.func_type(self.as_vm(store));
        FuncType::from_registered(store.engine(), ty.clone())
    }

    /// Whether the function is of type `ty` or of a subtype.
    ///
    /// # Panics
    /// If the function belongs to another store, or the type to another engine.
    pub fn matches_ty(&self, store: impl AsContext, ty: &FuncType) -> bool {
        self.ty(store).matches(ty)
    }

    /// Calls the function. References among the results are rooted in the current scope.
    ///
    /// # Errors
    /// If the number or a type of the arguments or results is wrong, if an argument belongs to another
    /// store or its scope has ended, if the function traps ([`Trap`](crate::Trap)), or if a host
    /// function that it calls fails. If the store allows only [asynchronous calls](Func::call_async).
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub fn call(
        &self,
        mut store: impl AsContextMut,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let mut store = store.as_context_mut();
        let store = store.opaque_mut();
        store.check_sync_call()?;
        self.call_in(store, params, results)
    }

    /// Calls the function on the running stack.
    fn call_in(&self, store: &mut StoreOpaque, params: &[Val], results: &mut [Val]) -> Result<()> {
        let func = store.know_func(self)?;
        let ty = func.ty.sub_type.unwrap_func();
        if params.len() != ty.params().len() {
            bail!("expected {} arguments, got {}", ty.params().len(), params.len());
        }
        if results.len() != ty.results().len() {
            bail!("expected {} results, got {}", ty.results().len(), results.len());
        }
        for (i, (value, ty)) in params.iter().zip(ty.params()).enumerate() {
            value.check_given(store, ty, || format!("argument type mismatch: argument {i}"))?;
        }
        // This may collect, and so may the hook when the call returns.
        store.call_hook(CallHook::CallingWasm)?;
        let result = self.call_checked(store, &func, params, results);
        store.call_hook(CallHook::ReturningFromWasm)?;
        result
    }

    /// Calls the function with arguments that were checked.
    fn call_checked(
        &self,
        store: &mut StoreOpaque,
        func: &KnownFunc,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let (mut few, mut many);
        let values = if func.slots <= 8 {
            few = [ValRaw::ZERO; 8];
            &mut few[..func.slots]
        } else {
            many = vec![ValRaw::ZERO; func.slots];
            &mut many[..]
        };
        for (slot, value) in values.iter_mut().zip(params) {
            *slot = value.expose(store)?;
        }
        // SAFETY: `func` is a function of this store. `values` holds arguments of its types and has
        // room for its results.
        unsafe { store.invoke_as(&func.callee, func.vm, values)? };
        let types = func.ty.sub_type.unwrap_func().results();
        for ((slot, raw), ty) in results.iter_mut().zip(values).zip(types) {
            *slot = Val::from_slot(store, *raw, ty);
        }
        Ok(())
    }

    /// The same function as a typed function. The type is checked once, so that calls are fast.
    ///
    /// For a parameter of a concrete reference type, `Params` may have any type of its hierarchy.
    /// Then each call checks the argument.
    ///
    /// # Errors
    /// If its type does not match `Params` and `Results`.
    ///
    /// # Panics
    /// If the function belongs to another store.
    pub fn typed<Params: WasmParams, Results: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<Params, Results>> {
        let store = store.as_context().opaque();
        let vm = self.as_vm(store);
        let registered = store.func_type(vm);
        let ty = registered.sub_type.unwrap_func();
        let checked = Params::typecheck_params(store.engine(), ty.params())?;
        Results::typecheck_results(store.engine(), ty.results())?;
        let callee = store.callee(vm)?;
        Ok(TypedFunc::new(*self, vm, callee, checked.then(|| registered.clone())))
    }

    /// The function to which a reference of this store refers.
    pub(crate) fn from_vm(store: &StoreOpaque, vm: FuncRef) -> Func {
        Func { store: store.id(), id: vm.id() }
    }

    /// The function that compiled code of this store passed as `raw`. `None` for null.
    pub(crate) fn from_raw_slot(store: &StoreOpaque, raw: ValRaw) -> Option<Func> {
        // SAFETY: function references that compiled code passes belong to its own store.
        let vm = unsafe { FuncRef::from_address(raw.get_funcref().cast()) };
        vm.map(|vm| Func::from_vm(store, vm))
    }

    /// The function with this id, if there is one.
    pub(crate) fn from_id(store: &StoreOpaque, id: u32) -> Option<Func> {
        store.gc_store().func_refs().get(id)?;
        Some(Func { store: store.id(), id })
    }

    pub(crate) fn store(&self) -> StoreId {
        self.store
    }

    /// The function's id in the store's table.
    ///
    /// # Panics
    /// If it belongs to another store.
    #[inline]
    pub(crate) fn id(&self, store: &StoreOpaque) -> u32 {
        self.check_store(store);
        self.id
    }

    /// Panics if it belongs to another store.
    #[inline]
    fn check_store(&self, store: &StoreOpaque) {
        assert!(self.store == store.id(), "a function was used with the wrong store");
    }

    /// Its function reference.
    ///
    /// # Panics
    /// If it belongs to another store.
    #[inline]
    pub(crate) fn as_vm(&self, store: &StoreOpaque) -> FuncRef {
        self.check_store(store);
        let address = store.gc_store().func_refs().get(self.id);
        let address = std::ptr::with_exposed_provenance_mut(address.unwrap_or_default());
        // SAFETY: the table has the addresses of the store's function references.
        let vm = unsafe { FuncRef::from_address(address) };
        vm.expect("functions live as long as their store")
    }

    pub(crate) fn type_index(&self, store: &StoreOpaque) -> TypeIndex {
        self.as_vm(store).ty()
    }
}
