//! Globals and constants.

use crate::common::{engines, lists, loaded};
use gc_engine::{
    ArrayRef, Body, Code, Collector, Engine, Field, Module, Rooted, Signature, StorageType, Store,
    StructRef, Type, Val,
};

fn engine() -> Engine {
    Engine::new(Collector::default()).unwrap()
}

/// Code with `push(n)`, which puts a cell before the list in a global, and garbage beside it.
fn pushes(engine: &Engine, name: &str) -> Code {
    let mut module = Module::new(engine);
    let cell = module.struct_type("cell", [Type::I64, Type::Ref]).unwrap();
    let list = module.global("list", Type::Ref).unwrap();
    let length = module.global("length", Type::I64).unwrap();
    let push = module.function(name, [Type::I64], [], |f| {
        let (n, one) = (f.param(0), f.i64(1));
        let rest = f.global_get(&list);
        let longer = f.struct_new(&cell, &[n, rest]);
        f.global_set(&list, longer);
        f.struct_new(&cell, &[n, rest]);
        let before = f.global_get(&length);
        let after = f.add(before, one);
        f.global_set(&length, after);
    });
    push.unwrap();
    module.compile().unwrap()
}

#[test]
fn globals_are_roots_that_all_code_shares() {
    for engine in engines() {
        let mut store = loaded(&engine, &lists(&engine).0.compile().unwrap()).unwrap();
        for name in ["push", "other"] {
            store.load(&pushes(&engine, name)).unwrap();
        }
        for n in 1..=200 {
            let name = if n % 2 == 0 { "push" } else { "other" };
            store.function::<i64, ()>(name).unwrap().call(&mut store, n).unwrap();
        }
        store.collect().unwrap();
        assert_eq!(store.global::<i64>("length").unwrap(), 200);
        let list = store.global::<Option<Rooted>>("list").unwrap();
        let sum = store.function::<Option<Rooted>, i64>("sum").unwrap();
        assert_eq!(sum.call(&mut store, list).unwrap(), 201 * 100);

        // The host writes a new object into the global.
        let cell = store.struct_type("cell").unwrap();
        let new = cell.new_object(&mut store, &[Val::I64(7), Val::Ref(None)]).unwrap();
        store.set_global("list", new).unwrap();
        store.function::<i64, ()>("push").unwrap().call(&mut store, 5).unwrap();
        store.collect().unwrap();
        let list = store.global::<Rooted<StructRef>>("list").unwrap();
        assert_eq!(sum.call(&mut store, Some(list.any())).unwrap(), 12);
        store.set_global("list", None::<Rooted>).unwrap();
        drop(list);
        store.collect().unwrap();
        if engine.collector().name() != "null" {
            assert_eq!(store.stats().live_objects, 0);
        }
    }
}

#[test]
fn globals_of_all_types() {
    for engine in engines() {
        let mut module = Module::new(&engine);
        let types = [Type::I32, Type::I64, Type::F32, Type::F64];
        for ty in types {
            let global = module.global(&format!("{ty}"), ty).unwrap();
            let swap = module.function(&format!("swap_{ty}"), [ty], [ty], |f| {
                let (new, old) = (f.param(0), f.global_get(&global));
                f.global_set(&global, new);
                f.ret(&[old]);
            });
            swap.unwrap();
        }
        // A function in a global keeps its code.
        let unary = Signature::new([Type::I64], [Type::I64]);
        let function = module.global("function", Type::Func).unwrap();
        let run = module.function("run", [Type::I64], [Type::I64], |f| {
            let (n, function) = (f.param(0), f.global_get(&function));
            let result = f.call_indirect(&unary, function, &[n]);
            f.ret(&result);
        });
        run.unwrap();
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        macro_rules! swapped {
            ($ty:ty, $name:literal, $a:expr, $b:expr) => {
                let swap = store.function::<$ty, $ty>(concat!("swap_", $name)).unwrap();
                assert_eq!(swap.call(&mut store, $a).unwrap(), <$ty>::default());
                assert_eq!(store.global::<$ty>($name).unwrap(), $a);
                store.set_global::<$ty>($name, $b).unwrap();
                assert_eq!(swap.call(&mut store, $a).unwrap(), $b);
            };
        }
        swapped!(i32, "i32", -1, 5);
        swapped!(i64, "i64", -1, 5);
        swapped!(f32, "f32", 1.5, -2.5);
        swapped!(f64, "f64", 1.5, -2.5);

        let sets = |n: i64| {
            let mut module = Module::new(&engine);
            let function = module.global("function", Type::Func).unwrap();
            let adds = module.declare_local("adds", [Type::I64], [Type::I64]).unwrap();
            let define = module.define(&adds, |f| {
                let (value, n) = (f.param(0), f.i64(n));
                let sum = f.add(value, n);
                f.ret(&[sum]);
            });
            define.unwrap();
            let set = module.function("set", [], [], |f| {
                let adds = f.func_ref(&adds);
                f.global_set(&function, adds);
            });
            set.unwrap();
            module.compile().unwrap()
        };
        for n in 0..100 {
            store.replace(&sets(n)).unwrap();
            if n % 40 == 0 {
                store.function::<(), ()>("set").unwrap().call(&mut store, ()).unwrap();
            }
            let run = store.function::<i64, i64>("run").unwrap();
            assert_eq!(run.call(&mut store, 1).unwrap(), 1 + n / 40 * 40);
        }
        assert!(store.pieces() < 40, "{}", store.pieces());
    }
}

