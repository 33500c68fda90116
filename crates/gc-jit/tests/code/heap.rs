//! Tests of compiled code with a real heap: barriers and allocations that gc-compiler emits, host
//! calls of this crate, and collections with references in the frames.

use crate::common::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, Signature, UserFuncName, Value, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::collector::{
    copying::CopyingCompiler, drc::DrcCompiler, generational::GenerationalCompiler,
    null::NullCompiler,
};
use gc_compiler::{
    Annotations, BuiltFunction, CompileOptions, CompiledFunction, Compiler, GcCompiler, GcEmitter,
    GcFuncEnv, OptLevel, import_function, import_host_call,
};
use gc_jit::{CallError, TrapError};
use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector, NullCollector};
use gc_runtime::{GcRuntime, HeapBounds, HeapError, HeapOptions};
use gc_types::{
    Abi, ArrayLayout, GcLayout, HostCall, StorageType, StructLayout, Trap, TypeIndex, VMGcKind,
    ValRaw,
};
use std::sync::Arc;

const NODE: TypeIndex = TypeIndex::new(5).unwrap();
const WORDS: TypeIndex = TypeIndex::new(6).unwrap();
const REFS: TypeIndex = TypeIndex::new(7).unwrap();

/// `{ next: ref, value: i64 }`
fn node() -> StructLayout {
    StructLayout::new([StorageType::Ref, StorageType::I64]).unwrap()
}

struct Env {
    abi: Abi,
    vmctx: Value,
    annotations: Annotations,
}

impl GcFuncEnv for Env {
    fn abi(&self) -> &Abi {
        &self.abi
    }

    fn vmctx(&mut self, _func: &mut ir::Function) -> Value {
        self.vmctx
    }

    fn annotations(&mut self) -> &mut Annotations {
        &mut self.annotations
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        import_host_call(func, call, call.gc_signature().unwrap())
    }
}

/// Both halves of a collector, and the bounds of its heap.
struct Config {
    runtime: &'static dyn GcRuntime,
    collector: &'static dyn GcCompiler,
    options: HeapOptions,
}

fn configs(initial: u64, maximum: u64) -> Vec<Config> {
    let mut configs = Vec::new();
    for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
        let options = HeapOptions { initial, maximum, bounds, ..HeapOptions::default() };
        configs.push(Config {
            runtime: &DrcCollector,
            collector: &DrcCompiler,
            options: options.clone(),
        });
        configs.push(Config {
            runtime: &CopyingCollector,
            collector: &CopyingCompiler,
            options: options.clone(),
        });
        configs.push(Config {
            runtime: const { &GenerationalCollector::new() },
            collector: &GenerationalCompiler,
            options: options.clone(),
        });
        let options = HeapOptions { maximum: 256 << 20, ..options };
        configs.push(Config { runtime: &NullCollector, collector: &NullCompiler, options });
    }
    configs
}

impl Config {
    fn abi(&self) -> Abi {
        self.options.abi(self.runtime)
    }

    fn compile(
        &self,
        compiler: &Compiler,
        signature: &Signature,
        body: impl FnOnce(&mut GcEmitter<'_, '_>, &[Value]),
    ) -> CompiledFunction {
        let mut func =
            ir::Function::with_name_signature(UserFuncName::default(), signature.clone());
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        builder.seal_block(entry);
        let params = builder.block_params(entry).to_vec();
        let mut env =
            Env { abi: self.abi(), vmctx: params[0], annotations: Annotations::default() };
        let mut emitter = GcEmitter::new(&mut builder, &mut env, self.collector);
        body(&mut emitter, &params);
        builder.seal_all_blocks();
        builder.finalize(compiler.isa().frontend_config());
        let annotations = Annotations { leaves_instance: true, ..env.annotations };
        compiler.compile_alone(BuiltFunction::new(func, annotations)).unwrap()
    }

    fn fixture(&self) -> Fixture {
        let mut fixture = fixture_with(self.runtime, &self.options);
        for (ty, layout) in [
            (NODE, GcLayout::Struct(node())),
            (WORDS, GcLayout::Array(ArrayLayout::new(StorageType::I64))),
            (REFS, GcLayout::Array(ArrayLayout::new(StorageType::Ref))),
        ] {
            fixture.store.jit.gc_mut().ensure_layout(ty, &Arc::new(layout)).unwrap();
        }
        fixture
    }
}

