//! Engines with a pool: its limits, what a slot keeps, and that no store sees what an earlier one had.

use crate::common::everywhere;
use anyhow::{Context as _, Result};
use gc_wasm::{
    Config, Enabled, Engine, ExternRef, Instance, InstanceAllocationStrategy, Linker, Memory,
    MemoryType, Module, PoolConcurrencyLimitError, PoolingAllocationConfig, Ref, RefType,
    ResourceLimiter, Store, Table, TableType, Trap,
};
use std::sync::Arc;

const PAGE: usize = 64 << 10;

/// One small memory and one small table at a time.
fn small() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(1).max_memory_size(PAGE).total_tables(1).table_elements(10).total_stacks(1);
    pool
}

fn engine(pool: PoolingAllocationConfig) -> Result<Engine> {
    Engine::new(Config::new().allocation_strategy(pool))
}

/// The text of an error with all causes.
fn refused<T>(result: Result<T>) -> String {
    format!("{:#}", result.err().expect("it is refused"))
}

#[test]
fn a_module_must_fit_the_pool() -> Result<()> {
    let mut pool = small();
    pool.max_memory_size(3 * PAGE);
    let engine = engine(pool)?;
    for (wat, why) in [
        (
            "(memory 1) (memory 1)",
            "defined memories count of 2 exceeds the per-instance limit of 1",
        ),
        ("(memory 4)", "memory index 0 is unsupported in this pooling allocator configuration"),
        ("(memory 4)", "minimum byte size of 262144 which exceeds the limit of 0x30000 bytes"),
        (
            "(table 1 funcref) (table 1 funcref)",
            "defined tables count of 2 exceeds the per-instance limit of 1",
        ),
        (
            "(table 31 funcref)",
            "table index 0 has a minimum element size of 31 which exceeds the limit of 10",
        ),
    ] {
        let error = refused(Module::new(&engine, format!("(module {wat})")));
        assert!(error.contains(why), "{wat}: {error}");
    }
    // What is imported is not defined.
    Module::new(&engine, r#"(module (import "" "" (memory 9)) (memory 1))"#)?;
    Ok(())
}

#[test]
fn an_instance_must_fit_the_pool() -> Result<()> {
    let mut pool = small();
    pool.max_core_instance_size(16);
    let engine = engine(pool)?;
    let error = refused(Module::new(&engine, "(module)"));
    for part in [
        "exceeds the configured maximum of 16 bytes",
        "breakdown of allocation requirement",
        "instance state management",
        "static vmctx data",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let globals = "(global i32 (i32.const 0))".repeat(100);
    let error = refused(Module::new(&engine, format!("(module {globals})")));
    assert!(error.contains("1600 bytes - defined globals"), "{error}");
    Ok(())
}

#[test]
fn memories_and_tables_do_not_outgrow_their_slots() -> Result<()> {
    let mut pool = small();
    pool.max_memory_size(3 * PAGE).total_core_instances(5).total_memories(5);
    let engine = engine(pool)?;
    let module = Module::new(
        &engine,
        r#"(module
            (memory (export "m") 0) (table (export "t") 0 funcref)
            (func (export "memory") (result i32) (memory.grow (i32.const 1)))
            (func (export "table") (result i32) (table.grow (ref.null func) (i32.const 1))))"#,
    )?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    for (name, limit) in [("memory", 3), ("table", 10)] {
        let grow = instance.get_typed_func::<(), i32>(&mut store, name)?;
        for size in (0..limit).chain([-1, -1]) {
            assert_eq!(grow.call(&mut store, ())?, size, "{name}");
        }
    }
    let memory = instance.get_memory(&mut store, "m").context("it is exported")?;
    assert!(memory.grow(&mut store, 1).is_err());
    let table = instance.get_table(&mut store, "t").context("it is exported")?;
    assert!(table.grow(&mut store, 1, Ref::Func(None)).is_err());
    assert!(Memory::new(&mut store, MemoryType::new(4, None)).is_err());
    let ty = TableType::new(RefType::FUNCREF, 11, None);
    let error = refused(Table::new(&mut store, ty, Ref::Func(None)));
    let why = "a table of 11 elements exceeds the limit of 10 elements, which is that of the pool";
    assert!(error.contains(why), "{error}");
    Ok(())
}

#[test]
fn what_is_in_use_at_the_same_time_is_limited() -> Result<()> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(20).total_memories(5).total_tables(6).total_gc_heaps(3);
    let engine = engine(pool)?;
    let metrics = engine.pooling_allocator_metrics().context("there is a pool")?;
    let linker = Linker::new(&engine);
    for (wat, limit, kind) in [
        ("", 20, "core instances"),
        ("(memory 1)", 5, "memories"),
        ("(table 1 funcref)", 6, "tables"),
        ("(table 20000 externref)", 3, "GC heaps"),
    ] {
        let module = Module::new(&engine, format!("(module {wat})"))?;
        for _ in 0..2 {
            let mut stores = Vec::new();
            for _ in 0..limit {
                let mut store = Store::new(&engine, ());
                linker.instantiate(&mut store, &module)?;
                stores.push(store);
            }
            let mut store = Store::new(&engine, ());
            let error = linker.instantiate(&mut store, &module).unwrap_err();
            assert!(error.is::<PoolConcurrencyLimitError>(), "{error:?}");
            let text = format!("maximum concurrent limit of {limit} for {kind} reached");
            assert!(format!("{error:#}").ends_with(&text), "{error:#}");
            assert_eq!(metrics.core_instances(), limit, "what failed is given back");
            // The store is as before.
            stores.pop();
            linker.instantiate(&mut store, &module)?;
        }
    }
    let used = [metrics.memories(), metrics.tables(), metrics.gc_heaps(), metrics.stacks()];
    assert_eq!((used, metrics.core_instances()), ([0; 4], 0));
    assert_eq!(metrics.unused_warm_gc_heaps(), 3);
    assert!(metrics.unused_warm_memories() == 5 && metrics.unused_warm_tables() > 0);
    assert!(Engine::default().pooling_allocator_metrics().is_none());
    Ok(())
}

