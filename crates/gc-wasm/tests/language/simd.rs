//! Vectors wherever a value can be: in the host's API, in objects, globals and exceptions, across
//! calls and collections, at the end of a memory.

use crate::common::{
    each_collector, everywhere, message, new_array, new_fixed_array, new_struct, trap, with_prelude,
};
use anyhow::Result;
use gc_wasm::{
    ArrayRef, ArrayRefPre, ArrayType, Config, Engine, ExnRef, ExnRefPre, ExnType, FieldType, Func,
    FuncType, Global, GlobalType, Instance, Linker, Module, Mutability, StorageType, Store,
    StructType, Tag, TagType, ThrownException, Trap, V128, Val, ValType,
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

/// Parameters in registers and on the stack, results, tail calls, calls by reference, and host
/// functions of both kinds.
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
        let many = "v128 ".repeat(20);
        let gets: String = (0..20).map(|i| format!("(local.get {i})")).collect();
        let sums: String = (0..19).map(|_| "i32x4.add ").collect();
        let module = Module::new(
            &engine,
            format!(
                r#"(module
                (type $many (func (param {many}) (result v128)))
                (type $echo (func (param {many}) (result {many})))
                (import "host" "swap" (func $swap (param v128 i32 v128) (result v128 i32 v128)))
                (import "host" "not" (func $not (param v128) (result v128)))
                (table funcref (elem $not $sum))
                (func (export "swap") (param v128 i32 v128) (result v128 i32 v128)
                    (return_call $swap (local.get 0) (local.get 1) (local.get 2)))
                (func (export "not") (param v128) (result v128)
                    (call_indirect (param v128) (result v128) (local.get 0) (i32.const 0)))
                (func $sum (type $many) {gets} {sums})
                (func $echo (type $echo) {gets})
                (func (export "sum") (type $many)
                    (call $echo {gets}) (return_call_indirect (type $many) (i32.const 1))))"#
            ),
        )?;
        let instance = linker.instantiate(&mut store, &module)?;
        let (a, b) = (V128::from(A), V128::from(B));
        let swap =
            instance.get_typed_func::<(V128, i32, V128), (V128, i32, V128)>(&mut store, "swap")?;
        assert_eq!(swap.call(&mut store, (a, 7, b))?, (b, 8, a));
        let not = instance.get_typed_func::<V128, V128>(&mut store, "not")?;
        assert_eq!(not.call(&mut store, a)?.as_u128(), !A);

        let sum = instance.get_func(&mut store, "sum").unwrap();
        let args: Vec<Val> = (0..20).map(|i| lanes([i, 1, 2 * i, u32::MAX]).into()).collect();
        let mut results = [Val::I32(0)];
        sum.call(&mut store, &args, &mut results)?;
        assert_eq!(results[0].v128(), Some(lanes([190, 20, 380, 20u32.wrapping_neg()])));
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

