//! Shared by the tests: a store with an empty heap, and functions that are built by hand.
#![allow(dead_code, missing_docs, unreachable_pub)]

use cranelift_codegen::ir::{
    self, AbiParam, ArgumentPurpose, Signature, Type, UserFuncName, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_compiler::{
    Annotations, BuiltFunction, CompileOptions, CompiledFunction, Compiler, GcCompiler,
    ImageLinker, call_signature,
};
use gc_jit::{
    CallError, CodeMemory, EntryTrampoline, HostCallShim, HostCallTable, HostFunction, JitState,
    JitStore, VMContextPrefix, VMHostFuncContext,
};
use gc_runtime::collector::NullCollector;
use gc_runtime::{GcRuntime, GcStore, HeapOptions};
use gc_types::{Abi, CodeImage, HostCall, HostSignature, VMOffsets, ValRaw};
use std::sync::Arc;

pub const OFFSETS: VMOffsets = VMOffsets::HOST;
pub const MAX_STACK: usize = 512 << 10;
/// The number of the fixture's vmctx.
pub const VMCTX: usize = 7;

/// A `CallConv::Tail` signature with a vmctx in front.
pub fn signature(params: &[Type], returns: &[Type]) -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
    signature.params.extend(params.iter().map(|ty| AbiParam::new(*ty)));
    signature.returns.extend(returns.iter().map(|ty| AbiParam::new(*ty)));
    signature
}

/// The ABI of code whose embedder's host calls are `calls`.
pub fn abi(calls: &[(HostCall, HostSignature)]) -> Abi {
    HeapOptions::default().abi(&NullCollector).with_host_calls(calls.iter().copied())
}

pub fn compiler() -> Compiler {
    compiler_for(&abi(&[]))
}

pub fn compiler_for(abi: &Abi) -> Compiler {
    let options = CompileOptions { verifier: true, ..CompileOptions::default() };
    let name = abi.collector().name();
    let collectors: [&dyn GcCompiler; 4] =
        [&NullCompiler, &DrcCompiler, &CopyingCompiler, &GenerationalCompiler];
    let collector = collectors.into_iter().find(|collector| collector.name() == name).unwrap();
    Compiler::new(collector, abi, &options).unwrap()
}