#[test]
fn what_the_host_makes_is_limited_too() -> Result<()> {
    let mut pool = small();
    pool.total_gc_heaps(1);
    let engine = engine(pool)?;
    let (mut one, mut two) = (Store::new(&engine, ()), Store::new(&engine, ()));
    let funcs = TableType::new(RefType::FUNCREF, 1, None);
    Memory::new(&mut one, MemoryType::new(1, None))?;
    Table::new(&mut one, funcs.clone(), Ref::Func(None))?;
    ExternRef::new(&mut one, 1)?;
    let error = Memory::new(&mut two, MemoryType::new(1, None)).unwrap_err();
    assert!(error.is::<PoolConcurrencyLimitError>(), "{error:?}");
    let error = Table::new(&mut two, funcs.clone(), Ref::Func(None)).unwrap_err();
    assert!(error.is::<PoolConcurrencyLimitError>(), "{error:?}");
    let error = ExternRef::new(&mut two, 1).unwrap_err();
    assert!(error.is::<PoolConcurrencyLimitError>(), "{error:?}");
    drop(one);
    Memory::new(&mut two, MemoryType::new(1, None))?;
    Table::new(&mut two, funcs, Ref::Func(None))?;
    ExternRef::new(&mut two, 1)?;
    Ok(())
}

#[test]
fn a_slot_is_as_new_whatever_it_keeps() -> Result<()> {
    for (keep, batch) in [(0, 1), (PAGE, 1), (1 << 20, 3), (4 << 10, 0)] {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_memories(2)
            .total_tables(2)
            .linear_memory_keep_resident(keep)
            .table_keep_resident(keep)
            .decommit_batch_size(batch);
        let engine = engine(pool)?;
        let dirty = Module::new(
            &engine,
            r#"(module (memory (export "m") 1) (table (export "t") 20000 funcref)
                (data (i32.const 0) "1234") (elem (i32.const 0) func $f) (func $f))"#,
        )?;
        let clean = Module::new(
            &engine,
            r#"(module (memory (export "m") 1) (table (export "t") 20000 funcref)
                (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#,
        )?;
        for _ in 0..4 {
            for module in [&dirty, &clean] {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, module, &[])?;
                let memory = instance.get_memory(&mut store, "m").context("it is exported")?;
                let table = instance.get_table(&mut store, "t").context("it is exported")?;
                let bytes = memory.data_mut(&mut store);
                let written = bytes.iter().position(|byte| *byte == 0).context("zeroes")?;
                assert!(bytes[written..].iter().all(|byte| *byte == 0), "{keep}, {batch}");
                bytes.fill(0xfe);
                let is_null = |store: &mut Store<()>, at| {
                    matches!(table.get(store, at), Some(Ref::Func(None)))
                };
                let is_dirty = std::ptr::eq(module, &dirty);
                assert_eq!(written, if is_dirty { 4 } else { 0 });
                assert_eq!(is_null(&mut store, 0), !is_dirty);
                assert!((1..20_000).all(|at| is_null(&mut store, at)));
                let func = gc_wasm::Func::wrap(&mut store, || ());
                for at in [0, 1, 777, 19_999] {
                    table.set(&mut store, at, Ref::Func(Some(func)))?;
                }
                // What an earlier store added is not accessible.
                if let Some(load) = instance.get_func(&mut store, "load") {
                    let load = load.typed::<i32, i32>(&store)?;
                    assert_eq!(load.call(&mut store, 100)?, 0xfefe_fefe_u32 as i32);
                    let trap = load.call(&mut store, PAGE as i32).unwrap_err();
                    assert_eq!(trap.downcast::<Trap>()?, Trap::MemoryOutOfBounds);
                }
                memory.grow(&mut store, 3)?;
                memory.data_mut(&mut store).fill(0xfe);
            }
        }
        let metrics = engine.pooling_allocator_metrics().context("there is a pool")?;
        assert!(metrics.unused_memory_bytes_resident() <= 2 * keep);
        assert!(metrics.unused_table_bytes_resident() <= 2 * keep);
    }
    Ok(())
}

