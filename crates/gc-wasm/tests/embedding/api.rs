//! Parts of the API that embedders of Wasmtime know: calls with handles of all kinds, errors with
//! backtraces, host types with supertypes, and values.

use crate::common::{
    Counted, Drops, each_collector, everywhere, frame_names, message, new_array, new_struct,
    panic_message, texts,
};
use anyhow::{Context, Result};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayType, Caller, Engine, Extern, ExternRef, FieldType, Finality, Func,
    FuncType, GcHeapOutOfMemory, HeapType, I31, Instance, Module, Mutability, OwnedRooted, Ref,
    RootScope, Rooted, Store, StructRef, StructType, ThrownException, Trap, Val, ValType,
    WasmBacktrace,
};

const ENDED: &str = "a rooted reference was used after its scope ended";

fn var(ty: ValType) -> FieldType {
    FieldType::new(Mutability::Var, ty.into())
}

fn fixed(ty: ValType) -> FieldType {
    FieldType::new(Mutability::Const, ty.into())
}

/// A start function that is an imported host function is called by nobody, but has an instance.
#[test]
fn a_host_start_function_finds_the_exports() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(
            &engine,
            r#"(module (import "" "start" (func $start)) (start $start)
                (import "" "id" (global i32))
                (export "id" (global 0))
                (memory (export "memory") 1)
                (data (i32.const 3) "found")
                (func (export "again") (call $start)))"#,
        )?;
        let index = module.get_export_index("memory").context("an index")?;
        let mut store: Store<Vec<(i32, Vec<u8>)>> = Store::new(&engine, Vec::new());
        let start = Func::wrap(&mut store, move |mut caller: Caller<'_, Vec<_>>| -> Result<()> {
            caller.gc(None)?;
            let id = caller.get_export("id").and_then(Extern::into_global).context("id")?;
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let memory = memory.context("memory")?;
            let same = caller.get_module_export(&index).and_then(Extern::into_memory);
            anyhow::ensure!(same == Some(memory));
            anyhow::ensure!(caller.get_export("other").is_none());
            let id = id.get(&mut caller).unwrap_i32();
            let bytes = memory.data(&caller)[3..8].to_vec();
            caller.data_mut().push((id, bytes));
            Ok(())
        });
        let mut first = None;
        for id in 1..=2 {
            let ty = gc_wasm::GlobalType::new(ValType::I32, Mutability::Const);
            let id = gc_wasm::Global::new(&mut store, ty, Val::I32(id))?;
            let instance = Instance::new(&mut store, &module, &[start.into(), id.into()])?;
            first.get_or_insert(instance);
        }
        let again = first.context("an instance")?.get_typed_func::<(), ()>(&mut store, "again")?;
        again.call(&mut store, ())?;
        let found = |id| (id, b"found".to_vec());
        assert_eq!(store.data()[..], [found(1), found(2), found(1)]);
        // Without an instance there is no export, also not that of the last start function.
        assert_eq!(message(start.call(&mut store, &[], &mut [])), "id");
        Ok(())
    })
}

/// The cause is in the error of the instantiation, whether the host or compiled code fails.
#[test]
fn start_functions_that_fail_say_why() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let fail = Func::wrap(&mut store, || -> Result<()> { anyhow::bail!("no more tea") });
        let direct = r#"(module (import "" "" (func $fail)) (start $fail))"#;
        let called = r#"(module (import "" "" (func $fail)) (start $go) (func $go (call $fail)))"#;
        for (wat, frames) in [(direct, &[][..]), (called, &["go"])] {
            let module = Module::new(&engine, wat)?;
            let error = Instance::new(&mut store, &module, &[fail.into()]).unwrap_err();
            assert_eq!(texts(&error), ["no more tea"], "{wat}");
            assert!(format!("{error:#}").ends_with("no more tea"), "{error:#}");
            assert!(format!("{error:?}").contains("no more tea"), "{error:?}");
            assert_eq!(frame_names(&error), frames, "{wat}");
        }
        let module = Module::new(&engine, "(module (start $go) (func $go unreachable))")?;
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
        assert!(format!("{error:?}").contains(&Trap::UnreachableCodeReached.to_string()));
        assert_eq!(frame_names(&error), ["go"]);
        Ok(())
    })
}

