//! Asynchronous calls: host functions that wait, references in suspended calls, futures that are
//! dropped, polled on other threads or nested.

mod common;
#[path = "common/executor.rs"]
mod executor;

use anyhow::{Result, bail};
use common::{Drops, Setting, each_collector, everywhere, message, panic_message, trap};
use executor::{block_on, block_on_counted, block_on_threads, poll, poll_times, wait};
use gc_wasm::{
    AnyRef, AsContextMut, Caller, Config, Engine, ExternRef, Func, FuncType, Instance, Linker,
    Module, OwnedRooted, RootScope, Rooted, Store, ThrownException, Trap, TypedFunc,
    UpdateDeadline, Val, ValType,
};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// `run(n, e)` keeps references of all kinds while it waits, and calls itself by the host. It returns
/// the sum of all numbers that it finds in them, which is 5 times the sum of 1 to `n`.
const KEEPS: &str = r#"(module
    (type $pair (struct (field $value (mut i32)) (field $next (mut (ref null $pair)))))
    (type $array (array (mut anyref)))
    (import "host" "wait" (func $wait))
    (import "host" "recurse" (func $recurse (param i32) (result i32)))
    (import "host" "number" (func $number (param externref) (result i32)))
    (tag $e (param (ref $pair)))
    (global $g (mut (ref null $pair)) (ref.null $pair))
    (func $new (param i32) (result (ref $pair))
        (struct.new $pair (local.get 0) (ref.null $pair)))
    (func $first (param anyref) (result i32)
        (struct.get $pair $value (ref.cast (ref $pair) (local.get 0))))
    (func (export "run") (param $n i32) (param $e externref) (result i32)
        (local $pair (ref null $pair)) (local $array (ref null $array)) (local $sum i32)
        (local.set $pair (call $new (local.get $n)))
        (struct.set $pair $next (local.get $pair) (call $new (local.get $n)))
        (local.set $array (array.new $array (call $new (local.get $n)) (i32.const 3)))
        (if (i32.gt_u (local.get $n) (i32.const 1))
            (then (local.set $sum (call $recurse (i32.sub (local.get $n) (i32.const 1)))))
            (else (call $wait)))
        ;; An exception keeps one too.
        (block $caught (result (ref $pair))
            (try_table (catch $e $caught) (throw $e (call $new (local.get $n))))
            (unreachable))
        (global.set $g)
        (call $wait)
        (local.set $sum (i32.add (local.get $sum) (call $first (local.get $pair))))
        (local.set $sum (i32.add (local.get $sum)
            (call $first (struct.get $pair $next (local.get $pair)))))
        (local.set $sum (i32.add (local.get $sum)
            (call $first (array.get $array (local.get $array) (i32.const 2)))))
        (local.set $sum (i32.add (local.get $sum) (call $first (global.get $g))))
        (i32.add (local.get $sum) (call $number (local.get $e)))))"#;

type Run = TypedFunc<(i32, Option<Rooted<ExternRef>>), i32>;

/// The host's data of a store with an instance of [`KEEPS`].
#[derive(Default)]
struct Data {
    run: Option<Run>,
    drops: Drops,
}

/// A store with an instance of [`KEEPS`]. Each wait collects and is pending a few times.
fn keeps(engine: &Engine) -> Result<Store<Data>> {
    let mut linker = Linker::<Data>::new(engine);
    linker.func_wrap_async("host", "wait", |mut caller, ()| {
        Box::new(async move {
            let counted = caller.data().drops.value();
            wait(1).await;
            caller.gc_async(None).await?;
            let mut garbage = RootScope::new(&mut caller);
            for n in 0..20 {
                ExternRef::new(&mut garbage, n)?;
            }
            drop(garbage);
            wait(1).await;
            drop(counted);
            anyhow::Ok(())
        })
    })?;
    linker.func_wrap_async("host", "recurse", |mut caller, (n,): (i32,)| {
        Box::new(async move { run(&mut caller, n).await })
    })?;
    linker.func_wrap(
        "host",
        "number",
        |caller: Caller<'_, Data>, number: Option<Rooted<ExternRef>>| {
            let number = number.unwrap();
            let Some(data) = number.data(&caller)? else { bail!("no host value") };
            Ok(data.downcast_ref::<(i32, common::Counted)>().unwrap().0)
        },
    )?;
    let mut store = Store::new(engine, Data::default());
    let module = Module::new(engine, KEEPS)?;
    let instance = block_on(linker.instantiate_async(&mut store, &module))?;
    store.data_mut().run = Some(instance.get_typed_func(&mut store, "run")?);
    Ok(store)
}

