//! Functions of the host, which are closures that compiled code calls.

use crate::store::{CallHook, Callee, KnownFunc, StoreContext, StoreContextMut, StoreOpaque};
use crate::types::FuncType;
use crate::vm::func_ref::FuncRef;
use crate::vm::layout::HOST_FUNC;
use crate::{AsContext, AsContextMut, Engine, Extern, Func, GcHeapOutOfMemory, ModuleExport, Val};
use anyhow::Result;
use gc_jit::{HostFunction, VMFuncRef, VMHostFuncContext, host_call_guard};
use gc_runtime::{GcLeft, HandleScope};
use gc_types::ValRaw;
use std::any::Any;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

/// The store that calls a host function. The host function gets it as an argument.
///
/// # Examples
/// A function that reads a text from the memory of the module that calls it:
///
/// ```
/// use gc_wasm::{Caller, Engine, Linker, Module, Result, Store, error::Context};
///
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// let print = |mut caller: Caller<'_, String>, at: u32, len: u32| -> Result<()> {
///     let memory = caller.get_export("memory").and_then(|export| export.into_memory());
///     let bytes = memory.context("no memory is exported")?.data(&caller);
///     let (start, end) = (at as usize, at as usize + len as usize);
///     let text = std::str::from_utf8(bytes.get(start..end).context("outside the memory")?)?;
///     let text = text.to_owned();
///     caller.data_mut().push_str(&text);
///     Ok(())
/// };
/// linker.func_wrap("host", "print", print)?;
///
/// let module = Module::new(
///     &engine,
///     r#"(module
///         (import "host" "print" (func $print (param i32 i32)))
///         (memory (export "memory") 1)
///         (data (i32.const 8) "hello")
///         (func (export "run") (call $print (i32.const 8) (i32.const 5))))"#,
/// )?;
/// let mut store = Store::new(&engine, String::new());
/// let instance = linker.instantiate(&mut store, &module)?;
/// instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
/// assert_eq!(store.data(), "hello");
/// # gc_wasm::error::Ok(())
/// ```
pub struct Caller<'a, T: 'static> {
    store: StoreContextMut<'a, T>,
}

impl<T: 'static> Caller<'_, T> {
    /// The host's data.
    pub fn data(&self) -> &T {
        self.store.data()
    }

    /// The host's data, mutable.
    pub fn data_mut(&mut self) -> &mut T {
        self.store.data_mut()
    }

    /// The engine of the store.
    pub fn engine(&self) -> &Engine {
        self.store.engine()
    }

    /// An export of the instance whose code called the host function, or whose start function it is.
    /// `None` if the instance has no such export, or if the host called the function.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        let store = self.store.opaque_mut();
        let instance = store.calling_instance()?;
        Extern::exported(store, instance, name)
    }

    /// The export of that instance that
    /// [`Module::get_export_index`](crate::Module::get_export_index) has looked up. `None` if that is
    /// one of another module, or if the host called the function.
    pub fn get_module_export(&mut self, export: &ModuleExport) -> Option<Extern> {
        let store = self.store.opaque_mut();
        let instance = store.calling_instance()?;
        Extern::looked_up(store, instance, export)
    }

    /// The same caller, borrowed for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Caller<'_, T> {
        Caller { store: self.store.as_context_mut() }
    }

    /// Collects garbage now, as [`Store::gc`](crate::Store::gc) does.
    ///
    /// # Errors
    /// As [`Store::gc`](crate::Store::gc).
    pub fn gc(&mut self, why: Option<&GcHeapOutOfMemory<()>>) -> Result<()> {
        self.store.gc(why)
    }

    /// Collects garbage for at most `time`, as [`Store::gc_for`](crate::Store::gc_for) does.
    ///
    /// # Errors
    /// As [`Store::gc_for`](crate::Store::gc_for).
    pub fn gc_for(&mut self, time: Duration) -> Result<GcLeft> {
        self.store.gc_for(time)
    }

    /// The size of the GC heap in bytes, as [`Store::gc_heap_capacity`](crate::Store::gc_heap_capacity)
    /// returns it.
    pub fn gc_heap_capacity(&self) -> usize {
        self.as_context().gc_heap_capacity()
    }
}

impl<T: 'static> AsContext for Caller<'_, T> {
    type Data = T;

