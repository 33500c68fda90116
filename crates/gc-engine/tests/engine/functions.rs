//! References to functions, and calls through them.

use crate::common::{engines, loaded};
use gc_engine::{
    Body, Caller, Code, Collector, Control, Engine, Module, Rooted, Signature, Store, Trap,
    TrapError, Type,
};

fn engine() -> Engine {
    Engine::new(Collector::default()).unwrap()
}

/// The type of the functions of closures: a closure and a number.
fn unary() -> Signature {
    Signature::new([Type::Ref, Type::I64], [Type::I64])
}

/// Code with `adder(n)`, which makes a closure that adds `n` and `more`.
fn adder(engine: &Engine, more: i64) -> Code {
    let mut module = Module::new(engine);
    let closure = module.struct_type("closure", [Type::Func, Type::I64]).unwrap();
    let adds = module.declare_local("adds", [Type::Ref, Type::I64], [Type::I64]).unwrap();
    let define = module.define(&adds, |f| {
        let (this, n, more) = (f.param(0), f.param(1), f.i64(more));
        let captured = f.struct_get(&closure, this, 1);
        let sum = f.add(captured, n);
        let sum = f.add(sum, more);
        f.ret(&[sum]);
    });
    define.unwrap();
    let adder = module.function("adder", [Type::I64], [Type::Ref], |f| {
        let fields = [f.func_ref(&adds), f.param(0)];
        let new = f.struct_new(&closure, &fields);
        f.ret(&[new]);
    });
    adder.unwrap();
    module.compile().unwrap()
}

/// Code with `apply(closure, n)`.
fn apply(engine: &Engine, tail: bool) -> Code {
    let mut module = Module::new(engine);
    let closure = module.struct_type("closure", [Type::Func, Type::I64]).unwrap();
    let apply = module.function("apply", [Type::Ref, Type::I64], [Type::I64], |f| {
        let (this, n) = (f.param(0), f.param(1));
        let function = f.struct_get(&closure, this, 0);
        if tail {
            f.tail_call_indirect(&unary(), function, &[this, n]);
        } else {
            let result = f.call_indirect(&unary(), function, &[this, n]);
            f.ret(&result);
        }
    });
    apply.unwrap();
    module.compile().unwrap()
}

fn new_adder(store: &mut Store<()>, n: i64) -> Rooted {
    store.function::<i64, Rooted>("adder").unwrap().call(store, n).unwrap()
}

fn call(store: &mut Store<()>, closure: &Rooted, n: i64) -> i64 {
    let apply = store.function::<(Rooted, i64), i64>("apply").unwrap();
    apply.call(store, (closure.clone(), n)).unwrap()
}

#[test]
fn closures_are_called_from_other_code() {
    for engine in engines() {
        for tail in [false, true] {
            let mut store = loaded(&engine, &adder(&engine, 0)).unwrap();
            store.load(&apply(&engine, tail)).unwrap();
            let [a, b] = [1, 10].map(|n| new_adder(&mut store, n));
            store.collect().unwrap();
            assert_eq!((call(&mut store, &a, 5), call(&mut store, &b, 5)), (6, 15));
        }
    }
}

/// A closure keeps the code of its function, and only that.
#[test]
fn replaced_code_lives_as_long_as_its_closures() {
    for engine in engines() {
        let mut store = loaded(&engine, &adder(&engine, 0)).unwrap();
        store.load(&apply(&engine, false)).unwrap();
        let mut kept = Vec::new();
        // Garbage closures stay in the heap of `null`.
        let frees = engine.collector().name() != "null";
        for n in 1..=300 {
            store.replace(&adder(&engine, 1000 * n)).unwrap();
            let closure = new_adder(&mut store, n);
            assert_eq!(call(&mut store, &closure, 1), 1001 * n + 1);
            if n % 100 == 0 {
                kept.push((n, closure));
            }
            assert!(store.pieces() < 60 || !frees, "{}", store.pieces());
        }
        for (n, closure) in &kept {
            assert_eq!(call(&mut store, closure, 2), 1001 * n + 2);
        }
        drop(kept);
        for n in 0..50 {
            store.replace(&adder(&engine, n)).unwrap();
        }
        assert!(store.pieces() < 40 || !frees, "{}", store.pieces());
    }
}

/// The numbers of functions that were freed are used again.
#[test]
fn functions_of_replaced_code_use_no_memory() {
    let engine = engine();
    let mut store = loaded(&engine, &adder(&engine, 0)).unwrap();
    let codes = [1, 2].map(|n| adder(&engine, n));
    for n in 0..2000 {
        store.replace(&codes[n % 2]).unwrap();
    }
    assert!(store.gc().func_refs().len() < 60, "{}", store.gc().func_refs().len());
}

