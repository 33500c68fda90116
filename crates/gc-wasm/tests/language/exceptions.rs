//! Exceptions and the host: tags, errors that are not caught, exceptions that are thrown through it and that it
//! makes. `tests/scripts/exceptions.wast` has what needs no host.

use crate::common::{each_collector, everywhere, message, panic_message, prelude, trap};
use anyhow::{Context, Result, anyhow};
use gc_wasm::{
    AsContextMut, Caller, Config, Engine, ExnRef, ExnRefPre, ExnType, Extern, Func, FuncType,
    HeapType, Instance, Linker, Module, Rooted, Store, Tag, TagType, ThrownException, Trap, Val,
    ValType,
};

#[test]
fn errors_of_the_host_are_not_caught() -> Result<()> {
    let wat = r#"(module
        (import "" "fail" (func $fail))
        (func (export "host") (block $h (try_table (catch_all $h) (call $fail)))))"#;
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let fail = Func::wrap(&mut store, || -> Result<()> { Err(anyhow!("failed")) });
        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[fail.into()])?;
        let func = instance.get_typed_func::<(), ()>(&mut store, "host")?;
        assert_eq!(message(func.call(&mut store, ())), "failed");
        Ok(())
    })
}

/// Code that throws through the host, to code that catches with `catch`, `catch_all_ref` or not.
const THROUGH: &str = r#"
    (tag $e (export "tag") (param (ref $pair)))
    (func (export "throw") (param i32) (throw $e (call $new (local.get 0))))
    (func (export "outer") (param i32) (result i32)
        (local $kept (ref null $pair))
        (local.set $kept (call $new (i32.const 1000)))
        (block $h (result (ref $pair))
            (try_table (catch $e $h) (call $enter (local.get 0)))
            (call $churn)
            (return (call $get (local.get $kept))))
        (call $churn)
        (i32.add (call $get) (call $get (local.get $kept))))
    (func (export "uncaught") (param i32) (call $enter (local.get 0)))"#;

/// What the host function does with the exception.
#[derive(Clone, Copy, PartialEq)]
enum Host {
    Passes,
    Catches,
    Rethrows,
    Replaces,
    AddsContext,
}

#[test]
fn exceptions_cross_the_host() -> Result<()> {
    let wat = prelude(r#"(import "host" "enter" (func $enter (param i32)))"#, THROUGH);
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, &wat)?;
        for (host, caught) in [
            (Host::Passes, 1005),
            (Host::Catches, 1000),
            (Host::Rethrows, 1005),
            (Host::Replaces, 1077),
            (Host::AddsContext, 1005),
        ] {
            let mut linker: Linker<Option<Instance>> = Linker::new(&engine);
            type C<'a> = Caller<'a, Option<Instance>>;
            linker.func_wrap("host", "gc", |mut caller: C<'_>| caller.gc(None))?;
            linker.func_wrap("host", "enter", move |mut caller: C<'_>, n: i32| -> Result<()> {
                let instance = caller.data().context("set below")?;
                let throw = instance.get_typed_func::<i32, ()>(&mut caller, "throw")?;
                let Err(error) = throw.call(&mut caller, n) else { return Ok(()) };
                assert!(error.is::<ThrownException>());
                caller.gc(None)?;
                let mut store = caller.as_context_mut();
                assert!(store.has_pending_exception());
                match host {
                    Host::Passes => Err(error),
                    Host::AddsContext => Err(error.context("in the host")),
                    Host::Catches => {
                        store.take_pending_exception().context("pending")?;
                        Ok(())
                    }
                    Host::Rethrows => {
                        let exn = store.take_pending_exception().context("pending")?;
                        store.gc(None)?;
                        assert!(!store.has_pending_exception());
                        store.throw(exn)
                    }
                    Host::Replaces => {
                        throw.call(&mut store, 77).map_err(|_| ThrownException.into())
                    }
                }
            })?;
            let mut store = Store::new(&engine, None);
            let instance = linker.instantiate(&mut store, &module)?;
            *store.data_mut() = Some(instance);
            let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer")?;
            for _ in 0..2 {
                assert_eq!(outer.call(&mut store, 5)?, caught);
                assert!(!store.has_pending_exception());
            }
            let uncaught = instance.get_typed_func::<i32, ()>(&mut store, "uncaught")?;
            match uncaught.call(&mut store, 6) {
                Ok(()) => assert!(host == Host::Catches),
                Err(error) => {
                    assert!(error.is::<ThrownException>() && host != Host::Catches);
                    store.gc(None)?;
                    let exn = store.take_pending_exception().context("pending")?;
                    let tag = instance.get_tag(&mut store, "tag").context("exported")?;
                    assert!(Tag::eq(&exn.tag(&mut store)?, &tag, &store));
                    let Val::AnyRef(Some(pair)) = exn.field(&mut store, 0)? else {
                        panic!("not a pair")
                    };
                    let pair = pair.as_struct(&store)?.context("a struct")?;
                    let number = if host == Host::Replaces { 77 } else { 6 };
                    assert_eq!(pair.field(&mut store, 0)?.i32(), Some(number));
                }
            }
        }
        Ok(())
    })
}

