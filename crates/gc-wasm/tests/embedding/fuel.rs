//! Fuel: code ends when it is used up, under every collector at the same place, and the host may look
//! at it and change it. What each operator costs is in `fuel_costs.rs`.

use crate::common::{Setting, call, each_collector, everywhere, message, trap};
use crate::endless::{configs, endless, functions};
use crate::metering::{PLENTY, with_fuel};
use anyhow::Result;
use gc_wasm::{
    AsContext, AsContextMut, Caller, Config, Engine, Func, Instance, Module, Store, Trap, Val,
};

fn config(setting: &Setting) -> Config {
    setting.config().consume_fuel(true).clone()
}

/// Where a run ends does not depend on the collector.
#[test]
fn fuel_ends_a_run_at_the_same_place_everywhere() -> Result<()> {
    let text = r#"(module
        (type $list (struct (field (ref null $list)) (field i32)))
        (global $turns (export "turns") (mut i32) (i32.const 0))
        (func $push (param (ref null $list)) (result (ref $list))
            (struct.new $list (local.get 0) (global.get $turns)))
        (func (export "f") (local (ref null $list))
            (loop
                (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
                (local.set 0 (call $push (local.get 0)))
                (if (i32.rem_u (global.get $turns) (i32.const 10))
                    (then)
                    (else (local.set 0 (ref.null $list))))
                (br 0))))"#;
    // The call; then in each turn 4 and 3 operators and the callee's 4, and 4 with the condition; and
    // in every tenth turn 2 more; and the branch.
    let turns = |fuel: u64| {
        let (mut left, mut turns) = (fuel - 1, 0);
        loop {
            // The check at the head of the loop, and at the entry of the callee.
            if left == 0 {
                return turns;
            }
            turns += 1;
            let Some(before) = left.checked_sub(4 + 2 + 1).filter(|left| *left > 0) else {
                return turns;
            };
            let rest = 3 + 1 + 4 + if turns % 10 == 0 { 2 } else { 0 } + 1;
            left = before.saturating_sub(rest);
        }
    };
    everywhere(|setting| {
        let (mut store, instance) = with_fuel(setting, PLENTY, text)?;
        let instance = instance?;
        let func = instance.get_func(&mut store, "f").unwrap();
        let global = instance.get_global(&mut store, "turns").unwrap();
        for fuel in [2, 3, 8, 9, 10, 18, 19, 20, 100, 333, 2000] {
            global.set(&mut store, Val::I32(0))?;
            store.set_fuel(fuel)?;
            assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel);
            assert_eq!(store.get_fuel()?, 0);
            assert_eq!(global.get(&mut store).i32(), Some(turns(fuel)), "with {fuel}");
        }
        Ok(())
    })
}

#[test]
fn a_function_needs_more_than_its_call() -> Result<()> {
    each_collector(|setting| {
        let (mut store, instance) = with_fuel(setting, 0, r#"(module (func (export "f")))"#)?;
        let func = instance?.get_func(&mut store, "f").unwrap();
        for (fuel, runs) in [(0, false), (1, false), (2, true), (3, true)] {
            store.set_fuel(fuel)?;
            let result = call(&mut store, &func);
            assert_eq!(store.get_fuel()?, if runs { fuel - 1 } else { 0 });
            match runs {
                true => result?,
                false => assert_eq!(trap(result), Trap::OutOfFuel),
            }
        }
        Ok(())
    })
}

/// What is not checked may consume more than there is. The next function is not called then.
#[test]
fn fuel_is_never_less_than_nothing() -> Result<()> {
    let text = r#"(module (func (export "f")
        (drop (i32.add (i32.const 1) (i32.add (i32.const 2) (i32.const 3))))))"#;
    each_collector(|setting| {
        let (mut store, instance) = with_fuel(setting, 8, text)?;
        let func = instance?.get_func(&mut store, "f").unwrap();
        call(&mut store, &func)?;
        assert_eq!(store.get_fuel()?, 2);
        call(&mut store, &func)?;
        assert_eq!(store.get_fuel()?, 0);
        assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel);
        store.set_fuel(100)?;
        call(&mut store, &func)?;
        assert_eq!(store.get_fuel()?, 94);
        Ok(())
    })
}

#[test]
fn endless_programs_end() -> Result<()> {
    for config in configs(|config| {
        config.consume_fuel(true);
    }) {
        let (mut store, instance) = endless(&config)?;
        for (name, func) in functions(&mut store, &instance)? {
            store.set_fuel(20_000)?;
            assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel, "{name}");
            assert_eq!(store.get_fuel()?, 0, "{name}");
            assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel, "{name}");
        }
    }
    Ok(())
}

