//! Fuel: each operator has its cost, under every collector the same, and code ends when the fuel is
//! used up.

mod common;
#[path = "common/metering.rs"]
mod metering;

use anyhow::Result;
use common::{Setting, each_collector, everywhere, message, trap};
use gc_wasm::{
    AsContext, AsContextMut, Caller, Config, Engine, Func, Instance, Module, Store, Trap, Val,
};
use metering::{call, configs, endless, functions, new_store};

const PLENTY: u64 = 1_000_000_000;

fn config(setting: &Setting) -> Config {
    setting.config().consume_fuel(true).clone()
}

/// A store with this much fuel and a module in it.
fn with_fuel(setting: &Setting, fuel: u64, text: &str) -> Result<(Store<()>, Result<Instance>)> {
    let engine = Engine::new(&config(setting))?;
    let module = Module::new(&engine, text)?;
    let mut store = new_store(&engine, ());
    store.set_fuel(fuel)?;
    let instance = Instance::new(&mut store, &module, &[]);
    Ok((store, instance))
}

/// The fuel that a call of an export consumes, and how it ends.
fn consumed(setting: &Setting, text: &str, export: &str) -> Result<(u64, Result<()>)> {
    let (mut store, instance) = with_fuel(setting, PLENTY, text)?;
    let before = store.get_fuel()?;
    let func = instance?.get_func(&mut store, export).unwrap();
    let result = call(&mut store, &func);
    Ok((before - store.get_fuel()?, result))
}