/// Compiles a function with a stack limit and a vmctx slot; `body` gets its parameters.
pub fn compile(
    compiler: &Compiler,
    signature: Signature,
    body: impl FnOnce(&mut FunctionBuilder<'_>, &[Value]),
) -> CompiledFunction {
    let mut func = ir::Function::with_name_signature(UserFuncName::default(), signature);
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let params = builder.block_params(entry).to_vec();
    body(&mut builder, &params);
    builder.seal_all_blocks();
    builder.finalize(compiler.isa().frontend_config());
    let annotations = Annotations { leaves_instance: true, ..Annotations::default() };
    compiler.compile_alone(BuiltFunction::new(func, annotations)).unwrap()
}

/// Links functions `0..` with the names `f0`, `f1`, .... The host may call all of them.
pub fn link(functions: Vec<CompiledFunction>, calls: &[(HostCall, HostSignature)]) -> CodeImage {
    link_for(&abi(calls), functions)
}

fn link_for(abi: &Abi, functions: Vec<CompiledFunction>) -> CodeImage {
    let mut image = ImageLinker::new();
    for (i, function) in (0..).zip(functions) {
        image.define(i, format!("f{i}"), function).unwrap();
        image.export(i).unwrap();
    }
    image.link(&compiler_for(abi)).unwrap()
}

pub fn publish(
    functions: Vec<CompiledFunction>,
    calls: &[(HostCall, HostSignature)],
) -> Arc<CodeMemory> {
    publish_for(abi(calls), functions)
}

/// [`publish`] for stores of any ABI.
pub fn publish_for(abi: Abi, functions: Vec<CompiledFunction>) -> Arc<CodeMemory> {
    CodeMemory::publish(link_for(&abi, functions), &Arc::new(abi), &[]).unwrap()
}

/// The trampolines of one signature, in their own image.
pub fn trampolines(signature: &Signature) -> Arc<CodeMemory> {
    let signature = call_signature(signature).unwrap();
    let mut image = ImageLinker::new();
    image.entry(signature.clone());
    image.exit(signature);
    CodeMemory::publish(image.link(&compiler()).unwrap(), &Arc::new(abi(&[])), &[]).unwrap()
}

pub fn entry_trampoline(signature: &Signature) -> EntryTrampoline {
    trampolines(signature).entry_trampoline(&call_signature(signature).unwrap()).unwrap()
}

/// The exit trampoline of one signature: its address, and the code that contains it.
pub fn exit_trampoline(signature: &Signature) -> (*const u8, Arc<CodeMemory>) {
    let code = trampolines(signature);
    (code.exit_trampoline(&call_signature(signature).unwrap()).unwrap(), code)
}

/// A store with data for host functions.
pub struct TestStore<D = ()> {
    pub jit: JitState<TestStore<D>>,
    pub data: D,
}

impl<D> JitStore for TestStore<D> {
    fn jit(&self) -> &JitState<TestStore<D>> {
        &self.jit
    }

    fn jit_mut(&mut self) -> &mut JitState<TestStore<D>> {
        &mut self.jit
    }
}

/// A store and a vmctx of it, with room after the prefix.
pub struct Fixture<D = ()> {
    pub store: TestStore<D>,
    pub vmctx: Box<Vmctx>,
}

#[repr(C)]
pub struct Vmctx {
    pub prefix: VMContextPrefix,
    pub words: [u64; 16],
}

pub fn fixture() -> Fixture {
    fixture_of((), &[], &[])
}

/// A fixture whose host functions get `data`.
pub fn fixture_of<D>(
    data: D,
    host_calls: &[HostCallShim<TestStore<D>>],
    calls: &[(HostCall, HostSignature)],
) -> Fixture<D> {
    let gc = GcStore::new(&NullCollector, &HeapOptions::default()).unwrap();
    Fixture::new(gc, abi(calls), data, host_calls, MAX_STACK)
}

pub fn fixture_with(runtime: &dyn GcRuntime, options: &HeapOptions) -> Fixture {
    Fixture::new(GcStore::new(runtime, options).unwrap(), options.abi(runtime), (), &[], MAX_STACK)
}

impl<D> Fixture<D> {
    pub fn new(
        gc: GcStore,
        abi: Abi,
        data: D,
        host_calls: &[HostCallShim<TestStore<D>>],
        max_stack: usize,
    ) -> Fixture<D> {
        let table = HostCallTable::new(&Arc::new(abi), host_calls).unwrap();
        let mut jit = JitState::new(gc, &table, max_stack).unwrap();
        let prefix = jit.vmctx_prefix(VMCTX).unwrap();
        let vmctx = Box::new(Vmctx { prefix, words: [0; 16] });
        Fixture { store: TestStore { jit, data }, vmctx }
    }

    pub fn vmctx(&mut self) -> *mut u8 {
        (&raw mut *self.vmctx).cast()
    }

    /// Calls function `index` of `code`.
    pub fn call(
        &mut self,
        code: &Arc<CodeMemory>,
        index: u32,
        signature: &Signature,
        args: &[ValRaw],
    ) -> Result<Vec<ValRaw>, CallError> {
        let trampoline = code.entry_trampoline(&call_signature(signature).unwrap()).unwrap();
        let mut values = args.to_vec();
        values.resize(trampoline.slots(), ValRaw::ZERO);
        let vmctx = self.vmctx();
        let address = code.function_address(index).unwrap();
        // SAFETY: compiled from `signature` with a stack limit, kept alive by `code`.
        unsafe { gc_jit::call(&mut self.store, &trampoline, address, vmctx, &mut values)? };
        values.truncate(signature.returns.len());
        Ok(values)
    }
}

/// A context for a host function of `store`, with room after it.
#[repr(C)]
pub struct HostContext {
    pub context: VMHostFuncContext,
    pub data: [u64; 8],
}

pub fn host_context<D>(store: &TestStore<D>, function: HostFunction) -> Box<HostContext> {
    Box::new(HostContext {
        context: VMHostFuncContext { prefix: store.jit.vmctx_prefix_without_heap(0), function },
        data: [0; 8],
    })
}

pub fn i32s(values: &[ValRaw]) -> Vec<i32> {
    values.iter().map(|v| v.get_i32()).collect()
}