/// A host function's error has a backtrace and is still what it was.
#[test]
fn errors_of_the_host_have_a_backtrace() -> Result<()> {
    #[derive(Debug, PartialEq)]
    struct Mine(i32);
    impl std::fmt::Display for Mine {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "mine {}", self.0)
        }
    }
    impl std::error::Error for Mine {}

    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let fail = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| -> Result<()> {
            if n == 0 {
                return Err(Mine(3).into());
            }
            let again = caller.get_export("outer").and_then(Extern::into_func);
            let again = again.context("outer")?.typed::<i32, ()>(&caller)?;
            let result = again.call(&mut caller, n - 1);
            result.map_err(|error| if n == 2 { error.context(Mine(n)) } else { error })
        });
        let module = Module::new(
            &engine,
            r#"(module $app (import "" "fail" (func $fail (param i32)))
                (func $inner (param i32) (call $fail (local.get 0)))
                (func $outer (export "outer") (param i32) (call $inner (local.get 0))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[fail.into()])?;
        let outer = instance.get_typed_func::<i32, ()>(&mut store, "outer")?;
        for (n, expected) in [(0, Mine(3)), (1, Mine(3)), (2, Mine(2))] {
            let error = outer.call(&mut store, n).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&expected));
            assert_eq!(error.root_cause().downcast_ref(), Some(&Mine(3)));
            assert_eq!(error.root_cause().to_string(), "mine 3");
            let backtrace = error.downcast_ref::<WasmBacktrace>().context("a backtrace")?;
            // The functions of the inner calls too.
            let expected = ["inner", "outer"].repeat(n as usize + 1);
            assert_eq!(frame_names(&error), expected);
            assert!(backtrace.frames().iter().all(|frame| frame.module().name() == Some("app")));
            assert!(error.downcast::<WasmBacktrace>().is_ok());
            // A later error without functions does not get those of this one.
            let error = fail.call(&mut store, &[Val::I32(0)], &mut []).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Mine(3)));
            assert!(error.downcast_ref::<WasmBacktrace>().is_none(), "{error:?}");
        }
        Ok(())
    })
}

/// A parameter of a concrete type takes any reference of its hierarchy, which each call checks.
#[test]
fn concrete_parameters_are_checked_at_the_call() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(
            r#"(module
                (type $s (sub (struct (field (mut i32)))))
                (type $sub (sub $s (struct (field (mut i32)) (field i64))))
                (type $other (struct (field i64)))
                (func (export "get") (param (ref null $s)) (result i32)
                    (if (result i32) (ref.is_null (local.get 0))
                        (then (i32.const -1)) (else (struct.get $s 0 (local.get 0)))))
                (func (export "set") (param i32 (ref $s))
                    (struct.set $s 0 (local.get 1) (local.get 0)))
                (func (export "s") (result (ref $s)) (struct.new $s (i32.const 1)))
                (func (export "sub") (result (ref $s))
                    (struct.new $sub (i32.const 2) (i64.const 0)))
                (func (export "other") (result (ref $other)) (struct.new $other (i64.const 3))))"#,
            &[],
        )?;
        let mut new = |name: &str| -> Result<Rooted<StructRef>> {
            let new = instance.get_typed_func::<(), Rooted<StructRef>>(&mut store, name)?;
            new.call(&mut store, ())
        };
        let (s, sub, other) = (new("s")?, new("sub")?, new("other")?);
        let refused = "argument type mismatch for reference to concrete type: argument 0: \
                       type mismatch: expected (ref null (struct (field (mut i32)))), found an internal reference to (struct (field i64))";

        let get = instance.get_typed_func::<Rooted<StructRef>, i32>(&mut store, "get")?;
        assert_eq!((get.call(&mut store, s)?, get.call(&mut store, sub)?), (1, 2));
        assert_eq!(message(get.call(&mut store, other)), refused);
        let get = instance.get_typed_func::<Option<Rooted<StructRef>>, i32>(&mut store, "get")?;
        assert_eq!((get.call(&mut store, None)?, get.call(&mut store, Some(sub))?), (-1, 2));
        assert_eq!(message(get.call(&mut store, Some(other))), refused);
        let get = instance.get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut store, "get")?;
        assert_eq!(get.call(&mut store, Some(s.to_anyref()))?, 1);
        let i31 = AnyRef::from_i31(&mut store, I31::wrapping_i32(5));
        assert!(
            message(get.call(&mut store, Some(i31)))
                .ends_with("found an internal reference to i31")
        );
        // Null is refused only where it is not allowed.
        type Two = (i32, Option<Rooted<StructRef>>);
        let set = instance.get_typed_func::<Two, ()>(&mut store, "set")?;
        set.call(&mut store, (7, Some(s)))?;
        assert_eq!(s.field(&mut store, 0)?.unwrap_i32(), 7);
        let error = message(set.call(&mut store, (8, None)));
        assert!(error.contains("argument 1: type mismatch: expected (ref "), "{error}");
        assert!(error.ends_with("found a null internal reference"), "{error}");
        assert!(message(set.call(&mut store, (8, Some(other)))).contains("argument 1: type"));
        // References of another hierarchy are refused before.
        let wrong = instance.get_typed_func::<Rooted<ExternRef>, i32>(&mut store, "get");
        assert!(message(wrong).contains("parameter 0: type mismatch"));
        let wrong = instance.get_typed_func::<Func, i32>(&mut store, "get");
        assert!(message(wrong).contains("parameter 0: type mismatch"));
        // A result is not checked, so it must fit.
        let wrong = instance.get_typed_func::<(), Rooted<ArrayRef>>(&mut store, "s");
        assert!(message(wrong).contains("result 0: type mismatch"));
        Ok(())
    })
}