/// Calls `run` with `n`, and a host value with this number.
async fn run(mut store: impl AsContextMut<Data = Data>, n: i32) -> Result<i32> {
    let mut scope = RootScope::new(&mut store);
    let mut context = scope.as_context_mut();
    let (run, drops) = (context.data().run.clone().unwrap(), context.data().drops.value());
    let number = ExternRef::new(&mut context, (n, drops))?;
    run.call_async(&mut context, (n, Some(number))).await
}

fn expected(n: i32) -> i32 {
    5 * n * (n + 1) / 2
}

#[test]
fn suspended_calls_keep_their_references() -> Result<()> {
    everywhere(|setting| {
        let mut store = keeps(&setting.engine()?)?;
        let (sum, pending) = block_on_counted(run(&mut store, 4));
        assert_eq!(sum?, expected(4));
        // Each wait, two times, and the increments of the collections.
        assert!(pending >= 10, "{pending}");
        assert_eq!(block_on_threads(run(&mut store, 4))?, expected(4));
        Ok(())
    })
}

/// Held by a test that counts mappings, and by one that has many of them for a long time.
fn many_mappings() -> MutexGuard<'static, ()> {
    static HELD: Mutex<()> = Mutex::new(());
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn futures_that_are_dropped_leak_nothing() -> Result<()> {
    let _held = many_mappings();
    everywhere(|setting| {
        let mappings = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let (before, mut ready) = (mappings(), 0);
        let engine = setting.engine()?;
        // Half of the ten thousand with the collectors' usual settings, and half under zeal.
        let stores = if setting.zeal { 5 } else { 25 };
        let mut random = 1u64;
        for _ in 0..stores {
            let mut store = keeps(&engine)?;
            let drops = store.data().drops.clone();
            for _ in 0..50 {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let times = usize::try_from(random >> 33).unwrap() % 40;
                ready += usize::from(poll_times(run(&mut store, 3), times));
            }
            // The store can be used, and the host values in its heap are garbage.
            assert_eq!(block_on(run(&mut store, 3))?, expected(3));
            store.gc(None)?;
            if setting.reclaims() {
                store.gc(None)?;
                assert_eq!(drops.count(), drops.made(), "host values are kept");
            }
            drop(store);
            assert_eq!(drops.count(), drops.made());
        }
        assert!(ready > 0 && ready < stores * 50, "{ready}");
        // A leak would be two mappings for each future. Other tests run beside this one, but what they
        // map goes away.
        let grown = || mappings().saturating_sub(before);
        let waited = (0..600).find(|_| {
            let few = grown() < 1000;
            if !few {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            few
        });
        assert!(waited.is_some(), "{} more mappings", grown());
        Ok(())
    })
}

#[test]
fn ten_thousand_dropped_futures() -> Result<()> {
    each_collector(|setting| {
        let mut store = keeps(&setting.engine()?)?;
        let drops = store.data().drops.clone();
        let mut random = 7u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let times = usize::try_from(random >> 33).unwrap() % 12;
            poll_times(run(&mut store, 2), times);
        }
        assert_eq!(block_on(run(&mut store, 2))?, expected(2));
        drop(store);
        assert_eq!(drops.count(), drops.made());
        Ok(())
    })
}

