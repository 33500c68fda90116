//! Errors: what a function of the C interface does instead of panicking, and the text of the last one.
//!
//! The standard header has no errors but traps. A function that fails returns NULL, `false` or zero,
//! and `reclaim_last_error` has the reason.

use crate::macros::exports;
use crate::reference::{What, wasm_ref_t, wasm_trap_t};
use crate::store::Data;
use crate::trap::TrapObject;
use crate::vector::{Out, put, wasm_byte_vec_t};
use anyhow::{Error, Result, anyhow};
use gc_wasm::StoreContextMut;
use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What a function returns when it fails.
pub(crate) trait Failed {
    fn failed(error: Error) -> Self;
}

macro_rules! failed {
    ($($ty:ty: $value:expr;)*) => {$(
        impl Failed for $ty {
            fn failed(_: Error) -> $ty {
                $value
            }
        }
    )*};
}

failed! { (): (); bool: false; u8: 0; u32: 0; i32: 0; u64: 0; usize: 0; }

impl<T> Failed for Option<T> {
    fn failed(_: Error) -> Option<T> {
        None
    }
}

impl<T> Failed for *mut T {
    fn failed(_: Error) -> *mut T {
        std::ptr::null_mut()
    }
}

/// What a call returns: a trap, or NULL if it succeeds. A failed call always returns a trap.
#[repr(transparent)]
pub struct CallResult(pub(crate) Option<Box<wasm_trap_t>>);

impl CallResult {
    /// The trap of a call in a store that failed in the function `name`.
    #[cold]
    pub(crate) fn of_error(
        name: &str,
        context: &mut StoreContextMut<'_, Data>,
        error: Error,
    ) -> Result<CallResult> {
        let trap = wasm_trap_t::of_error(context, error)?;
        // Without the functions on the stack, which are in the error.
        record(name, trap.message());
        Ok(CallResult(Some(Box::new(trap))))
    }

    /// The trap, if there is one.
    pub fn into_trap(self) -> Option<Box<wasm_trap_t>> {
        self.0
    }
}

impl Failed for CallResult {
    fn failed(error: Error) -> CallResult {
        let what = What::Trap(TrapObject::of_error(error, None));
        CallResult(Some(Box::new(wasm_trap_t(wasm_ref_t::without_store(what)))))
    }
}

/// Runs the function `name`. An error is recorded. A panic is one.
#[inline]
pub(crate) fn entry<R: Failed>(name: &str, body: impl FnOnce() -> Result<R>) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => failed(name, error),
        Err(panic) => failed(name, anyhow!("internal error: {}", panic_text(&*panic))),
    }
}

#[cold]
#[inline(never)]
fn failed<R: Failed>(name: &str, error: Error) -> R {
    record(name, &format!("{error:#}"));
    R::failed(error)
}

/// Makes this the last error.
fn record(name: &str, why: &str) {
    let text = format!("{name}: {why}");
    // When the thread ends, its variables are gone before the last destructors and exit handlers run.
    let _ = LAST.try_with(|last| last.replace(Some(text)));
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// An argument that must not be NULL.
pub(crate) fn given<T>(argument: Option<T>, name: &str) -> Result<T> {
    match argument {
        Some(argument) => Ok(argument),
        None => Err(null(name)),
    }
}

#[cold]
fn null(name: &str) -> Error {
    anyhow!("NULL was passed for `{name}`")
}

exports! {
    /// Takes the text of the last error of this thread, which ends with a zero byte. Without an error
    /// since the last call it is empty, and the result is `false`.
    fn reclaim_last_error(out: Out<'_, wasm_byte_vec_t>) -> bool {
        let out = put(out, "out")?;
        let last = LAST.try_with(RefCell::take).ok().flatten();
        let found = last.is_some();
        if let Some(text) = last {
            *out = message(&text);
        }
        Ok(found)
    }
}

/// A text as C expects it: with a zero byte at its end, and none before.
pub(crate) fn message(text: &str) -> wasm_byte_vec_t {
    let bytes = text.bytes().filter(|byte| *byte != 0).chain([0]);
    bytes.collect::<Vec<u8>>().into()
}
