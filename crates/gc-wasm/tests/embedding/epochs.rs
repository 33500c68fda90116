//! Epochs: code that reaches its deadline traps or calls the host, which may do everything that a
//! host function may.

use crate::common::{Setting, call, each_collector, everywhere, message, trap};
use crate::endless::{configs, endless, functions};
use anyhow::{Result, bail};
use gc_wasm::{
    Caller, Config, Engine, ExnRef, ExnRefPre, ExnType, Extern, Func, Instance, Memory, Module,
    OptLevel, Store, StoreContextMut, Table, Trap, UpdateDeadline, Val,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

fn config(setting: &Setting) -> Config {
    setting.config().epoch_interruption(true).clone()
}

/// A store with `data` and a module in it, which may import a function that begins an epoch. The
/// deadline is far away.
fn with_epochs<T: 'static>(config: &Config, text: &str, data: T) -> Result<(Store<T>, Instance)> {
    let engine = Engine::new(config)?;
    let module = Module::new(&engine, text)?;
    let mut store = Store::new(&engine, data);
    store.set_epoch_deadline(1_000_000);
    let tick = engine.clone();
    let tick = Func::wrap(&mut store, move || tick.increment_epoch());
    let imports: Vec<Extern> = module.imports().map(|_| tick.into()).collect();
    let instance = Instance::new(&mut store, &module, &imports)?;
    Ok((store, instance))
}

/// Calls an export without parameters and results.
fn run<T: 'static>(store: &mut Store<T>, instance: &Instance, name: &str) -> Result<()> {
    instance.get_typed_func::<(), ()>(&mut *store, name)?.call(store, ())
}

/// Counts the callbacks in the store's data. Each sets the next deadline after this many ticks.
fn count(store: &mut Store<u32>, ticks: u64) {
    *store.data_mut() = 0;
    store.epoch_deadline_callback(move |mut store| {
        *store.data_mut() += 1;
        Ok(UpdateDeadline::Continue(ticks))
    });
}

const TICKS: &str = r#"(module
    (import "" "tick" (func $tick))
    (func $leaf)
    (func (export "nothing"))
    (func (export "entry") (call $tick) (call $leaf))
    (func (export "tail") (call $tick) (return_call $leaf))
    (func (export "after") (call $tick))
    (func (export "loop") (local i32)
        (local.set 0 (i32.const 10))
        (loop
            (call $tick)
            (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func $ticks (call $tick))
    (func (export "once") (local i32)
        (call $ticks)
        (loop (br_if 0 (i32.ne (i32.const 10)
            (local.tee 0 (i32.add (local.get 0) (i32.const 1))))))))"#;

#[test]
fn the_deadline_is_reached_at_first() -> Result<()> {
    everywhere(|setting| {
        let engine = Engine::new(&config(setting))?;
        let module = Module::new(&engine, r#"(module (func (export "f")))"#)?;
        let mut store = Store::new(&engine, ());
        // Instantiation runs no code.
        let instance = Instance::new(&mut store, &module, &[])?;
        assert_eq!(trap(run(&mut store, &instance, "f")), Trap::Interrupt);
        store.set_epoch_deadline(1);
        run(&mut store, &instance, "f")?;
        engine.increment_epoch();
        assert_eq!(trap(run(&mut store, &instance, "f")), Trap::Interrupt);
        assert_eq!(trap(run(&mut store, &instance, "f")), Trap::Interrupt);
        store.set_epoch_deadline(2);
        engine.increment_epoch();
        run(&mut store, &instance, "f")?;
        engine.increment_epoch();
        assert_eq!(trap(run(&mut store, &instance, "f")), Trap::Interrupt);
        // A deadline that never comes.
        store.set_epoch_deadline(u64::MAX);
        run(&mut store, &instance, "f")?;
        // A start function is code.
        let module = Module::new(&engine, "(module (func $f) (start $f))")?;
        store.set_epoch_deadline(0);
        assert_eq!(trap(Instance::new(&mut store, &module, &[])), Trap::Interrupt);
        Ok(())
    })
}

#[test]
fn functions_and_turns_of_loops_check_it() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = with_epochs(&config(setting), TICKS, 0)?;
        for (name, first, ticks, callbacks) in [
            ("nothing", 0, 1, 1),
            ("nothing", 1, 1, 0),
            ("entry", 1, 1, 1),
            ("entry", 2, 1, 0),
            ("entry", 0, 0, 2),
            ("tail", 1, 1, 1),
            // After the call nothing checks it.
            ("after", 1, 1, 0),
            // At the entry, and then in each fifth of the turns that follow a tick.
            ("loop", 0, 5, 2),
            ("loop", 1, 1, 9),
            // The callee's callback has set another deadline.
            ("once", 1, 1, 1),
            ("once", 0, 0, 1 + 1 + 10),
        ] {
            store.set_epoch_deadline(first);
            count(&mut store, ticks);
            run(&mut store, &instance, name)?;
            assert_eq!(*store.data(), callbacks, "{name} {first} {ticks}");
        }
        // Operators that work on many parts check it once more. `bulk` has those that are longer.
        let text = r#"(module (memory 1) (global $n (mut i32) (i32.const 1025))
            (func (export "few")
                (memory.fill (i32.const 0) (i32.const 1) (i32.const 100)))
            (func (export "many")
                (memory.fill (i32.const 0) (i32.const 1) (i32.const 1024)))
            (func (export "variable")
                (memory.fill (i32.const 0) (i32.const 1) (global.get $n))))"#;
        let (mut store, instance) = with_epochs(&config(setting), text, 0)?;
        for (name, callbacks) in [("few", 1), ("many", 1), ("variable", 2)] {
            store.set_epoch_deadline(0);
            count(&mut store, 0);
            run(&mut store, &instance, name)?;
            assert_eq!(*store.data(), callbacks, "{name}");
        }
        Ok(())
    })
}

