//! How the host calls functions. It calls compiled functions by an entry trampoline of their image,
//! and host functions directly.
//!
//! Compiled code calls a host function by an exit trampoline, which is part of the caller's image.
//! So a host function gets its code when the store gets an instance whose image has the trampoline
//! of its signature. Until then only the host can call it.

use crate::store::{CallHook, Callee, StoreOpaque};
use crate::types::registered::RegisteredType;
use crate::vm::func_ref::FuncRef;
use anyhow::{Context, Result, ensure};
use gc_jit::{CodeMemory, VMFuncRef, VMHostFuncContext};
use gc_types::ValRaw;
use std::sync::Arc;

impl StoreOpaque {
    /// Makes the host function `func_ref` callable by the host, and by compiled code as soon as an
    /// image has its trampoline. It must be registered, and its vmctx must begin with a
    /// [`VMHostFuncContext`].
    pub(crate) fn add_host_function(&mut self, func_ref: FuncRef, ty: &RegisteredType) {
        let signature = ty.signature().expect("functions have function types");
        match self.code().iter().find_map(|code| code.exit_trampoline(signature)) {
            Some(exit) => func_ref.set_code(exit),
            None => self.callees.waiting.entry(signature.clone()).or_default().push(func_ref),
        }
        self.callees.known.insert(func_ref.id(), Callee::Host(ty.clone()));
    }

    /// The way in which the host calls the function `vm` of this store.
    pub(crate) fn callee(&self, vm: FuncRef) -> Result<Callee> {
        let VMFuncRef { vmctx, id, .. } = vm.get();
        if let Some(known) = self.callees.known.get(&id) {
            return Ok(known.clone());
        }
        // SAFETY: a function that is not the host's belongs to an instance and has the instance's
        // vmctx.
        let instance = &self.instances[unsafe { StoreOpaque::instance_of(vmctx) }];
        let ty = instance.module.info().types.registered(vm.ty());
        let trampoline = instance.module.code().entry_trampoline(ty.signature()?);
        let trampoline = trampoline.context("the host cannot call this function")?;
        Ok(Callee::Compiled(trampoline))
    }

    /// The type of the function `vm` of this store.
    pub(crate) fn func_type(&self, vm: FuncRef) -> &RegisteredType {
        let VMFuncRef { vmctx, id, .. } = vm.get();
        if let Some(Callee::Host(ty)) = self.callees.known.get(&id) {
            return ty;
        }
        // SAFETY: a function that is not the host's belongs to an instance and has the instance's
        // vmctx.
        let instance = &self.instances[unsafe { StoreOpaque::instance_of(vmctx) }];
        instance.module.info().types.registered(vm.ty())
    }

    /// Calls the start function of instance `number`. It has neither parameters nor results.
    pub(crate) fn invoke_start(&mut self, number: usize, vm: FuncRef) -> Result<()> {
        let ty = self.func_type(vm).sub_type.unwrap_func();
        ensure!(
            ty.params().is_empty() && ty.results().is_empty(),
            "a start function with parameters or results"
        );
        if let Callee::Host(_) = self.callee(vm)? {
            self.starting.set(number);
        }
        let result = self.call_hook(CallHook::CallingWasm).and_then(|()| {
            // SAFETY: there are no values.
            let result = unsafe { self.invoke(vm, &mut []) };
            self.call_hook(CallHook::ReturningFromWasm)?;
            result
        });
        // The host function has taken it, unless the call failed before.
        self.starting.take();
        result
    }

    /// Calls a function.
    ///
    /// # Safety
    /// `vm` must be a function of this store. `values` must hold arguments of its types, with
    /// exposed references, and have room for its results.
    pub(crate) unsafe fn invoke(&mut self, vm: FuncRef, values: &mut [ValRaw]) -> Result<()> {
        let (id, callee) = (vm.id(), self.callee(vm)?);
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
        vm: FuncRef,
        values: &mut [ValRaw],
    ) -> Result<()> {
        // SAFETY: as the caller promises.
        let result = unsafe {
            let VMFuncRef { code, vmctx, .. } = vm.get();
            match callee {
                Callee::Compiled(trampoline) => gc_jit::call(self, trampoline, code, vmctx, values),
                Callee::Host(_) => {
                    let function = (*vmctx.cast::<VMHostFuncContext>()).function;
                    gc_jit::call_host(self, function, vmctx, values)
                }
            }
        };
        result.map_err(|error| self.call_error(error))
    }

    /// Keeps a module's code until the store is dropped. The host functions that it can call get
    /// their code.
    pub(crate) fn add_code(&mut self, code: &Arc<CodeMemory>) -> Result<()> {
        self.jit.keep_alive(code.clone())?;
        self.callees.found_code(code);
        Ok(())
    }
}