#[test]
fn globals_of_two_types_do_not_meet() {
    let engine = engine();
    let mut module = Module::new(&engine);
    module.global("list", Type::I64).unwrap();
    let error = module.global("list", Type::Ref).unwrap_err().to_string();
    assert_eq!(error, "the global `list` is of type i64, not ref");
    let mut store = loaded(&engine, &pushes(&engine, "push")).unwrap();
    let error = store.load(&module.compile().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "the global `list` is of type ref, not i64");
    let error = store.global::<i64>("list").unwrap_err().to_string();
    assert_eq!(error, "the global `list` is of type ref, not i64");
    let error = store.global::<i64>("none").unwrap_err().to_string();
    assert_eq!(error, "the code of the store has no global `none`");

    let mut module = Module::new(&engine);
    let foreign = Module::new(&engine).global("g", Type::I64).unwrap();
    let own = module.global("g", Type::I64).unwrap();
    let mut fails = |expected: &str, build: &dyn Fn(&mut Body<'_, '_>)| {
        let error = module.function("f", [], [], build).expect_err(expected);
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    };
    fails("a global of another module is used", &|f| {
        f.global_get(&foreign);
    });
    fails("`global_set` takes a value of type i64", &|f| {
        let one = f.i32(1);
        f.global_set(&own, one);
    });
}

/// Code with `text()`, a constant, and `fresh()`, a new array with the same bytes.
fn texts(engine: &Engine, text: &str, names: [&str; 2]) -> Code {
    let mut module = Module::new(engine);
    let string = module.array_type("string", StorageType::I8).unwrap();
    let constant = module.function(names[0], [], [Type::Ref], |f| {
        let text = f.constant(&string, text.as_bytes());
        f.ret(&[text]);
    });
    constant.unwrap();
    let fresh = module.function(names[1], [], [Type::Ref], |f| {
        let text = f.bytes(&string, text.as_bytes());
        f.ret(&[text]);
    });
    fresh.unwrap();
    module.compile().unwrap()
}

#[test]
fn constants_are_made_once_and_bytes_are_new() {
    for engine in engines() {
        let mut store = loaded(&engine, &texts(&engine, "hello", ["a", "fresh_a"])).unwrap();
        store.load(&texts(&engine, "hello", ["b", "fresh_b"])).unwrap();
        store.load(&texts(&engine, "", ["empty", "fresh_empty"])).unwrap();
        store.collect().unwrap();
        let string = store.array_type("string").unwrap();
        let get = |store: &mut Store<()>, name: &str| {
            store.function::<(), Rooted<ArrayRef>>(name).unwrap().call(store, ()).unwrap()
        };
        let [a, b, fresh, other] = ["a", "b", "fresh_a", "fresh_a"].map(|it| get(&mut store, it));
        assert!(a.same(&b, &store).unwrap());
        assert!(!fresh.same(&a, &store).unwrap() && !fresh.same(&other, &store).unwrap());
        for it in [&a, &fresh, &other] {
            assert_eq!(string.bytes(&mut store, it).unwrap(), b"hello");
        }
        string.set(&mut store, &fresh, 0, Val::I32(0x4a)).unwrap();
        assert_eq!(string.bytes(&mut store, &fresh).unwrap(), b"Jello");
        assert_eq!(string.bytes(&mut store, &a).unwrap(), b"hello");
        for name in ["empty", "fresh_empty"] {
            let empty = get(&mut store, name);
            assert_eq!(string.bytes(&mut store, &empty).unwrap(), b"");
        }
    }
}

