//! Mistakes in code that is written with Cranelift's builder.

use crate::common::loaded;
use cranelift_codegen::ir::{
    self, AbiParam, ExtFuncData, InstBuilder, MemFlagsData, UserExternalName, types,
};
use gc_compiler::{FUNCTION_NAMESPACE, HOST_CALL_NAMESPACE, import_function, import_host_call};
use gc_engine::{Body, CodeOptions, Collector, Engine, Module, Trap, TrapError, Type};
use gc_types::HostCall;

fn engine() -> Engine {
    Engine::new(Collector::default()).unwrap()
}

/// Makes a module with the functions `id` (0), from integer to integer, and `new` (1), from integer
/// to reference, and a function with this code.
fn build(code: impl FnOnce(&mut Body<'_, '_>)) -> anyhow::Result<Module> {
    let mut module = Module::new(&engine());
    let id = module.declare("id", [Type::I64], [Type::I64])?;
    module.define(&id, |f| {
        let value = f.param(0);
        f.ret(&[value]);
    })?;
    let boxed = module.struct_type("boxed", [Type::I64])?;
    module.function("new", [Type::I64], [Type::Ref], |f| {
        let value = f.param(0);
        let object = f.struct_new(&boxed, &[value]);
        f.ret(&[object]);
    })?;
    module.function("f", [Type::I64], [Type::I64], code)?;
    Ok(module)
}

#[track_caller]
fn refused(expected: &str, code: impl FnOnce(&mut Body<'_, '_>)) {
    let error = build(code).expect_err("it compiled");
    let text = format!("{error:#}");
    assert!(text.contains(expected) && text.starts_with("function `f`: "), "{text}");
}

fn ret(f: &mut Body<'_, '_>) {
    let value = f.param(0);
    f.ret(&[value]);
}

fn import(f: &mut Body<'_, '_>, namespace: u32, index: u32) -> ir::FuncRef {
    let func = &mut f.builder().func;
    let name = func.declare_imported_user_function(UserExternalName { namespace, index });
    let signature = func.signature.clone();
    let signature = func.import_signature(signature);
    let name = ir::ExternalName::user(name);
    func.import_function(ExtFuncData { name, signature, colocated: true, patchable: false })
}

#[test]
fn imports_have_the_signatures_of_what_they_name() {
    // The signature of `f` is that of `id`.
    let module = build(|f| {
        let signature = f.builder().func.signature.clone();
        let id = import_function(f.builder().func, 0, signature);
        let vmctx = f.builder().block_params(ir::Block::from_u32(0))[0];
        let value = f.param(0);
        let call = f.ins().call(id, &[vmctx, value]);
        let result = f.builder().inst_results(call)[0];
        f.ret(&[result]);
    });
    let module = module.unwrap();
    let engine = module.engine().clone();
    let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
    assert_eq!(store.function::<i64, i64>("f").unwrap().call(&mut store, 7).unwrap(), 7);

    refused("it imports `id` with the signature", |f| {
        let mut signature = f.builder().func.signature.clone();
        signature.params[1] = AbiParam::new(types::F64);
        import_function(f.builder().func, 0, signature);
        ret(f);
    });
    refused("it imports `gc_alloc_struct` with the signature", |f| {
        import(f, HOST_CALL_NAMESPACE, HostCall::ALLOC_STRUCT.index());
        ret(f);
    });
    refused("it imports function 9, which is not declared", |f| {
        import(f, FUNCTION_NAMESPACE, 9);
        ret(f);
    });
    refused("it imports host call 4000, which its engine does not have", |f| {
        let signature = HostCall::ALLOC_STRUCT.gc_signature().unwrap();
        import_host_call(f.builder().func, HostCall::from_index(4000), signature);
        ret(f);
    });
    refused("it imports a function of the unknown namespace 77", |f| {
        import(f, 77, 0);
        ret(f);
    });
    refused("which is not a function of its module", |f| {
        let id = import(f, FUNCTION_NAMESPACE, 0);
        let name = ir::ExternalName::LibCall(ir::LibCall::Memcpy);
        f.builder().func.dfg.ext_funcs[id].name = name;
        ret(f);
    });
}

/// A reference is an `I64` too, so the signatures are equal, but the types are not.
#[test]
fn functions_of_other_types_do_not_share_a_signature() {
    refused("it imports `new` with the `SigRef` of a function of another type", |f| {
        let [id, new] = [0, 1].map(|index| import(f, FUNCTION_NAMESPACE, index));
        let functions = &mut f.builder().func.dfg.ext_funcs;
        functions[new].signature = functions[id].signature;
        ret(f);
    });
}

