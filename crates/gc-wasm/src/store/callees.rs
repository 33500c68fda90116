//! The store's data about its functions: how the host calls them.
#![allow(unsafe_code)]

use crate::types::registered::RegisteredType;
use crate::vm::func_ref::FuncRef;
use gc_jit::{CodeMemory, EntryTrampoline};
use gc_types::CallSignature;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::ptr::NonNull;

/// How the host calls a function.
#[derive(Clone)]
pub(crate) enum Callee {
    /// By entering compiled code.
    Compiled(EntryTrampoline),
    /// By calling the host function that its vmctx names.
    Host,
}

/// What the host needs to know of a function in order to call it.
pub(crate) struct KnownFunc {
    pub(crate) vm: FuncRef,
    pub(crate) callee: Callee,
    pub(crate) ty: RegisteredType,
    /// How many slots a call needs for its arguments and results.
    pub(crate) slots: usize,
}

impl KnownFunc {
    pub(crate) fn new(vm: FuncRef, callee: Callee, ty: RegisteredType) -> KnownFunc {
        let func = ty.sub_type.unwrap_func();
        let slots = func.params().len().max(func.results().len());
        KnownFunc { vm, callee, ty, slots }
    }
}

/// A [`KnownFunc`] of a store. It is valid for as long as the store, which forgets no function.
#[derive(Clone, Copy)]
pub(crate) struct Known(NonNull<KnownFunc>);

// SAFETY: nobody writes to a known function.
unsafe impl Send for Known {}
// SAFETY: as above.
unsafe impl Sync for Known {}

impl Deref for Known {
    type Target = KnownFunc;

    #[inline]
    fn deref(&self) -> &KnownFunc {
        // SAFETY: it is used only while the store of the function lives, which keeps the box and
        // does not write to it.
        unsafe { self.0.as_ref() }
    }
}

/// The store's data about its functions.
#[derive(Default)]
pub(crate) struct Callees {
    /// All host functions and all functions that were called before, by id.
    known: Vec<Option<Known>>,
    /// Those of compiled functions. Those of host functions stand beside their vmctxs, which the store
    /// keeps.
    #[expect(clippy::vec_box, reason = "their addresses stay the same")]
    compiled: Vec<Box<KnownFunc>>,
    /// Host functions that no compiled code in the store can call yet.
    pub(crate) waiting: BTreeMap<CallSignature, Vec<FuncRef>>,
}

impl Callees {
    /// The function with this id, if it is known.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<Known> {
        *self.known.get(id as usize)?
    }

    /// The type of the function with this id, if it is known.
    pub(crate) fn type_of(&self, id: u32) -> Option<&RegisteredType> {
        let Some(Known(func)) = self.known.get(id as usize)? else { return None };
        // SAFETY: it is there as long as the store.
        Some(unsafe { &func.as_ref().ty })
    }

    /// Makes a compiled function known by its id.
    ///
    /// # Panics
    /// If it was known before.
    pub(crate) fn insert(&mut self, func: KnownFunc) -> Known {
        // The address is taken where the box stays: nothing moves the box after that.
        self.compiled.push(Box::new(func));
        let address = NonNull::from(&**self.compiled.last().expect("it was pushed"));
        // SAFETY: the box is there as long as this is.
        unsafe { self.add(address) }
    }

    /// Makes a function known by its id. Ids are given in order, so the table has no large gaps.
    ///
    /// # Safety
    /// It stays there as long as the store.
    ///
    /// # Panics
    /// If it was known before.
    pub(crate) unsafe fn add(&mut self, func: NonNull<KnownFunc>) -> Known {
        let known = Known(func);
        let id = known.vm.id() as usize;
        if id >= self.known.len() {
            self.known.resize(id + 1, None);
        }
        assert!(self.known[id].is_none(), "a function becomes known once");
        *self.known[id].insert(known)
    }

    /// Makes room for `count` more functions.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.known.reserve(count);
    }

    /// Gives the waiting host functions the exit trampolines of `code`.
    pub(crate) fn found_code(&mut self, code: &CodeMemory) {
        self.waiting.retain(|signature, func_refs| {
            let Some(exit) = code.exit_trampoline(signature) else { return true };
            // Compiled code that reads this does not run, or cannot have the reference yet.
            func_refs.iter().for_each(|func_ref| func_ref.set_code(exit));
            false
        });
    }
}
