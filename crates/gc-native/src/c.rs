//! The interface for C, `reclaim_native.h`.

use crate::{Program, program};
use anyhow::{Context as _, Result, bail, ensure};
use gc_engine::native::Objects;
use gc_engine::{Code, Store, Type, Val};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// A store for C.
struct ReclaimStore {
    store: Store<()>,
    /// Whether a function of the library runs that uses it. Code may call C, which must not use it again.
    is_used: AtomicBool,
}

/// The use of a store by one function.
struct Use<'a>(&'a AtomicBool);

impl<'a> Use<'a> {
    /// # Safety
    /// `store` is NULL, or one that `reclaim_open` returned and nobody has closed.
    unsafe fn begin(store: *mut ReclaimStore) -> Result<(Use<'a>, &'a mut Store<()>)> {
        ensure!(!store.is_null(), "the store is NULL");
        // SAFETY: it is there, and only its flag is used until it is known that nobody else uses it.
        let is_used = unsafe { &(*store).is_used };
        ensure!(
            !is_used.swap(true, Ordering::Acquire),
            "the store is used already: by code that has called this, or by another thread"
        );
        // SAFETY: nobody else uses it until the flag is false again.
        Ok((Use(is_used), unsafe { &mut (*store).store }))
    }
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A value of a type that the function's signature says.
#[derive(Clone, Copy)]
#[repr(C)]
union ReclaimValue {
    i32: i32,
    i64: i64,
    f32: f32,
    f64: f64,
}

/// Runs `run`, and writes an error's text to `error`, if that is not NULL. Panics are errors, too.
fn reported<R>(error: *mut *mut c_char, run: impl FnOnce() -> Result<R>) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(anyhow::anyhow!("the library panicked")));
    match result {
        Ok(value) => Some(value),
        Err(why) => {
            let text = format!("{why:#}").replace('\0', "\u{fffd}");
            if !error.is_null()
                && let Ok(text) = CString::new(text)
            {
                // SAFETY: C passes NULL or a place for a pointer.
                unsafe { *error = text.into_raw() };
            }
            None
        }
    }
}

/// Makes a store with the code of the executable. Returns NULL if that fails.
#[unsafe(no_mangle)]
extern "C" fn reclaim_open(error: *mut *mut c_char) -> *mut ReclaimStore {
    let store = reported(error, || crate::open((), |_| Ok(())));
    store.map_or(std::ptr::null_mut(), |store| {
        Box::into_raw(Box::new(ReclaimStore { store, is_used: AtomicBool::new(false) }))
    })
}

/// Frees a store. A store that is used is not freed.
#[unsafe(no_mangle)]
unsafe extern "C" fn reclaim_close(store: *mut ReclaimStore) {
    // SAFETY: C passes NULL or a store that `reclaim_open` returned, once.
    match unsafe { Use::begin(store) } {
        Ok((used, _)) => {
            std::mem::forget(used);
            // SAFETY: as above, and nobody uses it.
            let store = unsafe { Box::from_raw(store) };
            let _ = catch_unwind(AssertUnwindSafe(|| drop(store)));
        }
        Err(error) if !store.is_null() => {
            let _ = writeln!(std::io::stderr(), "reclaim_close: {error}");
        }
        Err(_) => {}
    }
}

/// Frees the text of an error.
#[unsafe(no_mangle)]
unsafe extern "C" fn reclaim_free_error(error: *mut c_char) {
    if !error.is_null() {
        // SAFETY: C passes a text that this library returned, once.
        drop(unsafe { CString::from_raw(error) });
    }
}

