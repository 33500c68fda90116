//! Pieces of code that are loaded together, and the trampolines and the memory that they share with others.

use crate::common::engines;
use gc_engine::{Caller, Code, Collector, Engine, Module, StorageType, Store, Type};
use std::sync::Arc;

/// Code with a function `name` that returns `callee(n)`, or `n` plus `more` without a callee.
fn piece(engine: &Engine, name: &str, callee: Option<&str>, more: i64) -> Code {
    let mut module = Module::new(engine);
    let callee = callee.map(|name| module.import(name, [Type::I64], [Type::I64]).unwrap());
    let built = module.function(name, [Type::I64], [Type::I64], |f| {
        let (n, more) = (f.param(0), f.i64(more));
        let sum = f.add(n, more);
        let result = match &callee {
            Some(callee) => f.call(callee, &[sum])[0],
            None => sum,
        };
        f.ret(&[result]);
    });
    built.unwrap();
    module.compile().unwrap()
}

/// Code with a function `name` that returns the length of a constant text.
fn length(engine: &Engine, name: &str, text: &str) -> Code {
    let mut module = Module::new(engine);
    let string = module.array_type("string", StorageType::I8).unwrap();
    let built = module.function(name, [], [Type::I32], |f| {
        let text = f.constant(&string, text.as_bytes());
        let length = f.array_len(text);
        f.ret(&[length]);
    });
    built.unwrap();
    module.compile().unwrap()
}

fn call(store: &mut Store<()>, name: &str, n: i64) -> i64 {
    store.function::<i64, i64>(name).unwrap().call(store, n).unwrap()
}

#[test]
fn pieces_import_functions_of_each_other() {
    for engine in engines() {
        let codes = [
            piece(&engine, "f", Some("g"), 1),
            piece(&engine, "g", Some("h"), 10),
            piece(&engine, "h", None, 100),
        ];
        let mut store = Store::new(&engine, ()).unwrap();
        // A name that is declared gets its function, too.
        store.declare("g", [Type::I64], [Type::I64]).unwrap();
        store.load_all(&codes).unwrap();
        assert_eq!(call(&mut store, "f", 0), 111);
        store.replace(&piece(&engine, "h", None, 200)).unwrap();
        assert_eq!(call(&mut store, "f", 0), 211);
    }
}

#[test]
fn a_group_that_does_not_fit_changes_nothing() {
    let engine = Engine::new(Collector::copying()).unwrap();
    let with = |name: &str, add: &dyn Fn(&mut Module)| {
        let mut module = Module::new(&engine);
        add(&mut module);
        module.function(name, [], [], |_| ()).unwrap();
        module.compile().unwrap()
    };
    let global = |name: &str, ty| {
        with(name, &|module| {
            module.global("counter", ty).unwrap();
        })
    };
    let cell = |ty| {
        with("a", &|module| {
            module.struct_type("cell", [ty]).unwrap();
        })
    };
    let mut store = Store::new(&engine, ()).unwrap();
    let mut fails = |codes: [Code; 2], expected: &str| {
        let error = format!("{:#}", store.load_all(&codes).unwrap_err());
        assert_eq!(error, expected);
        assert_eq!((store.pieces(), store.functions().count()), (0, 0));
        assert_eq!(store.globals().count(), 0);
    };
    // The functions have the same name too, but types are looked at first.
    fails(
        [cell(Type::I64), cell(Type::Ref)],
        "the type `cell` is a struct (ref) in the code, but a struct (i64) in another piece of it",
    );
    let twice = "two of the pieces of code have a function `a`";
    fails([global("a", Type::I64), global("a", Type::I64)], twice);
    let globals = [global("a", Type::I64), global("b", Type::F64)];
    fails(globals, "the global `counter` is of type i64, not f64");
    let missing = "the code imports a function `h(i64) -> (i64)`, which the store does not have";
    fails([piece(&engine, "f", Some("h"), 1), piece(&engine, "g", None, 1)], missing);
    let other = with("h", &|_| ());
    let wrong = "an imported function: the function `h` is of type () -> (), not (i64) -> (i64)";
    fails([piece(&engine, "f", Some("h"), 1), other], wrong);
    store.load(&piece(&engine, "f", None, 1)).unwrap();
    assert_eq!(call(&mut store, "f", 1), 2);
}