fn header(e: &mut GcEmitter<'_, '_>, kind: VMGcKind, ty: TypeIndex) -> Value {
    e.builder.ins().iconst(types::I32, i64::from(ty.header_word(kind)))
}

fn new_node(e: &mut GcEmitter<'_, '_>, next: Value, value: Value) -> Value {
    let header = header(e, VMGcKind::StructRef, NODE);
    e.struct_new(header, &node(), &[next, value])
}

/// `f0(n)`: a list of n nodes. Each node is made between two that are garbage at once.
fn build_list(e: &mut GcEmitter<'_, '_>, params: &[Value]) {
    let (test, again, done) =
        (e.builder.create_block(), e.builder.create_block(), e.builder.create_block());
    let list = e.builder.declare_var(types::I64);
    let count = e.builder.declare_var(types::I64);
    let null = e.ref_null();
    e.builder.def_var(list, null);
    e.builder.def_var(count, params[1]);
    e.builder.ins().jump(test, &[]);

    e.builder.switch_to_block(test);
    let n = e.builder.use_var(count);
    e.builder.ins().brif(n, again, &[], done, &[]);

    e.builder.switch_to_block(again);
    e.builder.seal_block(again);
    let tail = e.builder.use_var(list);
    new_node(e, tail, n);
    let new = new_node(e, tail, n);
    new_node(e, new, n);
    e.builder.def_var(list, new);
    let less = e.builder.ins().iadd_imm_s(n, -1);
    e.builder.def_var(count, less);
    e.builder.ins().jump(test, &[]);
    e.builder.seal_block(test);

    e.builder.switch_to_block(done);
    e.builder.seal_block(done);
    let list = e.builder.use_var(list);
    e.builder.ins().return_(&[list]);
}

/// `f1(list)`: the sum of the list's values.
fn sum_list(e: &mut GcEmitter<'_, '_>, params: &[Value]) {
    let (test, again, done) =
        (e.builder.create_block(), e.builder.create_block(), e.builder.create_block());
    let list = e.builder.declare_var(types::I64);
    let sum = e.builder.declare_var(types::I64);
    let zero = e.builder.ins().iconst(types::I64, 0);
    e.builder.def_var(list, params[1]);
    e.builder.def_var(sum, zero);
    e.builder.ins().jump(test, &[]);

    e.builder.switch_to_block(test);
    let node_ref = e.builder.use_var(list);
    let is_null = e.ref_is_null(node_ref);
    e.builder.ins().brif(is_null, done, &[], again, &[]);

    e.builder.switch_to_block(again);
    e.builder.seal_block(again);
    let value = e.struct_get(node_ref, &node(), 1, None);
    let next = e.struct_get(node_ref, &node(), 0, None);
    let old = e.builder.use_var(sum);
    let new = e.builder.ins().iadd(old, value);
    e.builder.def_var(sum, new);
    e.builder.def_var(list, next);
    e.builder.ins().jump(test, &[]);
    e.builder.seal_block(test);

    e.builder.switch_to_block(done);
    e.builder.seal_block(done);
    let sum = e.builder.use_var(sum);
    e.builder.ins().return_(&[sum]);
}

/// `f2(n)`: makes a list, then many lists that it drops, and returns the first list's sum.
fn keep_one(e: &mut GcEmitter<'_, '_>, params: &[Value], sig: &Signature) {
    let build = import_function(e.builder.func, 0, sig.clone());
    let sum = import_function(e.builder.func, 1, sig.clone());
    let call = e.builder.ins().call(build, &[params[0], params[1]]);
    let kept = e.builder.inst_results(call)[0];
    e.declare_ref(kept);
    // A node to which only the heap refers.
    let zero = e.builder.ins().iconst(types::I64, 0);
    let kept = new_node(e, kept, zero);
    for _ in 0..20 {
        let call = e.builder.ins().call(build, &[params[0], params[1]]);
        let dropped = e.builder.inst_results(call)[0];
        e.declare_ref(dropped);
    }
    let call = e.builder.ins().call(sum, &[params[0], kept]);
    let sum = e.builder.inst_results(call)[0];
    e.builder.ins().return_(&[sum]);
}

