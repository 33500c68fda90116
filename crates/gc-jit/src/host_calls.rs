//! The part of host calls that runs them: a trait with a typed method for each, and the functions
//! that compiled code calls. These functions decode its words and find the store.
//!
//! [`host_calls!`](crate::host_calls!) makes all of it from one declaration. The arguments of a
//! method may come from the heap, so they are as untrusted as the heap.
#![allow(unsafe_code)]

use crate::guard::run_host_call;
use crate::{JitStore, VMContextPrefix};
use gc_types::HostSignature;
use gc_types::host_calls::HostCallResult;
use std::fmt;
use std::marker::PhantomData;

/// A host call's body for stores of type `S`. [`host_calls!`](crate::host_calls!) makes one for
/// each call.
#[doc(hidden)]
pub trait HostCallBody<S> {
    /// Its signature, with the types of the method.
    const SIGNATURE: HostSignature;
    /// What it is told about the calling vmctx.
    type Caller;
    /// The type of its result.
    type Result: HostCallResult<Error: Into<anyhow::Error>>;

    /// What it is told about `vmctx`.
    fn caller(vmctx: &VMContextPrefix) -> Self::Caller;

    /// Runs it. `words` has one word for each parameter.
    fn run(store: &mut S, caller: Self::Caller, words: &[u64]) -> Self::Result;
}

/// A function that compiled code of a store of type `S` may call, with its signature.
pub struct HostCallShim<S> {
    function: *const u8,
    signature: HostSignature,
    _store: PhantomData<fn(&mut S)>,
}

impl<S> fmt::Debug for HostCallShim<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostCallShim({})", self.signature)
    }
}

impl<S> HostCallShim<S> {
    /// Its address.
    pub(crate) fn address(&self) -> usize {
        self.function.expose_provenance()
    }

    /// The signature with which it was declared.
    pub fn signature(&self) -> &HostSignature {
        &self.signature
    }
}

impl<S: JitStore> HostCallShim<S> {
    /// The function for one call.
    #[doc(hidden)]
    pub fn new<B: HostCallBody<S>>() -> HostCallShim<S> {
        let function = const {
            let params = B::SIGNATURE.params.len();
            assert!(params <= 7, "a host call has seven parameters at most");
            match params {
                0 => shim_0::<S, B> as *const u8,
                1 => shim_1::<S, B> as *const u8,
                2 => shim_2::<S, B> as *const u8,
                3 => shim_3::<S, B> as *const u8,
                4 => shim_4::<S, B> as *const u8,
                5 => shim_5::<S, B> as *const u8,
                6 => shim_6::<S, B> as *const u8,
                _ => shim_7::<S, B> as *const u8,
            }
        };
        HostCallShim { function, signature: B::SIGNATURE, _store: PhantomData }
    }
}

macro_rules! shims {
    ($($name:ident($($word:ident)*))*) => {$(
        extern "C" fn $name<S: JitStore, B: HostCallBody<S>>(
            vmctx: *mut u8,
            $($word: u64),*
        ) -> u64 {
            // SAFETY: only the tables of host calls of stores of type `S` contain it, and compiled
            // code passes its own vmctx.
            unsafe {
                let caller = B::caller(&*vmctx.cast::<VMContextPrefix>());
                run_host_call::<S, B::Result>(vmctx, |store| B::run(store, caller, &[$($word),*]))
            }
        }
    )*};
}

shims! {
    shim_0()
    shim_1(a)
    shim_2(a b)
    shim_3(a b c)
    shim_4(a b c d)
    shim_5(a b c d e)
    shim_6(a b c d e f)
    shim_7(a b c d e f g)
}

