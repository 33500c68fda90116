//! Several engines at the same time, and one engine's modules and stores on many threads.

use crate::common::{Drops, each_collector, message};
use anyhow::{Context, Result};
use gc_wasm::{
    Caller, Collector, Config, Engine, ExternRef, Instance, Linker, Module, OwnedRooted, Rooted,
    Store, StructRef, Trap, Val,
};
use std::sync::{Arc, Barrier, mpsc};

const WAT: &str = r#"(module
    (type $node (struct (field i32) (field (ref null $node))))
    (import "" "note" (func $note (param i32 externref)))
    (global $kept (mut (ref null $node)) (ref.null $node))
    (global $count (mut i32) (i32.const 0))
    (func (export "run") (param $n i32) (param $x externref) (result i32)
        (local $list (ref null $node)) (local $sum i32)
        (loop $again
            (local.set $list (struct.new $node (local.get $n) (local.get $list)))
            (if (i32.eqz (i32.rem_u (local.get $n) (i32.const 64)))
                (then (call $note (local.get $n) (local.get $x))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (global.set $kept (local.get $list))
        (loop $again
            (local.set $sum
                (i32.add (local.get $sum) (struct.get $node 0 (local.get $list))))
            (br_if $again (i32.eqz (ref.is_null
                (local.tee $list (struct.get $node 1 (local.get $list)))))))
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (local.get $sum))
    (func $trap (export "trap") (param $n i32)
        (if (i32.eqz (local.get $n)) (then
            (drop (struct.get $node 0 (ref.null $node)))))
        (call $trap (i32.sub (local.get $n) (i32.const 1)))
        (call $trap (i32.const 0)))
    (func $forever (call $forever) (nop))
    (func (export "overflow") (call $forever))
    (func (export "count") (result i32) (global.get $count)))"#;

fn linker(engine: &Engine) -> Result<Linker<u64>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(
        "",
        "note",
        |mut caller: Caller<'_, u64>, n: i32, x: Option<Rooted<ExternRef>>| -> Result<()> {
            caller.gc(None)?;
            let x = x.context("not null")?;
            let x = x.data(&caller)?.and_then(|x| x.downcast_ref::<u64>()).context("a u64")?;
            let x = *x;
            *caller.data_mut() += x * n as u64;
            Ok(())
        },
    )?;
    Ok(linker)
}

/// Uses a store in all ways: right answers, traps, stack overflows.
fn work(store: &mut Store<u64>, instance: Instance, rounds: u32, id: u64) -> Result<()> {
    *store.data_mut() = 0;
    let run =
        instance.get_typed_func::<(i32, Option<Rooted<ExternRef>>), i32>(&mut *store, "run")?;
    let trap = instance.get_typed_func::<i32, ()>(&mut *store, "trap")?;
    let overflow = instance.get_typed_func::<(), ()>(&mut *store, "overflow")?;
    for _ in 0..rounds {
        let mut scope = gc_wasm::RootScope::new(&mut *store);
        let x = ExternRef::new(&mut scope, id)?;
        assert_eq!(run.call(&mut scope, (300, Some(x)))?, 300 * 301 / 2);
        assert_eq!(crate::common::trap(trap.call(&mut scope, 20)), Trap::NullReference);
        assert_eq!(crate::common::trap(overflow.call(&mut scope, ())), Trap::StackOverflow);
    }
    assert_eq!(*store.data(), id * u64::from(rounds) * (64 + 128 + 192 + 256));
    Ok(())
}

#[test]
fn two_engines_take_turns_in_one_thread() -> Result<()> {
    let mut stores = Vec::new();
    for collector in Collector::all() {
        for zeal in [0, 50] {
            let engine = Engine::new(Config::new().collector(collector.clone()).gc_zeal(zeal))?;
            let module = Module::new(&engine, WAT)?;
            let mut store = Store::new(&engine, 0);
            let instance = linker(&engine)?.instantiate(&mut store, &module)?;
            stores.push((store, instance));
        }
    }
    for _ in 0..5 {
        for (id, (store, instance)) in stores.iter_mut().enumerate() {
            work(store, *instance, 3, id as u64 + 1)?;
        }
    }
    Ok(())
}