#[test]
fn lists_survive_the_collections_that_garbage_forces() {
    for opt_level in [OptLevel::Speed, OptLevel::None] {
        let options = CompileOptions { opt_level, verifier: true, ..CompileOptions::default() };
        let compiler = Compiler::new(&NullCompiler, &abi(&[]), &options).unwrap();
        let sig = signature(&[types::I64], &[types::I64]);
        for config in configs(256 << 10, 4 << 20) {
            let functions = vec![
                config.compile(&compiler, &sig, build_list),
                config.compile(&compiler, &sig, sum_list),
                config.compile(&compiler, &sig, |e, params| keep_one(e, params, &sig)),
            ];
            assert!(functions[0].stack_maps().count() >= 3);
            let code = publish_for(config.abi(), functions);
            let mut fixture = config.fixture();
            for _ in 0..3 {
                let args = [ValRaw::i64(10_000)];
                let result = fixture.call(&code, 2, &sig, &args).unwrap();
                assert_eq!(result[0].get_i64(), 10_000 * 10_001 / 2);
            }
            let stats = fixture.store.jit.gc().stats();
            assert!(stats.allocations >= 3 * 21 * 30_000, "{stats:?}");
            if config.runtime.name() == "null" {
                assert_eq!(stats.collections, 0);
            } else {
                assert!(stats.collections > 10, "{stats:?}");
                assert!(stats.peak_heap_bytes <= 4 << 20, "{stats:?}");
                fixture.store.jit.gc().heap().unwrap().verify().unwrap();
            }
        }
    }
}

