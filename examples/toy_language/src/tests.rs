//! Programs and what they print under each collector: as usual, with tests of types, and with zeal, where
//! every few allocations a collection runs and the heap is verified before and after.

use crate::MAX_STACK;
use crate::session::Session;
use anyhow::Result;
use gc_engine::{CodeOptions, Collector, Engine, EngineBuilder};
use gc_runtime::GcStats;
use std::sync::{Arc, Mutex};

const COLLECTORS: [&str; 4] = ["null", "drc", "copying", "generational"];

/// Makes an engine differ.
type Mode = fn(EngineBuilder) -> EngineBuilder;

const USUAL: Mode = |engine| engine;
const CHECKED: Mode = |engine| engine.code(CodeOptions { checked: true, ..CodeOptions::default() });
const MODES: [Mode; 4] = [USUAL, CHECKED, |engine| engine.zeal(1), |engine| engine.zeal(3)];

/// Runs a program. Returns what it prints and its value, or its error, and the heap's statistics.
fn run(source: &str, collector: &str, mib: u64, mode: Mode) -> (String, Result<String>, GcStats) {
    let engine = Engine::builder(Collector::by_name(collector).unwrap()).heap_maximum(mib << 20);
    let engine = mode(engine).max_stack(MAX_STACK).build().unwrap();
    let printed = Arc::new(Mutex::new(String::new()));
    let output = printed.clone();
    let print = move |text: &str| *output.lock().unwrap() += &format!("{text}\n");
    let mut session = Session::new(&engine, print).unwrap();
    let result = session.run(source);
    let printed = printed.lock().unwrap().clone();
    (printed, result, session.stats())
}

#[track_caller]
fn comes_to(source: &str, expected: &str) {
    for collector in COLLECTORS {
        for mode in MODES {
            let (_, result, _) = run(source, collector, 64, mode);
            assert_eq!(result.unwrap(), expected, "{collector}");
        }
    }
}

#[track_caller]
fn fails(source: &str, expected: &str) {
    for collector in COLLECTORS {
        let error = run(source, collector, 1, USUAL).1.expect_err("it ran").to_string();
        assert!(error.contains(expected), "{collector}: {error}");
    }
}

#[test]
fn integers() {
    comes_to("(list (+ 1 2) (- 2 -3) (* 3 4) (/ -7 2) (% -7 2))", "(3 5 12 -3 -1)");
    comes_to("(list (= 3 3) (= 3 4) (< 1 2) (< 2 1) (< 2 2))", "(1 () 1 () ())");
    comes_to("(list (+ 1073741823 1) (/ -1073741824 -1))", "(-1073741824 -1073741824)");
}

#[test]
fn lists() {
    comes_to("(list () (list 1) (cons 2 (list 3)))", "(() (1) (2 3))");
    comes_to("(list (match () 1 (x y) 2) (match (list 7 8) () (x y) y))", "(1 (8))");
    let tests = "(def (kinds x) (list (int? x) (pair? x) (string? x) (symbol? x) (not x)))";
    comes_to(
        &format!("{tests} (list (kinds 1) (kinds (list 1)) (kinds \"\") (kinds 'a) (kinds ()))"),
        "((1 () () () ()) (() 1 () () ()) (() () 1 () ()) (() () () 1 ()) (() () () () 1))",
    );
}

#[test]
fn closures_capture_what_they_use() {
    comes_to(
        "(def (f x y) (fun (z) (+ x (* y z)))) (def g (f 1 2)) (list (g 3) (g 4) ((f 5 6) 7))",
        "(7 9 47)",
    );
    comes_to("(def (f x) (def (g y) (+ x y)) (def x 10) (g x)) (f 1)", "11");
    comes_to("(def (k a) (fun (b) a)) (list (fun (x) x) k ((k 5) 0))", "(a function a function 5)");
    comes_to(
        "(def (f n)
           (def (even n) (def (odd m) (if (= m 0) () (even (- m 1)))) (if (= n 0) 1 (odd (- n 1))))
           (even n))
         (list (f 10) (f 7))",
        "(1 ())",
    );
    comes_to("(def (f x) (fun () (fun () (fun () x)))) ((((f 5))))", "5");
}

#[test]
fn variables_loops_and_vectors() {
    comes_to(
        "(def (sum n) (def s 0) (while (< 0 n) (set s (+ s n)) (set n (- n 1))) s) (sum 1000)",
        "500500",
    );
    comes_to(
        "(def (counter) (def n (vector 0)) (fun () (put n 0 (+ (get n 0) 1))))
         (def a (counter)) (def b (counter)) (a) (a) (vector (a) (b) (size (new-vector 9 ())))",
        "[3 1 9]",
    );
    comes_to(
        "(def x 1) (def (f) (set x (+ x 1))) (f) (f) (def y x) (set x 10) (list x y)",
        "(10 3)",
    );
    comes_to("(def v (vector 1 2)) (put v 0 v) (size (get (get v 0) 0))", "2");
}

