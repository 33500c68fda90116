//! Random modules do the same here, under every collector, as in Wasmtime: their calls return the
//! same results, trap for the same reason or throw the same exceptions, and leave the same globals,
//! memories and tables behind.
//!
//! NaNs are made canonical in the modules, since WebAssembly does not say which NaN an operation
//! returns. If an engine has used up something (the stack, the heap), the comparison of this module
//! ends there.
//!
//! `TESTKIT_SEEDS` is the number of modules and `TESTKIT_FIRST_SEED` the first seed. With
//! `DIFFERENTIAL_MODULE`, the last module is written to this file. See [`saved`] for modules that run on
//! another machine.

mod features;
mod known;
mod saved;

use anyhow::{Context, Result};
use gc_fuzz::differential::{
    CHOICES, COUNTERS, Outcome, Run, STACK, Setting, Verdict, compare, generate, ours, wasmtime,
};
use gc_testkit::choices::Choices;
use gc_testkit::random;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Number of modules without `TESTKIT_SEEDS`.
const SEEDS: u64 = 300;

/// What was seen in all runs.
#[derive(Default)]
struct Figures {
    modules: u64,
    runs: u64,
    calls: usize,
    uncalled: usize,
    /// How calls and instantiations ended, by name.
    ends: BTreeMap<String, usize>,
    /// How many modules executed what a counter counts.
    executed: [u64; COUNTERS.len()],
    caught: u64,
    /// Modules for which something was used up, by what it was.
    exhausted: BTreeMap<String, u64>,
    /// Runs in which something was used up here, and not in Wasmtime.
    only_here: u64,
    /// Seeds from which there is no module, with the reason.
    missing: BTreeMap<String, u64>,
    differences: Vec<String>,
}

impl Figures {
    fn add(&mut self, run: &Run) {
        self.modules += 1;
        self.calls += run.calls.len();
        self.uncalled += run.uncalled;
        let refused = run.refused.iter().map(|outcome| ("instantiation", outcome));
        for (what, outcome) in refused.chain(run.calls.iter().map(|call| ("call", &call.outcome))) {
            let end = match outcome {
                Outcome::Returned(_) => "returned".to_string(),
                Outcome::Trapped(why) => format!("trapped: {why}"),
                Outcome::Threw(_) => "threw".to_string(),
                Outcome::Exhausted(what) => format!("exhausted: {what}"),
                Outcome::Failed(why) => format!("failed: {why}"),
            };
            *self.ends.entry(format!("{what} {end}")).or_default() += 1;
        }
        for (executed, name) in self.executed.iter_mut().zip(COUNTERS) {
            *executed += u64::from(run.count(name) != 0);
        }
        // What was thrown and did not leave a call was caught.
        let left =
            run.calls.iter().filter(|call| matches!(call.outcome, Outcome::Threw(_))).count();
        let caught = run.count("count: throws") as usize > left;
        let handled = run.count("count: exceptions in added handlers") != 0;
        self.caught += u64::from(caught || handled);
    }

    /// Checks that nearly all modules were compared to their ends.
    fn check_completeness(&self, seeds: u64) {
        let missing: u64 = self.missing.values().sum();
        assert!(missing <= 1 + seeds / 20, "there is no module from {missing} seeds of {seeds}");
        let (only_here, runs) = (self.only_here, self.runs);
        assert!(
            only_here <= 4 + runs / 20,
            "in {only_here} runs of {runs} something was used up that Wasmtime did not use up"
        );
    }

    /// Checks that the modules do what the book's page on the specification says.
    fn check_variety(&self) {
        let executed = |name| {
            let counter = COUNTERS.iter().position(|counter| *counter == name);
            self.executed[counter.expect("there is such a counter")]
        };
        for (what, count, percent) in [
            ("GC operations", executed("count: GC operations"), 50),
            ("tail calls", executed("count: tail calls"), 50),
            ("added bulk operations", executed("count: added bulk operations"), 50),
            ("throws", executed("count: throws"), 33),
            ("catches", self.caught, 20),
        ] {
            let least = self.modules * percent / 100;
            assert!(count > least, "{what}: only {count} of {} modules", self.modules);
        }
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} modules, {} runs beside Wasmtime's, {} calls ({} functions without arguments that fit)\n",
            self.modules, self.runs, self.calls, self.uncalled
        );
        let mut line = |name: &str, count: u64| {
            let percent = 100.0 * count as f64 / self.modules.max(1) as f64;
            writeln!(text, "  {count:6} modules ({percent:4.1} %) {name}").expect("a string");
        };
        for (count, name) in self.executed.iter().zip(COUNTERS) {
            line(&format!("executed {}", name.trim_start_matches("count: ")), *count);
        }
        line("caught an exception", self.caught);
        for (what, count) in &self.exhausted {
            line(&format!("compared only until this was used up: {what}"), *count);
        }
        for (why, count) in &self.missing {
            writeln!(text, "  {count:6} seeds without a module: {why}").expect("a string");
        }
        for (end, count) in &self.ends {
            writeln!(text, "  {count:6} times {end}").expect("a string");
        }
        text
    }
}