/// Constants of code that was replaced are garbage.
#[test]
fn constants_die_with_their_code() {
    for engine in engines() {
        if engine.collector().name() == "null" {
            continue;
        }
        let mut store = Store::new(&engine, ()).unwrap();
        for n in 0..50 {
            store.replace(&texts(&engine, &format!("text {n}"), ["text", "fresh"])).unwrap();
        }
        store.collect().unwrap();
        assert_eq!((store.stats().live_objects, store.pieces()), (1, 1));
        let text = store.function::<(), Rooted<ArrayRef>>("text").unwrap();
        let text = text.call(&mut store, ()).unwrap();
        let string = store.array_type("string").unwrap();
        assert_eq!(string.bytes(&mut store, &text).unwrap(), b"text 49");
    }
}

#[test]
fn constants_are_bytes() {
    let engine = engine();
    let mut module = Module::new(&engine);
    let longs = module.array_type("longs", Type::I64).unwrap();
    let error = module.function("f", [], [], |f| {
        f.constant(&longs, b"12345678");
    });
    let expected = "the elements of a constant are bytes, but those of `longs` are of type i64";
    assert!(format!("{:#}", error.unwrap_err()).contains(expected));
}

#[test]
fn saved_code_keeps_globals_and_constants() {
    let codes = [pushes(&engine(), "push"), texts(&engine(), "hello", ["text", "fresh"])];
    let engine = engine();
    let mut store = Store::new(&engine, ()).unwrap();
    for code in codes {
        let bytes = code.serialize().unwrap();
        // SAFETY: these are the bytes that `serialize` returned.
        store.load(&unsafe { Code::deserialize(&engine, &bytes) }.unwrap()).unwrap();
    }
    store.function::<i64, ()>("push").unwrap().call(&mut store, 5).unwrap();
    let list = store.global::<Rooted<StructRef>>("list").unwrap();
    let head: Field<i64> = store.struct_type("cell").unwrap().field(0).unwrap();
    assert_eq!(head.get(&mut store, &list).unwrap(), 5);
    let text = store.function::<(), Rooted<ArrayRef>>("text").unwrap();
    let text = text.call(&mut store, ()).unwrap();
    assert_eq!(store.array_type("string").unwrap().bytes(&mut store, &text).unwrap(), b"hello");
}

#[test]
fn ranges_of_arrays_are_copied_and_filled() {
    for engine in engines() {
        let mut module = Module::new(&engine);
        let refs = module.array_type("refs", Type::Ref).unwrap();
        let run = module.function("run", [Type::Ref], [Type::Ref], |f| {
            let (value, length) = (f.param(0), f.i32(300));
            let [zero, one, ten] = [0, 1, 10].map(|n| f.i32(n));
            let [a, b] = [(); 2].map(|()| f.array_new_default(&refs, length));
            f.array_fill(&refs, a, ten, value, ten);
            f.array_copy(&refs, (b, one), (a, zero), ten);
            f.array_copy(&refs, (b, ten), (a, ten), ten);
            f.ret(&[b]);
        });
        run.unwrap();
        let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
        let five = Rooted::from_i31(&mut store, 5).unwrap();
        let run = store.function::<Rooted, Rooted<ArrayRef>>("run").unwrap();
        let array = run.call(&mut store, five).unwrap();
        for n in 0..25 {
            let is_set = matches!(refs.get(&mut store, &array, n).unwrap(), Val::Ref(Some(_)));
            assert_eq!(is_set, (10..20).contains(&n), "{n}");
        }
    }
}

#[test]
fn a_constant_for_which_there_is_no_room_is_an_error() {
    let engine = Engine::builder(Collector::copying()).heap_maximum(1 << 20).build().unwrap();
    let mut store = Store::new(&engine, ()).unwrap();
    let large = texts(&engine, &"x".repeat(2 << 20), ["text", "fresh"]);
    let error = format!("{:#}", store.load(&large).unwrap_err());
    assert!(error.starts_with("making a constant of the code: "), "{error}");
    assert_eq!((store.pieces(), store.functions().count()), (0, 0));
    store.load(&texts(&engine, "small", ["text", "fresh"])).unwrap();
    let text = store.function::<(), Rooted<ArrayRef>>("text").unwrap();
    let text = text.call(&mut store, ()).unwrap();
    assert_eq!(store.array_type("string").unwrap().bytes(&mut store, &text).unwrap(), b"small");
}
