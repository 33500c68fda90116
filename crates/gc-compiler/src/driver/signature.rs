//! The conversion between CLIF signatures and [`CallSignature`]s.

use anyhow::{Result, bail, ensure};
use cranelift_codegen::ir::{self, AbiParam, ArgumentPurpose, types};
use cranelift_codegen::isa::CallConv;
use gc_types::{CallSignature, ValueType};

/// The parameters after the vmctx, and the results, of a function with this CLIF signature.
///
/// # Errors
/// If trampolines cannot call such a function: its calling convention is not [`CallConv::Tail`],
/// its first parameter is not a vmctx, or a value does not fit in a [`ValRaw`](gc_types::ValRaw).
///
/// # Examples
/// ```
/// use cranelift_codegen::ir::{AbiParam, ArgumentPurpose, Signature, types};
/// use cranelift_codegen::isa::CallConv;
/// use gc_compiler::call_signature;
///
/// let mut signature = Signature::new(CallConv::Tail);
/// signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
/// signature.params.push(AbiParam::new(types::I32));
/// assert_eq!(call_signature(&signature)?.to_string(), "(i32) -> ()");
///
/// signature.call_conv = CallConv::SystemV;
/// assert!(call_signature(&signature).is_err());
/// # anyhow::Ok(())
/// ```
pub fn call_signature(signature: &ir::Signature) -> Result<CallSignature> {
    // After a trap, the entry trampoline's caller continues with the callee-saved registers that it
    // had before the call. A callee that has saved such registers does not restore them.
    ensure!(
        signature.call_conv == CallConv::Tail,
        "a function that the host or another calls by reference has the calling convention \
         `tail`, not `{}`",
        signature.call_conv
    );
    ensure!(
        signature.params.first().is_some_and(|vmctx| vmctx.value_type == types::I64),
        "the first parameter must be the vmctx"
    );
    let types = |values: &[AbiParam]| -> Result<Vec<ValueType>> {
        values.iter().map(|value| value_type(value.value_type)).collect()
    };
    Ok(CallSignature::new(types(&signature.params[1..])?, types(&signature.returns)?))
}

/// The CLIF signature of functions of `signature`.
pub(super) fn clif_signature(signature: &CallSignature) -> ir::Signature {
    let mut clif = ir::Signature::new(CallConv::Tail);
    clif.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
    clif.params.extend(signature.params().iter().map(|ty| AbiParam::new(clif_type(*ty))));
    clif.returns.extend(signature.results().iter().map(|ty| AbiParam::new(clif_type(*ty))));
    clif
}

fn value_type(ty: ir::Type) -> Result<ValueType> {
    Ok(match ty {
        types::I8 => ValueType::I8,
        types::I16 => ValueType::I16,
        types::I32 => ValueType::I32,
        types::I64 => ValueType::I64,
        types::F32 => ValueType::F32,
        types::F64 => ValueType::F64,
        vector if vector.is_vector() && vector.bits() == 128 => ValueType::V128,
        other => bail!("a value of type {other} does not fit in a slot"),
    })
}

fn clif_type(ty: ValueType) -> ir::Type {
    match ty {
        ValueType::I8 => types::I8,
        ValueType::I16 => types::I16,
        ValueType::I32 => types::I32,
        ValueType::I64 => types::I64,
        ValueType::F32 => types::F32,
        ValueType::F64 => types::F64,
        ValueType::V128 => types::I8X16,
    }
}
