//! The store's data about its functions: how the host calls them.

use crate::types::registered::RegisteredType;
use crate::vm::func_ref::FuncRef;
use gc_jit::{CodeMemory, EntryTrampoline};
use gc_types::CallSignature;
use std::collections::{BTreeMap, HashMap};

/// How the host calls a function.
#[derive(Clone)]
pub(crate) enum Callee {
    /// By entering compiled code.
    Compiled(EntryTrampoline),
    /// By calling the host function that its vmctx names. Its type is kept here.
    Host(RegisteredType),
}

/// The store's data about its functions.
#[derive(Default)]
pub(crate) struct Callees {
    /// All host functions and all functions that were called before, by id.
    pub(crate) known: HashMap<u32, Callee>,
    /// Host functions that no compiled code in the store can call yet.
    pub(crate) waiting: BTreeMap<CallSignature, Vec<FuncRef>>,
}

impl Callees {
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
