//! Objects that the host makes, reads and writes, and whose types it queries.

use crate::common::{
    each_collector, everywhere, message, new_array, new_fixed_array, new_struct, trap,
};
use anyhow::{Context, Result};
use gc_wasm::{
    AnyRef, ArrayRef, ArrayType, Engine, EqRef, ExternRef, FieldType, Func, HeapType, I31,
    Mutability, Rooted, StorageType, Store, StructRef, Trap, Val, ValType,
};

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
        store.gc(None)?;
        let ty = object.ty(&store)?;
        assert_eq!(
            ty.to_string(),
            "(struct (field (mut i8)) (field (mut i16)) (field (mut i32)) (field (mut i64)) \
             (field (mut f32)) (field (mut f64)) (field (mut anyref)) (field (mut externref)) \
             (field (mut funcref)) (field i8) (field (mut i31ref)))"
        );
        // Packed fields are read zero-extended.
        let fields: Vec<Val> = object.fields(&mut store)?.collect();
        assert_eq!(fields.len(), 11);
        assert_eq!(fields[0].i32(), Some(0xff));
        assert_eq!(fields[1].i32(), Some(0xfffe));
        assert_eq!(fields[2].i32(), Some(-3));
        assert_eq!(fields[3].i64(), Some(-4));
        assert_eq!(fields[4].f32(), Some(-5.5));
        assert_eq!(fields[5].f64(), Some(-6.5));
        let i31 = |store: &Store<()>, value: &Val| -> Result<Option<I31>> {
            value.anyref().flatten().context("a reference")?.as_i31(store)
        };
        assert_eq!(i31(&store, &fields[6])?, Some(I31::wrapping_i32(-7)));
        let held = fields[7].externref().flatten().context("a reference")?;
        assert!(Rooted::ref_eq(&store, held, &value)?);
        assert_eq!(fields[8].funcref(), Some(Some(&func)));
        assert_eq!(fields[9].i32(), Some(0xff));
        assert_eq!(i31(&store, &fields[10])?, Some(I31::wrapping_i32(0x3fff_ffff)));

        // Written values are truncated to the field's size.
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
        store.gc(None)?;
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
        // The payload of a NaN is kept, signalling or not.
        assert!(matches!(results[2], Val::F32(0x7fa0_0001)), "{:?}", results[2]);
        assert!(matches!(results[3], Val::F64(0x7ff4_0000_0000_0001)), "{:?}", results[3]);
        let got = results[4].anyref().flatten().context("a reference")?;
        assert!(Rooted::ref_eq(&store, got, &inner.to_anyref())?);
        let got = results[5].externref().flatten().context("a reference")?;
        assert!(Rooted::ref_eq(&store, got, &other)?);
        assert_eq!(results[6].funcref(), Some(None));

        // Refused: an immutable field, a missing field, a value of another type.
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
            "field 3: type mismatch: expected i64, found i32"
        );
        assert_eq!(
            message(object.set_field(&mut store, 10, object.to_anyref().into())),
            format!(
                "field 10: type mismatch: expected i31ref, found an internal reference to {ty}"
            )
        );
        assert_eq!(
            message(new_struct(&mut store, &ty, &fields[..10])),
            "expected 11 fields, got 10"
        );
        let copy = new_struct(&mut store, &ty, &fields)?;
        assert_eq!(copy.field(&mut store, 1)?.i32(), Some(0xfffe));
        assert!(!Rooted::ref_eq(&store, &copy, &object)?);
        Ok(())
    })
}