/// Items for the bodies below: types, a memory, tables, segments, functions.
const ITEMS: &str = r#"
    (type $none (func))
    (type $pair (struct (field (mut i32)) (field (mut (ref null $pair)))))
    (type $bytes (array (mut i8)))
    (type $funcs (array (mut funcref)))
    (memory 1)
    (table $t 200 400 funcref)
    (table $other 1 externref)
    (tag $e (param i32))
    (global $g (mut i32) (i32.const 0))
    (global $array (mut (ref null $bytes)) (ref.null $bytes))
    (elem $e func $leaf $leaf $leaf $leaf)
    (data $d "0123456789")
    (elem declare func $leaf)
    (func $leaf)
    (func $three (result i32) (i32.add (i32.const 1) (i32.const 2)))
    (func $throws (param i32) (throw $e (local.get 0)))
    (func $tail (return_call $leaf))
    (func $tail_ref (return_call_ref $none (ref.func $leaf)))
    (func $count (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 7))))
        (return_call $count (i32.sub (local.get 0) (i32.const 1))))
    (func $fib (param i32) (result i32)
        (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
            (then (local.get 0))
            (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                           (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
"#;

/// The cost of `$fib`.
fn fib(n: u64) -> u64 {
    // The call, local.get, i32.const, i32.lt_u and if; then one, or two calls with four operators
    // each and a sum.
    5 + if n < 2 { 1 } else { 9 + fib(n - 1) + fib(n - 2) }
}

/// Bodies of functions and what a call of them costs.
fn bodies() -> Vec<(&'static str, u64)> {
    vec![
        ("", 1),
        ("nop", 1),
        ("(drop (i32.const 0))", 2),
        ("(block) (block (loop))", 1),
        ("(drop (i32.add (i32.const 1) (i32.const 2)))", 4),
        ("(return) (drop (i32.const 1))", 1),
        ("(drop (i32.const 1)) (return) (drop (i32.const 1))", 2),
        ("(br 0) (drop (i32.const 1))", 2),
        ("(block (block (br 1)) (drop (i32.const 1))) (drop (i32.const 1))", 3),
        // Each path has its own cost.
        ("(if (i32.const 1) (then (drop (i32.const 1))))", 4),
        ("(if (i32.const 0) (then (drop (i32.const 1))))", 3),
        ("(if (global.get $g) (then (call $leaf)) (else (nop) (drop (i32.const 1))))", 4),
        ("(if (i32.eqz (global.get $g)) (then (call $leaf)) (else (drop (i32.const 1))))", 6),
        ("(block (br_if 0 (i32.const 1)) (drop (i32.const 1)))", 3),
        ("(block (br_if 0 (i32.const 0)) (drop (i32.const 1)))", 4),
        ("(br_if 0 (i32.const 1)) (drop (i32.const 1))", 3),
        ("(block $a (block $b (br_table $a $b (i32.const 0))) (drop (i32.const 1)))", 3),
        ("(block $a (block $b (br_table $a $b (i32.const 9))) (drop (i32.const 1)))", 4),
        ("(block (drop (br_on_null 0 (ref.null any))) (drop (i32.const 1)))", 3),
        (
            "(block (result anyref)
                (br_on_cast 0 anyref i31ref (ref.i31 (i32.const 1)))) (drop)",
            4,
        ),
        // Ten turns of five operators, and two before.
        (
            "(local i32) (local.set 0 (i32.const 10))
                (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))",
            1 + 2 + 10 * 5,
        ),
        // Five turns of an inner loop of three turns.
        (
            "(local i32 i32) (local.set 0 (i32.const 5))
                (loop (local.set 1 (i32.const 3))
                    (loop (br_if 0 (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
                    (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))",
            1 + 2 + 5 * (2 + 3 * 5 + 5),
        ),
        // Calls: the operator, and the function.
        ("(call $leaf)", 3),
        ("(drop (call $three))", 1 + 1 + 4),
        ("(call_ref $none (ref.func $leaf))", 1 + 2 + 1),
        (
            "(table.set $t (i32.const 0) (ref.func $leaf)) (call_indirect $t (i32.const 0))",
            1 + 3 + 2 + 1,
        ),
        ("(return_call $leaf)", 3),
        ("(call $tail)", 1 + 1 + 2 + 1),
        ("(call $tail_ref)", 1 + 1 + 3 + 1),
        ("(drop (call $fib (i32.const 10)))", 1 + 2 + fib(10)),
        // Twenty turns that go on, and one that does not.
        ("(drop (call $count (i32.const 20)))", 1 + 2 + 20 * (1 + 3 + 4) + (1 + 3 + 1)),
        // Exceptions. A throw costs one; a `try_table` too; its clauses nothing.
        (
            "(drop (block (result i32) (try_table (catch $e 0) (throw $e (i32.const 1)))
                (i32.const 0)))",
            1 + 1 + 2,
        ),
        (
            "(drop (block (result i32) (try_table (catch $e 0) (call $throws (i32.const 1)))
                (i32.const 0)))",
            1 + 1 + 2 + (1 + 2),
        ),
        ("(block (try_table (catch_all 0) (call $leaf))) (call $leaf)", 1 + 1 + 2 + 2),
        // Objects.
        ("(drop (struct.new $pair (i32.const 1) (ref.null $pair)))", 1 + 3),
        (
            "(struct.set $pair 0 (struct.new_default $pair)
                (struct.get $pair 0 (struct.new_default $pair)))",
            1 + 4,
        ),
        ("(drop (array.new_fixed $bytes 2 (i32.const 1) (i32.const 2)))", 1 + 3),
        // Operators on many parts.
        ("(memory.fill (i32.const 0) (i32.const 1) (i32.const 100))", 1 + 4 + 100),
        ("(memory.fill (i32.const 0) (i32.const 1) (i32.const 5000))", 1 + 4 + 5000),
        ("(memory.copy (i32.const 0) (i32.const 8) (i32.const 300))", 1 + 4 + 300),
        ("(memory.copy (i32.const 0) (i32.const 8) (global.get $g))", 1 + 4),
        ("(memory.init $d (i32.const 0) (i32.const 0) (call $three))", 1 + 4 + 4 + 3),
        ("(drop (memory.grow (i32.const 0)))", 1 + 2),
        ("(table.fill $t (i32.const 0) (ref.null func) (i32.const 150))", 1 + 4 + 150),
        ("(table.copy $t $t (i32.const 0) (i32.const 9) (i32.const 60))", 1 + 4 + 60),
        ("(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 4))", 1 + 4 + 4),
        ("(drop (table.grow $t (ref.null func) (i32.const 150)))", 1 + 3 + 150),
        // It fails, and costs the same.
        ("(drop (table.grow $t (ref.null func) (i32.const 1000)))", 1 + 3 + 1000),
        ("(drop (array.new_default $bytes (i32.const 200)))", 1 + 2 + 200),
        ("(drop (array.new $bytes (i32.const 1) (i32.const 20)))", 1 + 3 + 20),
        ("(drop (array.new_data $bytes $d (i32.const 0) (i32.const 10)))", 1 + 3 + 10),
        ("(drop (array.new_elem $funcs $e (i32.const 0) (call $three)))", 1 + 3 + 4 + 3),
        (
            "(global.set $array (array.new_default $bytes (i32.const 50)))
                (array.fill $bytes (global.get $array) (i32.const 0) (i32.const 1) (i32.const 40))
                (array.copy $bytes $bytes (global.get $array) (i32.const 0)
                    (global.get $array) (i32.const 10) (i32.const 30))
                (array.init_data $bytes $d (global.get $array) (i32.const 0) (i32.const 1)
                    (i32.const 9))",
            1 + (3 + 50) + (5 + 40) + (6 + 30) + (5 + 9),
        ),
        (
            "(array.init_elem $funcs $e (array.new_default $funcs (i32.const 4)) (i32.const 0)
                (i32.const 1) (i32.const 3))",
            1 + (2 + 4) + (4 + 3),
        ),
    ]
}

