//! Converts WebAssembly types to CLIF types and signatures.
//!
//! Every function is `CallConv::Tail`, takes its vmctx first and then its parameters, and returns
//! its results. All references are `I64`. References into the heap are zero-extended, and function
//! references are addresses of their `VMFuncRef`. Only references into the heap are roots.

use cranelift_codegen::ir::{self, AbiParam, ArgumentPurpose, types};
use cranelift_codegen::isa::CallConv;
use gc_compiler::check::{SignatureTypes, ValueType};
use wasmtime_types::{WasmFuncType, WasmValType};

/// The CLIF type of vectors outside of the instructions that compute with their lanes.
pub(crate) const V128: ir::Type = types::I8X16;

/// The CLIF type of values of this type.
pub(crate) fn clif_type(ty: &WasmValType) -> ir::Type {
    match ty {
        WasmValType::I32 => types::I32,
        WasmValType::I64 => types::I64,
        WasmValType::F32 => types::F32,
        WasmValType::F64 => types::F64,
        WasmValType::Ref(_) => types::I64,
        WasmValType::V128 => V128,
    }
}

/// The signature of compiled functions of this type.
pub(crate) fn clif_signature(ty: &WasmFuncType) -> ir::Signature {
    let mut signature = ir::Signature::new(CallConv::Tail);
    signature.params.reserve(1 + ty.params().len());
    signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
    for param in ty.params() {
        signature.params.push(AbiParam::new(clif_type(param)));
    }
    for result in ty.results() {
        signature.returns.push(AbiParam::new(clif_type(result)));
    }
    signature
}

/// The checkers' type of values of this type.
pub(super) fn value_type(ty: &WasmValType) -> ValueType {
    match ty {
        WasmValType::Ref(_) if ty.is_vmgcref_type() => ValueType::Ref,
        WasmValType::Ref(_) => ValueType::Pointer,
        _ => ValueType::Data,
    }
}

/// The checkers' types of the parameters and results of compiled functions of this type.
pub(super) fn signature_types(ty: &WasmFuncType) -> SignatureTypes {
    let params = ty.params().iter().map(value_type);
    SignatureTypes::with_vmctx(params, ty.results().iter().map(value_type))
}
