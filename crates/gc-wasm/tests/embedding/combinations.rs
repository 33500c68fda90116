//! What parts of the engine do together: pools with asynchronous calls and with types that are freed,
//! call hooks and limiters in asynchronous calls, caches with fuel and epochs.

use crate::common::{Setting, each_collector, everywhere};
use crate::executor::{block_on, block_on_counted, block_on_threads, poll, poll_times, wait};
use anyhow::{Context as _, Error, Result, bail, ensure};
use gc_wasm::CallHook::{CallingHost, CallingWasm, ReturningFromHost, ReturningFromWasm};
use gc_wasm::{
    Cache, CacheConfig, CallHook, Caller, Config, Engine, ExternRef, Func, FuncType, Instance,
    Linker, MemoryCache, Module, OperatorCost, PoolConcurrencyLimitError, PoolingAllocationConfig,
    PoolingAllocatorMetrics, ResourceLimiter, Rooted, Store, TypedFunc, Val, ValType,
};
use std::sync::Arc;

/// An engine with a pool of so many stacks and heaps.
fn pooled(setting: &Setting, stacks: u32, heaps: u32) -> Result<(Engine, PoolingAllocatorMetrics)> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_stacks(stacks).total_gc_heaps(heaps);
    let engine = Engine::new(setting.config().allocation_strategy(pool))?;
    let metrics = engine.pooling_allocator_metrics().context("there is a pool")?;
    Ok((engine, metrics))
}

/// A module whose objects are laid out in another way for each `shape` from 0 to 8, and whose first
/// types are arrays or structs in turn. `sum(n)` makes a list of the numbers from 1 to `n`, waits, and
/// returns their sum, which it finds in the list.
fn shaped(engine: &Engine, shape: usize) -> Result<Module> {
    let (links, numbers) = (shape % 3 + 1, shape / 3);
    let repeat = |text: &str, count| text.repeat(count);
    let element = if shape.is_multiple_of(2) { "i8" } else { "(ref null $cell)" };
    let array = format!("(type $array (array (mut {element})))");
    let cell = format!(
        "(type $cell (struct (field $next (ref null $cell)) {} {} (field $n i32)))",
        repeat("(field (ref null $cell))", links - 1),
        repeat("(field i64)", numbers)
    );
    let types = match shape.is_multiple_of(2) {
        true => array + &cell,
        false => cell + &array,
    };
    let text = format!(
        r#"(module
            (rec {types})
            (import "host" "wait" (func $wait))
            (func (export "sum") (param $n i32) (result i32)
                (local $list (ref null $cell)) (local $sum i32) (local $array (ref null $array))
                (loop $more
                    (local.set $array (array.new_default $array (local.get $n)))
                    (local.set $list (struct.new $cell {} {} (local.get $n)))
                    (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                    (br_if $more (local.get $n)))
                (call $wait)
                (loop $more
                    (local.set $sum
                        (i32.add (local.get $sum) (struct.get $cell $n (local.get $list))))
                    (local.set $list (struct.get $cell $next (local.get $list)))
                    (br_if $more (i32.eqz (ref.is_null (local.get $list)))))
                (i32.sub (i32.add (local.get $sum) (array.len (local.get $array))) (i32.const 1))))"#,
        repeat("(local.get $list)", links),
        repeat("(i64.const -1)", numbers),
    );
    Module::new(engine, text)
}

type Sum = TypedFunc<i32, i32>;

/// A store with an instance of the module. It collects while it waits, and calls the function that is
/// its data first, if there is one.
fn waiting(engine: &Engine, module: &Module) -> Result<(Store<Option<Sum>>, Sum)> {
    let mut linker = Linker::<Option<Sum>>::new(engine);
    linker.func_wrap_async("host", "wait", |mut caller, (): ()| {
        Box::new(async move {
            if let Some(sum) = caller.data_mut().take() {
                ensure!(sum.call_async(&mut caller, 4).await? == 10);
            }
            wait(1).await;
            caller.gc_async(None).await
        })
    })?;
    let mut store = Store::new(engine, None);
    let instance = block_on(linker.instantiate_async(&mut store, module))?;
    let sum = instance.get_typed_func(&mut store, "sum")?;
    Ok((store, sum))
}