/// A host function of one engine's store runs another engine's store. Their stacks are interleaved.
/// Traps and collections of the inner store do not affect the outer one.
#[test]
fn a_store_inside_another() -> Result<()> {
    let collectors = Collector::all();
    for outer in &collectors {
        for inner in &collectors {
            let inner = Engine::new(Config::new().collector(inner.clone()))?;
            let mut inner_store = Store::new(&inner, 0);
            let module = Module::new(&inner, WAT)?;
            let inner_instance = linker(&inner)?.instantiate(&mut inner_store, &module)?;

            let engine = Engine::new(Config::new().collector(outer.clone()))?;
            let mut linker = Linker::new(&engine);
            type Data = (Option<Store<u64>>, u32);
            linker.func_wrap(
                "",
                "note",
                move |mut caller: Caller<'_, Data>, n: i32, x: Option<Rooted<ExternRef>>| {
                    let mut store = caller.data_mut().0.take().context("the inner store")?;
                    let result = work(&mut store, inner_instance, 2, n as u64);
                    caller.data_mut().0 = Some(store);
                    caller.data_mut().1 += 1;
                    caller.gc(None)?;
                    assert!(x.context("not null")?.data(&caller)?.is_some());
                    result
                },
            )?;
            let mut store = Store::new(&engine, (Some(inner_store), 0));
            let instance = linker.instantiate(&mut store, &Module::new(&engine, WAT)?)?;
            let run = instance
                .get_typed_func::<(i32, Option<Rooted<ExternRef>>), i32>(&mut store, "run")?;
            let x = ExternRef::new(&mut store, 1)?;
            assert_eq!(run.call(&mut store, (150, Some(x)))?, 150 * 151 / 2);
            assert_eq!(store.data().1, 2);
            let overflow = instance.get_typed_func::<(), ()>(&mut store, "overflow")?;
            assert_eq!(crate::common::trap(overflow.call(&mut store, ())), Trap::StackOverflow);
        }
    }
    Ok(())
}

/// A host function that makes an engine and a store, uses them and drops them.
#[test]
fn a_store_made_and_dropped_inside_another() -> Result<()> {
    for collector in Collector::all() {
        let engine = Engine::new(Config::new().collector(collector.clone()))?;
        let mut linker: Linker<Drops> = Linker::new(&engine);
        linker.func_wrap(
            "",
            "note",
            move |mut caller: Caller<'_, Drops>, n: i32, x: Option<Rooted<ExternRef>>| {
                let engine = Engine::new(Config::new().collector(collector.clone()))?;
                let mut store = Store::new(&engine, 0);
                let module = Module::new(&engine, WAT)?;
                let instance = self::linker(&engine)?.instantiate(&mut store, &module)?;
                work(&mut store, instance, 1, n as u64)?;
                ExternRef::new(&mut store, caller.data().value())?;
                drop(store);
                caller.gc(None)?;
                let x = x.context("not null")?;
                anyhow::ensure!(x.data(&caller)?.is_some_and(|x| x.is::<&str>()));
                Ok(())
            },
        )?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, drops.clone());
        let instance = linker.instantiate(&mut store, &Module::new(&engine, WAT)?)?;
        let run =
            instance.get_typed_func::<(i32, Option<Rooted<ExternRef>>), i32>(&mut store, "run")?;
        let x = ExternRef::new(&mut store, "outer")?;
        assert_eq!(run.call(&mut store, (200, Some(x)))?, 200 * 201 / 2);
        assert_eq!((drops.made(), drops.count()), (3, 3));
    }
    Ok(())
}

#[test]
fn one_engine_and_module_on_four_threads() -> Result<()> {
    each_collector(|setting| {
        let mut config = setting.config();
        let engine = Engine::new(config.gc_zeal(100))?;
        let module = Module::new(&engine, WAT)?;
        let linker = Arc::new(linker(&engine)?);
        let start = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (1..=4)
            .map(|id| {
                let (engine, module) = (engine.clone(), module.clone());
                let (linker, start) = (linker.clone(), start.clone());
                std::thread::spawn(move || -> Result<()> {
                    start.wait();
                    for _ in 0..5 {
                        let mut store = Store::new(&engine, 0);
                        let instance = linker.instantiate(&mut store, &module)?;
                        work(&mut store, instance, 10, id)?;
                        // A module and types that only this thread has.
                        let own = Module::new(
                            &engine,
                            format!(
                                r#"(module
                                    (type $t (array (mut i{})))
                                    (type $s{id} (struct (field (ref $t)) (field i32)))
                                    (func (export "f") (result i32)
                                        (array.len (struct.get $s{id} 0
                                            (struct.new $s{id}
                                                (array.new_default $t (i32.const {id}))
                                                (i32.const 0))))))"#,
                                if id % 2 == 0 { 8 } else { 32 }
                            ),
                        )?;
                        let own = Instance::new(&mut store, &own, &[])?;
                        let f = own.get_typed_func::<(), u64>(&mut store, "f");
                        assert!(
                            message(f)
                                .ends_with("result 0: type mismatch: expected i64, found i32")
                        );
                        let f = own.get_typed_func::<(), u32>(&mut store, "f")?;
                        assert_eq!(u64::from(f.call(&mut store, ())?), id);
                    }
                    Ok(())
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic")?;
        }
        Ok(())
    })
}

/// A store is made on one thread, used on a second and a third, dropped on a fourth.
#[test]
fn a_store_goes_from_thread_to_thread() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, 0);
        let instance = linker(&engine)?.instantiate(&mut store, &Module::new(&engine, WAT)?)?;
        drop(engine);
        let kept: OwnedRooted<ExternRef> =
            ExternRef::new(&mut store, drops.value())?.to_owned_rooted(&mut store)?;
        work(&mut store, instance, 3, 1)?;
        let mut travelling = (store, kept);
        for id in 2..=3 {
            let thread = std::thread::spawn(move || -> Result<_> {
                let (mut store, kept) = travelling;
                work(&mut store, instance, 3, id)?;
                let value = kept.to_rooted(&mut store);
                assert!(value.data(&store)?.is_some());
                Ok((store, kept))
            });
            travelling = thread.join().expect("no panic")?;
        }
        let (mut store, kept) = travelling;
        let count = instance.get_typed_func::<(), i32>(&mut store, "count")?;
        assert_eq!(count.call(&mut store, ())?, 9);
        assert_eq!(drops.count(), 0);
        std::thread::spawn(move || drop(store)).join().expect("no panic");
        assert_eq!(drops.count(), 1);
        drop(kept);
        assert_eq!(drops.count(), 1);
        Ok(())
    })
}

