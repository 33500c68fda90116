//! Vectors in the host's API: in calls, objects, globals and exceptions. `tests/scripts/simd.wast` has what needs
//! no host.

use crate::common::{each_collector, everywhere, message, new_array, new_fixed_array, new_struct};
use anyhow::Result;
use gc_wasm::{
    ArrayRef, ArrayRefPre, ArrayType, Config, Engine, ExnRef, ExnRefPre, ExnType, FieldType, Func,
    FuncType, Global, GlobalType, Instance, Linker, Module, Mutability, StorageType, Store,
    StructType, Tag, TagType, ThrownException, V128, Val, ValType,
};

/// A vector whose lanes of 32 bits are these.
fn lanes(lanes: [u32; 4]) -> V128 {
    V128::from(lanes.iter().rev().fold(0, |bits, lane| bits << 32 | u128::from(*lane)))
}

const A: u128 = 0x0f0e0d0c_0b0a0908_07060504_03020100;
const B: u128 = 0xfedcba98_76543210_01234567_89abcdef;

#[test]
fn values_of_the_host() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let value = Val::from(V128::from(A));
    assert_eq!((value.v128(), value.unwrap_v128().as_u128()), (Some(V128::from(A)), A));
    assert_eq!(u128::from(V128::from(B)), B);
    assert!(V128::from(A) < V128::from(B));
    assert_eq!(format!("{:?}", V128::from(5)), "V128(0x00000000000000000000000000000005)");
    assert_eq!(Val::I32(1).v128(), None);
    assert_eq!(value.ty(&store)?, ValType::V128);
    assert_eq!(Val::default_for_ty(&ValType::V128).and_then(|v| v.v128()), Some(V128::from(0)));

    let ty = FuncType::new(&engine, [ValType::V128], []);
    let func = Func::new(&mut store, ty, |_, _, _| Ok(()));
    let error = message(func.call(&mut store, &[Val::I64(1)], &mut []));
    assert!(error.contains("expected v128, found i64"), "{error}");
    let global = GlobalType::new(ValType::I32, Mutability::Var);
    let error = message(Global::new(&mut store, global, value));
    assert!(error.contains("expected i32, found v128"), "{error}");
    Ok(())
}

/// Host functions of both kinds, in tail calls and calls by reference.
#[test]
fn calls() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "swap", |a: V128, n: i32, b: V128| (b, n + 1, a))?;
        let ty = FuncType::new(&engine, [ValType::V128], [ValType::V128]);
        linker.func_new("host", "not", ty, |_, params, results| {
            results[0] = Val::from(!params[0].unwrap_v128().as_u128());
            Ok(())
        })?;
        let module = Module::new(
            &engine,
            r#"(module
                (import "host" "swap" (func $swap (param v128 i32 v128) (result v128 i32 v128)))
                (import "host" "not" (func $not (param v128) (result v128)))
                (table funcref (elem $not))
                (func (export "swap") (param v128 i32 v128) (result v128 i32 v128)
                    (return_call $swap (local.get 0) (local.get 1) (local.get 2)))
                (func (export "not") (param v128) (result v128)
                    (call_indirect (param v128) (result v128) (local.get 0) (i32.const 0))))"#,
        )?;
        let instance = linker.instantiate(&mut store, &module)?;
        let (a, b) = (V128::from(A), V128::from(B));
        let swap =
            instance.get_typed_func::<(V128, i32, V128), (V128, i32, V128)>(&mut store, "swap")?;
        assert_eq!(swap.call(&mut store, (a, 7, b))?, (b, 8, a));
        let not = instance.get_typed_func::<V128, V128>(&mut store, "not")?;
        assert_eq!(not.call(&mut store, a)?.as_u128(), !A);
        Ok(())
    })
}

#[test]
fn globals() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let ty = GlobalType::new(ValType::V128, Mutability::Var);
        let shared = Global::new(&mut store, ty, V128::from(A).into())?;
        let module = Module::new(
            &engine,
            r#"(module
                (import "host" "shared" (global $shared (mut v128)))
                (global $zero (mut i32) (i32.const 0))
                (global $const (export "const") v128 (v128.const i32x4 1 2 3 4))
                (global (export "copy") (mut v128) (global.get $const))
                (func (export "swap") (local v128)
                    (local.set 0 (global.get $shared))
                    (global.set $shared (global.get 3))
                    (global.set 3 (local.get 0))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[shared.into()])?;
        let fixed = instance.get_global(&mut store, "const").unwrap();
        let copy = instance.get_global(&mut store, "copy").unwrap();
        let get = |store: &mut Store<()>, global: Global| global.get(store).v128();
        let small = lanes([1, 2, 3, 4]);
        assert_eq!(get(&mut store, fixed), Some(small));
        assert_eq!(get(&mut store, copy), Some(small));
        instance.get_typed_func::<(), ()>(&mut store, "swap")?.call(&mut store, ())?;
        assert_eq!(get(&mut store, shared), Some(small));
        assert_eq!(get(&mut store, copy), Some(V128::from(A)));
        shared.set(&mut store, V128::from(B).into())?;
        instance.get_typed_func::<(), ()>(&mut store, "swap")?.call(&mut store, ())?;
        assert_eq!(get(&mut store, copy), Some(V128::from(B)));
        assert!(fixed.set(&mut store, V128::from(0).into()).is_err());
        Ok(())
    })
}