fn has_no_stack(error: &Error) -> bool {
    let text = "maximum concurrent limit of 2 for fibers reached";
    error.is::<PoolConcurrencyLimitError>() && format!("{error:#}").contains(text)
}

#[test]
fn pooled_stacks_are_limited_and_given_back() -> Result<()> {
    everywhere(|setting| {
        let (engine, metrics) = pooled(setting, 2, 3)?;
        let module = shaped(&engine, 4)?;
        for _ in 0..3 {
            let (mut one, sum_of_one) = waiting(&engine, &module)?;
            let (mut two, sum_of_two) = waiting(&engine, &module)?;
            let (mut three, sum) = waiting(&engine, &module)?;
            let mut first = Box::pin(sum_of_one.call_async(&mut one, 10));
            let mut second = Box::pin(sum_of_two.call_async(&mut two, 20));
            assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
            assert_eq!((metrics.stacks(), metrics.gc_heaps()), (2, 3));
            assert!(has_no_stack(&block_on(sum.call_async(&mut three, 10)).unwrap_err()));
            let again = block_on(Instance::new_async(&mut three, &module, &[])).unwrap_err();
            assert!(has_no_stack(&again), "{again:?}");
            // Suspended calls can be dropped, and others go on.
            drop(first);
            assert_eq!(metrics.stacks(), 1);
            // A call within a call needs a stack of its own.
            *three.data_mut() = Some(sum.clone());
            let nested = block_on(sum.call_async(&mut three, 10)).unwrap_err();
            assert!(has_no_stack(&nested), "{nested:?}");
            assert_eq!(block_on(sum.call_async(&mut three, 10))?, 55);
            assert_eq!(block_on_threads(second)?, 210);
            *three.data_mut() = Some(sum.clone());
            assert_eq!(block_on(sum.call_async(&mut three, 10))?, 55);
            assert_eq!(block_on(sum_of_one.call_async(&mut one, 10))?, 55);
            assert_eq!((metrics.stacks(), metrics.unused_warm_stacks()), (0, 2));
        }
        assert_eq!((metrics.gc_heaps(), metrics.unused_warm_gc_heaps()), (0, 3));
        Ok(())
    })
}

/// One heap for stores whose types have the same indices and other layouts.
#[test]
fn a_pooled_heap_knows_only_the_types_of_its_store() -> Result<()> {
    everywhere(|setting| {
        let (engine, metrics) = pooled(setting, 2, 1)?;
        for (round, shape) in [0, 4, 1, 8, 3, 2, 5, 0, 7, 6].into_iter().enumerate() {
            let module = shaped(&engine, shape)?;
            let (mut store, sum) = waiting(&engine, &module)?;
            let mut call = Box::pin(sum.call_async(&mut store, 30));
            assert!(poll(call.as_mut()).is_pending());
            // Only the store has the types now. Others do not get their indices.
            drop(module);
            let others: Result<Vec<_>> = (0..9).map(|n| shaped(&engine, shape + 1 + n)).collect();
            drop(others?);
            // Some stores are dropped with objects that a call has left.
            if round % 3 < 2 {
                assert_eq!(block_on(call)?, 465, "{shape}");
            } else {
                drop(call);
            }
            if round.is_multiple_of(2) {
                store.gc(None)?;
            }
            drop(store);
            assert_eq!((metrics.gc_heaps(), metrics.unused_warm_gc_heaps()), (0, 1));
        }
        Ok(())
    })
}

/// The code of modules in a cache has no indices of types in it.
#[test]
fn cached_modules_find_their_types_in_pooled_stores() -> Result<()> {
    let folder = Folder::new("types");
    each_collector(|setting| {
        let cache = folder.cache()?;
        let mut pool = PoolingAllocationConfig::new();
        pool.total_gc_heaps(1).total_stacks(1);
        let config = || {
            let mut config = setting.config();
            config.allocation_strategy(pool.clone()).cache(Some(cache.clone())).gc_zeal(3);
            config
        };
        let engine = Engine::new(&config())?;
        for round in 0..3 {
            for shape in 0..9 {
                // So that the types have other indices each time.
                let others: Result<Vec<_>> =
                    (0..round).map(|n| shaped(&engine, shape + n)).collect();
                let others = others?;
                let module = shaped(&engine, shape)?;
                drop(others);
                let (mut store, sum) = waiting(&engine, &module)?;
                drop(module);
                assert_eq!(block_on(sum.call_async(&mut store, 30))?, 465, "{shape}");
            }
        }
        // Shapes up to 10 were made.
        assert_eq!(cache.cache_misses(), 10);
        let other = Engine::new(&config())?;
        let (mut store, sum) = waiting(&other, &shaped(&other, 2)?)?;
        assert_eq!(block_on(sum.call_async(&mut store, 30))?, 465);
        assert_eq!(cache.cache_misses(), 10);
        Ok(())
    })
}

