//! Limiters: what a store may have, how far its memories, tables and heap may grow, and what happens
//! at the limit.

use crate::common::{each_collector, message, new_array};
use anyhow::{Context, Result, anyhow, bail};
use gc_wasm::{
    ArrayType, Config, Engine, Error, ExternRef, FieldType, GcHeapOutOfMemory, Instance, Memory,
    MemoryType, Module, Mutability, Ref, RefType, ResourceLimiter, RootScope, StorageType, Store,
    StoreLimits, StoreLimitsBuilder, Table, TableType, Trap, Val,
};

const PAGE: usize = 64 << 10;

const GROWING: &str = r#"(module
    (memory (export "m") 0) (memory $m64 i64 0) (table (export "t") 0 funcref)
    (table $t64 i64 0 externref)
    (func (export "memory") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "memory64") (param i32) (result i32)
        (i32.wrap_i64 (memory.grow $m64 (i64.extend_i32_s (local.get 0)))))
    (func (export "table") (param i32) (result i32)
        (table.grow 0 (ref.null func) (local.get 0)))
    (func (export "table64") (param i32) (result i32)
        (i32.wrap_i64 (table.grow $t64 (ref.null extern) (i64.extend_i32_s (local.get 0))))))"#;

fn limited(engine: &Engine, limits: StoreLimits) -> Store<StoreLimits> {
    let mut store = Store::new(engine, limits);
    store.limiter(|limits| limits);
    store
}

#[test]
fn memories_and_tables_grow_up_to_their_limits() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let module = Module::new(&engine, GROWING)?;
    let limits = StoreLimitsBuilder::new().memory_size(10 * PAGE).table_elements(5);
    let mut store = limited(&engine, limits.clone().build());
    let instance = Instance::new(&mut store, &module, &[])?;
    let own = Memory::new(&mut store, MemoryType::new(0, None))?;
    for memory in [instance.get_memory(&mut store, "m").context("m")?, own] {
        for delta in [3, 5, 2, 0] {
            memory.grow(&mut store, delta)?;
        }
        let error = memory.grow(&mut store, 1).unwrap_err();
        assert_eq!(error.to_string(), "failed to grow memory by `1`");
        let why = "a memory of 10 pages cannot grow by 1: the store's limiter refuses it";
        assert_eq!(error.root_cause().to_string(), why);
        assert_eq!(memory.size(&store), 10);
    }
    let null = Ref::Func(None);
    let own = Table::new(&mut store, TableType::new(RefType::FUNCREF, 0, None), null)?;
    for table in [instance.get_table(&mut store, "t").context("t")?, own] {
        for delta in [2, 1, 2, 0] {
            table.grow(&mut store, delta, null)?;
        }
        let error = table.grow(&mut store, 1, null).unwrap_err();
        assert_eq!(error.to_string(), "failed to grow table by `1`");
        assert_eq!(table.size(&store), 5);
    }

    // Code gets -1, or ends.
    for trap in [false, true] {
        let limits = limits.clone().trap_on_grow_failure(trap).build();
        let mut store = limited(&engine, limits);
        let instance = Instance::new(&mut store, &module, &[])?;
        for (name, most) in [("memory", 10), ("memory64", 10), ("table", 5), ("table64", 5)] {
            let grow = instance.get_typed_func::<i32, i32>(&mut store, name)?;
            assert_eq!(grow.call(&mut store, most)?, 0);
            for delta in [1, i32::MAX, -1] {
                match trap {
                    false => assert_eq!(grow.call(&mut store, delta)?, -1, "{name} {delta}"),
                    true => {
                        let error = message(grow.call(&mut store, delta));
                        assert!(error.contains("forcing "), "{error}");
                    }
                }
            }
            assert_eq!(grow.call(&mut store, 0)?, most);
        }
    }
    Ok(())
}

