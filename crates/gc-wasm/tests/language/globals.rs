//! Globals and tables that hold objects. They are initialised by constant expressions, and written by both
//! sides.

use crate::common::{everywhere, message};
use anyhow::{Context, Result};
use gc_wasm::{
    AnyRef, Extern, Global, GlobalType, HeapType, I31, Instance, Module, Mutability, RefType,
    Store, Val, ValType,
};

/// Initial values with objects of every kind that a constant expression can make.
#[test]
fn global_initialisers_make_objects() -> Result<()> {
    let wat = r#"(module
        (rec
            (type $s (struct (field i32) (field (ref null $a)) (field (mut externref))))
            (type $a (array (mut (ref null $s)))))
        (type $bytes (array i8))
        (import "" "host" (global $host externref))
        (global $i31 i31ref (ref.i31 (i32.const -5)))
        (global $default (ref $s) (struct.new_default $s))
        (global $array (ref $a) (array.new $a (global.get $default) (i32.const 3)))
        (global $empty (ref $a) (array.new_default $a (i32.const 2)))
        (global $s (ref $s) (struct.new $s
            (i32.add (i32.mul (i32.const 6) (i32.const 7)) (i32.const -2))
            (array.new_fixed $a 2 (global.get $default) (ref.null $s))
            (global.get $host)))
        (global $bytes (ref $bytes) (array.new_fixed $bytes 3
            (i32.const 1) (i32.const 0x102) (i32.const 3)))
        (global $extern externref (extern.convert_any (global.get $s)))
        (global $any anyref (any.convert_extern (global.get $host)))
        (table $t 3 (ref null $s)
            (struct.new $s (i32.const 40) (ref.null $a) (global.get $host)))
        (table $init 1 5 (ref $s) (struct.new $s (i32.const 8) (ref.null $a) (ref.null extern)))
        (elem (table $t) (i32.const 1) (ref null $s)
            (struct.new $s (i32.const 9) (ref.null $a) (ref.null extern)))
        (func (export "f") (result i32)
            (if (i32.ne (i31.get_s (global.get $i31)) (i32.const -5)) (then (unreachable)))
            (if (i32.eqz (ref.eq (array.get $a (global.get $array) (i32.const 2))
                    (global.get $default))) (then (unreachable)))
            (if (i32.eqz (ref.is_null (array.get $a (global.get $empty) (i32.const 1))))
                (then (unreachable)))
            (if (i32.eqz (ref.eq (array.get $a (struct.get $s 1 (global.get $s)) (i32.const 0))
                    (global.get $default))) (then (unreachable)))
            (if (i32.ne (array.get_u $bytes (global.get $bytes) (i32.const 1)) (i32.const 2))
                (then (unreachable)))
            (if (i32.eqz (ref.eq (global.get $s)
                    (ref.cast eqref (any.convert_extern (global.get $extern)))))
                (then (unreachable)))
            (if (ref.is_null (struct.get $s 2 (global.get $s))) (then (unreachable)))
            (if (ref.test eqref (global.get $any)) (then (unreachable)))
            (i32.add (struct.get $s 0 (table.get $t (i32.const 0)))
                (i32.add (i32.mul (i32.const 100)
                        (struct.get $s 0 (table.get $t (i32.const 1))))
                    (i32.mul (i32.const 10000)
                        (struct.get $s 0 (table.get $init (i32.const 0))))))))"#;
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let value = gc_wasm::ExternRef::new(&mut store, "host")?;
        let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Const);
        let host = Global::new(&mut store, ty, value.into())?;
        let module = Module::new(&engine, wat)?;
        // Twice, because each instance has its own objects.
        let instances = [
            Instance::new(&mut store, &module, &[host.into()])?,
            Instance::new(&mut store, &module, &[host.into()])?,
        ];
        store.gc(None)?;
        for instance in instances {
            let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
            assert_eq!(f.call(&mut store, ())?, 80_940);
            assert_eq!(f.call(&mut store, ())?, 80_940);
        }
        Ok(())
    })
}

