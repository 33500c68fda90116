//! What a program of C does with pointers: results that functions write, addresses that they are given, and
//! raw values.
#![allow(unsafe_code)]

use super::{C, Shared};
use crate::api::host::Host;
use gc_testkit::Token;
use gc_wasm::ValRaw;
use reclaim::{
    CallResult, ValKind, reclaim_func_call_unchecked, reclaim_last_error, reclaim_val_from_raw,
    reclaim_vals_to_raw, wasm_byte_vec_t, wasm_func_t, wasm_memory_data, wasm_memory_data_size,
    wasm_memory_t, wasm_store_t, wasm_trap_t, wasm_val_t,
};
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

    /// The host that waits for this function.
    pub(super) fn host(&self) -> Host<C> {
        self.shared.take().expect("the host waits for its function")
    }
}

/// The finalizer of an [`Env`].
pub(super) extern "C" fn drop_env(address: *mut c_void) {
    // SAFETY: `into_address` has made it, and the finalizer is called once.
    drop(unsafe { Box::from_raw(address.cast::<Env>()) });
}

/// Writes bytes to a memory. `None` if it has not all of them.
pub(super) fn write_bytes(memory: &wasm_memory_t, at: usize, bytes: &[u8]) -> Option<()> {
    let data = place(memory, at, bytes.len())?;
    // SAFETY: the memory has these bytes, and nothing else refers to them.
    unsafe { data.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    Some(())
}

/// Reads bytes of a memory. `None` if it has not all of them.
pub(super) fn read_bytes(memory: &wasm_memory_t, at: usize, bytes: &mut [u8]) -> Option<()> {
    let data = place(memory, at, bytes.len())?;
    // SAFETY: the memory has these bytes, and nothing else refers to them.
    unsafe { data.copy_to_nonoverlapping(bytes.as_mut_ptr(), bytes.len()) };
    Some(())
}

/// The address of some bytes of a memory.
fn place(memory: &wasm_memory_t, at: usize, count: usize) -> Option<*mut u8> {
    let end = at.checked_add(count)?;
    let inside = end <= wasm_memory_data_size(Some(memory));
    let data = wasm_memory_data(Some(memory)).cast::<u8>();
    // SAFETY: the memory has a byte there, or ends there.
    inside.then(|| unsafe { data.add(at) })
}

// ---- raw values ----

/// Calls a function with raw values. The slots have at least as many as it needs.
pub(super) fn call_raw(func: &wasm_func_t, slots: &mut [ValRaw]) -> CallResult {
    reclaim_func_call_unchecked(func, slots.as_mut_ptr(), slots.len())
}

/// These values as raw ones, with room for some more.
pub(super) fn to_raw(store: Option<&wasm_store_t>, values: &[wasm_val_t]) -> Option<Vec<ValRaw>> {
    let mut slots = vec![ValRaw::ZERO; values.len() + 1];
    let done = reclaim_vals_to_raw(store, values.as_ptr(), values.len(), slots.as_mut_ptr());
    done.then_some(slots)
}

/// The reference in a slot. It is of this kind.
pub(super) fn from_raw(store: Option<&wasm_store_t>, slot: &ValRaw, kind: ValKind) -> wasm_val_t {
    written(|out| reclaim_val_from_raw(store, slot, kind as u8, out)).1
}

/// The store, and what has a function with raw values.
pub(super) struct RawEnv {
    pub(super) store: *const wasm_store_t,
    /// Counts that it is dropped with the store.
    pub(super) token: Token,
}

/// A function with raw values that collects, and returns its argument and the number of its token.
pub(super) extern "C" fn raw_identity(
    env: *mut c_void,
    slots: *mut ValRaw,
    count: usize,
) -> Option<Box<wasm_trap_t>> {
    // SAFETY: `env` is a `RawEnv` that lives as long as the function. The handle of the store is not deleted
    // while the function runs. There are as many slots as parameters or results.
    let (env, slots) =
        unsafe { (&*env.cast::<RawEnv>(), std::slice::from_raw_parts_mut(slots, count)) };
    // SAFETY: as above.
    let store = unsafe { env.store.as_ref() };
    let argument = from_raw(store, &slots[0], ValKind::ExternRef);
    reclaim::reclaim_store_gc(store);
    if let Some(raw) = to_raw(store, &[argument]) {
        slots[0] = raw[0];
    }
    slots[1] = ValRaw::i32(env.token.number() as i32);
    None
}

impl RawEnv {
    /// The address to pass to C, whose finalizer is [`drop_raw_env`].
    pub(super) fn into_address(self) -> *mut c_void {
        Box::into_raw(Box::new(self)).cast()
    }
}

/// The finalizer of a [`RawEnv`].
pub(super) extern "C" fn drop_raw_env(address: *mut c_void) {
    // SAFETY: `into_address` has made it, and the finalizer is called once.
    drop(unsafe { Box::from_raw(address.cast::<RawEnv>()) });
}
