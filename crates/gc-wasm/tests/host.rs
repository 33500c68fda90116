//! What the host does with a store: reads and writes objects, defines functions,
//! calls them with many values, looks up its caller's exports, panics.

mod common;

use anyhow::{Context, Result};
use common::{each_collector, everywhere, message, trap};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayType, AsContextMut, Caller, EqRef, Extern, ExternRef, ExternType,
    FieldType, Func, FuncType, HeapType, I31, Instance, Linker, Module, Mutability, RefType,
    RootScope, Rooted, StorageType, Store, StructRef, StructType, Trap, TypedFunc, Val, ValType,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

fn var(ty: impl Into<StorageType>) -> FieldType {
    FieldType::new(Mutability::Var, ty.into())
}

fn fixed(ty: impl Into<StorageType>) -> FieldType {
    FieldType::new(Mutability::Const, ty.into())
}

#[test]
fn struct_fields_of_every_type() -> Result<()> {
    let wat = r#"(module
        (type $s (struct
            (field (mut i8)) (field (mut i16)) (field (mut i32)) (field (mut i64))
            (field (mut f32)) (field (mut f64)) (field (mut anyref)) (field (mut externref))
            (field (mut funcref)) (field i8) (field (mut i31ref))))
        (func (export "new") (param externref funcref) (result (ref $s))
            (struct.new $s (i32.const -1) (i32.const -2) (i32.const -3) (i64.const -4)
                (f32.const -5.5) (f64.const -6.5) (ref.i31 (i32.const -7)) (local.get 0)
                (local.get 1) (i32.const 0x1ff) (ref.i31 (i32.const 0x3fffffff))))
        (func (export "i8") (param (ref $s)) (result i32 i32)
            (struct.get_s $s 0 (local.get 0)) (struct.get_u $s 0 (local.get 0)))
        (func (export "i16") (param (ref $s)) (result i32 i32)
            (struct.get_s $s 1 (local.get 0)) (struct.get_u $s 1 (local.get 0)))
        (func (export "others") (param (ref $s)) (result i32 i64 f32 f64 anyref externref funcref)
            (struct.get $s 2 (local.get 0)) (struct.get $s 3 (local.get 0))
            (struct.get $s 4 (local.get 0)) (struct.get $s 5 (local.get 0))
            (struct.get $s 6 (local.get 0)) (struct.get $s 7 (local.get 0))
            (struct.get $s 8 (local.get 0))))"#;
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(wat, &[])?;
        let value = ExternRef::new(&mut store, "value")?;
        let func = instance.get_func(&mut store, "i8").context("an export")?;
        let new = instance
            .get_typed_func::<(Option<Rooted<ExternRef>>, Option<Func>), Rooted<StructRef>>(
                &mut store, "new",
            )?;
        let object = new.call(&mut store, (Some(value), Some(func)))?;
        store.gc()?;
        let ty = object.ty(&store)?;
        assert_eq!(
            ty.to_string(),
            "(struct (field (mut i8)) (field (mut i16)) (field (mut i32)) (field (mut i64)) \
             (field (mut f32)) (field (mut f64)) (field (mut anyref)) (field (mut externref)) \
             (field (mut funcref)) (field i8) (field (mut i31ref)))"
        );
        // Packed fields are read zero-extended.
        let fields = object.fields(&mut store)?;
        assert_eq!(fields.len(), 11);
        assert_eq!(fields[0].i32(), Some(0xff));
        assert_eq!(fields[1].i32(), Some(0xfffe));
        assert_eq!(fields[2].i32(), Some(-3));
        assert_eq!(fields[3].i64(), Some(-4));
        assert_eq!(fields[4].f32(), Some(-5.5));
        assert_eq!(fields[5].f64(), Some(-6.5));
        let i31 = |store: &Store<()>, value: &Val| -> Result<Option<I31>> {
            value.any_ref().flatten().context("a reference")?.as_i31(store)
        };
        assert_eq!(i31(&store, &fields[6])?, Some(I31::wrapping_i32(-7)));
        let held = fields[7].extern_ref().flatten().context("a reference")?;
        assert!(Rooted::ref_eq(&store, &held, &value)?);
        assert_eq!(fields[8].func_ref(), Some(Some(func)));
        assert_eq!(fields[9].i32(), Some(0xff));
        assert_eq!(i31(&store, &fields[10])?, Some(I31::wrapping_i32(0x3fff_ffff)));

        // And written, cut to their size.
        let other = ExternRef::new(&mut store, "other")?;
        let inner = new.call(&mut store, (None, None))?;
        for (i, value) in [
            Val::I32(0x180),
            Val::I32(0x1_8000),
            Val::I32(i32::MIN),
            Val::I64(i64::MIN),
            Val::F32(0x7fa0_0001),
            Val::F64(0x7ff4_0000_0000_0001),
            inner.to_anyref().into(),
            other.into(),
            Val::FuncRef(None),
        ]
        .into_iter()
        .enumerate()
        {
            object.set_field(&mut store, i, value)?;
        }
        store.gc()?;
        type Two = (i32, i32);
        let call = |store: &mut Store<()>, name: &str| -> Result<Two> {
            instance
                .get_typed_func::<Rooted<StructRef>, Two>(&mut *store, name)?
                .call(store, object)
        };
        assert_eq!(call(&mut store, "i8")?, (-128, 128));
        assert_eq!(call(&mut store, "i16")?, (-32768, 32768));
        let mut results = [Val::I32(0); 7];
        let others = instance.get_func(&mut store, "others").context("an export")?;
        others.call(&mut store, &[object.to_anyref().into()], &mut results)?;
        assert_eq!(results[0].i32(), Some(i32::MIN));
        assert_eq!(results[1].i64(), Some(i64::MIN));
        // Not-a-number's payload is kept, signalling or not.
        assert!(matches!(results[2], Val::F32(0x7fa0_0001)), "{:?}", results[2]);
        assert!(matches!(results[3], Val::F64(0x7ff4_0000_0000_0001)), "{:?}", results[3]);
        let got = results[4].any_ref().flatten().context("a reference")?;
        assert!(Rooted::ref_eq(&store, &got, &inner.to_anyref())?);
        let got = results[5].extern_ref().flatten().context("a reference")?;
        assert!(Rooted::ref_eq(&store, &got, &other)?);
        assert_eq!(results[6].func_ref(), Some(None));

        // Refused: what is not mutable, not there, of another type.
        assert_eq!(message(object.set_field(&mut store, 9, Val::I32(1))), "field 9 is not mutable");
        assert_eq!(
            message(object.field(&mut store, 11)),
            "there is no field 11 in a struct of 11 fields"
        );
        assert_eq!(
            message(object.set_field(&mut store, 99, Val::I32(1))),
            "there is no field 99 in a struct of 11 fields"
        );
        assert_eq!(
            message(object.set_field(&mut store, 3, Val::I32(1))),
            "field 3: type mismatch: expected i64, found an i32"
        );
        assert_eq!(
            message(object.set_field(&mut store, 10, object.to_anyref().into())),
            format!(
                "field 10: type mismatch: expected i31ref, found an internal reference to {ty}"
            )
        );
        assert_eq!(
            message(StructRef::new(&mut store, &ty, &fields[..10])),
            "a struct of 11 fields cannot be made of 10 values"
        );
        let copy = StructRef::new(&mut store, &ty, &fields)?;
        assert_eq!(copy.field(&mut store, 1)?.i32(), Some(0xfffe));
        assert!(!Rooted::ref_eq(&store, &copy, &object)?);
        Ok(())
    })
}

