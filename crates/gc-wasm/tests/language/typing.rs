//! Types across modules, deep hierarchies, casts, functions in objects.

use crate::common::{Setting, each_collector, everywhere, message, trap};
use anyhow::{Context, Result};
use gc_wasm::{
    AnyRef, Func, I31, Instance, Linker, Module, NoneRef, Rooted, Store, StructRef, Trap, Val,
};
use std::fmt::Write;

type Any = Option<Rooted<AnyRef>>;

/// Two modules that declare the same recursion group, in a different order among other types, have
/// the same types. A module with a group that only looks similar does not.
#[test]
fn recursion_groups_are_equal_by_structure() -> Result<()> {
    let group = r#"(rec
        (type $tree (sub (struct (field $value i32) (field $kids (ref null $forest)))))
        (type $forest (array (mut (ref null $tree)))))"#;
    let maker = format!(
        r#"(module
            {group}
            (func (export "leaf") (param i32) (result (ref $tree))
                (struct.new $tree (local.get 0) (ref.null $forest)))
            (func (export "tree") (param i32 (ref null $tree) (ref null $tree)) (result (ref $tree))
                (struct.new $tree (local.get 0)
                    (array.new_fixed $forest 2 (local.get 1) (local.get 2))))
            (func (export "any") (param i32) (result anyref)
                (struct.new $tree (local.get 0) (ref.null $forest))))"#
    );
    let user = format!(
        r#"(module
            (type $unrelated (struct (field f32)))
            (type $unused (func (param (ref $unrelated))))
            {group}
            (import "maker" "leaf" (func $leaf (param i32) (result (ref $tree))))
            (import "maker" "tree"
                (func $tree (param i32 (ref null $tree) (ref null $tree)) (result (ref $tree))))
            (func $sum (param $t (ref null $tree)) (result i32)
                (local $i i32) (local $sum i32) (local $kids (ref null $forest))
                (if (ref.is_null (local.get $t)) (then (return (i32.const 0))))
                (local.set $sum (struct.get $tree $value (local.get $t)))
                (local.set $kids (struct.get $tree $kids (local.get $t)))
                (if (ref.is_null (local.get $kids)) (then (return (local.get $sum))))
                (block $end (loop $again
                    (br_if $end (i32.ge_u (local.get $i) (array.len (local.get $kids))))
                    (local.set $sum (i32.add (local.get $sum)
                        (call $sum (array.get $forest (local.get $kids) (local.get $i)))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $again)))
                (local.get $sum))
            (func (export "f") (result i32)
                (call $sum (call $tree (i32.const 1)
                    (call $tree (i32.const 20) (call $leaf (i32.const 300)) (ref.null $tree))
                    (struct.new $tree (i32.const 4000) (ref.null $forest)))))
            (func (export "is") (param anyref) (result i32)
                (ref.test (ref $tree) (local.get 0))))"#
    );
    // Similar groups, but: mutable; split into two groups in swapped places; final; one more type.
    let impostors = [
        group.replace("(field $value i32)", "(field $value (mut i32))"),
        group.replace(
            "(sub (struct (field $value i32) (field $kids (ref null $forest))))",
            "(struct (field $value i32) (field $kids (ref null $forest)))",
        ),
        group.replace(
            "(array (mut (ref null $tree)))))",
            "(array (mut (ref null $tree)))) (type (func)))",
        ),
        group.replace("(ref null $forest)", "(ref $forest)"),
        r#"(rec
            (type $forest (array (mut (ref null $tree))))
            (type $tree (sub (struct (field $value i32) (field $kids (ref null $forest))))))"#
            .to_string(),
    ];
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let maker = Instance::new(&mut store, &Module::new(&engine, &maker)?, &[])?;
        let mut linker = Linker::new(&engine);
        linker.instance(&mut store, "maker", maker)?;
        let user = linker.instantiate(&mut store, &Module::new(&engine, &user)?)?;
        let f = user.get_typed_func::<(), i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, ())?, 4321);
        let any = maker.get_typed_func::<i32, Any>(&mut store, "any")?;
        let tree = any.call(&mut store, 1)?;
        let is = user.get_typed_func::<Any, i32>(&mut store, "is")?;
        assert_eq!(is.call(&mut store, tree)?, 1);
        for (i, impostor) in impostors.iter().enumerate() {
            let module = Module::new(
                &engine,
                format!(
                    r#"(module {impostor} (func (export "is") (param anyref) (result i32)
                        (ref.test (ref $tree) (local.get 0)))
                        (func (export "cast") (param anyref) (result i32)
                            (struct.get $tree $value (ref.cast (ref $tree) (local.get 0)))))"#
                ),
            )?;
            let instance = Instance::new(&mut store, &module, &[])?;
            let is = instance.get_typed_func::<Any, i32>(&mut store, "is")?;
            assert_eq!(is.call(&mut store, tree)?, 0, "impostor {i}");
            let cast = instance.get_typed_func::<Any, i32>(&mut store, "cast")?;
            assert_eq!(trap(cast.call(&mut store, tree)), Trap::CastFailure, "impostor {i}");
            // A function of one type is not a function of the other.
            let module = format!(
                r#"(module {impostor}
                    (import "maker" "leaf" (func (param i32) (result (ref $tree)))))"#
            );
            let error = message(linker.instantiate(&mut store, &Module::new(&engine, module)?));
            assert!(error.starts_with("incompatible import type for `maker::leaf`"), "{error}");
        }
        Ok(())
    })
}

