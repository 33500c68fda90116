//! What C knows of a store: its handles, what they must refer to, and what is attached.

use super::c::{address_of, drop_token, last_error, written};
use anyhow::{Context as _, Result, ensure};
use gc_testkit::Ledger;
use gc_wasm::Reclaims;
use reclaim::{
    RefKind, ValKind, reclaim_array_length, reclaim_gctype_t, reclaim_i31_get, reclaim_ref_kind,
    reclaim_struct_get, wasm_extern_t, wasm_global_t, wasm_module_t, wasm_ref_copy,
    wasm_ref_get_host_info, wasm_ref_same, wasm_ref_set_host_info_with_finalizer, wasm_ref_t,
    wasm_store_t, wasm_table_t, wasm_val_t,
};
use std::collections::HashMap;
use std::ffi::c_void;

/// What a handle refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Value {
    Null,
    I31(u32),
    /// A foreign object by its number.
    Foreign(usize),
    /// A struct or an array by its number.
    Object(usize),
    /// A function or something else that is not in the heap, by its number.
    Thing(usize),
}

/// A struct or an array.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) is_array: bool,
    pub(super) refs: Vec<Value>,
}

/// What is attached: a token at this address, whose finalizer drops it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    pub(super) address: *mut c_void,
    token: u32,
}

/// A handle. Null has none.
pub(super) struct Handle {
    pub(super) handle: Option<Box<wasm_ref_t>>,
    pub(super) value: Value,
}

pub(super) struct KnownGlobal {
    pub(super) global: Box<wasm_global_t>,
    pub(super) value: Value,
    pub(super) kind: ValKind,
}

pub(super) struct KnownTable {
    pub(super) table: Box<wasm_table_t>,
    pub(super) elements: Vec<Value>,
}

/// The module of a store, and what its first instance exports.
pub(super) struct Program {
    pub(super) module: Box<wasm_module_t>,
    pub(super) imports: Vec<Option<Box<wasm_extern_t>>>,
    pub(super) exports: Vec<Option<Box<wasm_extern_t>>>,
}

/// A call that has not returned.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub(super) arguments: [Value; 2],
    pub(super) how: u8,
}

/// The model of a store.
pub(super) struct World {
    pub(super) ledger: Ledger,
    pub(super) reclaims: Reclaims,
    /// The number of its engine.
    pub(super) engine: usize,
    /// `None` when the handle was deleted.
    pub(super) store: Option<Box<wasm_store_t>>,
    pub(super) struct_type: Box<reclaim_gctype_t>,
    pub(super) array_type: Box<reclaim_gctype_t>,
    pub(super) objects: Vec<Object>,
    pub(super) foreigns: usize,
    /// A handle to each thing that is not in the heap.
    pub(super) things: Vec<wasm_ref_t>,
    pub(super) handles: Vec<Handle>,
    pub(super) attached: HashMap<Value, Attached>,
    pub(super) globals: Vec<KnownGlobal>,
    pub(super) tables: Vec<KnownTable>,
    pub(super) program: Option<Program>,
    /// What the first instance keeps in a global.
    pub(super) kept: Value,
    pub(super) running: Vec<Running>,
    /// What the function of C returned to the module.
    pub(super) returned: Option<Value>,
    /// The trap that the function of C returned.
    pub(super) trap: Option<Value>,
    /// Whether there may be objects in the heap that the model does not know.
    pub(super) inexact: bool,
    /// All tokens of the store.
    pub(super) tokens: Vec<u32>,
}

impl World {
    /// The handle of the store.
    pub(super) fn store(&self) -> Option<&wasm_store_t> {
        self.store.as_deref()
    }

    /// The address of a new token, and the finalizer that drops it.
    pub(super) fn token(&mut self) -> (Attached, extern "C" fn(*mut c_void)) {
        let token = self.ledger.issue();
        let number = token.number();
        self.tokens.push(number);
        (Attached { address: address_of(token), token: number }, drop_token)
    }

    /// Attaches a new token to what a handle refers to.
    pub(super) fn attach(&mut self, from: u8) -> Result<()> {
        let value = self.handle(from).value;
        let (attached, finalizer) = self.token();
        let handle = self.handle(from).handle.as_deref();
        wasm_ref_set_host_info_with_finalizer(handle, attached.address, Some(finalizer));
        let possible = !matches!(value, Value::Null | Value::I31(_));
        let error = last_error();
        ensure!(error.is_none() == possible, "attaching to {value:?}: {error:?}");
        if !possible {
            let times = self.ledger.times_dropped(attached.token);
            ensure!(times == 1, "what could not be attached was dropped {times} times");
        } else if let Some(old) = self.attached.insert(value, attached) {
            let times = self.ledger.times_dropped(old.token);
            let later = matches!(value, Value::Object(_));
            ensure!(times == 1 || later && times == 0, "what was replaced is still attached");
        }
        Ok(())
    }

    pub(super) fn push(&mut self, handle: Option<Box<wasm_ref_t>>, value: Value) {
        self.handles.push(Handle { handle, value });
    }

    /// A handle: the last for zero.
    pub(super) fn handle(&self, byte: u8) -> &Handle {
        static NULL: Handle = Handle { handle: None, value: Value::Null };
        match self.handles.len() {
            0 => &NULL,
            _ if byte >= 0xf8 => &NULL,
            count => &self.handles[count - 1 - usize::from(byte) % count],
        }
    }