#[test]
fn endless_programs_end() -> Result<()> {
    for config in configs(|config| {
        config.epoch_interruption(true);
        // A heap that is never full, because programs that allocate run for some milliseconds.
        config.gc_heap_maximum(2 << 30);
    }) {
        if config_is_checked(&config) {
            continue;
        }
        let (mut store, instance) = endless(&config)?;
        for (name, func) in functions(&mut store, &instance)? {
            store.set_epoch_deadline(2);
            let engine = store.engine().clone();
            let ticker = thread::spawn(move || {
                for _ in 0..2 {
                    thread::sleep(Duration::from_millis(1));
                    engine.increment_epoch();
                }
            });
            assert_eq!(trap(call(&mut store, &func)), Trap::Interrupt, "{name}");
            ticker.join().unwrap();
            assert_eq!(trap(call(&mut store, &func)), Trap::Interrupt, "{name}");
        }
    }
    Ok(())
}

/// Such a heap reserves all of its maximum.
fn config_is_checked(config: &Config) -> bool {
    format!("{config:?}").contains("gc_heap_bounds: Checked")
}

#[test]
fn one_tick_reaches_all_stores() -> Result<()> {
    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    let module = Module::new(&engine, r#"(module (func (export "hang") (loop (br 0))))"#)?;
    let running: Vec<_> = (0..4)
        .map(|deadline| {
            let (engine, module) = (engine.clone(), module.clone());
            thread::spawn(move || {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                store.set_epoch_deadline(1 + deadline);
                trap(run(&mut store, &instance, "hang"))
            })
        })
        .collect();
    while running.iter().any(|thread| !thread.is_finished()) {
        thread::sleep(Duration::from_millis(1));
        engine.increment_epoch();
    }
    for thread in running {
        assert_eq!(thread.join().unwrap(), Trap::Interrupt);
    }
    Ok(())
}

#[test]
fn a_callback_decides() -> Result<()> {
    each_collector(|setting| {
        let (mut store, instance) = with_epochs(&config(setting), TICKS, 0)?;
        // It ends the code, and leaves the deadline.
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            Ok(UpdateDeadline::Interrupt)
        });
        store.set_epoch_deadline(1);
        assert_eq!(trap(run(&mut store, &instance, "entry")), Trap::Interrupt);
        assert_eq!(trap(run(&mut store, &instance, "nothing")), Trap::Interrupt);
        assert_eq!(*store.data(), 2);
        // It fails.
        store.epoch_deadline_callback(|_| bail!("no time for this"));
        assert_eq!(message(run(&mut store, &instance, "nothing")), "no time for this");
        // It panics. The callback is still there.
        store.epoch_deadline_callback(|_| panic!("out of time"));
        for _ in 0..2 {
            let panic = catch_unwind(AssertUnwindSafe(|| run(&mut store, &instance, "nothing")));
            assert_eq!(panic.unwrap_err().downcast_ref(), Some(&"out of time"));
        }
        // Only an asynchronous call can yield.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        let error = message(run(&mut store, &instance, "nothing"));
        assert!(error.contains("`UpdateDeadline::Yield` without an asynchronous call"), "{error}");
        store.epoch_deadline_callback(|_| {
            Ok(UpdateDeadline::YieldCustom(1, Box::pin(std::future::ready(()))))
        });
        let error = message(run(&mut store, &instance, "nothing"));
        assert!(error.contains("`UpdateDeadline::YieldCustom` without an async"), "{error}");
        store.epoch_deadline_trap();
        assert_eq!(trap(run(&mut store, &instance, "nothing")), Trap::Interrupt);
        store.set_epoch_deadline(1);
        run(&mut store, &instance, "nothing")
    })
}