#[test]
fn array_elements_of_every_type() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let cases: [(StorageType, Val, i64); 4] = [
            (StorageType::I8, Val::I32(-1), 0xff),
            (StorageType::I16, Val::I32(-1), 0xffff),
            (ValType::I32.into(), Val::I32(-1), -1),
            (ValType::I64.into(), Val::I64(-1), -1),
        ];
        for (ty, value, expected) in cases {
            let ty = ArrayType::new(&engine, var(ty));
            let array = new_array(&mut store, &ty, &value, 5)?;
            let number = |value: Val| value.i32().map(i64::from).or(value.i64());
            for element in array.elems(&mut store)? {
                assert_eq!(number(element), Some(expected));
            }
            let zero = Val::default_for_ty(ty.field_type().element_type().unpack()).unwrap();
            array.set(&mut store, 2, zero)?;
            let elements: Vec<_> = array.elems(&mut store)?.map(number).collect();
            let e = Some(expected);
            assert_eq!(elements, [e, e, Some(0), e, e]);
            assert_eq!(
                message(array.get(&mut store, 5)),
                "out of bounds array access: 1 elements from 5 of an array of 5"
            );
            assert_eq!(
                message(array.set(&mut store, u32::MAX, zero)),
                "out of bounds array access: 1 elements from 4294967295 of an array of 5"
            );
            assert_eq!(array.len(&store)?, 5);
        }
        let ty = ArrayType::new(&engine, fixed(ValType::ANYREF));
        let int = AnyRef::from_i31(&mut store, I31::wrapping_i32(5));
        let inner = new_array(&mut store, &ty, &int.into(), 2)?;
        let array = new_fixed_array(
            &mut store,
            &ty,
            &[Val::AnyRef(None), inner.to_anyref().into(), int.into()],
        )?;
        store.gc(None)?;
        let elements: Vec<Val> = array.elems(&mut store)?.collect();
        assert!(elements[0].anyref().unwrap().is_none());
        let again = elements[1].anyref().flatten().context("an array")?;
        let again = again.as_array(&store)?.context("an array")?;
        assert!(Rooted::ref_eq(&store, &again, &inner)?);
        assert_eq!(again.len(&store)?, 2);
        assert_eq!(
            message(array.set(&mut store, 0, int.into())),
            "the elements of (array anyref) are not mutable"
        );
        assert_eq!(
            message(new_fixed_array(&mut store, &ty, &[int.into(), Val::I32(0)])),
            "element 1: type mismatch: expected anyref, found i32"
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
        store.gc(None)?;

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

        // Typed functions whose Rust types are less precise than the WebAssembly types check their
        // arguments at each call.
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
            "argument type mismatch for reference to concrete type: argument 0: type mismatch: \
             expected (ref (struct (field (mut i32)) (field (mut i64)))), \
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
                .ends_with("parameter 0: type mismatch: expected (ref eq), found funcref")
        );
        // A result may be read as a supertype, not as a subtype.
        instance.get_typed_func::<(), Rooted<StructRef>>(&mut store, "derived")?;
        instance.get_typed_func::<(), Option<Rooted<EqRef>>>(&mut store, "derived")?;
        assert!(instance.get_typed_func::<(), Rooted<AnyRef>>(&mut store, "base").is_err());
        assert!(instance.get_typed_func::<(), Rooted<ArrayRef>>(&mut store, "derived").is_err());
        Ok(())
    })
}

/// The loop that initializes elements is emitted for these arrays, but never entered.
#[test]
fn arrays_whose_length_is_the_constant_zero() -> Result<()> {
    let wat = r#"(module
        (type $a (array (mut i64)))
        (func (export "f") (result i32)
            (i32.add
                (array.len (array.new $a (i64.const 3) (i32.const 0)))
                (array.len (array.new $a (i64.const 3)
                    (i32.and (i32.const 1) (i32.const 2)))))))"#;
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(wat, &[])?;
        let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, ())?, 0);
        Ok(())
    })
}

/// The bytes of references are not given out, nor written: those of functions neither.
#[test]
fn references_to_functions_have_no_bytes() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(&setting.config())?;
        let mut store = Store::new(&engine, ());
        let ty = ArrayType::new(&engine, FieldType::new(Mutability::Var, ValType::FUNCREF.into()));
        let array = new_array(&mut store, &ty, &Val::FuncRef(None), 3)?;
        assert!(array.read_bytes(&store, 0, &mut [0; 4]).is_err());
        assert!(array.write_bytes(&mut store, 0, &[1, 0, 0, 0]).is_err());
        Ok(())
    })
}
