//! Tests and casts of references, and code that checks types.

use crate::common::{engines, loaded};
use cranelift_codegen::ir::Value;
use gc_engine::{
    Body, CodeOptions, Collector, Control, Engine, Module, RefType, Rooted, Store, Trap, TrapError,
    Type,
};

type Unary = (Option<Rooted>,);

/// A store with functions that make an object of each type, `is_NAME` and `as_NAME`.
fn store(engine: &Engine) -> Store<()> {
    let mut module = Module::new(engine);
    let pair = module.struct_type("pair", [Type::Ref; 2]).unwrap();
    let point = module.struct_type("point", [Type::F64; 2]).unwrap();
    let bytes = module.array_type("bytes", Type::I64).unwrap();
    let mut makes = |name: &str, make: &dyn Fn(&mut Body<'_, '_>) -> Value| {
        let made = module.function(name, [], [Type::Ref], |f| {
            let object = make(f);
            f.ret(&[object]);
        });
        made.unwrap();
    };
    makes("pair", &|f| {
        let null = f.null();
        f.struct_new(&pair, &[null; 2])
    });
    makes("point", &|f| {
        let zero = f.builder().ins_f64(0.0);
        f.struct_new(&point, &[zero; 2])
    });
    makes("bytes", &|f| {
        let length = f.i32(3);
        f.array_new_default(&bytes, length)
    });
    makes("integer", &|f| {
        let seven = f.i32(-7);
        f.i31(seven)
    });
    let types: [(&str, RefType); 7] = [
        ("pair", (&pair).into()),
        ("point", (&point).into()),
        ("bytes", (&bytes).into()),
        ("integer", RefType::I31),
        ("struct", RefType::STRUCT),
        ("array", RefType::ARRAY),
        ("any", RefType::ANY),
    ];
    for (name, ty) in types {
        for (null, ty) in [("", ty), ("_or_null", ty.nullable())] {
            let is = module.function(&format!("is_{name}{null}"), [Type::Ref], [Type::I32], |f| {
                let value = f.param(0);
                let test = f.ref_test(value, ty);
                let (yes, no) = (f.i32(1), f.i32(0));
                let by_value = f.if_value(Type::I32, test, |_| yes, |_| no);
                let by_branch = f.variable(Type::I32);
                f.if_type(value, ty, |f| f.set(by_branch, yes), |f| f.set(by_branch, no));
                let by_branch = f.get(by_branch);
                let twice = f.add(by_value, by_branch);
                f.ret(&[twice]);
            });
            is.unwrap();
            let cast =
                module.function(&format!("as_{name}{null}"), [Type::Ref], [Type::Ref], |f| {
                    let value = f.param(0);
                    f.ref_cast(value, ty);
                    f.ret(&[value]);
                });
            cast.unwrap();
        }
    }
    let get = module.function("get", [Type::Ref], [Type::I32], |f| {
        let value = f.param(0);
        let integer = f.i31_get(value);
        f.ret(&[integer]);
    });
    get.unwrap();
    loaded(engine, &module.compile().unwrap()).unwrap()
}

trait Float {
    fn ins_f64(&mut self, value: f64) -> Value;
}

impl Float for cranelift_frontend::FunctionBuilder<'_> {
    fn ins_f64(&mut self, value: f64) -> Value {
        use cranelift_codegen::ir::InstBuilder;
        self.ins().f64const(value)
    }
}

#[test]
fn each_type_passes_its_own_tests() {
    for engine in engines() {
        let mut store = store(&engine);
        let passes = |name: &str, ty: &str| {
            let known = match ty {
                "struct" => matches!(name, "pair" | "point"),
                "array" => name == "bytes",
                "any" => true,
                ty => name == ty,
            };
            known && name != "null"
        };
        let types = ["pair", "point", "bytes", "integer", "struct", "array", "any"];
        for name in ["pair", "point", "bytes", "integer", "null"] {
            let object = (name != "null")
                .then(|| store.function::<(), Rooted>(name).unwrap().call(&mut store, ()).unwrap());
            for ty in types {
                for null in ["", "_or_null"] {
                    let expected = passes(name, ty) || name == "null" && !null.is_empty();
                    let is = store.function::<Unary, i32>(&format!("is_{ty}{null}")).unwrap();
                    let found = is.call(&mut store, (object.clone(),)).unwrap();
                    assert_eq!(found, 2 * i32::from(expected), "{name} as {ty}{null}");
                    let cast = store.function::<Unary, Option<Rooted>>(&format!("as_{ty}{null}"));
                    let cast = cast.unwrap().call(&mut store, (object.clone(),));
                    assert_eq!(cast.is_ok(), expected, "{name} as {ty}{null}");
                }
            }
        }
        let seven = store.function::<(), Rooted>("integer").unwrap().call(&mut store, ()).unwrap();
        let get = store.function::<Unary, i32>("get").unwrap();
        assert_eq!(get.call(&mut store, (Some(seven),)).unwrap(), -7);
        let pair = store.function::<(), Rooted>("pair").unwrap().call(&mut store, ()).unwrap();
        for wrong in [Some(pair), None] {
            let error = get.call(&mut store, (wrong,)).unwrap_err();
            assert_eq!(error.downcast::<TrapError>().unwrap().trap, Trap::CastFailure);
        }
    }
}

