//! Objects that are allocated in a row test the limit once. Nobody sees this but by the speed: the
//! objects are the same, also if not all of them fit, or if the program traps between two of them.

use crate::common::{Setting, everywhere, trap};
use anyhow::Result;
use gc_wasm::{Engine, Instance, Module, Store, Trap};

/// Makes lists whose nodes are four objects each. `divisor` becomes zero where the program is to trap
/// between the first and the second of them.
const ROWS: &str = r#"(module
    (type $leaf (struct (field $n (mut i32)) (field $wide i64)))
    (type $bytes (array (mut i8)))
    (type $node (struct (field $leaf (ref $leaf)) (field $bytes (ref $bytes))
                        (field $other (ref $leaf)) (field $next (ref null $node))))
    (func $leaf (param i32) (result (ref $leaf))
        (struct.new $leaf (local.get 0) (i64.extend_i32_s (local.get 0))))
    (func $node (param $n i32) (param $divisor i32) (param $next (ref null $node))
                (result (ref $node))
        (struct.new $node
            (call $leaf (local.get $n))
            (array.new_fixed $bytes 5 (local.get $n) (i32.const 1) (i32.const 2) (i32.const 3)
                (i32.div_u (local.get $n) (local.get $divisor)))
            (call $leaf (i32.mul (local.get $n) (i32.const 2)))
            (local.get $next)))
    (global $list (mut (ref null $node)) (ref.null $node))
    (func (export "make") (param $n i32) (param $trap i32)
        (global.set $list (ref.null $node))
        (loop $again
            (global.set $list (call $node (local.get $n)
                (i32.ne (local.get $n) (local.get $trap)) (global.get $list)))
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (br_if $again (local.get $n))))
    (func (export "sum") (result i64)
        (local $at (ref null $node)) (local $sum i64)
        (local.set $at (global.get $list))
        (block $end
            (loop $again
                (br_if $end (ref.is_null (local.get $at)))
                (local.set $sum (i64.add (local.get $sum) (i64.add
                    (struct.get $leaf $wide (struct.get $node $leaf (local.get $at)))
                    (i64.add
                        (i64.extend_i32_u (array.get_u $bytes (struct.get $node $bytes (local.get $at))
                            (i32.const 3)))
                        (i64.extend_i32_s
                            (struct.get $leaf $n (struct.get $node $other (local.get $at))))))))
                (local.set $at (struct.get $node $next (local.get $at)))
                (br $again)))
        (local.get $sum)))"#;

/// The sum of the lists from `from` to `to`.
fn expected(from: i64, to: i64) -> i64 {
    (from..=to).map(|n| 3 * n + 3).sum()
}

fn run(setting: &Setting, zeal: u32) -> Result<()> {
    let mut config = setting.config();
    config.gc_zeal(zeal);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, ROWS)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let make = instance.get_typed_func::<(i32, i32), ()>(&mut store, "make")?;
    let sum = instance.get_typed_func::<(), i64>(&mut store, "sum")?;
    // Each collection verifies the whole heap.
    let rows = match zeal {
        0 => 4000,
        1 => 40,
        _ => 600,
    };
    make.call(&mut store, (rows, 0))?;
    assert_eq!(sum.call(&mut store, ())?, expected(1, rows.into()));
    // What was allocated before the trap is a whole object, and the next one comes right behind it.
    for at in [rows, rows / 2, 1] {
        assert_eq!(trap(make.call(&mut store, (rows, at))), Trap::IntegerDivisionByZero);
        assert_eq!(sum.call(&mut store, ())?, expected(i64::from(at) + 1, rows.into()));
        make.call(&mut store, (rows / 4, 0))?;
        store.gc(None)?;
        assert_eq!(sum.call(&mut store, ())?, expected(1, i64::from(rows) / 4));
    }
    Ok(())
}

#[test]
fn objects_in_a_row_are_the_same() -> Result<()> {
    everywhere(|setting| match setting.zeal {
        false => run(setting, 0),
        // With 1 all objects are allocated by the host. With 6 some rows have no collection.
        true => [1, 6, 17].into_iter().try_for_each(|zeal| run(setting, zeal)),
    })
}