const HOST_ALONE: [CallHook; 4] = [CallingWasm, CallingHost, ReturningFromHost, ReturningFromWasm];

/// The host's data of a store with a hook.
#[derive(Default)]
struct Seen {
    changes: Vec<CallHook>,
    fail_at: Option<CallHook>,
}

impl Seen {
    fn take(store: &mut Store<Seen>) -> Vec<CallHook> {
        std::mem::take(&mut store.data_mut().changes)
    }
}

/// Each host function that begins ends, also if its future is dropped. Hooks collect.
#[test]
fn hooks_see_asynchronous_calls() -> Result<()> {
    type E = Option<Rooted<ExternRef>>;
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, Seen::default());
        store.call_hook(|mut store, change| {
            store.data_mut().changes.push(change);
            ExternRef::new(&mut store, "garbage")?;
            store.gc(None)?;
            if store.data().fail_at == Some(change) {
                bail!("failed at {change:?}");
            }
            Ok(())
        });
        let wrapped = Func::wrap_async(&mut store, |mut caller: Caller<'_, Seen>, (e,): (E,)| {
            Box::new(async move {
                assert_eq!(caller.data().changes.last(), Some(&CallingHost));
                wait(1).await;
                caller.gc_async(None).await?;
                wait(1).await;
                if e.is_none() {
                    bail!("no value");
                }
                anyhow::Ok(e)
            })
        });
        let ty = FuncType::new(&engine, [ValType::EXTERNREF], [ValType::EXTERNREF]);
        let made = Func::new_async(&mut store, ty, |mut caller, params, results| {
            Box::new(async move {
                assert_eq!(caller.data().changes.last(), Some(&CallingHost));
                wait(1).await;
                caller.gc_async(None).await?;
                wait(1).await;
                if params[0].unwrap_externref().is_none() {
                    bail!("no value");
                }
                results[0] = params[0];
                Ok(())
            })
        });
        for func in [wrapped, made] {
            let module = Module::new(
                &engine,
                r#"(module (import "" "" (func $f (param externref) (result externref)))
                    (func (export "run") (param externref) (result externref)
                        (call $f (local.get 0))))"#,
            )?;
            let instance = block_on(Instance::new_async(&mut store, &module, &[func.into()]))?;
            assert_eq!(Seen::take(&mut store), []);
            let run = instance.get_func(&mut store, "run").context("it is exported")?;
            for func in [func, run] {
                let typed = func.typed::<E, E>(&store)?;
                for n in 0..3 {
                    let e = ExternRef::new(&mut store, n)?;
                    let same = block_on(typed.call_async(&mut store, Some(e)))?;
                    let same = same.context("a value")?;
                    assert_eq!(same.data(&store)?.context("of the host")?.downcast_ref(), Some(&n));
                    let mut results = [Val::I32(0)];
                    block_on(func.call_async(&mut store, &[e.into()], &mut results))?;
                    let same = results[0].unwrap_externref().context("a value")?;
                    assert_eq!(same.data(&store)?.context("of the host")?.downcast_ref(), Some(&n));
                    assert_eq!(Seen::take(&mut store), [HOST_ALONE, HOST_ALONE].concat());
                }
                // A function that fails, and one whose future is dropped before it begins, and later.
                let failed = block_on(typed.call_async(&mut store, None)).unwrap_err();
                assert!(format!("{failed:#}").contains("no value"), "{failed:#}");
                assert_eq!(Seen::take(&mut store), HOST_ALONE);
                for polls in 0..3 {
                    assert!(!poll_times(typed.call_async(&mut store, None), polls));
                    let expected = if polls == 0 { &[][..] } else { &HOST_ALONE };
                    assert_eq!(Seen::take(&mut store), expected, "after {polls} polls");
                }
                for (change, expected) in [
                    (CallingWasm, &[CallingWasm][..]),
                    (CallingHost, &[CallingWasm, CallingHost, ReturningFromWasm]),
                    (ReturningFromHost, &HOST_ALONE),
                    (ReturningFromWasm, &HOST_ALONE),
                ] {
                    store.data_mut().fail_at = Some(change);
                    let e = ExternRef::new(&mut store, 7)?;
                    let error = block_on(typed.call_async(&mut store, Some(e))).unwrap_err();
                    assert!(format!("{error:#}").contains(&format!("failed at {change:?}")));
                    assert_eq!(Seen::take(&mut store), expected);
                }
                store.data_mut().fail_at = None;
            }
        }
        Ok(())
    })
}

