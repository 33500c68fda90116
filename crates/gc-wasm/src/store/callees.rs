//! The store's data about its functions: how the host calls them.

use crate::types::registered::RegisteredType;
use crate::vm::func_ref::FuncRef;
use gc_jit::{CodeMemory, EntryTrampoline};
use gc_types::CallSignature;
use std::collections::BTreeMap;
use std::sync::Arc;

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
    pub(crate) callee: Callee,
    pub(crate) ty: RegisteredType,
}

/// The store's data about its functions.
#[derive(Default)]
pub(crate) struct Callees {
    /// All host functions and all functions that were called before, by id.
    known: Vec<Option<Arc<KnownFunc>>>,
    /// Host functions that no compiled code in the store can call yet.
    pub(crate) waiting: BTreeMap<CallSignature, Vec<FuncRef>>,
}

impl Callees {
    /// The function with this id, if it is known.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> Option<&Arc<KnownFunc>> {
        self.known.get(id as usize)?.as_ref()
    }

    /// Makes a function known. Ids are given in order, so the table has no large gaps.
    pub(crate) fn insert(&mut self, id: u32, func: Arc<KnownFunc>) {
        let id = id as usize;
        if id >= self.known.len() {
            self.known.resize(id + 1, None);
        }
        self.known[id] = Some(func);
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
