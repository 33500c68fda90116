//! Exceptions: payloads and live references across throws, tags of instances, traps that are not
//! caught, and exceptions that are thrown through the host.

use crate::common::{
    each_collector, everywhere, message, panic_message, prelude, trap, with_prelude,
};
use anyhow::{Context, Result, anyhow};
use gc_wasm::{
    AsContextMut, Caller, Config, Engine, ExnRef, ExnRefPre, ExnType, Extern, Func, FuncType,
    HeapType, Instance, Linker, Module, Rooted, Store, Tag, TagType, ThrownException, Trap, Val,
    ValType,
};

/// An exception crosses three frames that keep references. The handler reads its references again,
/// and those of the payload, after collections.
const ACROSS: &str = r#"
    (tag $e (param (ref $pair) i64 (ref null $pair)))
    (tag $other (param i32))
    (func $thrower (param $n i32) (param $p (ref $pair))
        (if (i32.eqz (local.get $n)) (then
            (throw $e (local.get $p) (i64.const 5) (call $new (i32.const 6)))))
        (if (i32.eq (local.get $n) (i32.const 1)) (then (throw $other (i32.const 7))))
        (call $churn))
    (func $between (param $n i32) (param $p (ref $pair)) (result i32)
        (local $own (ref null $pair))
        (local.set $own (call $new (i32.const 100)))
        (call $churn)
        (block $h (result i32)
            (try_table (catch $other $h)
                (call $thrower (local.get $n) (call $new (call $get (local.get $p)))))
            (call $churn)
            (return (call $get (local.get $own))))
        (i32.add (call $get (local.get $own))))
    (func (export "run") (param $n i32) (result i32)
        (local $kept (ref null $pair)) (local $sum i32)
        (local.set $kept (call $new (i32.const 1000)))
        (block $h (result (ref $pair) i64 (ref null $pair))
            (local.set $sum
                (try_table (result i32) (catch $e $h)
                    (call $between (local.get $n) (call $new (i32.const 20)))))
            (call $churn)
            (return (i32.add (local.get $sum) (call $get (local.get $kept)))))
        (call $churn)
        (local.set $sum (call $get))
        (local.set $sum (i32.add (i32.wrap_i64) (local.get $sum)))
        (local.set $sum (i32.add (call $get) (local.get $sum)))
        (i32.add (local.get $sum) (call $get (local.get $kept))))"#;

#[test]
fn references_live_into_handlers() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = with_prelude(&setting.engine()?, ACROSS)?;
        let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
        for _ in 0..3 {
            assert_eq!(run.call(&mut store, 0)?, 1000 + 20 + 5 + 6, "caught outside");
            assert_eq!(run.call(&mut store, 1)?, 1000 + 100 + 7, "caught between");
            assert_eq!(run.call(&mut store, 2)?, 1000 + 100, "not thrown");
        }
        Ok(())
    })
}