#[test]
fn what_begins_too_large_is_not_made() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let limits = StoreLimitsBuilder::new().memory_size(10 * PAGE).table_elements(4).build();
    let mut store = limited(&engine, limits);
    let refused = [
        ("(memory 11)", "memory minimum size of 11 pages exceeds memory limits"),
        ("(memory i64 0x1000000000000)", "memory minimum size of 281474976710656 pages exceeds"),
        ("(table 23 funcref)", "table minimum size of 23 elements exceeds table limits"),
        ("(table i64 0xffffffffffffffff funcref)", "table minimum size of 18446744073709551615"),
    ];
    for (item, expected) in refused {
        let module = Module::new(&engine, format!("(module {item})"))?;
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        let error = message::<()>(Err(error));
        assert!(error.ends_with("the store's limiter refuses it"), "{error}");
    }
    let error = Memory::new(&mut store, MemoryType::new(25, None)).unwrap_err();
    assert_eq!(error.to_string(), "memory minimum size of 25 pages exceeds memory limits");
    let ty = TableType::new(RefType::FUNCREF, 99, None);
    let error = Table::new(&mut store, ty, Ref::Func(None)).unwrap_err();
    assert_eq!(error.to_string(), "table minimum size of 99 elements exceeds table limits");
    Ok(())
}

#[test]
fn instances_are_counted() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let limits = StoreLimitsBuilder::new();
    for (limits, item, expected) in [
        (limits.clone().instances(1), "", "instance count too high at 2"),
        (limits.clone().memories(3), "(memory 0) (memory 0)", "memory count too high at 4"),
        (limits.tables(1), "(table 0 funcref)", "table count too high at 2"),
    ] {
        let mut store = limited(&engine, limits.build());
        let module = Module::new(&engine, format!("(module {item})"))?;
        Instance::new(&mut store, &module, &[])?;
        let error = message(Instance::new(&mut store, &module, &[]));
        assert_eq!(error, format!("resource limit exceeded: {expected}"));
        // What the host makes is not counted.
        Memory::new(&mut store, MemoryType::new(0, None))?;
    }
    Ok(())
}

/// Allows everything and notes what it is asked.
#[derive(Default)]
struct Noting {
    asked: Vec<(usize, usize, Option<usize>)>,
    failed: Vec<String>,
    fatal: bool,
}

impl ResourceLimiter for Noting {
    fn memory_growing(&mut self, from: usize, to: usize, most: Option<usize>) -> Result<bool> {
        self.asked.push((from, to, most));
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        if self.fatal {
            bail!("no memory, no program");
        }
        self.failed.push(error.to_string());
        Ok(())
    }

    fn table_growing(&mut self, from: usize, to: usize, most: Option<usize>) -> Result<bool> {
        self.asked.push((from, to, most));
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        self.failed.push(error.to_string());
        Ok(())
    }
}

#[test]
fn a_limiter_is_told_of_growth_that_is_ended() -> Result<()> {
    let engine = Engine::new(Config::new().consume_fuel(true))?;
    let mut store = Store::new(&engine, Noting::default());
    store.limiter(|noting| noting);
    let module = Module::new(
        &engine,
        r#"(module (table 0 funcref)
            (func (export "grow") (drop (table.grow (ref.null func) (i32.const 1000000)))))"#,
    )?;
    store.set_fuel(1000)?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<(), ()>(&mut store, "grow")?;
    let error = grow.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
    assert_eq!(store.data().asked.last(), Some(&(0, 1_000_000, Some(u32::MAX as usize))));
    assert_eq!(
        store.data().failed,
        ["the table does not grow: wasm trap: all fuel consumed by WebAssembly"]
    );
    Ok(())
}

