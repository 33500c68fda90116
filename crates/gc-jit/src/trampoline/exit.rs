//! Exit trampolines: compiled code calls a host function by function reference, as it
//! calls its own functions.

use super::*;

/// Compiled code's way out to host functions of one signature.
///
/// The callee's vmctx is a [`VMHostFuncContext`](crate::VMHostFuncContext), which names
/// the [`HostFunction`](crate::HostFunction) to call. The arguments go into an array of
/// [`ValRaw`] in the trampoline's frame, out of which the results come.
#[derive(Debug)]
pub struct ExitTrampoline {
    memory: Arc<CodeMemory>,
}

impl JitCompiler {
    /// Compiles and publishes the trampoline for host functions of `signature`, whose
    /// convention is the one compiled code calls with (`CallConv::Tail`) and whose first
    /// parameter is the vmctx.
    ///
    /// # Errors
    /// If a parameter or result does not fit a [`ValRaw`].
    pub fn exit_trampoline(&self, signature: &Signature) -> Result<Arc<ExitTrampoline>> {
        let slots = slots_of(signature)?;
        let func = build(
            signature.clone(),
            |builder, params| {
                let (vmctx, args) = params.split_first().expect("slots_of checked");
                let store_context = record_exit(builder, *vmctx);
                let array = slot_array(builder, slots);
                store_values(builder, array, args);

                let mut host = Signature::new(CallConv::SystemV);
                host.params.extend([AbiParam::new(types::I64); 2]);
                host.returns.push(AbiParam::new(types::I64));
                let host = builder.import_signature(host);
                let function =
                    builder.ins().load(types::I64, trusted(), *vmctx, O.vmctx_prefix_size() as i32);
                let call = builder.ins().call_indirect(host, function, &[*vmctx, array]);
                let result = builder.inst_results(call)[0];
                unwind_if_failed(builder, store_context, result);

                let results = load_values(builder, array, &signature.returns);
                builder.ins().return_(&results);
            },
            self,
        );
        Ok(Arc::new(ExitTrampoline { memory: publish(self, func, "exit trampoline")? }))
    }
}

impl ExitTrampoline {
    /// The address to put in a function reference's `code`.
    pub fn address(&self) -> *const u8 {
        self.memory.base()
    }

    /// The published code.
    pub fn memory(&self) -> &Arc<CodeMemory> {
        &self.memory
    }
}
