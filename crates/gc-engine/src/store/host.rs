//! Host functions: closures that compiled code calls.
//!
//! Compiled code calls a host function as it calls a compiled function, by the code and the vmctx in
//! its reference. The code is an exit trampoline, which stores the arguments in slots, and the vmctx
//! is a [`HostContext`] with the closure.
#![allow(unsafe_code)]

use super::scope::in_scope;
use super::{Caller, StoreInner};
use crate::{Code, Params, Signature, Type, Value};
use anyhow::{Context as _, Result, bail};
use gc_jit::{VMHostFuncContext, host_call_guard};
use gc_types::ValRaw;
use std::any::Any;
use std::marker::PhantomData;
use std::ptr::NonNull;

mod sealed {
    pub trait Sealed<T, P, R> {}
    pub trait Returned {}
}

/// A closure that can be a function of the host ([`Store::func_wrap`](crate::Store::func_wrap)) in a
/// store with data of type `T`: `Fn(Caller<'_, T>, P…) -> R`, with up to seven parameters that are
/// [`Value`]s and [`HostResults`].
pub trait HostFunction<T: 'static, P, R>: sealed::Sealed<T, P, R> + Send + Sync + 'static {
    #[doc(hidden)]
    fn params(&self) -> Vec<Type>;

    #[doc(hidden)]
    fn results(&self) -> Vec<Type>;

    #[doc(hidden)]
    fn run(&self, name: &str, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()>;

    #[doc(hidden)]
    fn body(self) -> Box<dyn HostBody>
    where
        Self: Sized;
}

/// What a host function returns: a [`Value`], a tuple of them, or a `Result` with one of these.
pub trait HostResults: sealed::Returned {
    #[doc(hidden)]
    fn types() -> Vec<Type>;

    #[doc(hidden)]
    fn into_slots(self, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()>;
}

impl<R: Params> sealed::Returned for R {}
impl<R: Params> HostResults for R {
    fn types() -> Vec<Type> {
        <R as Params>::types()
    }

    fn into_slots(self, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()> {
        self.to_slots(store, slots)
    }
}

impl<R: Params> sealed::Returned for Result<R> {}
impl<R: Params> HostResults for Result<R> {
    fn types() -> Vec<Type> {
        <R as Params>::types()
    }