/// Types of two modules are the same if their names are.
#[test]
fn a_type_is_tested_in_other_code() {
    for engine in engines() {
        let mut store = store(&engine);
        let mut module = Module::new(&engine);
        module.array_type("another", Type::I32).unwrap();
        let pair = module.struct_type("pair", [Type::Ref; 2]).unwrap();
        let is = module.function("is", [Type::Ref], [Type::I32], |f| {
            let value = f.param(0);
            let (yes, no) = (f.i32(1), f.i32(0));
            f.if_type(value, &pair, |f| f.ret(&[yes]), |f| f.ret(&[no]));
        });
        is.unwrap();
        store.load(&module.compile().unwrap()).unwrap();
        for (name, expected) in [("pair", 1), ("point", 0), ("integer", 0)] {
            let object = store.function::<(), Rooted>(name).unwrap();
            let object = object.call(&mut store, ()).unwrap();
            let is = store.function::<Rooted, i32>("is").unwrap();
            assert_eq!(is.call(&mut store, object).unwrap(), expected, "{name}");
        }
    }
}

#[test]
fn checked_code_finds_objects_of_other_types() {
    let checked = CodeOptions { checked: true, ..CodeOptions::default() };
    for collector in Collector::all() {
        for zeal in [0, 1] {
            // Zeal is enough.
            let code = if zeal == 0 { checked.clone() } else { CodeOptions::default() };
            let engine = Engine::builder(collector.clone()).code(code).zeal(zeal).build().unwrap();
            let mut module = Module::new(&engine);
            let pair = module.struct_type("pair", [Type::I64, Type::Ref]).unwrap();
            let longs = module.array_type("longs", Type::I64).unwrap();
            let mut uses = |name: &str, wrong: &dyn Fn(&mut Body<'_, '_>, Value, Value, Value)| {
                let built = module.function(name, [Type::I32], [], |f| {
                    let (right, n, length) = (f.param(0), f.i64(1), f.i32(3));
                    let null = f.null();
                    let object = f.struct_new(&pair, &[n, null]);
                    let array = f.array_new_default(&longs, length);
                    let small = f.i31(length);
                    let [object, array] = [(object, array), (array, object)]
                        .map(|(yes, no)| f.if_value(Type::Ref, right, |_| yes, |_| no));
                    wrong(f, object, array, small);
                });
                built.unwrap();
            };
            uses("struct_get", &|f, object, _, _| {
                f.struct_get(&pair, object, 0);
            });
            uses("struct_set", &|f, object, _, _| {
                let n = f.i64(5);
                f.struct_set(&pair, object, 0, n);
            });
            uses("array_len", &|f, _, array, _| {
                f.array_len(array);
            });
            uses("array_get", &|f, _, array, _| {
                let index = f.i32(1);
                f.array_get(&longs, array, index);
            });
            uses("array_set", &|f, _, array, _| {
                let (index, n) = (f.i32(1), f.i64(5));
                f.array_set(&longs, array, index, n);
            });
            uses("i31", &|f, object, _, small| {
                let right = f.param(0);
                let object = f.if_value(Type::Ref, right, |_| object, |_| small);
                f.struct_get(&pair, object, 0);
            });
            let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
            for name in ["struct_get", "struct_set", "array_len", "array_get", "array_set", "i31"] {
                let function = store.function::<i32, ()>(name).unwrap();
                function.call(&mut store, 1).unwrap();
                let error = function.call(&mut store, 0).unwrap_err();
                assert_eq!(
                    error.downcast::<TrapError>().unwrap().trap,
                    Trap::CastFailure,
                    "{name}"
                );
            }
        }
    }
}