/// The module of `seed`. From some bytes there is none, so others are tried.
fn module(seed: u64) -> Result<Vec<u8>> {
    let mut failed = None;
    for attempt in 0..100 {
        let bytes = random::bytes(seed ^ (attempt << 40), 16 << 10);
        let (head, rest) = bytes.split_at(CHOICES);
        let length = (4 << 10) + usize::from(head[0]) * 47;
        match generate(&mut Choices::from_bytes(&head[1..]), wasmtime::FEATURES, &rest[..length]) {
            Ok(module) => return Ok(module),
            Err(why) => failed = Some(why),
        }
    }
    Err(failed.expect("there were attempts"))
}

/// The module of `seed` and what it does in Wasmtime.
fn expected(seed: u64) -> Result<(Vec<u8>, Run)> {
    let module = module(seed)?;
    if let Some(file) = std::env::var_os("DIFFERENTIAL_MODULE") {
        std::fs::write(file, &module).expect("the module is written");
    }
    let run = wasmtime::run(&module, number(seed), &mut Choices::from_seed(seed ^ 2 << 48))
        .context("Wasmtime")?;
    Ok((module, run))
}

/// Which configuration of Wasmtime runs the module of `seed`.
fn number(seed: u64) -> u8 {
    (seed % 3) as u8
}

/// Compares the module of `seed` in both engines. It may have been compiled on another machine, or be
/// compiled for one.
fn check(seed: u64, figures: &Mutex<Figures>) {
    let why = match saved::file(seed) {
        Some((file, None)) => saved::read(&file).map(|saved| {
            compare_runs(seed, figures, saved.expected(), |index, setting| {
                saved.repeat(index, setting)
            });
        }),
        saving => {
            let made = expected(seed).map_err(|why| format!("{why:#}"));
            let made = made.map(|(module, expected)| {
                compare_runs(seed, figures, &expected, |_, setting| {
                    ours::repeat(&module, setting, &expected)
                });
                (module, expected)
            });
            if let Some((file, Some(target))) = saving {
                let saved = made.as_ref().map_err(String::clone).map(|(module, expected)| {
                    saved::save(&target, seed, module, expected).expect("the module is compiled")
                });
                saved::write(&file, &saved);
            }
            made.map(drop)
        }
    };
    if let Err(why) = why {
        *figures.lock().unwrap().missing.entry(why).or_default() += 1;
    }
}

/// Runs a module in each setting of `seed` by `repeat`, and compares with what it did in Wasmtime.
fn compare_runs(
    seed: u64,
    figures: &Mutex<Figures>,
    expected: &Run,
    repeat: impl Fn(usize, &Setting) -> Result<Run>,
) {
    figures.lock().unwrap().add(expected);
    let mut exhausted = expected.exhausted().map(str::to_string);
    let mut only_here = 0;
    for (index, setting) in Setting::of(seed).iter().enumerate() {
        let verdict = match repeat(index, setting) {
            Ok(actual) => {
                only_here +=
                    u64::from(expected.exhausted().is_none() && actual.exhausted().is_some());
                exhausted = exhausted.or(actual.exhausted().map(str::to_string));
                compare(expected, &actual)
            }
            Err(why) => Verdict::Different(format!("Reclaim failed: {why:#}")),
        };
        let mut figures = figures.lock().unwrap();
        figures.runs += 1;
        if let Verdict::Different(what) = verdict {
            let theirs = wasmtime::collector(number(seed));
            let ours = setting.name();
            let what = format!("seed {seed}, {ours}; Wasmtime with {theirs}: {what}");
            say(&what);
            figures.differences.push(what);
        }
    }
    figures.lock().unwrap().only_here += only_here;
    if let Some(what) = exhausted {
        *figures.lock().unwrap().exhausted.entry(what).or_default() += 1;
    }
}

/// Prints text though the test passes.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("standard error is open");
}

#[test]
fn modules_do_the_same_as_in_wasmtime() {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number of seeds"))
    };
    let seeds = number("TESTKIT_SEEDS").unwrap_or_else(|| gc_testkit::scaled(SEEDS));
    let first = number("TESTKIT_FIRST_SEED").unwrap_or(0);
    let end = first.saturating_add(seeds);
    let threads = number("DIFFERENTIAL_THREADS").map(|number| number as usize);
    let threads = threads
        .or(std::thread::available_parallelism().ok().map(|number| number.get()))
        .unwrap_or(1);
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let figures = Mutex::new(Figures::default());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let work = || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    check(seed, &figures);
                    let done = seed - first + 1;
                    if done.is_multiple_of(1000) {
                        say(&format!("{done} seeds in {:.0} s", began.elapsed().as_secs_f64()));
                    }
                }
            };
            let stack = 2 * STACK + (8 << 20);
            std::thread::Builder::new()
                .stack_size(stack)
                .spawn_scoped(scope, work)
                .expect("a thread starts");
        }
    });
    let figures = figures.into_inner().unwrap();
    let time = began.elapsed().as_secs_f64();
    say(&format!("seeds {first}..{end} in {time:.0} s: {}", figures.text()));
    assert!(figures.differences.is_empty(), "{} differences", figures.differences.len());
    assert!(figures.modules > 0, "there was no module");
    figures.check_completeness(seeds);
    // Of a few modules, or of others, the shares may be smaller by chance.
    if first == 0 && seeds >= SEEDS {
        figures.check_variety();
    }
}
