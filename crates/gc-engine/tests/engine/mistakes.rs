//! Each mistake that a user can make is reported as an error at its place. A step that is left out,
//! or a mismatch, never leads to a wrong result.

use crate::common::loaded;
use crate::common::{engines, lists};
use cranelift_codegen::ir::{InstBuilder, types};
use cranelift_codegen::isa::CallConv;
use gc_engine::{
    Body, CodeOptions, Collector, Control, Engine, HeapBounds, HeapOptions, Module, OptLevel,
    Rooted, Trap, TrapError, Type,
};
use gc_types::{HostCall, HostSignature, I31, VMGcRef};

fn engine() -> Engine {
    Engine::new(Collector::default()).unwrap()
}

/// The error of a function that takes a reference and returns an integer.
#[track_caller]
fn fails(expected: &str, build: impl FnOnce(&mut Body<'_, '_>)) {
    let mut module = lists(&engine()).0;
    let error = module.function("f", [Type::Ref], [Type::I64], build).expect_err("it compiled");
    let text = format!("{error:#}");
    assert!(text.contains(expected), "{text}");
    assert!(text.contains("function `f`"), "{text}");
    // The module can still be used.
    module
        .function("g", [Type::I64], [Type::I64], |f| {
            let value = f.param(0);
            f.ret(&[value]);
        })
        .unwrap();
}

#[test]
fn another_calling_convention_is_refused() {
    fails("calling convention was changed to `system_v`", |f| {
        f.builder().func.signature.call_conv = CallConv::SystemV;
        let zero = f.i64(0);
        f.ret(&[zero]);
    });
    fails("its signature was changed", |f| {
        f.builder().func.signature.params.clear();
        let zero = f.i64(0);
        f.ret(&[zero]);
    });
}

/// `I64` and `Ref` have the same CLIF type.
#[test]
fn an_integer_is_not_a_reference() {
    let integer = "a reference, but was given an integer";
    let cell =
        |f: &mut Body<'_, '_>| f.module().struct_type("cell", [Type::I64, Type::Ref]).unwrap();
    fails(integer, |f| {
        let (cell, number) = (cell(f), f.i64(0x1_0008));
        let value = f.struct_get(&cell, number, 0);
        f.ret(&[value]);
    });
    fails(integer, |f| {
        let (cell, object) = (cell(f), f.param(0));
        let number = f.struct_get(&cell, object, 0);
        f.struct_set(&cell, object, 1, number);
    });
    fails(integer, |f| {
        let (number, variable) = (f.i64(16), f.variable(Type::Ref));
        f.set(variable, number);
    });
    fails(integer, |f| {
        let number = f.i64(16);
        f.call("f", &[number]);
    });
    for engine in engines() {
        let mut module = Module::new(&engine);
        let cell = module.struct_type("cell", [Type::I64]).unwrap();
        let error = module.function("peek", [Type::I64], [Type::I64], |f| {
            let address = f.param(0);
            let value = f.struct_get(&cell, address, 0);
            f.ret(&[value]);
        });
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.contains(integer), "{text}");
        let error = module.function("result", [Type::I64], [Type::Ref], |f| {
            let number = f.param(0);
            f.ret(&[number]);
        });
        assert!(format!("{:#}", error.unwrap_err()).contains(integer));
    }
}

#[test]
fn null_and_small_integers_are_references() {
    let engine = engine();
    let mut module = Module::new(&engine);
    let seven = VMGcRef::from_i31(I31::wrapping_i32(7)).as_raw_u32();
    for (name, constant) in [("null", 0), ("seven", seven)] {
        module
            .function(name, [], [Type::Ref], |f| {
                let value = f.i64(constant.into());
                f.ret(&[value]);
            })
            .unwrap();
    }
}

/// The checkers find what the body cannot see, in release builds too.
#[test]
fn an_integer_that_is_declared_as_a_reference_is_refused() {
    let mut module = lists(&engine()).0;
    module
        .function("f", [Type::Ref], [Type::I64], |f| {
            let cell = f.module().struct_type("boxed", [Type::I64]).unwrap();
            let object = f.param(0);
            let number = f.struct_get(&cell, object, 0);
            let reference = f.declare_ref(number);
            let value = f.struct_get(&cell, reference, 0);
            f.ret(&[value]);
        })
        .unwrap();
    let error = format!("{:#}", module.compile().unwrap_err());
    assert!(error.starts_with("function `f`: sandbox: "), "{error}");
}

