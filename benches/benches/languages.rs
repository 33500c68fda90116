//! Loops of a language that compiles with gc-engine, beside the same loops in WebAssembly. Both are compiled by
//! the same steps, so they should take the same time. A third is compiled with tests of types. The three take
//! turns, and a ratio is the median over all turns, in processor time.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use comfy_table::Cell;
use cranelift_codegen::ir::{InstBuilder, condcodes::IntCC};
use gc_benches::clock::Clock;
use gc_benches::record::{Record, Subject};
use gc_benches::report::{right, table, target};
use gc_benches::wanted;
use gc_engine::{Body, CodeOptions, Collector, Control, Module, Signature, StorageType, Type};
use std::time::Duration;

const SUBJECT: Subject = Subject {
    name: "languages",
    title: "A language on gc-engine beside WebAssembly",
    about: "Loops that are built with gc-engine, and the same loops in WebAssembly, under each collector. \
            `checked` is the same with a test of the type before each access (`CodeOptions::checked`), as a \
            ratio to the loop without. The three take turns. A ratio is the median over the turns, in processor \
            time of the thread.",
};

/// The limit of the ratio to WebAssembly. Calls through closures have their own.
const TARGET: f64 = 1.05;
const CLOSURES_TARGET: f64 = 1.1;
/// The limit of the ratio of a loop with tests of types to the same loop without.
const CHECKED_TARGET: f64 = 1.5;

