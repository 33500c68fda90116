//! What a store knows of its functions: how the host calls them.

use crate::vm::func_ref::FuncRef;
use gc_jit::{CodeMemory, EntryTrampoline};
use gc_types::CallSignature;
use std::collections::{BTreeMap, HashMap};

/// What the host does to call a function.
#[derive(Clone)]
pub(crate) enum Callee {
    /// Enter compiled code.
    Compiled(EntryTrampoline),
    /// Call the host function that its vmctx names.
    Host,
}

/// What a store knows of its functions.
#[derive(Default)]
pub(crate) struct Callees {
    /// By the function's id: all host functions, and what was called before.
    pub(crate) known: HashMap<u32, Callee>,
    /// Host functions that no compiled code in the store can call yet.
    pub(crate) waiting: BTreeMap<CallSignature, Vec<FuncRef>>,
}

impl Callees {
    /// Gives the host functions that wait for an exit trampoline those that `code` has.
    pub(crate) fn found_code(&mut self, code: &CodeMemory) {
        self.waiting.retain(|signature, func_refs| {
            let Some(exit) = code.exit_trampoline(signature) else { return true };
            // Compiled code that reads this does not run, or cannot have the reference yet.
            func_refs.iter().for_each(|func_ref| func_ref.set_code(exit));
            false
        });
    }
}