/// The collector would not update it.
#[test]
fn a_reference_is_not_an_integer() {
    fails("`set` takes a value of type i64, but was given a reference", |f| {
        let (object, variable) = (f.param(0), f.variable(Type::I64));
        f.set(variable, object);
    });
    fails("`ret` takes a value of type i64, but was given a reference", |f| {
        let object = f.param(0);
        f.ret(&[object]);
    });
    fails("field 0 is of type I64, but the value is a reference", |f| {
        let cell = f.module().struct_type("boxed", [Type::I64]).unwrap();
        let object = f.param(0);
        f.struct_set(&cell, object, 0, object);
    });
}

#[test]
fn what_belongs_to_another_function_is_refused() {
    fails("it has no parameter 1: it has 1", |f| {
        let value = f.param(1);
        f.ret(&[value]);
    });
    let mut escaped = None;
    fails("it can reach its end", |f| {
        let values: Vec<_> = (0..9).map(|n| f.i64(n)).collect();
        escaped = Some((f.variable(Type::I64), values[8]));
    });
    let (variable, value) = escaped.unwrap();
    fails("a variable of another function", |f| {
        let zero = f.i64(0);
        f.set(variable, zero);
    });
    fails("a variable of another function", |f| {
        let value = f.get(variable);
        f.ret(&[value]);
    });
    fails("is not a value of this function", |f| f.ret(&[value]));
    fails("is not a value of this function", |f| {
        f.add(value, value);
    });
}

#[test]
fn operands_have_fitting_types() {
    fails("`add` takes two integers of one type, not i64 and i32", |f| {
        let (a, b) = (f.i64(1), f.i32(1));
        let sum = f.add(a, b);
        f.ret(&[sum]);
    });
    fails("`sub` takes two integers of one type, not f64 and f64", |f| {
        let a = f.ins().f64const(1.0);
        f.sub(a, a);
    });
    fails("a condition is an integer, not a value of f64", |f| {
        let a = f.ins().f64const(1.0);
        f.if_then(a, |_| ());
    });
    // The verifier's messages are not lost.
    fails("iadd", |f| {
        let (a, b) = (f.i64(1), f.i32(1));
        let sum = f.ins().iadd(a, b);
        f.ret(&[sum]);
    });
}

#[test]
fn a_function_that_failed_can_be_defined_again() {
    let engine = engine();
    let mut module = Module::new(&engine);
    module.function("f", [], [Type::I64], |_| ()).unwrap_err();
    module
        .function("f", [], [Type::I64], |f| {
            let one = f.i64(1);
            f.ret(&[one]);
        })
        .unwrap();
    let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
    assert_eq!(store.function::<(), i64>("f").unwrap().call(&mut store, ()).unwrap(), 1);
}

#[test]
fn an_embedder_keeps_the_collector() {
    let drc = Engine::new(Collector::drc()).unwrap();
    let error = Engine::builder(Collector::copying()).build_with(|_| (**drc.abi()).clone());
    let text = format!("{:#}", error.expect_err("it was built"));
    assert!(text.contains("collector is `copying` here, but `drc` there"), "{text}");
}

#[test]
fn stores_move_between_threads() {
    let engine = engine();
    let module = lists(&engine).0;
    let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
    let live = std::thread::spawn(move || {
        store.collect().unwrap();
        store.stats().live_objects
    });
    assert_eq!(live.join().unwrap(), 0);
}

/// A reference is a root without a declaration, even if Cranelift's builder passes it to a block.
#[test]
fn safepoints_are_placed_without_being_asked_for() {
    for engine in engines() {
        let mut module = Module::new(&engine);
        let cell = module.struct_type("cell", [Type::I64, Type::Ref]).unwrap();
        module
            .function("f", [Type::I64], [Type::I64], |f| {
                let (value, null) = (f.param(0), f.null());
                let first = f.struct_new(&cell, &[value, null]);
                // It is passed through a block parameter that only Cranelift's builder knows.
                let block = f.builder().create_block();
                let passed = f.builder().append_block_param(block, types::I64);
                f.ins().jump(block, &[first.into()]);
                f.builder().switch_to_block(block);
                let second = f.struct_new(&cell, &[value, passed]);
                let third = f.struct_new(&cell, &[value, null]);
                let chosen = f.ins().select(value, passed, third);
                f.struct_new(&cell, &[value, null]);
                let (a, tail) = (f.struct_get(&cell, chosen, 0), f.struct_get(&cell, second, 1));
                let b = f.struct_get(&cell, tail, 0);
                let sum = f.add(a, b);
                f.ret(&[sum]);
            })
            .unwrap();
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        let f = store.function::<i64, i64>("f").unwrap();
        assert_eq!(f.call(&mut store, 21).unwrap(), 42, "{engine:?}");
    }
}