/// A host function passes its store to another thread, which runs compiled code, collects, traps
/// and fills its stack. The first thread's frames wait in the meantime.
#[test]
fn a_store_lent_to_another_thread_in_a_call() -> Result<()> {
    each_collector(|setting| {
        let engine = Engine::new(setting.config().gc_zeal(50))?;
        let mut linker: Linker<Vec<bool>> = Linker::new(&engine);
        linker.func_wrap(
            "",
            "note",
            |mut caller: Caller<'_, Vec<bool>>, n: i32, x: Option<Rooted<ExternRef>>| {
                let deeper = n > 64;
                let run = caller.get_export("run").and_then(|f| f.into_func());
                let run = run.context("run")?;
                let run = run.typed::<(i32, Option<Rooted<ExternRef>>), i32>(&caller)?;
                let trap = caller.get_export("trap").and_then(|f| f.into_func());
                let trap = trap.context("trap")?.typed::<i32, ()>(&caller)?;
                let overflow = caller.get_export("overflow").and_then(|f| f.into_func());
                let overflow = overflow.context("overflow")?.typed::<(), ()>(&caller)?;
                let caller = &mut caller;
                let elsewhere = move || -> Result<()> {
                    if deeper {
                        assert_eq!(run.call(&mut *caller, (70, x))?, 70 * 71 / 2);
                    }
                    assert_eq!(
                        crate::common::trap(trap.call(&mut *caller, 9)),
                        Trap::NullReference
                    );
                    let overflow = overflow.call(&mut *caller, ());
                    assert_eq!(crate::common::trap(overflow), Trap::StackOverflow);
                    caller.gc(None)?;
                    caller.data_mut().push(deeper);
                    Ok(())
                };
                std::thread::scope(|scope| scope.spawn(elsewhere).join().expect("no panic"))
            },
        )?;
        let mut store = Store::new(&engine, Vec::new());
        let instance = linker.instantiate(&mut store, &Module::new(&engine, WAT)?)?;
        let run =
            instance.get_typed_func::<(i32, Option<Rooted<ExternRef>>), i32>(&mut store, "run")?;
        let x = ExternRef::new(&mut store, 1_u64)?;
        assert_eq!(run.call(&mut store, (150, Some(x)))?, 150 * 151 / 2);
        // 128 runs 70 on a second thread, whose 64 runs on a third one. Then the first thread's own
        // 64 runs.
        assert_eq!(store.data()[..], [false, true, false]);
        let overflow = instance.get_typed_func::<(), ()>(&mut store, "overflow")?;
        assert_eq!(crate::common::trap(overflow.call(&mut store, ())), Trap::StackOverflow);
        Ok(())
    })
}

/// Owned handles are dropped on another thread than that of their store.
#[test]
fn handles_dropped_on_another_thread() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let drops = Drops::default();
        let mut store = Store::new(&engine, ());
        let (send, receive) = mpsc::channel::<OwnedRooted<ExternRef>>();
        let thread = std::thread::spawn(move || receive.into_iter().count());
        for _ in 0..500 {
            let mut scope = gc_wasm::RootScope::new(&mut store);
            let value = ExternRef::new(&mut scope, drops.value())?;
            send.send(value.to_owned_rooted(&mut scope)?)?;
        }
        drop(send);
        assert_eq!(thread.join().expect("no panic"), 500);
        store.gc(None)?;
        assert_eq!(drops.count(), if setting.reclaims() { 500 } else { 0 });
        drop(store);
        assert_eq!(drops.count(), 500);
        Ok(())
    })
}

/// Many instances are made and dropped without a collection. Stores keep the code alive.
#[test]
fn modules_dropped_before_their_instances() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let mut functions = Vec::new();
        for i in 0..50 {
            let module = Module::new(
                &engine,
                format!(
                    r#"(module (type $s (struct (field i32)))
                        (func (export "f") (result (ref $s)) (struct.new $s (i32.const {i}))))"#
                ),
            )?;
            let instance = Instance::new(&mut store, &module, &[])?;
            functions.push(instance.get_typed_func::<(), Rooted<StructRef>>(&mut store, "f")?);
        }
        for (i, f) in functions.iter().enumerate() {
            let object = f.call(&mut store, ())?;
            assert!(matches!(object.field(&mut store, 0)?, Val::I32(n) if n == i as i32));
        }
        Ok(())
    })
}
