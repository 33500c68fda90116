//! Tests of linear memories from the host's side: 64-bit memories and tables, reservations, growth
//! that moves a memory, and limits.

use crate::common::message;
use anyhow::Result;
use gc_wasm::{
    Config, Engine, HeapType, Instance, Memory, MemoryType, MemoryTypeBuilder, Module, Ref,
    RefType, Store, Table, TableType, Trap,
};

const MIB: u64 = 1 << 20;

/// Each way to lay out memories: the default, small reservations with a guard, and without one.
fn layouts() -> [Config; 4] {
    let mut all = [const { None }; 4].map(|_: Option<()>| Config::new());
    all[1].memory_reservation(MIB).memory_guard_size(MIB).memory_reservation_for_growth(0);
    all[2].memory_reservation(0).memory_guard_size(1).memory_reservation_for_growth(2 * MIB);
    all[3].memory_reservation(0).memory_guard_size(0).memory_reservation_for_growth(0);
    all
}

const ACCESSES: &str = r#"(module
    (memory $a (export "a") 1 100)
    (memory $b (export "b") i64 1 100)
    (func (export "a_load") (param i32) (result i32) (i32.load $a (local.get 0)))
    (func (export "a_far") (param i32) (result i32) (i32.load8_u $a offset=1000000 (local.get 0)))
    (func (export "a_store") (param i32 i32) (i32.store $a (local.get 0) (local.get 1)))
    (func (export "b_load") (param i64) (result i32) (i32.load $b (local.get 0)))
    (func (export "b_far") (param i64) (result i32) (i32.load8_u $b offset=1000000 (local.get 0)))
    (func (export "b_store") (param i64 i32) (i32.store $b (local.get 0) (local.get 1)))
    ;; Stores, grows, and loads through the same address.
    (func (export "through") (param $at i32) (result i32)
        (i32.store $a (local.get $at) (i32.const 42))
        (drop (memory.grow $a (i32.const 40)))
        (i32.store $a offset=2600000 (local.get $at) (i32.const 43))
        (i32.load $a (local.get $at))))"#;

fn out_of_bounds<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    let trap = error.downcast_ref::<Trap>();
    assert_eq!(trap, Some(&Trap::MemoryOutOfBounds), "{error:?}");
}

#[test]
fn every_layout_keeps_bytes_and_bounds() -> Result<()> {
    for config in layouts() {
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, ACCESSES)?, &[])?;
        let a_load = instance.get_typed_func::<i32, i32>(&mut store, "a_load")?;
        let a_far = instance.get_typed_func::<i32, i32>(&mut store, "a_far")?;
        let a_store = instance.get_typed_func::<(i32, i32), ()>(&mut store, "a_store")?;
        let b_load = instance.get_typed_func::<i64, i32>(&mut store, "b_load")?;
        let b_far = instance.get_typed_func::<i64, i32>(&mut store, "b_far")?;
        let b_store = instance.get_typed_func::<(i64, i32), ()>(&mut store, "b_store")?;
        let a = instance.get_memory(&mut store, "a").unwrap();
        let b = instance.get_memory(&mut store, "b").unwrap();
        for round in 0..6 {
            let size = a.data_size(&store);
            assert_eq!(size, b.data_size(&store));
            let last = size as i64 - 4;
            for at in [0, last / 2, last] {
                a_store.call(&mut store, (at as i32, round + 1))?;
                b_store.call(&mut store, (at, round + 2))?;
            }
            for outside in [last + 1, last + 4, last + (1 << 20), last + (1 << 31)] {
                out_of_bounds(a_load.call(&mut store, outside as i32));
                out_of_bounds(a_store.call(&mut store, (outside as i32, 1)));
                out_of_bounds(b_load.call(&mut store, outside));
                out_of_bounds(b_store.call(&mut store, (outside, 1)));
            }
            for outside in [1 << 32, 1 << 47, 1 << 63, -4, -1] {
                out_of_bounds(b_load.call(&mut store, outside));
                out_of_bounds(b_far.call(&mut store, outside));
            }
            out_of_bounds(a_load.call(&mut store, -4));
            out_of_bounds(a_far.call(&mut store, (last + 4 - 1_000_000) as i32));
            out_of_bounds(b_far.call(&mut store, last + 4 - 1_000_000));
            if last > 1_000_000 {
                a_far.call(&mut store, (last + 3 - 1_000_000) as i32)?;
                b_far.call(&mut store, last + 3 - 1_000_000)?;
            }
            // The bytes of both are as written, also for the host.
            assert_eq!(a_load.call(&mut store, last as i32)?, round + 1);
            assert_eq!(a.data(&store)[size - 4], round as u8 + 1);
            assert_eq!(b.data(&store)[size - 4], round as u8 + 2);
            assert_eq!(a.grow(&mut store, 7)?, 1 + 7 * round as u64);
            assert_eq!(b.grow(&mut store, 7)?, 1 + 7 * round as u64);
            assert_eq!(a_load.call(&mut store, last as i32)?, round + 1);
            assert_eq!(b_load.call(&mut store, last)?, round + 2);
            assert!(a.data(&store)[size..].iter().all(|byte| *byte == 0));
            b.data_mut(&mut store)[size] = 9;
            assert_eq!(b_load.call(&mut store, size as i64)?, 9);
        }
        let through = instance.get_typed_func::<i32, i32>(&mut store, "through")?;
        assert_eq!(through.call(&mut store, 8)?, 42);
        assert_eq!(a_load.call(&mut store, 2_600_008)?, 43);
    }
    Ok(())
}