#[test]
fn code_for_another_kind_of_heap_is_refused() {
    let compile = |engine: &Engine| lists(engine).0.compile().unwrap();
    let small = |bytes| Engine::builder(Collector::generational()).heap_maximum(bytes);
    let usual = small(1 << 30).build().unwrap();
    let of_usual = || usual.heap_options().clone();
    let checked = HeapOptions { bounds: HeapBounds::Checked, ..of_usual() };
    let code = compile(&usual);
    for (other, difference) in [
        (
            Engine::new(Collector::drc()).unwrap(),
            "collector is `drc` here, but `generational` there",
        ),
        (
            Engine::new("generational:nursery=1MiB".parse().unwrap()).unwrap(),
            "collector.nursery is `1048576` here, but `67108864` there",
        ),
        (
            small(1 << 30).heap(checked).build().unwrap(),
            "heap.bounds is `checked` here, but `guarded` there",
        ),
        (small(1 << 30).zeal(1).build().unwrap(), "heap.zeal is `true` here, but `false` there"),
    ] {
        let error = format!("{:#}", loaded(&other, &code).unwrap_err());
        assert!(error.contains("compiled for another kind of store"), "{error}");
        assert!(error.contains(difference), "{error}");
    }
    // Options on which code does not depend may differ.
    let initial = HeapOptions { initial: 2 << 20, maximum: 8 << 20, ..of_usual() };
    let same = Engine::builder(Collector::generational())
        .heap(initial)
        .opt_level(OptLevel::None)
        .build()
        .unwrap();
    let error = loaded(&same, &code).unwrap_err().to_string();
    assert!(error.contains("compiled for another engine"), "{error}");
    loaded(&same, &code.for_engine(&same).unwrap()).unwrap();
}

#[test]
fn code_with_host_calls_of_an_embedder_needs_its_store() {
    let signature = HostCall::ALLOC_STRUCT.gc_signature().unwrap();
    let call = (HostCall::embedder(0), HostSignature { name: "print", ..*signature });
    let engine = Engine::builder(Collector::default());
    let engine = engine.build_with(|abi| abi.with_host_calls([call])).unwrap();
    let code = lists(&engine).0.compile().unwrap();
    let error = loaded(&engine, &code).expect_err("an error").to_string();
    assert!(error.contains("print") && error.contains("the store does not have"), "{error}");
}

#[test]
fn types_belong_to_their_module() {
    let mut other = Module::new(&engine());
    // It has the same index as the lists' cells, and another layout.
    let foreign = other.struct_type("foreign", [Type::Ref, Type::I64]).unwrap();
    fails("a type of another module", |f| {
        let list = f.param(0);
        let value = f.struct_get(&foreign, list, 1);
        f.ret(&[value]);
    });
    let foreign = other.declare("list", [Type::I64], [Type::I64]).unwrap();
    fails("declared in another module", |f| {
        let one = f.i64(1);
        let result = f.call(&foreign, &[one]);
        f.ret(&result[..1]);
    });
    let error = lists(&engine()).0.define(&foreign, |_| ()).unwrap_err().to_string();
    assert!(error.contains("declared in another module"), "{error}");
}

#[test]
fn values_of_wrong_types_are_refused() {
    let mut module = Module::new(&engine());
    let cell = module.struct_type("cell", [Type::I64, Type::Ref]).unwrap();
    let mut fails = |expected: &str, build: &dyn Fn(&mut Body<'_, '_>)| {
        let name = format!("{expected}, and so refused");
        let error = module.function(&name, [Type::Ref], [Type::I64], build).expect_err(expected);
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    };
    fails("field 0 of a `cell` is of type I64, but the value is of i32", &|f| {
        let (one, null) = (f.i32(1), f.null());
        f.struct_new(&cell, &[one, null]);
    });
    fails("a `cell` has 2 fields, but `struct_new` is given 1", &|f| {
        let one = f.i64(1);
        f.struct_new(&cell, &[one]);
    });
    fails("there is no field 2: the number of fields is 2", &|f| {
        let object = f.param(0);
        f.struct_get(&cell, object, 2);
    });
    fails("`set` takes a value of type f64", &|f| {
        let (variable, one) = (f.variable(Type::F64), f.i64(1));
        f.set(variable, one);
    });
    fails("`ret` takes a value of type i64, but was given one of i32", &|f| {
        let one = f.i32(1);
        f.ret(&[one]);
    });
    fails("it returns 0 values, not 1", &|f| f.ret(&[]));
}

