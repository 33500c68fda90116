//! What a program of C does with pointers: results that functions write, and addresses that they are
//! given.
#![allow(unsafe_code)]

use super::host::Shared;
use gc_testkit::Token;
use reclaim::{reclaim_last_error, wasm_byte_vec_t, wasm_memory_data, wasm_memory_t};
use std::ffi::c_void;
use std::mem::MaybeUninit;

/// What a function writes to its parameter `out`, which is always something.
pub(super) fn written<T, R>(function: impl FnOnce(Option<&mut MaybeUninit<T>>) -> R) -> (R, T) {
    let mut out = MaybeUninit::uninit();
    let result = function(Some(&mut out));
    // SAFETY: every function writes something, also if it fails.
    (result, unsafe { out.assume_init() })
}

/// Takes the text of the last error.
pub(super) fn last_error() -> Option<String> {
    let (found, text) = written(|out| reclaim_last_error(out));
    found.then(|| message(&text))
}

/// A text that ends with a zero byte.
pub(super) fn message(text: &wasm_byte_vec_t) -> String {
    String::from_utf8_lossy(text.as_slice()).trim_end_matches('\0').to_owned()
}

/// The address of a token, whose finalizer is [`drop_token`].
pub(super) fn address_of(token: Token) -> *mut c_void {
    Box::into_raw(Box::new(token)).cast()
}

/// The finalizer of a token.
pub(super) extern "C" fn drop_token(address: *mut c_void) {
    // SAFETY: `address_of` has made it, and each finalizer is called once.
    drop(unsafe { Box::from_raw(address.cast::<Token>()) });
}

/// What the function has that modules import.
pub(super) struct Env {
    pub(super) shared: Shared,
    pub(super) slot: usize,
    /// Counts that it is dropped with the store.
    pub(super) _token: Token,
}

impl Env {
    /// The address to pass to C, whose finalizer is [`drop_env`].
    pub(super) fn into_address(self) -> *mut c_void {
        Box::into_raw(Box::new(self)).cast()
    }

    /// What has the function that is running.
    pub(super) fn of_running<'a>(address: *mut c_void) -> &'a Env {
        // SAFETY: `into_address` has made it, and it lives as long as the function.
        unsafe { &*address.cast() }
    }
}

/// The finalizer of an [`Env`].
pub(super) extern "C" fn drop_env(address: *mut c_void) {
    // SAFETY: `into_address` has made it, and the finalizer is called once.
    drop(unsafe { Box::from_raw(address.cast::<Env>()) });
}

/// Writes a byte of a memory, and reads it again. The memory must have it.
pub(super) fn write_and_read(memory: Option<&wasm_memory_t>, at: usize, byte: u8) -> u8 {
    let data = wasm_memory_data(memory).cast::<u8>();
    // SAFETY: the caller has looked at the memory's size.
    unsafe {
        data.add(at).write(byte);
        data.add(at).read()
    }
}
