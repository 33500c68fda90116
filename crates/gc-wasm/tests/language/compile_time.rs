//! The time of a compilation is about proportional to the size of the module, whatever the module is
//! large in. Each series makes one thing more and more: calls, blocks, locals, handlers, allocations,
//! types, functions, globals, imports, exports, depth of nesting, names. The processor times of the thread
//! for a module and for one that is eight times as large are compared.
//!
//! Where a product of two sizes takes time (live references and allocations, locals and blocks), one of
//! them grows here. In a build with debug assertions Cranelift checks itself in time that is quadratic in
//! the blocks of a function. So functions with many blocks are small here.
//!
//! `COMPILE_TIME=16 cargo test --release -p gc-wasm --test language compile_time -- --nocapture` prints
//! a table for modules that are sixteen times as large, with `SERIES=calls` for some of them.

use anyhow::Result;
use gc_wasm::{Collector, Config, Engine, Module};
use rustix::time::{ClockId, clock_gettime};
use std::fmt::Write;
use std::time::Duration;

/// A module's text, given its size.
type Make = fn(usize) -> String;

/// What a module is large in, the form that it has, the module, and the smallest size.
type Series = (&'static str, &'static str, Make, usize);

/// The sum of `line` for each number below `count`.
fn repeat(count: usize, line: impl FnMut(usize) -> String) -> String {
    (0..count).map(line).collect()
}

/// A function with `body`, which has an `i32` parameter and ten `i32` locals, in a module with `more`.
fn function(more: &str, body: &str) -> String {
    format!(
        r#"(module {more} (func (export "f") (param i32)
            (local i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) {body}))"#
    )
}

/// Fields that tell the number `i` from all others.
fn fields(i: usize) -> String {
    repeat(20, |bit| if i >> bit & 1 == 0 { "(field i32)" } else { "(field i64)" }.into())
}

const ADD: &str = "(local.set 1 (i32.add (local.get 1) (local.get 0)))";