#[test]
fn the_host_makes_exceptions() -> Result<()> {
    let wat = r#"(module
        (import "" "tag" (tag $e (param i32 f64)))
        (func (export "throw") (param exnref) (throw_ref (local.get 0)))
        (func (export "same") (param exnref) (result exnref)
            (block $h (result exnref)
                (try_table (catch_all_ref $h) (throw_ref (local.get 0)))
                (unreachable)))
        (func (export "read") (param exnref) (result i32 f64)
            (block $h (result i32 f64)
                (try_table (catch $e $h) (throw_ref (local.get 0)))
                (unreachable))))"#;
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let ty = TagType::new(FuncType::new(&engine, [ValType::I32, ValType::F64], []));
        let tag = Tag::new(&mut store, &ty)?;
        let exn_ty = ExnType::from_tag_type(&ty)?;
        assert_eq!(exn_ty, ExnType::new(&engine, [ValType::I32, ValType::F64])?);
        assert_eq!((exn_ty.tag_type(), exn_ty.fields().len()), (ty, 2));
        assert_eq!(exn_ty.to_string(), "(exn (field i32) (field f64))");
        let pre = ExnRefPre::new(&mut store, exn_ty.clone());
        let values = [Val::I32(4), Val::from(2.5)];
        let exn = ExnRef::new(&mut store, &pre, &tag, &values)?;
        store.gc(None)?;
        assert_eq!(exn.ty(&store)?, exn_ty);
        assert!(exn.matches_ty(&store, &HeapType::Exn)?);
        assert!(!exn.matches_ty(&store, &HeapType::NoExn)?);
        let fields: Vec<Val> = exn.fields(&mut store)?.collect();
        assert_eq!((fields[0].i32(), fields[1].f64()), (Some(4), Some(2.5)));
        assert!(message(exn.field(&mut store, 2)).contains("no field 2"));

        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[tag.into()])?;
        let read = instance.get_func(&mut store, "read").context("exported")?;
        let mut results = [Val::I32(0), Val::I32(0)];
        read.call(&mut store, &[exn.into()], &mut results)?;
        assert_eq!((results[0].i32(), results[1].f64()), (Some(4), Some(2.5)));
        type E = Rooted<ExnRef>;
        let same = instance.get_typed_func::<E, Option<E>>(&mut store, "same")?;
        let same = same.call(&mut store, exn)?.context("not null")?;
        assert!(Rooted::ref_eq(&store, &same, &exn)?);
        let throw = instance.get_typed_func::<Option<E>, ()>(&mut store, "throw")?;
        assert!(throw.call(&mut store, Some(exn)).unwrap_err().is::<ThrownException>());
        assert!(store.take_pending_exception().is_some());
        assert_eq!(trap(throw.call(&mut store, None)), Trap::NullReference);

        let other = TagType::new(FuncType::new(&engine, [ValType::I32], []));
        let other = Tag::new(&mut store, &other)?;
        assert!(
            message(ExnRef::new(&mut store, &pre, &other, &values)).contains("not of the type")
        );
        assert!(message(ExnRef::new(&mut store, &pre, &tag, &values[..1])).contains("2 fields"));
        let wrong = [Val::I32(0), Val::I32(0)];
        assert!(message(ExnRef::new(&mut store, &pre, &tag, &wrong)).contains("field 1"));
        let mut foreign = Store::new(&engine, ());
        assert_eq!(
            panic_message(|| ExnRef::new(&mut foreign, &pre, &tag, &values)),
            "an allocator of exceptions was used with the wrong store"
        );
        let own = ExnRefPre::new(&mut foreign, exn_ty);
        assert_eq!(
            panic_message(|| ExnRef::new(&mut foreign, &own, &tag, &values)),
            "a tag was used with the wrong store"
        );
        let results = TagType::new(FuncType::new(&engine, [], [ValType::I32]));
        assert_eq!(message(Tag::new(&mut store, &results)), "a tag's type has no results");
        Ok(())
    })
}

