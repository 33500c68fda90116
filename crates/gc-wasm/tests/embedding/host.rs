//! Uses of a store by the host: it reads and writes objects, defines functions, finds its caller's
//! exports, panics.

use crate::common::{each_collector, everywhere, message, new_struct, trap};
use anyhow::{Context, Result};
use gc_wasm::{
    AsContext, Caller, Engine, Extern, ExternRef, ExternType, FieldType, Func, FuncType, HeapType,
    Instance, Linker, Module, Mutability, Pause, RefType, Rooted, StorageType, Store, StructRef,
    StructType, Trap, UnknownImportError, Val, ValType,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

fn fixed(ty: impl Into<StorageType>) -> FieldType {
    FieldType::new(Mutability::Const, ty.into())
}

#[test]
fn host_functions_find_their_callers_exports() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut linker: Linker<Vec<String>> = Linker::new(&engine);
        linker.func_wrap(
            "",
            "print",
            |mut caller: Caller<'_, Vec<String>>, at: u32, len: u32| {
                let memory = caller.get_export("memory").and_then(Extern::into_memory);
                let memory = memory.context("no memory is exported")?;
                let bytes = memory.data(&caller).get(at as usize..(at + len) as usize);
                let text = String::from_utf8(bytes.context("out of bounds")?.to_vec())?;
                caller.data_mut().push(text);
                anyhow::Ok(())
            },
        )?;
        let module = |text: &str, export: &str| {
            Module::new(
                &engine,
                format!(
                    r#"(module
                        (import "" "print" (func $print (param i32 i32)))
                        (memory (export "{export}") 1)
                        (data (i32.const 8) "{text}")
                        (func (export "f") (call $print (i32.const 8) (i32.const {}))))"#,
                    text.len()
                ),
            )
        };
        let mut store = Store::new(&engine, Vec::new());
        let one = linker.instantiate(&mut store, &module("one", "memory")?)?;
        let two = linker.instantiate(&mut store, &module("the second", "memory")?)?;
        let none = linker.instantiate(&mut store, &module("three", "mem")?)?;
        for instance in [one, two, one] {
            instance.get_typed_func::<(), ()>(&mut store, "f")?.call(&mut store, ())?;
        }
        assert_eq!(store.data()[..], ["one", "the second", "one"]);
        let f = none.get_typed_func::<(), ()>(&mut store, "f")?;
        assert_eq!(message(f.call(&mut store, ())), "no memory is exported");
        // When the host calls it, it has no caller with exports.
        let print = linker.get(&mut store, "", "print")?.into_func().unwrap();
        assert_eq!(
            message(print.call(&mut store, &[Val::I32(8), Val::I32(1)], &mut [])),
            "no memory is exported"
        );
        assert_eq!(store.data().len(), 3);
        Ok(())
    })
}

/// The caller is found through nested activations of different instances.
#[test]
fn callers_of_nested_activations() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut linker: Linker<Vec<i32>> = Linker::new(&engine);
        let note = |mut caller: Caller<'_, Vec<i32>>, other: Option<Func>| -> Result<()> {
            let id = |caller: &mut Caller<'_, Vec<i32>>| -> Result<i32> {
                let id = caller.get_export("id").and_then(Extern::into_global).context("id")?;
                id.get(caller).i32().context("an i32")
            };
            let before = id(&mut caller)?;
            caller.data_mut().push(before);
            if let Some(other) = other {
                other.call(&mut caller, &[], &mut [])?;
            }
            assert_eq!(id(&mut caller)?, before, "the caller is who called");
            Ok(())
        };
        linker.func_wrap("", "note", note)?;
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "note" (func $note (param funcref)))
                (import "" "id" (global $id i32))
                (export "id" (global $id))
                (global $other (export "other") (mut funcref) (ref.null func))
                (func (export "f")
                    (call $note (global.get $other)) (call $note (ref.null func))))"#,
        )?;
        let mut store = Store::new(&engine, Vec::new());
        let mut previous = None;
        for id in 1..=3 {
            let ty = gc_wasm::GlobalType::new(ValType::I32, Mutability::Const);
            let global = gc_wasm::Global::new(&mut store, ty, Val::I32(id))?;
            let mut linker = linker.clone();
            linker.define(&store, "", "id", global)?;
            let instance = linker.instantiate(&mut store, &module)?;
            let other = instance.get_global(&mut store, "other").context("other")?;
            other.set(&mut store, Val::FuncRef(previous))?;
            previous = instance.get_func(&mut store, "f");
        }
        previous.context("f")?.call(&mut store, &[], &mut [])?;
        assert_eq!(store.data()[..], [3, 2, 1, 1, 2, 3]);
        Ok(())
    })
}

