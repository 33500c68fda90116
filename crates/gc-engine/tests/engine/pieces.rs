//! Stores with several pieces of code: functions found by name, replaced, compiled late, and freed.

use crate::common::{engines, lists, loaded};
use anyhow::Result;
use gc_engine::{Caller, Code, Collector, Engine, Module, Rooted, StorageType, Store, Type};

fn engine() -> Engine {
    Engine::new(Collector::default()).unwrap()
}

/// Code with a function `name` of type `(i64) -> (i64)` that adds `n`.
fn adds(engine: &Engine, name: &str, n: i64) -> Code {
    let mut module = Module::new(engine);
    let added = module.function(name, [Type::I64], [Type::I64], |f| {
        let (value, n) = (f.param(0), f.i64(n));
        let sum = f.add(value, n);
        f.ret(&[sum]);
    });
    added.unwrap();
    module.compile().unwrap()
}

/// Code with a function `name` that calls the imported function `callee` with its parameter.
fn calls(engine: &Engine, name: &str, callee: &str, tail: bool) -> Code {
    let mut module = Module::new(engine);
    let callee = module.import(callee, [Type::I64], [Type::I64]).unwrap();
    let built = module.function(name, [Type::I64], [Type::I64], |f| {
        let value = f.param(0);
        if tail {
            f.tail_call(&callee, &[value]);
        } else {
            let result = f.call(&callee, &[value]);
            f.ret(&result);
        }
    });
    built.unwrap();
    module.compile().unwrap()
}

fn call<T>(store: &mut Store<T>, name: &str, n: i64) -> Result<i64> {
    store.function::<i64, i64>(name)?.call(store, n)
}

#[test]
fn pieces_share_types_by_name() {
    for engine in engines() {
        let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
        // Its own number of the type is another one.
        let mut module = Module::new(&engine);
        module.array_type("bytes", StorageType::I8).unwrap();
        let cell = module.struct_type("cell", [Type::I64, Type::Ref]).unwrap();
        let list = module.import("list", [Type::I64], [Type::Ref]).unwrap();
        let cons = module.function("longer", [Type::I64], [Type::Ref], |f| {
            let n = f.param(0);
            let rest = f.call(&list, &[n])[0];
            let longer = f.struct_new(&cell, &[n, rest]);
            f.ret(&[longer]);
        });
        cons.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        let longer = store.function::<i64, Rooted>("longer").unwrap();
        let list = longer.call(&mut store, 10).unwrap();
        let sum = store.function::<Rooted, i64>("sum").unwrap();
        assert_eq!(sum.call(&mut store, list).unwrap(), 65);
    }
}

#[test]
fn two_layouts_of_one_name_do_not_meet() {
    let engine = engine();
    let mut module = Module::new(&engine);
    module.struct_type("cell", [Type::Ref]).unwrap();
    let error = module.struct_type("cell", [Type::I64]).unwrap_err().to_string();
    let expected = "the type `cell` is declared twice: as a struct (ref), and as a struct (i64)";
    assert_eq!(error, expected);
    let other = module.compile().unwrap();
    let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
    let error = store.load(&other).unwrap_err().to_string();
    let expected =
        "the type `cell` is a struct (ref) in the code, but a struct (i64, ref) in the store";
    assert_eq!(error, expected);
    // In another store there is no such type.
    loaded(&engine, &other).unwrap();
}

