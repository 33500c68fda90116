//! Host values behind externrefs. Each is dropped exactly once, when nothing refers to it any more
//! or with its store. Also the view of externrefs from both sides.

use crate::common::{Counted, Drops, each_collector, everywhere, new_array, new_struct, trap};
use anyhow::{Context, Result};
use gc_wasm::{
    AnyRef, ArrayType, Caller, ExternRef, FieldType, Global, GlobalType, HeapType, I31, Instance,
    Linker, Module, Mutability, OwnedRooted, Ref, RefType, RootScope, Rooted, StorageType, Store,
    StructType, Table, TableType, Trap, Val, ValType,
};

fn counted(store: &mut Store<()>, drops: &Drops) -> Result<Rooted<ExternRef>> {
    ExternRef::new(store, drops.value())
}

fn var(ty: ValType) -> FieldType {
    FieldType::new(Mutability::Var, StorageType::ValType(ty))
}

const HOLDER: &str = r#"(module
    (type $struct (struct (field (mut externref)) (field (mut externref))))
    (type $array (array (mut externref)))
    (import "" "value" (global $value externref))
    (table (export "table") 4 externref)
    (table (export "init") 3 externref (global.get $value))
    (global (export "global") (mut externref) (ref.null extern))
    (global $struct (mut (ref null $struct)) (ref.null $struct))
    (global $array (mut (ref null $array)) (ref.null $array))
    (elem $passive externref (global.get $value) (global.get $value) (ref.null extern))
    (elem $kept externref (global.get $value))
    (func (export "table.set") (param externref) (table.set 0 (i32.const 1) (local.get 0)))
    (func (export "table.fill") (param externref)
        (table.fill 0 (i32.const 0) (local.get 0) (i32.const 3)))
    (func (export "table.grow") (param externref)
        (drop (table.grow 0 (local.get 0) (i32.const 5))))
    (func (export "global.set") (param externref) (global.set 1 (local.get 0)))
    (func (export "struct.new") (param externref)
        (global.set $struct (struct.new $struct (local.get 0) (local.get 0))))
    (func (export "struct.set") (param externref)
        (struct.set $struct 1 (global.get $struct) (local.get 0)))
    (func (export "array.new") (param externref)
        (global.set $array (array.new $array (local.get 0) (i32.const 10))))
    (func (export "array.set") (param externref)
        (array.set $array (global.get $array) (i32.const 3) (local.get 0)))
    (func (export "array.fill") (param externref)
        (array.fill $array (global.get $array) (i32.const 0) (local.get 0) (i32.const 9)))
    (func (export "array.init_elem") (param externref)
        (array.init_elem $array $passive (global.get $array)
            (i32.const 1) (i32.const 0) (i32.const 3)))
    (func (export "array.new_elem") (param externref)
        (global.set $array (array.new_elem $array $passive (i32.const 0) (i32.const 2))))
    (func (export "array.copy") (param externref)
        (array.copy $array $array (global.get $array) (i32.const 0) (global.get $array) (i32.const 1)
            (i32.const 1)))
    (func (export "table.init") (param externref)
        (table.init 0 $passive (i32.const 0) (i32.const 1) (i32.const 2)))
    (func (export "elem.drop") (param externref) (elem.drop $passive))
    (func (export "table.copy") (param externref)
        (table.copy 0 0 (i32.const 0) (i32.const 1) (i32.const 3)))
    (func (export "drop") (param externref)))"#;

