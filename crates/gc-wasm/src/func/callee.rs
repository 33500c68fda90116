//! How the host calls a function: compiled code through an entry trampoline of the image
//! that it is part of, a host function directly.
//!
//! Compiled code calls a host function through an exit trampoline, which the image of the
//! code that calls brings along. So the code of a host function is found when an instance
//! comes whose image has the trampoline of its signature; until then nobody can call it
//! but the host.

use crate::store::StoreOpaque;
use crate::types::registry::RegisteredType;
use anyhow::{Context, Result};
use gc_jit::{CodeMemory, EntryTrampoline, VMFuncRef, VMHostFuncContext};
use gc_types::{CallSignature, TypeIndex, ValRaw};
use std::collections::{BTreeMap, HashMap};
use std::ptr::NonNull;
use std::sync::Arc;

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
    known: HashMap<u32, Callee>,
    /// Host functions that no compiled code in the store can call yet.
    waiting: BTreeMap<CallSignature, Vec<NonNull<VMFuncRef>>>,
}

impl Callees {
    /// Gives the host functions that wait for an exit trampoline those that `code` has.
    pub(crate) fn found_code(&mut self, code: &CodeMemory) {
        self.waiting.retain(|signature, func_refs| {
            let Some(exit) = code.exit_trampoline(signature) else { return true };
            for func_ref in func_refs {
                // SAFETY: host functions live as long as their store, and compiled code,
                // which reads this, does not run meanwhile or cannot have the reference's
                // code yet.
                unsafe { (*func_ref.as_ptr()).code = exit };
            }
            false
        });
    }
}

impl StoreOpaque {
    /// Makes the host function `func_ref` one that can be called: by the host, and by
    /// compiled code once there is some that can.
    ///
    /// # Safety
    /// It must be registered, live as long as the store, and its vmctx must begin with a
    /// [`VMHostFuncContext`].
    pub(crate) unsafe fn add_host_function(
        &mut self,
        func_ref: NonNull<VMFuncRef>,
        ty: &RegisteredType,
    ) -> Result<()> {
        let signature = ty.signature()?;
        let found = self.code().iter().find_map(|code| code.exit_trampoline(signature));
        // SAFETY: the caller vouches for it.
        let func_ref_mut = unsafe { &mut *func_ref.as_ptr() };
        match found {
            Some(exit) => func_ref_mut.code = exit,
            None => self.callees.waiting.entry(signature.clone()).or_default().push(func_ref),
        }
        self.callees.known.insert(func_ref_mut.id, Callee::Host);
        Ok(())
    }

    /// How the host calls the function `vm`.
    ///
    /// # Safety
    /// It must be a function of this store.
    pub(crate) unsafe fn callee(&self, vm: NonNull<VMFuncRef>) -> Result<Callee> {
        // SAFETY: the caller vouches for it.
        let VMFuncRef { vmctx, ty, id, .. } = unsafe { *vm.as_ref() };
        if let Some(known) = self.callees.known.get(&id) {
            return Ok(known.clone());
        }
        let ty = TypeIndex::new(ty).expect("function references have registered types");
        let ty = self.engine().types().get(ty);
        // SAFETY: what is not the host's is an instance's, and has the instance's vmctx.
        let instance = &self.instances[unsafe { StoreOpaque::instance_of(vmctx) }];
        let trampoline = instance.module.code().entry_trampoline(ty.signature()?);
        let trampoline = trampoline.context("a function that the host cannot call")?;
        Ok(Callee::Compiled(trampoline))
    }

    /// Calls a function.
    ///
    /// # Safety
    /// `vm` must be a function of this store; `values` must hold arguments of its
    /// type, references exposed, and have room for its results.
    pub(crate) unsafe fn invoke(
        &mut self,
        vm: NonNull<VMFuncRef>,
        values: &mut [ValRaw],
    ) -> Result<()> {
        // SAFETY: the caller vouches for it.
        let (id, callee) = unsafe { (vm.as_ref().id, self.callee(vm)?) };
        if let Callee::Compiled(_) = &callee {
            self.callees.known.entry(id).or_insert_with(|| callee.clone());
        }
        // SAFETY: as above.
        unsafe { self.invoke_as(&callee, vm, values) }
    }

    /// As [`StoreOpaque::invoke`], with the callee at hand.
    ///
    /// # Safety
    /// As there; `callee` must be the function's.
    pub(crate) unsafe fn invoke_as(
        &mut self,
        callee: &Callee,
        vm: NonNull<VMFuncRef>,
        values: &mut [ValRaw],
    ) -> Result<()> {
        // SAFETY: the caller vouches for all of it.
        let result = unsafe {
            let VMFuncRef { code, vmctx, .. } = *vm.as_ref();
            match callee {
                Callee::Compiled(trampoline) => gc_jit::call(self, trampoline, code, vmctx, values),
                Callee::Host => {
                    let function = (*vmctx.cast::<VMHostFuncContext>()).function;
                    gc_jit::call_host(self, function, vmctx, values)
                }
            }
        };
        result.map_err(|error| error.into_anyhow())
    }

    /// Keeps a module's code until the store is dropped; host functions that it can call
    /// have code from here on.
    pub(crate) fn add_code(&mut self, code: &Arc<CodeMemory>) {
        self.keep_code(code);
        self.callees.found_code(code);
    }
}