/// A chain of `depth` types. Each is the supertype of the next one, and each has a sibling without
/// subtypes.
fn hierarchy(depth: usize) -> String {
    let mut wat = String::from("(type $t0 (sub (struct (field i32))))\n");
    for i in 1..depth {
        writeln!(wat, "(type $t{i} (sub $t{} (struct (field i32))))", i - 1).unwrap();
        writeln!(wat, "(type $s{i} (sub $t{} (struct (field i32) (field i64))))", i - 1).unwrap();
    }
    wat
}

/// Casts down and up a hierarchy that is deeper than the inline display. For deeper types the code
/// asks the host.
#[test]
fn hierarchies_of_depth_20() -> Result<()> {
    const DEPTH: usize = 21;
    let mut wat = format!("(module {}", hierarchy(DEPTH));
    writeln!(
        wat,
        "(func (export \"new\") (param $kind i32) (param $sibling i32) (result (ref $t0))"
    )?;
    for i in 0..DEPTH {
        writeln!(
            wat,
            "(if (i32.and (i32.eq (local.get $kind) (i32.const {i})) (i32.eqz (local.get $sibling)))
                (then (return (struct.new $t{i} (i32.const {i})))))"
        )?;
        if i > 0 {
            writeln!(
                wat,
                "(if (i32.and (i32.eq (local.get $kind) (i32.const {i})) (local.get $sibling))
                    (then (return (struct.new $s{i} (i32.const {i}) (i64.const 0)))))"
            )?;
        }
    }
    writeln!(wat, "(unreachable))")?;
    for i in 0..DEPTH {
        writeln!(
            wat,
            r#"(func (export "test {i}") (param (ref null $t0)) (result i32)
                (ref.test (ref $t{i}) (local.get 0)))
            (func (export "test null {i}") (param (ref null $t0)) (result i32)
                (ref.test (ref null $t{i}) (local.get 0)))
            (func (export "cast {i}") (param anyref) (result i32)
                (struct.get $t{i} 0 (ref.cast (ref $t{i}) (local.get 0))))
            (func (export "branch {i}") (param (ref null $t0)) (result i32)
                (block $yes (result (ref $t{i}))
                    (drop (br_on_cast $yes (ref null $t0) (ref $t{i}) (local.get 0)))
                    (return (i32.const -1)))
                (struct.get $t{i} 0))
            (func (export "branch fail {i}") (param (ref null $t0)) (result i32)
                (block $no (result (ref null $t0))
                    (return (struct.get $t{i} 0
                        (br_on_cast_fail $no (ref null $t0) (ref $t{i}) (local.get 0)))))
                (drop) (i32.const -1))"#
        )?;
    }
    wat.push(')');
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(&wat, &[])?;
        let new = instance.get_typed_func::<(i32, i32), Rooted<StructRef>>(&mut store, "new")?;
        let func = |store: &mut Store<()>, name: &str, object: Any| -> Result<i32> {
            let f = instance.get_func(&mut *store, name).context("an export")?;
            let mut result = [Val::I32(0)];
            f.call(store, &[Val::AnyRef(object)], &mut result)?;
            result[0].i32().context("an i32")
        };
        for kind in [0, 1, 6, 7, 8, 9, 15, 19, 20] {
            for sibling in 0..=i32::from(kind > 0) {
                let object = Some(new.call(&mut store, (kind, sibling))?.to_anyref());
                for i in 0..DEPTH as i32 {
                    let is = if sibling == 0 { i <= kind } else { i < kind };
                    let context = format!("kind {kind}.{sibling} as {i}");
                    for name in ["test", "test null"] {
                        let name = format!("{name} {i}");
                        assert_eq!(func(&mut store, &name, object)?, i32::from(is), "{context}");
                    }
                    for name in ["branch", "branch fail"] {
                        let name = format!("{name} {i}");
                        let expected = if is { kind } else { -1 };
                        assert_eq!(func(&mut store, &name, object)?, expected, "{context}");
                    }
                    let cast = func(&mut store, &format!("cast {i}"), object);
                    match is {
                        true => assert_eq!(cast?, kind, "{context}"),
                        false => assert_eq!(trap(cast), Trap::CastFailure, "{context}"),
                    }
                }
            }
        }
        for i in [0, 5, 20] {
            assert_eq!(func(&mut store, &format!("test {i}"), None)?, 0);
            assert_eq!(func(&mut store, &format!("test null {i}"), None)?, 1);
            assert_eq!(func(&mut store, &format!("branch {i}"), None)?, -1);
        }
        let i31 = AnyRef::from_i31(&mut store, I31::wrapping_i32(0));
        assert_eq!(trap(func(&mut store, "cast 20", Some(i31))), Trap::CastFailure);
        Ok(())
    })
}