#[test]
fn array_elements_of_every_type() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ())?;
        let cases: [(StorageType, Val, i64); 4] = [
            (StorageType::I8, Val::I32(-1), 0xff),
            (StorageType::I16, Val::I32(-1), 0xffff),
            (ValType::I32.into(), Val::I32(-1), -1),
            (ValType::I64.into(), Val::I64(-1), -1),
        ];
        for (ty, value, expected) in cases {
            let ty = ArrayType::new(&engine, var(ty))?;
            let array = ArrayRef::new(&mut store, &ty, &value, 5)?;
            let number = |value: Val| value.i32().map(i64::from).or(value.i64());
            for element in array.elements(&mut store)? {
                assert_eq!(number(element), Some(expected));
            }
            let zero = Val::default_for_ty(&ty.field_type().element_type().unpack()).unwrap();
            array.set_element(&mut store, 2, zero)?;
            let elements: Vec<_> = array.elements(&mut store)?.into_iter().map(number).collect();
            let e = Some(expected);
            assert_eq!(elements, [e, e, Some(0), e, e]);
            assert_eq!(
                message(array.get_element(&mut store, 5)),
                "out of bounds array access: 1 elements from 5 of an array of 5"
            );
            assert_eq!(
                message(array.set_element(&mut store, u32::MAX, zero)),
                "out of bounds array access: 1 elements from 4294967295 of an array of 5"
            );
            assert_eq!(array.len(&store)?, 5);
        }
        let ty = ArrayType::new(&engine, fixed(ValType::ANYREF))?;
        let int = AnyRef::from_i31(&mut store, I31::wrapping_i32(5));
        let inner = ArrayRef::new(&mut store, &ty, &int.into(), 2)?;
        let array = ArrayRef::new_fixed(
            &mut store,
            &ty,
            &[Val::AnyRef(None), inner.to_anyref().into(), int.into()],
        )?;
        store.gc()?;
        let elements = array.elements(&mut store)?;
        assert!(elements[0].any_ref().unwrap().is_none());
        let again = elements[1].any_ref().flatten().context("an array")?;
        let again = again.as_array(&store)?.context("an array")?;
        assert!(Rooted::ref_eq(&store, &again, &inner)?);
        assert_eq!(again.len(&store)?, 2);
        assert_eq!(
            message(array.set_element(&mut store, 0, int.into())),
            "the elements of (array anyref) are not mutable"
        );
        assert_eq!(
            message(ArrayRef::new_fixed(&mut store, &ty, &[int.into(), Val::I32(0)])),
            "element 1: type mismatch: expected anyref, found an i32"
        );
        Ok(())
    })
}