#[test]
fn an_extended_integer_is_not_a_reference() {
    let use_as_reference = |extend: fn(&mut Body<'_, '_>, ir::Value) -> ir::Value| {
        let mut module = Module::new(&engine());
        let boxed = module.struct_type("boxed", [Type::I64]).unwrap();
        let defined = module.function("f", [Type::I32], [Type::I64], |f| {
            let number = f.param(0);
            let reference = extend(f, number);
            let value = f.struct_get(&boxed, reference, 0);
            f.ret(&[value]);
        });
        defined.map(|_| ()).map_err(|error| format!("{error:#}"))
    };
    let wrong: [fn(&mut Body<'_, '_>, ir::Value) -> ir::Value; 3] = [
        |f, number| f.ins().uextend(types::I64, number),
        |f, number| {
            let other = f.ins().bor_imm_u(number, 2);
            f.ins().uextend(types::I64, other)
        },
        |f, number| {
            let other = f.ins().ishl_imm_u(number, 1);
            f.ins().uextend(types::I64, other)
        },
    ];
    for extend in wrong {
        let error = use_as_reference(extend).unwrap_err();
        assert!(error.contains("a reference, but was given an integer"), "{error}");
    }
    let mut module = Module::new(&engine());
    let small = module.function("small", [Type::I32], [Type::Ref], |f| {
        let number = f.param(0);
        let small = f.i31(number);
        f.ret(&[small]);
    });
    small.unwrap();
}

#[test]
fn no_code_changes_the_stack_limit() {
    let changes: [fn(&mut ir::Function); 2] = [
        |func| func.stack_limit = None,
        |func| {
            let vmctx = func.create_global_value(ir::GlobalValueData::VMContext);
            func.stack_limit = Some(vmctx);
        },
    ];
    for change in changes {
        let module = build(|f| {
            change(f.builder().func);
            let value = f.param(0);
            let result = f.call("f", &[value])[0];
            let sum = f.add(result, value);
            f.ret(&[sum]);
        });
        let module = module.unwrap();
        let engine = module.engine().clone();
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        let error = store.function::<i64, i64>("f").unwrap().call(&mut store, 1).unwrap_err();
        assert_eq!(error.downcast::<TrapError>().unwrap().trap, Trap::StackOverflow);
    }
}

/// A tail call returns what its callee returns.
#[test]
fn a_tail_call_has_the_results_of_its_function() {
    let code = CodeOptions { inlining: false, ..CodeOptions::default() };
    let engine = Engine::builder(Collector::copying()).code(code).build().unwrap();
    let mut module = Module::new(&engine);
    let id = module.declare("id", [Type::I64], [Type::I64]).unwrap();
    module.define(&id, ret).unwrap();
    module
        .function("forge", [Type::I64], [Type::Ref], |f| {
            let signature = f.builder().func.signature.clone();
            let callee = import_function(f.builder().func, 0, signature);
            let vmctx = f.builder().block_params(ir::Block::from_u32(0))[0];
            let value = f.param(0);
            f.ins().return_call(callee, &[vmctx, value]);
        })
        .unwrap();
    let error = format!("{:#}", module.compile().unwrap_err());
    assert!(error.starts_with("function `forge`: "), "{error}");
    assert!(error.contains("other results"), "{error}");
}

/// A float can hold a reference, but is in no stack map.
#[test]
fn a_reference_does_not_survive_a_call_as_a_float() {
    let mut module = Module::new(&engine());
    let boxed = module.struct_type("boxed", [Type::I64]).unwrap();
    module
        .function("f", [Type::I64], [Type::Ref], |f| {
            let value = f.param(0);
            let object = f.struct_new(&boxed, &[value]);
            let float = f.ins().bitcast(types::F64, MemFlagsData::new(), object);
            f.struct_new(&boxed, &[value]);
            let integer = f.ins().bitcast(types::I64, MemFlagsData::new(), float);
            let mask = f.i64(0xffff_ffff);
            let integer = f.ins().band(integer, mask);
            let integer = f.declare_ref(integer);
            f.ins().return_(&[integer]);
        })
        .unwrap();
    let error = format!("{:#}", module.compile().unwrap_err());
    assert!(error.starts_with("function `f`: roots: "), "{error}");
}