    fn as_context(&self) -> StoreContext<'_, T> {
        self.store.as_context()
    }
}

impl<T: 'static> AsContextMut for Caller<'_, T> {
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        self.store.as_context_mut()
    }
}

impl<T: 'static> fmt::Debug for Caller<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").finish_non_exhaustive()
    }
}

/// A host function's body. It reads its arguments from the slots and writes its results there.
pub(crate) trait HostClosure<T: 'static>:
    Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static
{
}

impl<T: 'static, F> HostClosure<T> for F where
    F: Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static
{
}

/// A host function that belongs to no store yet.
pub(crate) struct HostFunc<T> {
    ty: FuncType,
    /// A [`HostClosure`].
    closure: Arc<dyn Any + Send + Sync>,
    /// [`call_host`] for this type of closure.
    function: HostFunction,
    /// Whether it waits for a future, so that only asynchronous calls can reach it.
    waits: bool,
    _data: PhantomData<fn(T)>,
}

impl<T: 'static> HostFunc<T> {
    /// A host function that uses [`Val`]s.
    pub(crate) fn new(
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> HostFunc<T> {
        let func_ty = ty.clone();
        let closure = move |mut caller: Caller<'_, T>, slots: &mut [ValRaw]| {
            let ty = func_ty.as_wasm();
            let store = caller.store.opaque_mut();
            let count = ty.params().len();
            // The vector is used again by the next call.
            let mut values = std::mem::take(&mut store.host_values);
            values.clear();
            for (slot, ty) in slots.iter().zip(ty.params()) {
                values.push(Val::from_slot(store, *slot, ty));
            }
            // A result that the function does not set is of no numeric type, so it is an error.
            values.resize(count + ty.results().len(), Val::null_func_ref());
            let (params, results) = values.split_at_mut(count);
            store.call_hook(CallHook::CallingHost)?;
            let done = func(caller.reborrow(), params, results).and_then(|()| {
                let store = caller.store.opaque_mut();
                for (i, (value, ty)) in results.iter().zip(ty.results()).enumerate() {
                    value.check_given(store, ty, || {
                        format!("function attempted to return an incompatible value: result {i}")
                    })?;
                }
                Ok(())
            });
            let store = caller.store.opaque_mut();
            store.call_hook(CallHook::ReturningFromHost)?;
            done?;
            for (slot, value) in slots.iter_mut().zip(results) {
                *slot = value.expose(store)?;
            }
            store.host_values = values;
            Ok(())
        };
        HostFunc::from_raw(ty, closure)
    }

    /// A host function that uses raw slots. `closure` must read arguments and write results of the
    /// types in `ty`.
    pub(crate) fn from_raw<F: HostClosure<T>>(ty: FuncType, closure: F) -> HostFunc<T> {
        HostFunc {
            ty,
            closure: Arc::new(closure),
            function: call_host::<T, F>,
            waits: false,
            _data: PhantomData,
        }
    }

    /// The same, if it waits for a future.
    pub(super) fn that_waits(self) -> HostFunc<T> {
        HostFunc { waits: true, ..self }
    }

    /// Its type.
    pub(crate) fn ty(&self) -> &FuncType {
        &self.ty
    }

    /// Makes the function in `store`, whose data must be a `T`.
    ///
    /// # Panics
    /// If it belongs to another engine.
    pub(crate) fn instantiate(&self, store: &mut StoreOpaque) -> Func {
        let mut func = None;
        HostFunc::instantiate_all(store, &[self], self.closure.clone(), |made| func = Some(made));
        func.expect("one function was made")
    }

    /// Makes functions in `store`, whose data must be a `T`, in one piece of memory. `owner` keeps their
    /// closures. Passes them on in the same order.
    ///
    /// # Panics
    /// If one belongs to another engine.
    pub(crate) fn instantiate_all(
        store: &mut StoreOpaque,
        funcs: &[&HostFunc<T>],
        owner: impl Any + Send + Sync,
        mut made: impl FnMut(Func),
    ) {
        let contexts: Box<[HostContext]> = funcs.iter().map(|func| func.context(store)).collect();
        store.reserve_host_functions(contexts.len());
        let contexts = HostContexts(Box::into_raw(contexts));
        for (i, func) in funcs.iter().enumerate() {
            // SAFETY: there is one for each function. Its address is stable, and it is freed with the
            // store, which gets it below.
            let (vm, known) = unsafe {
                let context = contexts.0.cast::<HostContext>().add(i);
                (*context).func_ref.vmctx = context.cast();
                let vm = FuncRef::from_address(&raw mut (*context).func_ref);
                let vm = vm.expect("the reference is not null");
                let known = KnownFunc::new(vm, Callee::Host, func.ty.registered().clone());
                (vm, NonNull::from((*context).known.insert(known)))
            };
            store.register_func_ref(vm);
            // SAFETY: as above.
            unsafe { store.add_host_function(vm, known) };
            made(Func::from_vm(store, vm));
        }
        store.keep(Box::new((contexts, owner)));
    }

    /// What compiled code and the host need to know of the function in `store`.
    fn context(&self, store: &mut StoreOpaque) -> HostContext {
        assert!(
            Engine::same(self.ty.engine(), store.engine()),
            "the host function belongs to another engine"
        );
        if self.waits {
            store.require_async();
        }
        let ty = self.ty.as_wasm();
        HostContext {
            vm: VMHostFuncContext {
                prefix: store.jit.vmctx_prefix_without_heap(HOST_FUNC),
                function: self.function,
            },
            func_ref: VMFuncRef {
                code: std::ptr::null(),
                vmctx: std::ptr::null_mut(),
                ty: self.ty.index().as_u32(),
                id: 0,
            },
            slots: ty.params().len().max(ty.results().len()),
            closure: Arc::as_ptr(&self.closure).cast(),
            known: None,
        }
    }
}

