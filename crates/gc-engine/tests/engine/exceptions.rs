//! Objects that code and the host throw, and handlers for them.

use crate::common::{engines, loaded};
use anyhow::Result;
use gc_engine::{
    Body, Caller, Collector, Control, Engine, Field, Module, RefType, Rooted, Store, StructRef,
    ThrownException, Trap, TrapError, Type, Val,
};

/// `throws(n)` makes garbage and throws an `even` or an `odd` object with `n`, or returns an object if `n`
/// is negative.
fn throws(engine: &Engine) -> Module {
    let mut module = Module::new(engine);
    let even = module.struct_type("even", [Type::I64, Type::Ref]).unwrap();
    let odd = module.struct_type("odd", [Type::I64]).unwrap();
    let throws = module.function("throws", [Type::I64], [Type::Ref], |f| {
        use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
        let (n, zero, one) = (f.param(0), f.i64(0), f.i64(1));
        let other = f.struct_new(&odd, &[zero]);
        let object = f.struct_new(&even, &[n, other]);
        let negative = f.ins().icmp(IntCC::SignedLessThan, n, zero);
        f.if_then(negative, |f| f.ret(&[object]));
        let is_odd = f.ins().band(n, one);
        f.if_then(is_odd, |f| {
            let object = f.struct_new(&odd, &[n]);
            f.throw(object);
        });
        f.throw(object);
    });
    throws.unwrap();
    module
}

/// Calls a function in other code, in which the exceptions are made.
fn catches(engine: &Engine) -> Module {
    let mut module = Module::new(engine);
    // Its own numbers of the types are others.
    let odd = module.struct_type("odd", [Type::I64]).unwrap();
    let even = module.struct_type("even", [Type::I64, Type::Ref]).unwrap();
    let throws = module.import("throws", [Type::I64], [Type::Ref]).unwrap();
    let inner = module.function("inner", [Type::I64], [Type::I64], |f| {
        let n = f.param(0);
        let kept = f.struct_new(&odd, &[n]);
        f.try_catch(
            |f| {
                let object = f.call(&throws, &[n])[0];
                let number = f.struct_get(&even, object, 0);
                f.ret(&[number]);
            },
            &odd,
            |f, object| {
                let number = f.struct_get(&odd, object, 0);
                let kept = f.struct_get(&odd, kept, 0);
                let sum = f.add(number, kept);
                f.ret(&[sum]);
            },
        );
        f.ret(&[n]);
    });
    let inner = inner.unwrap();
    let outer = module.function("outer", [Type::I64], [Type::I64], |f| {
        let (n, thousand) = (f.param(0), f.i64(1000));
        f.try_catch(
            |f| {
                let result = f.call(&inner, &[n]);
                f.ret(&result);
            },
            RefType::STRUCT,
            |f, object| {
                f.if_type(
                    object,
                    &even,
                    |f| {
                        let number = f.struct_get(&even, object, 0);
                        let sum = f.add(number, thousand);
                        f.ret(&[sum]);
                    },
                    |f| f.throw(object),
                );
            },
        );
        f.ret(&[n]);
    });
    outer.unwrap();
    let nested = module.function("nested", [Type::I64], [Type::I64], |f| {
        let (n, one, two) = (f.param(0), f.i64(1), f.i64(2));
        f.try_catch(
            |f| {
                f.try_catch(|f| drop(f.call(&throws, &[n])), &even, |f, _| f.ret(&[one]));
            },
            &odd,
            |f, _| f.ret(&[two]),
        );
        f.ret(&[n]);
    });
    nested.unwrap();
    module
}

fn store(engine: &Engine) -> Store<()> {
    let mut store = loaded(engine, &throws(engine).compile().unwrap()).unwrap();
    store.load(&catches(engine).compile().unwrap()).unwrap();
    store
}

fn call(store: &mut Store<()>, name: &str, n: i64) -> Result<i64> {
    store.function::<i64, i64>(name).unwrap().call(store, n)
}

#[test]
fn the_innermost_handler_for_the_type_gets_the_object() {
    for engine in engines() {
        let mut store = store(&engine);
        assert_eq!(call(&mut store, "inner", -5).unwrap(), -5, "nothing is thrown");
        assert_eq!(call(&mut store, "inner", 7).unwrap(), 14);
        assert_eq!(call(&mut store, "outer", 7).unwrap(), 14);
        assert_eq!(call(&mut store, "outer", 8).unwrap(), 1008);
        assert_eq!([7, 8, -9].map(|n| call(&mut store, "nested", n).unwrap()), [2, 1, -9]);
    }
}

#[test]
fn the_host_gets_what_nobody_catches() {
    for engine in engines() {
        let mut store = store(&engine);
        let error = call(&mut store, "inner", 8).unwrap_err();
        assert!(error.is::<ThrownException>(), "{error:#}");
        store.collect().unwrap();
        let object = store.take_pending_exception().unwrap().unwrap();
        assert_eq!(object.type_name(&store).unwrap(), Some("even"));
        let number: Field<i64> = store.struct_type("even").unwrap().field(0).unwrap();
        assert_eq!(number.get(&mut store, &object).unwrap(), 8);
        assert!(store.take_pending_exception().unwrap().is_none());
        assert_eq!(call(&mut store, "inner", 7).unwrap(), 14, "the store can be used");
    }
}