/// Declares host calls for both halves. Like [`declare_host_calls!`](gc_types::declare_host_calls)
/// it makes numbers and signatures. It also makes a trait with a method for each call, which a
/// store implements.
///
/// The parameters of a method are the store, the number of the calling vmctx, and then the declared
/// parameters. The trait's function `host_calls` returns the functions that
/// [`HostCallTable::new`](crate::HostCallTable::new) needs.
///
/// # Examples
///
/// ```
/// use anyhow::Result;
/// use gc_jit::{HostCallTable, JitState, JitStore};
/// use gc_runtime::{GcStore, HeapOptions, collector::NullCollector};
/// use gc_types::{HostCall, host_calls::Ref};
/// use std::sync::Arc;
///
/// gc_jit::host_calls! {
///     /// The host calls of the language.
///     pub trait Runtime;
///     /// The host calls with their numbers and signatures.
///     pub const CALLS from HostCall::FIRST_EMBEDDER, named "toy_";
///
///     /// Adds to the counter and returns it. Fails above a hundred.
///     COUNT: fn count(by: u32) -> Result<u32>;
///     /// Whether a value is null.
///     IS_NULL: fn is_null(value: Ref) -> u32;
/// }
///
/// struct Store {
///     jit: JitState<Store>,
///     counter: u32,
/// }
///
/// impl Runtime for Store {
///     fn count(&mut self, _caller: usize, by: u32) -> Result<u32> {
///         self.counter += by;
///         anyhow::ensure!(self.counter <= 100, "too many");
///         Ok(self.counter)
///     }
///
///     fn is_null(&mut self, _caller: usize, value: Ref) -> u32 {
///         value.is_none().into()
///     }
/// }
///
/// impl JitStore for Store {
///     fn jit(&self) -> &JitState<Store> {
///         &self.jit
///     }
///
///     fn jit_mut(&mut self) -> &mut JitState<Store> {
///         &mut self.jit
///     }
/// }
///
/// let options = HeapOptions::default();
/// let abi = options.abi(&NullCollector).with_host_calls(CALLS.iter().copied());
/// let gc = GcStore::new(&NullCollector, &options)?;
/// let host_calls = HostCallTable::new(&Arc::new(abi), &Store::host_calls())?;
/// let jit = JitState::new(gc, &host_calls, 1 << 20)?;
/// let store = Store { jit, counter: 0 };
/// assert_eq!(COUNT, HostCall::embedder(0));
/// assert_eq!(CALLS[1].1.name, "toy_is_null");
/// # anyhow::Ok(())
/// ```
///
/// A method whose parameters differ from the declaration does not compile:
///
/// ```compile_fail,E0050
/// # use gc_types::HostCall;
/// gc_jit::host_calls! {
///     /// One call.
///     pub trait Runtime;
///     /// Its signature.
///     pub const CALLS from HostCall::FIRST_EMBEDDER, named "";
///
///     /// Adds two numbers.
///     ADD: fn add(a: u32, b: u32) -> u32;
/// }
///
/// struct Store;
///
/// impl Runtime for Store {
///     fn add(&mut self, _caller: usize, a: u32) -> u32 {
///         a
///     }
/// }
/// ```
///
/// ```compile_fail,E0053
/// # use gc_types::HostCall;
/// # gc_jit::host_calls! {
/// #     /// One call.
/// #     pub trait Runtime;
/// #     /// Its signature.
/// #     pub const CALLS from HostCall::FIRST_EMBEDDER, named "";
/// #
/// #     /// Adds two numbers.
/// #     ADD: fn add(a: u32, b: u32) -> u32;
/// # }
/// #
/// # struct Store;
/// #
/// impl Runtime for Store {
///     fn add(&mut self, _caller: usize, a: u32, b: u64) -> u32 {
///         a + b as u32
///     }
/// }
/// ```
///
/// A call that may fail and returns 64 bits does not compile either, because one 64-bit value means
/// that the call failed:
///
/// ```compile_fail,E0080
/// # use anyhow::Result;
/// # use gc_types::HostCall;
/// gc_jit::host_calls! {
///     /// One call.
///     pub trait Runtime;
///     /// Its signature.
///     pub const CALLS from HostCall::FIRST_EMBEDDER, named "";
///
///     /// The current time.
///     NOW: fn now() -> Result<u64>;
/// }
/// ```
#[macro_export]
macro_rules! host_calls {
    (
        $(#[$trait_doc:meta])*
        $trait_vis:vis trait $Trait:ident;
        $(#[$table_doc:meta])*
        $vis:vis const $TABLE:ident from $first:expr, named $prefix:literal;
        $($calls:tt)*
    ) => {
        $crate::gc_types::declare_host_calls! {
            $(#[$table_doc])*
            $vis const $TABLE from $first, named $prefix;
            $($calls)*
        }
        $crate::host_calls! {
            @trait [
                $(#[$trait_doc])* $trait_vis trait $Trait,
                named $prefix, vmctx => usize: vmctx.number
            ]
            $($calls)*
        }
    };
    (
        @trait [
            $(#[$trait_doc:meta])* $vis:vis trait $Trait:ident,
            named $prefix:literal, $vmctx:ident => $Caller:ty: $from_vmctx:expr
        ]
        $(
            $(#[$doc:meta])*
            $NAME:ident: $([$effect:ident])? fn $method:ident(
                $($param:ident: $ty:ty),* $(,)?
            ) $(-> $result:ty)?;
        )*
    ) => {
        $(#[$trait_doc])*
        #[allow(clippy::too_many_arguments)]
        $vis trait $Trait: Sized {
            $(
                $(#[$doc])*
                fn $method(&mut self, caller: $Caller, $($param: $ty),*) $(-> $result)?;
            )*

            /// The functions that compiled code calls, in the order of their numbers.
            fn host_calls() -> Vec<$crate::HostCallShim<Self>>
            where
                Self: $crate::JitStore,
            {
                $(
                    #[allow(non_camel_case_types)]
                    struct $method;

                    impl<S: $Trait> $crate::HostCallBody<S> for $method {
                        const SIGNATURE: $crate::gc_types::HostSignature =
                            $crate::gc_types::declare_host_calls! {
                                @signature $prefix;
                                $([$effect])? fn $method($($ty),*) $(-> $result)?
                            };
                        type Caller = $Caller;
                        type Result = $crate::host_calls!(@result $($result)?);

                        #[inline(always)]
                        fn caller($vmctx: &$crate::VMContextPrefix) -> $Caller {
                            $from_vmctx
                        }

                        #[inline(always)]
                        fn run(store: &mut S, caller: $Caller, words: &[u64]) -> Self::Result {
                            let &[$($param),*] = words else {
                                unreachable!("there is one word for each parameter")
                            };
                            <S as $Trait>::$method(
                                store,
                                caller,
                                $($crate::gc_types::host_calls::HostCallParam::from_word($param)),*
                            )
                        }
                    }
                )*
                vec![$($crate::HostCallShim::new::<$method>()),*]
            }
        }
    };
    (@result) => { () };
    (@result $result:ty) => { $result };
}