/// Calls a function. Returns 0, or -1 if it fails.
#[unsafe(no_mangle)]
unsafe extern "C" fn reclaim_call(
    store: *mut ReclaimStore,
    name: *const c_char,
    arguments: *const ReclaimValue,
    argument_count: usize,
    results: *mut ReclaimValue,
    result_count: usize,
    error: *mut *mut c_char,
) -> c_int {
    let call = || {
        ensure!(!name.is_null(), "the name is NULL");
        // SAFETY: C passes a store that `reclaim_open` returned, and a text.
        let ((_used, store), name) = unsafe { (Use::begin(store)?, CStr::from_ptr(name)) };
        let name = name.to_str().context("the name of a function")?;
        let signature = store.signature(name);
        let signature =
            signature.with_context(|| format!("there is no function `{name}`"))?.clone();
        let (params, types) = (signature.params(), signature.results());
        ensure!(
            params.len() == argument_count && types.len() == result_count,
            "the function `{name}` is of type {signature}, but is called with {argument_count} values and \
             {result_count} places for results"
        );
        ensure!(
            (argument_count == 0 || !arguments.is_null())
                && (result_count == 0 || !results.is_null()),
            "the arguments or the results of the function `{name}` are NULL"
        );
        let arguments: &[ReclaimValue] = match argument_count {
            0 => &[],
            // SAFETY: C passes as many values as the function has parameters.
            count => unsafe { std::slice::from_raw_parts(arguments, count) },
        };
        let values = arguments.iter().zip(params).map(|(value, ty)| {
            // SAFETY: each of these types has all bits.
            unsafe {
                Ok(match ty {
                    Type::I32 => Val::I32(value.i32),
                    Type::I64 => Val::I64(value.i64),
                    Type::F32 => Val::F32(value.f32),
                    Type::F64 => Val::F64(value.f64),
                    Type::Ref | Type::Func => {
                        bail!("the function `{name}` takes references: its type is {signature}")
                    }
                })
            }
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        ensure!(
            !types.iter().any(|ty| matches!(ty, Type::Ref | Type::Func)),
            "the function `{name}` returns references: its type is {signature}"
        );
        for (n, value) in store.call(name, &values)?.into_iter().enumerate() {
            let value = match value {
                Val::I32(i32) => ReclaimValue { i32 },
                Val::I64(i64) => ReclaimValue { i64 },
                Val::F32(f32) => ReclaimValue { f32 },
                Val::F64(f64) => ReclaimValue { f64 },
                Val::Ref(_) => bail!("a reference was returned"),
            };
            // SAFETY: C passes as many places as it says.
            unsafe { results.add(n).write(value) };
        }
        Ok(())
    };
    if reported(error, call).is_some() { 0 } else { -1 }
}

/// The code of a library, or why it could not be loaded.
type Loaded = Result<Vec<Code>, String>;

/// Loads the code of a library into a store. Returns 0, or -1 if that fails.
#[unsafe(no_mangle)]
unsafe extern "C" fn reclaim_register(
    store: *mut ReclaimStore,
    start: *const c_void,
    error: *mut *mut c_char,
) -> c_int {
    /// The code of each library, by the address of its symbol, or why it could not be loaded.
    static LIBRARIES: Mutex<Option<HashMap<usize, Loaded>>> = Mutex::new(None);
    let register = || {
        ensure!(!start.is_null(), "the symbol is NULL");
        ensure!(
            start.addr() != crate::own_start().addr(),
            "the symbol is that of the executable, whose code is in every store"
        );
        // SAFETY: C passes a store that `reclaim_open` returned.
        let (_used, store) = unsafe { Use::begin(store)? };
        let Program { engine, .. } = program()?;
        let mut libraries = LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner);
        let libraries = libraries.get_or_insert_default();
        let codes = match libraries.entry(start.addr()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                // SAFETY: C passes the address of the symbol `reclaim_start` of a library that stays loaded. There is an
                // entry from the first time on.
                let loaded = unsafe { Objects::at(start.cast()).and_then(|it| it.load(engine)) };
                new.insert(loaded.map_err(|why| format!("{why:#}")))
            }
        };
        let codes = codes.as_ref().map_err(|why| anyhow::Error::msg(why.clone()))?;
        store.load_all(codes).context("loading the objects of the library")
    };
    if reported(error, register).is_some() { 0 } else { -1 }
}