/// What a limiter was asked, and the most bytes of the heap.
#[derive(Debug, Default)]
struct Asked {
    memory: Vec<usize>,
    table: Vec<usize>,
    heap: usize,
    most: usize,
}

impl ResourceLimiter for Asked {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        self.memory.push(desired >> 16);
        Ok(desired <= 3 << 16)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        self.table.push(desired);
        Ok(desired <= 3)
    }

    fn gc_heap_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        self.heap += 1;
        Ok(desired <= self.most)
    }
}

/// Grows what it has, and waits in between. `fill(n)` keeps `n` arrays of 10 000 bytes.
const GROWS: &str = r#"(module
    (type $bytes (array (mut i8)))
    (type $cell (struct (field (ref $bytes)) (field (ref null $cell))))
    (import "host" "wait" (func $wait))
    (memory 1) (table 1 funcref)
    (global $list (mut (ref null $cell)) (ref.null $cell))
    (func (export "grow") (result i32)
        (call $wait)
        (i32.add (i32.mul (memory.grow (i32.const 1)) (i32.const 10))
            (table.grow (ref.null func) (i32.const 1))))
    (func (export "fill") (param $n i32) (result i32)
        (global.set $list (ref.null $cell))
        (loop $more
            (call $wait)
            (global.set $list (struct.new $cell
                (array.new $bytes (i32.const 7) (i32.const 10000)) (global.get $list)))
            (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (array.get_u $bytes (struct.get $cell 0 (global.get $list)) (i32.const 9999))))"#;

/// The limiter of a store is not asked for another one that gets the heap from the pool.
#[test]
fn limiters_are_asked_in_asynchronous_calls() -> Result<()> {
    everywhere(|setting| {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_stacks(1).total_gc_heaps(1).total_memories(1).total_tables(1);
        let mut config = setting.config();
        config.gc_heap_initial_size(256 << 10).allocation_strategy(pool);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, GROWS)?;
        let mut linker = Linker::<Asked>::new(&engine);
        linker.func_wrap_async("host", "wait", |mut caller: Caller<'_, Asked>, (): ()| {
            Box::new(async move {
                caller.data_mut().most += 1;
                wait(1).await;
                caller.data_mut().most -= 1;
            })
        })?;
        for limited in [true, false, true, false] {
            let most = 1 << 20;
            let mut store = Store::new(&engine, Asked { most, ..Asked::default() });
            if limited {
                store.limiter(|asked| asked);
            }
            let instance = block_on(linker.instantiate_async(&mut store, &module))?;
            let grow = instance.get_typed_func::<(), i32>(&mut store, "grow")?;
            let grown: Result<Vec<i32>> =
                (0..3).map(|_| block_on_threads(grow.call_async(&mut store, ()))).collect();
            let third = if limited { -11 } else { 33 };
            assert_eq!(grown?, [11, 22, third]);
            // Arrays of 200 000 bytes are garbage after each call, so 1 MiB is enough for a collector
            // that frees them.
            let fill = instance.get_typed_func::<i32, i32>(&mut store, "fill")?;
            let fits = if setting.reclaims() { 4 } else { 1 };
            for _ in 0..fits {
                assert_eq!(block_on_threads(fill.call_async(&mut store, 20))?, 7);
            }
            let filled = block_on_threads(fill.call_async(&mut store, 200));
            assert_eq!(filled.is_err(), limited, "{filled:?}");
            if limited {
                assert!(store.gc_heap_capacity() <= most, "{}", store.gc_heap_capacity());
            }
            let asked = store.into_data();
            assert_eq!(asked.heap > 0, limited, "{asked:?}");
            let expected: &[usize] = if limited { &[1, 2, 3, 4] } else { &[] };
            assert_eq!((&asked.memory[..], &asked.table[..]), (expected, expected));
        }
        Ok(())
    })
}