    /// A handle as a value that owns a copy.
    pub(super) fn value(&mut self, kind: ValKind, from: u8) -> (wasm_val_t, Value) {
        let Handle { handle, value } = self.handle(from);
        let value = *value;
        let copy = wasm_val_t::of_ref(kind, wasm_ref_copy(handle.as_deref()));
        self.inexact |= matches!(value, Value::Thing(_));
        (copy, value)
    }

    pub(super) fn object(&mut self, is_array: bool, refs: Vec<Value>) -> Value {
        self.objects.push(Object { is_array, refs });
        Value::Object(self.objects.len() - 1)
    }

    /// Checks a reference that was read, and keeps a handle.
    pub(super) fn read(&mut self, value: &wasm_val_t, expected: Value) -> Result<()> {
        let handle = value.reference()?;
        self.check(handle, expected)?;
        self.push(wasm_ref_copy(handle), expected);
        Ok(())
    }

    fn roots(&self) -> Vec<Value> {
        let handles = self.handles.iter().map(|handle| handle.value);
        let globals = self.globals.iter().map(|global| global.value);
        let elements = self.tables.iter().flat_map(|table| table.elements.iter().copied());
        handles.chain(globals).chain(elements).chain([self.kept]).collect()
    }

    /// The values that these and what they refer to are.
    fn reachable(&self) -> HashMap<Value, ()> {
        let mut waiting = self.roots();
        let mut reachable = HashMap::new();
        while let Some(value) = waiting.pop() {
            if reachable.insert(value, ()).is_none()
                && let Value::Object(n) = value
            {
                waiting.extend_from_slice(&self.objects[n].refs);
            }
        }
        reachable
    }

    /// Checks what is attached after a collection of the whole heap. `objects` is the number of those
    /// in the heap.
    pub(super) fn check_alive(&mut self, objects: u64) -> Result<()> {
        self.ledger.check_none_twice()?;
        let reachable = self.reachable();
        let exact = self.running.is_empty() && self.reclaims == Reclaims::Everything;
        let mut expected = 0;
        for value in reachable.keys() {
            expected += u64::from(matches!(value, Value::Object(_) | Value::Foreign(_)));
        }
        for (value, attached) in &self.attached {
            let dropped = self.ledger.times_dropped(attached.token) != 0;
            let lasting = matches!(value, Value::Thing(_)) || reachable.contains_key(value);
            ensure!(!dropped || !lasting, "{value:?} was finalized");
            ensure!(dropped || lasting || !exact || self.inexact, "{value:?} was not finalized");
            // Attached to an object is a box of the heap.
            expected += u64::from(lasting && matches!(value, Value::Object(_)));
        }
        let exact = exact && !self.inexact;
        ensure!(!exact || objects == expected, "{objects} objects live instead of {expected}");
        Ok(())
    }

    /// Checks that a handle refers to `expected`, and to nothing else that has a handle.
    pub(super) fn check(&self, actual: Option<&wasm_ref_t>, expected: Value) -> Result<()> {
        let kind = reclaim_ref_kind(actual);
        let is = |kinds: &[RefKind]| kinds.iter().any(|other| *other as u8 == kind);
        let right = match expected {
            Value::Null => is(&[RefKind::Null]),
            Value::I31(_) => is(&[RefKind::I31]),
            Value::Foreign(_) => is(&[RefKind::Foreign]),
            Value::Object(n) if self.objects[n].is_array => is(&[RefKind::Array]),
            Value::Object(_) => is(&[RefKind::Struct]),
            Value::Thing(_) => is(&[RefKind::Func, RefKind::Other]),
        };
        ensure!(right, "a reference of kind {kind} instead of {expected:?}");
        match expected {
            Value::I31(n) => {
                let (read, value) = written(|out| reclaim_i31_get(actual, out));
                ensure!(read && value as u32 == n, "the i31 {value} instead of {n}");
            }
            Value::Object(n) if self.objects[n].is_array => {
                let (read, length) = written(|out| reclaim_array_length(actual, out));
                let right = read && length as usize == self.objects[n].refs.len();
                ensure!(right, "an array of {length} instead of {:?}", self.objects[n]);
            }
            Value::Object(n) => {
                let (read, number) = written(|out| reclaim_struct_get(actual, 0, out));
                let number = number.i32().context("no number")?;
                ensure!(read && number as usize == n, "object {number} instead of {n}");
            }
            Value::Thing(n) => {
                let same = wasm_ref_same(actual, Some(&self.things[n]));
                ensure!(same, "something else instead of {expected:?}");
            }
            Value::Null | Value::Foreign(_) => {}
        }
        if actual.is_some() {
            let found = wasm_ref_get_host_info(actual);
            let attached = self
                .attached
                .get(&expected)
                .map_or(std::ptr::null_mut(), |attached| attached.address);
            ensure!(found == attached, "attached to {expected:?} is something else");
        }
        for Handle { handle, value } in &self.handles {
            let same = wasm_ref_same(handle.as_deref(), actual);
            ensure!(same == (*value == expected), "{value:?} is the same as {expected:?}: {same}");
        }
        no_error()
    }
}

/// Checks that no error was recorded.
pub(super) fn no_error() -> Result<()> {
    let error = last_error();
    ensure!(error.is_none(), "an unexpected error: {}", error.unwrap_or_default());
    Ok(())
}