    fn into_slots(self, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()> {
        self?.to_slots(store, slots)
    }
}

macro_rules! closures {
    ($($name:ident)*) => {
        impl<T, R, Func, $($name),*> sealed::Sealed<T, ($($name,)*), R> for Func
        where
            T: 'static,
            Func: Fn(Caller<'_, T>, $($name),*) -> R,
        {}

        impl<T, R, Func, $($name),*> HostFunction<T, ($($name,)*), R> for Func
        where
            T: 'static,
            R: HostResults + 'static,
            $($name: Value + 'static,)*
            Func: Fn(Caller<'_, T>, $($name),*) -> R + Send + Sync + 'static,
        {
            fn params(&self) -> Vec<Type> {
                vec![$($name::TYPE),*]
            }

            fn results(&self) -> Vec<Type> {
                R::types()
            }

            #[allow(non_snake_case, unused_mut, unused_variables)]
            fn run(&self, name: &str, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()> {
                let mut numbers = 0..;
                $(
                    let number = numbers.next().unwrap_or_default();
                    let $name = $name::from_raw(store, slots[number])
                        .with_context(|| format!("argument {number} of the host's function `{name}`"))?;
                )*
                let results = self(Caller::new(store), $($name),*);
                results.into_slots(store, slots)
            }

            fn body(self) -> Box<dyn HostBody> {
                Box::new(Wrapped { function: self, types: PhantomData::<fn(T, ($($name,)*), R)> })
            }
        }
    };
}

closures!();
closures!(A);
closures!(A B);
closures!(A B C);
closures!(A B C D);
closures!(A B C D E);
closures!(A B C D E F);
closures!(A B C D E F G);

/// The body of a host function. It reads its arguments from the slots and writes its results there.
#[doc(hidden)]
pub trait HostBody: Any + Send + Sync {
    fn run(&self, name: &str, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()>;
}

/// A closure with typed parameters and results.
struct Wrapped<F, Types> {
    function: F,
    types: PhantomData<Types>,
}

impl<T, P, R, F> HostBody for Wrapped<F, fn(T, P, R)>
where
    T: 'static,
    P: 'static,
    R: 'static,
    F: HostFunction<T, P, R>,
{
    fn run(&self, name: &str, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()> {
        self.function.run(name, store, slots)
    }
}

/// A function that is declared and not defined.
struct Missing;

impl HostBody for Missing {
    fn run(&self, name: &str, _: &mut StoreInner, _: &mut [ValRaw]) -> Result<()> {
        bail!("the function `{name}` is declared, but not defined")
    }
}

/// A function that is compiled when it is first called.
struct Lazy<F, T> {
    signature: Signature,
    compile: F,
    data: PhantomData<fn(T)>,
}

impl<F, T> HostBody for Lazy<F, T>
where
    T: 'static,
    F: Fn(Caller<'_, T>) -> Result<Code> + Send + Sync + 'static,
{
    fn run(&self, name: &str, store: &mut StoreInner, slots: &mut [ValRaw]) -> Result<()> {
        // The compilation may run code and collect.
        let params = self.signature.params();
        let refs = slots.iter().zip(params).map(|(slot, ty)| match ty {
            Type::Ref => Option::from_raw(store, *slot),
            _ => Ok(None),
        });
        let refs: Vec<Option<crate::Rooted>> = refs.collect::<Result<_>>()?;
        let compiled = (self.compile)(Caller::new(store)).and_then(|code| {
            let defines = code.functions().any(|(known, _)| known == name);
            anyhow::ensure!(defines, "the code has no function `{name}`");
            store.load(&code, true)
        });
        compiled.with_context(|| format!("compiling the function `{name}`"))?;
        for ((slot, ty), reference) in slots.iter_mut().zip(params).zip(refs) {
            if *ty == Type::Ref {
                *slot = reference.into_raw(store)?;
            }
        }
        // SAFETY: the slots are those of this function, whose name stands for one of the same type.
        unsafe { store.call_by_name(name, slots) }
    }
}

/// A host function that belongs to no store yet.
pub(crate) struct Host(Box<dyn HostBody>);

impl Host {
    pub(super) fn new<T: 'static, P, R>(function: impl HostFunction<T, P, R>) -> Host {
        Host(function.body())
    }

    pub(super) fn missing() -> Host {
        Host(Box::new(Missing))
    }

    pub(super) fn lazy<T: 'static>(
        signature: &Signature,
        compile: impl Fn(Caller<'_, T>) -> Result<Code> + Send + Sync + 'static,
    ) -> Host {
        let signature = signature.clone();
        Host(Box::new(Lazy { signature, compile, data: PhantomData }))
    }
}

/// The vmctx of a host function: first the trampoline's data, then the data of this file.
#[repr(C)]
struct HostContext {
    vm: VMHostFuncContext,
    name: Box<str>,
    /// The number of slots that arguments and results share.
    slots: usize,
    body: Box<dyn HostBody>,
}

/// A host function of a store.
pub(super) struct PlacedHost(NonNull<HostContext>);

// SAFETY: the body is `Send`, and the other parts belong to the store, which moves with it.
unsafe impl Send for PlacedHost {}
// SAFETY: the body is `Sync`, and shared access to a store uses nothing else of it.
unsafe impl Sync for PlacedHost {}

impl PlacedHost {
    /// Puts a function with this signature into a store, of whose vmctxs `prefix` is one.
    pub(super) fn new(
        name: &str,
        host: Host,
        prefix: gc_jit::VMContextPrefix,
        signature: &Signature,
    ) -> PlacedHost {
        let slots = signature.params().len().max(signature.results().len());
        let vm = VMHostFuncContext { prefix, function: call_host };
        let context = Box::new(HostContext { vm, name: name.into(), slots, body: host.0 });
        PlacedHost(NonNull::from(Box::leak(context)))
    }

    /// The vmctx.
    pub(super) fn vmctx(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }
}

impl Drop for PlacedHost {
    fn drop(&mut self) {
        // SAFETY: it was a box. The store drops it when no code can call it and it does not run.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The function that exit trampolines call. It finds the body and the store.
pub(super) extern "C" fn call_host(context: *mut u8, slots: *mut ValRaw) -> u64 {
    let run = |store: &mut StoreInner| {
        // SAFETY: the trampoline passes the vmctx of the called function, which is a `HostContext`,
        // and as many slots as the function's type needs. The store keeps the context while the
        // function runs.
        let (name, body, slots) = unsafe {
            let context = &*context.cast::<HostContext>();
            (&*context.name, &*context.body, std::slice::from_raw_parts_mut(slots, context.slots))
        };
        store.drop_dead_handles();
        in_scope(store, |store| store, |store| body.run(name, store, slots))?;
        Ok(0)
    };
    // SAFETY: the caller is compiled code of the store to which the context belongs, or the store's
    // own call of a host function.
    unsafe { host_call_guard(context, run) }
}