#[test]
fn calls_that_do_not_fit_are_refused() {
    fails("it calls `product`, which is not declared", |f| {
        let list = f.param(0);
        let result = f.call("product", &[list]);
        f.ret(&result[..1]);
    });
    fails("it calls `sum`, which takes 1 values, with 2", |f| {
        let list = f.param(0);
        let result = f.call("sum", &[list, list]);
        f.ret(&result[..1]);
    });
    fails("`list` takes a value of type i64, but was given one of i32", |f| {
        let one = f.i32(1);
        f.call("list", &[one]);
    });
    fails("it makes a tail call of `list`, which has other results", |f| {
        let one = f.i64(1);
        f.tail_call("list", &[one]);
    });
}

#[test]
fn a_function_must_return() {
    fails("it can reach its end without returning (ref) -> (i64)", |f| {
        let (list, zero) = (f.param(0), f.i64(0));
        f.if_then(list, |f| f.ret(&[zero]));
    });
    fails("does not end with a branch or a return", |f| {
        let zero = f.i64(0);
        f.ret(&[zero]);
        // Cranelift refuses a switch from a block that has not ended, unless the block is not
        // reached.
        f.i64(1);
        let next = f.builder().create_block();
        f.builder().switch_to_block(next);
        f.ret(&[zero]);
    });
    // All paths return, so the end is not reached.
    let (mut module, cell) = lists(&engine());
    module
        .function("f", [Type::Ref], [Type::I64], |f| {
            let (list, zero) = (f.param(0), f.i64(0));
            f.if_else(
                list,
                |f| {
                    let head = f.struct_get(&cell, list, 0);
                    f.ret(&[head]);
                },
                |f| f.ret(&[zero]),
            );
        })
        .unwrap();
}

#[test]
fn functions_are_defined_once() {
    let mut module = lists(&engine()).0;
    let error = module.function("list", [], [], |_| ()).unwrap_err().to_string();
    assert_eq!(error, "the function `list` is already defined");
    let later = module.declare("later", [], []).unwrap();
    let error = module.declare("later", [], []).unwrap_err().to_string();
    assert_eq!(error, "the function `later` is already declared");
    module.define(&later, |_| ()).unwrap();
    let error = module.define(&later, |_| ()).unwrap_err().to_string();
    assert_eq!(error, "the function `later` is defined twice");
    module.declare("never", [], []).unwrap();
    let error = module.compile().unwrap_err().to_string();
    assert_eq!(error, "the function `never` is declared, but not defined");
}

#[test]
fn what_the_closure_fails_with_is_the_error() {
    let mut module = Module::new(&engine());
    let build = |_: &mut Body<'_, '_>| -> anyhow::Result<()> { anyhow::bail!("line 3: no") };
    let error = module.function("f", [], [], build).unwrap_err();
    assert_eq!(format!("{error:#}"), "function `f`: line 3: no");
}

#[test]
fn a_function_is_looked_up_by_name_and_type() {
    let engine = engine();
    let store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
    let error = store.function::<i64, Rooted>("lists").unwrap_err().to_string();
    assert_eq!(error, "no function `lists`; available: `head`, `list`, `sum`");
    let error = store.function::<(i64, i64), Rooted>("list").unwrap_err().to_string();
    assert_eq!(error, "the function `list` is of type (i64) -> (ref), not (i64, i64) -> (ref)");
    let error = store.function::<i64, i64>("list").unwrap_err().to_string();
    assert_eq!(error, "the function `list` is of type (i64) -> (ref), not (i64) -> (i64)");
}

#[test]
fn a_function_of_another_store_is_refused() {
    let engine = engine();
    let mut stores =
        [(); 2].map(|()| loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap());
    let list = stores[0].function::<i64, Rooted>("list").unwrap();
    list.call(&mut stores[0], 1).unwrap();
    let error = list.call(&mut stores[1], 1).unwrap_err().to_string();
    assert_eq!(error, "the function belongs to another store");
}