/// A host function that a host function calls has no calling instance, although there is one
/// further out on the stack.
#[test]
fn host_functions_called_by_host_functions() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let inner = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| -> i32 {
            i32::from(caller.get_export("f").is_some())
        });
        let outer = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<i32> {
            assert!(caller.get_export("f").is_some());
            let inside = inner.typed::<(), i32>(&caller)?.call(&mut caller, ())?;
            assert!(caller.get_export("f").is_some());
            Ok(inside)
        });
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "inner" (func $inner (result i32)))
                (import "" "outer" (func $outer (result i32)))
                (func (export "f") (result i32)
                    (i32.add (call $inner) (i32.mul (i32.const 10) (call $outer)))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[inner.into(), outer.into()])?;
        let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, ())?, 1);
        Ok(())
    })
}

/// A panic of the host passes through compiled code to the caller, and the store can be used
/// afterwards.
#[test]
fn panics_of_host_functions() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut linker: Linker<u32> = Linker::new(&engine);
        linker.func_wrap(
            "",
            "panic",
            |mut caller: Caller<'_, u32>, level: i32, _: Option<Rooted<StructRef>>| {
                let value = ExternRef::new(&mut caller, level)?;
                if level == 0 {
                    // Without the panic hook, which would print.
                    std::panic::resume_unwind(Box::new("the payload"));
                }
                let go = caller.get_export("go").and_then(Extern::into_func).context("go")?;
                go.typed::<i32, ()>(&caller)?.call(&mut caller, level - 1)?;
                assert!(value.data(&caller)?.is_some());
                anyhow::Ok(())
            },
        )?;
        let module = Module::new(
            &engine,
            r#"(module
                (type $s (struct (field i32)))
                (import "" "panic" (func $panic (param i32 structref)))
                (func (export "go") (param i32)
                    (local $s (ref null $s))
                    (local.set $s (struct.new $s (local.get 0)))
                    (call $panic (local.get 0) (local.get $s))
                    (drop (struct.get $s 0 (local.get $s))))
                (func (export "fine") (result i32)
                    (struct.get $s 0 (struct.new $s (i32.const 9)))))"#,
        )?;
        let mut store = Store::new(&engine, 0);
        let instance = linker.instantiate(&mut store, &module)?;
        let go = instance.get_typed_func::<i32, ()>(&mut store, "go")?;
        let fine = instance.get_typed_func::<(), i32>(&mut store, "fine")?;
        for level in [0, 1, 3] {
            let result = catch_unwind(AssertUnwindSafe(|| go.call(&mut store, level)));
            let payload = result.expect_err("a panic");
            assert_eq!(payload.downcast_ref(), Some(&"the payload"));
            assert_eq!(fine.call(&mut store, ())?, 9);
            store.gc(None)?;
            if setting.reclaims() {
                assert_eq!(store.gc_stats().live_objects, 0, "level {level}");
            }
        }
        // By the host alone, too.
        let panic = Func::wrap(&mut store, || -> i32 {
            std::panic::resume_unwind(Box::new(7_u8));
        });
        let result =
            catch_unwind(AssertUnwindSafe(|| panic.call(&mut store, &[], &mut [Val::I32(0)])));
        assert_eq!(result.expect_err("a panic").downcast_ref(), Some(&7_u8));
        assert_eq!(fine.call(&mut store, ())?, 9);
        Ok(())
    })
}

