//! How the host calls functions. It calls compiled functions by an entry trampoline of their image,
//! and host functions directly.
//!
//! Compiled code calls a host function by an exit trampoline, which is part of the caller's image.
//! So a host function gets its code when the store gets an instance whose image has the trampoline
//! of its signature. Until then only the host can call it.

use super::Func;
use crate::store::{CallHook, Callee, Known, KnownFunc, StoreOpaque};
use crate::types::registered::RegisteredType;
use crate::vm::func_ref::FuncRef;
use anyhow::{Context, Result, ensure};
use gc_jit::{CodeMemory, VMFuncRef, VMHostFuncContext};
use gc_types::ValRaw;
use std::ptr::NonNull;
use std::sync::Arc;

impl StoreOpaque {
    /// Makes the host function `func_ref` callable by the host, and by compiled code as soon as an
    /// image has its trampoline. It must be registered, and its vmctx must begin with a
    /// [`VMHostFuncContext`].
    ///
    /// # Safety
    /// `known` is what the host needs to call it, and stays there as long as the store.
    pub(crate) unsafe fn add_host_function(
        &mut self,
        func_ref: FuncRef,
        known: NonNull<KnownFunc>,
    ) {
        // SAFETY: as the caller promises.
        let known = unsafe { self.callees.add(known) };
        let signature = known.ty.signature().expect("functions have function types");
        match self.code().iter().find_map(|code| code.exit_trampoline(signature)) {
            Some(exit) => func_ref.set_code(exit),
            None => self.callees.waiting.entry(signature.clone()).or_default().push(func_ref),
        }
    }

    /// Makes room for `count` more host functions.
    pub(crate) fn reserve_host_functions(&mut self, count: usize) {
        self.reserve_func_refs(count);
        self.callees.reserve(count);
    }

    /// How the host calls the function `vm` of this store.
    pub(crate) fn callee(&self, vm: FuncRef) -> Result<Callee> {
        match self.callees.get(vm.id()) {
            Some(known) => Ok(known.callee.clone()),
            None => Ok(self.compiled_func(vm)?.callee),
        }
    }

    /// What the host needs in order to call the compiled function `vm` of this store.
    fn compiled_func(&self, vm: FuncRef) -> Result<KnownFunc> {
        let vmctx = vm.get().vmctx;
        // SAFETY: a function that is not the host's belongs to an instance and has the instance's
        // vmctx.
        let instance = &self.instances[unsafe { StoreOpaque::instance_of(vmctx) }];
        let ty = instance.module.info().types.registered(vm.ty()).clone();
        let trampoline = instance.module.code().entry_trampoline(ty.signature()?);
        let trampoline = trampoline.context("the host cannot call this function")?;
        Ok(KnownFunc::new(vm, Callee::Compiled(trampoline), ty))
    }

    /// What the host needs in order to call a function of this store, which is known from then on.
    ///
    /// # Panics
    /// If the function belongs to another store.
    #[inline]
    pub(crate) fn know_func(&mut self, func: &Func) -> Result<Known> {
        match self.callees.get(func.id(self)) {
            Some(known) => Ok(known),
            None => self.know_first(func),
        }
    }

    #[cold]
    fn know_first(&mut self, func: &Func) -> Result<Known> {
        let func = self.compiled_func(func.as_vm(self))?;
        Ok(self.callees.insert(func))
    }

    /// The type of the function `vm` of this store.
    pub(crate) fn func_type(&self, vm: FuncRef) -> &RegisteredType {
        let VMFuncRef { vmctx, id, .. } = vm.get();
        if let Some(known) = self.callees.type_of(id) {
            return known;
        }
        // SAFETY: a function that is not the host's belongs to an instance and has the instance's
        // vmctx.
        let instance = &self.instances[unsafe { StoreOpaque::instance_of(vmctx) }];
        instance.module.info().types.registered(vm.ty())
    }

    /// Calls the start function of instance `number`. It has neither parameters nor results.
    pub(crate) fn invoke_start(&mut self, number: usize, vm: FuncRef) -> Result<()> {
        let func = self.know_func(&Func::from_vm(self, vm))?;
        ensure!(func.slots == 0, "a start function with parameters or results");
        self.call_hook(CallHook::CallingWasm).and_then(|()| {
            // SAFETY: there are no values.
            let result = unsafe {
                match &func.callee {
                    Callee::Host => self.invoke_host(Some(number as u32), vm, &mut []),
                    callee => self.invoke_as(callee, vm, &mut []),
                }
            };
            self.call_hook(CallHook::ReturningFromWasm)?;
            result
        })
    }

    /// Calls a function.
    ///
    /// # Safety
    /// `vm` must be a function of this store, and `callee` belong to it. `values` must hold arguments
    /// of its types, with exposed references, and have room for its results.
    #[inline(always)]
    pub(crate) unsafe fn invoke_as(
        &mut self,
        callee: &Callee,
        vm: FuncRef,
        values: &mut [ValRaw],
    ) -> Result<()> {
        // SAFETY: as the caller promises.
        unsafe {
            match callee {
                Callee::Compiled(trampoline) => {
                    let VMFuncRef { code, vmctx, .. } = vm.get();
                    gc_jit::call(self, trampoline, code, vmctx, values)
                        .map_err(|error| self.call_error(error))
                }
                Callee::Host => self.invoke_host(None, vm, values),
            }
        }
    }

    /// Calls a host function, which is the start function of instance `starting` if there is one.
    ///
    /// # Safety
    /// As for [`invoke_as`](StoreOpaque::invoke_as).
    #[inline(never)]
    unsafe fn invoke_host(
        &mut self,
        starting: Option<u32>,
        vm: FuncRef,
        values: &mut [ValRaw],
    ) -> Result<()> {
        // What a panic leaves here is not read: each direct call of a host function replaces it.
        let outer = std::mem::replace(&mut self.starting, starting);
        // SAFETY: as the caller promises.
        let result = unsafe {
            let vmctx = vm.get().vmctx;
            let function = (*vmctx.cast::<VMHostFuncContext>()).function;
            gc_jit::call_host(self, function, vmctx, values)
        };
        self.starting = outer;
        result.map_err(|error| self.call_error(error))
    }

    /// The instance whose code called the running host function, or whose start function that is.
    /// `None` if the host called the function.
    pub(crate) fn calling_instance(&self) -> Option<usize> {
        self.jit.caller().or(self.starting.map(|number| number as usize))
    }

    /// Keeps a module's code until the store is dropped. The host functions that it can call get
    /// their code.
    pub(crate) fn add_code(&mut self, code: &Arc<CodeMemory>) -> Result<()> {
        self.jit.keep_alive(code.clone())?;
        self.callees.found_code(code);
        Ok(())
    }
}