/// An operator that the host refuses costs nothing, however much it would have done, and one that
/// costs more than there is does nothing.
#[test]
fn huge_operators_do_not_wrap_the_counter() -> Result<()> {
    let text = |delta: &str| {
        format!(
            r#"(module (table $t i64 0 funcref)
                (type $a (array (mut i8)))
                (global $delta (mut i64) (i64.const {delta}))
                (func (export "constant") (result i64)
                    (table.grow $t (ref.null func) (i64.const {delta})))
                (func (export "variable") (result i64)
                    (table.grow $t (ref.null func) (global.get $delta))))"#
        )
    };
    each_collector(|setting| {
        for delta in ["-1", "0x7fffffffffffffff", "0x8000000000000000", "0x4000000000000001"] {
            let (mut store, instance) = with_fuel(setting, PLENTY, &text(delta))?;
            let instance = instance?;
            for name in ["constant", "variable"] {
                for fuel in [5, 1 << 40, u64::MAX] {
                    store.set_fuel(fuel)?;
                    let func = instance.get_typed_func::<(), i64>(&mut store, name)?;
                    assert_eq!(func.call(&mut store, ())?, -1, "{delta} {fuel}");
                    assert_eq!(store.get_fuel()?, fuel - 4);
                }
            }
        }
        let (mut store, instance) = with_fuel(setting, PLENTY, &text("2000"))?;
        let instance = instance?;
        let table = instance.get_typed_func::<(), i64>(&mut store, "variable")?;
        for fuel in [1, 4, 1000, 2004] {
            store.set_fuel(fuel)?;
            assert_eq!(trap(table.call(&mut store, ())), Trap::OutOfFuel, "{fuel}");
            assert_eq!(store.get_fuel()?, 0);
        }
        store.set_fuel(2005)?;
        assert_eq!((table.call(&mut store, ())?, store.get_fuel()?), (0, 1));
        Ok(())
    })
}

#[test]
fn host_functions_get_and_set_it() -> Result<()> {
    let text = r#"(module
        (import "" "look" (func $look (param i32)))
        (import "" "set" (func $set (param i64)))
        (type $look (func (param i32)))
        (table 2 funcref)
        (elem (i32.const 0) $look $set)
        (func $leaf)
        (func (export "f")
            (call $look (i32.const 3))
            (drop (i32.const 1))
            (call_indirect (param i32) (i32.const 7) (i32.const 0))
            (call $set (i64.const 1000))
            (drop (i32.const 1))
            (call $look (i32.const 3)))
        (func (export "tail") (return_call $set (i64.const 500)))
        (func (export "all") (call $set (i64.const 1)) (call $leaf))
        (func (export "loop") (loop (call $set (i64.const 10)) (br 0))))"#;
    everywhere(|setting| {
        let engine = Engine::new(&config(setting))?;
        let module = Module::new(&engine, text)?;
        let mut store: Store<Vec<u64>> = Store::new(&engine, Vec::new());
        let look = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<u64>>, _: i32| {
            let fuel = caller.get_fuel()?;
            assert_eq!(caller.as_context().get_fuel()?, fuel);
            assert_eq!(caller.as_context_mut().get_fuel()?, fuel);
            caller.gc(None)?;
            caller.data_mut().push(fuel);
            anyhow::Ok(())
        });
        let set = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<u64>>, fuel: i64| {
            caller.set_fuel(fuel as u64)
        });
        let imports = [look.into(), set.into()];
        let instance = Instance::new(&mut store, &module, &imports)?;
        let call = |store: &mut Store<Vec<u64>>, name: &str, fuel: u64| -> Result<u64> {
            store.set_fuel(fuel)?;
            instance.get_typed_func::<(), ()>(&mut *store, name)?.call(&mut *store, ())?;
            store.get_fuel()
        };
        assert_eq!(call(&mut store, "f", 100)?, 1000 - 1 - 2);
        // Before the calls: the function and two operators; one and three; and what the host set.
        assert_eq!(*store.data(), [100 - 3, 100 - 3 - 4, 1000 - 3]);
        assert_eq!(call(&mut store, "tail", 100)?, 500);
        assert_eq!(trap(call(&mut store, "all", 100)), Trap::OutOfFuel);
        // The host's call of its own function costs nothing.
        store.set_fuel(5)?;
        set.call(&mut store, &[Val::I64(6)], &mut [])?;
        assert_eq!(store.get_fuel()?, 6);
        // Code that gets fuel in each turn goes on until the host does not give any.
        let limit = 1000;
        let host = Func::wrap(&mut store, move |mut caller: Caller<'_, Vec<u64>>, fuel: i64| {
            turns_of(&mut caller, limit, fuel)
        });
        let instance = Instance::new(&mut store, &module, &[look.into(), host.into()])?;
        store.data_mut().clear();
        store.set_fuel(100)?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "loop")?;
        assert_eq!(trap(run.call(&mut store, ())), Trap::OutOfFuel);
        // The host's last gift is enough for three more turns of three operators.
        assert_eq!(store.data().len(), limit + 3);
        Ok(())
    })
}