/// Each place that can hold a value gets one. Then half of the places are overwritten, and at the
/// end the store is dropped.
#[test]
fn every_host_value_is_dropped_exactly_once() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, HOLDER)?;

        let mut outer = RootScope::new(&mut store);
        let value = ExternRef::new(&mut outer, drops.value())?;
        let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Const);
        let global = Global::new(&mut outer, ty, value.into())?;
        let instance = Instance::new(&mut outer, &module, &[global.into()])?;
        drop(outer);

        let calls: Vec<String> = instance
            .exports(&mut store)
            .filter(|export| export.clone().into_func().is_some())
            .map(|export| export.name().to_owned())
            .collect();
        for round in 0..3 {
            for name in &calls {
                let mut scope = RootScope::new(&mut store);
                let value = ExternRef::new(&mut scope, drops.value())?;
                let func =
                    instance.get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut scope, name)?;
                let result = func.call(&mut scope, Some(value));
                // The segment is dropped in the first round.
                if round == 0
                    || !["array.init_elem", "array.new_elem", "table.init"].contains(&&name[..])
                {
                    result.with_context(|| format!("{name}, round {round}"))?;
                } else {
                    assert_eq!(trap(result), Trap::TableOutOfBounds);
                }
                drop(scope);
                if round == 1 {
                    store.gc(None)?;
                }
            }
        }
        if setting.reclaims() {
            store.gc(None)?;
            assert!(drops.count() > drops.made() / 2, "{} of {}", drops.count(), drops.made());
        } else {
            assert_eq!(drops.count(), 0);
        }

        // A value that the host holds, and a few without a holder.
        let kept = counted(&mut store, &drops)?;
        let owned: OwnedRooted<ExternRef> =
            counted(&mut store, &drops)?.to_owned_rooted(&mut store)?;
        let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Var);
        let value = counted(&mut store, &drops)?;
        Global::new(&mut store, ty, value.into())?;
        let ty = TableType::new(RefType::new(true, HeapType::Extern), 5, None);
        let value = counted(&mut store, &drops)?;
        let table = Table::new(&mut store, ty, value.into())?;
        let value = counted(&mut store, &drops)?;
        table.grow(&mut store, 3, value.into())?;
        let ty = StructType::new(&engine, [var(ValType::EXTERNREF)])?;
        let value = counted(&mut store, &drops)?;
        new_struct(&mut store, &ty, &[value.into()])?;
        let ty = ArrayType::new(&engine, var(ValType::EXTERNREF));
        let value = counted(&mut store, &drops)?;
        new_array(&mut store, &ty, &value.into(), 7)?;

        let before = drops.count();
        assert!(kept.data(&store)?.is_some_and(|data| data.is::<Counted>()));
        store.gc(None)?;
        assert_eq!(drops.count(), before, "something held was dropped");
        drop(store);
        assert_eq!(drops.count(), drops.made());
        drop(owned);
        assert_eq!(drops.count(), drops.made());
        Ok(())
    })
}

/// Values die when their last holder releases them. The holder may be the host or compiled code.
#[test]
fn overwriting_the_last_reference_drops_the_value() -> Result<()> {
    everywhere(|setting| {
        if !setting.reclaims() {
            return Ok(());
        }
        let engine = setting.engine()?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, ());
        let any = TableType::new(RefType::new(true, HeapType::Extern), 2, None);
        let table = Table::new(&mut store, any, Ref::Extern(None))?;
        let ty = GlobalType::new(ValType::EXTERNREF, Mutability::Var);
        let global = Global::new(&mut store, ty, Val::ExternRef(None))?;
        let holder = StructType::new(&engine, [var(ValType::EXTERNREF)])?;
        let holder = new_struct(&mut store, &holder, &[Val::ExternRef(None)])?;

        let mut scope = RootScope::new(&mut store);
        let value = ExternRef::new(&mut scope, drops.value())?;
        table.set(&mut scope, 0, value.into())?;
        table.set(&mut scope, 1, value.into())?;
        global.set(&mut scope, value.into())?;
        holder.set_field(&mut scope, 0, value.into())?;
        let owned = value.to_owned_rooted(&mut scope)?;
        drop(scope);

        table.set(&mut store, 0, Ref::Extern(None))?;
        table.set(&mut store, 1, Ref::Extern(None))?;
        global.set(&mut store, Val::ExternRef(None))?;
        holder.set_field(&mut store, 0, Val::ExternRef(None))?;
        store.gc(None)?;
        assert_eq!(drops.count(), 0, "it still has an owner");
        let twin = owned.clone();
        drop(owned);
        store.gc(None)?;
        assert_eq!(drops.count(), 0, "its owner had a twin");
        drop(twin);
        store.gc(None)?;
        assert_eq!(drops.count(), 1);
        Ok(())
    })
}

/// A collection that the host asks for also frees cycles, under any collector that frees anything.
/// So `drc` looks for cycles then, because counts do not find them.
#[test]
fn a_cycle_dies_as_a_line_does() -> Result<()> {
    everywhere(|setting| {
        let drops = Drops::default();
        let (mut store, instance) = setting.instantiate(
            r#"(module
                (type $node (struct (field (mut (ref null $node))) (field externref)))
                (func (export "cycle") (param externref)
                    (local $a (ref null $node)) (local $b (ref null $node))
                    (local.set $a (struct.new $node (ref.null $node) (local.get 0)))
                    (local.set $b (struct.new $node (local.get $a) (ref.null extern)))
                    (struct.set $node 0 (local.get $a) (local.get $b)))
                (func (export "line") (param externref)
                    (drop (struct.new $node
                        (struct.new $node (ref.null $node) (ref.null extern)) (local.get 0)))))"#,
            &[],
        )?;
        for name in ["cycle", "line"] {
            let mut scope = RootScope::new(&mut store);
            let value = ExternRef::new(&mut scope, drops.value())?;
            let func =
                instance.get_typed_func::<Option<Rooted<ExternRef>>, ()>(&mut scope, name)?;
            func.call(&mut scope, Some(value))?;
        }
        for _ in 0..3 {
            store.gc(None)?;
        }
        let dropped = usize::from(setting.reclaims());
        assert_eq!((drops.of(0), drops.of(1)), (dropped, dropped));
        if setting.reclaims() {
            assert_eq!(store.gc_stats().live_objects, 0);
        }
        drop(store);
        assert_eq!((drops.of(0), drops.of(1)), (1, 1));
        Ok(())
    })
}