/// Host globals of reference types, written by both sides.
#[test]
fn globals_of_reference_types() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let global = |store: &mut Store<()>, ty, value| {
            Global::new(store, GlobalType::new(ty, Mutability::Var), value)
        };
        let any = global(&mut store, ValType::ANYREF, Val::AnyRef(None))?;
        let func = global(&mut store, ValType::FUNCREF, Val::FuncRef(None))?;
        let i31 = I31::wrapping_i32(3);
        let i31 = Val::from(AnyRef::from_i31(&mut store, i31));
        let ty = ValType::Ref(RefType::new(false, HeapType::I31));
        let i31 = global(&mut store, ty, i31)?;
        let module = Module::new(
            &engine,
            r#"(module (type $s (struct (field i32)))
                (import "" "any" (global $any (mut anyref)))
                (import "" "func" (global $func (mut funcref)))
                (import "" "i31" (global $i31 (mut (ref i31))))
                (export "any" (global $any))
                (func $f (export "f") (result i32)
                    (global.set $any (struct.new $s (i31.get_s (global.get $i31))))
                    (global.set $func (ref.func $f))
                    (global.set $i31 (ref.i31 (i32.const 4)))
                    (i32.const 1)))"#,
        )?;
        let imports: [Extern; 3] = [any.into(), func.into(), i31.into()];
        let instance = Instance::new(&mut store, &module, &imports)?;
        let f = instance.get_func(&mut store, "f").context("an export")?;
        f.call(&mut store, &[], &mut [Val::I32(0)])?;
        store.gc(None)?;
        let object = any.get(&mut store).anyref().flatten().copied().context("an object")?;
        let object = object.as_struct(&store)?.context("a struct")?;
        assert_eq!(object.field(&mut store, 0)?.i32(), Some(3));
        assert_eq!(func.get(&mut store).funcref(), Some(Some(&f)));
        let got = i31.get(&mut store).anyref().flatten().copied().context("not null")?;
        assert_eq!(got.as_i31(&store)?, Some(I31::wrapping_i32(4)));
        assert_eq!(
            message(i31.set(&mut store, object.to_anyref().into())),
            "type mismatch: attempt to set global to value of wrong type: type mismatch: \
             expected (ref i31), found an internal reference to (struct (field i32))"
        );
        let same = instance.get_global(&mut store, "any").context("an export")?;
        same.set(&mut store, Val::AnyRef(None))?;
        assert!(any.get(&mut store).anyref().context("a reference")?.is_none());
        Ok(())
    })
}

/// Constants get their values one after the other, with collections in between. They keep the
/// values through collections that scan only the writes since the last one.
#[test]
fn constants_are_roots_from_their_initialisation_on() -> Result<()> {
    const COUNT: i32 = 200;
    let ty = "(type $cell (struct (field i32) (field (ref null $cell))))";
    let cell = |n: i32| format!("(struct.new $cell (i32.const {n}) (ref.null $cell))");
    let mut text = format!("(module {ty} (import \"\" \"host\" (global $host (ref $cell)))");
    let mut sum = "(struct.get $cell 0 (global.get $host))".to_owned();
    for n in 0..COUNT {
        text += &format!("(global $g{n} (ref $cell) {})", cell(n));
        sum = format!("(i32.add (struct.get $cell 0 (global.get $g{n})) {sum})");
    }
    text += &format!(
        r#"(func (export "sum") (result i32) {sum})
        (func (export "churn") (param $n i32)
            (loop $again
                (drop {})
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $again (local.get $n)))))"#,
        cell(1000),
    );
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let maker =
            format!("(module {ty} (func (export \"cell\") (result (ref $cell)) {}))", cell(7));
        let maker = Instance::new(&mut store, &Module::new(&engine, maker)?, &[])?;
        let module = Module::new(&engine, &text)?;
        let churned = if setting.zeal { 200 } else { 200_000 };
        let mut instances = Vec::new();
        for _ in 0..3 {
            let cell = maker.get_func(&mut store, "cell").context("cell")?;
            let ty = cell.ty(&store).results().next().context("a result")?;
            let mut results = [Val::AnyRef(None)];
            cell.call(&mut store, &[], &mut results)?;
            let [value] = results;
            let host = Global::new(&mut store, GlobalType::new(ty, Mutability::Const), value)?;
            instances.push(Instance::new(&mut store, &module, &[host.into()])?);
            for instance in &instances {
                let churn = instance.get_typed_func::<i32, ()>(&mut store, "churn")?;
                churn.call(&mut store, churned)?;
                let sum = instance.get_typed_func::<(), i32>(&mut store, "sum")?;
                assert_eq!(sum.call(&mut store, ())?, COUNT * (COUNT - 1) / 2 + 7);
            }
        }
        Ok(())
    })
}