/// Gives fuel the first times.
fn turns_of(caller: &mut Caller<'_, Vec<u64>>, limit: usize, fuel: i64) -> Result<()> {
    caller.data_mut().push(0);
    if caller.data().len() <= limit {
        caller.set_fuel(fuel as u64)?;
    }
    Ok(())
}

/// Calls from the host inside calls share the fuel.
#[test]
fn nested_calls_share_it() -> Result<()> {
    let text = r#"(module
        (import "" "again" (func $again (param i32)))
        (func (export "f") (param i32)
            (if (local.get 0) (then (call $again (i32.sub (local.get 0) (i32.const 1)))))))"#;
    each_collector(|setting| {
        let engine = Engine::new(&config(setting))?;
        let module = Module::new(&engine, text)?;
        let mut store = Store::new(&engine, ());
        let again = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| {
            let f = caller.get_export("f").unwrap().into_func().unwrap();
            f.typed::<i32, ()>(&caller)?.call(&mut caller, n)
        });
        let instance = Instance::new(&mut store, &module, &[again.into()])?;
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
        for n in [0, 1, 5, 30] {
            store.set_fuel(1000)?;
            f.call(&mut store, n)?;
            assert_eq!(store.get_fuel()?, 1000 - (3 + 7 * n as u64));
        }
        store.set_fuel(50)?;
        assert_eq!(trap(f.call(&mut store, 30)), Trap::OutOfFuel);
        assert_eq!(store.get_fuel()?, 0);
        Ok(())
    })
}

#[test]
fn all_of_64_bits_can_be_used() -> Result<()> {
    let text = r#"(module (func (export "f") (loop (br_if 0 (i32.const 0)))))"#;
    each_collector(|setting| {
        let (mut store, instance) = with_fuel(setting, u64::MAX, text)?;
        assert_eq!(store.get_fuel()?, u64::MAX);
        let func = instance?.get_func(&mut store, "f").unwrap();
        call(&mut store, &func)?;
        assert_eq!(store.get_fuel()?, u64::MAX - 3);
        store.set_fuel(1 << 63)?;
        assert_eq!(store.get_fuel()?, 1 << 63);
        Ok(())
    })
}

/// With an interval code gets its fuel in portions, and yields. References that frames hold survive
/// that.
#[test]
fn portions_change_nothing() -> Result<()> {
    let text = r#"(module
        (type $list (struct (field (ref null $list)) (field i32)))
        (func $sum (param (ref null $list)) (result i32)
            (if (result i32) (ref.is_null (local.get 0))
                (then (i32.const 0))
                (else (i32.add (struct.get $list 1 (local.get 0))
                               (call $sum (struct.get $list 0 (local.get 0)))))))
        (func (export "f") (param $n i32) (result i32) (local $l (ref null $list))
            (loop
                (local.set $l (struct.new $list (local.get $l) (local.get $n)))
                (br_if 0 (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (call $sum (local.get $l))))"#;
    everywhere(|setting| {
        let (mut store, instance) = with_fuel(setting, PLENTY, text)?;
        let f = instance?.get_typed_func::<i32, i32>(&mut store, "f")?;
        let mut costs = Vec::new();
        for interval in [None, Some(1), Some(7), Some(100), Some(u64::MAX)] {
            store.set_fuel(10_000)?;
            store.fuel_async_yield_interval(interval)?;
            assert_eq!(store.get_fuel()?, 10_000);
            assert_eq!(crate::executor::block_on(f.call_async(&mut store, 50))?, 1275);
            costs.push(10_000 - store.get_fuel()?);
            store.set_fuel(200)?;
            assert_eq!(store.as_context().get_fuel()?, 200);
            let call = f.call_async(&mut store, 50);
            assert_eq!(trap(crate::executor::block_on(call)), Trap::OutOfFuel);
            assert_eq!(store.get_fuel()?, 0);
        }
        costs.dedup();
        assert_eq!(costs.len(), 1, "{costs:?}");
        let error = message(store.as_context_mut().fuel_async_yield_interval(Some(0)));
        assert_eq!(error, "fuel_async_yield_interval must not be 0");
        Ok(())
    })
}

#[test]
fn without_the_setting_there_is_none() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let why = "fuel is not configured in this store";
    assert_eq!(message(store.get_fuel()), why);
    assert_eq!(message(store.set_fuel(1)), why);
    assert_eq!(message(store.fuel_async_yield_interval(None)), why);
    assert_eq!(message(store.as_context().get_fuel()), why);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        assert_eq!(message(caller.get_fuel()), "fuel is not configured in this store");
        caller.set_fuel(1)
    });
    assert_eq!(message(host.call(&mut store, &[], &mut [])), why);
    Ok(())
}