#[test]
fn a_reference_to_an_imported_function_is_to_its_name() {
    let engine = engine();
    let mut store = Store::new(&engine, ()).unwrap();
    let ten = |n: i64| move |_: Caller<'_, ()>, _: Option<Rooted>, m: i64| n + m;
    store.func_wrap("f", ten(10)).unwrap();
    let mut module = Module::new(&engine);
    let f = module.import("f", [Type::Ref, Type::I64], [Type::I64]).unwrap();
    let run = module.function("run", [Type::I64], [Type::I64], |b| {
        let (function, null, n) = (b.func_ref(&f), b.null(), b.param(0));
        let result = b.call_indirect(&unary(), function, &[null, n]);
        b.ret(&result);
    });
    run.unwrap();
    store.load(&module.compile().unwrap()).unwrap();
    let run = store.function::<i64, i64>("run").unwrap();
    assert_eq!(run.call(&mut store, 1).unwrap(), 11);
    let mut module = Module::new(&engine);
    let f = module.function("f", [Type::Ref, Type::I64], [Type::I64], |f| {
        let n = f.param(1);
        f.ret(&[n]);
    });
    f.unwrap();
    store.replace(&module.compile().unwrap()).unwrap();
    assert_eq!(run.call(&mut store, 1).unwrap(), 1);
}

#[test]
fn null_and_functions_of_other_types_trap() {
    for engine in engines() {
        let mut module = Module::new(&engine);
        let other = module.function("other", [], [], |_| ()).unwrap();
        let mut run =
            |name: &str, function: &dyn Fn(&mut Body<'_, '_>) -> cranelift_codegen::ir::Value| {
                let built = module.function(name, [], [Type::I64], |f| {
                    let (null, n) = (f.null(), f.i64(1));
                    let function = function(f);
                    let result = f.call_indirect(&unary(), function, &[null, n]);
                    f.ret(&result);
                });
                built.unwrap();
            };
        run("null", &|f| f.func_null());
        run("wrong", &|f| f.func_ref(&other));
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        for (name, trap) in [("null", Trap::NullReference), ("wrong", Trap::BadSignature)] {
            let run = store.function::<(), i64>(name).unwrap();
            let error = run.call(&mut store, ()).unwrap_err().downcast::<TrapError>().unwrap();
            assert_eq!(error.trap, trap, "{name}");
        }
    }
}

#[test]
fn integers_are_no_functions() {
    let mut module = Module::new(&engine());
    let holder = module.struct_type("holder", [Type::Func]).unwrap();
    let mut fails = |expected: &str, build: &dyn Fn(&mut Body<'_, '_>)| {
        let error = module.function("f", [Type::I32], [Type::I64], build).expect_err(expected);
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    };
    fails("`call_indirect` takes a reference to a function, but was given an integer", &|f| {
        let (function, null, n) = (f.param(0), f.null(), f.i64(0));
        let results = f.call_indirect(&unary(), function, &[null, n]);
        f.ret(&results[..1]);
    });
    fails(
        "field 0 of a `holder` is a reference to a function, but the value is an integer",
        &|f| {
            let number = f.param(0);
            f.struct_new(&holder, &[number]);
        },
    );
    fails("it calls a function through a reference, which takes 2 values, with 0", &|f| {
        let function = f.func_null();
        let results = f.call_indirect(&unary(), function, &[]);
        f.ret(&results[..1]);
    });
    fails("it makes a tail call of a function with other results: its type is () -> ()", &|f| {
        let function = f.func_null();
        f.tail_call_indirect(&Signature::new([], []), function, &[]);
    });
}

#[test]
fn saved_code_keeps_references_to_functions() {
    let (adder, apply) = (adder(&engine(), 0), apply(&engine(), false));
    let engine = engine();
    let mut store = Store::new(&engine, ()).unwrap();
    for code in [adder, apply] {
        let bytes = code.serialize().unwrap();
        // SAFETY: these are the bytes that `serialize` returned.
        store.load(&unsafe { Code::deserialize(&engine, &bytes) }.unwrap()).unwrap();
    }
    let closure = new_adder(&mut store, 3);
    assert_eq!(call(&mut store, &closure, 4), 7);
}