#[test]
fn a_limiter_is_told_of_growth_that_fails() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, Noting::default());
    store.limiter(|noting| noting);
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    memory.grow(&mut store, 1)?;
    let error = memory.grow(&mut store, 1).unwrap_err();
    let why = "a memory of 2 pages cannot grow by 1";
    assert_eq!(error.root_cause().to_string(), why);
    let ty = TableType::new(RefType::FUNCREF, 1, Some(2));
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    assert!(table.grow(&mut store, 2, Ref::Func(None)).is_err());
    let (two, most) = (2 * PAGE, Some(2 * PAGE));
    let expected = [
        (0, PAGE, most),
        (PAGE, two, most),
        (two, 3 * PAGE, most),
        (0, 1, Some(2)),
        (1, 3, Some(2)),
    ];
    assert_eq!(store.data().asked, expected);
    assert_eq!(
        store.data().failed,
        ["Memory maximum size exceeded", "Table maximum size exceeded"]
    );

    let module = Module::new(
        &engine,
        r#"(module (memory 1 1)
            (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<(), i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, ())?, -1);
    store.data_mut().fatal = true;
    assert!(message(grow.call(&mut store, ())).contains("no memory, no program"));
    Ok(())
}

struct Panics;

impl ResourceLimiter for Panics {
    fn memory_growing(&mut self, from: usize, _: usize, _: Option<usize>) -> Result<bool> {
        assert!(from == 0, "the limiter panics");
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        panic!("the limiter panics");
    }
}

#[test]
fn the_panic_of_a_limiter_passes_through_code() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, Panics);
    store.limiter(|panics| panics);
    let module = Module::new(
        &engine,
        r#"(module (memory 1)
            (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<(), i32>(&mut store, "grow")?;
    let panic = crate::common::panic_message(|| grow.call(&mut store, ()));
    assert_eq!(panic, "the limiter panics");
    Ok(())
}

/// Limits the heap alone, and counts.
struct HeapLimit {
    most: usize,
    /// The last size that was allowed.
    size: usize,
    refused: usize,
}

impl ResourceLimiter for HeapLimit {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        bail!("a heap is not a memory")
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        bail!("a heap is not a table")
    }

    fn gc_heap_growing(&mut self, from: usize, to: usize, most: Option<usize>) -> Result<bool> {
        assert!(from <= to && to <= most.unwrap_or(0), "{from} {to} {most:?}");
        let allowed = to <= self.most;
        match allowed {
            true => self.size = self.size.max(to),
            false => self.refused += 1,
        }
        if self.refused.is_multiple_of(2) {
            Ok(allowed)
        } else {
            allowed.then_some(true).context("no")
        }
    }
}