/// All kinds of clauses and of values; exceptions in locals, globals and tables; thrown again.
const CLAUSES: &str = r#"
    (type $f (func (result i32)))
    (tag $all (param i32 i64 f32 f64 (ref null $f) externref i31ref (ref $pair)))
    (tag $none)
    (global $kept (mut exnref) (ref.null exn))
    (table $exns 2 exnref)
    (elem declare func $seven)
    (func $seven (type $f) (i32.const 7))
    (func $throw (param externref)
        (throw $all (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4) (ref.func $seven)
            (local.get 0) (ref.i31 (i32.const 5)) (call $new (i32.const 6))))
    (func (export "payload") (param externref) (result i32 i64 f32 f64 i32 externref i32 i32)
        (local $p (ref null $pair)) (local $i i31ref) (local $e externref)
        (local $f (ref null $f))
        (block $h (result i32 i64 f32 f64 (ref null $f) externref i31ref (ref $pair) exnref)
            (try_table (catch_ref $all $h) (call $throw (local.get 0)))
            (unreachable))
        (global.set $kept)
        (call $churn)
        (local.set $p) (local.set $i) (local.set $e) (local.set $f)
        (call_ref $f (local.get $f))
        (local.get $e)
        (i31.get_s (local.get $i))
        (call $get (local.get $p)))
    (func (export "again") (result i32)
        (table.set $exns (i32.const 1) (global.get $kept))
        (global.set $kept (ref.null exn))
        (call $churn)
        (block $h (result exnref)
            (try_table (catch_all_ref $h)
                (block $inner
                    (try_table (catch $none $inner)
                        (throw_ref (table.get $exns (i32.const 1))))
                    (unreachable)))
            (unreachable))
        (global.set $kept)
        (table.set $exns (i32.const 0) (global.get $kept))
        (call $churn)
        (block $h
            (try_table (catch_all $h) (throw_ref (table.get $exns (i32.const 0))))
            (unreachable))
        (ref.is_null (table.get $exns (i32.const 0))))
    (func (export "null") (throw_ref (ref.null exn)))
    (func (export "first") (result i32)
        (block $b
            (block $a
                (try_table (catch $none $a) (catch $none $b) (catch_all $b) (throw $none))
                (unreachable))
            (return (i32.const 1)))
        (i32.const 2))
    (func (export "loop") (param $n i32) (result i32)
        (local $i i32) (local $p (ref null $pair))
        (local.set $p (call $new (i32.const 0)))
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (local.set $p (call $new (i32.add (call $get (local.get $p)) (local.get $i))))
            (if (i32.lt_s (local.get $i) (local.get $n)) (then
                (try_table (catch_all $again) (call $throw (ref.null extern))))))
        (call $get (local.get $p)))"#;

#[test]
fn clauses_get_payloads_and_exceptions() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = with_prelude(&setting.engine()?, CLAUSES)?;
        let payload = instance.get_func(&mut store, "payload").context("payload")?;
        let host = gc_wasm::ExternRef::new(&mut store, 9u32)?;
        let mut results = vec![Val::I32(0); 8];
        payload.call(&mut store, &[host.into()], &mut results)?;
        let ints: Vec<_> = [0, 4, 6, 7].map(|i: usize| results[i].i32()).into();
        assert_eq!(ints, [Some(1), Some(7), Some(5), Some(6)]);
        assert_eq!((results[1].i64(), results[2].f32()), (Some(2), Some(3.0)));
        assert_eq!(results[3].f64(), Some(4.0));
        let external = results[5].externref().flatten().context("not null")?;
        let number = external.data(&store)?.and_then(|data| data.downcast_ref::<u32>());
        assert_eq!(number, Some(&9));
        for (name, expected) in [("again", 0), ("first", 1)] {
            let func = instance.get_typed_func::<(), i32>(&mut store, name)?;
            assert_eq!(func.call(&mut store, ())?, expected, "{name}");
        }
        let null = instance.get_typed_func::<(), ()>(&mut store, "null")?;
        assert_eq!(trap(null.call(&mut store, ())), Trap::NullReference);
        let looped = instance.get_typed_func::<i32, i32>(&mut store, "loop")?;
        assert_eq!(looped.call(&mut store, 20)?, 210);
        Ok(())
    })
}

/// A module whose instances throw their own tag, the imported one, and catch both.
const TAGGED: &str = r#"(module
    (import "" "tag" (tag $imported (param i32)))
    (import "" "tag" (tag $alias (param i32)))
    (import "" "f" (func $f))
    (tag $own (export "tag") (param i32))
    (func (export "own") (throw $own (i32.const 1)))
    (func (export "imported") (throw $imported (i32.const 2)))
    (func (export "aliased") (result i32)
        (block $b (result i32)
            (block $a (result i32)
                (try_table (catch $own $b) (catch $alias $a) (throw $imported (i32.const 3)))
                (unreachable))
            (return))
        (i32.const 100) (i32.add))
    (func (export "f") (result i32)
        (block $b (result i32)
            (block $a (result i32)
                (try_table (catch $own $a) (catch $alias $b) (call $f))
                (return (i32.const 0)))
            (return (i32.add (i32.const 10))))
        (i32.add (i32.const 20))))"#;

