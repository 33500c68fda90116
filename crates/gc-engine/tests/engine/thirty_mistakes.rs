//! Thirty mistakes of a compiler or of a host, each under every collector, with the words of the error. The
//! book's table of mistakes is about these. The other files have their variants.
//!
//! The engine has [`CodeOptions::checked`], without which a wrong access reads or writes other bytes of the heap.
//! Mistakes that Rust's compiler refuses are in the documentation of [`Rooted::gc_ref`] and [`Body`].

use crate::common::{lists, loaded};
use anyhow::{Result, bail};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData};
use gc_engine::{
    Body, Caller, CodeOptions, Collector, Control, Engine, Field, Module, RefType, Rooted,
    Signature, StorageType, Store, StructRef, Type, Val,
};

fn engine(collector: Collector) -> Engine {
    let code = CodeOptions { checked: true, ..CodeOptions::default() };
    Engine::builder(collector).code(code).build().unwrap()
}

/// Defines a function `f` from a reference to an integer, beside the functions on lists. What the definition
/// does not refuse, the checks of emitted code must.
fn define(engine: &Engine, build: impl FnOnce(&mut Body<'_, '_>)) -> Result<()> {
    let mut module = lists(engine).0;
    module.function("f", [Type::Ref], [Type::I64], build)?;
    module.compile().map(drop)
}

/// Defines it, and calls it with null.
fn run(engine: &Engine, build: impl FnOnce(&mut Body<'_, '_>)) -> Result<()> {
    let mut module = lists(engine).0;
    module.function("f", [Type::Ref], [Type::I64], |f| {
        build(f);
        let zero = f.i64(0);
        f.ret(&[zero]);
    })?;
    let mut store = loaded(engine, &module.compile()?)?;
    let f = store.function::<Option<Rooted>, i64>("f")?;
    f.call(&mut store, None).map(drop)
}

/// The struct of the functions on lists.
fn cell(f: &mut Body<'_, '_>) -> gc_engine::StructType {
    f.module().struct_type("cell", [Type::I64, Type::Ref]).unwrap()
}

/// A store with the functions on lists.
fn store(engine: &Engine) -> Result<Store<()>> {
    loaded(engine, &lists(engine).0.compile()?)
}

/// The type of an object of the host.
fn pair(engine: &Engine) -> Result<gc_engine::StructType> {
    Module::new(engine).struct_type("pair", [Type::I64, Type::Ref])
}

/// What is done wrong, the words of the error, and the mistake.
type Mistake = (&'static str, &'static str, fn(&Engine) -> Result<()>);