/// Every abstract type, tested with an object of every kind.
#[test]
fn abstract_types() -> Result<()> {
    let wat = r#"(module
        (type $s (struct)) (type $a (array i8)) (type $f (func))
        (func (export "get") (param $n i32) (param $x externref) (result anyref)
            (if (i32.eq (local.get $n) (i32.const 0)) (then (return (struct.new $s))))
            (if (i32.eq (local.get $n) (i32.const 1)) (then (return (array.new_fixed $a 0))))
            (if (i32.eq (local.get $n) (i32.const 2)) (then (return (ref.i31 (i32.const 0)))))
            (if (i32.eq (local.get $n) (i32.const 3))
                (then (return (any.convert_extern (local.get $x)))))
            (ref.null none))
        (func (export "test") (param anyref) (result i32 i32 i32 i32 i32 i32)
            (ref.test (ref any) (local.get 0)) (ref.test (ref eq) (local.get 0))
            (ref.test (ref struct) (local.get 0)) (ref.test (ref array) (local.get 0))
            (ref.test (ref i31) (local.get 0)) (ref.test (ref none) (local.get 0)))
        (func (export "test null") (param anyref) (result i32 i32 i32 i32 i32 i32)
            (ref.test anyref (local.get 0)) (ref.test eqref (local.get 0))
            (ref.test structref (local.get 0)) (ref.test arrayref (local.get 0))
            (ref.test i31ref (local.get 0)) (ref.test nullref (local.get 0)))
        (func (export "cast eq") (param anyref) (drop (ref.cast (ref eq) (local.get 0))))
        (func (export "cast none") (param anyref) (drop (ref.cast nullref (local.get 0)))))"#;
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(wat, &[])?;
        type Six = (i32, i32, i32, i32, i32, i32);
        let get = instance
            .get_typed_func::<(i32, Option<Rooted<gc_wasm::ExternRef>>), Any>(&mut store, "get")?;
        let test = instance.get_typed_func::<Any, Six>(&mut store, "test")?;
        let test_null = instance.get_typed_func::<Any, Six>(&mut store, "test null")?;
        let cast_eq = instance.get_typed_func::<Any, ()>(&mut store, "cast eq")?;
        let cast_none = instance.get_typed_func::<Any, ()>(&mut store, "cast none")?;
        let host = gc_wasm::ExternRef::new(&mut store, ())?;
        for (n, expected) in
            [(1, 1, 1, 0, 0, 0), (1, 1, 0, 1, 0, 0), (1, 1, 0, 0, 1, 0), (1, 0, 0, 0, 0, 0)]
                .into_iter()
                .enumerate()
        {
            let object = get.call(&mut store, (n as i32, Some(host)))?;
            assert_eq!(test.call(&mut store, object)?, expected, "kind {n}");
            assert_eq!(test_null.call(&mut store, object)?, expected, "kind {n}");
            assert_eq!(cast_eq.call(&mut store, object).is_ok(), n < 3);
            assert_eq!(trap(cast_none.call(&mut store, object)), Trap::CastFailure);
        }
        let null = get.call(&mut store, (4, None))?;
        assert_eq!(test.call(&mut store, null)?, (0, 0, 0, 0, 0, 0));
        assert_eq!(test_null.call(&mut store, null)?, (1, 1, 1, 1, 1, 1));
        cast_none.call(&mut store, null)
    })
}

