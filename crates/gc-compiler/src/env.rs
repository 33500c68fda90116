//! What emitting code for a heap needs to know of the function being built:
//! [`GcFuncEnv`], which the embedder implements, and [`GcEmitter`], which is what
//! collectors are handed.

use cranelift_codegen::ir;
use cranelift_frontend::FunctionBuilder;
use gc_types::{HostCall, Trap, VMOffsets};

/// Settings that change what is emitted. Part of a module's fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CompilerOptions {
    /// Native structure offsets of the target.
    pub offsets: VMOffsets,
    /// Guarded: no bounds checks (4 GiB + HEAP_GUARD_SIZE reserved); otherwise every
    /// heap access is compared with the bound in the heap data.
    pub guarded: bool,
    /// Inline allocation counts `HeapDataOffsets::ZEAL_COUNTDOWN` down and takes its slow path at zero.
    pub zeal: bool,
}

/// The function being built, as its embedder knows it.
pub trait GcFuncEnv {
    /// Settings.
    fn options(&self) -> &CompilerOptions;
    /// The vmctx parameter of the function being built.
    fn vmctx(&mut self, func: &mut ir::Function) -> ir::Value;
    /// The function to call for a host call: a trampoline with `CallConv::PreserveAll`,
    /// signature `(vmctx: i64, params...)` without results; a result is left in the store
    /// context's `store_host_result` word. (See gc-jit.)
    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef;
}

/// A function builder with its environment: what every emitting function takes.
pub struct GcEmitter<'a, 'b> {
    /// Where instructions go.
    pub builder: &'a mut FunctionBuilder<'b>,
    /// Who the function belongs to.
    pub env: &'a mut dyn GcFuncEnv,
}