/// Handles that are owned are given and taken as scoped ones are, and keep the object.
#[test]
fn owned_handles_are_parameters_and_results() -> Result<()> {
    type E = OwnedRooted<ExternRef>;
    everywhere(|setting| {
        let engine = setting.engine()?;
        let drops = Drops::default();
        let mut store: Store<Vec<E>> = Store::new(&engine, Vec::new());
        let keep = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, Vec<E>>, kept: Option<E>| -> Result<Option<E>> {
                caller.data_mut().extend(kept.clone());
                caller.gc(None)?;
                Ok(kept)
            },
        );
        let module = Module::new(
            &engine,
            r#"(module (import "" "keep" (func $keep (param externref) (result externref)))
                (type $s (struct (field i32)))
                (func (export "new") (param i32) (result (ref struct)) (struct.new $s (local.get 0)))
                (func (export "get") (param (ref $s)) (result i32) (struct.get $s 0 (local.get 0)))
                (func (export "keep") (param externref i32) (result externref i32)
                    (call $keep (local.get 0)) (local.get 1)))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[keep.into()])?;
        let call =
            instance.get_typed_func::<(Option<E>, i32), (Option<E>, i32)>(&mut store, "keep")?;
        let number = |store: &Store<Vec<E>>, value: &E| -> Result<usize> {
            let data = value.data(store)?.context("a host value")?;
            Ok(data.downcast_ref::<Counted>().context("counted")?.number)
        };
        for round in 0..50 {
            let given = {
                let mut scope = RootScope::new(&mut store);
                ExternRef::new(&mut scope, drops.value())?.to_owned_rooted(&mut scope)?
            };
            let (got, n) = call.call(&mut store, (Some(given.clone()), round))?;
            let got = got.context("not null")?;
            assert_eq!(n, round);
            assert!(OwnedRooted::ref_eq(&store, &got, &given)?);
            store.gc(None)?;
            assert_eq!(number(&store, &got)?, round as usize);
        }
        assert!(call.call(&mut store, (None, 1))?.0.is_none());
        // The host function's handles outlive its scope.
        assert_eq!((store.data().len(), drops.count()), (50, 0));
        let kept = std::mem::take(store.data_mut());
        for (i, kept) in kept.iter().enumerate() {
            assert_eq!(number(&store, kept)?, i);
        }
        drop(kept);
        store.gc(None)?;
        assert_eq!(drops.count(), if setting.reclaims() { 50 } else { 0 });

        let new = instance.get_typed_func::<i32, OwnedRooted<StructRef>>(&mut store, "new")?;
        let get = instance.get_typed_func::<OwnedRooted<StructRef>, i32>(&mut store, "get")?;
        let object = new.call(&mut store, 9)?;
        store.gc(None)?;
        assert_eq!(get.call(&mut store, object.clone())?, 9);
        assert_eq!(object.field(&mut store, 0)?.unwrap_i32(), 9);
        let mut other = Store::new(&engine, ());
        assert_eq!(
            panic_message(|| object.to_rooted(&mut other)),
            "a rooted reference was used with the wrong store"
        );
        Ok(())
    })
}

