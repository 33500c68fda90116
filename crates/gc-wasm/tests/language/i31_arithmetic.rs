//! Arithmetic whose results become `i31`s. The compiler computes them with their tags. Nobody sees this
//! but by the speed.

use crate::common::everywhere;
use anyhow::Result;
use gc_wasm::{Instance, Module, Store};
use std::fmt::Write as _;

/// A number that is computed from the `i31`s `a` and `b`, and from the number `n`.
struct Case {
    wat: &'static str,
    computed: fn(i32, i32, i32) -> i32,
}

/// `A` and `B` read an `i31` with its sign, and `U` reads `b` without.
const CASES: &[Case] = &[
    Case { wat: "A", computed: |a, _, _| a },
    Case { wat: "U", computed: |_, b, _| b & 0x7fff_ffff },
    Case { wat: "(i32.add A B)", computed: |a, b, _| a.wrapping_add(b) },
    Case { wat: "(i32.add A U)", computed: |a, b, _| a.wrapping_add(b & 0x7fff_ffff) },
    Case { wat: "(i32.sub A B)", computed: |a, b, _| a.wrapping_sub(b) },
    Case { wat: "(i32.sub (i32.const 5) B)", computed: |_, b, _| 5_i32.wrapping_sub(b) },
    Case { wat: "(i32.mul A B)", computed: |a, b, _| a.wrapping_mul(b) },
    Case { wat: "(i32.mul (i32.const -3) B)", computed: |_, b, _| b.wrapping_mul(-3) },
    Case { wat: "(i32.and A B)", computed: |a, b, _| a & b },
    Case { wat: "(i32.and A (i32.const 6))", computed: |a, _, _| a & 6 },
    Case { wat: "(i32.or A (i32.const 0x40000000))", computed: |a, _, _| a | 0x4000_0000 },
    Case { wat: "(i32.xor A B)", computed: |a, b, _| a ^ b },
    Case { wat: "(i32.xor A (i32.const -1))", computed: |a, _, _| !a },
    Case { wat: "(i32.shl A (i32.const 3))", computed: |a, _, _| a << 3 },
    Case { wat: "(i32.shl A (local.get $n))", computed: |a, _, n| a.wrapping_shl(n as u32) },
    Case {
        wat: "(i32.add (i32.shl A (local.get $n)) B)",
        computed: |a, b, n| a.wrapping_shl(n as u32).wrapping_add(b),
    },
    Case { wat: "(i32.add (i32.shl A (i32.const 32)) B)", computed: |a, b, _| a.wrapping_add(b) },
    Case { wat: "(i32.and (i32.const 0) A)", computed: |_, _, _| 0 },
    Case { wat: "(i32.shr_s A (i32.const 1))", computed: |a, _, _| a >> 1 },
    Case { wat: "(i32.add A (local.get $n))", computed: |a, _, n| a.wrapping_add(n) },
    Case { wat: "(i32.add (local.get $n) (i32.const 7))", computed: |_, _, n| n.wrapping_add(7) },
    Case {
        wat: "(i32.sub (i32.mul (i32.add A (i32.const 1)) B) (i32.and U (i32.const 255)))",
        computed: |a, b, _| a.wrapping_add(1).wrapping_mul(b).wrapping_sub(b & 255),
    },
    Case {
        wat: "(i32.add (i32.add (i32.add (i32.add (i32.add A B) A) B) A) B)",
        computed: |a, b, _| a.wrapping_add(b).wrapping_mul(3),
    },
    // A call that may collect stands between the reads and the sum.
    Case {
        wat: "(i32.add A (i32.add (call $allocates (local.get $n)) B))",
        computed: |a, b, n| a.wrapping_add(n).wrapping_add(b),
    },
    // The sum is used by others too.
    Case {
        wat: "(i32.add (local.tee $n (i32.add A B)) (i32.shr_s (local.get $n) (i32.const 4)))",
        computed: |a, b, _| a.wrapping_add(b).wrapping_add(a.wrapping_add(b) >> 4),
    },
];

const NUMBERS: [i32; 9] = [0, 1, -1, 2, 77, 0x3fff_ffff, -0x4000_0000, 0x2aaa_aaaa, -0x1234_5678];

fn module() -> String {
    let mut wat = String::from(
        r#"(module
        (type $box (struct (field $n (mut i32)) (field $i31 (mut anyref))))
        (type $array (array (mut anyref)))
        (global $box (ref $box) (struct.new_default $box))
        (global $array (ref $array) (array.new_default $array (i32.const 3)))
        (global $last (mut anyref) (ref.null any))
        (func $allocates (param i32) (result i32)
            (struct.get $box $n (struct.new $box (local.get 0) (ref.null any))))"#,
    );
    for (number, Case { wat: expression, .. }) in CASES.iter().enumerate() {
        let read =
            |op: &str, param: &str| format!("({op} (ref.cast (ref i31) (local.get {param})))");
        let expression = expression
            .replace('A', &read("i31.get_s", "$a"))
            .replace('B', &read("i31.get_s", "$b"))
            .replace('U', &read("i31.get_u", "$b"));
        // The `i31` goes through a field, an element and a global, all in old objects.
        write!(
            wat,
            r#"
        (func $case{number} (param $a anyref) (param $b anyref) (param $n i32)
            (global.set $last (ref.i31 {expression}))
            (struct.set $box $i31 (global.get $box) (global.get $last)))
        (func (export "{number}") (param $a i32) (param $b i32) (param $n i32) (result i32)
            (call $case{number} (ref.i31 (local.get $a)) (ref.i31 (local.get $b)) (local.get $n))
            (array.set $array (global.get $array) (i32.const 1)
                (ref.i31 (i32.add (i32.const 0)
                    (i31.get_u (ref.cast (ref i31) (struct.get $box $i31 (global.get $box)))))))
            (i31.get_s (ref.cast (ref i31)
                (array.get $array (global.get $array) (i32.const 1)))))"#
        )
        .unwrap();
    }
    wat + ")"
}

#[test]
fn i31s_are_what_was_computed() -> Result<()> {
    let wat = module();
    everywhere(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, &wat)?, &[])?;
        store.gc(None)?;
        for (number, case) in CASES.iter().enumerate() {
            let run =
                instance.get_typed_func::<(i32, i32, i32), i32>(&mut store, &number.to_string())?;
            for a in NUMBERS {
                for b in NUMBERS {
                    let n = a.wrapping_mul(31) ^ b;
                    let expected = (case.computed)(a, b, n) << 1 >> 1;
                    let found = run.call(&mut store, (a, b, n))?;
                    assert_eq!(found, expected, "{} of {a}, {b} and {n}", case.wat);
                }
            }
        }
        Ok(())
    })
}
