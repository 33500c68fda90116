//! C trampolines: compiled code calls a function of C in the same program.
//!
//! Compiled code calls the trampoline as it calls a function of its image. The trampoline records its frame pointer, as
//! all do by which compiled code is left, and calls a symbol, which a system linker finds.

use super::*;
use crate::driver::names;

/// The trampoline by which code calls the symbol with this number, a C function of `signature`. It is compiled if it is
/// new.
pub(in crate::driver) fn c_call(
    compiler: &Compiler,
    signature: &CallSignature,
    symbol: u32,
) -> Result<Arc<CompiledFunction>> {
    compiler.trampoline(Trampoline::C(signature.clone(), symbol), || {
        let caller = clif_signature(signature);
        build(compiler, caller.clone(), |builder, params| {
            let (vmctx, args) = params.split_first().expect("the vmctx");
            record_exit(builder, *vmctx);
            let mut callee = Signature::new(CallConv::SystemV);
            callee.params.extend_from_slice(&caller.params[1..]);
            callee.returns.extend_from_slice(&caller.returns);
            let callee = names::import_symbol(builder.func, symbol, callee);
            let call = builder.ins().call(callee, args);
            let results = builder.inst_results(call).to_vec();
            builder.ins().return_(&results);
        })
    })
}