fn expect_trap<T: std::fmt::Debug>(result: Result<T, CallError>) -> TrapError {
    match result {
        Err(CallError::Trap(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_heap_that_is_full_is_a_trap_that_names_the_limit_and_can_be_survived() {
    let compiler = compiler();
    let sig = signature(&[types::I64], &[types::I64]);
    for mut config in configs(128 << 10, 512 << 10) {
        config.options.maximum = 512 << 10;
        let functions = vec![
            config.compile(&compiler, &sig, build_list),
            config.compile(&compiler, &sig, sum_list),
        ];
        let code = publish_for(config.abi(), functions);
        let mut fixture = config.fixture();
        let args = [ValRaw::i64(1_000_000)];
        let error = expect_trap(fixture.call(&code, 0, &sig, &args));
        assert_eq!(error.trap, Trap::OutOfMemory);
        assert!(matches!(error.detail, Some(HeapError::OutOfMemory { limit: 524_288, .. })));
        if cfg!(feature = "backtrace") {
            assert_eq!(error.backtrace.frames()[0].name, "f0");
        }
        if config.runtime.name() != "null" {
            // Nothing refers to the list any more.
            for _ in 0..3 {
                let args = [ValRaw::i64(1000)];
                fixture.call(&code, 0, &sig, &args).unwrap();
            }
        }
    }
}

#[test]
fn arrays_that_are_too_large_or_too_short_are_traps() {
    let compiler = compiler();
    let sig = signature(&[types::I32, types::I32, types::I32], &[types::I64]);
    let layout = ArrayLayout::new(StorageType::Ref);
    for config in configs(1 << 20, 4 << 20) {
        // Makes an array of `length` references, fills `count` elements from index `from`, and then
        // copies `count` elements from index `from + 1` to index `from`.
        let function = config.compile(&compiler, &sig, |e, params| {
            let header = header(e, VMGcKind::ArrayRef, REFS);
            let array = e.array_new(header, &layout, gc_compiler::ArrayInit::Default(params[1]));
            let null = e.ref_null();
            let zero = e.builder.ins().iconst(types::I64, 0);
            let object = new_node(e, null, zero);
            e.array_fill(array, &layout, params[2], object, params[3]);
            let one = e.builder.ins().iconst(types::I32, 1);
            let from = e.builder.ins().iadd(params[2], one);
            e.array_copy(&layout, (array, params[2]), (array, from), params[3]);
            let last = e.array_get(array, &layout, params[2], None);
            let same = e.builder.ins().icmp(IntCC::Equal, last, object);
            let same = e.builder.ins().uextend(types::I64, same);
            e.builder.ins().return_(&[same]);
        });
        let code = publish_for(config.abi(), vec![function]);
        let mut fixture = config.fixture();
        let mut run = |length: u32, from: u32, count: u32| {
            let args = [length, from, count].map(|n| ValRaw::u64(n.into()));
            fixture.call(&code, 0, &sig, &args)
        };
        assert_eq!(run(10, 2, 3).unwrap()[0].get_u64(), 1);
        let error = expect_trap(run(u32::MAX, 0, 0));
        assert_eq!(error.trap, Trap::AllocationTooLarge);
        assert!(error.detail.is_some() && error.to_string().contains("4294967295"), "{error}");
        // The fill is in bounds and the copy is not.
        assert_eq!(expect_trap(run(10, 2, 8)).trap, Trap::ArrayOutOfBounds);
        let error = expect_trap(run(10, u32::MAX, 2));
        assert_eq!(error.trap, Trap::ArrayOutOfBounds);
        assert_eq!(run(10, 2, 7).unwrap()[0].get_u64(), 1);
    }
}

#[test]
fn host_calls_do_not_trust_what_emitted_code_passes() {
    let compiler = compiler();
    let sig = signature(&[types::I32], &[]);
    for config in configs(1 << 20, 4 << 20) {
        let call = |host: HostCall, args: &'static [i64]| {
            config.compile(&compiler, &sig, move |e, params| {
                let signature = host.gc_signature().unwrap();
                let mut values = vec![params[1]];
                if signature.params[0] != gc_types::HostCallType::I32 {
                    values[0] = e.builder.ins().uextend(types::I64, values[0]);
                }
                for (arg, ty) in args.iter().zip(&signature.params[1..]) {
                    let ty = match ty {
                        gc_types::HostCallType::I32 => types::I32,
                        _ => types::I64,
                    };
                    values.push(e.builder.ins().iconst(ty, *arg));
                }
                e.call_host(host, &values);
                e.builder.ins().return_(&[]);
            })
        };
        let functions = vec![
            call(HostCall::ALLOC_STRUCT, &[]),
            call(HostCall::ALLOC_ARRAY, &[10]),
            call(HostCall::ARRAY_FILL, &[0, 0, 1]),
            call(HostCall::ARRAY_COPY, &[0, 16, 0, 1]),
        ];
        let code = publish_for(config.abi(), functions);
        let mut fixture = config.fixture();
        let mut run = |function, word: u32| {
            let args = [ValRaw::u64(word.into())];
            expect_trap(fixture.call(&code, function, &sig, &args)).trap
        };
        let unknown = TypeIndex::new(1234).unwrap();
        for word in [
            0,
            u32::MAX,
            NODE.header_word(VMGcKind::ArrayRef),
            unknown.header_word(VMGcKind::StructRef),
        ] {
            assert_eq!(run(0, word), Trap::CorruptHeap, "{word:#x}");
        }
        for word in [NODE.header_word(VMGcKind::StructRef), unknown.header_word(VMGcKind::ArrayRef)]
        {
            assert_eq!(run(1, word), Trap::CorruptHeap, "{word:#x}");
        }
        for function in [2, 3] {
            assert_eq!(run(function, 0), Trap::NullReference);
            for word in [8, 0x1_0007, 0x8000_0000, u32::MAX - 7] {
                assert_eq!(run(function, word), Trap::CorruptHeap, "{function} {word:#x}");
            }
        }
    }
}

#[test]
fn a_null_field_access_and_a_damaged_reference_are_told_apart() {
    let compiler = compiler();
    let sig = signature(&[types::I64], &[types::I64]);
    for config in configs(1 << 20, 4 << 20) {
        let function = config.compile(&compiler, &sig, |e, params| {
            let value = e.struct_get(params[1], &node(), 1, None);
            e.builder.ins().return_(&[value]);
        });
        let traps: Vec<_> = function.traps().iter().map(|(_, trap)| *trap).collect();
        assert!(traps.contains(&Trap::NullReference), "{traps:?}");
        let code = publish_for(config.abi(), vec![function]);
        let mut fixture = config.fixture();
        let mut run = |word: u32| {
            let args = [ValRaw::u64(word.into())];
            expect_trap(fixture.call(&code, 0, &sig, &args)).trap
        };
        assert_eq!(run(0), Trap::NullReference);
        assert_eq!(run(0xffff_fff0), Trap::CorruptHeap);
    }
}