/// A memory is not moved while its reservation has room.
#[test]
fn memories_grow_in_their_reservation() -> Result<()> {
    let mut config = Config::new();
    config.memory_reservation(MIB).memory_reservation_for_growth(MIB);
    for ty in [MemoryType::new(1, None), MemoryType::new64(1, None)] {
        let mut store = Store::new(&Engine::new(&config)?, ());
        let memory = Memory::new(&mut store, ty)?;
        memory.data_mut(&mut store)[9] = 9;
        let place = memory.data_ptr(&store);
        memory.grow(&mut store, 15)?;
        assert_eq!(memory.data_ptr(&store), place);
        memory.grow(&mut store, 1)?;
        let moved = memory.data_ptr(&store);
        assert_ne!(moved, place);
        memory.grow(&mut store, 16)?;
        assert_eq!(memory.data_ptr(&store), moved);
        assert_eq!((memory.size(&store), memory.data(&store)[9]), (33, 9));
    }
    config.memory_may_move(false);
    for ty in [MemoryType::new(1, None), MemoryType::new64(1, None)] {
        let mut store = Store::new(&Engine::new(&config)?, ());
        let memory = Memory::new(&mut store, ty.clone())?;
        memory.grow(&mut store, 15)?;
        assert_eq!(
            message(memory.grow(&mut store, 1)),
            "failed to grow memory by `1`: a memory of 16 pages cannot grow by 1: a memory that \
             may not be moved has at most 16 pages (`memory_may_move`)"
        );
        // One that begins larger gets what it needs, and no more.
        let larger = MemoryTypeBuilder::new().memory64(ty.is_64()).min(20).build()?;
        let memory = Memory::new(&mut store, larger)?;
        assert!(memory.grow(&mut store, 1).is_err());
        assert_eq!(memory.size(&store), 20);
    }
    Ok(())
}