#[test]
fn references_are_what_they_are() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(
            r#"(module
                (type $base (sub (struct (field (mut i32)))))
                (type $derived (sub $base (struct (field (mut i32)) (field (mut i64)))))
                (type $array (array i32))
                (func (export "base") (result anyref) (struct.new $base (i32.const 1)))
                (func (export "derived") (result (ref $base))
                    (struct.new $derived (i32.const 2) (i64.const 3)))
                (func (export "array") (result anyref) (array.new $array (i32.const 4) (i32.const 5)))
                (func (export "i31") (result anyref) (ref.i31 (i32.const 6)))
                (func (export "take base") (param (ref null $base)) (result i32)
                    (struct.get $base 0 (local.get 0)))
                (func (export "take derived") (param (ref $derived)) (result i64)
                    (struct.get $derived 1 (local.get 0)))
                (func (export "take eq") (param (ref eq)) (result i32)
                    (ref.test i31ref (local.get 0))))"#,
            &[],
        )?;
        type A = Option<Rooted<AnyRef>>;
        let get = |store: &mut Store<()>, name: &str| -> Result<Rooted<AnyRef>> {
            let f = instance.get_typed_func::<(), A>(&mut *store, name)?;
            f.call(store, ())?.context("not null")
        };
        let (base, derived) = (get(&mut store, "base")?, get(&mut store, "derived")?);
        let (array, i31) = (get(&mut store, "array")?, get(&mut store, "i31")?);
        store.gc()?;

        let base_ty = base.as_struct(&store)?.context("a struct")?.ty(&store)?;
        let derived_ty = derived.as_struct(&store)?.context("a struct")?.ty(&store)?;
        assert_eq!(derived_ty.supertype(), Some(base_ty.clone()));
        assert!(derived_ty.matches(&base_ty) && !base_ty.matches(&derived_ty));
        let concrete = HeapType::ConcreteStruct(base_ty);
        let all = [
            HeapType::Any,
            HeapType::Eq,
            HeapType::Struct,
            concrete,
            HeapType::Array,
            HeapType::I31,
        ];
        for (object, expected) in [
            (base, [true, true, true, true, false, false]),
            (derived, [true, true, true, true, false, false]),
            (array, [true, true, false, false, true, false]),
            (i31, [true, true, false, false, false, true]),
        ] {
            for (ty, expected) in all.iter().zip(expected) {
                assert_eq!(object.matches_ty(&store, ty)?, expected, "{ty}");
            }
            for ty in [HeapType::Extern, HeapType::Func, HeapType::None] {
                assert!(!object.matches_ty(&store, &ty)?, "{ty}");
            }
            assert!(object.as_eqref(&store)?.is_some());
            assert_eq!(object.as_struct(&store)?.is_some(), expected[2]);
            assert_eq!(object.as_array(&store)?.is_some(), expected[4]);
            assert_eq!(object.as_i31(&store)?.is_some(), expected[5]);
        }
        assert_eq!(i31.ty(&store)?, HeapType::I31);

        // Typed functions whose Rust types say less than the WebAssembly ones check
        // what they are given at each call.
        let take =
            instance.get_typed_func::<Option<Rooted<StructRef>>, i32>(&mut store, "take base")?;
        for (object, expected) in [(base, 1), (derived, 2)] {
            let object = object.as_struct(&store)?;
            assert_eq!(take.call(&mut store, object)?, expected);
        }
        assert_eq!(trap(take.call(&mut store, None)), Trap::NullReference);
        let take = instance.get_typed_func::<Rooted<AnyRef>, i64>(&mut store, "take derived")?;
        assert_eq!(take.call(&mut store, derived)?, 3);
        assert_eq!(
            message(take.call(&mut store, base)),
            "argument 0: type mismatch: expected (ref (struct (field (mut i32)) (field (mut i64)))), \
             found an internal reference to (struct (field (mut i32)))"
        );
        assert!(
            message(take.call(&mut store, i31)).ends_with("found an internal reference to i31")
        );
        let take = instance.get_typed_func::<Rooted<EqRef>, i32>(&mut store, "take eq")?;
        let as_eq = |store: &Store<()>, any: Rooted<AnyRef>| -> Result<Rooted<EqRef>> {
            any.as_eqref(store)?.context("comparable")
        };
        let eq = as_eq(&store, i31)?;
        assert_eq!(take.call(&mut store, eq)?, 1);
        let eq = as_eq(&store, array)?;
        assert_eq!(take.call(&mut store, eq)?, 0);
        let take = instance.get_typed_func::<I31, i32>(&mut store, "take eq")?;
        assert_eq!(take.call(&mut store, I31::wrapping_i32(-5))?, 1);
        assert!(
            message(instance.get_typed_func::<Option<Func>, i32>(&mut store, "take eq"))
                .ends_with("parameter 0: type mismatch: it is (ref eq), not funcref")
        );
        // A result may be taken for less than it is, not for more.
        instance.get_typed_func::<(), Rooted<StructRef>>(&mut store, "derived")?;
        instance.get_typed_func::<(), Option<Rooted<EqRef>>>(&mut store, "derived")?;
        assert!(instance.get_typed_func::<(), Rooted<AnyRef>>(&mut store, "base").is_err());
        assert!(instance.get_typed_func::<(), Rooted<ArrayRef>>(&mut store, "derived").is_err());
        Ok(())
    })
}