/// Compares loops of gc-engine with the same loops in WebAssembly.
#[derive(Parser)]
struct Options {
    /// Only collectors whose name contains this (can be given several times).
    #[arg(long)]
    engine: Vec<String>,
    /// Turns of each loop.
    #[arg(long, default_value_t = 9)]
    turns: usize,
    /// Run everything once at a small size and measure nothing.
    #[arg(long)]
    test: bool,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A function `run` from `i64` to `i64` in both forms.
struct Loop {
    name: &'static str,
    /// Its argument.
    n: i64,
    build: fn(&mut Module) -> Result<()>,
    /// The items of its module.
    wat: &'static str,
}

const LOOPS: [Loop; 7] = [
    Loop { name: "count", n: 40_000_000, build: count, wat: COUNT },
    Loop { name: "list", n: 2_000_000, build: list, wat: LIST },
    Loop { name: "fields", n: 20_000_000, build: fields, wat: FIELDS },
    Loop { name: "elements", n: 10_000_000, build: elements, wat: ELEMENTS },
    Loop { name: "calls", n: 38, build: calls, wat: CALLS },
    Loop { name: "garbage", n: 100_000_000, build: garbage, wat: GARBAGE },
    Loop { name: "closures", n: 20_000_000, build: closures, wat: CLOSURES },
];

/// Runs `body` with the numbers from 0 to `n` exclusively.
fn for_each(
    f: &mut Body<'_, '_>,
    n: cranelift_codegen::ir::Value,
    body: impl FnOnce(&mut Body<'_, '_>, cranelift_codegen::ir::Value),
) {
    let (i, zero, one) = (f.variable(Type::I64), f.i64(0), f.i64(1));
    f.set(i, zero);
    f.while_loop(
        |f| {
            let i = f.get(i);
            f.ins().icmp(IntCC::SignedLessThan, i, n)
        },
        |f| {
            let at = f.get(i);
            body(f, at);
            let next = f.add(at, one);
            f.set(i, next);
        },
    );
}

fn count(module: &mut Module) -> Result<()> {
    module.function("run", [Type::I64], [Type::I64], |f| {
        let (n, sum, zero) = (f.param(0), f.variable(Type::I64), f.i64(0));
        f.set(sum, zero);
        for_each(f, n, |f, i| {
            let so_far = f.get(sum);
            let mixed = f.ins().bxor(so_far, i);
            let more = f.add(mixed, i);
            f.set(sum, more);
        });
        let sum = f.get(sum);
        f.ret(&[sum]);
    })?;
    Ok(())
}

const COUNT: &str = r#"
    (func (export "run") (param $n i64) (result i64) (local $i i64) (local $sum i64)
        (loop $next
            (if (i64.lt_s (local.get $i) (local.get $n)) (then
                (local.set $sum (i64.add (i64.xor (local.get $sum) (local.get $i)) (local.get $i)))
                (local.set $i (i64.add (local.get $i) (i64.const 1)))
                (br $next))))
        (local.get $sum))"#;

fn list(module: &mut Module) -> Result<()> {
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    module.function("run", [Type::I64], [Type::I64], |f| {
        let (n, list, sum) = (f.param(0), f.variable(Type::Ref), f.variable(Type::I64));
        let (nil, zero) = (f.null(), f.i64(0));
        f.set(list, nil);
        f.set(sum, zero);
        for_each(f, n, |f, i| {
            let tail = f.get(list);
            let longer = f.struct_new(&cell, &[i, tail]);
            f.set(list, longer);
        });
        f.while_loop(
            |f| f.get(list),
            |f| {
                let (at, so_far) = (f.get(list), f.get(sum));
                let (head, tail) = (f.struct_get(&cell, at, 0), f.struct_get(&cell, at, 1));
                let more = f.add(so_far, head);
                f.set(sum, more);
                f.set(list, tail);
            },
        );
        let sum = f.get(sum);
        f.ret(&[sum]);
    })?;
    Ok(())
}

const LIST: &str = r#"
    (type $cell (struct (field (mut i64)) (field (mut (ref null $cell)))))
    (func (export "run") (param $n i64) (result i64)
        (local $i i64) (local $sum i64) (local $list (ref null $cell))
        (loop $next
            (if (i64.lt_s (local.get $i) (local.get $n)) (then
                (local.set $list (struct.new $cell (local.get $i) (local.get $list)))
                (local.set $i (i64.add (local.get $i) (i64.const 1)))
                (br $next))))
        (loop $next
            (if (i32.eqz (ref.is_null (local.get $list))) (then
                (local.set $sum (i64.add (local.get $sum) (struct.get $cell 0 (local.get $list))))
                (local.set $list (struct.get $cell 1 (local.get $list)))
                (br $next))))
        (local.get $sum))"#;

fn fields(module: &mut Module) -> Result<()> {
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    module.function("run", [Type::I64], [Type::I64], |f| {
        let (n, zero, nil) = (f.param(0), f.i64(0), f.null());
        let object = f.struct_new(&cell, &[zero, nil]);
        for_each(f, n, |f, i| {
            let so_far = f.struct_get(&cell, object, 0);
            let more = f.add(so_far, i);
            f.struct_set(&cell, object, 0, more);
            f.struct_set(&cell, object, 1, object);
        });
        let sum = f.struct_get(&cell, object, 0);
        f.ret(&[sum]);
    })?;
    Ok(())
}

const FIELDS: &str = r#"
    (type $cell (struct (field (mut i64)) (field (mut (ref null $cell)))))
    (func (export "run") (param $n i64) (result i64) (local $i i64) (local $object (ref $cell))
        (local.set $object (struct.new $cell (i64.const 0) (ref.null $cell)))
        (loop $next
            (if (i64.lt_s (local.get $i) (local.get $n)) (then
                (struct.set $cell 0 (local.get $object)
                    (i64.add (struct.get $cell 0 (local.get $object)) (local.get $i)))
                (struct.set $cell 1 (local.get $object) (local.get $object))
                (local.set $i (i64.add (local.get $i) (i64.const 1)))
                (br $next))))
        (struct.get $cell 0 (local.get $object)))"#;

fn elements(module: &mut Module) -> Result<()> {
    let numbers = module.array_type("numbers", StorageType::I64)?;
    module.function("run", [Type::I64], [Type::I64], |f| {
        let (n, sum, zero) = (f.param(0), f.variable(Type::I64), f.i64(0));
        f.set(sum, zero);
        let length = f.i32(1 << 10);
        let array = f.array_new_default(&numbers, length);
        for_each(f, n, |f, i| {
            let low = f.ins().ireduce(cranelift_codegen::ir::types::I32, i);
            let mask = f.i32((1 << 10) - 1);
            let index = f.ins().band(low, mask);
            let so_far = f.array_get(&numbers, array, index);
            let more = f.add(so_far, i);
            f.array_set(&numbers, array, index, more);
            let total = f.get(sum);
            let total = f.ins().bxor(total, more);
            f.set(sum, total);
        });
        let sum = f.get(sum);
        f.ret(&[sum]);
    })?;
    Ok(())
}

const ELEMENTS: &str = r#"
    (type $numbers (array (mut i64)))
    (func (export "run") (param $n i64) (result i64)
        (local $i i64) (local $sum i64) (local $more i64) (local $index i32) (local $array (ref $numbers))
        (local.set $array (array.new_default $numbers (i32.const 1024)))
        (loop $next
            (if (i64.lt_s (local.get $i) (local.get $n)) (then
                (local.set $index (i32.and (i32.wrap_i64 (local.get $i)) (i32.const 1023)))
                (local.set $more (i64.add
                    (array.get $numbers (local.get $array) (local.get $index)) (local.get $i)))
                (array.set $numbers (local.get $array) (local.get $index) (local.get $more))
                (local.set $sum (i64.xor (local.get $sum) (local.get $more)))
                (local.set $i (i64.add (local.get $i) (i64.const 1)))
                (br $next))))
        (local.get $sum))"#;

fn calls(module: &mut Module) -> Result<()> {
    let fib = module.declare("run", [Type::I64], [Type::I64])?;
    module.define(&fib.clone(), |f| {
        let (n, result, two) = (f.param(0), f.variable(Type::I64), f.i64(2));
        f.set(result, n);
        let recurs = f.ins().icmp(IntCC::SignedGreaterThanOrEqual, n, two);
        f.if_then(recurs, |f| {
            let [one, two] = [1, 2].map(|less| f.i64(less));
            let [a, b] = [one, two].map(|less| f.sub(n, less));
            let [a, b] = [a, b].map(|n| f.call(&fib, &[n])[0]);
            let sum = f.add(a, b);
            f.set(result, sum);
        });
        let result = f.get(result);
        f.ret(&[result]);
    })?;
    Ok(())
}

const CALLS: &str = r#"
    (func $fib (export "run") (param $n i64) (result i64)
        (if (result i64) (i64.ge_s (local.get $n) (i64.const 2))
            (then (i64.add
                (call $fib (i64.sub (local.get $n) (i64.const 1)))
                (call $fib (i64.sub (local.get $n) (i64.const 2)))))
            (else (local.get $n))))"#;

fn garbage(module: &mut Module) -> Result<()> {
    let cell = module.struct_type("cell", [Type::I64, Type::Ref])?;
    module.function("run", [Type::I64], [Type::I64], |f| {
        let (n, last, nil) = (f.param(0), f.variable(Type::Ref), f.null());
        f.set(last, nil);
        for_each(f, n, |f, i| {
            let new = f.struct_new(&cell, &[i, nil]);
            f.set(last, new);
        });
        let last = f.get(last);
        let number = f.struct_get(&cell, last, 0);
        f.ret(&[number]);
    })?;
    Ok(())
}

const GARBAGE: &str = r#"
    (type $cell (struct (field (mut i64)) (field (mut (ref null $cell)))))
    (func (export "run") (param $n i64) (result i64) (local $i i64) (local $last (ref null $cell))
        (loop $next
            (if (i64.lt_s (local.get $i) (local.get $n)) (then
                (local.set $last (struct.new $cell (local.get $i) (ref.null $cell)))
                (local.set $i (i64.add (local.get $i) (i64.const 1)))
                (br $next))))
        (struct.get $cell 0 (local.get $last)))"#;

/// Calls four functions in turn, through closures.
fn closures(module: &mut Module) -> Result<()> {
    let closure = module.struct_type("closure", [Type::Func, Type::I64])?;
    let closures = module.array_type("closures", Type::Ref)?;
    let (params, results) = ([Type::Ref, Type::I64], [Type::I64]);
    let mut functions = Vec::new();
    for number in 1..=4 {
        functions.push(module.function(&format!("add {number}"), params, results, |f| {
            let (this, n, number) = (f.param(0), f.param(1), f.i64(number));
            let captured = f.struct_get(&closure, this, 1);
            let sum = f.add(captured, n);
            let sum = f.ins().bxor(sum, number);
            f.ret(&[sum]);
        })?);
    }
    let signature = Signature::new(params, results);
    module.function("run", [Type::I64], [Type::I64], |f| {
        let (n, sum, zero) = (f.param(0), f.variable(Type::I64), f.i64(0));
        f.set(sum, zero);
        let made = (1..=4).zip(&functions).map(|(number, function)| {
            let fields = [f.func_ref(function), f.i64(number)];
            f.struct_new(&closure, &fields)
        });
        let made: Vec<_> = made.collect();
        let array = f.array_of(&closures, &made);
        for_each(f, n, |f, i| {
            let low = f.ins().ireduce(cranelift_codegen::ir::types::I32, i);
            let mask = f.i32(3);
            let index = f.ins().band(low, mask);
            let this = f.array_get(&closures, array, index);
            let function = f.struct_get(&closure, this, 0);
            let so_far = f.get(sum);
            let more = f.call_indirect(&signature, function, &[this, so_far])[0];
            f.set(sum, more);
        });
        let sum = f.get(sum);
        f.ret(&[sum]);
    })?;
    Ok(())
}

const CLOSURES: &str = r#"
    (rec
        (type $f (func (param (ref $closure) i64) (result i64)))
        (type $closure (struct (field (ref $f)) (field i64))))
    (type $closures (array (mut (ref $closure))))
    (elem declare func $1 $2 $3 $4)
    (func $1 (type $f) (i64.xor (i64.const 1) (i64.add (struct.get $closure 1 (local.get 0)) (local.get 1))))
    (func $2 (type $f) (i64.xor (i64.const 2) (i64.add (struct.get $closure 1 (local.get 0)) (local.get 1))))
    (func $3 (type $f) (i64.xor (i64.const 3) (i64.add (struct.get $closure 1 (local.get 0)) (local.get 1))))
    (func $4 (type $f) (i64.xor (i64.const 4) (i64.add (struct.get $closure 1 (local.get 0)) (local.get 1))))
    (func (export "run") (param $n i64) (result i64)
        (local $i i64) (local $sum i64) (local $this (ref null $closure)) (local $all (ref null $closures))
        (local.set $all (array.new_fixed $closures 4
            (struct.new $closure (ref.func $1) (i64.const 1)) (struct.new $closure (ref.func $2) (i64.const 2))
            (struct.new $closure (ref.func $3) (i64.const 3)) (struct.new $closure (ref.func $4) (i64.const 4))))
        (loop $next
            (if (i64.lt_s (local.get $i) (local.get $n)) (then
                (local.set $this
                    (array.get $closures (local.get $all) (i32.and (i32.wrap_i64 (local.get $i)) (i32.const 3))))
                (local.set $sum (call_ref $f (ref.as_non_null (local.get $this)) (local.get $sum)
                    (struct.get $closure 0 (local.get $this))))
                (local.set $i (i64.add (local.get $i) (i64.const 1)))
                (br $next))))
        (local.get $sum))"#;

/// Runs a loop built with gc-engine in a new store. Only the call is timed.
fn on_engine(
    code: &gc_engine::Code,
    engine: &gc_engine::Engine,
    n: i64,
) -> Result<(i64, Duration)> {
    let mut store = gc_engine::Store::new(engine, ())?;
    store.load(code)?;
    let run = store.function::<i64, i64>("run")?;
    let clock = Clock::start();
    let answer = run.call(&mut store, n)?;
    Ok((answer, clock.spent().cpu))
}

/// Runs the same loop in WebAssembly.
fn on_wasm(module: &gc_wasm::Module, engine: &gc_wasm::Engine, n: i64) -> Result<(i64, Duration)> {
    let mut store = gc_wasm::Store::new(engine, ());
    let instance = gc_wasm::Instance::new(&mut store, module, &[])?;
    let run = instance.get_typed_func::<i64, i64>(&mut store, "run")?;
    let clock = Clock::start();
    let answer = run.call(&mut store, n)?;
    Ok((answer, clock.spent().cpu))
}

/// The loop in an engine.
fn build(it: &Loop, engine: &gc_engine::Engine) -> Result<gc_engine::Code> {
    let mut module = Module::new(engine);
    (it.build)(&mut module)?;
    module.compile()
}

/// The times of the loop, of the same in WebAssembly, and of the loop with tests of types, in each turn.
fn measure(it: &Loop, collector: &Collector, n: i64, turns: usize) -> Result<[Vec<Duration>; 3]> {
    let own = gc_engine::Engine::new(collector.clone())?;
    let code = CodeOptions { checked: true, ..CodeOptions::default() };
    let checked = gc_engine::Engine::builder(collector.clone()).code(code).build()?;
    let (own_code, checked_code) = (build(it, &own)?, build(it, &checked)?);
    let wasm = gc_wasm::Engine::new(gc_wasm::Config::new().collector(collector.clone()))?;
    let module = gc_wasm::Module::new(&wasm, format!("(module {})", it.wat))?;
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for turn in 0..=turns {
        let runs = [
            on_engine(&own_code, &own, n)?,
            on_wasm(&module, &wasm, n)?,
            on_engine(&checked_code, &checked, n)?,
        ];
        let answers = runs.map(|(answer, _)| answer);
        ensure!(answers == [answers[0]; 3], "the answers are {answers:?}");
        // The first turn warms up.
        if turn > 0 {
            times.iter_mut().zip(runs).for_each(|(times, (_, time))| times.push(time));
        }
    }
    Ok(times)
}

/// The median of the ratios of the turns.
fn ratio(times: &[Duration], others: &[Duration]) -> f64 {
    let ratios = times.iter().zip(others).map(|(a, b)| a.as_secs_f64() / b.as_secs_f64());
    median(ratios.collect())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut record = Record::new(SUBJECT);
    let columns = ["loop", "ms", "ms in WebAssembly", "ratio", "target", "checked", "target"];
    let mut rows = table("collector", columns.map(str::to_owned));
    for collector in Collector::all() {
        if !wanted(&options.engine, collector.name()) {
            continue;
        }
        for it in &LOOPS {
            let (n, turns) = match options.test {
                true => (it.n.min(20), 1),
                // It keeps all objects, in a heap of 2 GiB.
                false if collector.name() == "null" => (it.n.min(50_000_000), options.turns),
                false => (it.n, options.turns),
            };
            let [own, wasm, checked] = measure(it, &collector, n, turns)
                .with_context(|| format!("{} under {}", it.name, collector.name()))?;
            let ms =
                |times: &[Duration]| median(times.iter().map(|t| t.as_secs_f64() * 1e3).collect());
            let limit = if it.name == "closures" { CLOSURES_TARGET } else { TARGET };
            let met = |ratio, limit| {
                let text = target(ratio, Some(limit));
                Cell::new(text.trim_matches([' ', '(', ')']))
            };
            let (to_wasm, price) = (ratio(&own, &wasm), ratio(&checked, &own));
            rows.add_row([
                Cell::new(collector.name()),
                Cell::new(it.name),
                right(format!("{:.1}", ms(&own))),
                right(format!("{:.1}", ms(&wasm))),
                right(format!("{to_wasm:.3}")),
                met(to_wasm, limit),
                right(format!("{price:.3}")),
                met(price, CHECKED_TARGET),
            ]);
        }
    }
    if options.test {
        println!("languages: ok");
        return Ok(());
    }
    record.table("Loops", &rows);
    record.finish()
}
