//! Programs and their results under each collector, with a large heap and with zeal: every few
//! allocations a collection runs, with the heap verified before and after.

use crate::runtime::{MAX_STACK, run};
use crate::{DEMO, DEMO_RESULT};
use anyhow::Result;
use gc_engine::{Collector, Engine};
use gc_runtime::GcStats;

const COLLECTORS: [&str; 4] = ["null", "drc", "copying", "generational"];

fn run_with(source: &str, collector: &str, mib: u64, zeal: u32) -> Result<(String, GcStats)> {
    let engine = Engine::builder(Collector::by_name(collector)?).heap_maximum(mib << 20);
    run(source, &engine.zeal(zeal).max_stack(MAX_STACK).build()?)
}

#[track_caller]
fn comes_to(source: &str, expected: &str) {
    for collector in COLLECTORS {
        for zeal in [0, 1, 3] {
            let (result, _) = run_with(source, collector, 64, zeal).unwrap();
            assert_eq!(result, expected, "{collector}, zeal {zeal}");
        }
    }
}

#[track_caller]
fn fails(source: &str, expected: &str) {
    for collector in COLLECTORS {
        let error = run_with(source, collector, 1, 0).expect_err("it ran").to_string();
        assert!(error.contains(expected), "{collector}: {error}");
    }
}

#[test]
fn integers() {
    comes_to("(list (+ 1 2) (- 2 -3) (* 3 4) (/ -7 2) (% -7 2))", "(3 5 12 -3 -1)");
    comes_to("(list (= 3 3) (= 3 4) (< 1 2) (< 2 1) (< 2 2))", "(1 0 1 0 0)");
    comes_to("(list (+ 1073741823 1) (/ -1073741824 -1))", "(-1073741824 -1073741824)");
}

#[test]
fn lists() {
    comes_to("(list () (list 1) (cons 2 (list 3)))", "(() (1) (2 3))");
    comes_to("(list (match () 1 (x y) 2) (match (list 7 8) () (x y) y))", "(1 (8))");
}

#[test]
fn closures_capture_what_they_use() {
    comes_to("(def (f x y z) (+ x (* y z))) (def g (f 1 2)) (list (g 3) (g 4))", "(7 9)");
    comes_to("(def x 1) (def (f y) (+ x y)) (def x 10) (f x)", "11");
    comes_to("(def (k a b) a) (list (fun (x) x) (k (k 5) 0 1))", "(a function 5)");
    comes_to(
        "(def (even n) (def (odd m) (if m (even (- m 1)) 0)) (if n (odd (- n 1)) 1))
         (list (even 10) (even 7))",
        "(1 0)",
    );
}

#[test]
fn collections_keep_what_frames_and_closures_hold_and_free_the_rest() {
    let program = "
        (def (range a b) (if (= a b) () (cons a (range (+ a 1) b))))
        (def (sum xs) (match xs 0 (x rest) (+ x (sum rest))))
        (def kept (range 0 20))
        (def (get u) (sum kept))
        (def (churn n) (if n (churn (- n (/ (sum (range 0 10)) 45))) (get 0)))
        (list (churn ROUNDS) (sum kept))";
    comes_to(&program.replace("ROUNDS", "20"), "(190 190)");

    let long = program.replace("ROUNDS", "20000");
    let (result, stats) = run_with(&long, "drc", 1, 0).unwrap();
    assert_eq!(result, "(190 190)");
    assert!(stats.collections > 0 && stats.allocated_bytes > 4 << 20, "{stats:?}");
    let error = run_with(&long, "null", 1, 0).expect_err("nothing is freed");
    assert!(error.to_string().contains("GC heap out of memory"), "{error}");
}

#[test]
fn the_demo_comes_to_its_result() {
    for collector in COLLECTORS {
        assert_eq!(run_with(DEMO, collector, 64, 0).unwrap().0, DEMO_RESULT);
    }
}

#[test]
fn mistakes_are_errors_that_say_where() {
    fails("", "line 1: an expression is missing");
    fails("(+ 1\n(- 2", "line 2: this `(` is not closed");
    fails("1)", "line 1: one `)` too many");
    fails("(def x 1)\n(f y)", "line 2: `f` is not bound");
    fails("99999999999", "`99999999999` has over 31 bits");
    fails("(+ 1 2 3)", "wrong use of `+`: expected (+ A B)");
    fails("(if 1 2)", "wrong use of `if`: expected (if CONDITION YES NO)");
    fails("1 2", "expected (def NAME VALUE)");
    fails("(def (f)) 2", "a function needs parameters, and each must be a name");
    fails("(fun ((x)) x)", "a function needs parameters, and each must be a name");
    fails("(match () (x) 1)", "wrong use of `match`");
    for endless in ["(", "(+ 1 ", "(fun (x) ", "(if 1 ", "(list "] {
        fails(&endless.repeat(100_000), "nested too deeply");
    }
    fails(&format!("(fun ({}) x)", "x ".repeat(100_000)), "nested too deeply");
    let kind = "a value has the wrong kind\n  in ";
    fails("(def (f x)\n(+ x ())) (+ (f 1) 1)", &format!("{kind}f (line 1), line 2\n  in the"));
    for wrong in ["(1 2)", "(cons 1 2)", "(if () 1 2)", "(match 5 1 (x y) 2)"] {
        fails(wrong, kind);
    }
    fails("(def (f x)\n\n(/ 1 x)) (f 0)", "integer divide by zero\n  in f (line 1), line 3");
    fails("(def (f x) (+ 1 (f x))) (f 0)", "call stack exhausted\n  in f (line 1)");
    fails("(def (f x) (f (cons x x))) (f ())", "GC heap out of memory");
}

#[test]
fn what_is_long_or_deep_but_allowed_runs() {
    comes_to(&format!("{}1{}", "(+ 1 ".repeat(90), ")".repeat(90)), "91");
    comes_to(&format!("{}1{}", "(if 1 ".repeat(90), " 0)".repeat(90)), "1");
    let functions: String = (0..2000).map(|n| format!("(def (f{n} x) (+ x {n}))")).collect();
    comes_to(&format!("{functions} (f1999 1)"), "2000");
    let shared = "(def (f n x) (if n (f (- n 1) (list x x)) x)) (f 100 ())";
    assert!(run_with(shared, "drc", 1, 0).unwrap().0.len() < 1 << 20);
}
