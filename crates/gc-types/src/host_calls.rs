//! The declaration of host calls. A declaration has the call's name, its typed signature, and
//! whether the call may collect. Everything that both halves need is made from it.
//!
//! [`declare_host_calls!`](crate::declare_host_calls) makes the part that the compiler needs: the
//! number of each call and its [`HostSignature`](crate::HostSignature), which determines the
//! trampoline. `gc-jit`'s `host_calls!` makes the part for running: a trait with a typed method for
//! each call, and the functions that decode the words of compiled code. The heap's own calls are in
//! [`gc_host_calls!`](crate::gc_host_calls).

use crate::{HostCall, HostCallType, VMGcRef};

/// Types of parameters of host calls. A value is passed as one 64-bit word.
pub trait HostCallParam {
    /// Its type in the signature.
    const TYPE: HostCallType;

    /// The value in a word. The words that compiled code passes are as untrusted as the heap.
    fn from_word(word: u64) -> Self;
}

/// Types of results of host calls: nothing, a value, or a `Result` of either.
pub trait HostCallResult {
    /// The type in the signature. `None` for nothing.
    const TYPE: Option<HostCallType>;
    /// Whether the call may fail.
    const FALLIBLE: bool;
    /// The error of a call that fails.
    type Error;

    /// The word that compiled code gets.
    ///
    /// # Errors
    /// If the call failed.
    fn into_word(self) -> Result<u64, Self::Error>;
}

/// A reference that compiled code passes, or `None` for null. Compiled code still owns it. To keep
/// it, clone it with the barrier.
pub type Ref = Option<VMGcRef>;

/// The word of a reference that is passed to compiled code: the result of `expose_gc_ref_to_wasm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExposedRef(pub u32);

/// The result of a host call that throws: it never returns to its caller. The host has chosen where
/// execution continues, or has recorded an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thrown;

impl HostCallResult for Thrown {
    const TYPE: Option<HostCallType> = None;
    const FALLIBLE: bool = true;
    type Error = std::convert::Infallible;

    fn into_word(self) -> Result<u64, Self::Error> {
        Ok(HostCall::FAILED)
    }
}

macro_rules! integers {
    ($($rust:ident $ty:ident)*) => {$(
        impl HostCallParam for $rust {
            const TYPE: HostCallType = HostCallType::$ty;

            fn from_word(word: u64) -> $rust {
                word as $rust
            }
        }

        impl HostCallResult for $rust {
            const TYPE: Option<HostCallType> = Some(HostCallType::$ty);
            const FALLIBLE: bool = false;
            type Error = std::convert::Infallible;

            fn into_word(self) -> Result<u64, Self::Error> {
                Ok(u64::from(self))
            }
        }
    )*};
}

integers! { u32 I32 u64 I64 }

impl HostCallParam for Ref {
    const TYPE: HostCallType = HostCallType::Ref;

    fn from_word(word: u64) -> Ref {
        VMGcRef::from_raw_u32(word as u32)
    }
}

impl<T> HostCallParam for *mut T {
    const TYPE: HostCallType = HostCallType::Pointer;

    fn from_word(word: u64) -> *mut T {
        std::ptr::with_exposed_provenance_mut(word as usize)
    }
}

impl HostCallResult for ExposedRef {
    const TYPE: Option<HostCallType> = Some(HostCallType::Ref);
    const FALLIBLE: bool = false;
    type Error = std::convert::Infallible;

    fn into_word(self) -> Result<u64, Self::Error> {
        Ok(u64::from(self.0))
    }
}

impl HostCallResult for () {
    const TYPE: Option<HostCallType> = None;
    const FALLIBLE: bool = false;
    type Error = std::convert::Infallible;

    fn into_word(self) -> Result<u64, Self::Error> {
        Ok(0)
    }
}

impl<T: HostCallResult<Error = std::convert::Infallible>, E> HostCallResult for Result<T, E> {
    const TYPE: Option<HostCallType> = T::TYPE;
    const FALLIBLE: bool = true;
    type Error = E;

    fn into_word(self) -> Result<u64, E> {
        let Ok(word) = self?.into_word();
        Ok(word)
    }
}