const SERIES: &[Series] = &[
    ("calls", "inlined", |n| function("(func $g)", &"(call $g)".repeat(n)), 4000),
    (
        "calls",
        "inlined, with a result",
        |n| {
            let more = "(func $g (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))";
            function(more, &"(local.set 1 (call $g (local.get 1)))".repeat(n))
        },
        2000,
    ),
    (
        "calls",
        "of the host",
        |n| function(r#"(import "" "" (func $g))"#, &"(call $g)".repeat(n)),
        4000,
    ),
    (
        "calls",
        "with arguments",
        |n| {
            let more = r#"(import "" "" (func $g (param i32 i32) (result i32)))"#;
            function(more, &"(local.set 1 (call $g (local.get 1) (local.get 0)))".repeat(n))
        },
        2000,
    ),
    ("blocks", "ifs", |n| function("", &format!("(if (local.get 0) (then {ADD}))").repeat(n)), 250),
    (
        "blocks",
        "loops",
        |n| {
            let body = format!("(loop {ADD} (br_if 0 (local.get 1)))");
            function("", &body.repeat(n))
        },
        250,
    ),
    (
        "blocks",
        "of one table",
        |n| {
            let body = repeat(n, |_| "(block ".into())
                + &format!("(br_table {} (local.get 0))", repeat(n, |i| format!("{i} ")))
                + &format!("{ADD} )").repeat(n);
            function("", &body)
        },
        250,
    ),
    (
        "locals",
        "numbers",
        |n| {
            let set = repeat(n, |i| {
                format!("(local.set {} (i32.mul (local.get 0) (i32.const {i})))", i + 1)
            });
            let sum = repeat(n, |i| {
                format!("(local.set 0 (i32.xor (local.get 0) (local.get {})))", i + 1)
            });
            format!(
                "(module (func (export \"f\") (param i32) (local {}) {set} {sum}))",
                "i32 ".repeat(n)
            )
        },
        1500,
    ),
    (
        "locals",
        "across calls",
        |n| {
            let set = repeat(n, |i| format!("(local.set {} (call $g))", i + 1));
            let sum = repeat(n, |i| {
                format!("(local.set 0 (i32.xor (local.get 0) (local.get {})))", i + 1)
            });
            format!(
                "(module (import \"\" \"\" (func $g (result i32)))
                 (func (export \"f\") (param i32) (local {}) {set} {sum}))",
                "i32 ".repeat(n)
            )
        },
        1000,
    ),
    (
        "locals",
        "across blocks",
        |n| {
            let sets = repeat(n, |i| {
                format!("(if (local.get 0) (then (local.set {} (local.get 0))))", i % 50 + 1)
            });
            let sum = repeat(50, |i| {
                format!("(local.set 0 (i32.xor (local.get 0) (local.get {})))", i + 1)
            });
            format!(
                "(module (func (export \"f\") (param i32) (local {}) {sets} {sum}))",
                "i32 ".repeat(50)
            )
        },
        500,
    ),
    (
        "locals",
        "not used",
        |n| format!("(module (func (export \"f\") (local {})))", "i32 ".repeat(n)),
        6000,
    ),
    (
        "handlers",
        "each with a call",
        |n| {
            let more = r#"(import "" "" (func $g))"#;
            function(more, &"(block (try_table (catch_all 0) (call $g)))".repeat(n))
        },
        1000,
    ),
    (
        "handlers",
        "one of many calls",
        |n| {
            let more = r#"(import "" "" (func $g))"#;
            function(more, &format!("(block (try_table (catch_all 0) {}))", "(call $g)".repeat(n)))
        },
        300,
    ),
    (
        "handlers",
        "of inlined calls",
        |n| {
            let more = r#"(import "" "" (func $x)) (func $g (call $x))"#;
            function(more, &format!("(block (try_table (catch_all 0) {}))", "(call $g)".repeat(n)))
        },
        300,
    ),
    (
        "allocations",
        "kept nowhere",
        |n| {
            let more = "(type $s (struct (field i32))) (global $g (mut anyref) (ref.null any))";
            function(more, &"(global.set $g (struct.new $s (local.get 0)))".repeat(n))
        },
        250,
    ),
    (
        "allocations",
        "with twenty live references",
        |n| {
            let new = repeat(n, |i| {
                format!(
                    "(local.set {} (struct.new $s (local.get {})))",
                    i % 20 + 1,
                    (i + 7) % 20 + 1
                )
            });
            let get = repeat(20, |i| format!("(global.set $g (local.get {}))", i + 1));
            format!(
                "(module (type $s (struct (field anyref))) (global $g (mut anyref) (ref.null any))
                (func (export \"f\") (param i32) (local {}) {new} {get}))",
                "anyref ".repeat(20)
            )
        },
        125,
    ),
    (
        "allocations",
        "with all references live",
        |n| {
            let new = repeat(n, |i| format!("(local.set {} (struct.new $s (local.get 0)))", i + 1));
            let get = repeat(n, |i| format!("(global.set $g (local.get {}))", i + 1));
            format!(
                "(module (type $s (struct (field i32))) (global $g (mut anyref) (ref.null any))
                (func (export \"f\") (param i32) (local {}) {new} {get}))",
                "anyref ".repeat(n)
            )
        },
        100,
    ),
    (
        "types",
        "apart",
        |n| format!("(module {})", repeat(n, |i| format!("(type (struct {}))", fields(i)))),
        2000,
    ),
    (
        "types",
        "in one group",
        |n| {
            let types =
                repeat(n, |i| format!("(type (struct (field (ref null {}))))", (i + 1) % n));
            format!("(module (rec {types}))")
        },
        2000,
    ),
    (
        "types",
        "each of the one before",
        |n| {
            let types = repeat(n, |i| match i {
                0 => "(type (struct))".into(),
                _ => format!("(type (struct (field (ref null {}))))", i - 1),
            });
            format!("(module {types})")
        },
        2000,
    ),
    (
        "types",
        "of functions",
        |n| {
            let params =
                |i: usize| repeat(16, |bit| if i >> bit & 1 == 0 { "i32 " } else { "i64 " }.into());
            let types = repeat(n, |i| format!("(type (func (param {})))", params(i)));
            format!("(module {types} {})", repeat(n, |i| format!("(func (type {i}))")))
        },
        250,
    ),
    (
        "types",
        "of exports",
        |n| {
            let params =
                |i: usize| repeat(16, |bit| if i >> bit & 1 == 0 { "i32 " } else { "i64 " }.into());
            let types = repeat(n, |i| format!("(type (func (param {})))", params(i)));
            format!(
                "(module {types} {})",
                repeat(n, |i| format!("(func (export \"{i}\") (type {i}))"))
            )
        },
        100,
    ),
    (
        "functions",
        "small",
        |n| format!("(module {})", format!("(func (param i32 i32) {ADD})").repeat(n)),
        500,
    ),
    (
        "functions",
        "that call the next one",
        |n| {
            format!(
                "(module {} (func))",
                repeat(n, |i| format!("(func (call {}) (call {}))", i + 1, i + 1))
            )
        },
        250,
    ),
    (
        "functions",
        "that call each other",
        |n| {
            let f = |i: usize| {
                format!(
                    "(func (param i32) (if (local.get 0) (then (call {} (i32.const 0)) (call {} (local.get 0)))))",
                    (i * 7 + 1) % n,
                    (i + 1) % n
                )
            };
            format!("(module {})", repeat(n, f))
        },
        250,
    ),
    (
        "functions",
        "in a table",
        |n| {
            format!(
                "(module (table {n} funcref) (elem (i32.const 0) {}) {})",
                repeat(n, |i| format!("{i} ")),
                "(func)".repeat(n)
            )
        },
        500,
    ),
    (
        "globals",
        "numbers",
        |n| {
            let globals = "(global (mut i32) (i32.const 0))".repeat(n);
            let body =
                repeat(n, |i| format!("(global.set {i} (i32.add (global.get {i}) (local.get 0)))"));
            function(&globals, &body)
        },
        1500,
    ),
    (
        "globals",
        "references",
        |n| {
            let globals = "(global (mut anyref) (ref.null any))".repeat(n);
            let body = repeat(n, |i| format!("(global.set {i} (global.get {}))", (i + 1) % n));
            function(&globals, &body)
        },
        300,
    ),
    (
        "globals",
        "each of the one before",
        |n| {
            format!(
                "(module (global i32 (i32.const 1)) {})",
                repeat(n, |i| format!("(global i32 (i32.add (global.get {i}) (i32.const 1)))"))
            )
        },
        4000,
    ),
    (
        "imports",
        "of functions",
        |n| {
            let imports = repeat(n, |i| format!("(import \"m\" \"{i}\" (func))"));
            function(&imports, &repeat(n, |i| format!("(call {i})")))
        },
        2000,
    ),
    (
        "imports",
        "of globals",
        |n| {
            let imports = repeat(n, |i| format!("(import \"m\" \"{i}\" (global (mut i32)))"));
            function(&imports, &repeat(n, |i| format!("(global.set {i} (local.get 0))")))
        },
        2000,
    ),
    (
        "exports",
        "of functions",
        |n| format!("(module {})", repeat(n, |i| format!("(func (export \"{i}\"))"))),
        500,
    ),
    (
        "exports",
        "of one function",
        |n| format!("(module (func) {})", repeat(n, |i| format!("(export \"{i}\" (func 0))"))),
        5000,
    ),
    (
        "nesting",
        "blocks",
        |n| {
            let end = format!("(br_if 0 (local.get 0)) (br_if {} (local.get 0)) {ADD} )", n / 2);
            function(
                "",
                &("(block ".repeat(n / 2)
                    + &"(block ".repeat(n / 2)
                    + &end.repeat(n / 2)
                    + &")".repeat(n / 2)),
            )
        },
        500,
    ),
    (
        "nesting",
        "ifs",
        |n| function("", &("(if (local.get 0) (then ".repeat(n) + &format!("{ADD} ))").repeat(n))),
        1000,
    ),
    (
        "nesting",
        "loops",
        |n| {
            function(
                "",
                &("(loop ".repeat(n) + &format!("{ADD} (br_if 0 (local.get 1)))").repeat(n)),
            )
        },
        250,
    ),
    (
        "nesting",
        "operands",
        |n| {
            function(
                "",
                &format!(
                    "{} (local.set 1)",
                    "(local.get 0)".repeat(n) + &"(i32.add)".repeat(n - 1)
                ),
            )
        },
        4000,
    ),
    (
        "names",
        "of functions",
        |n| {
            format!(
                "(module {})",
                repeat(n, |i| format!("(func $a_long_name_{i} (param $first i32))"))
            )
        },
        500,
    ),
    (
        "names",
        "of locals",
        |n| {
            let locals = repeat(n, |i| format!("(local $local_{i} i32)"));
            format!("(module (func {locals}))")
        },
        5000,
    ),
];

/// The processor time of this thread.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// An engine that compiles as the command does, on this thread.
fn engine() -> Result<Engine> {
    let mut config = Config::new();
    config.collector(Collector::generational()).cranelift_debug_verifier(false);
    Engine::new(config.parallel_compilation(false))
}

/// The least time of `runs` compilations.
fn time(wasm: &[u8], runs: usize) -> Result<Duration> {
    let mut least = Duration::MAX;
    for _ in 0..runs {
        // An engine keeps its types.
        let engine = engine()?;
        let start = now();
        drop(Module::from_binary(&engine, wasm)?);
        least = least.min(now() - start);
    }
    Ok(least)
}

/// How many times as long a module takes that is eight times as large. It is 8 if the time is
/// proportional to the size, and 64 if it is quadratic. The limit is between them: the power of the size is
/// less than one and a half. Proportional work takes up to 16 times as long on a machine whose caches hold
/// the small module only.
const MOST: f64 = 22.6;

/// The ratio of the times of a module and of one that is eight times as large, and both times. On a busy
/// machine a time may be too long, so it is measured several times before the ratio is found too large.
fn ratio(make: Make, size: usize) -> Result<(f64, [Duration; 2])> {
    let modules = [wat::parse_str(make(size))?, wat::parse_str(make(8 * size))?];
    let mut least = [Duration::MAX; 2];
    let mut ratio = f64::MAX;
    for _ in 0..24 {
        for (least, (wasm, runs)) in least.iter_mut().zip(modules.iter().zip([3, 1])) {
            *least = time(wasm, runs)?.min(*least);
        }
        ratio = least[1].as_secs_f64() / least[0].as_secs_f64();
        if ratio < MOST {
            break;
        }
    }
    Ok((ratio, least))
}

#[test]
fn the_time_of_a_compilation_is_proportional_to_the_size() -> Result<()> {
    let mut failed = String::new();
    for (what, form, make, size) in SERIES {
        let (ratio, times) = ratio(*make, *size)?;
        eprintln!("{what} {form}: {times:?}, {ratio:.1} times");
        if ratio >= MOST {
            writeln!(failed, "{what} {form}: {times:?}, {ratio:.1} times")?;
        }
    }
    assert!(
        failed.is_empty(),
        "eight times as large, and more than {MOST} times as long:\n{failed}"
    );
    Ok(())
}

/// Prints the times of larger and larger modules, if the environment asks for it.
#[test]
fn table() -> Result<()> {
    let Ok(scale) = std::env::var("COMPILE_TIME") else { return Ok(()) };
    let scale: usize = scale.parse()?;
    let only = std::env::var("SERIES").unwrap_or_default();
    for (what, form, make, size) in SERIES {
        let mut line = format!("{what:12} {form:30}");
        if !line.contains(&only) {
            continue;
        }
        let sizes: Vec<usize> = (0..4).map(|step| (size * scale) << step).collect();
        let modules = sizes.iter().map(|&size| wat::parse_str(make(size)));
        let modules = modules.collect::<Result<Vec<_>, _>>()?;
        // Other programs of the machine make a time longer, never shorter, and for seconds. So the sizes
        // take turns.
        let mut least: Vec<Result<Duration>> = Vec::new();
        least.resize_with(sizes.len(), || Ok(Duration::MAX));
        for _ in 0..5 {
            for (wasm, least) in modules.iter().zip(&mut least) {
                if let Ok(before) = least {
                    let before = *before;
                    *least = time(wasm, 1).map(|spent| spent.min(before));
                }
            }
        }
        let mut last: Option<f64> = None;
        for (size, least) in sizes.iter().zip(least) {
            let spent = match least {
                Ok(spent) => spent.as_secs_f64() * 1e3,
                Err(error) => {
                    write!(line, " {size}: {error:#.80}")?;
                    break;
                }
            };
            write!(line, " {size}: {spent:.1} ms")?;
            if let Some(last) = last {
                write!(line, " ({:.1})", spent / last)?;
            }
            last = Some(spent);
        }
        println!("{line}");
    }
    Ok(())
}