#[test]
fn strings_and_symbols() {
    comes_to(r#"(def s "a\n\"b\"") (list s (size s) (byte s 0))"#, r#"("a\n\"b\"" 5 97)"#);
    comes_to(r#"(join (join "x" "") (text (list 1 'y "z")))"#, r#"x(1 y "z")"#);
    comes_to(r#"(list (= "a" "a") (same "a" "a") (same "a" "b"))"#, "(1 1 ())");
    comes_to(r#"(list 'a (= 'a 'a) (= 'a 'b) (= (symbol (join "a" "b")) 'ab))"#, "(a 1 () 1)");
    // A symbol that is not used is garbage.
    let source = "(def kept 'a)
        (def (make n) (if (= n 0) () (do (symbol (text n)) (make (- n 1)))))
        (make 1000) (def lived (symbols)) (def kept ()) (list (< lived 1000) (symbols))";
    for collector in ["drc", "copying", "generational"] {
        for mode in MODES {
            let (_, result, _) =
                run(&format!("{source} (list lived (symbols))"), collector, 64, mode);
            assert_eq!(result.unwrap(), "(1 0)", "{collector}");
        }
    }
}

#[test]
fn exceptions() {
    comes_to("(try (+ 1 (throw 5)) (x (list x)))", "(5)");
    comes_to("(def (f n) (if (= n 0) (throw 'end) (+ 1 (f (- n 1))))) (try (f 100) (x x))", "end");
    comes_to("(list (try 1 (x 2)) (try (try (throw 1) (x (throw (+ x 1)))) (x x)))", "(1 2)");
    comes_to(r#"(try (eval "(throw (list 1 2))") (x x))"#, "(1 2)");
    comes_to(r#"(try (eval "(+ 1") (x x))"#, "line 1: this `(` is not closed");
    comes_to(r#"(def (f) (eval "(f2)")) (def (f2) (throw 'deep)) (try (f) (x x))"#, "deep");
    fails("(def (f)\n (throw 'nobody)) (f)", "nobody was thrown");
    fails("(throw \"a text\")", "a text");
}

#[test]
fn functions_are_redefined_while_they_run() {
    // The loop calls the new function. The call that runs goes on with its own code.
    comes_to(
        r#"(def (f) (eval "(def (f) 2)") 1)
           (def (twice) (def first (f)) (list first (f)))
           (twice)"#,
        "(1 2)",
    );
    // What is called may be defined later, also by the one who calls.
    comes_to(r#"(def (g) (eval "(def (h x) (* x 2))") (h 21)) (g)"#, "42");
    comes_to(
        "(def (even n) (if (= n 0) 1 (odd (- n 1)))) (def (odd n) (if (= n 0) () (even (- n 1)))) (even 101)",
        "()",
    );
    // The value of a function's name calls the function that has the name now, a closure its own code.
    comes_to("(def (f) 1) (def value f) (def (f) 2) (list (value) (f))", "(2 2)");
    comes_to(
        "(def (f) (fun () 1)) (def value (f)) (def (f) (fun () 2)) (list (value) ((f)))",
        "(1 2)",
    );
    // Functions with other numbers of arguments are other functions.
    comes_to("(def (f) 0) (def (f x) 1) (list (f) (f 5))", "(0 1)");
    // Hosts' functions are like others.
    comes_to(
        "(def (map f xs) (match xs () (x rest) (cons (f x) (map f rest)))) (map text (list 1 2))",
        r#"("1" "2")"#,
    );
    // A definition that fails changes nothing.
    comes_to(r#"(def (f) 1) (try (eval "(def (f) (nothing x))") (x (f)))"#, "1");
    comes_to(r#"(def x 1) (try (eval "(def (x) y)") (e x))"#, "1");
}

#[test]
fn code_that_was_replaced_is_freed() {
    let engine = Engine::builder(Collector::generational()).heap_maximum(16 << 20).build().unwrap();
    let mut session = Session::new(&engine, |_| ()).unwrap();
    for n in 0..200 {
        session.run(&format!("(def (f) {n}) (def g (fun () (+ (f) 1)))")).unwrap();
        assert_eq!(session.run("(g)").unwrap(), (n + 1).to_string());
    }
    assert!(session.pieces() < 40, "{}", session.pieces());
}

#[test]
fn collections_keep_what_frames_and_closures_hold_and_free_the_rest() {
    let program = "
        (def (range a b) (if (= a b) () (cons a (range (+ a 1) b))))
        (def (sum xs) (match xs 0 (x rest) (+ x (sum rest))))
        (def kept (range 0 20))
        (def (get-kept) (sum kept))
        (def (churn n) (if (= n 0) (get-kept) (churn (- n (/ (sum (range 0 10)) 45)))))
        (list (churn ROUNDS) (sum kept))";
    comes_to(&program.replace("ROUNDS", "20"), "(190 190)");

    let long = program.replace("ROUNDS", "20000");
    let (_, result, stats) = run(&long, "drc", 1, USUAL);
    assert_eq!(result.unwrap(), "(190 190)");
    assert!(stats.collections > 0 && stats.allocated_bytes > 2 << 20, "{stats:?}");
    let error = run(&long, "null", 1, USUAL).1.expect_err("nothing is freed");
    assert!(error.to_string().contains("GC heap out of memory"), "{error}");
}

#[test]
fn the_demo_prints_the_same_everywhere() {
    let expected = "(1 4 9 16 25 36 49 64 81 100)\n(2 3 5 7 11 13 17 19 23 29 31 37 41 43 47)\n\
        (4 6 1 5 2 0 3 7) 92\n500000\n(red green blue)\nline 1: `nothing` is not defined\n1 then 100\n";
    for collector in COLLECTORS {
        for mode in [USUAL, CHECKED] {
            let (printed, result, _) = run(include_str!("../demo.toy"), collector, 64, mode);
            result.unwrap();
            assert_eq!(printed, expected, "{collector}");
        }
    }
}

#[test]
fn mistakes_are_errors_that_say_where() {
    fails("(+ 1\n(- 2", "line 2: this `(` is not closed");
    fails("\"a\n", "line 1: this `\"` is not closed");
    fails("1)", "line 1: one `)` too many");
    fails("(def x 1)\n(print y)", "line 2: `y` is not defined");
    fails(
        "(def (f)\n(+ (g 1) 1)) (f)",
        "the function `g/1` is declared, but not defined\n  in f/0, line 2",
    );
    fails("99999999999", "`99999999999` is no integer of 31 bits");
    fails("(+ 1 2 3)", "wrong use of `+`: expected (+ A B)");
    for wrong in
        ["(if 1 2)", "(match () (x) 1)", "(try 1)", "(do)", "(while 1)", "(def x)", "(list . 1"]
    {
        fails(wrong, "line 1: ");
    }
    fails("(if 1 (def x 1) 2)", "wrong use of `def`");
    fails("(def (if) 2)", "`if` is a word of the language");
    fails("(def 5 2)", "a name is expected, not `5`");
    fails("(fun ((x)) x)", "a name is expected");
    fails("(def (f x) (fun () x) (set x 1))", "`x` cannot be set, because a function captures it");
    fails("(def (f x) (set x 1) (fun () x))", "cannot use `x`, because it is set");
    fails("(def (f x) (fun () (set x 1)))", "`x` cannot be set, because a function captures it");
    fails("(set print 1)", "`print` is no variable");
    for endless in ["(", "(+ 1 ", "(fun (x) ", "(if 1 ", "(list "] {
        fails(&endless.repeat(100_000), "nested too deeply");
    }
    fails(&format!("(fun ({}) x)", "x ".repeat(100_000)), "at most 100 parameters");
    let kind = "a value has the wrong kind\n  in ";
    fails("(def (f x)\n(+ x ())) (+ (f 1) 1)", &format!("{kind}f/1, line 2\n  in a form, line"));
    for wrong in [
        "((+ 1 2) 2)",
        "(cons 1 2)",
        "(+ () 2)",
        "(match 5 1 (x y) 2)",
        "(get (list 1) 0)",
        "(join 1 2)",
    ] {
        fails(wrong, kind);
    }
    fails("(same 1 2)", "the reference is not to an array");
    fails("(def f (fun (x) x)) (f 1 2)", "a function takes another number of arguments");
    fails("(get (vector 1) 1)", "out of bounds");
    fails("(new-vector -1 ())", "allocation");
    fails("(def (f x)\n\n(/ 1 x)) (f 0)", "integer divide by zero\n  in f/1, line 3");
    fails("(def (f x) (+ 1 (f x))) (f 0)", "call stack exhausted\n  in f/1");
    fails("(def (f) (eval \"(f)\")) (f)", "call stack exhausted");
    fails("(def (f x) (f (cons x x))) (f ())", "GC heap out of memory");
}

#[test]
fn what_is_long_or_deep_but_allowed_runs() {
    comes_to(&format!("{}1{}", "(+ 1 ".repeat(90), ")".repeat(90)), "91");
    comes_to(&format!("{}1{}", "(if 1 ".repeat(90), " 0)".repeat(90)), "1");
    let functions: String = (0..300).map(|n| format!("(def (f{n} x) (+ x {n}))")).collect();
    comes_to(&format!("{functions} (f299 1)"), "300");
    let shared = "(def (f n x) (if (= n 0) x (f (- n 1) (list x x)))) (f 100 ())";
    assert!(run(shared, "drc", 1, USUAL).1.unwrap().len() < 1 << 20);
}