#[test]
fn what_is_missing_or_there_twice_is_named_and_changes_nothing() {
    let engine = engine();
    let mut store = loaded(&engine, &adds(&engine, "f", 1)).unwrap();
    let error = store.load(&calls(&engine, "g", "h", false)).unwrap_err().to_string();
    let expected = "the code imports a function `h(i64) -> (i64)`, which the store does not have";
    assert_eq!(error, expected);
    assert!(store.function::<i64, i64>("g").is_err());

    let error = store.load(&adds(&engine, "f", 2)).unwrap_err().to_string();
    assert_eq!(error, "the store already has a function `f`");
    let wrong = store.func_wrap("f", |_: Caller<'_, ()>, n: i64| n).unwrap_err().to_string();
    assert_eq!(wrong, error);
    assert_eq!(call(&mut store, "f", 1).unwrap(), 2);

    // Another type.
    let mut module = Module::new(&engine);
    module.function("f", [], [], |_| ()).unwrap();
    let error = store.replace(&module.compile().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "the function `f` is of type (i64) -> (i64), not () -> ()");
    let mut module = Module::new(&engine);
    let f = module.import("f", [], [Type::Ref]).unwrap();
    module
        .function("caller", [], [Type::Ref], |body| {
            let result = body.call(&f, &[]);
            body.ret(&result);
        })
        .unwrap();
    let error = format!("{:#}", store.load(&module.compile().unwrap()).unwrap_err());
    let expected =
        "an imported function: the function `f` is of type (i64) -> (i64), not () -> (ref)";
    assert_eq!(error, expected);
    assert_eq!(store.pieces(), 1);
}

/// An import that no code calls does not ask for a function, and not for a heap.
#[test]
fn what_is_imported_and_not_called_need_not_be_there() {
    let engine = engine();
    let mut module = Module::new(&engine);
    module.import("missing", [Type::Ref], [Type::Ref]).unwrap();
    let called = module.import("called", [], [Type::I64]).unwrap();
    module
        .function("run", [], [Type::I64], |f| {
            let result = f.call(&called, &[]);
            f.ret(&result);
        })
        .unwrap();
    let code = module.compile().unwrap();
    assert!(code.imports().map(|(name, _)| name).eq(["called"]));
    let mut store = Store::new(&engine, ()).unwrap();
    store.func_wrap("called", |_: Caller<'_, ()>| 7_i64).unwrap();
    store.load(&code).unwrap();
    assert_eq!(store.function::<(), i64>("run").unwrap().call(&mut store, ()).unwrap(), 7);
}

#[test]
fn an_imported_function_is_not_defined_or_declared_again() {
    let mut module = Module::new(&engine());
    let f = module.import("f", [], []).unwrap();
    let error = module.define(&f, |_| ()).unwrap_err().to_string();
    assert_eq!(error, "the function `f` is imported, so it cannot be defined");
    let error = module.declare("f", [], []).unwrap_err().to_string();
    assert_eq!(error, "the function `f` is already imported");
    assert_eq!(module.import("f", [], []).unwrap().name(), f.name());
    let error = module.import("f", [Type::I64], []).unwrap_err().to_string();
    assert_eq!(error, "the function `f` is imported twice: as () -> (), and as (i64) -> ()");
}

#[test]
fn replaced_functions_are_called_by_all_who_call_the_name() {
    let engine = engine();
    let mut store = loaded(&engine, &adds(&engine, "f", 1)).unwrap();
    store.load(&calls(&engine, "g", "f", false)).unwrap();
    store.load(&calls(&engine, "tail", "f", true)).unwrap();
    let g = store.function::<i64, i64>("g").unwrap();
    for n in 1..1000 {
        store.replace(&adds(&engine, "f", n)).unwrap();
        assert_eq!(g.call(&mut store, 1).unwrap(), n + 1);
        assert_eq!(call(&mut store, "tail", 2).unwrap(), n + 2);
        assert_eq!(store.pieces(), 3, "replaced code is freed");
    }
}

/// Each call of `f` replaces `f`, and calls it, in frames of the code that was replaced.
#[test]
fn code_that_runs_is_kept() {
    for engine in engines() {
        let mut store = Store::new(&engine, 0).unwrap();
        let replace = |mut caller: Caller<'_, i32>, n: i64| {
            *caller.data_mut() += 1;
            let next = calls(caller.engine(), "f", "next", false);
            caller.replace(&next)?;
            caller.collect()?;
            match n {
                0 => Ok(7),
                n => caller.function::<i64, i64>("f")?.call(&mut caller, n - 1),
            }
        };
        store.func_wrap("next", replace).unwrap();
        store.load(&calls(&engine, "f", "next", false)).unwrap();
        assert_eq!(call(&mut store, "f", 20).unwrap(), 7);
        assert_eq!(*store.data(), 21);
        store.replace(&adds(&engine, "f", 1)).unwrap();
        // One piece has the trampoline by which code calls the host.
        assert_eq!(store.pieces(), 1);
        assert_eq!(call(&mut store, "f", 1).unwrap(), 2);
    }
}

#[test]
fn a_declared_function_is_called_when_it_is_there() {
    let engine = engine();
    let mut store = Store::new(&engine, ()).unwrap();
    store.declare("late", [Type::I64], [Type::I64]).unwrap();
    store.load(&calls(&engine, "f", "late", false)).unwrap();
    for name in ["f", "late"] {
        let error = format!("{:#}", call(&mut store, name, 1).unwrap_err());
        let expected = "the function `late` is declared, but not defined";
        assert!(error.ends_with(expected), "{error}");
    }
    store.load(&adds(&engine, "late", 5)).unwrap();
    assert_eq!(call(&mut store, "f", 1).unwrap(), 6);
    assert!(store.declare("late", [], []).is_err());
}

#[test]
fn arguments_of_a_function_that_is_compiled_late_are_roots() {
    for engine in engines() {
        let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
        store
            .define_lazily("late", [Type::Ref], [Type::I64], |mut caller| {
                caller.collect()?;
                let mut module = Module::new(caller.engine());
                let sum = module.import("sum", [Type::Ref], [Type::I64])?;
                module.function("late", [Type::Ref], [Type::I64], |f| {
                    let list = f.param(0);
                    f.tail_call(&sum, &[list]);
                })?;
                module.compile()
            })
            .unwrap();
        let mut module = Module::new(&engine);
        let list = module.import("list", [Type::I64], [Type::Ref]).unwrap();
        let late = module.import("late", [Type::Ref], [Type::I64]).unwrap();
        let run = module.function("run", [Type::I64], [Type::I64], |f| {
            let n = f.param(0);
            let made = f.call(&list, &[n]);
            let sum = f.call(&late, &made);
            f.ret(&sum);
        });
        run.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        assert_eq!(call(&mut store, "run", 10).unwrap(), 55);
        assert_eq!(call(&mut store, "run", 4).unwrap(), 10);
    }
}

#[test]
fn a_late_function_must_be_in_its_code() {
    let engine = engine();
    let mut store = Store::new(&engine, ()).unwrap();
    let wrong = |caller: Caller<'_, ()>| Ok(adds(caller.engine(), "other", 1));
    store.define_lazily("late", [Type::I64], [Type::I64], wrong).unwrap();
    let error = format!("{:#}", call(&mut store, "late", 1).unwrap_err());
    assert_eq!(error, "compiling the function `late`: the code has no function `late`");
}

#[test]
fn host_functions_get_and_return_all_types() {
    for engine in engines() {
        let mut store = Store::new(&engine, Vec::new()).unwrap();
        let all = |mut caller: Caller<'_, Vec<String>>,
                   a: i32,
                   b: i64,
                   c: f32,
                   d: f64,
                   e: Option<Rooted>| {
            caller.data_mut().push(format!("{a} {b} {c} {d} {}", e.is_some()));
            caller.collect()?;
            anyhow::Ok((e, d, c, b, a))
        };
        store.func_wrap("all", all).unwrap();
        store.load(&lists(&engine).0.compile().unwrap()).unwrap();
        let mut module = Module::new(&engine);
        let types = [Type::I32, Type::I64, Type::F32, Type::F64, Type::Ref];
        let reversed = types.iter().rev().copied().collect::<Vec<_>>();
        let all = module.import("all", types, reversed.clone()).unwrap();
        let run = module.function("run", types, reversed, |f| {
            let args: Vec<_> = (0..5).map(|n| f.param(n)).collect();
            let results = f.call(&all, &args);
            f.ret(&results);
        });
        run.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        let list = store.function::<i64, Rooted>("list").unwrap().call(&mut store, 4).unwrap();
        type All = (i32, i64, f32, f64, Option<Rooted>);
        type Reversed = (Option<Rooted>, f64, f32, i64, i32);
        let run = store.function::<All, Reversed>("run").unwrap();
        let (e, d, c, b, a) = run.call(&mut store, (-1, 2, 3.5, 4.5, Some(list))).unwrap();
        assert_eq!((d, c, b, a), (4.5, 3.5, 2, -1));
        let sum = store.function::<Rooted, i64>("sum").unwrap();
        assert_eq!(sum.call(&mut store, e.unwrap()).unwrap(), 10);
        assert!(run.call(&mut store, (0, 0, 0.0, 0.0, None)).unwrap().0.is_none());
        assert_eq!(store.data(), &["-1 2 3.5 4.5 true", "0 0 0 0 false"]);
        // The host calls it without compiled code in between.
        let all = store.function::<All, Reversed>("all").unwrap();
        assert_eq!(all.call(&mut store, (1, 0, 0.0, 0.0, None)).unwrap().4, 1);
    }
}

#[derive(Debug, PartialEq)]
struct TooMany;

impl std::fmt::Display for TooMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too many")
    }
}