const FUNCTIONS: &str = r#"(module
    (type $f (func (param i32) (result i32)))
    (type $object (struct (field (mut (ref null $f))) (field (mut funcref))))
    (type $vtable (array (mut (ref null $f))))
    (elem $methods (ref null $f) (ref.func $double) (ref.null $f) (ref.func $square))
    (import "" "host" (func $host (type $f)))
    (elem declare func $host)
    (global $kept (mut (ref null $object)) (ref.null $object))
    (func $double (export "double") (type $f) (i32.mul (local.get 0) (i32.const 2)))
    (func $square (export "square") (type $f) (i32.mul (local.get 0) (local.get 0)))
    (func $other (export "other") (param i64))
    (func (export "in_struct") (param i32) (result i32)
        (local $o (ref null $object))
        (local.set $o (struct.new $object (ref.func $double) (ref.func $host)))
        (global.set $kept (local.get $o))
        (i32.add
            (call_ref $f (local.get 0) (struct.get $object 0 (local.get $o)))
            (call_ref $f (local.get 0)
                (ref.cast (ref $f) (struct.get $object 1 (local.get $o))))))
    (func (export "changed") (param i32 funcref) (result i32)
        (struct.set $object 1 (global.get $kept) (local.get 1))
        (call_ref $f (local.get 0)
            (ref.cast (ref null $f) (struct.get $object 1 (global.get $kept)))))
    (func (export "same") (param funcref) (result i32)
        (struct.set $object 1 (global.get $kept) (local.get 0))
        (i32.or (i32.shl (ref.is_null (struct.get $object 1 (global.get $kept))) (i32.const 1))
            (ref.test (ref $f) (struct.get $object 1 (global.get $kept)))))
    (func (export "in_array") (param $x i32) (param $n i32) (result i32)
        (local $v (ref null $vtable))
        (local.set $v (array.new_elem $vtable $methods (i32.const 0) (i32.const 3)))
        (array.set $vtable (local.get $v) (i32.const 1) (ref.func $host))
        (array.copy $vtable $vtable (local.get $v) (i32.const 0) (local.get $v) (i32.const 1)
            (i32.const 2))
        (array.fill $vtable (local.get $v) (i32.const 2) (ref.null $f) (i32.const 1))
        (array.init_elem $vtable $methods
            (local.get $v) (i32.const 2) (i32.const 0) (i32.const 1))
        (call_ref $f (local.get $x) (array.get $vtable (local.get $v) (local.get $n)))))"#;