#[test]
fn traps_say_what_and_where() {
    for engine in engines() {
        let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
        let trap = |error: anyhow::Error, trap: Trap, function: &str| {
            let error = error.downcast::<TrapError>().expect("a trap");
            assert_eq!(error.trap, trap, "{engine:?}");
            assert_eq!(error.backtrace.frames()[0].name, function, "{engine:?}");
        };
        let head = store.function::<Option<Rooted>, i64>("head").unwrap();
        trap(head.call(&mut store, None).unwrap_err(), Trap::NullReference, "head");
        // The store can still be used.
        let list = store.function::<i64, Rooted>("list").unwrap();
        let made = list.call(&mut store, 3).unwrap();
        let sum = store.function::<Option<Rooted>, i64>("sum").unwrap();
        assert_eq!(sum.call(&mut store, Some(made)).unwrap(), 6);
        if engine.heap_options().zeal == 0 {
            let long = list.call(&mut store, 100_000).unwrap();
            let error = sum.call(&mut store, Some(long)).unwrap_err();
            trap(error, Trap::StackOverflow, "sum");
            let error = list.call(&mut store, 100_000_000).unwrap_err();
            trap(error, Trap::OutOfMemory, "list");
        }
    }
}

#[test]
fn null_is_no_rooted() {
    let engine = engine();
    let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
    let list = store.function::<i64, Rooted>("list").unwrap();
    let error = list.call(&mut store, 0).unwrap_err().to_string();
    assert_eq!(error, "the reference is null: an `Option<Rooted>` may be null");
}

#[test]
fn options_out_of_range_are_errors() {
    for (engine, expected) in [
        (Engine::builder(Collector::drc()).heap_maximum(1 << 33), "between 128 KiB and 4 GiB"),
        (Engine::builder(Collector::drc()).heap_maximum(1), "between 128 KiB and 4 GiB"),
        (Engine::builder(Collector::drc()).max_stack(1), "at least 16 KiB"),
    ] {
        let error = engine.build().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // The collector's own limit is smaller.
    let drc = Engine::builder(Collector::drc()).heap_maximum(4 << 30).build().unwrap();
    assert_eq!(drc.heap_options().maximum, Collector::drc().max_heap_size());
}

#[test]
fn compile_options_do_not_switch_off_the_checks() {
    for verifier in [false, true] {
        for verify in [false, true] {
            let compile = gc_compiler::CompileOptions { verifier, ..Default::default() };
            let code = CodeOptions { compile, verify, ..CodeOptions::default() };
            let engine = Engine::builder(Collector::default()).code(code).build().unwrap();
            assert_eq!(engine.verifies(), verify);
        }
    }
}

/// A closure must capture a value of the function around it.
#[test]
fn values_of_the_function_around_are_refused() {
    let mut module = Module::new(&engine());
    let around = module.function("outer", [Type::I64, Type::I64], [Type::I64], |f| {
        let own = f.param(1);
        let inner = f.module().declare_local("inner", [Type::I64, Type::I64], [Type::I64])?;
        f.module().define(&inner, |g| g.ret(&[own]))?;
        anyhow::Ok(())
    });
    let text = format!("{:#}", around.unwrap_err());
    assert!(text.contains("a value of the function around this one"), "{text}");
    // The builder's own instructions are found by the verifier.
    let mut module = Module::new(&engine());
    let around = module.function("outer", [Type::I64], [Type::I64], |f| {
        let own = f.param(0);
        let inner = f.module().declare_local("inner", [Type::I64], [Type::I64])?;
        f.module().define(&inner, |g| {
            let sum = g.ins().iadd(own, own);
            g.ret(&[sum]);
        })?;
        f.ret(&[own]);
        anyhow::Ok(())
    });
    assert!(format!("{:#}", around.unwrap_err()).contains("its CLIF is not valid"));
    // Its own values are right.
    let mut module = Module::new(&engine());
    let around = module.function("outer", [Type::I64], [Type::I64], |f| {
        let own = f.param(0);
        let inner = f.module().declare_local("inner", [Type::I64], [Type::I64])?;
        f.module().define(&inner, |g| {
            let n = g.param(0);
            let twice = g.add(n, n);
            g.ret(&[twice]);
        })?;
        let twice = f.call(&inner, &[own]);
        f.ret(&twice);
        anyhow::Ok(())
    });
    around.unwrap();
    let engine = module.engine().clone();
    let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
    assert_eq!(store.function::<i64, i64>("outer").unwrap().call(&mut store, 4).unwrap(), 8);
}

#[test]
fn errors_of_a_definition_say_the_location() {
    let mut module = Module::new(&engine());
    let error = module.function("f", [Type::Ref], [Type::I64], |f| {
        let object = f.param(0);
        f.at(42);
        let sum = f.add(object, object);
        f.at(43);
        f.ret(&[sum]);
    });
    let text = format!("{:#}", error.unwrap_err());
    assert_eq!(text, "function `f`: at 42: `add` takes two integers, but was given a reference");
    let error = module.declare("many", vec![Type::I64; 1001], []).unwrap_err().to_string();
    assert_eq!(error, "the function `many` has 1001 parameters or results: there may be 1000");
}
