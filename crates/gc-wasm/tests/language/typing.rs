//! Deep hierarchies of types, large types, and the types of calls from the host. `tests/scripts/typing.wast` has
//! the rest.

use crate::common::{Setting, everywhere, message, trap};
use anyhow::{Context, Result};
use gc_wasm::{AnyRef, Func, I31, Instance, Module, NoneRef, Rooted, Store, StructRef, Trap, Val};
use std::fmt::Write;

type Any = Option<Rooted<AnyRef>>;

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
