//! The limit for the elements of all tables of a store, and their memory.

mod common;

use anyhow::Result;
use common::{Setting, each_collector, message};
use gc_wasm::{Engine, HeapType, Instance, Module, Ref, RefType, Store, Table, TableType};

#[test]
fn the_tables_of_a_store_share_a_limit() -> Result<()> {
    each_collector(tables_share_a_limit)
}

fn tables_share_a_limit(setting: &Setting) -> Result<()> {
    let engine = Engine::new(setting.config().table_elements_maximum(100))?;
    let mut store = Store::new(&engine, ());
    let module = Module::new(
        &engine,
        r#"(module
            (table $funcs 40 funcref) (table $refs 10 externref)
            (elem i31ref (ref.i31 (i32.const 1)) (ref.i31 (i32.const 2)))
            (elem (table $more) (i32.const 0) i31ref (ref.i31 (i32.const 1)))
            (table $more 8 i31ref)
            (func (export "funcs") (param i32) (result i32)
                (table.grow $funcs (ref.null func) (local.get 0)))
            (func (export "refs") (param i32) (result i32)
                (table.grow $refs (ref.null extern) (local.get 0)))
            (func (export "drop") (elem.drop 0)))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let funcs = instance.get_typed_func::<i32, i32>(&mut store, "funcs")?;
    let refs = instance.get_typed_func::<i32, i32>(&mut store, "refs")?;
    // 58 in tables, two in the segment that was not dropped.
    assert_eq!(refs.call(&mut store, 41)?, -1);
    assert_eq!(refs.call(&mut store, 20)?, 10);
    assert_eq!(funcs.call(&mut store, 20)?, 40);
    assert_eq!(funcs.call(&mut store, 1)?, -1);
    instance.get_typed_func::<(), ()>(&mut store, "drop")?.call(&mut store, ())?;
    assert_eq!(refs.call(&mut store, 3)?, -1);
    assert_eq!(refs.call(&mut store, 2)?, 30);
    // A failure says why, and uses none of the limit.
    let why = ": those of a store may have 100 in all (`table_elements_maximum`), and 0 are left";
    let again = message(Instance::new(&mut store, &module, &[]));
    assert_eq!(again, format!("table 0 `funcs` cannot have 40 elements{why}"));
    let ty = |min| TableType::new(RefType::new(true, HeapType::Extern), min, None);
    let table = Table::new(&mut store, ty(0), Ref::Extern(None))?;
    let grown = message(table.grow(&mut store, 1, Ref::Extern(None)));
    let expected = "failed to grow table by `1`: a table of 0 elements cannot grow by 1";
    assert_eq!(grown, format!("{expected}{why}"));
    let made = message(Table::new(&mut store, ty(5), Ref::Extern(None)));
    assert_eq!(made, format!("a table cannot have 5 elements{why}"));
    // Each store has its own limit.
    Instance::new(Store::new(&engine, ()), &module, &[])?;
    Ok(())
}

/// Bytes of memory that this process uses.
#[cfg(target_os = "linux")]
fn resident() -> Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}

/// Null elements take no memory, in tables that are made large and in tables that grow. Otherwise a
/// module of a few bytes could make the host use hundreds of megabytes.
#[test]
#[cfg(target_os = "linux")]
fn null_elements_cost_nothing() -> Result<()> {
    each_collector(nulls_cost_nothing)
}