/// Objects that a module made, whose vectors are aligned to eight bytes only.
#[test]
fn objects() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(
            r#"(module
                (type $s (struct (field (mut i64)) (field (mut v128)) (field (mut anyref))))
                (type $a (array (mut v128)))
                (global $g (export "struct") (ref $s)
                    (struct.new $s (i64.const 7) (v128.const i64x2 1 2) (ref.i31 (i32.const 3))))
                (global (export "array") (ref $a)
                    (array.new_fixed $a 2 (v128.const i64x2 1 2) (v128.const i64x2 3 4))))"#,
            &[],
        )?;
        let global = instance.get_global(&mut store, "struct").unwrap().get(&mut store);
        let object = global.anyref().flatten().unwrap().as_struct(&store)?.unwrap();
        assert_eq!(object.field(&mut store, 1)?.v128(), Some(lanes([1, 0, 2, 0])));
        object.set_field(&mut store, 1, V128::from(B).into())?;
        store.gc(None)?;
        assert_eq!(object.field(&mut store, 0)?.i64(), Some(7));
        assert_eq!(object.field(&mut store, 1)?.v128(), Some(V128::from(B)));
        let global = instance.get_global(&mut store, "array").unwrap().get(&mut store);
        let array = global.anyref().flatten().unwrap().as_array(&store)?.unwrap();
        assert_eq!(array.get(&mut store, 1)?.v128(), Some(lanes([3, 0, 4, 0])));
        Ok(())
    })
}

#[test]
fn objects_of_the_host() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let field = FieldType::new(Mutability::Var, StorageType::ValType(ValType::V128));
        let array = ArrayType::new(&engine, field.clone());
        let byte = FieldType::new(Mutability::Var, StorageType::I8);
        let ty = StructType::new(&engine, [byte, field])?;
        let values = [Val::I32(3), V128::from(A).into()];
        let object = new_struct(&mut store, &ty, &values)?;
        let filled = new_array(&mut store, &array, &V128::from(A).into(), 3)?;
        let fixed = new_fixed_array(&mut store, &array, &[V128::from(B).into()])?;
        let pre = ArrayRefPre::new(&mut store, array);
        let raw = ArrayRef::from_bytes(&mut store, &pre, &B.to_le_bytes())?;
        filled.set(&mut store, 2, V128::from(B).into())?;
        store.gc(None)?;
        assert_eq!(object.field(&mut store, 1)?.v128(), Some(V128::from(A)));
        let elements = filled.elems(&mut store)?;
        let elements: Vec<_> = elements.map(|v| v.unwrap_v128().as_u128()).collect();
        assert_eq!(elements, [A, A, B]);
        assert_eq!(fixed.get(&mut store, 0)?.v128(), Some(V128::from(B)));
        assert_eq!(raw.get(&mut store, 0)?.v128(), Some(V128::from(B)));
        assert!(filled.set(&mut store, 0, Val::I64(0)).is_err());
        Ok(())
    })
}

#[test]
fn payloads_of_exceptions() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let func = FuncType::new(&engine, [ValType::I32, ValType::V128], []);
        let ty = TagType::new(func);
        let tag = Tag::new(&mut store, &ty)?;
        let mut linker = Linker::new(&engine);
        linker.define(&store, "host", "tag", tag)?;
        let module = Module::new(
            &engine,
            r#"(module
                (import "host" "tag" (tag $tag (param i32 v128)))
                (func $throw (param v128) (throw $tag (i32.const 1) (local.get 0)))
                (func (export "uncaught") (param v128) (call $throw (local.get 0))))"#,
        )?;
        let instance = linker.instantiate(&mut store, &module)?;
        let uncaught = instance.get_typed_func::<V128, ()>(&mut store, "uncaught")?;
        assert!(uncaught.call(&mut store, V128::from(A)).unwrap_err().is::<ThrownException>());
        let exception = store.take_pending_exception().unwrap();
        assert_eq!(exception.field(&mut store, 1)?.v128(), Some(V128::from(A)));

        let pre = ExnRefPre::new(&mut store, ExnType::from_tag_type(&ty)?);
        let values = [Val::I32(1), V128::from(B).into()];
        let made = ExnRef::new(&mut store, &pre, &tag, &values)?;
        store.gc(None)?;
        assert_eq!(made.field(&mut store, 1)?.v128(), Some(V128::from(B)));
        Ok(())
    })
}