/// The values that the tests of many values use, number `i` of type `i % 6`.
fn nth(store: &mut impl AsContextMut, i: usize) -> Result<Val> {
    Ok(match i % 6 {
        0 => Val::I32(i as i32),
        1 => Val::I64(-(i as i64)),
        2 => Val::from(i as f32 / 2.0),
        3 => Val::from(-(i as f64)),
        4 => ExternRef::new(store, i)?.into(),
        _ => AnyRef::from_i31(store, I31::wrapping_i32(i as i32)).into(),
    })
}

fn types() -> impl Iterator<Item = (&'static str, ValType)> {
    let all = [
        ("i32", ValType::I32),
        ("i64", ValType::I64),
        ("f32", ValType::F32),
        ("f64", ValType::F64),
        ("externref", ValType::EXTERNREF),
        ("anyref", ValType::ANYREF),
    ];
    all.into_iter().cycle()
}

fn check_nth<T: 'static>(
    store: &impl gc_wasm::AsContext<Data = T>,
    i: usize,
    value: &Val,
) -> Result<()> {
    let same = match (i % 6, value) {
        (0, Val::I32(n)) => *n == i as i32,
        (1, Val::I64(n)) => *n == -(i as i64),
        (2, Val::F32(_)) => value.f32() == Some(i as f32 / 2.0),
        (3, Val::F64(_)) => value.f64() == Some(-(i as f64)),
        (4, Val::ExternRef(Some(n))) => {
            n.data(store)?.is_some_and(|n| n.downcast_ref() == Some(&i))
        }
        (5, Val::AnyRef(Some(n))) => n.as_i31(store)? == Some(I31::wrapping_i32(i as i32)),
        _ => false,
    };
    anyhow::ensure!(same, "value {i} is {value:?}");
    Ok(())
}