/// Those in a function.
const DEFINITIONS: [Mistake; 16] = [
    (
        "a field of a wrong type",
        "field 0 of a `cell` is of type I64, but the value is of i32",
        |engine| {
            define(engine, |f| {
                let (cell, one, null) = (cell(f), f.i32(1), f.null());
                f.struct_new(&cell, &[one, null]);
            })
        },
    ),
    ("too few fields", "a `cell` has 2 fields, but `struct_new` is given 1", |engine| {
        define(engine, |f| {
            let (cell, one) = (cell(f), f.i64(1));
            f.struct_new(&cell, &[one]);
        })
    }),
    ("a field that is not there", "there is no field 2: the number of fields is 2", |engine| {
        define(engine, |f| {
            let (cell, object) = (cell(f), f.param(0));
            f.struct_get(&cell, object, 2);
        })
    }),
    ("an integer as a reference", "a reference, but was given an integer", |engine| {
        define(engine, |f| {
            let (cell, number) = (cell(f), f.i64(0x1_0008));
            f.struct_get(&cell, number, 0);
        })
    }),
    ("an integer as a function", "a reference to a function, but was given an integer", |engine| {
        define(engine, |f| {
            let (number, signature) = (f.i32(1), Signature::new([], []));
            f.call_indirect(&signature, number, &[]);
        })
    }),
    ("a wrong number of arguments", "it calls `sum`, which takes 1 values, with 2", |engine| {
        define(engine, |f| {
            let list = f.param(0);
            f.call("sum", &[list, list]);
        })
    }),
    ("a function that is not there", "it calls `product`, which is not declared", |engine| {
        define(engine, |f| drop(f.call("product", &[])))
    }),
    (
        "a tail call with other results",
        "a tail call of `list`, which has other results",
        |engine| {
            define(engine, |f| {
                let one = f.i64(1);
                f.tail_call("list", &[one]);
            })
        },
    ),
    ("a tail call under a handler", "a tail call in a block with a handler", |engine| {
        define(engine, |f| {
            let list = f.param(0);
            f.try_catch(|f| f.tail_call("sum", &[list]), RefType::STRUCT, |_, _| ());
        })
    }),
    ("a forgotten return", "it can reach its end without returning (ref) -> (i64)", |engine| {
        define(engine, |f| {
            f.i64(0);
        })
    }),
    ("a variable of a wrong type", "`set` takes a value of type f64", |engine| {
        define(engine, |f| {
            let (variable, one) = (f.variable(Type::F64), f.i64(1));
            f.set(variable, one);
        })
    }),
    ("a type of another module", "a type of another module is used", |engine| {
        let foreign = Module::new(engine).struct_type("foreign", [Type::Ref, Type::I64])?;
        define(engine, |f| {
            let list = f.param(0);
            f.struct_get(&foreign, list, 1);
        })
    }),
    (
        "a store beside the barrier",
        "function `f`: sandbox: an access without an alias region: store",
        |engine| {
            define(engine, |f| {
                let (cell, list) = (cell(f), f.param(0));
                let (one, null) = (f.i64(1), f.null());
                let object = f.struct_new(&cell, &[one, null]);
                let flags = MemFlagsData::new();
                f.ins().store(flags, list, object, 16);
                f.ret(&[one]);
            })
        },
    ),
    (
        "an address that is no reference",
        "function `f`: sandbox: an access without an alias region: v",
        |engine| {
            define(engine, |f| {
                let address = f.i64(0x1000);
                let value = f.ins().load(
                    cranelift_codegen::ir::types::I64,
                    MemFlagsData::new(),
                    address,
                    0,
                );
                f.ret(&[value]);
            })
        },
    ),
    ("a handler for arrays", "only objects with fields are thrown and caught", |engine| {
        define(engine, |f| f.try_catch(|_| (), RefType::ARRAY, |_, _| ()))
    }),
    ("a constant that is no bytes", "the elements of a constant are bytes", |engine| {
        define(engine, |f| {
            let longs = f.module().array_type("longs", Type::I64).unwrap();
            f.constant(&longs, b"text");
        })
    }),
];

/// Those that are found when code is compiled, loaded or looked up.
const LOADING: [Mistake; 9] = [
    ("a type with two layouts", "the type `cell` is declared twice", |engine| {
        lists(engine).0.struct_type("cell", [Type::Ref]).map(drop)
    }),
    ("a type with two layouts in two modules", "`cell`", |engine| {
        let mut module = Module::new(engine);
        module.struct_type("cell", [Type::F64])?;
        store(engine)?.load(&module.compile()?)
    }),
    ("a global of two types", "the global `g` is of type i64, not ref", |engine| {
        let mut module = Module::new(engine);
        module.global("g", Type::I64)?;
        module.global("g", Type::Ref).map(drop)
    }),
    ("a function defined twice", "the function `list` is already defined", |engine| {
        lists(engine).0.function("list", [], [], |_| ()).map(drop)
    }),
    ("a function never defined", "the function `never` is declared, but not defined", |engine| {
        let mut module = Module::new(engine);
        module.declare("never", [], [])?;
        module.compile().map(drop)
    }),
    ("code for another collector", "collector", |engine| {
        let other = match engine.collector().name() {
            "drc" => Collector::copying(),
            _ => Collector::drc(),
        };
        loaded(&self::engine(other), &lists(engine).0.compile()?).map(drop)
    }),
    (
        "an import that is not there",
        "imports a function `missing() -> ()`, which the store does not have",
        |engine| {
            let mut module = Module::new(engine);
            let missing = module.import("missing", [], [])?;
            module.function("f", [], [], |f| drop(f.call(&missing, &[])))?;
            loaded(engine, &module.compile()?).map(drop)
        },
    ),
    ("a name that is taken", "the store already has a function `", |engine| {
        store(engine)?.load(&lists(engine).0.compile()?)
    }),
    ("a function looked up with other types", "is of type (i64) -> (ref), not (i64)", |engine| {
        store(engine)?.function::<i64, i64>("list").map(drop)
    }),
];