#[cfg(target_os = "linux")]
fn nulls_cost_nothing(setting: &Setting) -> Result<()> {
    // Six tables of 10 million elements, together 360 MB.
    let engine = Engine::new(setting.config().table_elements_maximum(60_000_000))?;
    let module = Module::new(
        &engine,
        r#"(module
            (table $f0 10000000 funcref) (table $r0 10000000 anyref)
            (table $f1 1 funcref) (table $r1 1 anyref)
            (table $f2 6000000 funcref) (table $r2 6000000 externref)
            (func (export "grow") (param i32) (result i32 i32)
                (table.grow $f1 (ref.null func) (local.get 0))
                (table.grow $r1 (ref.null any) (local.get 0)))
            (func (export "more") (result i32 i32)
                (table.grow $f2 (ref.null func) (i32.const 4000000))
                (table.grow $r2 (ref.null extern) (i32.const 4000000)))
            (func (export "set") (param i32)
                (table.set $r0 (local.get 0) (ref.i31 (local.get 0)))
                (table.set $r1 (local.get 0) (ref.i31 (local.get 0))))
            (func (export "get") (param i32) (result i32 i32)
                (i31.get_u (ref.cast i31ref (table.get $r0 (local.get 0))))
                (i31.get_u (ref.cast i31ref (table.get $r1 (local.get 0)))))
            (func (export "nulls") (param i32) (result i32)
                (ref.is_null (table.get $f0 (local.get 0)))
                (ref.is_null (table.get $r0 (local.get 0)))
                (ref.is_null (table.get $f1 (local.get 0)))
                (ref.is_null (table.get $r1 (local.get 0)))
                (ref.is_null (table.get $f2 (local.get 0)))
                (ref.is_null (table.get $r2 (local.get 0)))
                i32.add i32.add i32.add i32.add i32.add))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let before = resident()?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, (i32, i32)>(&mut store, "grow")?;
    let set = instance.get_typed_func::<i32, ()>(&mut store, "set")?;
    let get = instance.get_typed_func::<i32, (i32, i32)>(&mut store, "get")?;
    let nulls = instance.get_typed_func::<i32, i32>(&mut store, "nulls")?;
    // Growth by a little, by much, and by less than the current size.
    let mut size = 1;
    for step in [1, 2, 3000, 20_000, 2_000_000, 1_000_000, 1, 3_000_000, 3_976_995] {
        assert_eq!(grow.call(&mut store, step)?, (size, size));
        size += step;
        set.call(&mut store, size - 1)?;
    }
    assert_eq!(size, 10_000_000);
    let more = instance.get_typed_func::<(), (i32, i32)>(&mut store, "more")?;
    assert_eq!(more.call(&mut store, ())?, (6_000_000, 6_000_000));
    store.gc(None)?;
    let used = resident()?.saturating_sub(before);
    assert!(used < 16 << 20, "null elements take {used} bytes");

    // Elements written during growth are still there, and all others are null.
    let mut last = 0;
    for step in [1, 2, 3000, 20_000, 2_000_000, 1_000_000, 1, 3_000_000, 3_976_995] {
        last += step;
        assert_eq!(get.call(&mut store, last)?, (last, last));
        assert!(nulls.call(&mut store, last - 1)? >= 4);
    }
    for index in [0, 5, 4_999_999, 9_999_998] {
        assert_eq!(nulls.call(&mut store, index)?, 6, "element {index}");
    }
    Ok(())
}

/// A table that cannot have its elements says which limit refuses them.
#[test]
fn the_largest_table_is_named() -> Result<()> {
    let engine = Engine::new(&gc_wasm::Config::new())?;
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, "(module (table $big 50000000 anyref))")?;
    let limit = "a table of 50000000 elements exceeds the limit of 10000000 elements";
    let why = format!("50000000 elements: {limit}");
    let instance = message(Instance::new(&mut store, &module, &[]));
    assert_eq!(instance, format!("table 0 `big` cannot have {why}"));
    let ty = TableType::new(RefType::new(true, HeapType::Extern), 50_000_000, None);
    let made = message(Table::new(&mut store, ty, Ref::Extern(None)));
    assert_eq!(made, format!("a table cannot have {why}"));
    let ty = TableType::new(RefType::new(true, HeapType::Extern), 1, Some(50_000_000));
    let table = Table::new(&mut store, ty, Ref::Extern(None))?;
    let grown = message(table.grow(&mut store, 49_999_999, Ref::Extern(None)));
    assert!(grown.ends_with(&format!("cannot grow by 49999999: {limit}")), "{grown}");
    Ok(())
}