/// Under every collector, a heap at its limit collects and goes on, or is out of memory. A larger limit
/// lets it grow.
#[test]
fn the_heap_asks_before_it_grows() -> Result<()> {
    each_collector(|setting| {
        let mut config = setting.config();
        config.gc_heap_initial_size(1 << 20).gc_zeal(0);
        let engine = Engine::new(&config)?;
        // The heap may not even begin with its initial size.
        let most = 600 << 10;
        let mut store = Store::new(&engine, HeapLimit { most, size: 0, refused: 0 });
        store.limiter(|limit| limit);
        let bytes = FieldType::new(Mutability::Var, StorageType::I8);
        let ty = ArrayType::new(&engine, bytes);
        fn keep(store: &mut Store<HeapLimit>, ty: &ArrayType) -> Result<usize> {
            let mut scope = RootScope::new(store);
            for kept in 0..100_000 {
                if let Err(error) = new_array(&mut scope, ty, &Val::I32(0), 1000) {
                    error.downcast_ref::<GcHeapOutOfMemory<()>>().context("out of memory")?;
                    return Ok(kept);
                }
            }
            bail!("it never ends")
        }
        let kept = keep(&mut store, &ty)?;
        assert!((64..=614).contains(&kept), "{kept} arrays");
        let HeapLimit { size, refused, .. } = *store.data();
        assert!(size <= most && refused > 0, "{size} {refused}");
        // All of these are garbage. Collectors that free it need no more memory.
        let frees = setting.collector.name() != "null";
        if frees {
            for _ in 0..10 {
                assert!(keep(&mut store, &ty)? >= kept / 2);
            }
        }
        store.data_mut().most = 8 << 20;
        let more = keep(&mut store, &ty)?;
        assert!(more > 3 * kept, "{more} arrays after {kept}");

        // Code traps.
        let module = Module::new(
            &engine,
            r#"(module (type $node (struct (field (ref null $node)) (field i64)))
                (func (export "hoard") (local $list (ref null $node))
                    (loop (local.set $list (struct.new $node (local.get $list) (i64.const 1)))
                        (br 0))))"#,
        )?;
        let mut store = Store::new(&engine, HeapLimit { most, size: 0, refused: 0 });
        store.limiter(|limit| limit);
        let instance = Instance::new(&mut store, &module, &[])?;
        let hoard = instance.get_typed_func::<(), ()>(&mut store, "hoard")?;
        for _ in 0..2 {
            let error = hoard.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::OutOfMemory), "{error:#}");
        }
        assert!(store.data().size <= most);

        // A heap that may not be at all.
        let mut store = Store::new(&engine, HeapLimit { most: 0, size: 0, refused: 0 });
        store.limiter(|limit| limit);
        let error = ExternRef::new(&mut store, 7).unwrap_err();
        assert_eq!(error.downcast::<GcHeapOutOfMemory<i32>>()?.into_inner(), 7);
        assert_eq!(store.gc_heap_capacity(), 0);
        store.data_mut().most = 1 << 20;
        ExternRef::new(&mut store, 7)?;
        assert!(store.gc_heap_capacity() > 0);
        Ok(())
    })
}

/// A heap may begin with 64 KiB, so every limit that allows them is enough for it.
#[test]
fn a_heap_begins_with_what_a_small_limit_allows() -> Result<()> {
    each_collector(|setting| {
        let mut config = setting.config();
        config.gc_heap_initial_size(1 << 20).gc_zeal(0);
        let engine = Engine::new(&config)?;
        for limit in [0, (1 << 16) - 1, 1 << 16, 100_000, 122_879, 122_880, 130_000] {
            let limits = StoreLimitsBuilder::new().gc_heap_size(limit).build();
            let mut store = limited(&engine, limits);
            let made = ExternRef::new(&mut store, 1);
            assert!(store.gc_heap_capacity() <= limit, "{limit}");
            if limit >= 1 << 16 {
                made?;
                continue;
            }
            let error = made.unwrap_err().downcast::<GcHeapOutOfMemory<i32>>()?;
            let text = error.heap_error().to_string();
            assert_eq!(text, "the store's limiter refused 65536 more bytes for the GC heap");
        }
        Ok(())
    })
}

/// The message of a limiter's error is in that of the error of whoever lacks the memory, at the
/// beginning of a heap and later.
#[test]
fn the_error_of_a_limiter_of_the_heap_is_told() -> Result<()> {
    /// Refuses the heap more than a number of bytes.
    struct Broke(usize);

    impl ResourceLimiter for Broke {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }

        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }

        fn gc_heap_growing(&mut self, _: usize, to: usize, _: Option<usize>) -> Result<bool> {
            if to > self.0 {
                Err(anyhow!("no credit").context("asking the bank"))
            } else {
                Ok(true)
            }
        }
    }

    each_collector(|setting| {
        let mut config = setting.config();
        config.gc_heap_initial_size(1 << 20).gc_zeal(0);
        let engine = Engine::new(&config)?;
        let module = Module::new(
            &engine,
            r#"(module (type $bytes (array i8))
                (func (export "f") (drop (array.new_default $bytes (i32.const 3000000)))))"#,
        )?;
        // The heap is made with the instance.
        for most in [0, 1 << 20] {
            let mut store = Store::new(&engine, Broke(most));
            store.limiter(|broke| broke);
            let called = Instance::new(&mut store, &module, &[]).and_then(|instance| {
                instance.get_typed_func::<(), ()>(&mut store, "f")?.call(&mut store, ())
            });
            let error = called.unwrap_err();
            let trap = (most > 0).then_some(&Trap::OutOfMemory);
            assert_eq!(error.downcast_ref(), trap, "{error:#}");
            let text = message::<()>(Err(error));
            assert!(text.contains("for the GC heap: asking the bank: no credit"), "{text}");
        }
        let mut store = Store::new(&engine, Broke(0));
        store.limiter(|broke| broke);
        let error = format!("{:#}", ExternRef::new(&mut store, 7).unwrap_err());
        assert!(error.ends_with("for the GC heap: asking the bank: no credit"), "{error}");
        Ok(())
    })
}