#[test]
fn each_operator_has_its_cost() -> Result<()> {
    let mut modules = vec![String::from("(module")];
    modules[0].push_str(ITEMS);
    for (i, (body, _)) in bodies().iter().enumerate() {
        modules[0].push_str(&format!("(func (export \"{i}\") {body})\n"));
    }
    modules[0].push(')');
    everywhere(|setting| {
        for optimize in [true, false] {
            let engine = Engine::new(config(setting).optimize(optimize))?;
            let module = Module::new(&engine, &modules[0])?;
            let mut store = new_store(&engine, ());
            store.set_fuel(PLENTY)?;
            let instance = Instance::new(&mut store, &module, &[])?;
            for (i, (body, cost)) in bodies().iter().enumerate() {
                store.set_fuel(PLENTY)?;
                let func = instance.get_func(&mut store, &i.to_string()).unwrap();
                call(&mut store, &func)?;
                assert_eq!(PLENTY - store.get_fuel()?, *cost, "{body}");
            }
        }
        Ok(())
    })
}

#[test]
fn legacy_exceptions_cost_like_the_others() -> Result<()> {
    let text = r#"(module (tag $e)
        (func $throws (throw $e))
        (func (export "f")
            try
                call $throws
            catch $e
                i32.const 1
                drop
            catch_all
                i32.const 1
                drop
                i32.const 1
                drop
            end)
        (func (export "g")
            try
                try
                    call $throws
                delegate 0
                i32.const 1
                drop
            catch_all
            end
            try
            catch $e
                i32.const 1
                drop
            end))"#;
    each_collector(|setting| {
        let (cost, result) = consumed(setting, text, "f")?;
        result?;
        // The call, try, call, the callee with its throw, and one operator of the clause.
        assert_eq!(cost, 1 + 2 + 2 + 1);
        let (cost, result) = consumed(setting, text, "g")?;
        result?;
        assert_eq!(cost, 1 + 3 + 2 + 1);
        Ok(())
    })
}