/// The host throws, lets exceptions through, catches them, and throws others.
#[test]
fn exceptions_pass_the_host() {
    for engine in engines() {
        let mut store = loaded(&engine, &throws(&engine).compile().unwrap()).unwrap();
        let odd = store.struct_type("odd").unwrap();
        let through = move |mut caller: Caller<'_, ()>, n: i64| -> Result<Rooted<StructRef>> {
            let throws = caller.function::<i64, Rooted<StructRef>>("throws")?;
            match throws.call(&mut caller, n) {
                Err(error) if n == 10 && error.is::<ThrownException>() => {
                    caller.take_pending_exception()?;
                    let object = odd.new_object(&mut caller, &[Val::I64(100)])?;
                    caller.collect()?;
                    Err(caller.throw(&object))
                }
                other => other,
            }
        };
        store.func_wrap("through", through).unwrap();
        let mut module = Module::new(&engine);
        let odd = module.struct_type("odd", [Type::I64]).unwrap();
        let through = module.import("through", [Type::I64], [Type::Ref]).unwrap();
        let run = module.function("run", [Type::I64], [Type::I64], |f| {
            let n = f.param(0);
            f.try_catch(
                |f| drop(f.call(&through, &[n])),
                &odd,
                |f, object| {
                    let number = f.struct_get(&odd, object, 0);
                    f.ret(&[number]);
                },
            );
            f.ret(&[n]);
        });
        run.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        assert_eq!([-3, 5, 10].map(|n| call(&mut store, "run", n).unwrap()), [-3, 5, 100]);
        let error = call(&mut store, "run", 6).unwrap_err();
        assert!(error.is::<ThrownException>());
        assert!(store.take_pending_exception().unwrap().is_some());
    }
}

#[test]
fn null_and_what_is_no_object_cannot_be_thrown() {
    for engine in engines() {
        let mut module = Module::new(&engine);
        let null = module.function("null", [], [], |f| {
            let null = f.null();
            f.throw(null);
        });
        null.unwrap();
        let small = module.function("small", [], [], |f| {
            let one = f.i32(1);
            let one = f.i31(one);
            f.throw(one);
        });
        small.unwrap();
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        for (name, trap) in [("null", Trap::NullReference), ("small", Trap::CastFailure)] {
            let error = store.function::<(), ()>(name).unwrap().call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast::<TrapError>().unwrap().trap, trap);
        }
    }
}

#[test]
fn misuse_of_handlers_is_refused() {
    let engine = Engine::new(Collector::default()).unwrap();
    let mut module = throws(&engine);
    let foreign = catches(&engine).struct_type("foreign", [Type::I64]).unwrap();
    let longs = module.array_type("longs", Type::I64).unwrap();
    let mut fails = |expected: &str, build: &dyn Fn(&mut Body<'_, '_>)| {
        let error = module.function("f", [Type::I64], [Type::Ref], build).expect_err(expected);
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    };
    fails("it makes a tail call in a block with a handler", &|f| {
        let n = f.param(0);
        f.try_catch(|f| f.tail_call("throws", &[n]), RefType::STRUCT, |f, object| f.ret(&[object]));
        let null = f.null();
        f.ret(&[null]);
    });
    fails("a type of another module is used", &|f| {
        f.try_catch(|_| (), &foreign, |f, object| f.ret(&[object]));
    });
    fails("only objects with fields are thrown and caught", &|f| {
        f.try_catch(|_| (), &longs, |f, object| f.ret(&[object]));
    });
    fails("`throw` takes a value of type ref", &|f| {
        let n = f.i32(1);
        f.throw(n);
    });
}

/// Code without types, and without references in its signatures, gets objects by its handlers.
#[test]
fn code_that_only_catches_uses_the_heap() {
    for engine in engines() {
        let mut module = Module::new(&engine);
        let run = module.import("run", [Type::I64], []).unwrap();
        let passes = module.function("passes", [Type::I64], [], |f| {
            let n = f.param(0);
            f.try_catch(|f| drop(f.call(&run, &[n])), RefType::STRUCT, |f, object| f.throw(object));
        });
        passes.unwrap();
        let passes = module.compile().unwrap();

        let mut module = throws(&engine);
        let run = module.function("run", [Type::I64], [], |f| {
            let n = f.param(0);
            f.call("throws", &[n]);
        });
        run.unwrap();
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        store.load(&passes).unwrap();
        let passes = store.function::<i64, ()>("passes").unwrap();
        let error = passes.call(&mut store, 8).unwrap_err();
        assert!(error.is::<ThrownException>(), "{error:#}");
        let object = store.take_pending_exception().unwrap().unwrap();
        assert_eq!(object.type_name(&store).unwrap(), Some("even"));
    }
}

/// An object that nobody took is not one of a later call.
#[test]
fn the_object_of_an_earlier_call_is_forgotten() {
    for engine in engines() {
        let mut store = store(&engine);
        store.func_wrap("fine", |_: Caller<'_, ()>, n: i64| n).unwrap();
        let throws = store.function::<i64, Rooted>("throws").unwrap();
        let is_thrown =
            |n: &i64| throws.call(&mut store, *n).is_err_and(|e| e.is::<ThrownException>());
        let n = (0..10).find(is_thrown).unwrap();
        assert!(store.take_pending_exception().unwrap().is_some());
        assert!(throws.call(&mut store, n).is_err());
        assert_eq!(call(&mut store, "fine", 5).unwrap(), 5);
        assert!(store.take_pending_exception().unwrap().is_none());
    }
}