/// A memory of more than 4 GiB, in which few pages are used.
#[test]
fn more_than_4_gib() -> Result<()> {
    let mut config = Config::new();
    config.memory_maximum(1 << 36);
    let engine = Engine::new(&config)?;
    let mut store = Store::new(&engine, ());
    let module = r#"(module
        (memory (export "memory") i64 1)
        (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0)))
        (func (export "copy") (param i64 i64 i64)
            (memory.copy (local.get 0) (local.get 1) (local.get 2)))
        (func (export "store") (param i64 i64) (i64.store (local.get 0) (local.get 1)))
        (func (export "load") (param i64) (result i64) (i64.load (local.get 0)))
        (func (export "far") (param i64) (result i64) (i64.load offset=0x140000000 (local.get 0))))"#;
    let instance = Instance::new(&mut store, &Module::new(&engine, module)?, &[])?;
    let grow = instance.get_typed_func::<i64, i64>(&mut store, "grow")?;
    let write = instance.get_typed_func::<(i64, i64), ()>(&mut store, "store")?;
    let load = instance.get_typed_func::<i64, i64>(&mut store, "load")?;
    let far = instance.get_typed_func::<i64, i64>(&mut store, "far")?;
    let copy = instance.get_typed_func::<(i64, i64, i64), ()>(&mut store, "copy")?;
    write.call(&mut store, (80, 8))?;
    assert_eq!(grow.call(&mut store, 100_000)?, 1);
    assert_eq!(load.call(&mut store, 80)?, 8);
    let high = 0x1_4000_0000;
    write.call(&mut store, (high + 8, 77))?;
    assert_eq!(far.call(&mut store, 8)?, 77);
    assert_eq!(load.call(&mut store, 0x4000_0008)?, 0);
    copy.call(&mut store, (16, high + 8, 8))?;
    assert_eq!(load.call(&mut store, 16)?, 77);
    let end = 100_001_i64 << 16;
    out_of_bounds(load.call(&mut store, end - 7));
    out_of_bounds(far.call(&mut store, end - 7 - high));
    assert_eq!(far.call(&mut store, end - 8 - high)?, 0);
    assert_eq!(instance.get_memory(&mut store, "memory").unwrap().size(&store), 100_001);
    Ok(())
}

#[test]
fn limits_are_errors() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    for (module, expected) in [
        ("(module (memory i64 65537))", "a memory of 65537 pages exceeds the limit of 65536 pages"),
        (
            "(module (memory i64 0x1000000000000))",
            "memory minimum size of 281474976710656 pages exceeds memory limits",
        ),
        (
            "(module (memory 1) (memory $big i64 70000))",
            "allocating memory 1 `big`: a memory of 70000 pages exceeds the limit of 65536 pages \
             (`memory_maximum`)",
        ),
        (
            "(module (table $big i64 0xffffffffffffffff funcref))",
            "table 0 `big` cannot have 18446744073709551615 elements",
        ),
        (
            "(module (table i64 10000001 externref))",
            "table 0 cannot have 10000001 elements: a table of 10000001 elements exceeds the limit of 10000000 elements",
        ),
    ] {
        let module = Module::new(&engine, module)?;
        let error = message(Instance::new(&mut store, &module, &[]));
        assert!(error.contains(expected), "{error}");
    }
    let growing = Instance::new(
        &mut store,
        &Module::new(
            &engine,
            r#"(module
                (memory i64 1) (memory (export "a") 1) (memory (export "b") i64 1 9)
                (func (export "all") (result i64) (memory.grow (i64.const 65536)))
                (func (export "max") (result i64) (memory.grow (i64.const -1))))"#,
        )?,
        &[],
    )?;
    for name in ["all", "max"] {
        let grow = growing.get_typed_func::<(), i64>(&mut store, name)?;
        assert_eq!(grow.call(&mut store, ())?, -1);
    }
    let memory = growing.get_memory(&mut store, "b").unwrap();
    for delta in [9, 1 << 48, u64::MAX] {
        let expected = format!(
            "failed to grow memory by `{delta}`: a memory of 1 pages cannot grow by {delta}"
        );
        assert_eq!(message(memory.grow(&mut store, delta)), expected);
    }
    // The maximum holds for each memory.
    let engine = Engine::new(Config::new().memory_maximum(2 << 16))?;
    let mut store = Store::new(&engine, ());
    for ty in [MemoryType::new(1, None), MemoryType::new64(1, Some(5)), MemoryType::new(2, None)] {
        let memory = Memory::new(&mut store, ty)?;
        let error = message(memory.grow(&mut store, 2));
        assert!(error.ends_with("exceeds the limit of 2 pages (`memory_maximum`)"), "{error}");
    }
    // More addresses than there are.
    let engine = Engine::new(Config::new().memory_maximum(u64::MAX))?;
    let mut store = Store::new(&engine, ());
    let error = message(Memory::new(&mut store, MemoryType::new64(1 << 47, None)));
    assert!(error.contains("there are not so many addresses"), "{error}");
    let memory = Memory::new(&mut store, MemoryType::new64(1, None))?;
    assert!(memory.grow(&mut store, 1 << 47).is_err());
    assert!(memory.grow(&mut store, (1 << 48) - 1).is_err());
    for config in
        [Config::new().memory_reservation(u64::MAX), Config::new().memory_guard_size(u64::MAX)]
    {
        let mut store = Store::new(&Engine::new(config)?, ());
        let error = message(Memory::new(&mut store, MemoryType::new(1, None)));
        assert!(error.contains("there are not so many addresses"), "{error}");
    }
    Ok(())
}