/// The cost up to a trap: everything before `unreachable`, and before other traps all up to the last
/// call.
#[test]
fn a_trap_leaves_the_fuel_of_the_last_call() -> Result<()> {
    let cases = [
        ("unreachable", Trap::Unreachable, 1),
        ("(drop (i32.const 1)) (unreachable)", Trap::Unreachable, 2),
        ("(drop (i32.div_u (i32.const 1) (global.get $g)))", Trap::IntegerDivisionByZero, 0),
        (
            "(call $leaf) (drop (i32.const 1))
                (drop (i32.div_u (i32.const 1) (global.get $g)))",
            Trap::IntegerDivisionByZero,
            3,
        ),
        (
            "(drop (call $three)) (drop (i32.load (i32.const -4))) (call $leaf)",
            Trap::MemoryOutOfBounds,
            6,
        ),
        // Every call of a function that is null: the call itself counts.
        ("(call_ref $none (ref.null $none))", Trap::NullReference, 3),
        (
            "(drop (i32.const 1)) (drop (struct.get $pair 0 (ref.null $pair)))",
            Trap::NullReference,
            0,
        ),
        (
            "(memory.fill (i32.const 65536) (i32.const 1) (i32.const 10))",
            Trap::MemoryOutOfBounds,
            0,
        ),
    ];
    everywhere(|setting| {
        for (body, expected, cost) in cases {
            let text = format!("(module {ITEMS} (func (export \"f\") {body}))");
            let (consumed, result) = consumed(setting, &text, "f")?;
            assert_eq!((trap(result), consumed), (expected, cost), "{body}");
        }
        // An access that traps at every address is known to.
        let text = r#"(module (memory 1 1) (func (export "f")
            (drop (i32.load8_s offset=0xffffffff (i32.add (i32.const 1) (i32.const 2))))))"#;
        let (cost, result) = consumed(setting, text, "f")?;
        assert_eq!((trap(result), cost), (Trap::MemoryOutOfBounds, 1 + 4));
        Ok(())
    })
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
            assert_eq!(global.get(&mut store)?.i32(), Some(turns(fuel)), "with {fuel}");
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
        for (name, func) in functions(&store, &instance)? {
            store.set_fuel(20_000)?;
            assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel, "{name}");
            assert_eq!(store.get_fuel()?, 0, "{name}");
            assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel, "{name}");
        }
    }
    Ok(())
}

/// An operator cannot consume so much that the counter wraps.
#[test]
fn huge_operators_use_up_all_fuel() -> Result<()> {
    let grow = |delta: &str| {
        format!(
            r#"(module (table $t i64 0 funcref)
                (global $delta (mut i64) (i64.const {delta}))
                (func (export "constant") (loop
                    (drop (table.grow $t (ref.null func) (i64.const {delta}))) (br 0)))
                (func (export "variable") (loop
                    (drop (table.grow $t (ref.null func) (global.get $delta)))
                    (drop (table.grow $t (ref.null func) (global.get $delta))) (br 0))))"#
        )
    };
    each_collector(|setting| {
        for delta in ["-1", "0x7fffffffffffffff", "0x8000000000000000", "0x4000000000000001"] {
            let (mut store, instance) = with_fuel(setting, PLENTY, &grow(delta))?;
            let instance = instance?;
            for name in ["constant", "variable"] {
                for fuel in [1, 3, 1 << 40, u64::MAX] {
                    store.set_fuel(fuel)?;
                    let func = instance.get_func(&mut store, name).unwrap();
                    assert_eq!(trap(call(&mut store, &func)), Trap::OutOfFuel, "{delta} {fuel}");
                    assert_eq!(store.get_fuel()?, 0);
                }
            }
        }
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
        let mut store: Store<Vec<u64>> = new_store(&engine, Vec::new());
        let look = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<u64>>, _: i32| {
            let fuel = caller.get_fuel()?;
            assert_eq!(caller.as_context().get_fuel()?, fuel);
            assert_eq!(caller.as_context_mut().get_fuel()?, fuel);
            caller.gc()?;
            caller.data_mut().push(fuel);
            anyhow::Ok(())
        })?;
        let set = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<u64>>, fuel: i64| {
            caller.set_fuel(fuel as u64)
        })?;
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
        })?;
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
        let mut store = new_store(&engine, ());
        let again = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, n: i32| {
            let f = caller.get_export("f").unwrap().into_func().unwrap();
            f.typed::<i32, ()>(&caller)?.call(&mut caller, n)
        })?;
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