#[test]
fn saved_code_must_be_of_the_same_kind() -> Result<()> {
    let text = r#"(module (func (export "f") (drop (i32.const 1))))"#;
    each_collector(|setting| {
        let with = Engine::new(&config(setting))?;
        let without = Engine::new(&setting.config())?;
        let saved = Module::new(&without, text)?.serialize()?;
        // SAFETY: `serialize` made the bytes.
        let error = message(unsafe { Module::deserialize(&with, &saved) });
        assert!(error.contains("fuel.consumed is `true` here, but `false` there"), "{error}");
        let saved = Module::new(&with, text)?.serialize()?;
        // SAFETY: as above.
        let error = message(unsafe { Module::deserialize(&without, &saved) });
        assert!(error.contains("fuel.consumed is `false` here, but `true` there"), "{error}");
        // Code that fits costs the same as before.
        // SAFETY: as above.
        let module = unsafe { Module::deserialize(&with, &saved)? };
        let mut store = Store::new(&with, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        store.set_fuel(10)?;
        let func = instance.get_func(&mut store, "f").unwrap();
        call(&mut store, &func)?;
        assert_eq!(store.get_fuel()?, 8);
        Ok(())
    })
}

/// Both modes in one engine: each ends what the other would let go on.
#[test]
fn interrupts_work_beside_it() -> Result<()> {
    for config in configs(|config| {
        config.consume_fuel(true).interruptible(true);
    }) {
        let (mut store, instance) = endless(&config)?;
        let func = instance.get_func(&mut store, "inner").unwrap();
        store.set_fuel(20_000)?;
        assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel);
        store.set_fuel(u64::MAX)?;
        let handle = store.interrupt_handle()?;
        let interrupter = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(3));
            handle.interrupt();
        });
        assert_eq!(trap(call(&mut store, &func)), Trap::Interrupt);
        interrupter.join().unwrap();
        store.clear_interrupt()?;
        store.set_fuel(20_000)?;
        assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel);
    }
    Ok(())
}

/// What was consumed too much does not add up, if a host function ignores that the fuel is used up.
#[test]
fn fuel_stays_used_up_when_a_host_function_goes_on() -> Result<()> {
    let text = r#"(module
        (import "" "try" (func $try))
        (memory 1) (global $n (mut i32) (i32.const 65536))
        (func (export "fill") (memory.fill (i32.const 0) (i32.const 1) (global.get $n)))
        (func (export "run") (result i32) (local $i i32)
            (call $try)
            (memory.fill (i32.const 0) (i32.const 1) (global.get $n))
            (loop $l (br_if $l (i32.lt_u
                (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))
            (local.get $i)))"#;
    each_collector(|setting| {
        let engine = Engine::new(&config(setting))?;
        let module = Module::new(&engine, text)?;
        for fuel in (1..20).chain([1000]) {
            let mut store = Store::new(&engine, ());
            store.set_fuel(fuel)?;
            let ignore = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
                let fill = caller.get_export("fill").unwrap().into_func().unwrap();
                assert_eq!(trap(fill.call(&mut caller, &[], &mut [])), Trap::OutOfFuel);
            });
            let instance = Instance::new(&mut store, &module, &[ignore.into()])?;
            let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
            assert_eq!(trap(run.call(&mut store, ())), Trap::OutOfFuel, "with {fuel}");
            assert_eq!(store.get_fuel()?, 0);
        }
        Ok(())
    })
}