#[test]
fn functions_in_structs_and_arrays() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let host = Func::wrap(&mut store, |mut caller: gc_wasm::Caller<'_, ()>, x: i32| {
            caller.gc(None)?;
            anyhow::Ok(x + 1000)
        });
        let module = Module::new(&engine, FUNCTIONS)?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let in_struct = instance.get_typed_func::<i32, i32>(&mut store, "in_struct")?;
        assert_eq!(in_struct.call(&mut store, 7)?, 14 + 1007);
        let changed = instance.get_typed_func::<(i32, Option<Func>), i32>(&mut store, "changed")?;
        let (double, square) = (
            instance.get_func(&mut store, "double").context("an export")?,
            instance.get_func(&mut store, "square").context("an export")?,
        );
        let other = instance.get_func(&mut store, "other").context("an export")?;
        store.gc(None)?;
        assert_eq!(changed.call(&mut store, (9, Some(square)))?, 81);
        assert_eq!(changed.call(&mut store, (9, Some(double)))?, 18);
        assert_eq!(changed.call(&mut store, (9, Some(host)))?, 1009);
        assert_eq!(trap(changed.call(&mut store, (9, Some(other)))), Trap::CastFailure);
        assert_eq!(trap(changed.call(&mut store, (9, None))), Trap::NullReference);
        let same = instance.get_typed_func::<Option<Func>, i32>(&mut store, "same")?;
        assert_eq!(same.call(&mut store, Some(double))?, 1);
        assert_eq!(same.call(&mut store, Some(other))?, 0);
        assert_eq!(same.call(&mut store, None)?, 2);
        let in_array = instance.get_typed_func::<(i32, i32), i32>(&mut store, "in_array")?;
        // [double, null, square] -> [double, host, square] -> [host, square, square]
        // -> [host, square, null] -> [host, square, double]
        assert_eq!(in_array.call(&mut store, (5, 0))?, 1005);
        assert_eq!(in_array.call(&mut store, (5, 1))?, 25);
        assert_eq!(in_array.call(&mut store, (5, 2))?, 10);
        assert_eq!(trap(in_array.call(&mut store, (5, 3))), Trap::ArrayOutOfBounds);
        Ok(())
    })
}