/// Objects, whose vectors are aligned to eight bytes only, from both sides, and constant
/// expressions that make them.
#[test]
fn objects() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(
            r#"(module
                (type $s (struct (field (mut i64)) (field (mut v128)) (field (mut anyref))))
                (type $a (array (mut v128)))
                (data $bytes "0123456789abcdef0123456789ABCDEF")
                (global $g (export "struct") (ref $s)
                    (struct.new $s (i64.const 7) (v128.const i64x2 1 2) (ref.i31 (i32.const 3))))
                (global (export "array") (ref $a)
                    (array.new_fixed $a 2 (v128.const i64x2 1 2) (v128.const i64x2 3 4)))
                (func (export "round") (param v128) (result v128) (local $s (ref null $s))
                    (local.set $s (struct.new $s (i64.const 1) (local.get 0) (ref.null any)))
                    (drop (array.new $a (local.get 0) (i32.const 1000)))
                    (struct.set $s 1 (local.get $s)
                        (i64x2.add (local.get 0) (struct.get $s 1 (local.get $s))))
                    (drop (struct.new_default $s))
                    (struct.get $s 1 (local.get $s)))
                (func (export "sum") (param v128 i32) (result v128)
                    (local $a (ref null $a)) (local $sum v128) (local $i i32)
                    (local.set $a (array.new $a (local.get 0) (local.get 1)))
                    (array.fill $a (local.get $a) (i32.const 1)
                        (v128.const i64x2 10 20) (i32.const 2))
                    (array.copy $a $a (local.get $a) (i32.const 4) (local.get $a) (i32.const 1)
                        (i32.const 1))
                    (loop $next
                        (local.set $sum (i64x2.add (local.get $sum)
                            (array.get $a (local.get $a) (local.get $i))))
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (br_if $next (i32.lt_u (local.get $i) (array.len (local.get $a)))))
                    (local.get $sum))
                (func (export "bytes") (param i32) (result v128) (local $a (ref null $a))
                    (local.set $a (array.new_data $a $bytes (i32.const 0) (i32.const 2)))
                    (array.init_data $a $bytes (local.get $a) (i32.const 0) (i32.const 1)
                        (i32.const 1))
                    (array.get $a (local.get $a) (local.get 0)))
                (func (export "null") (result v128) (struct.get $s 1 (ref.null $s)))
                (func (export "default") (result v128)
                    (v128.or (struct.get $s 1 (struct.new_default $s))
                        (array.get $a (array.new_default $a (i32.const 3)) (i32.const 2)))))"#,
            &[],
        )?;
        let round = instance.get_typed_func::<V128, V128>(&mut store, "round")?;
        for _ in 0..10 {
            assert_eq!(round.call(&mut store, lanes([1, 2, 3, 4]))?, lanes([2, 4, 6, 8]));
        }
        let sum = instance.get_typed_func::<(V128, i32), V128>(&mut store, "sum")?;
        // Five elements are (1, 2), and three are (10, 20).
        let expected = lanes([5 + 30, 0, 10 + 60, 0]);
        assert_eq!(sum.call(&mut store, (lanes([1, 0, 2, 0]), 8))?, expected);
        assert_eq!(trap(sum.call(&mut store, (V128::from(0), 2))), Trap::ArrayOutOfBounds);
        let bytes = instance.get_typed_func::<i32, V128>(&mut store, "bytes")?;
        let first = u128::from_le_bytes(*b"123456789abcdef0");
        let second = u128::from_le_bytes(*b"0123456789ABCDEF");
        assert_eq!(bytes.call(&mut store, 0)?.as_u128(), first);
        assert_eq!(bytes.call(&mut store, 1)?.as_u128(), second);
        assert_eq!(trap(bytes.call(&mut store, 2)), Trap::ArrayOutOfBounds);
        let null = instance.get_typed_func::<(), V128>(&mut store, "null")?;
        assert_eq!(trap(null.call(&mut store, ())), Trap::NullReference);
        let zero = instance.get_typed_func::<(), V128>(&mut store, "default")?;
        assert_eq!(zero.call(&mut store, ())?.as_u128(), 0);

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
                (func (export "caught") (param v128) (result v128) (local $kept v128)
                    (local.set $kept (i32x4.add (local.get 0) (local.get 0)))
                    (block $h (result i32 v128)
                        (try_table (catch $tag $h) (call $throw (local.get 0)))
                        (unreachable))
                    (local.set 0)
                    (drop)
                    (i32x4.add (local.get $kept) (local.get 0)))
                (func (export "uncaught") (param v128) (call $throw (local.get 0))))"#,
        )?;
        let instance = linker.instantiate(&mut store, &module)?;
        let caught = instance.get_typed_func::<V128, V128>(&mut store, "caught")?;
        assert_eq!(caught.call(&mut store, lanes([1, 2, 3, 4]))?, lanes([3, 6, 9, 12]));
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

/// Vectors and references that live across calls that collect, in locals, operands, and parameters
/// of blocks and loops.
#[test]
fn vectors_live_across_collections() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = with_prelude(
            &setting.engine()?,
            r#"(func (export "run") (param $v v128) (param $n i32) (result v128)
                (local $kept (ref null $pair)) (local $sum v128)
                (local.set $kept (call $new (i32.const 5)))
                (local.get $v)
                (loop $again (param v128) (result v128)
                    (call $churn)
                    (local.set $sum (i32x4.add (local.get $sum) (i32x4.mul (local.get $v)
                        (i32x4.splat (call $get (local.get $kept))))))
                    (f32x4.convert_i32x4_s)
                    (i32x4.trunc_sat_f32x4_s)
                    (if (param v128) (result v128) (i32.and (local.get $n) (i32.const 1))
                        (then (call $churn) (i32x4.add (local.get $v)))
                        (else))
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (br_if $again (local.get $n)))
                (select (v128.const i64x2 0 0) (i32.eqz (local.get $n)))
                (i32x4.add (local.get $sum)))"#,
        )?;
        let run = instance.get_typed_func::<(V128, i32), V128>(&mut store, "run")?;
        // Four times five, and itself once and once more for each odd count.
        let expected = lanes([1, 2, 3, 4].map(|lane| lane * (4 * 5 + 1 + 2)));
        assert_eq!(run.call(&mut store, (lanes([1, 2, 3, 4]), 4))?, expected);
        Ok(())
    })
}