/// 30 parameters and 20 results, through compiled code to the host and back.
#[test]
fn many_parameters_and_results() -> Result<()> {
    const PARAMS: usize = 30;
    const RESULTS: usize = 20;
    let list =
        |count: usize| types().take(count).map(|(name, _)| name).collect::<Vec<_>>().join(" ");
    let signature = format!("(param {}) (result {})", list(PARAMS), list(RESULTS));
    let arguments: String = (0..PARAMS).map(|i| format!("(local.get {i})")).collect();
    let first: String = (0..RESULTS).map(|i| format!("(local.get {i})")).collect();
    let wat = format!(
        r#"(module
            (type $f (func {signature}))
            (import "" "host" (func $host (type $f)))
            (import "" "gc" (func $gc))
            (elem declare func $host)
            (func (export "first") {signature} (call $gc) {first})
            (func (export "direct") {signature} (call $host {arguments}))
            (func (export "by_ref") {signature} (call_ref $f {arguments} (ref.func $host)))
            (func $tail (export "own") {signature} (call $gc) (call $own {arguments}))
            (func $own {signature} (call $gc) {first}))"#
    );
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut linker: Linker<()> = Linker::new(&engine);
        let take = |count: usize| types().take(count).map(|(_, ty)| ty);
        let ty = FuncType::new(&engine, take(PARAMS), take(RESULTS))?;
        linker.func_wrap("", "gc", |mut caller: Caller<'_, ()>| caller.gc())?;
        linker.func_new("", "host", ty, |mut caller, params, results| {
            assert_eq!((params.len(), results.len()), (PARAMS, RESULTS));
            caller.gc()?;
            for (i, value) in params.iter().enumerate() {
                check_nth(&caller, i, value)?;
            }
            for (i, result) in results.iter_mut().enumerate() {
                *result = if i % 2 == 0 { params[i] } else { nth(&mut caller, i)? };
            }
            caller.gc()
        })?;
        let mut store = Store::new(&engine, ())?;
        let instance = linker.instantiate(&mut store, &Module::new(&engine, &wat)?)?;
        for name in ["first", "direct", "by_ref", "own"] {
            let f = instance.get_func(&mut store, name).context("an export")?;
            for _ in 0..20 {
                let mut scope = RootScope::new(&mut store);
                let arguments: Vec<Val> =
                    (0..PARAMS).map(|i| nth(&mut scope, i)).collect::<Result<_>>()?;
                let mut results = [Val::I32(-1); RESULTS];
                f.call(&mut scope, &arguments, &mut results).context(name)?;
                for (i, value) in results.iter().enumerate() {
                    check_nth(&scope, i, value).context(name)?;
                }
            }
        }
        if setting.reclaims() {
            store.gc()?;
            assert_eq!(store.gc_stats().live_objects, 0);
        }
        Ok(())
    })
}