/// Function types with supertypes: imports, `call_indirect`, casts.
#[test]
fn subtypes_of_function_types() -> Result<()> {
    let types = r#"
        (type $base (sub (func (param i32) (result anyref))))
        (type $derived (sub $base (func (param i32) (result (ref i31)))))
        (type $twin (sub (func (param i32) (result anyref) )))"#;
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let module = Module::new(
            &engine,
            format!(
                r#"(module {types}
                    (func (export "derived") (type $derived) (ref.i31 (local.get 0)))
                    (func (export "base") (type $base) (ref.null any)))"#
            ),
        )?;
        let maker = Instance::new(&mut store, &module, &[])?;
        let derived = maker.get_export(&mut store, "derived").context("an export")?;
        let base = maker.get_export(&mut store, "base").context("an export")?;
        let user = Module::new(
            &engine,
            format!(
                r#"(module {types}
                    (import "" "" (func $f (type $base)))
                    (table $t 1 1 funcref (ref.func $f))
                    (func (export "indirect base") (param i32) (result anyref)
                        (call_indirect $t (type $base) (local.get 0) (i32.const 0)))
                    (func (export "indirect twin") (param i32) (result anyref)
                        (call_indirect $t (type $twin) (local.get 0) (i32.const 0)))
                    (func (export "indirect derived") (param i32) (result anyref)
                        (call_indirect $t (type $derived) (local.get 0) (i32.const 0)))
                    (func (export "cast") (param i32) (result anyref)
                        (call_ref $derived (local.get 0)
                            (ref.cast (ref $derived) (table.get $t (i32.const 0))))))"#
            ),
        )?;
        for (import, is_derived) in [(derived, true), (base, false)] {
            let instance = Instance::new(&mut store, &user, &[import])?;
            for name in ["indirect base", "indirect twin", "indirect derived", "cast"] {
                let f = instance.get_typed_func::<i32, Any>(&mut store, name)?;
                let result = f.call(&mut store, 5);
                match (name, is_derived) {
                    ("indirect derived", false) => assert_eq!(trap(result), Trap::BadSignature),
                    ("cast", false) => assert_eq!(trap(result), Trap::CastFailure),
                    _ => {
                        let i31 = result?.map(|any| any.as_i31(&store)).transpose()?.flatten();
                        assert_eq!(i31.map(|i| i.get_i32()), is_derived.then_some(5), "{name}");
                    }
                }
            }
        }
        // An import of the subtype does not accept the supertype.
        let picky = Module::new(
            &engine,
            format!(r#"(module {types} (import "" "" (func (type $derived))))"#),
        )?;
        Instance::new(&mut store, &picky, &[derived])?;
        assert_eq!(
            message(Instance::new(&mut store, &picky, &[base])),
            "incompatible import type for `::`: expected (func (param i32) (result (ref i31))), \
             found (func (param i32) (result anyref))"
        );
        Ok(())
    })
}

/// A struct of more than 64 KiB. Accesses to fields beyond the null page check for null explicitly.
#[test]
fn structs_larger_than_the_null_page() -> Result<()> {
    let fields = 9000;
    let mut wat = String::from("(module (type $big (struct ");
    for i in 0..fields {
        wat += match i {
            8900 => "(field (mut anyref))",
            _ => "(field (mut i64))",
        };
    }
    wat += ")) (type $other (struct (field i32)))
        (global $kept (mut (ref null $big)) (ref.null $big))
        (func (export \"new\") (result (ref $big))
            (global.set $kept (struct.new_default $big)) (ref.as_non_null (global.get $kept)))";
    for i in [0, 8100, 8191, 8192, 8193, 8999] {
        write!(
            wat,
            "(func (export \"set {i}\") (param (ref null $big)) (result i64)
                (struct.set $big {i} (local.get 0) (i64.const {i}))
                (struct.get $big {i} (local.get 0)))
            (func (export \"get {i}\") (param (ref null $big)) (result i64)
                (struct.get $big {i} (local.get 0)))"
        )?;
    }
    wat += "(func (export \"set ref\") (param (ref null $big)) (result anyref)
            (struct.set $big 8900 (local.get 0) (struct.new $other (i32.const 77)))
            (struct.get $big 8900 (local.get 0)))
        (func (export \"get ref\") (param (ref null $big)) (result anyref)
            (struct.get $big 8900 (local.get 0))))";
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(&wat, &[])?;
        let new = instance.get_typed_func::<(), Rooted<StructRef>>(&mut store, "new")?;
        let big = Some(new.call(&mut store, ())?);
        type Big = Option<Rooted<StructRef>>;
        for i in [0, 8100, 8191, 8192, 8193, 8999] {
            for name in [format!("set {i}"), format!("get {i}")] {
                let f = instance.get_typed_func::<Big, i64>(&mut store, &name)?;
                assert_eq!(f.call(&mut store, big)?, i);
                assert_eq!(trap(f.call(&mut store, None)), Trap::NullReference, "{name}");
            }
        }
        for name in ["set ref", "get ref"] {
            let f = instance.get_typed_func::<Big, Any>(&mut store, name)?;
            let got = f.call(&mut store, big)?.context("not null")?;
            let got = got.as_struct(&store)?.context("a struct")?;
            assert_eq!(got.field(&mut store, 0)?.i32(), Some(77));
            assert_eq!(trap(f.call(&mut store, None)), Trap::NullReference, "{name}");
            store.gc(None)?;
        }
        // The host reads and writes them as well.
        let big = big.context("not null")?;
        assert_eq!(big.field(&mut store, 8999)?.i64(), Some(8999));
        big.set_field(&mut store, 8999, Val::I64(-1))?;
        assert_eq!(big.field(&mut store, 8999)?.i64(), Some(-1));
        assert_eq!(big.field(&mut store, 8998)?.i64(), Some(0));
        Ok(())
    })
}