#[test]
fn constants_of_a_group_that_fails_are_forgotten() {
    let engine = Engine::builder(Collector::copying()).heap_maximum(1 << 20).build().unwrap();
    let mut store = Store::new(&engine, ()).unwrap();
    let small = length(&engine, "small", "a text");
    let large = length(&engine, "large", &"x".repeat(2 << 20));
    for _ in 0..3 {
        let error = format!("{:#}", store.load_all([&small, &large]).unwrap_err());
        assert!(error.starts_with("making a constant of the code: "), "{error}");
        assert_eq!((store.pieces(), store.functions().count()), (0, 0));
    }
    store.collect().unwrap();
    assert_eq!(store.stats().live_objects, 0, "the small constant is forgotten");
    store.load_all([&small, &length(&engine, "other", "a text")]).unwrap();
    assert_eq!(store.function::<(), i32>("small").unwrap().call(&mut store, ()).unwrap(), 6);
    assert_eq!(store.function::<(), i32>("other").unwrap().call(&mut store, ()).unwrap(), 6);
    store.collect().unwrap();
    assert_eq!(store.stats().live_objects, 1);
}

#[test]
fn host_functions_have_trampolines_of_code_that_comes_before_or_after() {
    let engine = Engine::new(Collector::copying()).unwrap();
    let caller = |name: &str| piece(&engine, name, Some("double"), 1);
    let double = |_: Caller<'_, ()>, n: i64| 2 * n;

    // The host function comes first.
    let mut store = Store::new(&engine, ()).unwrap();
    store.func_wrap("double", double).unwrap();
    store.load(&caller("f")).unwrap();
    assert_eq!(call(&mut store, "f", 1), 4);
    // The code that has the trampoline is replaced.
    store.replace(&piece(&engine, "f", None, 5)).unwrap();
    assert_eq!(call(&mut store, "f", 1), 6);
    store.load(&caller("g")).unwrap();
    assert_eq!(call(&mut store, "g", 1), 4);

    // Code that can call it comes first, and is freed before.
    let mut store = Store::new(&engine, ()).unwrap();
    store.declare("double", [Type::I64], [Type::I64]).unwrap();
    store.load(&caller("f")).unwrap();
    store.replace(&piece(&engine, "f", None, 5)).unwrap();
    store.func_wrap("double", double).unwrap();
    store.load(&caller("g")).unwrap();
    assert_eq!(call(&mut store, "g", 1), 4);
    // Another function of this type, for which all code is there.
    store.func_wrap("triple", |_: Caller<'_, ()>, n: i64| 3 * n).unwrap();
    store.replace(&piece(&engine, "g", Some("triple"), 1)).unwrap();
    assert_eq!(call(&mut store, "g", 1), 6);
}

#[test]
fn code_that_is_loaded_twice_is_freed_once() {
    let engine = Engine::new(Collector::copying()).unwrap();
    let mut store = Store::new(&engine, ()).unwrap();
    let code = piece(&engine, "f", None, 1);
    let memory = Arc::downgrade(code.memory());
    store.load(&code).unwrap();
    store.replace(&code).unwrap();
    assert_eq!(call(&mut store, "f", 1), 2);
    drop(code);
    assert!(memory.upgrade().is_some());
    store.replace(&piece(&engine, "f", None, 2)).unwrap();
    assert_eq!(call(&mut store, "f", 1), 3);
    assert_eq!(store.pieces(), 1);
    assert!(memory.upgrade().is_none(), "nothing uses the code");

    // A host function uses its exit trampoline.
    let code = piece(&engine, "g", Some("host"), 1);
    let memory = Arc::downgrade(code.memory());
    store.func_wrap("host", |_: Caller<'_, ()>, n: i64| 10 * n).unwrap();
    store.load(&code).unwrap();
    drop(code);
    store.replace(&piece(&engine, "g", None, 1)).unwrap();
    assert!(memory.upgrade().is_some(), "the host function has a trampoline of it");
    store.replace(&piece(&engine, "f", Some("host"), 0)).unwrap();
    assert_eq!(call(&mut store, "f", 1), 10);
}
