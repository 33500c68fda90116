//! Functions that the driver refuses in every build.

use cranelift_codegen::ir::{self, AbiParam, ArgumentPurpose, InstBuilder, types};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_compiler::Annotations;
use gc_compiler::collector::{copying::CopyingCompiler, null::NullCompiler};
use gc_compiler::{
    BuiltFunction, CompileOptions, Compiler, GcCompiler, GcEmitter, GcFuncEnv, HOST_CALL_NAMESPACE,
    import_function,
};
use gc_types::{Abi, HostCall};

fn signature(call_conv: CallConv) -> ir::Signature {
    let mut signature = ir::Signature::new(call_conv);
    signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
    signature
}

/// Compiles a function that makes a call, and returns the error.
fn error(own: CallConv, call: impl Fn(&mut FunctionBuilder<'_>, ir::Value)) -> Option<String> {
    let abi = Abi::new(NullCompiler.abi());
    let compiler = Compiler::new(&NullCompiler, &abi, &CompileOptions::default()).unwrap();
    let mut func = ir::Function::with_name_signature(Default::default(), signature(own));
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let vmctx = builder.block_params(entry)[0];
    call(&mut builder, vmctx);
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(compiler.isa().frontend_config());
    let compiled = compiler.compile_alone(BuiltFunction::new(func, Default::default()));
    compiled.err().map(|error| format!("{error:#}"))
}

#[test]
fn another_calling_convention_is_refused() {
    let nothing = |_: &mut FunctionBuilder<'_>, _| ();
    assert_eq!(error(CallConv::Tail, nothing), None);
    let own = error(CallConv::SystemV, nothing).expect("refused");
    assert!(own.contains("`system_v`") && own.contains("`tail`"), "{own}");

    let call = |conv| {
        error(CallConv::Tail, move |builder, vmctx| {
            let callee = import_function(builder.func, 0, signature(conv));
            builder.ins().call(callee, &[vmctx]);
        })
    };
    assert_eq!(call(CallConv::Tail), None);
    let callee = call(CallConv::SystemV).expect("refused");
    assert!(callee.contains("call fn0") && callee.contains("`tail`"), "{callee}");

    let indirect = error(CallConv::Tail, |builder, vmctx| {
        let signature = builder.import_signature(signature(CallConv::SystemV));
        builder.ins().call_indirect(signature, vmctx, &[vmctx]);
    });
    assert!(indirect.expect("refused").contains("call_indirect"));
}

/// A function of a heap of the null collector, which emits nothing.
struct Env(Abi, Annotations);

impl GcFuncEnv for Env {
    fn abi(&self) -> &Abi {
        &self.0
    }

    fn vmctx(&mut self, _: &mut ir::Function) -> ir::Value {
        unreachable!("nothing is emitted")
    }

    fn host_call(&mut self, _: &mut ir::Function, _: HostCall) -> ir::FuncRef {
        unreachable!("nothing is emitted")
    }

    fn annotations(&mut self) -> &mut Annotations {
        &mut self.1
    }
}

/// Makes an emitter of `gc` for a function of a heap of the null collector.
fn emitter_of(gc: &dyn GcCompiler) {
    let mut func = ir::Function::new();
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    let mut env = Env(Abi::new(NullCompiler.abi()), Annotations::default());
    GcEmitter::new(&mut builder, &mut env, gc);
}

#[test]
fn a_compiler_for_the_heap_of_another_collector_is_refused() {
    let abi = Abi::new(NullCompiler.abi());
    let error = Compiler::new(&CopyingCompiler, &abi, &CompileOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), "the code is that of `copying`, but the ABI is that of `null`");
}

#[test]
fn an_emitter_of_the_heaps_collector_is_made() {
    emitter_of(&NullCompiler);
}

#[test]
#[should_panic(expected = "code of collector `copying` for a heap of `null`")]
fn an_emitter_of_another_collector_is_refused() {
    emitter_of(&CopyingCompiler);
}

#[test]
fn an_instruction_that_would_end_the_process_is_refused() {
    let error = error(CallConv::Tail, |builder, _| {
        builder.ins().debugtrap();
    });
    assert!(error.expect("refused").contains("`debugtrap`"));
}