/// A callback may choose what happens next, and the one that runs may be dropped then.
#[test]
fn a_callback_may_replace_itself() -> Result<()> {
    each_collector(|setting| {
        let (mut store, instance) = with_epochs(&config(setting), TICKS, 0)?;
        store.set_epoch_deadline(0);
        store.epoch_deadline_callback(|mut store: StoreContextMut<'_, u32>| {
            store.epoch_deadline_callback(|mut store| {
                *store.data_mut() += 10;
                store.epoch_deadline_trap();
                Ok(UpdateDeadline::Continue(0))
            });
            *store.data_mut() += 1;
            Ok(UpdateDeadline::Continue(0))
        });
        run(&mut store, &instance, "nothing")?;
        run(&mut store, &instance, "nothing")?;
        assert_eq!(trap(run(&mut store, &instance, "nothing")), Trap::Interrupt);
        assert_eq!(*store.data(), 11);
        Ok(())
    })
}

/// A callback may run code of the store. If that reaches the deadline too, it traps.
#[test]
fn a_callback_may_call_functions() -> Result<()> {
    everywhere(|setting| {
        let (mut store, instance) = with_epochs(&config(setting), TICKS, 0)?;
        store.set_epoch_deadline(0);
        store.epoch_deadline_callback(move |mut store| {
            let nothing = instance.get_typed_func::<(), ()>(&mut store, "nothing")?;
            assert_eq!(trap(nothing.call(&mut store, ())), Trap::Interrupt);
            store.set_epoch_deadline(1);
            nothing.call(&mut store, ())?;
            *store.data_mut() += 1;
            Ok(UpdateDeadline::Continue(0))
        });
        run(&mut store, &instance, "once")?;
        assert_eq!(*store.data(), 12);
        Ok(())
    })
}