/// Garbage whose memory is mostly outside the heap is collected too.
#[test]
fn many_host_values_do_not_pile_up() -> Result<()> {
    each_collector(|setting| {
        if !setting.reclaims() {
            return Ok(());
        }
        let drops = std::sync::Arc::new(());
        let mut store = Store::new(&setting.engine()?, ());
        let mut most = 0;
        for _ in 0..100_000 {
            let mut scope = RootScope::new(&mut store);
            ExternRef::new(&mut scope, drops.clone())?;
            most = most.max(std::sync::Arc::strong_count(&drops));
        }
        assert!(most < 50_000, "{most} values at once");
        drop(store);
        assert_eq!(std::sync::Arc::strong_count(&drops), 1);
        Ok(())
    })
}

#[test]
fn the_host_gets_its_values_back() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(
            r#"(module
                (func (export "id") (param externref) (result externref) (local.get 0))
                (func (export "null") (result externref) (ref.null extern)))"#,
            &[],
        )?;
        type E = Option<Rooted<ExternRef>>;
        let id = instance.get_typed_func::<E, E>(&mut store, "id")?;
        let text = ExternRef::new(&mut store, String::from("text"))?;
        let number = ExternRef::new(&mut store, 42_u64)?;
        let text = id.call(&mut store, Some(text))?.context("not null")?;
        let number = id.call(&mut store, Some(number))?.context("not null")?;
        store.gc(None)?;
        let data = text.data(&store)?.context("a host value")?;
        assert_eq!(data.downcast_ref::<String>().context("a string")?, "text");
        assert!(data.downcast_ref::<u64>().is_none());
        let data = number.data(&store)?.context("a host value")?;
        assert_eq!(data.downcast_ref::<u64>(), Some(&42));
        assert!(id.call(&mut store, None)?.is_none());
        assert!(
            instance.get_typed_func::<(), E>(&mut store, "null")?.call(&mut store, ())?.is_none()
        );
        assert!(!Rooted::ref_eq(&store, &text, &number)?);
        let again = id.call(&mut store, Some(text))?.context("not null")?;
        assert!(Rooted::ref_eq(&store, &text, &again)?);
        Ok(())
    })
}