/// Declares host calls: a constant for the number of each, and a table of all of them with
/// their signatures.
///
/// A call is written like a Rust function. The types of parameters are [`u32`], [`u64`], [`Ref`]
/// and native pointers. The types of results are nothing, [`u32`], [`u64`] and [`ExposedRef`]. A
/// call that may fail returns a `Result` of at most 32 bits. A call that throws returns [`Thrown`]. A call that may collect has
/// `[collects]` before it. The calls are numbered in order, beginning with the number after `from`.
///
/// # Examples
///
/// ```
/// use gc_types::{HostCall, HostCallType, HostSignature};
///
/// gc_types::declare_host_calls! {
///     /// The host calls of a small language.
///     pub const CALLS from HostCall::FIRST_EMBEDDER, named "toy_";
///
///     /// Prints a value.
///     PRINT: fn print(value: Ref);
///     /// Makes a string of `bytes` bytes.
///     NEW_STRING: [collects] fn new_string(bytes: u32) -> Result<ExposedRef>;
/// }
///
/// let (call, signature) = CALLS[1];
/// assert_eq!(call, NEW_STRING);
/// assert_eq!(call, HostCall::embedder(1));
/// assert_eq!(signature.name, "toy_new_string");
/// assert_eq!(signature.params, [HostCallType::I32]);
/// assert_eq!(signature.result, Some(HostCallType::Ref));
/// assert!(signature.fallible && signature.may_collect);
/// ```
///
/// [`Ref`]: crate::host_calls::Ref
/// [`ExposedRef`]: crate::host_calls::ExposedRef
/// [`Thrown`]: crate::host_calls::Thrown
#[macro_export]
macro_rules! declare_host_calls {
    (
        $(#[$table_doc:meta])*
        $vis:vis const $TABLE:ident from $first:expr, named $prefix:literal;
        $($calls:tt)*
    ) => {
        $crate::declare_host_calls! { @numbers $TABLE; $($calls)* }
        $crate::declare_host_calls! { @constants $TABLE, $vis, $first; $($calls)* }
        $crate::declare_host_calls! {
            @table [$(#[$table_doc])* $vis const $TABLE from $first, named $prefix]; $($calls)*
        }
    };
    (
        @numbers $Numbers:ident;
        $($(#[$doc:meta])* $NAME:ident: $([$effect:ident])? fn $method:ident($($params:tt)*) $(-> $result:ty)?;)*
    ) => {
        /// The calls, counted from zero.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum $Numbers { $($NAME),* }
    };
    (
        @constants $Numbers:ident, $vis:vis, $first:expr;
        $($(#[$doc:meta])* $NAME:ident: $([$effect:ident])? fn $method:ident($($params:tt)*) $(-> $result:ty)?;)*
    ) => {
        $(
            $(#[$doc])*
            $vis const $NAME: $crate::HostCall =
                $crate::HostCall::from_index($first + $Numbers::$NAME as u32);
        )*
    };
    (
        @table [$(#[$table_doc:meta])* $vis:vis const $TABLE:ident from $first:expr, named $prefix:literal];
        $(
            $(#[$doc:meta])*
            $NAME:ident: $([$effect:ident])? fn $method:ident(
                $($param:ident: $ty:ty),* $(,)?
            ) $(-> $result:ty)?;
        )*
    ) => {
        $(#[$table_doc])*
        $vis const $TABLE: &[($crate::HostCall, $crate::HostSignature)] = {
            #[allow(unused_imports)]
            use $crate::host_calls::{ExposedRef, Ref, Thrown};
            /// The `Result` of calls that may fail.
            #[allow(dead_code)]
            type Result<T> = ::core::result::Result<T, ()>;
            &[$((
                $crate::HostCall::from_index($first + $TABLE::$NAME as u32),
                $crate::declare_host_calls! {
                    @signature $prefix; $([$effect])? fn $method($($ty),*) $(-> $result)?
                },
            )),*]
        };
    };
    (
        @signature $prefix:literal;
        $([$effect:ident])? fn $method:ident($($ty:ty),*) $(-> $result:ty)?
    ) => {
        $crate::HostSignature {
            name: concat!($prefix, stringify!($method)),
            params: &[$(<$ty as $crate::host_calls::HostCallParam>::TYPE),*],
            result: <$crate::declare_host_calls!(@result $($result)?)
                as $crate::host_calls::HostCallResult>::TYPE,
            fallible: <$crate::declare_host_calls!(@result $($result)?)
                as $crate::host_calls::HostCallResult>::FALLIBLE,
            may_collect: $crate::declare_host_calls!(@effect $($effect)?),
        }
        .checked()
    };
    (@result) => { () };
    (@result $result:ty) => { $result };
    (@effect) => { false };
    (@effect collects) => { true };
}

/// Passes the heap's own host calls to another macro, after the given tokens: `gc_host_calls! {
/// [macro::path] tokens }` is `macro::path! { tokens calls }`.
#[macro_export]
macro_rules! gc_host_calls {
    ([$($then:tt)+] $($first:tt)*) => {
        $($then)+! {
            $($first)*

            /// Allocates a struct or exception whose fields are zero. The layout is the one that is
            /// registered for the type in the header word.
            ALLOC_STRUCT: [collects] fn alloc_struct(header_word: u32) -> Result<ExposedRef>;
            /// Allocates an array of `length` elements, all zero.
            ALLOC_ARRAY: [collects] fn alloc_array(
                header_word: u32,
                length: u32,
            ) -> Result<ExposedRef>;
            /// A collector's own slow path. The collector's constants define the operations. The
            /// call never collects.
            COLLECTOR: fn collector(operation: u32, reference: Ref, operand: u64) -> u64;
            /// Whether the first type is the second or a subtype of it. It is for types that are
            /// deeper than a display row.
            IS_SUBTYPE: fn is_subtype(actual: u32, expected: u32) -> u32;
            /// Copies elements, with barriers. The ranges may overlap.
            ARRAY_COPY: fn array_copy(
                dst: Ref,
                dst_index: u32,
                src: Ref,
                src_index: u32,
                length: u32,
            ) -> Result<()>;
            /// Stores one value, given by its bits, into each of `length` elements, with
            /// barriers.
            ARRAY_FILL: fn array_fill(
                array: Ref,
                index: u32,
                bits: u64,
                length: u32,
            ) -> Result<()>;
            /// Throws an exception. It never returns: execution resumes at the innermost handler
            /// that catches the exception, or else the call into compiled code ends.
            THROW: fn throw(exception: Ref) -> Thrown;
            /// Like [`ARRAY_FILL`](HostCall::ARRAY_FILL), for a value of up to 128 bits, given by its
            /// two halves. If `is_new` is not zero, it is the first value of the elements of a new
            /// array.
            ARRAY_FILL_WIDE: fn array_fill_wide(
                array: Ref,
                index: u32,
                low: u64,
                high: u64,
                length: u32,
                is_new: u32,
            ) -> Result<()>;
        }
    };
}