/// An exception crosses thousands of frames, and the same module is loaded from a saved one.
#[test]
fn deep_stacks_and_saved_modules() -> Result<()> {
    let wat = r#"(module
        (type $box (struct (field i32)))
        (tag $e (param (ref $box)))
        (func $down (param i32) (result i32)
            (local $b (ref $box))
            (local.set $b (struct.new $box (local.get 0)))
            (if (i32.eqz (local.get 0)) (then (throw $e (struct.new $box (i32.const 8)))))
            (i32.add (call $down (i32.sub (local.get 0) (i32.const 1)))
                (struct.get $box 0 (local.get $b))))
        (func (export "run") (param i32) (result i32)
            (block $h (result (ref $box))
                (try_table (catch $e $h) (return (call $down (local.get 0))))
                (unreachable))
            (struct.get $box 0)))"#;
    each_collector(|setting| {
        let mut config: Config = setting.config();
        config.max_wasm_stack(1 << 20);
        let engine = Engine::new(&config)?;
        let saved = engine.precompile_module(wat)?;
        let compiled = Module::new(&engine, wat)?;
        // A type of another module comes first, so that the numbers of types differ.
        let fresh = Engine::new(&config)?;
        Module::new(&fresh, "(module (type (struct (field i64 i64))) (tag (param f32)))")?;
        // SAFETY: the bytes were made above.
        let loaded = unsafe { Module::deserialize(&fresh, &saved)? };
        for module in [compiled, loaded] {
            let mut store = Store::new(module.engine(), ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
            assert_eq!(run.call(&mut store, 5000)?, 8);
        }
        Ok(())
    })
}

#[test]
fn start_functions_throw() -> Result<()> {
    let wat = "(module (tag $e) (func $f (throw $e)) (start $f))";
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let error = Instance::new(&mut store, &Module::new(&engine, wat)?, &[]).unwrap_err();
        assert!(error.is::<ThrownException>());
        assert!(store.take_pending_exception().is_some());
        assert!(store.take_pending_exception().is_none());
        Ok(())
    })
}

#[test]
fn externs_are_tags() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let ty = TagType::new(FuncType::new(&engine, [], []));
    let [tag, other] = [Tag::new(&mut store, &ty)?, Tag::new(&mut store, &ty)?];
    assert!(Tag::eq(&tag, &tag, &store) && !Tag::eq(&tag, &other, &store));
    assert_eq!(tag.ty(&store), ty);
    let external = Extern::from(tag);
    assert!(external.into_func().is_none() && external.into_tag().is_some());
    assert_eq!(external.ty(&store).to_string(), "(tag (func))");
    let module = Module::new(&engine, r#"(module (tag (export "t") (param i32)))"#)?;
    let export = module.get_export("t").context("exported")?;
    assert_eq!(export.to_string(), "(tag (func (param i32)))");
    Ok(())
}