#[test]
fn typed_functions_with_twelve_of_each() -> Result<()> {
    everywhere(|setting| {
        type All = (
            i32,
            u32,
            i64,
            u64,
            f32,
            f64,
            Option<Rooted<ExternRef>>,
            Option<Func>,
            Option<Rooted<AnyRef>>,
            Option<I31>,
            I31,
            i32,
        );
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ())?;
        let types = "i32 i32 i64 i64 f32 f64 externref funcref anyref i31ref (ref i31) i32";
        let gets: String = (0..12).map(|i| format!("(local.get {i})")).collect();
        let module = Module::new(
            &engine,
            format!(
                r#"(module (import "" "host" (func $host (param {types}) (result {types})))
                    (func (export "f") (param {types}) (result {types}) (call $host {gets})))"#
            ),
        )?;
        let host = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, ()>,
             a: i32,
             b: u32,
             c: i64,
             d: u64,
             e: f32,
             f: f64,
             g: Option<Rooted<ExternRef>>,
             h: Option<Func>,
             i: Option<Rooted<AnyRef>>,
             j: Option<I31>,
             k: I31,
             l: i32|
             -> Result<All> {
                caller.gc()?;
                Ok((a + 1, b + 1, c + 1, d + 1, e + 1.0, f + 1.0, g, h, i, j, k, l + 1))
            },
        )?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let f: TypedFunc<All, All> = instance.get_typed_func(&mut store, "f")?;
        let value = ExternRef::new(&mut store, 5)?;
        let any = AnyRef::from_i31(&mut store, I31::wrapping_i32(7));
        let (j, k) = (I31::wrapping_i32(-1), I31::wrapping_i32(1));
        let all = (
            1,
            u32::MAX - 1,
            3,
            u64::MAX - 1,
            5.0,
            6.0,
            Some(value),
            Some(host),
            Some(any),
            Some(j),
            k,
            12,
        );
        let got = f.call(&mut store, all)?;
        assert_eq!(
            (got.0, got.1, got.2, got.3, got.4, got.5),
            (2, u32::MAX, 4, u64::MAX, 6.0, 7.0)
        );
        assert!(Rooted::ref_eq(&store, &got.6.unwrap(), &value)?);
        assert_eq!(got.7, Some(host));
        assert_eq!(got.8.unwrap().as_i31(&store)?, Some(I31::wrapping_i32(7)));
        assert_eq!((got.9, got.10, got.11), (Some(j), k, 13));
        Ok(())
    })
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
                let bytes = memory.data(&caller)?.get(at as usize..(at + len) as usize);
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
        let mut store = Store::new(&engine, Vec::new())?;
        let one = linker.instantiate(&mut store, &module("one", "memory")?)?;
        let two = linker.instantiate(&mut store, &module("the second", "memory")?)?;
        let none = linker.instantiate(&mut store, &module("three", "mem")?)?;
        for instance in [one, two, one] {
            instance.get_typed_func::<(), ()>(&mut store, "f")?.call(&mut store, ())?;
        }
        assert_eq!(store.data()[..], ["one", "the second", "one"]);
        let f = none.get_typed_func::<(), ()>(&mut store, "f")?;
        assert_eq!(message(f.call(&mut store, ())), "no memory is exported");
        // Called by the host, it has no caller with exports.
        let print = linker.get(&mut store, "", "print")?.and_then(Extern::into_func).unwrap();
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
                id.get(caller)?.i32().context("an i32")
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
        let mut store = Store::new(&engine, Vec::new())?;
        let mut previous = None;
        for id in 1..=3 {
            let ty = gc_wasm::GlobalType::new(ValType::I32, Mutability::Const);
            let global = gc_wasm::Global::new(&mut store, ty, Val::I32(id))?;
            let mut linker = linker.clone();
            linker.define("", "id", global)?;
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

/// A host function called by a host function was called by no instance, though one is
/// further out on the stack.
#[test]
fn host_functions_called_by_host_functions() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ())?;
        let inner = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| -> i32 {
            i32::from(caller.get_export("f").is_some())
        })?;
        let outer = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<i32> {
            assert!(caller.get_export("f").is_some());
            let inside = inner.typed::<(), i32>(&caller)?.call(&mut caller, ())?;
            assert!(caller.get_export("f").is_some());
            Ok(inside)
        })?;
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