/// The reference in an owned handle can be copied out of it, but it is no handle itself.
#[test]
fn a_copy_of_the_reference_in_a_dropped_handle_is_refused() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let ty = StructType::new(&engine, [var(ValType::I32)])?;
        let mut scope = RootScope::new(&mut store);
        let value = ExternRef::new(&mut scope, 1)?.to_owned_rooted(&mut scope)?;
        let object = new_struct(&mut scope, &ty, &[Val::I32(1)])?.to_owned_rooted(&mut scope)?;
        let any = OwnedRooted::<AnyRef>::from(object.clone());
        drop(scope);
        let copies = (*value, *object, *any);
        // This handle is as valid as the one from which it was made.
        let cast = any.unwrap_struct(&store)?;
        assert_eq!(copies.0.data(&store)?.context("data")?.downcast_ref(), Some(&1));
        assert_eq!(copies.1.field(&mut store, 0)?.unwrap_i32(), 1);
        assert_eq!(cast.field(&mut store, 0)?.unwrap_i32(), 1);
        drop(value);
        drop(object);
        store.gc(None)?;
        assert_eq!(copies.1.field(&mut store, 0)?.unwrap_i32(), 1, "a clone is left");
        drop(any);
        store.gc(None)?;
        // Others take the places of the handles and of the objects.
        let mut others = Vec::new();
        for n in 10..20 {
            let mut scope = RootScope::new(&mut store);
            let other = new_struct(&mut scope, &ty, &[Val::I32(n)])?;
            others.push(other.to_anyref().to_owned_rooted(&mut scope)?);
            let other = ExternRef::new(&mut scope, n)?.to_owned_rooted(&mut scope)?;
            drop(other);
        }
        assert_eq!(message(copies.0.data(&store)), ENDED);
        assert_eq!(message(copies.1.field(&mut store, 0)), ENDED);
        assert_eq!(message(copies.1.set_field(&mut store, 0, Val::I32(5))), ENDED);
        assert_eq!(message(copies.1.ty(&store)), ENDED);
        assert_eq!(message(copies.2.as_struct(&store)), ENDED);
        assert_eq!(message(cast.field(&mut store, 0)), ENDED);
        assert_eq!(message(cast.to_owned_rooted(&mut store)), ENDED);
        for (other, n) in others.iter().zip(10..) {
            let other = other.unwrap_struct(&store)?;
            assert_eq!(other.field(&mut store, 0)?.unwrap_i32(), n);
        }
        Ok(())
    })
}

/// The error of a full heap has the value that found no room.
#[test]
fn a_full_heap_gives_the_value_back() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(setting.config().gc_heap_maximum(1 << 20))?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, ());
        let mut scope = RootScope::new(&mut store);
        let (error, made) = loop {
            let made = drops.made();
            if let Err(error) = ExternRef::new(&mut scope, drops.value()) {
                break (error, made);
            }
        };
        assert!(made > 1000, "{made}");
        assert!(!error.is::<GcHeapOutOfMemory<()>>() && !error.is::<GcHeapOutOfMemory<u8>>());
        let error = error.downcast::<GcHeapOutOfMemory<Counted>>()?;
        assert_eq!(drops.count(), 0, "none was dropped");
        assert_eq!(error.to_string(), "allocating an externref");
        let text = error.heap_error().to_string();
        assert!(text.starts_with("GC heap out of memory: 16"), "{text}");
        let (value, why) = error.take_inner();
        assert_eq!(value.number, made);
        drop(scope);
        // With the reason, a collection makes room, and the value is used after all.
        store.gc(Some(&why))?;
        assert_eq!(drops.count(), if setting.reclaims() { made } else { 0 });
        if setting.reclaims() {
            let value = ExternRef::new(&mut store, value)?;
            let data = value.data(&store)?.context("data")?.downcast_ref::<Counted>();
            assert_eq!(data.context("counted")?.number, made);
            assert_eq!(drops.of(made), 0);
        }
        Ok(())
    })
}

