//! A function, a handle and a type belong to one module. Code that builds a function can put another
//! module in its place, but nothing of one module is used with another.

use crate::common::loaded;
use gc_engine::{Body, Collector, Engine, Module, Type};
use std::mem::swap;

fn engine() -> Engine {
    Engine::new(Collector::default()).unwrap()
}

fn zero(f: &mut Body<'_, '_>) {
    let zero = f.i64(0);
    f.ret(&[zero]);
}

#[test]
fn a_body_keeps_its_module() {
    let engine = engine();
    let (mut a, mut b) = (Module::new(&engine), Module::new(&engine));
    let own = a.declare("own", [Type::Ref], [Type::I64]).unwrap();
    b.declare("other", [Type::I64], [Type::I64]).unwrap();
    let error = a.define(&own, |f| {
        let zero = f.i64(0);
        f.ret(&[zero]);
        swap(f.module(), &mut b);
    });
    assert!(format!("{:#}", error.unwrap_err()).contains("was declared in another module"));

    let mut module = Module::new(&engine);
    let twice = module.declare("twice", [], []).unwrap();
    let error = module.define(&twice, |f| f.module().define(&twice, |_| ()).unwrap());
    assert!(format!("{:#}", error.unwrap_err()).contains("is defined twice"));
}

/// The functions have the same name and number, but other types. The call would use the machine's
/// signature of one, and the checkers that of the other.
#[test]
fn a_body_calls_functions_of_its_own_module() {
    let engine = engine();
    let (mut a, mut b) = (Module::new(&engine), Module::new(&engine));
    let own = a.declare("g", [], [Type::I64, Type::Ref]).unwrap();
    let other = b.declare("g", [], [Type::F64, Type::Ref]).unwrap();
    let mut refused = |expected: &str, call: &dyn Fn(&mut Body<'_, '_>)| {
        let error = a.function("f", [], [Type::Ref], |f| {
            swap(f.module(), &mut b);
            call(f);
            swap(f.module(), &mut b);
            let null = f.null();
            f.ret(&[null]);
        });
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.contains("function `f`: ") && text.contains(expected), "{text}");
    };
    let exchanged = "another module was put in the place of its own";
    refused(exchanged, &|f| drop(f.call("g", &[])));
    refused(exchanged, &|f| drop(f.call(&other, &[])));
    refused(exchanged, &|f| drop(f.call(&own, &[])));
    refused(exchanged, &|f| f.tail_call("g", &[]));
}

/// The heap would have the layout of one type, and the code that of the other.
#[test]
fn a_body_uses_types_of_its_own_module() {
    let engine = engine();
    let (mut a, mut b) = (Module::new(&engine), Module::new(&engine));
    a.struct_type("cell", [Type::I64]).unwrap();
    a.array_type("array", Type::I64).unwrap();
    let (object, array) = (b.struct_type("cell", [Type::Ref; 2]), b.array_type("array", Type::Ref));
    let (object, array) = (object.unwrap(), array.unwrap());
    let mut refused = |build: &dyn Fn(&mut Body<'_, '_>)| {
        let error = a.function("f", [Type::I32], [Type::I64], |f| {
            swap(f.module(), &mut b);
            build(f);
            swap(f.module(), &mut b);
            zero(f);
        });
        let text = format!("{:#}", error.unwrap_err());
        assert!(text.contains("a type of another module is used"), "{text}");
    };
    refused(&|f| {
        let null = f.null();
        f.struct_new(&object, &[null; 2]);
    });
    refused(&|f| {
        let length = f.param(0);
        f.array_new_default(&array, length);
    });
}

#[test]
fn a_failure_with_another_module_in_its_place_changes_neither() {
    let engine = engine();
    // The other module is empty, or has a function of the same name and number.
    for has_function in [false, true] {
        let (mut a, mut b) = (Module::new(&engine), Module::new(&engine));
        if has_function {
            b.function("f", [], [Type::I64], zero).unwrap();
        }
        let error = a.function("f", [], [Type::I64], |f| {
            zero(f);
            swap(f.module(), &mut b);
        });
        assert!(format!("{:#}", error.unwrap_err()).contains("declared in another module"));
        // What was `b` is now in `a`.
        let mut store = loaded(&engine, &a.compile().unwrap()).unwrap();
        let found = store.function::<(), i64>("f");
        assert_eq!(found.is_ok(), has_function);
        if let Ok(f) = found {
            assert_eq!(f.call(&mut store, ()).unwrap(), 0);
        }
    }
}

#[test]
fn a_function_that_failed_is_not_used() {
    let engine = engine();
    let mut module = Module::new(&engine);
    let mut handle = None;
    let failed =
        module.function("broken", [], [Type::I64], |f| handle = Some(f.function().clone()));
    failed.unwrap_err();
    let handle = handle.unwrap();
    let expected = "the function `broken` cannot be used, because its definition failed";
    let error = module.function("f", [], [Type::I64], |f| {
        let results = f.call(&handle, &[]);
        f.ret(&results[..1]);
    });
    assert_eq!(format!("{:#}", error.unwrap_err()), format!("function `f`: {expected}"));
    assert_eq!(module.define(&handle, zero).unwrap_err().to_string(), expected);
    // Neither failure is left in the module.
    module.function("broken", [], [Type::I64], zero).unwrap();
    assert_eq!(module.define(&handle, zero).unwrap_err().to_string(), expected);
    let mut store = loaded(&engine, &module.compile().unwrap()).unwrap();
    assert_eq!(store.function::<(), i64>("broken").unwrap().call(&mut store, ()).unwrap(), 0);
}
