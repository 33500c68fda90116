//! How the host calls functions. It calls compiled functions by an entry trampoline of their image,
//! and host functions directly.
//!
//! Compiled code calls a host function by an exit trampoline, which is part of the caller's image.
//! So a host function gets its code when the store gets an instance whose image has the trampoline
//! of its signature. Until then only the host can call it.

use crate::store::StoreOpaque;
use crate::types::registry::RegisteredType;
use anyhow::{Context, Result};
use gc_jit::{CodeMemory, EntryTrampoline, VMFuncRef, VMHostFuncContext};
use gc_types::{CallSignature, TypeIndex, ValRaw};
use std::collections::{BTreeMap, HashMap};
use std::ptr::NonNull;
use std::sync::Arc;

/// How the host calls a function.
#[derive(Clone)]
pub(crate) enum Callee {
    /// By entering compiled code.
    Compiled(EntryTrampoline),
    /// By calling the host function that its vmctx names.
    Host,
}

/// The store's data about its functions.
#[derive(Default)]
pub(crate) struct Callees {
    /// All host functions and all functions that were called before, by id.
    known: HashMap<u32, Callee>,
    /// Host functions that no compiled code in the store can call yet.
    waiting: BTreeMap<CallSignature, Vec<NonNull<VMFuncRef>>>,
}

impl Callees {
    /// Gives the waiting host functions the exit trampolines of `code`.
    pub(crate) fn found_code(&mut self, code: &CodeMemory) {
        self.waiting.retain(|signature, func_refs| {
            let Some(exit) = code.exit_trampoline(signature) else { return true };
            for func_ref in func_refs {
                // SAFETY: host functions live as long as their store. Compiled code that could read
                // this does not run at the moment, or cannot have the reference yet.
                unsafe { (*func_ref.as_ptr()).code = exit };
            }
            false
        });
    }
}

impl StoreOpaque {
    /// Makes the host function `func_ref` callable by the host, and by compiled code as soon as an
    /// image has its trampoline.
    ///
    /// # Safety
    /// It must be registered and live as long as the store. Its vmctx must begin with a
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
        // SAFETY: a function that is not the host's belongs to an instance and has the instance's
        // vmctx.
        let instance = &self.instances[unsafe { StoreOpaque::instance_of(vmctx) }];
        let trampoline = instance.module.code().entry_trampoline(ty.signature()?);
        let trampoline = trampoline.context("the host cannot call this function")?;
        Ok(Callee::Compiled(trampoline))
    }

    /// Calls a function.
    ///
    /// # Safety
    /// `vm` must be a function of this store. `values` must hold arguments of its types, with
    /// exposed references, and have room for its results.
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

    /// Like [`StoreOpaque::invoke`], with a known callee.
    ///
    /// # Safety
    /// As for [`StoreOpaque::invoke`]. `callee` must belong to the function.
    pub(crate) unsafe fn invoke_as(
        &mut self,
        callee: &Callee,
        vm: NonNull<VMFuncRef>,
        values: &mut [ValRaw],
    ) -> Result<()> {
        // SAFETY: as the caller promises.
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

    /// Keeps a module's code until the store is dropped. The host functions that it can call get
    /// their code.
    pub(crate) fn add_code(&mut self, code: &Arc<CodeMemory>) {
        self.keep_code(code);
        self.callees.found_code(code);
    }
}