/// The limit of memories is that of the heap too, unless the heap has its own.
#[test]
fn constant_limits_hold_for_the_heap() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(setting.config().gc_zeal(0))?;
        let limits = StoreLimitsBuilder::new().memory_size(256 << 10);
        for (limits, most) in [(limits.clone(), 256 << 10), (limits.gc_heap_size(2 << 20), 2 << 20)]
        {
            let mut store = limited(&engine, limits.build());
            let ty = ArrayType::new(&engine, FieldType::new(Mutability::Var, StorageType::I8));
            new_array(&mut store, &ty, &Val::I32(0), most as u32 / 4)?;
            let error = new_array(&mut store, &ty, &Val::I32(0), most as u32).unwrap_err();
            error.downcast_ref::<GcHeapOutOfMemory<()>>().context("out of memory")?;
            assert!(Memory::new(&mut store, MemoryType::new(5, None)).is_err());
        }
        Ok(())
    })
}

/// A limiter that knows nothing of GC heaps.
struct Bytes(usize);

impl ResourceLimiter for Bytes {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= self.0)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
        Ok(true)
    }
}

#[test]
fn a_limiter_of_memories_limits_the_heap_too() -> Result<()> {
    let wat = r#"(module
        (type $list (struct (field (ref null $list)) (field i64 i64 i64 i64)))
        (global $kept (mut (ref null $list)) (ref.null $list))
        (func (export "keep") (loop
            (global.set $kept (struct.new $list
                (global.get $kept) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))
            (br 0))))"#;
    each_collector(|setting| {
        let engine = setting.engine()?;
        let module = Module::new(&engine, wat)?;
        let mut store = Store::new(&engine, Bytes(2 << 20));
        store.limiter(|bytes| bytes);
        let instance = Instance::new(&mut store, &module, &[])?;
        let keep = instance.get_typed_func::<(), ()>(&mut store, "keep")?;
        let error = keep.call(&mut store, ()).unwrap_err();
        // As Wasmtime's error, and as a trap.
        assert!(error.is::<GcHeapOutOfMemory<()>>(), "{error:#}");
        assert_eq!(error.downcast_ref(), Some(&Trap::OutOfMemory));
        assert!(store.gc_heap_capacity() <= 2 << 20);
        Ok(())
    })
}

#[test]
fn the_type_of_what_has_grown_is_as_it_was() -> Result<()> {
    let mut store = Store::<()>::default();
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(9)))?;
    let ty = TableType::new(RefType::FUNCREF, 1, Some(9));
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    memory.grow(&mut store, 3)?;
    table.grow(&mut store, 3, Ref::Func(None))?;
    assert_eq!((memory.ty(&store).minimum(), memory.size(&store)), (1, 4));
    assert_eq!((table.ty(&store).minimum(), table.size(&store)), (1, 4));
    // What is there decides whether it can be imported.
    let wat = r#"(module (import "" "m" (memory 4 9)) (import "" "t" (table 4 9 funcref)))"#;
    let module = Module::new(store.engine(), wat)?;
    Instance::new(&mut store, &module, &[memory.into(), table.into()])?;
    Ok(())
}