#[test]
fn host_types_have_supertypes_and_finality() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let (i, j) = (var(ValType::I32), var(ValType::I64));
        let open = Finality::NonFinal;
        let base = StructType::with_finality_and_supertype(&engine, open, None, [i.clone()])?;
        let sub = [i.clone(), j.clone()];
        let sub =
            StructType::with_finality_and_supertype(&engine, Finality::Final, Some(&base), sub)?;
        let alone = StructType::new(&engine, [i.clone(), j.clone()])?;
        assert_eq!((base.finality(), sub.finality()), (Finality::NonFinal, Finality::Final));
        assert_eq!((base.supertype(), sub.supertype()), (None, Some(base.clone())));
        assert_eq!((alone.finality(), alone.supertype()), (Finality::Final, None));
        assert!(sub.matches(&base) && !base.matches(&sub) && !alone.matches(&base) && alone != sub);
        for (supertype, fields, expected) in [
            (&sub, vec![i.clone(), j.clone()], "cannot create a subtype of a final supertype"),
            (&base, vec![], "struct fields must match their supertype's fields"),
            (&base, vec![j.clone()], "struct fields must match their supertype's fields"),
            (&base, vec![fixed(ValType::I32)], "struct fields must match their supertype's fields"),
        ] {
            let ty =
                StructType::with_finality_and_supertype(&engine, open, Some(supertype), fields);
            assert_eq!(message(ty), expected);
        }
        let anys =
            ArrayType::with_finality_and_supertype(&engine, open, None, fixed(ValType::ANYREF))?;
        let eqs = fixed(ValType::EQREF);
        let eqs = ArrayType::with_finality_and_supertype(&engine, open, Some(&anys), eqs)?;
        assert!(eqs.matches(&anys) && eqs.supertype() == Some(anys.clone()));
        let wrong = fixed(ValType::EXTERNREF);
        let wrong = ArrayType::with_finality_and_supertype(&engine, open, Some(&anys), wrong);
        assert_eq!(message(wrong), "array field type must match its supertype's field type");
        // Parameters may be supertypes, results subtypes.
        let (any, eq) = ([ValType::ANYREF], [ValType::EQREF]);
        let f =
            FuncType::with_finality_and_supertype(&engine, open, None, eq.clone(), any.clone())?;
        let g = FuncType::with_finality_and_supertype(&engine, open, Some(&f), any.clone(), eq)?;
        assert!(g.matches(&f) && !f.matches(&g) && g.supertype() == Some(f.clone()));
        let wrong =
            FuncType::with_finality_and_supertype(&engine, open, Some(&g), any.clone(), any);
        assert!(message(wrong).starts_with("function type must match its supertype"));

        // They are the types that modules declare, and compiled code casts by them.
        let module = Module::new(
            &engine,
            r#"(module
                (type $base (sub (struct (field (mut i32)))))
                (type $sub (sub final $base (struct (field (mut i32)) (field (mut i64)))))
                (func (export "base") (param anyref) (result i32)
                    (ref.test (ref $base) (local.get 0)))
                (func (export "sub") (param anyref) (result i32)
                    (ref.test (ref $sub) (local.get 0)))
                (func (export "take") (param (ref $base)) (result i32)
                    (struct.get $base 0 (local.get 0))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let a = new_struct(&mut store, &base, &[Val::I32(1)])?;
        let b = new_struct(&mut store, &sub, &[Val::I32(2), Val::I64(0)])?;
        let c = new_struct(&mut store, &alone, &[Val::I32(3), Val::I64(0)])?;
        assert!(b.matches_ty(&store, &base)? && !a.matches_ty(&store, &sub)?);
        for (name, expected) in [("base", [1, 1, 0]), ("sub", [0, 1, 0])] {
            let is = instance.get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut store, name)?;
            for (object, expected) in [a, b, c].into_iter().zip(expected) {
                assert_eq!(is.call(&mut store, Some(object.to_anyref()))?, expected, "{name}");
            }
        }
        let take = instance.get_typed_func::<Rooted<StructRef>, i32>(&mut store, "take")?;
        assert_eq!((take.call(&mut store, a)?, take.call(&mut store, b)?), (1, 2));
        assert!(message(take.call(&mut store, c)).starts_with(
            "argument type mismatch for reference to concrete type: argument 0: type mismatch"
        ));
        let i31 = AnyRef::from_i31(&mut store, I31::wrapping_i32(3));
        let array = new_array(&mut store, &eqs, &i31.into(), 2)?;
        assert!(array.matches_ty(&store, &anys)?);
        Ok(())
    })
}