#[test]
fn functions_of_all_kinds_wait() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 3);
    let ty = FuncType::new(&engine, [ValType::I32], [ValType::I32]);
    let new = Func::new_async(&mut store, ty.clone(), |caller, params, results| {
        Box::new(async move {
            wait(*caller.data()).await;
            results[0] = Val::I32(params[0].unwrap_i32() + 1);
            Ok(())
        })
    });
    let wrapped = Func::wrap_async(&mut store, |caller: Caller<'_, usize>, (n,): (i32,)| {
        Box::new(async move {
            wait(*caller.data()).await;
            n + 1
        })
    });
    let mut linker = Linker::new(&engine);
    linker.func_new_async("", "new", ty, |caller: Caller<'_, usize>, params, results| {
        Box::new(async move {
            wait(*caller.data()).await;
            results[0] = Val::I32(params[0].unwrap_i32() + 1);
            Ok(())
        })
    })?;
    let linked = linker.get(&mut store, "", "new")?.into_func().unwrap();
    for func in [new, wrapped, linked] {
        let mut results = [Val::I32(0)];
        let call = func.call_async(&mut store, &[Val::I32(4)], &mut results);
        let (result, pending) = block_on_counted(call);
        result?;
        assert_eq!((results[0].unwrap_i32(), pending), (5, 3));
        let typed = func.typed::<i32, i32>(&store)?;
        assert_eq!(block_on_counted(typed.call_async(&mut store, 6)).0?, 7);
    }
    // An error and a panic of a future.
    let fails = Func::wrap_async(&mut store, |_caller, (): ()| {
        Box::new(async { Err::<(), _>(anyhow::anyhow!("no")) })
    });
    assert_eq!(message(block_on(fails.call_async(&mut store, &[], &mut []))), "no");
    let panics = Func::wrap_async(&mut store, |_caller, (n,): (i32,)| {
        Box::new(async move {
            wait(1).await;
            assert_eq!(n, 0, "a panic");
        })
    });
    let panics = panics.typed::<i32, ()>(&store)?;
    let text = panic_message(|| block_on(panics.call_async(&mut store, 1)));
    assert!(text.contains("a panic"), "{text}");
    block_on(panics.call_async(&mut store, 0))?;
    // A result that was forgotten.
    let ty = FuncType::new(&engine, [], [ValType::I32]);
    let forgets = Func::new_async(&mut store, ty, |_, _, _| Box::new(async { Ok(()) }));
    let result = block_on(forgets.call_async(&mut store, &[], &mut [Val::I32(0)]));
    assert!(message(result).starts_with("function attempted to return an incompatible value"));
    Ok(())
}

#[test]
fn calls_that_are_not_asynchronous_are_refused() -> Result<()> {
    type Require<'a> = &'a dyn Fn(&mut Store<()>) -> Result<()>;
    const REFUSED: &str = "store configuration requires that `*_async` functions are used instead";
    let mut config = Config::new();
    let engine = Engine::new(config.consume_fuel(true).epoch_interruption(true))?;
    let module = Module::new(&engine, "(module (func (export \"f\")))")?;
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap_async("", "", |_, (): ()| Box::new(async {}))?;
    let requires: [Require<'_>; 4] = [
        &|store| {
            Func::wrap_async(store, |_, (): ()| Box::new(async {}));
            Ok(())
        },
        &|store| linker.get(store, "", "").map(drop),
        &|store| store.fuel_async_yield_interval(Some(1)),
        &|store| {
            store.epoch_deadline_async_yield_and_update(1);
            Ok(())
        },
    ];
    for require in requires {
        let mut store = Store::new(&engine, ());
        store.set_fuel(1000)?;
        store.set_epoch_deadline(10);
        let instance = Instance::new(&mut store, &module, &[])?;
        let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
        f.call(&mut store, ())?;
        require(&mut store)?;
        assert_eq!(message(f.call(&mut store, ())), REFUSED);
        assert_eq!(message(f.func().call(&mut store, &[], &mut [])), REFUSED);
        assert_eq!(message(Instance::new(&mut store, &module, &[])), REFUSED);
        let pre = Linker::new(&engine).instantiate_pre(&module)?;
        assert_eq!(message(pre.instantiate(&mut store)), REFUSED);
        block_on(f.call_async(&mut store, ()))?;
        block_on(pre.instantiate_async(&mut store))?;
        block_on(Instance::new_async(&mut store, &module, &[]))?;
    }
    Ok(())
}