/// After a failed call only the results of the call cannot be used.
#[test]
fn traps_between_host_calls_leave_no_trace() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let make = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
            ExternRef::new(&mut caller, 1).map(Some)
        });
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "make" (func $make (result externref)))
                (func $deep (param $n i32) (param $held externref) (result externref)
                    (local $mine externref)
                    (local.set $mine (call $make))
                    (if (i32.eqz (local.get $n)) (then (unreachable)))
                    (drop (call $deep (i32.sub (local.get $n) (i32.const 1)) (local.get $mine)))
                    (local.get $mine))
                (func (export "f") (param i32)
                    (drop (call $deep (local.get 0) (ref.null extern)))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[make.into()])?;
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
        for _ in 0..20 {
            assert_eq!(trap(f.call(&mut store, 50)), Trap::UnreachableCodeReached);
        }
        store.gc(None)?;
        if setting.reclaims() {
            assert_eq!(store.gc_stats().live_objects, 0);
        }
        Ok(())
    })
}

#[test]
fn linkers_define_and_find() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let module = Module::new(
            &engine,
            r#"(module
                (import "lib" "double" (func $double (param i32) (result i32)))
                (import "lib" "missing" (func $missing (param i32) (result f64)))
                (func (export "f") (param i32) (result i32) (call $double (local.get 0)))
                (func (export "g") (drop (call $missing (i32.const 1)))))"#,
        )?;
        let imports: Vec<String> =
            module.imports().map(|i| format!("{} {} {}", i.module(), i.name(), i.ty())).collect();
        assert_eq!(
            imports,
            [
                "lib double (func (param i32) (result i32))",
                "lib missing (func (param i32) (result f64))"
            ]
        );
        let exports: Vec<String> =
            module.exports().map(|e| format!("{} {}", e.name(), e.ty())).collect();
        assert_eq!(exports, ["f (func (param i32) (result i32))", "g (func)"]);
        assert!(matches!(module.get_export("g"), Some(ExternType::Func(_))));
        assert!(module.get_export("h").is_none());

        let lib = Module::new(
            &engine,
            r#"(module (func (export "double") (param i32) (result i32)
                (i32.mul (local.get 0) (i32.const 2))))"#,
        )?;
        let lib = Instance::new(&mut store, &lib, &[])?;
        let mut linker = Linker::new(&engine);
        linker.instance(&mut store, "lib", lib)?;
        linker.define_unknown_imports_as_traps(&module)?;
        let instance = linker.instantiate(&mut store, &module)?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, 21)?, 42);
        // A name cannot be redefined unless that is allowed.
        let error = linker.func_wrap("lib", "double", |a: i32| a * 3).map(|_| ());
        assert_eq!(message(error), "import of `lib::double` defined twice");
        let instance = linker.instantiate(&mut store, &module)?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, 21)?, 42);
        let g = instance.get_typed_func::<(), ()>(&mut store, "g")?;
        let error = g.call(&mut store, ()).unwrap_err();
        let unknown = error.downcast_ref::<UnknownImportError>().context("an unknown import")?;
        assert_eq!((unknown.module(), unknown.name()), ("lib", "missing"));
        assert_eq!(
            error.root_cause().to_string(),
            "unknown import: `lib::missing` of type (func (param i32) (result f64)) has not been defined"
        );
        linker.allow_shadowing(true);
        linker.func_wrap("lib", "double", |a: i32| a * 3)?;
        let instance = linker.instantiate(&mut store, &module)?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, 21)?, 63);
        Ok(())
    })
}