#[test]
fn references_are_values_of_their_own() -> Result<()> {
    everywhere(|setting| {
        let mut store = Store::new(&setting.engine()?, ());
        let func = Func::wrap(&mut store, || 7);
        let host = ExternRef::new(&mut store, "host")?;
        let i31 = AnyRef::from_i31(&mut store, I31::wrapping_i32(4));
        type Case = (Ref, Ref, HeapType, fn(&Ref) -> bool);
        let all: [Case; 3] = [
            (func.into(), Ref::Func(None), HeapType::NoFunc, Ref::is_func),
            (host.into(), Ref::Extern(None), HeapType::NoExtern, Ref::is_extern),
            (i31.into(), Ref::Any(None), HeapType::I31, Ref::is_any),
        ];
        for (n, (full, null, ty, is)) in all.iter().enumerate() {
            assert!(full.is_non_null() && !full.is_null() && null.is_null() && !null.is_non_null());
            assert!(Ref::null(ty).is_null() && is(&Ref::null(ty)) && is(full) && is(null));
            let same = |i: usize, r: &Ref| all[i].3(r);
            for other in 0..3 {
                assert_eq!(same(other, full), other == n);
            }
            // As a value and back.
            let value = Val::from(*full);
            let again = value.ref_().context("a reference")?;
            assert!(is(&again) && again.is_non_null());
        }
        assert!(Ref::null(&HeapType::NoExn).is_exn() && Val::I32(1).ref_().is_none());
        assert_eq!(Ref::from(func).unwrap_func(), Some(&func));
        assert!(Ref::from(Option::<Func>::None).unwrap_func().is_none());
        let again = Ref::from(host);
        let again = again.unwrap_extern().context("not null")?;
        assert!(Rooted::ref_eq(&store, again, &host)?);
        let again = Ref::from(i31);
        assert_eq!(again.unwrap_any().context("not null")?.unwrap_i31(&store)?.get_i32(), 4);
        assert!(Ref::from(host).as_any().is_none() && Ref::from(host).as_func().is_none());
        assert_eq!(
            panic_message(|| Ref::from(host).unwrap_any().is_some()),
            "Ref::unwrap_any on something else"
        );
        assert_eq!(panic_message(|| Val::I32(1).unwrap_funcref().is_some()), "expected funcref");
        Ok(())
    })
}

/// The backtrace of an exception that nobody caught is not that of a later error.
#[test]
fn an_error_has_no_backtrace_of_an_earlier_exception() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(&setting.config())?;
        let mut store = Store::new(&engine, ());
        let wat = r#"(module (tag $t) (func (export "f") (throw $t)))"#;
        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[])?;
        let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
        let error = f.call(&mut store, ()).unwrap_err();
        assert!(error.is::<ThrownException>(), "{error:?}");
        assert_eq!(frame_names(&error), ["f"]);
        let fail = Func::wrap(&mut store, || -> Result<()> { anyhow::bail!("no") });
        let error = fail.call(&mut store, &[], &mut []).unwrap_err();
        assert!(!error.is::<WasmBacktrace>(), "{error:?}");
        Ok(())
    })
}

/// Places of owned handles are used again, although nothing is collected.
#[test]
fn owned_parameters_and_results_leave_nothing_behind() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(&setting.config())?;
        let mut store = Store::new(&engine, ());
        let same = Func::wrap(&mut store, |object: OwnedRooted<ExternRef>| object);
        let same = same.typed::<OwnedRooted<ExternRef>, OwnedRooted<ExternRef>>(&store)?;
        let drops = Drops::default();
        let object = {
            let mut scope = RootScope::new(&mut store);
            ExternRef::new(&mut scope, drops.value())?.to_owned_rooted(&mut scope)?
        };
        let mut object = Some(object);
        for _ in 0..1000 {
            object = Some(same.call(&mut store, object.take().context("a handle")?)?);
        }
        assert_eq!(store.gc_stats().collections, 0);
        let place = format!("{object:?}");
        let number: String = place.chars().filter(char::is_ascii_digit).collect();
        assert!(number.parse::<u32>()? < 10, "{place}");
        Ok(())
    })
}