/// A folder that is deleted.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("reclaim-combinations-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    /// A cache of modules in it.
    fn cache(&self) -> Result<Cache> {
        Cache::new(CacheConfig::new().with_directory(&self.0).clone())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Counts down, and makes an object in each turn.
const COUNTS: &str = r#"(module
    (type $cell (struct (field i32) (field (ref null $cell))))
    (func (export "count") (param $n i32) (result i32) (local $last (ref null $cell))
        (loop $more
            (local.set $last (struct.new $cell (local.get $n) (local.get $last)))
            (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (struct.get $cell 0 (local.get $last))))"#;

/// How a config ends code: whether it consumes fuel, and whether it looks at epochs.
type Metering = (bool, bool, fn(&mut Config));

/// What is measured with this config: the fuel that a call consumes, and how often it yields.
fn measured(config: &Config, (fuel, epochs, _): Metering) -> Result<(u64, usize)> {
    const FUEL: u64 = 100_000;
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, COUNTS)?;
    let mut store = Store::new(&engine, ());
    if fuel {
        store.set_fuel(FUEL)?;
        store.fuel_async_yield_interval(Some(100))?;
    }
    if epochs {
        store.epoch_deadline_async_yield_and_update(0);
    }
    let instance = block_on(Instance::new_async(&mut store, &module, &[]))?;
    let count = instance.get_typed_func::<i32, i32>(&mut store, "count")?;
    let (result, pending) = block_on_counted(count.call_async(&mut store, 100));
    assert_eq!(result?, 1);
    Ok((if fuel { FUEL - store.get_fuel()? } else { 0 }, pending))
}

/// Cached code consumes as much as code that was compiled for its engine, and yields as often.
#[test]
fn caches_tell_kinds_of_metering_apart() -> Result<()> {
    let folder = Folder::new("metering");
    each_collector(|setting| {
        let meterings: [Metering; 6] = [
            (false, false, |_| {}),
            (true, false, |config| _ = config.consume_fuel(true)),
            (true, false, |config| {
                let cost = OperatorCost { StructNew: 50, ..Default::default() };
                config.consume_fuel(true).operator_cost(cost);
            }),
            (false, true, |config| _ = config.epoch_interruption(true)),
            (true, true, |config| _ = config.consume_fuel(true).epoch_interruption(true)),
            (false, false, |config| _ = config.interruptible(true)),
        ];
        let config = |metering: Metering| {
            let mut config = setting.config();
            metering.2(&mut config);
            config
        };
        let expected: Result<Vec<_>> =
            meterings.iter().map(|metering| measured(&config(*metering), *metering)).collect();
        let expected = expected?;
        // The call, and in each turn the struct, the operands and the branch.
        let [(none, 0), (usual, yields), (more, _), (0, 101), (both, often), (0, 0)] = expected[..]
        else {
            bail!("{expected:?}")
        };
        assert_eq!((none, both, more), (0, usual, usual + 100 * 49));
        assert!(yields > 0 && often == yields + 101, "{expected:?}");

        let modules = folder.cache()?;
        let functions = Arc::new(MemoryCache::new(1 << 20));
        for round in 0..2 {
            for (metering, expected) in meterings.iter().zip(&expected) {
                let mut config = config(*metering);
                config.enable_incremental_compilation(functions.clone())?;
                assert_eq!(measured(&config, *metering)?, *expected);
                config.cache(Some(modules.clone()));
                assert_eq!(measured(&config, *metering)?, *expected);
            }
            let counts = (modules.cache_hits(), modules.cache_misses());
            assert_eq!(counts, (round * meterings.len(), meterings.len()));
        }
        Ok(())
    })
}