/// Instantiation consumes fuel for what a module computes then, and for its start function.
#[test]
fn instantiation_consumes_it() -> Result<()> {
    let array = "(type $a (array (mut i8)))";
    let cases = [
        ("(module)".to_owned(), 0),
        // What is constant costs nothing.
        ("(module (global i32 (i32.const 1)) (table 9 funcref) (memory 1))".to_owned(), 0),
        (
            "(module (func $f) (table 9 funcref) (elem (i32.const 1) $f $f) (memory 1)
                (data (i32.const 5) \"abc\") (data \"passive\") (elem declare func $f))"
                .to_owned(),
            0,
        ),
        ("(module (func $f) (start $f))".to_owned(), 3),
        ("(module (func $f (drop (i32.const 1))) (start $f))".to_owned(), 4),
        ("(module (func $f) (elem func $f))".to_owned(), 1),
        ("(module (global i32 (i32.add (i32.const 1) (i32.const 2))))".to_owned(), 1 + 3),
        (format!("(module {array} (global (ref $a) (array.new_default $a (i32.const 90))))"), 93),
        (
            format!(
                "(module {array} (global $n i32 (i32.const 200))
                    (global (ref $a) (array.new $a (i32.const 1) (global.get $n)))
                    (func $f) (start $f))"
            ),
            1 + 3 + 200 + 2,
        ),
        ("(module (table 3 i31ref (ref.i31 (i32.const 1))))".to_owned(), 1 + 2 + 3),
        (
            "(module (table 3 i31ref)
                (elem (i32.const 1) i31ref (ref.i31 (i32.const 1)) (ref.null i31)))"
                .to_owned(),
            1 + 1 + 3 + 2,
        ),
        (
            "(module (global $at i32 (i32.const 3)) (memory 1)
                (data (i32.add (global.get $at) (i32.const 1)) \"abcd\"))"
                .to_owned(),
            1 + 3 + 4,
        ),
    ];
    everywhere(|setting| {
        for (text, cost) in &cases {
            let (store, instance) = with_fuel(setting, PLENTY, text)?;
            instance?;
            assert_eq!(PLENTY - store.get_fuel()?, *cost, "{text}");
        }
        // It ends in the start function, before it, and while an array is made.
        let endless = "(module (func $f (loop (br 0))) (start $f))".to_owned();
        let array = format!(
            "(module {array} (global (ref $a) (array.new_default $a (i32.const 20000)))
                (global (ref $a) (array.new_default $a (i32.const 20000))))"
        );
        for (text, fuel) in [(&endless, 10_000), (&endless, 1), (&endless, 0), (&array, 10_000)] {
            let (store, instance) = with_fuel(setting, fuel, text)?;
            assert_eq!(trap(instance), Trap::OutOfFuel, "{text}");
            assert_eq!(store.get_fuel()?, 0);
        }
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

/// With an interval code gets its fuel in portions. References that frames hold survive that.
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
            assert_eq!(f.call(&mut store, 50)?, 1275);
            costs.push(10_000 - store.get_fuel()?);
            store.set_fuel(200)?;
            assert_eq!(store.as_context().get_fuel()?, 200);
            assert_eq!(trap(f.call(&mut store, 50)), Trap::OutOfFuel);
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
    let mut store = new_store(&engine, ());
    let why = "fuel is not configured in this store";
    assert_eq!(message(store.get_fuel()), why);
    assert_eq!(message(store.set_fuel(1)), why);
    assert_eq!(message(store.fuel_async_yield_interval(None)), why);
    assert_eq!(message(store.as_context().get_fuel()), why);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>| {
        assert_eq!(message(caller.get_fuel()), "fuel is not configured in this store");
        caller.set_fuel(1)
    })?;
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
        let mut store = new_store(&with, ());
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