/// A host function may make calls on its own, with futures that it polls itself.
#[test]
fn calls_are_nested_in_all_ways() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let waits = Func::wrap_async(&mut store, |_, (): ()| Box::new(wait(2)));
        // Not asynchronous itself. It drops the first future in the middle.
        let polls = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> Result<i32> {
            assert!(!poll_times(waits.call_async(&mut caller, &[], &mut []), 2));
            let (result, pending) = block_on_counted(waits.call_async(&mut caller, &[], &mut []));
            result?;
            Ok(i32::try_from(pending)?)
        });
        // Waits for a future that it drops when another one is ready.
        let selects = Func::wrap_async(&mut store, move |mut caller, (): ()| {
            Box::new(async move {
                let mut first = Box::pin(wait(1));
                {
                    let mut second = pin!(waits.call_async(&mut caller, &[], &mut []));
                    std::future::poll_fn(|context| {
                        assert!(second.as_mut().poll(context).is_pending());
                        first.as_mut().poll(context)
                    })
                    .await;
                }
                waits.call_async(&mut caller, &[], &mut []).await.map(|()| 5)
            })
        });
        let module = Module::new(
            &engine,
            r#"(module
                (type $box (struct (field i32)))
                (import "" "polls" (func $polls (result i32)))
                (import "" "selects" (func $selects (result i32)))
                (func (export "f") (result i32) (local (ref null $box))
                    (local.set 0 (struct.new $box (i32.const 100)))
                    (i32.add (i32.add (call $polls) (call $selects))
                        (struct.get $box 0 (local.get 0)))))"#,
        )?;
        let imports = [polls.into(), selects.into()];
        let instance = block_on(Instance::new_async(&mut store, &module, &imports))?;
        let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
        assert_eq!(block_on_threads(f.call_async(&mut store, ()))?, 107);
        Ok(())
    })
}

#[test]
fn what_ends_a_call_ends_an_asynchronous_one() -> Result<()> {
    let text = r#"(module
        (import "" "wait" (func $wait))
        (tag $e)
        (memory 1)
        (func (export "trap") (call $wait) (drop (i32.load (i32.const -1))))
        (func (export "throw") (call $wait) (throw $e))
        (func $overflow (export "overflow") (call $overflow))
        (func (export "catch") (call $wait)
            (block (try_table (catch_all 0) (call $wait) (throw $e)))
            (loop (block (try_table (catch_all 0) (call $wait) (return))) (br 0)))
        (func $start (call $wait))
        (start $start))"#;
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let waits = Func::wrap_async(&mut store, |_, (): ()| Box::new(wait(1)));
        let module = Module::new(&engine, text)?;
        let imports = [waits.into()];
        let new = Instance::new_async(&mut store, &module, &imports);
        let (instance, pending) = block_on_counted(new);
        assert_eq!(pending, 1);
        let instance = instance?;
        // Polled once and then dropped.
        assert!(!poll_times(Instance::new_async(&mut store, &module, &imports), 1));
        let mut func = |name| instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        let [traps, throws, overflows, catches] =
            ["trap", "throw", "overflow", "catch"].map(&mut func);
        for threads in [false, true] {
            let mut call = |func: &TypedFunc<(), ()>| match threads {
                true => block_on_threads(func.call_async(&mut store, ())),
                false => block_on(func.call_async(&mut store, ())),
            };
            assert_eq!(trap(call(&traps)), Trap::MemoryOutOfBounds);
            assert!(call(&throws).unwrap_err().is::<ThrownException>());
            assert_eq!(trap(call(&overflows)), Trap::StackOverflow);
            call(&catches)?;
        }
        // The error of a dropped future is no exception, so the handlers do not catch it.
        for polls in 0..3 {
            assert!(!poll_times(catches.call_async(&mut store, ()), polls));
        }
        Ok(())
    })
}

