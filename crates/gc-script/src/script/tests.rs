//! Tests that the runner can fail: each test has wrong directives.

use super::{Report, run_script};
use gc_wasm::{Config, Engine};

fn run(text: &str) -> Report {
    run_script(&Engine::new(&Config::new()).unwrap(), "test.wast", text).unwrap()
}

/// The lines and messages of the failures.
fn failures(text: &str) -> Vec<String> {
    run(text).failures.iter().map(ToString::to_string).collect()
}

const MODULE: &str = r#"
(module $m
  (type $s (struct (field i32)))
  (global (export "g") i32 (i32.const 7))
  (func (export "one") (result i32) (i32.const 1))
  (func (export "two") (result i32 i64) (i32.const 1) (i64.const 2))
  (func (export "f32") (param f32) (result f32) (local.get 0))
  (func (export "f64") (param f64) (result f64) (local.get 0))
  (func (export "v128") (param v128) (result v128) (local.get 0))
  (func (export "extern") (param externref) (result externref) (local.get 0))
  (func (export "any") (param anyref) (result anyref) (local.get 0))
  (func (export "struct") (result anyref) (struct.new $s (i32.const 1)))
  (func (export "i31") (result anyref) (ref.i31 (i32.const 1)))
  (func (export "trap") (unreachable))
  (func (export "div") (result i32) (i32.div_s (i32.const 1) (i32.const 0)))
  (func $loop (export "loop") (call $loop))
)
"#;

#[test]
fn right_assertions_pass() {
    let report = run(&format!(
        r#"{MODULE}
        (assert_return (invoke "one") (i32.const 1))
        (assert_return (invoke $m "two") (i32.const 1) (i64.const 2))
        (assert_return (invoke "one") (either (i32.const 0) (i32.const 1)))
        (assert_return (get "g") (i32.const 7))
        (assert_return (invoke "f32" (f32.const nan)) (f32.const nan:canonical))
        (assert_return (invoke "f64" (f64.const nan:0xfffffffffffff)) (f64.const nan:arithmetic))
        (assert_return (invoke "v128" (v128.const i32x4 1 2 3 -4)) (v128.const i64x2 0x200000001 -17179869181))
        (assert_return (invoke "v128" (v128.const f32x4 nan -nan nan:0x600000 1))
          (v128.const f32x4 nan:canonical nan:canonical nan:arithmetic 1))
        (assert_return (invoke "v128" (v128.const f64x2 nan 1))
          (either (v128.const f64x2 0 1) (v128.const f64x2 nan:canonical 1)))
        (assert_return (invoke "extern" (ref.extern 3)) (ref.extern 3))
        (assert_return (invoke "extern" (ref.extern 3)) (ref.extern))
        (assert_return (invoke "extern" (ref.null extern)) (ref.null extern))
        (assert_return (invoke "any" (ref.host 3)) (ref.host 3))
        (assert_return (invoke "any" (ref.null any)) (ref.null))
        (assert_return (invoke "struct") (ref.struct))
        (assert_return (invoke "struct") (ref.eq))
        (assert_return (invoke "i31") (ref.i31))
        (assert_trap (invoke "trap") "unreachable")
        (assert_exhaustion (invoke "loop") "call stack exhausted")
        (assert_invalid (module (func (result i32))) "type mismatch")
        (assert_malformed (module quote "(func") "unexpected end")
        (assert_unlinkable (module (import "no" "where" (func))) "unknown import")
        (assert_unlinkable (module (import "spectest" "table" (func))) "incompatible import type")
        (register "m" $m)
        (module (import "m" "one" (func $one (result i32)))
          (func (export "again") (result i32) (call $one)))
        (assert_return (invoke "again") (i32.const 1))
        (module definition $d (global (export "g") (mut i32) (i32.const 1)))
        (module instance $i $d)
        (module instance $j $d)
        (assert_return (get $i "g") (i32.const 1))"#
    ));
    assert_eq!(report.failures, []);
    assert_eq!(report.passed, 31);
    assert!(report.skipped.is_empty());
}

