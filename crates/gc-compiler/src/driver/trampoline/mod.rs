//! The kinds of calls between host and compiled code. Cranelift emits all trampolines, so
//! that only Cranelift deals with calling conventions:
//!
//! - entry trampolines: the host calls compiled code. After traps and host errors, execution
//!   resumes at the handler of their `try_call`.
//! - exit trampolines: compiled code calls a host function by a function reference, like a compiled
//!   function.
//! - host-call trampolines: compiled code calls a service of the host from a cold block. The call
//!   clobbers no register.
//! - C trampolines: code of an object calls a function of C in the same program.
//!
//! All but the first record their frame pointer in the store context before they call the host. If the
//! host reports a failure, they leave it to the driver where they return to: the handler of an
//! exception, or the entry. To raise `ud2` instead would take 7.4 µs.

mod c_call;
mod entry;
mod exit;
mod host_call;

pub(super) use c_call::c_call;
pub(super) use entry::entry;
pub(super) use exit::exit;
pub(super) use host_call::host_call;

use super::compile::{Compiler, Trampoline};
use super::function::CompiledFunction;
use super::signature::clif_signature;
use anyhow::Result;
use cranelift_codegen::ir::{
    self, AbiParam, InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData, StackSlotKind,
    Type, UserFuncName, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_types::{CallSignature, EntryStatus, HostCall, VMOffsets, ValRaw};
use std::sync::Arc;

const O: VMOffsets = VMOffsets::HOST;

/// Flags for memory that is mapped and aligned.
fn trusted() -> MemFlagsData {
    MemFlagsData::trusted()
}

/// Builds a function of `signature` whose body `build` emits.
fn build(
    compiler: &Compiler,
    signature: Signature,
    build: impl FnOnce(&mut FunctionBuilder<'_>, &[Value]),
) -> ir::Function {
    let mut func = ir::Function::with_name_signature(UserFuncName::default(), signature);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let params = builder.block_params(entry).to_vec();
    build(&mut builder, &params);
    builder.seal_all_blocks();
    builder.finalize(compiler.isa().frontend_config());
    func
}

fn slot_offset(i: usize) -> i32 {
    i as i32 * ValRaw::SIZE as i32
}

fn load_values(builder: &mut FunctionBuilder<'_>, array: Value, params: &[AbiParam]) -> Vec<Value> {
    let load = |(i, param): (usize, &AbiParam)| {
        builder.ins().load(param.value_type, trusted(), array, slot_offset(i))
    };
    params.iter().enumerate().map(load).collect()
}

fn store_values(builder: &mut FunctionBuilder<'_>, array: Value, values: &[Value]) {
    for (i, value) in values.iter().enumerate() {
        // Every slot is completely initialized. The upper half matters if the host compares slots
        // or reads a narrow integer as a wider one.
        let ty = builder.func.dfg.value_type(*value);
        let value = widen(builder, *value, ty);
        builder.ins().store(trusted(), value, array, slot_offset(i));
    }
}

/// Zero-extends integers that are narrower than 64 bits. Other values are unchanged.
fn widen(builder: &mut FunctionBuilder<'_>, value: Value, ty: Type) -> Value {
    if ty.is_int() && ty.bits() < 64 { builder.ins().uextend(types::I64, value) } else { value }
}

/// The address of a new array of slots in the frame.
fn slot_array(builder: &mut FunctionBuilder<'_>, slots: usize) -> Value {
    let slot = builder.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        slots.max(1) as u32 * ValRaw::SIZE,
        4,
    ));
    builder.ins().stack_addr(types::I64, slot, 0)
}

/// A frame through which compiled code is left.
struct Exit {
    store_context: Value,
    /// It holds the store context during the call. Only a failed call needs it again, so it should
    /// not use a callee-saved register, which each call would save and restore.
    kept: StackSlot,
}

/// Records in the store context that this frame is the one through which compiled code is left.
fn record_exit(builder: &mut FunctionBuilder<'_>, vmctx: Value) -> Exit {
    let store_context =
        builder.ins().load(types::I64, trusted(), vmctx, O.vmctx_store_context() as i32);
    let fp = builder.ins().get_frame_pointer(types::I64);
    builder.ins().store(trusted(), fp, store_context, O.store_last_exit_fp() as i32);
    let size = u32::from(O.pointer_size());
    let data = StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3);
    let kept = builder.create_sized_stack_slot(data);
    builder.ins().stack_store(types::I64, store_context, kept, 0);
    Exit { store_context, kept }
}

/// If `result` is [`HostCall::FAILED`], calls the driver's function that makes the trampoline return
/// elsewhere. The trampoline's epilogue then restores the registers of its caller.
fn unwind_if_failed(
    compiler: &Compiler,
    builder: &mut FunctionBuilder<'_>,
    exit: &Exit,
    result: Value,
) {
    let failed = builder.create_block();
    let succeeded = builder.create_block();
    builder.set_cold_block(failed);
    let sentinel = builder.ins().iconst(types::I64, HostCall::FAILED as i64);
    let is_failed = builder.ins().icmp(ir::condcodes::IntCC::Equal, result, sentinel);
    builder.ins().brif(is_failed, failed, &[], succeeded, &[]);

    builder.switch_to_block(failed);
    let field = |builder: &mut FunctionBuilder<'_>, base, offset: u32| {
        builder.ins().load(types::I64, trusted(), base, offset as i32)
    };
    let store_context = builder.ins().stack_load(types::I64, types::I64, exit.kept, 0);
    let host_calls = field(builder, store_context, O.store_host_calls());
    let unwind = field(builder, host_calls, HostCall::UNWIND.index() * u32::from(O.pointer_size()));
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend([AbiParam::new(types::I64); 2]);
    let signature = builder.import_signature(signature);
    // Calls within the host function have left this as it was.
    let fp = field(builder, store_context, O.store_last_exit_fp());
    let frame = match compiler.return_signature(builder.func.signature.call_conv).frame(0) {
        0 => fp,
        signed => builder.ins().iadd_imm_u(fp, signed as i64),
    };
    builder.ins().call_indirect(signature, unwind, &[store_context, frame]);
    // Nobody gets the results.
    builder.ins().jump(succeeded, &[]);

    builder.switch_to_block(succeeded);
}