#[test]
fn types_say_what_they_are() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let wat = r#"(module
        (memory (export "m") i64 1 0x1000000000000) (memory (export "n") 1)
        (table (export "t") i64 2 0xffffffffffffffff funcref))"#;
    let module = Module::new(&engine, wat)?;
    let types: Vec<String> = module.exports().map(|export| export.ty().to_string()).collect();
    assert_eq!(
        types,
        [
            "(memory i64 1 281474976710656)",
            "(memory 1)",
            "(table i64 2 18446744073709551615 funcref)"
        ]
    );
    for (builder, expected) in [
        (MemoryTypeBuilder::new().min(65537), "at most 65536 pages, not 65537"),
        (MemoryTypeBuilder::new().memory64(true).max(Some(u64::MAX)), "at most 281474976710656"),
        (MemoryTypeBuilder::new().memory64(true).min(1 << 48), "fewer than 281474976710656 pages"),
        (MemoryTypeBuilder::new().min(3).max(Some(2)), "of 3 pages exceeds the limit of 2 pages"),
        (MemoryTypeBuilder::new().shared(true), "unsupported: shared memories"),
        (MemoryTypeBuilder::new().page_size_log2(0), "unsupported: memories with pages of 2^0"),
        (MemoryTypeBuilder::new().page_size_log2(200), "pages of 2^200 bytes"),
    ] {
        let error = message(builder.build());
        assert!(error.contains(expected), "{error}");
    }
    let ty = MemoryType::builder().memory64(true).min(1).max(Some(1 << 40)).build()?;
    assert_eq!(ty, MemoryType::new64(1, Some(1 << 40)));
    assert_eq!((ty.page_size(), ty.page_size_log2(), ty.is_shared()), (1 << 16, 16, false));
    Ok(())
}

#[test]
fn the_host_uses_64_bit_tables() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let ty = TableType::new64(RefType::new(true, HeapType::Func), 2, Some(1 << 40));
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    assert!(table.ty(&store).is_64());
    assert_eq!(table.grow(&mut store, 3, Ref::Func(None))?, 2);
    assert_eq!(table.size(&store), 5);
    assert!(table.get(&mut store, 4).is_some());
    assert!(table.get(&mut store, 5).is_none());
    assert!(table.get(&mut store, 1 << 32).is_none());
    assert!(table.set(&mut store, u64::MAX, Ref::Func(None)).is_err());
    for delta in [1 << 32, u64::MAX] {
        let error = message(table.grow(&mut store, delta, Ref::Func(None)));
        assert!(error.contains(&format!("cannot grow by {delta}")), "{error}");
    }
    Ok(())
}

/// Code depends on the layout of memories, so code that was saved for another one is refused.
#[test]
fn saved_code_is_for_one_layout() -> Result<()> {
    let saved = Engine::new(&Config::new())?.precompile_module(ACCESSES)?;
    let same = Engine::new(Config::new().memory_reservation(5 << 30).memory_may_move(false))?;
    // SAFETY: these are the bytes of a saved module.
    unsafe { Module::deserialize(&same, &saved)? };
    for config in [
        Config::new().memory_reservation((4 << 30) - (1 << 16)),
        Config::new().memory_guard_size(1 << 30),
    ] {
        // SAFETY: as above.
        let error = message(unsafe { Module::deserialize(&Engine::new(config)?, &saved) });
        assert!(error.contains("memories"), "{error}");
    }
    Ok(())
}
