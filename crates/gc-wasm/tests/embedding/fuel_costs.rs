//! What operators, calls and instantiation cost in fuel: the same under every collector, with and
//! without optimisation.

use crate::common::{Setting, call, each_collector, everywhere, trap};
use crate::metering::{PLENTY, with_fuel};
use anyhow::Result;
use gc_wasm::{Engine, Instance, Module, OperatorCost, OptLevel, Store, Trap};

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
        // It fails, and does nothing.
        ("(drop (table.grow $t (ref.null func) (i32.const 1000)))", 1 + 3),
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
    let mut text = format!("(module {ITEMS}");
    for (i, (body, _)) in bodies().iter().enumerate() {
        text.push_str(&format!("(func (export \"{i}\") {body})\n"));
    }
    text.push(')');
    everywhere(|setting| {
        for optimize in [true, false] {
            let engine = Engine::new(
                setting.config().consume_fuel(true).cranelift_opt_level(if optimize {
                    OptLevel::Speed
                } else {
                    OptLevel::None
                }),
            )?;
            let module = Module::new(&engine, &text)?;
            let mut store = Store::new(&engine, ());
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

/// The cost up to a trap: everything before `unreachable` and before traps of operators that the host
/// does, and before other traps all up to the last call.
#[test]
fn a_trap_leaves_the_fuel_of_the_last_call() -> Result<()> {
    let cases = [
        ("unreachable", Trap::UnreachableCodeReached, 1),
        ("(drop (i32.const 1)) (unreachable)", Trap::UnreachableCodeReached, 2),
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
            5,
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

/// Each operator has a cost, and each operator on many elements a cost for each of them.
#[test]
fn costs_of_operators_can_be_set() -> Result<()> {
    each_collector(|setting| {
        let mut costs = OperatorCost::default();
        (costs.I32Const, costs.RefNull, costs.I64Const) = (0, 0, 0);
        (costs.LocalGet, costs.LocalSet, costs.Drop) = (0, 0, 3);
        // The call, and what is dropped below.
        let mut expected = 1 + 3 * 3;
        macro_rules! costly {
            ($($op:ident $variable:ident $cost:literal)*) => {$(
                costs.$op = 100 + $cost;
                costs.variable.$variable = $cost;
                expected += 100 + $cost + 5 * $cost;
            )*};
        }
        costly! {
            MemoryCopy memory_copy_per_byte 2  MemoryFill memory_fill_per_byte 3
            MemoryInit memory_init_per_byte 5  MemoryGrow memory_grow_per_page 7
            TableCopy table_copy_per_element 11  TableFill table_fill_per_element 13
            TableInit table_init_per_element 17  TableGrow table_grow_per_element 19
            ArrayCopy array_copy_per_element 23  ArrayFill array_fill_per_element 29
            ArrayNewData array_new_data_per_element 31  ArrayInitData array_init_data_per_element 37
            ArrayNewElem array_new_elem_per_element 41  ArrayInitElem array_init_elem_per_element 43
            ArrayNewDefault array_new_default_per_element 47  ArrayNew array_new_per_element 53
        }
        let engine = Engine::new(setting.config().consume_fuel(true).operator_cost(costs))?;
        let module = Module::new(
            &engine,
            r#"(module
                (type $i64s (array (mut i64))) (type $i32s (array (mut i32)))
                (type $funcs (array (mut funcref)))
                (memory 1 6) (table 5 10 funcref) (data $d "abcdefghijklmnopqrstuvwxyz")
                (func $f) (elem $e func $f $f $f $f $f)
                (func (export "main")
                    (local $a (ref null $i64s)) (local $b (ref null $i32s))
                    (local $c (ref null $funcs))
                    (memory.copy (i32.const 0) (i32.const 0) (i32.const 5))
                    (memory.fill (i32.const 0) (i32.const 0) (i32.const 5))
                    (memory.init $d (i32.const 0) (i32.const 0) (i32.const 5))
                    (drop (memory.grow (i32.const 5)))
                    (table.copy (i32.const 0) (i32.const 0) (i32.const 5))
                    (table.fill (i32.const 0) (ref.null func) (i32.const 5))
                    (table.init $e (i32.const 0) (i32.const 0) (i32.const 5))
                    (drop (table.grow (ref.null func) (i32.const 5)))
                    (local.set $a (array.new $i64s (i64.const 0) (i32.const 5)))
                    (drop (array.new_default $i64s (i32.const 5)))
                    (local.set $b (array.new_data $i32s $d (i32.const 0) (i32.const 5)))
                    (local.set $c (array.new_elem $funcs $e (i32.const 0) (i32.const 5)))
                    (array.copy $i64s $i64s
                        (local.get $a) (i32.const 0) (local.get $a) (i32.const 0) (i32.const 5))
                    (array.fill $i64s (local.get $a) (i32.const 0) (i64.const 0) (i32.const 5))
                    (array.init_data $i32s $d
                        (local.get $b) (i32.const 0) (i32.const 0) (i32.const 5))
                    (array.init_elem $funcs $e
                        (local.get $c) (i32.const 0) (i32.const 0) (i32.const 5))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        store.set_fuel(PLENTY)?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let main = instance.get_typed_func::<(), ()>(&mut store, "main")?;
        let before = store.get_fuel()?;
        main.call(&mut store, ())?;
        assert_eq!(before - store.get_fuel()?, expected);
        Ok(())
    })
}