/// Those that only running shows.
const RUNNING: [Mistake; 11] = [
    ("references copied as bytes", "cast failure", |engine| {
        run(engine, |f| {
            let bytes = f.module().array_type("bytes", StorageType::I8).unwrap();
            let refs = f.module().array_type("refs", Type::Ref).unwrap();
            let (zero, four) = (f.i32(0), f.i32(4));
            let [from, to] = [(); 2].map(|()| f.array_new_default(&refs, four));
            f.array_copy(&bytes, (to, zero), (from, zero), four);
        })
    }),
    ("a field of another type", "cast failure", |engine| {
        run(engine, |f| {
            let (cell, one, null) = (cell(f), f.i64(1), f.null());
            let other = f.module().struct_type("other", [Type::F32]).unwrap();
            let object = f.struct_new(&cell, &[one, null]);
            f.struct_get(&other, object, 0);
        })
    }),
    ("a field of an integer", "cast failure", |engine| {
        run(engine, |f| {
            let (cell, one) = (cell(f), f.i32(1));
            let number = f.i31(one);
            f.struct_get(&cell, number, 0);
        })
    }),
    ("an object as an integer", "cast failure", |engine| {
        run(engine, |f| {
            let (cell, one, null) = (cell(f), f.i64(1), f.null());
            let object = f.struct_new(&cell, &[one, null]);
            f.i31_get(object);
        })
    }),
    ("a function called with another type", "indirect call type mismatch", |engine| {
        run(engine, |f| {
            let signature = Signature::new([Type::I64], [Type::I64]);
            let (function, one) = (f.func_ref("sum"), f.i64(1));
            f.call_indirect(&signature, function, &[one]);
        })
    }),
    ("null as a function", "null reference", |engine| {
        run(engine, |f| {
            let function = f.func_null();
            f.call_indirect(&Signature::new([], []), function, &[]);
        })
    }),
    ("a function that is declared only", "`late` is declared, but not defined", |engine| {
        let mut store = Store::new(engine, ())?;
        store.declare("late", [], [])?;
        store.function::<(), ()>("late")?.call(&mut store, ())
    }),
    ("null for the host", "the reference is null", |engine| {
        let mut store = Store::new(engine, ())?;
        store.func_wrap("take", |_: Caller<'_, ()>, _: Rooted<StructRef>| ())?;
        let mut module = Module::new(engine);
        let take = module.import("take", [Type::Ref], [])?;
        module.function("f", [], [], |f| {
            let null = f.null();
            f.call(&take, &[null]);
        })?;
        store.load(&module.compile()?)?;
        store.function::<(), ()>("f")?.call(&mut store, ())
    }),
    ("a field of another type in the host", "is of type i64, not ", |engine| {
        let _: Field<i32> = pair(engine)?.field(0)?;
        bail!("it compiled")
    }),
    ("an object of another type in the host", "pair", |engine| {
        let (mut store, other) =
            (Store::new(engine, ())?, Module::new(engine).struct_type("other", [Type::I64])?);
        let object = other.new_object(&mut store, &[Val::I64(1)])?;
        pair(engine)?.field::<i64>(0)?.get(&mut store, &object).map(drop)
    }),
    ("an object of another store", "with the wrong store", |engine| {
        let mut stores = [Store::new(engine, ())?, Store::new(engine, ())?];
        let object = pair(engine)?.new_object(&mut stores[0], &[Val::I64(1), Val::Ref(None)])?;
        pair(engine)?.field::<i64>(0)?.get(&mut stores[1], &object).map(drop)
    }),
];

#[test]
fn each_mistake_is_an_error_where_it_is_made() {
    let mistakes = || DEFINITIONS.iter().chain(&LOADING).chain(&RUNNING);
    assert!(mistakes().count() >= 30);
    let mut wrong = Vec::new();
    for collector in Collector::all() {
        let engine = engine(collector.clone());
        for (what, expected, make) in mistakes() {
            match make(&engine) {
                Ok(()) => wrong.push(format!("{collector}, {what}: no error")),
                Err(error) if format!("{error:#}").contains(expected) => {}
                Err(error) => wrong.push(format!("{collector}, {what}: {error:#}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
