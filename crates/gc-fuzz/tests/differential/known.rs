//! A module whose counts are known, and faults that the comparison must notice.

use gc_fuzz::differential::{
    Argument, COUNTERS, Number, ObservedValue, Outcome, Run, Setting, Verdict, compare, instrument,
    ours, wasmtime,
};
use gc_testkit::choices::Choices;

const MODULE: &str = r#"(module
    (type $pair (struct (field (mut i32)) (field (ref null $pair))))
    (import "host" "twice" (func $host (param i32) (result i32)))
    (tag $tag (param i32))
    (memory $narrow 1 1)
    (memory $wide i64 1 1)
    (table $table (export "table") 2 2 anyref)
    (global $last (export "last") (mut (ref null $pair)) (ref.null $pair))
    (func $count (export "tail") (param i32) (result i32)
        (if (i32.eqz (i32.and (local.get 0) (i32.const 15))) (then (return (i32.const 5))))
        (return_call $count (i32.sub (local.get 0) (i32.const 1))))
    (func (export "objects") (result (ref $pair))
        (global.set $last (struct.new $pair (i32.const 1) (global.get $last)))
        (table.set $table (i32.const 1) (global.get $last))
        (ref.as_non_null (global.get $last)))
    (func (export "memories") (result i64)
        (i64.store $narrow (i32.const 0) (i64.const 7))
        (i64.store $wide (i64.const 8) (i64.load $narrow (i32.const 0)))
        (i64.load $wide (i64.const 8)))
    (func (export "throw") (param i32) (throw $tag (local.get 0)))
    (func (export "vector") (param i32) (result v128)
        (i32x4.splat (call $host (local.get 0))))
    (global $fuel (mut i32) (i32.const 100)))"#;

/// The counts that do not depend on the choices of a seed.
const EXPECTED: [(&str, i32); 5] = [
    ("count: GC operations", 2),
    ("count: objects", 2),
    ("count: SIMD operations", 2),
    ("count: 64-bit memory accesses", 4),
    ("count: calls of host functions", 2),
];

#[test]
fn what_a_known_module_executes_is_counted() -> anyhow::Result<()> {
    let module = wat::parse_str(MODULE)?;
    let mut handled = 0;
    let mut threw = 0;
    for seed in 0..20 {
        let module = instrument(&module, 1, wasmtime::FEATURES, false, Choices::from_seed(seed))?;
        let expected = wasmtime::run(&module, seed as u8, &mut Choices::from_seed(seed + 100))?;
        for (name, count) in EXPECTED {
            assert!(COUNTERS.contains(&name));
            assert_eq!(expected.count(name), count, "{name}: {expected:?}");
        }
        assert_eq!(expected.count("count: throws"), 2);
        handled += expected.count("count: exceptions in added handlers");
        let is_thrown = |outcome: &Outcome| matches!(outcome, Outcome::Threw(_));
        threw += expected.calls.iter().filter(|call| is_thrown(&call.outcome)).count();
        for setting in Setting::of(seed) {
            let actual = ours::repeat(&module, &setting, &expected)?;
            assert_eq!(compare(&expected, &actual), Verdict::Same, "{}", setting.name());
        }
    }
    // Some were handled, and some left their calls.
    assert!(handled > 0 && threw > 0, "{handled} {threw}");
    Ok(())
}

#[test]
fn the_comparison_notices_each_difference() -> anyhow::Result<()> {
    let module =
        instrument(&wat::parse_str(MODULE)?, 1, wasmtime::FEATURES, false, Choices::from_seed(0))?;
    let run = wasmtime::run(&module, 0, &mut Choices::from_seed(0))?;
    assert_eq!(compare(&run, &run), Verdict::Same);
    let notices = |fault: &dyn Fn(&mut Run)| {
        let mut other = run.clone();
        fault(&mut other);
        assert!(matches!(compare(&run, &other), Verdict::Different(_)), "{other:?}");
    };
    notices(&|run| run.calls[0].outcome = Outcome::Trapped("unreachable".into()));
    notices(&|run| run.calls[1].outcome = Outcome::Returned(vec![]));
    notices(&|run| run.calls[2].fuel = Number::I32(-1).into());
    notices(&|run| drop(run.calls.pop()));
    notices(&|run| drop(run.state.pop()));
    notices(&|run| run.refused = Some(Outcome::Trapped("cast".into())));
    for index in 0..run.state.len() {
        notices(&|run| run.state[index].1 = ObservedValue::Null);
    }
    // Objects are compared by what is in them.
    let pairs: Vec<_> = run.calls.iter().filter(|call| call.export == "objects").collect();
    let one = |next| ObservedValue::Struct(vec![Number::I32(1).into(), next]);
    assert_eq!(pairs[0].outcome, Outcome::Returned(vec![one(ObservedValue::Null)]));
    assert_eq!(pairs[1].outcome, Outcome::Returned(vec![one(one(ObservedValue::Null))]));
    // What is used up in one engine ends the comparison.
    let mut other = run.clone();
    other.calls[0].outcome = Outcome::Exhausted("stack".to_string());
    assert_eq!(compare(&run, &other), Verdict::SameUntilExhausted);
    assert!(
        run.calls
            .iter()
            .any(|call| matches!(call.arguments[..], [Argument::Number(Number::I32(_))]))
    );
    Ok(())
}