impl std::error::Error for TooMany {}

#[test]
fn errors_and_panics_of_host_functions_reach_the_caller() {
    let engine = engine();
    let mut store = Store::new(&engine, ()).unwrap();
    let fail = |_: Caller<'_, ()>, n: i64| -> Result<i64> {
        assert_ne!(n, 13, "thirteen");
        Err(TooMany.into())
    };
    store.func_wrap("fail", fail).unwrap();
    store.load(&calls(&engine, "f", "fail", false)).unwrap();
    let error = call(&mut store, "f", 1).unwrap_err();
    assert_eq!(error.downcast_ref::<TooMany>(), Some(&TooMany));
    let backtrace = error.downcast_ref::<gc_engine::CallBacktrace>().unwrap();
    assert_eq!(backtrace.backtrace().frames().len(), 1, "{backtrace}");
    let panic =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| call(&mut store, "f", 13)));
    let panic = *panic.unwrap_err().downcast::<String>().unwrap();
    assert!(panic.contains("thirteen"), "{panic}");
    // The store can still be used.
    assert!(call(&mut store, "f", 1).is_err());
}

/// A thread of its own compiles while the program runs.
#[test]
fn code_is_compiled_on_another_thread() {
    let engine = engine();
    let mut store = loaded(&engine, &adds(&engine, "f", 0)).unwrap();
    store.load(&calls(&engine, "g", "f", false)).unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    let compiler = std::thread::spawn(move || {
        (1..=50).for_each(|n| send.send(adds(&engine, "f", n)).unwrap());
    });
    let mut last = 0;
    while last < 50 {
        last = call(&mut store, "g", 0).unwrap();
        if let Ok(code) = receive.try_recv() {
            store.replace(&code).unwrap();
        }
    }
    compiler.join().unwrap();
    assert_eq!(store.pieces(), 2);
}

#[test]
fn saved_code_keeps_types_and_imports() {
    let engine = engine();
    let mut module = Module::new(&engine);
    let cell = module.struct_type("cell", [Type::I64, Type::Ref]).unwrap();
    let list = module.import("list", [Type::I64], [Type::Ref]).unwrap();
    let second = module.function("second", [Type::I64], [Type::I64], |f| {
        let n = f.param(0);
        let list = f.call(&list, &[n])[0];
        let tail = f.struct_get(&cell, list, 1);
        let second = f.struct_get(&cell, tail, 0);
        f.ret(&[second]);
    });
    second.unwrap();
    let bytes = module.compile().unwrap().serialize().unwrap();

    // Another engine, whose types have other indices.
    let engine = self::engine();
    let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
    // SAFETY: these are the bytes that `serialize` returned.
    let code = unsafe { Code::deserialize(&engine, &bytes).unwrap() };
    let imports: Vec<_> = code.imports().map(|(name, ty)| format!("{name}{ty}")).collect();
    assert_eq!(imports, ["list(i64) -> (ref)"]);
    store.load(&code).unwrap();
    assert_eq!(call(&mut store, "second", 5).unwrap(), 2);
}