/// An access of 16 bytes that crosses the end of the memory traps, also with large offsets, and a
/// store writes nothing.
#[test]
fn accesses_at_the_end_of_a_memory() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut text = String::new();
    for (name, offset) in [("", 0u32), ("_far", 65536 - 16), ("_large", 0xffff_fff0)] {
        text += &format!(
            r#"(func (export "load{name}") (param i32) (result v128)
                (v128.load offset={offset} (local.get 0)))
            (func (export "store{name}") (param i32)
                (v128.store offset={offset} (local.get 0) (v128.const i64x2 -1 -1)))
            (func (export "lane{name}") (param i32)
                (v128.store64_lane offset={offset} 1 (local.get 0) (v128.const i64x2 -1 -1)))
            (func (export "wide{name}") (param i32) (result v128)
                (v128.load32x2_u offset={offset} (local.get 0)))"#
        );
    }
    let module = Module::new(&engine, format!("(module (memory (export \"m\") 1) {text})"))?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let memory = instance.get_memory(&mut store, "m").unwrap();
    for (name, index, size, traps) in [
        ("", 65536 - 16, 16, false),
        ("", 65536 - 15, 16, true),
        ("", 65536 - 8, 8, false),
        ("", 65536 - 7, 8, true),
        ("", -1, 16, true),
        ("_far", 0, 16, false),
        ("_far", 1, 16, true),
        ("_far", 9, 8, true),
        ("_far", -1, 16, true),
        ("_large", 0, 16, true),
        ("_large", 16, 8, true),
        ("_large", -1, 8, true),
    ] {
        let (load, save) = if size == 16 { ("load", "store") } else { ("wide", "lane") };
        let load = instance.get_typed_func::<i32, V128>(&mut store, &format!("{load}{name}"))?;
        let save = instance.get_typed_func::<i32, ()>(&mut store, &format!("{save}{name}"))?;
        memory.data_mut(&mut store)[65536 - 32..].fill(7);
        let what = format!("{size} bytes at {index}{name}");
        if traps {
            assert_eq!(trap(load.call(&mut store, index)), Trap::MemoryOutOfBounds, "{what}");
            assert_eq!(trap(save.call(&mut store, index)), Trap::MemoryOutOfBounds, "{what}");
            assert!(memory.data(&store)[65536 - 32..].iter().all(|byte| *byte == 7), "{what}");
        } else {
            load.call(&mut store, index)?;
            save.call(&mut store, index)?;
            let written = memory.data(&store).iter().filter(|byte| **byte == 0xff).count();
            assert_eq!(written, size, "{what}");
        }
    }
    Ok(())
}

/// What the deterministic profile leaves of the choices of relaxed instructions.
#[test]
fn relaxed_instructions_are_deterministic() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    for (body, expected) in [
        // Fused: 16777217 * 16777217 - 2^48 is not rounded in between.
        (
            "(f64x2.relaxed_madd (f64x2.splat (f64.const 0x1.0000001p0))
                (f64x2.splat (f64.const 0x1.0000001p0)) (f64x2.splat (f64.const -0x1.0000002p0)))",
            u128::from(2f64.powi(-56).to_bits()) * (1 | 1 << 64),
        ),
        (
            "(f64x2.relaxed_nmadd (f64x2.splat (f64.const 0x1.0000001p0))
                (f64x2.splat (f64.const 0x1.0000001p0)) (f64x2.splat (f64.const 0x1.0000002p0)))",
            u128::from((-2f64.powi(-56)).to_bits()) * (1 | 1 << 64),
        ),
        (
            "(i8x16.relaxed_swizzle (v128.const i8x16 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9)
                (v128.const i8x16 0 15 16 17 127 -128 -1 0 0 0 0 0 0 0 0 0))",
            0x09090909_09090909_09000000_00000909,
        ),
        (
            "(i32x4.relaxed_trunc_f32x4_s (v128.const f32x4 nan inf -inf 1.5))",
            0x00000001_80000000_7fffffff_00000000,
        ),
        (
            "(i32x4.relaxed_trunc_f64x2_u_zero (v128.const f64x2 -1 1e300))",
            0x00000000_00000000_ffffffff_00000000,
        ),
        (
            "(f32x4.relaxed_min (v128.const f32x4 0 -0 3 1) (v128.const f32x4 -0 0 1 2))",
            0x3f800000_3f800000_80000000_80000000,
        ),
        (
            "(i16x8.relaxed_laneselect (v128.const i16x8 -1 -1 -1 -1 0 0 0 0)
                (v128.const i16x8 0 0 0 0 -1 -1 -1 -1) (v128.const i16x8 1 2 4 8 1 2 4 8))",
            0xfff7fffb_fffdfffe_00080004_00020001,
        ),
        (
            "(i16x8.relaxed_q15mulr_s (i16x8.splat (i32.const -32768))
                (i16x8.splat (i32.const -32768)))",
            0x7fff7fff_7fff7fff_7fff7fff_7fff7fff,
        ),
        (
            "(i16x8.relaxed_dot_i8x16_i7x16_s (i8x16.splat (i32.const -128))
                (i8x16.splat (i32.const -127)))",
            0x7f007f00_7f007f00_7f007f00_7f007f00,
        ),
        (
            "(i32x4.relaxed_dot_i8x16_i7x16_add_s (i8x16.splat (i32.const -128))
                (i8x16.splat (i32.const -128)) (v128.const i32x4 1 2 3 -65536))",
            0x00000000_00010003_00010002_00010001,
        ),
    ] {
        let text = format!(r#"(module (func (export "f") (result v128) {body}))"#);
        let instance = Instance::new(&mut store, &Module::new(&engine, text)?, &[])?;
        let f = instance.get_typed_func::<(), V128>(&mut store, "f")?;
        let result = f.call(&mut store, ())?;
        assert_eq!(result, V128::from(expected), "{body}");
    }
    Ok(())
}