/// The vmctx of a host function: first the trampoline's data, then the data of this file.
#[repr(C)]
struct HostContext {
    vm: VMHostFuncContext,
    func_ref: VMFuncRef,
    /// The number of slots that arguments and results share.
    slots: usize,
    /// The closure, whose type `vm.function` knows. The store keeps it.
    closure: *const (),
    /// How the host calls it. `None` only while the function is made.
    known: Option<KnownFunc>,
}

/// Contexts that were made together. A `Box` would promise that nobody else has their addresses, but
/// compiled code and the store have them.
struct HostContexts(*mut [HostContext]);

impl Drop for HostContexts {
    fn drop(&mut self) {
        // SAFETY: it was a box. The store drops it, and runs no code any more.
        drop(unsafe { Box::from_raw(self.0) });
    }
}

/// Runs `run` in a root scope, which ends also if it panics.
#[inline(always)]
pub(super) fn in_scope<R>(store: &mut StoreOpaque, run: impl FnOnce(&mut StoreOpaque) -> R) -> R {
    let begin = store.gc_store().enter_handle_scope();
    let scope = Unwinding { store, begin };
    let result = run(scope.store);
    scope.store.exit_scope(scope.begin);
    std::mem::forget(scope);
    result
}

/// Ends a root scope if there is a panic.
struct Unwinding<'a> {
    store: &'a mut StoreOpaque,
    begin: HandleScope,
}

impl Drop for Unwinding<'_> {
    // It is small, so that the compiler inlines it, and then the scope need not be in memory in each call.
    #[inline(always)]
    fn drop(&mut self) {
        #[cold]
        #[inline(never)]
        fn exit(store: &mut StoreOpaque, begin: HandleScope) {
            store.exit_scope(begin);
        }
        exit(self.store, self.begin);
    }
}

/// The function that exit trampolines call. It finds the closure and the store and runs the closure
/// in its own root scope. There is one for each type of closure, so that the closure becomes part
/// of it.
extern "C" fn call_host<T: 'static, F: HostClosure<T>>(
    context: *mut u8,
    slots: *mut ValRaw,
) -> u64 {
    let body = |store: &mut StoreOpaque| {
        // SAFETY: the trampoline passes the vmctx of the called function, which is a `HostContext`
        // with a closure of this type, and as many slots as the function's type needs.
        let (closure, slots) = unsafe {
            let context = &*context.cast::<HostContext>();
            let slots = std::slice::from_raw_parts_mut(slots, context.slots);
            (&*context.closure.cast::<F>(), slots)
        };
        // A host function is only instantiated in stores whose data is a `T`.
        in_scope(store, |store| closure(Caller { store: StoreContextMut::new(store) }, slots))?;
        Ok(0)
    };
    // SAFETY: the caller is compiled code of the store to which the context belongs.
    unsafe { host_call_guard(context, body) }
}