/// References in parameters, locals, operands and handlers, in several frames, while each check
/// collects and allocates.
const FRAMES: &str = r#"(module
    (type $pair (struct (field (mut i32)) (field (mut (ref null $pair)))))
    (type $pairs (array (mut (ref null $pair))))
    (tag $e (param (ref $pair)))
    (func $new (param i32) (result (ref $pair)) (struct.new $pair (local.get 0) (ref.null $pair)))
    (func $value (param (ref null $pair)) (result i32) (struct.get $pair 0 (local.get 0)))
    (func $throws (param (ref $pair)) (throw $e (local.get 0)))
    ;; The sum of n, n-1, …: one object for each frame, and one on the operand stack.
    (func $deep (export "deep") (param $n i32) (result i32) (local $p (ref null $pair))
        (local.set $p (call $new (local.get $n)))
        (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
        (i32.add
            (call $value (call $new (i32.const 0)))
            (i32.add (call $deep (i32.sub (local.get $n) (i32.const 1)))
                     (call $value (local.get $p)))))
    ;; A list that a loop makes and another one reads.
    (func (export "list") (param $n i32) (result i32)
        (local $l (ref null $pair)) (local $sum i32)
        (loop
            (local.set $l (struct.new $pair (local.get $n) (local.get $l)))
            (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (loop (result i32)
            (local.set $sum (i32.add (local.get $sum) (call $value (local.get $l))))
            (local.set $l (struct.get $pair 1 (local.get $l)))
            (br_if 0 (i32.const 0) (i32.eqz (ref.is_null (local.get $l)))) (drop)
            (local.get $sum)))
    ;; Operands of an operator that checks the deadline itself.
    (func (export "fill") (param $n i32) (result i32) (local $a (ref null $pairs))
        (local.set $a (array.new_default $pairs (local.get $n)))
        (array.fill $pairs (local.get $a) (i32.const 0) (call $new (i32.const 3)) (local.get $n))
        (array.copy $pairs $pairs (local.get $a) (i32.const 0)
            (array.new $pairs (call $new (i32.const 7)) (local.get $n)) (i32.const 0)
            (i32.sub (local.get $n) (i32.const 1)))
        (i32.add (call $value (array.get $pairs (local.get $a) (i32.const 0)))
                 (call $value (array.get $pairs (local.get $a)
                    (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "catch") (param $n i32) (result i32) (local $p (ref null $pair)) (local $i i32)
        (local.set $p (call $new (i32.const 5)))
        (loop
            (struct.set $pair 0 (local.get $p)
                (call $value (block $caught (result (ref $pair))
                    (try_table (catch $e $caught)
                        (loop (call $throws (call $new (local.get $n))) (br 0)))
                    (unreachable))))
            (br_if 0 (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                               (local.get $n))))
        (call $value (local.get $p))))"#;

#[test]
fn a_callback_may_collect() -> Result<()> {
    everywhere(|setting| {
        for optimize in [true, false] {
            let config = config(setting)
                .cranelift_opt_level(if optimize { OptLevel::Speed } else { OptLevel::None })
                .clone();
            let (mut store, instance) = with_epochs(&config, FRAMES, 0)?;
            store.set_epoch_deadline(0);
            let make = instance.get_typed_func::<i32, i32>(&mut store, "list")?;
            store.epoch_deadline_callback(move |mut store| {
                *store.data_mut() += 1;
                store.gc(None)?;
                if *store.data() % 3 == 0 {
                    // Code that allocates where the freed objects were.
                    store.set_epoch_deadline(1);
                    assert_eq!(make.call(&mut store, 5)?, 15);
                }
                Ok(UpdateDeadline::Continue(0))
            });
            for (name, n, expected) in
                [("deep", 20, 210), ("list", 30, 465), ("fill", 40, 10), ("catch", 6, 6)]
            {
                *store.data_mut() = 0;
                let func = instance.get_typed_func::<i32, i32>(&mut store, name)?;
                assert_eq!(func.call(&mut store, n)?, expected, "{name}");
                assert!(*store.data() > 3, "{name}: {}", store.data());
            }
        }
        Ok(())
    })
}

/// The memory and the table of an operator are looked at after the callback.
#[test]
fn a_callback_may_grow_things() -> Result<()> {
    let text = r#"(module
        (memory (export "memory") 1)
        (table $t (export "table") 1 funcref)
        (func (export "fill")
            (memory.fill (i32.const 0) (i32.const 0x41) (i32.const 65536)))
        (func (export "store") (param $n i32)
            (loop
                (i32.store8 (local.get $n) (i32.const 0x42))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "table fill") (param i32)
            (table.fill $t (i32.const 0) (ref.null func) (local.get 0))))"#;
    each_collector(|setting| {
        let config = config(setting).memory_reservation(0).memory_reservation_for_growth(0).clone();
        let config = config.clone().memory_guard_size(0).clone();
        type Things = Option<(Memory, Table)>;
        let (mut store, instance) = with_epochs::<Things>(&config, text, None)?;
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let table = instance.get_table(&mut store, "table").unwrap();
        *store.data_mut() = Some((memory, table));
        store.set_epoch_deadline(0);
        store.epoch_deadline_callback(|mut store| {
            let (memory, table) = store.data().unwrap();
            memory.grow(&mut store, 3)?;
            table.grow(&mut store, 5, gc_wasm::Ref::Func(None))?;
            Ok(UpdateDeadline::Continue(0))
        });
        run(&mut store, &instance, "fill")?;
        let data = memory.data(&store);
        assert!(data.len() == 7 << 16 && data[..65536].iter().all(|byte| *byte == 0x41));
        instance.get_typed_func::<i32, ()>(&mut store, "store")?.call(&mut store, 50)?;
        assert!(memory.data(&store)[1..=50].iter().all(|byte| *byte == 0x42));
        // It had 1, and grew by five at each of the checks: two, 51, and two.
        instance.get_typed_func::<i32, ()>(&mut store, "table fill")?.call(&mut store, 270)?;
        assert_eq!(table.size(&store), 1 + 5 * (2 + 51 + 2));
        Ok(())
    })
}

/// An interrupt is a trap, which no handler catches.
#[test]
fn exceptions_are_no_way_out() -> Result<()> {
    let text = r#"(module
        (func $hang (loop (br 0)))
        (func (export "f")
            (block (try_table (catch_all 0) (call $hang)))
            (loop (block (try_table (catch_all 0) (loop (br 0)))) (br 0))))"#;
    everywhere(|setting| {
        let (mut store, instance) = with_epochs(&config(setting), text, 0)?;
        store.epoch_deadline_callback(|mut store| {
            *store.data_mut() += 1;
            match store.data() {
                100 => Ok(UpdateDeadline::Interrupt),
                200 => bail!("twice"),
                _ => Ok(UpdateDeadline::Continue(0)),
            }
        });
        store.set_epoch_deadline(0);
        assert_eq!(trap(run(&mut store, &instance, "f")), Trap::Interrupt);
        assert_eq!(message(run(&mut store, &instance, "f")), "twice");
        Ok(())
    })
}

/// An exception that a callback throws comes out of the function that it interrupts. The caller's
/// values are as before, and so is the fuel.
#[test]
fn a_callback_may_throw() -> Result<()> {
    let text = r#"(module
        (type $box (struct (field i32)))
        (tag $e (export "e") (param i32))
        (func $hang (param $n i32) (result i32)
            (loop (br_if 0 (block (result i32)
                (try_table (result i32) (catch $e 0)
                    (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                    (i32.const 1)))))
            (i32.const 0))
        (func (export "f") (param $a i32) (param $b i64) (result i32)
            (local $box (ref null $box))
            (local.set $box (struct.new $box (i32.const 1000)))
            (i32.add (i32.add (local.get $a) (i32.wrap_i64 (local.get $b)))
                (i32.add (struct.get $box 0 (local.get $box))
                    (block (result i32)
                        (try_table (result i32) (catch $e 0)
                            (call $hang (i32.const -1))))))))"#;
    everywhere(|setting| {
        for optimize in [true, false] {
            let config = config(setting)
                .consume_fuel(true)
                .cranelift_opt_level(if optimize { OptLevel::Speed } else { OptLevel::None })
                .clone();
            let (mut store, instance) = with_epochs(&config, text, 0)?;
            let tag = instance.get_tag(&mut store, "e").unwrap();
            store.epoch_deadline_callback(move |mut store| {
                *store.data_mut() += 1;
                store.gc(None)?;
                if *store.data() < 20 {
                    return Ok(UpdateDeadline::Continue(0));
                }
                store.set_fuel(500)?;
                let ty = ExnType::from_tag_type(&tag.ty(&store))?;
                let pre = ExnRefPre::new(&mut store, ty);
                let exn = ExnRef::new(&mut store, &pre, &tag, &[Val::I32(7)])?;
                store.throw(exn)
            });
            store.set_epoch_deadline(0);
            store.set_fuel(1000)?;
            let f = instance.get_typed_func::<(i32, i64), i32>(&mut store, "f")?;
            assert_eq!(f.call(&mut store, (30, 200))?, 1000 + 200 + 30 + 7);
            // Two sums are left.
            assert_eq!(store.get_fuel()?, 500 - 2);
            assert_eq!(*store.data(), 20);
        }
        Ok(())
    })
}

/// With both modes a callback sees the exact fuel, and may change it.
#[test]
fn fuel_and_epochs_work_together() -> Result<()> {
    let text = r#"(module (func (export "f") (param $n i32)
        (loop (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#;
    everywhere(|setting| {
        let config = config(setting).consume_fuel(true).clone();
        let (mut store, instance) = with_epochs::<Vec<u64>>(&config, text, Vec::new())?;
        store.set_epoch_deadline(0);
        store.epoch_deadline_callback(|mut store| {
            let fuel = store.get_fuel()?;
            store.data_mut().push(fuel);
            if fuel < 90 {
                store.set_fuel(200)?;
            }
            Ok(UpdateDeadline::Continue(0))
        });
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
        store.set_fuel(100)?;
        f.call(&mut store, 5)?;
        // The call and five operators for each turn, until there are 200 again.
        assert_eq!(*store.data(), [99, 99, 94, 89, 195, 190]);
        assert_eq!(store.get_fuel()?, 185);
        // The fuel ends first, or the epoch.
        store.set_epoch_deadline(1_000_000);
        assert_eq!(trap(f.call(&mut store, 1000)), Trap::OutOfFuel);
        store.epoch_deadline_trap();
        store.set_epoch_deadline(0);
        store.set_fuel(10)?;
        assert_eq!(trap(f.call(&mut store, 1000)), Trap::Interrupt);
        assert_eq!(store.get_fuel()?, 9);
        Ok(())
    })
}

#[test]
fn interrupts_work_beside_it() -> Result<()> {
    for config in configs(|config| {
        config.epoch_interruption(true).interruptible(true);
    }) {
        let (mut store, instance) = endless(&config)?;
        let func = instance.get_func(&mut store, "inner").unwrap();
        let handle = store.interrupt_handle()?;
        store.set_epoch_deadline(1);
        let engine = store.engine().clone();
        let ticker = thread::spawn(move || {
            thread::sleep(Duration::from_millis(2));
            engine.increment_epoch();
        });
        assert_eq!(trap(call(&mut store, &func)), Trap::Interrupt);
        assert!(!handle.is_interrupted());
        ticker.join().unwrap();
        // The interrupt comes while a callback runs again and again.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(0)));
        let interrupter = handle.clone();
        let interrupter = thread::spawn(move || {
            thread::sleep(Duration::from_millis(2));
            interrupter.interrupt();
        });
        assert_eq!(trap(call(&mut store, &func)), Trap::Interrupt);
        interrupter.join().unwrap();
        assert!(handle.is_interrupted());
    }
    Ok(())
}

#[test]
fn saved_code_must_be_of_the_same_kind() -> Result<()> {
    let text = r#"(module (func (export "f")))"#;
    each_collector(|setting| {
        let with = Engine::new(&config(setting))?;
        let without = Engine::new(&setting.config())?;
        let saved = Module::new(&without, text)?.serialize()?;
        // SAFETY: `serialize` made the bytes.
        let error = message(unsafe { Module::deserialize(&with, &saved) });
        assert!(error.contains("epochs.checked is `true` here, but `false` there"), "{error}");
        let saved = Module::new(&with, text)?.serialize()?;
        // SAFETY: as above.
        let error = message(unsafe { Module::deserialize(&without, &saved) });
        assert!(error.contains("epochs.checked is `false` here, but `true` there"), "{error}");
        // SAFETY: as above.
        let module = unsafe { Module::deserialize(&with, &saved)? };
        let mut store = Store::new(&with, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        assert_eq!(trap(run(&mut store, &instance, "f")), Trap::Interrupt);
        Ok(())
    })
}

/// Without the setting nothing looks at the deadline.
#[test]
fn without_the_setting_nothing_happens() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let module = Module::new(&engine, r#"(module (func (export "f")))"#)?;
    let mut store = Store::new(&engine, ());
    store.epoch_deadline_callback(|_| bail!("it is not called"));
    store.set_epoch_deadline(0);
    engine.increment_epoch();
    let host = Func::wrap(&mut store, |_: Caller<'_, ()>| ());
    host.call(&mut store, &[], &mut [])?;
    let instance = Instance::new(&mut store, &module, &[])?;
    run(&mut store, &instance, "f")
}