/// If a parameter accepts only some values of the Rust type, each call checks.
#[test]
fn i31s_are_given_only_where_all_are_taken() -> Result<()> {
    let setting = &Setting::all()[0];
    let (mut store, instance) = setting.instantiate(
        r#"(module
            (func (export "int") (param (ref i31)) (result i32) (i31.get_s (local.get 0)))
            (func (export "null") (param (ref null none)) (result i32)
                (ref.is_null (local.get 0)))
            (func (export "never") (param (ref none)) (result i32) (unreachable)))"#,
        &[],
    )?;
    type Nullable = Option<I31>;
    let five = I31::wrapping_i32(5);
    let int = instance.get_typed_func::<I31, i32>(&mut store, "int")?;
    assert_eq!(int.call(&mut store, five)?, 5);
    // Only for concrete types each call checks the argument.
    let refused = message(instance.get_typed_func::<Nullable, i32>(&mut store, "int"));
    assert!(refused.ends_with("type mismatch: expected (ref i31), found i31ref"), "{refused}");
    let refused = message(instance.get_typed_func::<Nullable, i32>(&mut store, "null"));
    assert!(refused.ends_with("type mismatch: expected nullref, found i31ref"), "{refused}");
    let refused = message(instance.get_typed_func::<I31, i32>(&mut store, "never"));
    assert!(refused.ends_with("type mismatch: expected (ref none), found (ref i31)"), "{refused}");
    let null = instance.get_typed_func::<Option<NoneRef>, i32>(&mut store, "null")?;
    assert_eq!(null.call(&mut store, None)?, 1);
    // The same values in calls that are not typed.
    let i31 = Val::from(AnyRef::from_i31(&mut store, five));
    for (name, value, expected) in [
        ("int", Val::AnyRef(None), "expected (ref i31), found a null internal reference"),
        ("null", i31, "expected nullref, found an internal reference to i31"),
        ("never", i31, "expected (ref none), found an internal reference to i31"),
    ] {
        let func = instance.get_func(&mut store, name).context("an export")?;
        assert_eq!(
            message(func.call(&mut store, &[value], &mut [Val::I32(0)])),
            format!("argument type mismatch: argument 0: type mismatch: {expected}")
        );
    }
    Ok(())
}

/// Errors show types, but only up to a readable length.
#[test]
fn of_a_large_type_the_beginning_is_shown() -> Result<()> {
    let (fields, params) = ("(field (ref null $s)) ".repeat(1000), "(ref $s) ".repeat(1000));
    let setting = &Setting::all()[0];
    let module = Module::new(
        &setting.engine()?,
        format!(r#"(module (type $s (struct {fields})) (import "a" "b" (func (param {params}))))"#),
    )?;
    let mut store = Store::new(module.engine(), ());
    let imported = module.imports().next().context("an import")?.ty().to_string();
    assert!(imported.starts_with("(func (param (ref (struct (field (ref null struct))"));
    assert!(imported.ends_with('…') && imported.chars().count() == 513, "{imported}");
    let func = Func::wrap(&mut store, || {});
    assert!(message(Instance::new(&mut store, &module, &[func.into()])).len() < 1000);
    Ok(())
}