#[test]
fn tags_belong_to_instances() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, TAGGED)?;
        let mut store = Store::new(&engine, ());
        let ty = TagType::new(FuncType::new(&engine, [ValType::I32], []));
        let host = Tag::new(&mut store, &ty)?;
        let nothing = Func::wrap(&mut store, || {});
        let imports = [host.into(), host.into(), nothing.into()];
        let a = Instance::new(&mut store, &module, &imports)?;
        let export = |store: &mut Store<()>, instance: &Instance, name: &str| {
            instance.get_export(store, name).expect("exported")
        };
        let aliased = a.get_typed_func::<(), i32>(&mut store, "aliased")?;
        assert_eq!(aliased.call(&mut store, ())?, 3);
        let tag = a.get_tag(&mut store, "tag").context("exported")?;
        assert!(Tag::eq(&tag, &tag, &store) && !Tag::eq(&tag, &host, &store));
        assert_eq!(tag.ty(&store), ty);
        // `b` imports the tag of `a`. Its own tag is another one, though the module is the same.
        for (function, expected) in [("own", Ok(21)), ("imported", Err(2))] {
            let f = export(&mut store, &a, function);
            let b = Instance::new(&mut store, &module, &[tag.into(), tag.into(), f])?;
            let f = b.get_typed_func::<(), i32>(&mut store, "f")?;
            let result = f.call(&mut store, ());
            match expected {
                Ok(number) => assert_eq!(result?, number),
                Err(number) => {
                    assert!(result.unwrap_err().is::<ThrownException>());
                    let exn = store.take_pending_exception().context("pending")?;
                    assert!(Tag::eq(&exn.tag(&mut store)?, &host, &store));
                    assert_eq!(exn.field(&mut store, 0)?.i32(), Some(number));
                }
            }
        }
        let other = TagType::new(FuncType::new(&engine, [ValType::I64], []));
        let other = Tag::new(&mut store, &other)?;
        let wrong =
            Instance::new(&mut store, &module, &[other.into(), host.into(), nothing.into()]);
        assert_eq!(
            message(wrong),
            "incompatible import type for `::tag`: expected (tag (func (param i32))), found (tag \
             (func (param i64)))"
        );
        Ok(())
    })
}

#[test]
fn traps_and_errors_of_the_host_are_not_caught() -> Result<()> {
    let wat = r#"(module
        (import "" "fail" (func $fail))
        (func $recurse (call $recurse) (call $recurse))
        (func (export "unreachable")
            (block $h (try_table (catch_all $h) (unreachable))))
        (func (export "overflow") (block $h (try_table (catch_all $h) (call $recurse))))
        (func (export "host") (block $h (try_table (catch_all $h) (call $fail)))))"#;
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let fail = Func::wrap(&mut store, || -> Result<()> { Err(anyhow!("failed")) });
        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[fail.into()])?;
        let mut call = |name| {
            let func = instance.get_typed_func::<(), ()>(&mut store, name)?;
            func.call(&mut store, ())
        };
        assert_eq!(trap(call("unreachable")), Trap::UnreachableCodeReached);
        assert_eq!(trap(call("overflow")), Trap::StackOverflow);
        assert_eq!(message(call("host")), "failed");
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
    let tag = Tag::new(&mut store, &ty)?;
    let external = Extern::from(tag);
    assert!(external.into_func().is_none() && external.into_tag().is_some());
    assert_eq!(external.ty(&store).to_string(), "(tag (func))");
    let module = Module::new(&engine, r#"(module (tag (export "t") (param i32)))"#)?;
    let export = module.get_export("t").context("exported")?;
    assert_eq!(export.to_string(), "(tag (func (param i32)))");
    Ok(())
}