/// Directives that fail after [`MODULE`], and what is said of them.
const WRONG: [(&str, &str); 23] = [
    (
        r#"(assert_return (invoke "one") (i32.const 2))"#,
        "assert_return: expected (i32.const 2), got (i32.const 1)",
    ),
    (r#"(assert_return (invoke "one"))"#, "assert_return: expected no values, got (i32.const 1)"),
    (
        r#"(assert_return (invoke "two") (i32.const 1))"#,
        "assert_return: expected (i32.const 1), got (i32.const 1) (i64.const 2)",
    ),
    (
        r#"(assert_return (invoke "one") (i64.const 1))"#,
        "assert_return: expected (i64.const 1), got (i32.const 1)",
    ),
    (
        r#"(assert_return (invoke "f32" (f32.const nan:0x1)) (f32.const nan:canonical))"#,
        "assert_return: expected (f32.const nan:canonical), got (f32.const nan:0x1)",
    ),
    (
        r#"(assert_return (invoke "f64" (f64.const 0)) (f64.const -0))"#,
        "assert_return: expected (f64.const -0.0), got (f64.const 0.0)",
    ),
    (
        r#"(assert_return (invoke "v128" (v128.const i8x16 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0)) (v128.const i16x8 0 0 0 0 0 0 0 0))"#,
        "assert_return: expected (v128.const i16x8 0 0 0 0 0 0 0 0), got (v128.const i32x4 \
         0x00000001 0x00000000 0x00000000 0x00000000)",
    ),
    (
        r#"(assert_return (invoke "v128" (v128.const f32x4 1 1 nan:0x1 1)) (v128.const f32x4 1 1 nan:canonical 1))"#,
        "assert_return: expected (v128.const f32x4 1.0 1.0 nan:canonical 1.0), got \
         (v128.const i32x4 0x3f800000 0x3f800000 0x7f800001 0x3f800000)",
    ),
    (
        r#"(assert_return (invoke "v128" (v128.const f64x2 1 nan:0x1)) (v128.const f64x2 1 nan:arithmetic))"#,
        "assert_return: expected (v128.const f64x2 1.0 nan:arithmetic), got (v128.const i32x4 \
         0x00000000 0x3ff00000 0x00000001 0x7ff00000)",
    ),
    (
        r#"(assert_return (invoke "extern" (ref.extern 3)) (ref.extern 4))"#,
        "assert_return: expected (ref.extern 4), got externref:3",
    ),
    (
        r#"(assert_return (invoke "extern" (ref.extern 3)) (ref.null extern))"#,
        "assert_return: expected (ref.null), got externref:3",
    ),
    (
        r#"(assert_return (invoke "any" (ref.host 3)) (ref.eq))"#,
        "assert_return: expected (ref.eq), got externref:3",
    ),
    (
        r#"(assert_return (invoke "struct") (ref.i31))"#,
        "assert_return: expected (ref.i31), got (struct 1)",
    ),
    (
        r#"(assert_return (invoke "trap"))"#,
        "assert_return: wasm trap: wasm `unreachable` instruction executed",
    ),
    (r#"(assert_return (invoke "nothing"))"#, "assert_return: there is no function `nothing`"),
    (
        r#"(assert_trap (invoke "one") "unreachable")"#,
        "assert_trap: expected the trap `unreachable`, got (i32.const 1)",
    ),
    (
        r#"(assert_trap (invoke "div") "unreachable")"#,
        "assert_trap: expected the trap `unreachable`, got the trap `wasm trap: integer divide by zero`",
    ),
    (
        r#"(assert_trap (module (import "no" "where" (func))) "unreachable")"#,
        "assert_trap: expected the trap `unreachable`, got the error `unknown import: `no` \
         `where``",
    ),
    (
        r#"(assert_exhaustion (invoke "trap") "unreachable")"#,
        "assert_exhaustion: expected a stack overflow, got `wasm trap: wasm `unreachable` instruction \
         executed`",
    ),
    (
        r#"(assert_invalid (module) "type mismatch")"#,
        "assert_invalid: expected `type mismatch`, but the module compiled",
    ),
    (
        r#"(assert_malformed (module quote "(func)") "unexpected token")"#,
        "assert_malformed: expected `unexpected token`, but the module compiled",
    ),
    (
        r#"(assert_unlinkable (module) "unknown import")"#,
        "assert_unlinkable: expected `unknown import`, but the module was instantiated",
    ),
    (
        r#"(assert_unlinkable (module (func unreachable) (start 0)) "unknown import")"#,
        "assert_unlinkable: expected `unknown import`, got `wasm trap: wasm `unreachable` instruction executed`",
    ),
];

#[test]
fn wrong_assertions_fail() {
    for (directive, expected) in WRONG {
        let found = failures(&format!("{}\n{directive}", MODULE.trim()));
        assert_eq!(found, [format!("test.wast:17:2: {expected}")], "{directive}");
    }
}

#[test]
fn what_needs_a_failed_module_fails() {
    let report = run(r#"
        (module $bad (import "no" "where" (func)))
        (assert_return (invoke "f"))
        (register "bad" $bad)
        (module (import "bad" "f" (func)))"#);
    assert_eq!((report.passed, report.failures.len()), (0, 4), "{report:?}");
}

#[test]
fn what_is_not_supported_is_skipped_by_name() {
    let report = run(r#"
        (module $wide (memory 1 1 shared) (func (export "f")))
        (assert_return (invoke "f"))
        (register "wide")
        (module (import "wide" "f" (func)))
        (assert_exception (invoke "f"))
        (module (memory 1 (pagesize 1)))
        (module (func (export "g")))
        (assert_return (invoke "g"))"#);
    assert_eq!((report.passed, &report.failures[..]), (2, &[][..]));
    let skipped: Vec<_> = report.skipped.iter().map(|(why, n)| (why.as_str(), *n)).collect();
    assert_eq!(skipped, [("needs custom-page-sizes", 1), ("needs threads", 5)]);
}

#[test]
fn scripts_that_do_not_parse_are_errors() {
    let engine = Engine::new(&Config::new()).unwrap();
    let error = run_script(&engine, "test.wast", "(module)\n(assert_retrun)").unwrap_err();
    assert!(error.to_string().contains("test.wast:2:2"), "{error}");
}