#[test]
fn conversions_between_extern_and_any_keep_identity() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(
            r#"(module
                (type $s (struct (field i32)))
                (func (export "to_extern") (param anyref) (result externref)
                    (extern.convert_any (local.get 0)))
                (func (export "to_any") (param externref) (result anyref)
                    (any.convert_extern (local.get 0)))
                (func (export "new") (param i32) (result anyref) (struct.new $s (local.get 0)))
                (func (export "is_eq") (param anyref) (result i32)
                    (ref.test eqref (local.get 0)))
                (func (export "is_struct") (param anyref) (result i32)
                    (ref.test (ref $s) (local.get 0)))
                (func (export "is_i31") (param anyref) (result i32)
                    (ref.test (ref i31) (local.get 0)))
                (func (export "same") (param externref externref) (result i32)
                    (ref.eq (ref.cast eqref (any.convert_extern (local.get 0)))
                            (ref.cast eqref (any.convert_extern (local.get 1))))))"#,
            &[],
        )?;
        type E = Option<Rooted<ExternRef>>;
        type A = Option<Rooted<AnyRef>>;
        let to_extern = instance.get_typed_func::<A, E>(&mut store, "to_extern")?;
        let to_any = instance.get_typed_func::<E, A>(&mut store, "to_any")?;
        let new = instance.get_typed_func::<i32, A>(&mut store, "new")?;
        let same = instance.get_typed_func::<(E, E), i32>(&mut store, "same")?;
        let mut tests = Vec::new();
        for name in ["is_eq", "is_struct", "is_i31"] {
            tests.push(instance.get_typed_func::<A, i32>(&mut store, name)?);
        }
        let kinds = |store: &mut Store<()>, any: A| -> Result<Vec<i32>> {
            tests.iter().map(|test| test.call(&mut *store, any)).collect()
        };

        // A host value made internal is only an `any`, and can be converted back.
        let host = ExternRef::new(&mut store, 7_u8)?;
        let inside = to_any.call(&mut store, Some(host))?;
        assert_eq!(kinds(&mut store, inside)?, [0, 0, 0]);
        let inside = inside.context("not null")?;
        assert_eq!(inside.ty(&store)?, HeapType::Any);
        assert!(inside.as_eqref(&store)?.is_none());
        assert!(inside.as_struct(&store)?.is_none() && inside.as_i31(&store)?.is_none());
        let back = to_extern.call(&mut store, Some(inside))?.context("not null")?;
        assert!(Rooted::ref_eq(&store, &host, &back)?);
        assert_eq!(back.data(&store)?.context("data")?.downcast_ref(), Some(&7_u8));
        let by_host = AnyRef::convert_extern(&mut store, host)?;
        assert!(Rooted::ref_eq(&store, &by_host, &inside)?);

        // A struct made external has no host value.
        let object = new.call(&mut store, 5)?;
        let outside = to_extern.call(&mut store, object)?.context("not null")?;
        assert!(outside.data(&store)?.is_none());
        let back = to_any.call(&mut store, Some(outside))?;
        assert_eq!(kinds(&mut store, back)?, [1, 1, 0]);
        assert!(Rooted::ref_eq(&store, &object.unwrap(), &back.unwrap())?);
        let by_host = ExternRef::convert_any(&mut store, object.unwrap())?;
        assert_eq!(same.call(&mut store, (Some(outside), Some(by_host)))?, 1);
        let other = new.call(&mut store, 5)?;
        let other = to_extern.call(&mut store, other)?;
        assert_eq!(same.call(&mut store, (Some(outside), other))?, 0);

        // An unboxed integer has none either.
        for value in [0, 1, -1, 0x3fff_ffff, -0x4000_0000] {
            let int = AnyRef::from_i31(&mut store, I31::wrapping_i32(value));
            let outside = to_extern.call(&mut store, Some(int))?.context("not null")?;
            assert!(outside.data(&store)?.is_none());
            let back = to_any.call(&mut store, Some(outside))?;
            assert_eq!(kinds(&mut store, back)?, [1, 0, 1]);
            assert_eq!(back.unwrap().as_i31(&store)?, Some(I31::wrapping_i32(value)));
            let again = to_extern.call(&mut store, back)?;
            assert_eq!(same.call(&mut store, (Some(outside), again))?, 1);
        }

        assert!(to_any.call(&mut store, None)?.is_none());
        assert!(to_extern.call(&mut store, None)?.is_none());
        assert_eq!(same.call(&mut store, (None, None))?, 1);
        Ok(())
    })
}

/// A host function makes values and another one takes them. Compiled code calls both in a loop and
/// keeps every seventh value.
#[test]
fn values_made_by_host_functions() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(
            &engine,
            r#"(module
                (import "" "make" (func $make (param i32) (result externref)))
                (import "" "number" (func $number (param externref) (result i32)))
                (table $kept 0 externref)
                (func (export "f") (param $n i32) (result i32)
                    (local $i i32) (local $sum i32) (local $value externref)
                    (loop $again
                        (local.set $value (call $make (local.get $i)))
                        (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 7)))
                            (then (drop (table.grow $kept (local.get $value) (i32.const 1)))))
                        (local.set $sum
                            (i32.add (local.get $sum) (call $number (local.get $value))))
                        (local.set $i (i32.add (local.get $i) (i32.const 1)))
                        (br_if $again (i32.lt_u (local.get $i) (local.get $n))))
                    (local.set $i (table.size $kept))
                    (loop $again
                        (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                        (local.set $sum (i32.sub (local.get $sum)
                            (call $number (table.get $kept (local.get $i)))))
                        (br_if $again (local.get $i)))
                    (local.get $sum)))"#,
        )?;
        let mut linker: Linker<Drops> = Linker::new(&engine);
        linker.func_wrap("", "make", |mut caller: Caller<'_, Drops>, number: i32| {
            let value = caller.data().value();
            anyhow::ensure!(value.number == number as usize);
            Ok(Some(ExternRef::new(&mut caller, value)?))
        })?;
        linker.func_wrap(
            "",
            "number",
            |caller: Caller<'_, Drops>, value: Option<Rooted<ExternRef>>| -> Result<i32> {
                let data = value.context("not null")?.data(&caller)?.context("a host value")?;
                Ok(data.downcast_ref::<Counted>().context("a counted value")?.number as i32)
            },
        )?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, drops.clone());
        let instance = linker.instantiate(&mut store, &module)?;
        let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
        let n = 700;
        let kept: i32 = (0..n).step_by(7).sum();
        assert_eq!(f.call(&mut store, n)?, n * (n - 1) / 2 - kept);
        store.gc(None)?;
        assert_eq!(drops.count(), if setting.reclaims() { 600 } else { 0 });
        drop(store);
        assert_eq!(drops.count(), 700);
        Ok(())
    })
}