#[test]
fn an_interrupt_ends_a_suspended_call() -> Result<()> {
    let engine = Engine::new(Config::new().interruptible(true))?;
    let mut store = Store::new(&engine, ());
    let waits = Func::wrap_async(&mut store, |_, (): ()| Box::new(wait(1)));
    let text =
        r#"(module (import "" "" (func $wait)) (func (export "f") (call $wait) (loop (br 0))))"#;
    let module = Module::new(&engine, text)?;
    let instance = block_on(Instance::new_async(&mut store, &module, &[waits.into()]))?;
    let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
    let handle = store.interrupt_handle()?;
    let mut call = Box::pin(f.call_async(&mut store, ()));
    assert!(poll(call.as_mut()).is_pending());
    handle.interrupt();
    let Poll::Ready(result) = poll(call.as_mut()) else { panic!("it waits once") };
    assert_eq!(trap(result), Trap::Interrupt);
    drop(call);
    assert_eq!(trap(block_on(f.call_async(&mut store, ()))), Trap::Interrupt);
    store.clear_interrupt()
}

#[test]
fn fuel_yields_between_its_portions() -> Result<()> {
    let text = r#"(module (func (export "hang") (loop (br 0))))"#;
    each_collector(|setting| {
        let engine = Engine::new(setting.config().consume_fuel(true))?;
        let mut store = Store::new(&engine, ());
        store.set_fuel(10_000)?;
        store.fuel_async_yield_interval(Some(100))?;
        let module = Module::new(&engine, text)?;
        let instance = block_on(Instance::new_async(&mut store, &module, &[]))?;
        let hang = instance.get_typed_func::<(), ()>(&mut store, "hang")?;
        let (result, pending) = block_on_counted(hang.call_async(&mut store, ()));
        assert_eq!(trap(result), Trap::OutOfFuel);
        assert_eq!(pending, 99);
        assert_eq!(store.get_fuel()?, 0);
        // A call that is dropped keeps its fuel.
        store.set_fuel(10_000)?;
        assert!(!poll_times(hang.call_async(&mut store, ()), 3));
        let left = store.get_fuel()?;
        assert!((9_600..9_800).contains(&left), "{left}");
        // Without portions.
        store.fuel_async_yield_interval(None)?;
        assert_eq!(block_on_counted(hang.call_async(&mut store, ())).1, 0);
        Ok(())
    })
}

#[test]
fn epochs_yield() -> Result<()> {
    let text = r#"(module (func (export "count") (param i32)
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))))"#;
    each_collector(|setting| {
        let engine = Engine::new(setting.config().epoch_interruption(true))?;
        let module = Module::new(&engine, text)?;
        let mut store = Store::new(&engine, 0);
        let instance = Instance::new(&mut store, &module, &[])?;
        let count = instance.get_typed_func::<i32, ()>(&mut store, "count")?;
        // The next deadline is always reached.
        store.epoch_deadline_async_yield_and_update(0);
        let (result, pending) = block_on_counted(count.call_async(&mut store, 10));
        result?;
        // At the beginning of the function, and of each turn of the loop.
        assert_eq!(pending, 11);
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            Ok(match *store.data() % 3 {
                0 => UpdateDeadline::Continue(0),
                1 => UpdateDeadline::Yield(0),
                _ => UpdateDeadline::YieldCustom(0, Box::pin(wait(5))),
            })
        });
        let (result, pending) = block_on_counted(count.call_async(&mut store, 11));
        result?;
        assert_eq!(pending, 4 + 4 * 5);
        // In a call that cannot wait.
        let mut store = Store::new(&engine, 0);
        let instance = Instance::new(&mut store, &module, &[])?;
        let count = instance.get_typed_func::<i32, ()>(&mut store, "count")?;
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        assert_eq!(
            message(count.call(&mut store, 10)),
            "cannot use `UpdateDeadline::Yield` without an asynchronous call"
        );
        Ok(())
    })
}