/// Reference types with and without null, as parameters of host functions.
#[test]
fn host_functions_of_reference_types() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let object = |ty| ValType::Ref(RefType::new(false, ty));
        let ty = StructType::new(&engine, [fixed(ValType::I32)])?;
        let ty = FuncType::new(
            &engine,
            [object(HeapType::ConcreteStruct(ty.clone())), object(HeapType::Array), ValType::EQREF],
            [object(HeapType::ConcreteStruct(ty))],
        );
        let swap = Func::new(&mut store, ty, |mut caller, params, results| {
            caller.gc(None)?;
            let old = params[0].anyref().flatten().context("a struct")?;
            let old = old.as_struct(&caller)?.context("a struct")?;
            let len = params[1].anyref().flatten().context("an array")?;
            let len = len.as_array(&caller)?.context("an array")?.len(&caller)?;
            let eq = params[2].anyref().flatten().is_some();
            let n = old.field(&mut caller, 0)?.i32().context("an i32")?;
            let ty = old.ty(&caller)?;
            let new = n + len as i32 + i32::from(eq) * 1000;
            results[0] = new_struct(&mut caller, &ty, &[Val::I32(new)])?.to_anyref().into();
            caller.gc(None)
        });
        let module = Module::new(
            &engine,
            r#"(module
                (type $s (struct (field i32)))
                (type $a (array i64))
                (import "" "swap" (func $swap (param (ref $s) (ref array) eqref) (result (ref $s))))
                (func (export "f") (result i32)
                    (local $a (ref null $a)) (local $s (ref null $s))
                    (local.set $a (array.new $a (i64.const 1) (i32.const 30)))
                    (local.set $s (struct.new $s (i32.const 2)))
                    (local.set $s (call $swap
                        (ref.as_non_null (local.get $s)) (ref.as_non_null (local.get $a))
                        (ref.null eq)))
                    (local.set $s (call $swap
                        (ref.as_non_null (local.get $s)) (ref.as_non_null (local.get $a))
                        (local.get $s)))
                    (struct.get $s 0 (local.get $s))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[swap.into()])?;
        let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, ())?, 2 + 30 + 30 + 1000);
        Ok(())
    })
}

/// A result that a host function does not set is an error, not zero.
#[test]
fn a_forgotten_result_is_an_error() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(&setting.config())?;
        for ty in [ValType::I32, ValType::F64, ValType::V128, ValType::EXTERNREF, ValType::ANYREF] {
            let mut store = Store::new(&engine, ());
            let func_ty = FuncType::new(&engine, [], [ValType::I64, ty.clone()]);
            let func = Func::new(&mut store, func_ty, |_, _, results| {
                results[0] = Val::I64(1);
                Ok(())
            });
            let error = message(func.call(&mut store, &[], &mut [Val::I32(0), Val::I32(0)]));
            let expected = format!(
                "function attempted to return an incompatible value: result 1: type mismatch: \
                 expected {ty}, found a null function reference"
            );
            assert_eq!(error, expected);
        }
        Ok(())
    })
}

/// The log keeps 1024 pauses one by one. A host function that runs between them sees all.
#[test]
fn host_functions_see_every_pause() -> Result<()> {
    fn collect(mut caller: Caller<'_, Vec<Pause>>) -> Result<()> {
        caller.gc(None)?;
        let log = caller.as_context().gc_pauses();
        let new = usize::try_from(log.count())? - caller.data().len();
        let pauses: Vec<Pause> = log.recent().skip(log.recent().len() - new).copied().collect();
        caller.data_mut().extend(pauses);
        Ok(())
    }
    each_collector(|setting| {
        let engine = setting.engine()?;
        let wat = r#"(module
            (import "host" "collect" (func $collect))
            (type $s (struct))
            (func (export "run") (param $n i32)
              (loop $more
                (drop (struct.new $s))
                (call $collect)
                (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "collect", collect)?;
        let mut store = Store::new(&engine, Vec::new());
        let instance = linker.instantiate(&mut store, &Module::new(&engine, wat)?)?;
        instance.get_typed_func::<i32, ()>(&mut store, "run")?.call(&mut store, 1500)?;
        let (log, seen) = (store.gc_pauses(), store.data());
        assert_eq!(seen.len() as u64, log.count());
        assert!(log.count() >= 1500 || log.count() == 0, "{log:?}");
        assert_eq!(seen.iter().map(|pause| pause.length).sum::<Duration>(), log.total());
        assert!(seen.windows(2).all(|pair| pair[0].start + pair[0].length <= pair[1].start));
        let kept: Vec<Pause> = log.recent().copied().collect();
        assert!(seen.ends_with(&kept));
        Ok(())
    })
}
