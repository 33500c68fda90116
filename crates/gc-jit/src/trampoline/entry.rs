//! Entry trampolines: the host calls compiled code.
#![allow(unsafe_code)]

use super::*;
use crate::Activation;
use anyhow::Context as _;
use cranelift_codegen::ir::{BlockArg, ExceptionTableData, ExceptionTableItem};

/// An entry trampoline's machine-level type: `(activation, callee's code, callee's
/// vmctx, values)`; the arguments are taken from `values` and the results left there.
pub(crate) type EntryFn =
    unsafe extern "C" fn(*mut Activation, *const u8, *mut u8, *mut ValRaw) -> u64;

/// Host code's way into compiled functions of one signature.
///
/// It records its frame pointer in the activation and calls with a `try_call`, whose
/// handler is where a signal handler, or a trampoline whose host function failed,
/// resumes: no setjmp, and the host's callee-saved registers are restored by the trampoline's own epilogue.
#[derive(Debug)]
pub struct EntryTrampoline {
    memory: Arc<CodeMemory>,
    slots: usize,
    handler_pc: usize,
    frame_offset: usize,
}

impl JitCompiler {
    /// Compiles and publishes the trampoline through which the host can call functions
    /// of `signature`: any calling convention, the first parameter the vmctx.
    ///
    /// # Errors
    /// If a parameter or result does not fit a [`ValRaw`].
    pub fn entry_trampoline(&self, signature: &Signature) -> Result<Arc<EntryTrampoline>> {
        let slots = slots_of(signature)?;
        let mut outer = Signature::new(CallConv::SystemV);
        outer.params.extend([AbiParam::new(types::I64); 4]);
        outer.returns.push(AbiParam::new(types::I64));

        let func = build(
            outer,
            |builder, params| {
                let &[activation, code, vmctx, values] = params else { unreachable!() };
                let fp = builder.ins().get_frame_pointer(types::I64);
                builder.ins().store(trusted(), fp, activation, O.activation_entry_fp() as i32);
                let mut args = vec![vmctx];
                args.extend(load_values(builder, values, &signature.params[1..]));

                let returned = builder.create_block();
                let results: Vec<Value> = signature
                    .returns
                    .iter()
                    .map(|ret| builder.append_block_param(returned, ret.value_type))
                    .collect();
                let unwound = builder.create_block();
                builder.set_cold_block(unwound);
                let status = builder.append_block_param(unwound, types::I64);

                let sig = builder.import_signature(signature.clone());
                let results_args: Vec<BlockArg> =
                    (0..results.len() as u32).map(BlockArg::TryCallRet).collect();
                let pool = &mut builder.func.dfg.value_lists;
                let normal = ir::BlockCall::new(returned, results_args, pool);
                let handler = ir::BlockCall::new(unwound, [BlockArg::TryCallExn(0)], pool);
                let table =
                    ExceptionTableData::new(sig, normal, [ExceptionTableItem::Default(handler)]);
                let table = builder.func.dfg.exception_tables.push(table);
                builder.ins().try_call_indirect(code, &args, table);

                builder.switch_to_block(returned);
                store_values(builder, values, &results);
                let ok = builder.ins().iconst(types::I64, STATUS_OK as i64);
                builder.ins().return_(&[ok]);

                builder.switch_to_block(unwound);
                builder.ins().return_(&[status]);
            },
            self,
        );
        let memory = publish(self, func, "entry trampoline")?;
        let site = memory.image().handlers.first().context("no handler in the entry trampoline")?;
        let (_, handler) = site.handlers[0];
        Ok(Arc::new(EntryTrampoline {
            slots,
            handler_pc: memory.base().addr() + handler as usize,
            frame_offset: site.frame_offset as usize,
            memory,
        }))
    }
}

impl EntryTrampoline {
    /// How many [`ValRaw`]s a call needs: as many as there are parameters (behind the
    /// vmctx) or results, whichever is more.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The published code.
    pub fn memory(&self) -> &Arc<CodeMemory> {
        &self.memory
    }

    /// Address of the handler block.
    pub(crate) fn handler_pc(&self) -> usize {
        self.handler_pc
    }

    /// Bytes from the handler's stack pointer up to the trampoline's frame pointer.
    pub(crate) fn frame_offset(&self) -> usize {
        self.frame_offset
    }

    /// The trampoline as a function.
    pub(crate) fn function(&self) -> EntryFn {
        // SAFETY: function 0 was compiled with exactly this signature and convention.
        unsafe { std::mem::transmute::<*const u8, EntryFn>(self.memory.base()) }
    }
}