/// A panic of the host's goes through compiled code to whoever called it, and the
/// store can be used afterwards.
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
                    // Quietly: the hook would print.
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
        let mut store = Store::new(&engine, 0)?;
        let instance = linker.instantiate(&mut store, &module)?;
        let go = instance.get_typed_func::<i32, ()>(&mut store, "go")?;
        let fine = instance.get_typed_func::<(), i32>(&mut store, "fine")?;
        for level in [0, 1, 3] {
            let result = catch_unwind(AssertUnwindSafe(|| go.call(&mut store, level)));
            let payload = result.expect_err("a panic");
            assert_eq!(payload.downcast_ref(), Some(&"the payload"));
            assert_eq!(fine.call(&mut store, ())?, 9);
            store.gc()?;
            if setting.reclaims() {
                assert_eq!(store.gc_stats().live_objects, 0, "level {level}");
            }
        }
        // By the host alone, too.
        let panic = Func::wrap(&mut store, || -> i32 {
            std::panic::resume_unwind(Box::new(7_u8));
        })?;
        let result =
            catch_unwind(AssertUnwindSafe(|| panic.call(&mut store, &[], &mut [Val::I32(0)])));
        assert_eq!(result.expect_err("a panic").downcast_ref(), Some(&7_u8));
        assert_eq!(fine.call(&mut store, ())?, 9);
        Ok(())
    })
}

/// What cannot be used after a failure in the middle: the results of the call only.
#[test]
fn traps_between_host_calls_leave_no_trace() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ())?;
        let make = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
            ExternRef::new(&mut caller, 1).map(Some)
        })?;
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
            assert_eq!(trap(f.call(&mut store, 50)), Trap::Unreachable);
        }
        store.gc()?;
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
        let mut store = Store::new(&engine, ())?;
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
        // A name stays what it is unless that is asked for.
        let error = linker.func_wrap("lib", "double", |a: i32| a * 3).map(|_| ());
        assert_eq!(message(error), "`lib` `double` is defined twice");
        let instance = linker.instantiate(&mut store, &module)?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, 21)?, 42);
        let g = instance.get_typed_func::<(), ()>(&mut store, "g")?;
        assert_eq!(message(g.call(&mut store, ())), "unknown import: `lib` `missing` was called");
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
        let mut store = Store::new(&engine, ())?;
        let object = |ty| ValType::Ref(RefType::new(false, ty));
        let ty = StructType::new(&engine, [fixed(ValType::I32)])?;
        let ty = FuncType::new(
            &engine,
            [object(HeapType::ConcreteStruct(ty.clone())), object(HeapType::Array), ValType::EQREF],
            [object(HeapType::ConcreteStruct(ty))],
        )?;
        let swap = Func::new(&mut store, ty, |mut caller, params, results| {
            caller.gc()?;
            let old = params[0].any_ref().flatten().context("a struct")?;
            let old = old.as_struct(&caller)?.context("a struct")?;
            let len = params[1].any_ref().flatten().context("an array")?;
            let len = len.as_array(&caller)?.context("an array")?.len(&caller)?;
            let eq = params[2].any_ref().flatten().is_some();
            let n = old.field(&mut caller, 0)?.i32().context("an i32")?;
            let ty = old.ty(&caller)?;
            let new = n + len as i32 + i32::from(eq) * 1000;
            results[0] = StructRef::new(&mut caller, &ty, &[Val::I32(new)])?.to_anyref().into();
            caller.gc()
        })?;
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