/// There is no table of functions from which the address could be loaded.
#[test]
fn the_address_of_a_function_is_refused() {
    let abi = Abi::new(NullCompiler.abi());
    let compiler = Compiler::new(&NullCompiler, &abi, &CompileOptions::default()).unwrap();
    let mut linker = gc_compiler::ImageLinker::new();
    let own = signature(CallConv::Tail);
    let mut func = ir::Function::with_name_signature(Default::default(), own.clone());
    let mut context = FunctionBuilderContext::new();
    let mut builder = FunctionBuilder::new(&mut func, &mut context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    let vmctx = builder.block_params(entry)[0];
    let callee = import_function(builder.func, 0, own.clone());
    let address = builder.ins().func_addr(types::I64, callee);
    let imported = builder.import_signature(own);
    builder.ins().call_indirect(imported, address, &[vmctx]);
    builder.ins().return_(&[]);
    builder.seal_all_blocks();
    builder.finalize(compiler.isa().frontend_config());
    let compiled = compiler.compile_alone(BuiltFunction::new(func, Default::default())).unwrap();
    linker.define(0, "self".to_owned(), compiled).unwrap();
    let error = format!("{:#}", linker.link(&compiler).unwrap_err());
    assert!(error.contains("self takes the address of"), "{error}");
}

/// Vector instructions that x86-64 machines have only with an extension. The error names it.
#[test]
#[cfg(any(target_arch = "x86_64", feature = "cross"))]
fn instructions_that_the_machine_lacks() {
    type Emit = fn(&mut FunctionBuilder<'_>, ir::Value) -> ir::Value;
    let cases: [(&[&'static str], &str, Emit); 4] = [
        (&[], "ssse3", |builder, a| builder.ins().swizzle(a, a)),
        (&["ssse3"], "sse41", |builder, a| {
            let a = cast(builder, types::F32X4, a);
            builder.ins().floor(a)
        }),
        (&["sse41"], "fma", |builder, a| {
            let a = cast(builder, types::F64X2, a);
            builder.ins().fma(a, a, a)
        }),
        (&[], "", |builder, a| builder.ins().iadd(a, a)),
    ];
    for (features, missing, emit) in cases {
        let machine =
            gc_types::Machine::new("x86_64", "linux").with_features(features.iter().copied());
        let abi = Abi::new(NullCompiler.abi()).with_machine(machine);
        let compiler = Compiler::new(&NullCompiler, &abi, &CompileOptions::default()).unwrap();
        let mut signature = signature(CallConv::Tail);
        signature.params.push(AbiParam::new(types::I8X16));
        signature.returns.push(AbiParam::new(types::I8X16));
        let mut func = ir::Function::with_name_signature(Default::default(), signature);
        let mut context = FunctionBuilderContext::new();
        let mut builder = FunctionBuilder::new(&mut func, &mut context);
        let entry = builder.create_block();
        builder.append_block_params_for_function_params(entry);
        builder.switch_to_block(entry);
        let value = builder.block_params(entry)[1];
        let value = emit(&mut builder, value);
        let value = match builder.func.dfg.value_type(value) {
            types::I8X16 => value,
            _ => cast(&mut builder, types::I8X16, value),
        };
        builder.ins().return_(&[value]);
        builder.seal_all_blocks();
        builder.finalize(compiler.isa().frontend_config());
        match compiler.compile_alone(BuiltFunction::new(func, Default::default())) {
            Ok(_) => assert_eq!(missing, ""),
            Err(error) => {
                let message = format!("the code needs a processor with `{missing}`, which x86_64");
                assert!(error.to_string().starts_with(&message), "{error}");
            }
        }
    }
}

/// `value` as a vector of type `ty`.
#[cfg(any(target_arch = "x86_64", feature = "cross"))]
fn cast(builder: &mut FunctionBuilder<'_>, ty: ir::Type, value: ir::Value) -> ir::Value {
    let flags = ir::MemFlagsData::new().with_endianness(ir::Endianness::Little);
    builder.ins().bitcast(ty, flags, value)
}

#[test]
fn a_host_call_with_other_arguments_is_refused() {
    let call = |params: usize, args: usize| {
        error(CallConv::Tail, move |builder, vmctx| {
            let mut signature = ir::Signature::new(CallConv::PreserveAll);
            signature.params.extend(vec![AbiParam::new(types::I64); params]);
            let name =
                ir::UserExternalName::new(HOST_CALL_NAMESPACE, HostCall::ALLOC_ARRAY.index());
            let name = builder.func.declare_imported_user_function(name);
            let signature = builder.import_signature(signature);
            let callee = ir::ExtFuncData {
                name: ir::ExternalName::user(name),
                signature,
                colocated: true,
                patchable: false,
            };
            let callee = builder.import_function(callee);
            builder.ins().call(callee, &vec![vmctx; args]);
        })
    };
    assert_eq!(call(1, 1), None);
    let more = call(2, 1).expect("refused");
    assert!(more.contains("has 2 parameters, but the call has 1 arguments"), "{more}");
    let none = call(0, 0).expect("refused");
    assert!(none.contains("the first parameter of a host call is the vmctx"), "{none}");
}