/// Fills a structure in the heap, and reads what it finds in new objects.
const OBJECTS: &str = r#"(module
    (type $cell (struct (field (mut i64)) (field (mut (ref null $cell))) (field (mut externref))))
    (type $bytes (array (mut i8)))
    (global $list (mut (ref null $cell)) (ref.null $cell))
    (func (export "used") (result i64) (local $c (ref null $cell))
        (local.set $c (struct.new_default $cell))
        (i64.add
            (i64.or (struct.get $cell 0 (local.get $c))
                (i64.extend_i32_u (i32.or
                    (i32.eqz (ref.is_null (struct.get $cell 1 (local.get $c))))
                    (i32.eqz (ref.is_null (struct.get $cell 2 (local.get $c)))))))
            (i64.extend_i32_u (array.get_u $bytes
                (array.new_default $bytes (i32.const 5000)) (i32.const 4000)))))
    (func (export "fill") (param $n i32) (param $x externref)
        (loop $more
            (global.set $list
                (struct.new $cell (i64.const -1) (global.get $list) (local.get $x)))
            (drop (array.new $bytes (i32.const 255) (i32.const 100)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $more (i32.gt_s (local.get $n) (i32.const 0))))))"#;

/// The value of `Config` for each collector, with a pool.
fn pooled(setting: &crate::common::Setting) -> Config {
    let mut config = setting.config();
    config.allocation_strategy(InstanceAllocationStrategy::pooling());
    config
}

#[test]
fn a_heap_from_the_pool_is_as_new() -> Result<()> {
    everywhere(|setting| {
        let engine = Engine::new(&pooled(setting))?;
        let metrics = engine.pooling_allocator_metrics().context("there is a pool")?;
        let module = Module::new(&engine, OBJECTS)?;
        let value = Arc::new(());
        // The last ones grow the heap.
        let many = if setting.zeal { 100 } else { 20_000 };
        for count in [0, 1, 10, 30, 1, many, 3] {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let used = instance.get_typed_func::<(), i64>(&mut store, "used")?;
            let stats = store.gc_stats();
            assert_eq!((stats.allocations, stats.live_objects, stats.collections), (0, 0, 0));
            assert_eq!(store.gc_pauses().count(), 0);
            if count > 0 {
                assert_eq!(used.call(&mut store, ())?, 0);
                let fill = instance
                    .get_typed_func::<(i32, Option<gc_wasm::Rooted<ExternRef>>), ()>(
                        &mut store, "fill",
                    )?;
                let external = ExternRef::new(&mut store, value.clone())?;
                fill.call(&mut store, (count, Some(external)))?;
                assert_eq!(used.call(&mut store, ())?, 0);
                assert!(store.gc_stats().allocations > count as u64);
                assert_eq!(Arc::strong_count(&value), 2);
            }
            assert_eq!(metrics.gc_heaps(), 1);
            drop(store);
            assert_eq!((metrics.gc_heaps(), Arc::strong_count(&value)), (0, 1));
        }
        Ok(())
    })
}

/// No byte of a heap that was used stays, also if something wrote where no object was.
#[test]
fn no_byte_of_a_heap_stays() -> Result<()> {
    everywhere(|setting| {
        let engine = Engine::new(&pooled(setting))?;
        let module = Module::new(&engine, OBJECTS)?;
        for round in 0..3 {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let (start, end) = (PAGE as u64, store.gc_heap_len());
            let bytes = store.gc_heap_bytes(start, (end - start) as usize).context("mapped")?;
            // Collectors may have written their own marks at the start.
            let written = bytes.iter().filter(|byte| **byte == 0x5a).count();
            assert_eq!(written, 0, "round {round}");
            let used = instance.get_typed_func::<(), i64>(&mut store, "used")?;
            assert_eq!(used.call(&mut store, ())?, 0);
            assert!(store.overwrite_gc_heap(end - 4096, &[0x5a; 4096]));
            assert!(store.overwrite_gc_heap((start + end) / 2, &[0x5a; 9]));
        }
        Ok(())
    })
}