type Call<'a> = Pin<Box<dyn Future<Output = Result<i32>> + Send + 'a>>;

/// Stores with suspended calls, all at once, polled by two threads in turn.
#[test]
fn many_calls_are_suspended_at_once() -> Result<()> {
    let _held = many_mappings();
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut stores = Vec::new();
        for _ in 0..200 {
            stores.push(keeps(&engine)?);
        }
        let mut calls: Vec<Call<'_>> =
            stores.iter_mut().map(|store| Box::pin(run(store, 2)) as _).collect();
        let sum = AtomicUsize::new(0);
        let is_pending = |call: &mut Call<'_>| match poll(call.as_mut()) {
            Poll::Ready(result) => {
                sum.fetch_add(usize::try_from(result.unwrap()).unwrap(), Ordering::SeqCst);
                false
            }
            Poll::Pending => true,
        };
        while !calls.is_empty() {
            // The calls change between the threads.
            let mut others = calls.split_off(calls.len() / 2);
            std::thread::scope(|scope| {
                scope.spawn(|| others.retain_mut(is_pending));
                calls.retain_mut(is_pending);
            });
            others.append(&mut calls);
            calls = others;
        }
        assert_eq!(sum.load(Ordering::SeqCst), 200 * usize::try_from(expected(2))?);
        Ok(())
    })
}

/// References that a host function keeps while it waits.
#[test]
fn handles_live_through_waits() -> Result<()> {
    everywhere(|setting: &Setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let ty = FuncType::new(&engine, [ValType::ANYREF], [ValType::ANYREF]);
        let keeps = Func::new_async(&mut store, ty, |mut caller, params, results| {
            Box::new(async move {
                let owned: Option<OwnedRooted<AnyRef>> = params[0]
                    .unwrap_anyref()
                    .map(|r| r.to_owned_rooted(&mut caller))
                    .transpose()?;
                wait(2).await;
                caller.gc_async(None).await?;
                caller.gc(None)?;
                results[0] = owned.map(|r| r.to_rooted(&mut caller)).into();
                Ok(())
            })
        });
        let text = r#"(module
            (type $box (struct (field i32)))
            (import "" "" (func $keep (param anyref) (result anyref)))
            (func (export "f") (result i32)
                (struct.get $box 0 (ref.cast (ref $box)
                    (call $keep (struct.new $box (i32.const 9)))))))"#;
        let module = Module::new(&engine, text)?;
        let instance = block_on(Instance::new_async(&mut store, &module, &[keeps.into()]))?;
        let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
        assert_eq!(block_on_threads(f.call_async(&mut store, ()))?, 9);
        Ok(())
    })
}

/// A heap that is half collected cannot be used.
#[test]
fn a_forgotten_collection_is_noticed() -> Result<()> {
    everywhere(|setting| {
        let mut store = keeps(&setting.engine()?)?;
        assert!(block_on(run(&mut store, 2)).is_ok());
        let mut forgotten = false;
        {
            let mut collection = Box::pin(store.gc_async(None));
            if poll(collection.as_mut()).is_pending() {
                forgotten = true;
                std::mem::forget(collection);
            }
        }
        let result = block_on(run(&mut store, 2));
        match forgotten {
            true => assert!(message(result).contains("interrupted"), "{setting}"),
            false => assert!(result.is_ok()),
        }
        Ok(())
    })
}
