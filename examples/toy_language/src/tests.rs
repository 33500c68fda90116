//! Programs and what they print, under each collector, mostly in heaps so small that they
//! collect all the time.

use crate::runtime::{COLLECTORS, Options, clif, run};
use crate::{DEMO, DEMO_PRINTS, syntax};
use anyhow::Result;
use gc_runtime::GcStats;

struct Outcome {
    output: String,
    stats: GcStats,
}

fn run_with(source: &str, collector: usize, heap_max: u64) -> Result<Outcome> {
    let options = Options { collector: &COLLECTORS[collector], heap_max };
    let mut output = String::new();
    let stats = run(&syntax::parse(source)?, &options, &mut output)?;
    Ok(Outcome { output, stats })
}

/// Runs under every collector: `null` with room enough, `drc` with little.
#[track_caller]
fn prints(source: &str, expected: &str) {
    for (collector, heap_max) in [(0, 256 << 20), (1, 256 << 10)] {
        let name = COLLECTORS[collector].name();
        match run_with(source, collector, heap_max) {
            Ok(outcome) => assert_eq!(outcome.output.trim_end(), expected, "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
}

#[track_caller]
fn fails(source: &str, expected: &str) {
    for collector in 0..COLLECTORS.len() {
        let error = match run_with(source, collector, 1 << 20) {
            Ok(outcome) => panic!("it printed {}", outcome.output),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn arithmetic_and_precedence() {
    prints("print (1 + 2 * 3 - 4 / 2 % 3)", "5");
    prints("print (-7 / 2); print (-7 % 2); print (2 - -3)", "-3\n-1\n5");
    prints("print [1 < 2, 2 <= 1, 3 = 3, 3 <> 3, 2 > 1, 1 >= 2]", "[1, 0, 1, 0, 1, 0]");
    prints("print (1 && 0 || 1 && 5)", "5");
    prints("print (1073741823 + 1)", "-1073741824");
}

#[test]
fn lists() {
    prints("print []; print [[], [1], 2 :: 3 :: []]", "[]\n[[], [1], [2, 3]]");
    prints("print (match [] with [] -> 1 | x :: y -> 2)", "1");
    prints("print (match [7, 8] with [] -> [] | x :: y -> y)", "[8]");
    prints("print (1 :: 2)", "[1, ...]");
}

#[test]
fn closures_capture_what_they_use() {
    prints("let add x y z = x + y * z in let f = add 1 2 in print [f 3, f 4]", "[7, 9]");
    prints("let x = 1 in let f y = x + y in let x = 10 in print (f x)", "11");
    prints("print (fun x -> x); let k a b = a in print (k (k 5) 0 1)", "<function>\n5");
    prints(
        "let rec even n = (let odd m = if m = 0 then 0 else even (m - 1) in \
         if n = 0 then 1 else odd (n - 1)) in print [even 10, even 7]",
        "[1, 0]",
    );
}

#[test]
fn tail_calls_use_no_stack() {
    prints(
        "let rec loop n sum = if n = 0 then sum else loop (n - 1) (sum + n % 7) in \
         print (loop 300000 0)",
        "899998",
    );
}

#[test]
fn collections_keep_what_is_live_in_frames_and_closures() {
    let source = "
        let rec range a b = if a = b then [] else a :: range (a + 1) b in
        let rec sum xs = match xs with [] -> 0 | x :: rest -> x + sum rest in
        let kept = range 0 1000 in
        let get u = sum kept in
        let rec churn n = if n = 0 then get 0 else (sum (range 0 100); churn (n - 1)) in
        print [churn 2000, sum kept]";
    prints(source, "[499500, 499500]");
    let outcome = run_with(source, 1, 256 << 10).unwrap();
    assert!(outcome.stats.collections > 20, "{:?}", outcome.stats);
    assert!(outcome.stats.peak_heap_bytes <= 256 << 10, "{:?}", outcome.stats);
    let outcome = run_with(source, 0, 256 << 20).unwrap();
    assert_eq!(outcome.stats.collections, 0);
}

#[test]
fn the_demo_prints_what_it_should_and_collects_under_drc() {
    for (collector, heap_max) in [(0, 256 << 20), (1, 256 << 10)] {
        let outcome = run_with(DEMO, collector, heap_max).unwrap();
        assert_eq!(outcome.output, DEMO_PRINTS);
        assert_eq!(outcome.stats.collections > 0, collector == 1);
    }
}

#[test]
fn mistakes_are_errors_that_say_where() {
    fails("print 1 +", "line 1: expected an expression, found the end");
    fails("let x = 1 in\nprint y", "line 2: `y` is not bound");
    fails("let rec x = 1 in x", "only functions can be recursive");
    fails("print 99999999999", "needs more than 31 bits");
    fails("print (1 ? 2)", "what is `?`");
    fails(&"(".repeat(100_000), "nested too deeply");
    fails(
        "let f x =\n x + [] in print (f 1)",
        "a value of another kind was needed\n  in f (line 1), line 2",
    );
    fails("print (1 2)", "a value of another kind was needed");
    fails("match 5 with [] -> 1 | x :: y -> 2", "a value of another kind was needed");
    fails(
        "let f x =\n\n 1 / x in print (f 0 + 1)",
        "integer divide by zero\n  in f (line 1), line 3\n  in the program, line 3",
    );
    fails("let rec f x = 1 + f x in f 0", "call stack exhausted\n  in f (line 1)");
    fails("let rec f x = f [x, x] in f 0", "GC heap out of memory");
}

#[test]
fn clif_differs_by_collector_alone() {
    let program = syntax::parse("print (fun x -> x :: [])").unwrap();
    let [null, drc] = [0, 1]
        .map(|i| clif(&program, &Options { collector: &COLLECTORS[i], heap_max: 0 }).unwrap());
    assert!(null.contains("; 1: a function (line 1)") && drc.contains("; 1: a function (line 1)"));
    assert_ne!(null, drc);
}