#[test]
fn a_program_runs_the_same_in_a_used_heap() -> Result<()> {
    everywhere(|setting| {
        let engine = Engine::new(&pooled(setting))?;
        let module = Module::new(&engine, OBJECTS)?;
        let mut first = None;
        for _ in 0..4 {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let fill = instance.get_typed_func::<(i32, Option<gc_wasm::Rooted<ExternRef>>), ()>(
                &mut store, "fill",
            )?;
            fill.call(&mut store, (if setting.zeal { 30 } else { 3000 }, None))?;
            let stats = store.gc_stats();
            let numbers = (stats.allocations, stats.allocated_bytes, stats.collections);
            assert_eq!(*first.get_or_insert(numbers), numbers);
        }
        Ok(())
    })
}

#[test]
fn threads_share_a_pool() -> Result<()> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(8).total_gc_heaps(8).max_unused_warm_slots(1).decommit_batch_size(3);
    let engine = engine(pool)?;
    let wat = OBJECTS.replacen("(module", r#"(module (memory (export "m") 1)"#, 1);
    let module = Module::new(&engine, wat)?;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut store = Store::new(&engine, ());
                    let instance = Instance::new(&mut store, &module, &[]).unwrap();
                    let used = instance.get_typed_func::<(), i64>(&mut store, "used").unwrap();
                    assert_eq!(used.call(&mut store, ()).unwrap(), 0);
                    let memory = instance.get_memory(&mut store, "m").unwrap();
                    let bytes = memory.data_mut(&mut store);
                    assert!(bytes.iter().all(|byte| *byte == 0));
                    bytes.fill(1);
                }
            });
        }
    });
    let metrics = engine.pooling_allocator_metrics().context("there is a pool")?;
    assert_eq!((metrics.memories(), metrics.gc_heaps(), metrics.core_instances()), (0, 0, 0));
    assert!(metrics.unused_warm_memories() <= 8 && metrics.unused_warm_gc_heaps() <= 4);
    Ok(())
}

#[test]
fn what_is_not_supported_is_refused_by_its_name() -> Result<()> {
    type Change = fn(&mut PoolingAllocationConfig) -> &mut PoolingAllocationConfig;
    let changes: [(Change, &str); 3] = [
        (|pool| pool.memory_protection_keys(Enabled::Yes), "memory_protection_keys"),
        (|pool| pool.pagemap_scan(Enabled::Yes), "pagemap_scan"),
        (
            |pool| pool.max_memory_size(0x1_0001_0000),
            "maximum memory size of 0x100010000 bytes exceeds the configured memory reservation of \
             0x100000000 bytes",
        ),
    ];
    for (change, name) in changes {
        let mut pool = PoolingAllocationConfig::new();
        change(&mut pool);
        let error = refused(engine(pool));
        assert!(error.contains(name), "{error}");
    }
    let mut pool = PoolingAllocationConfig::new();
    pool.memory_protection_keys(Enabled::Auto).pagemap_scan(Enabled::Auto);
    // Stacks are cleared if the engine says so.
    pool.async_stack_keep_resident(1);
    engine(pool.clone())?;
    Engine::new(Config::new().async_stack_zeroing(true).allocation_strategy(pool))?;
    Ok(())
}

/// A limiter that refuses every second memory.
struct Every(usize);

impl ResourceLimiter for Every {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        self.0 += 1;
        Ok(!self.0.is_multiple_of(2))
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        Ok(true)
    }
}

#[test]
fn an_instance_that_cannot_be_made_keeps_no_slot() -> Result<()> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_memories(2).max_memories_per_module(2).max_memory_size(PAGE);
    let engine = engine(pool)?;
    let metrics = engine.pooling_allocator_metrics().context("a pool")?;
    let module = Module::new(&engine, "(module (table 1 funcref) (memory 1) (memory 1))")?;
    let mut store = Store::new(&engine, Every(0));
    store.limiter(|every| every);
    for _ in 0..5 {
        let error = refused(Instance::new(&mut store, &module, &[]));
        assert!(error.contains("limiter refuses"), "{error}");
        assert_eq!((metrics.memories(), metrics.tables(), metrics.core_instances()), (0, 0, 0));
    }
    Ok(())
}