/// A call compares the reference with the functions of its module, and others are called too. Results of all
/// kinds arrive, and handlers catch what either throws.
#[test]
fn likely_functions_and_others_are_called() {
    for engine in engines() {
        let signature = Signature::new([Type::I64], [Type::Ref, Type::Func, Type::I64]);
        let results = [Type::Ref, Type::Func, Type::I64];
        let define = |module: &mut Module, name: &str, number: i64| {
            let cell = module.struct_type("cell", [Type::I64]).unwrap();
            let function = module.declare_local(name, [Type::I64], results).unwrap();
            let defined = module.define(&function, |f| {
                let (n, number, zero) = (f.param(0), f.i64(number), f.i64(0));
                let object = f.struct_new(&cell, &[number]);
                f.struct_new(&cell, &[zero]);
                f.if_then(n, |f| f.throw(object));
                let null = f.func_null();
                f.ret(&[object, null, number]);
            });
            defined.unwrap();
            function
        };
        // The function of other code is in a global.
        let mut module = Module::new(&engine);
        let other = define(&mut module, "other", 7);
        let global = module.global("function", Type::Func).unwrap();
        let set = module.function("set", [], [], |f| {
            let other = f.func_ref(&other);
            f.global_set(&global, other);
        });
        set.unwrap();
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        store.function::<(), ()>("set").unwrap().call(&mut store, ()).unwrap();

        let mut module = Module::new(&engine);
        let cell = module.struct_type("cell", [Type::I64]).unwrap();
        let own = [1, 2, 3].map(|n| define(&mut module, "own", n));
        let global = module.global("function", Type::Func).unwrap();
        let run = module.function("run", [Type::I32, Type::I64], [Type::I64], |f| {
            use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
            let (which, throws) = (f.param(0), f.param(1));
            let function = f.variable(Type::Func);
            let other = f.global_get(&global);
            f.set(function, other);
            for (n, own) in (1..).zip(&own) {
                let is_it = f.ins().icmp_imm_u(IntCC::Equal, which, n);
                let own = f.func_ref(own);
                f.if_then(is_it, |f| f.set(function, own));
            }
            let function = f.get(function);
            f.try_catch(
                |f| {
                    let results = f.call_indirect(&signature, function, &[throws]);
                    let in_object = f.struct_get(&cell, results[0], 0);
                    let is_null = f.func_is_null(results[1]);
                    let is_null = f.ins().uextend(cranelift_codegen::ir::types::I64, is_null);
                    let sum = f.add(in_object, results[2]);
                    let sum = f.add(sum, is_null);
                    f.ret(&[sum]);
                },
                &cell,
                |f, object| {
                    let (number, hundred) = (f.struct_get(&cell, object, 0), f.i64(100));
                    let sum = f.add(number, hundred);
                    f.ret(&[sum]);
                },
            );
            f.ret(&[throws]);
        });
        run.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        let run = store.function::<(i32, i64), i64>("run").unwrap();
        for (which, number) in [(1, 1), (2, 2), (3, 3), (0, 7)] {
            assert_eq!(run.call(&mut store, (which, 0)).unwrap(), 2 * number + 1);
            assert_eq!(run.call(&mut store, (which, 1)).unwrap(), number + 100);
        }
    }
}

/// What only a function has asked for that could not be defined is not made.
#[test]
fn references_of_failed_definitions_are_forgotten() {
    let engine = engine();
    let mut module = Module::new(&engine);
    let string = module.array_type("string", gc_engine::StorageType::I8).unwrap();
    let failed = module.function("f", [], [], |f| {
        f.func_ref("f");
        f.constant(&string, b"text");
        f.tail_call("missing", &[]);
    });
    assert!(failed.is_err());
    module
        .function("f", [], [Type::I64], |f| {
            let one = f.i64(1);
            f.ret(&[one]);
        })
        .unwrap();
    let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
    assert_eq!(store.function::<(), i64>("f").unwrap().call(&mut store, ()).unwrap(), 1);
    assert_eq!(store.stats().allocations, 0, "there is no constant");

    // A function that was defined meanwhile refers to the one that failed.
    let mut module = Module::new(&engine);
    let failed = module.function("outer", [], [], |f| {
        let inner = f.module().function("inner", [], [Type::I32], |f| {
            let function = f.func_ref("outer");
            let is_null = f.func_is_null(function);
            use cranelift_codegen::ir::InstBuilder;
            let is_null = f.ins().uextend(cranelift_codegen::ir::types::I32, is_null);
            f.ret(&[is_null]);
        });
        inner.unwrap();
        f.tail_call("missing", &[]);
    });
    assert!(failed.is_err());
    let error = module.compile().unwrap_err().to_string();
    let expected = "the function `inner` has a reference to `outer`, whose definition failed";
    assert_eq!(error, expected);
}

/// The heap is searched only for functions of code that was replaced.
#[test]
fn code_without_references_is_replaced_without_a_collection() {
    let engine = engine();
    let mut store = loaded(&engine, &apply(&engine, false)).unwrap();
    let mut module = Module::new(&engine);
    module.function("f", [], [], |_| ()).unwrap();
    let code = module.compile().unwrap();
    for _ in 0..100 {
        store.replace(&code).unwrap();
        assert_eq!(store.pieces(), 2);
    }
    assert_eq!(store.stats().collections, 0);
}
