//! Functions that are designed to take long to compile. The author of a module chooses the size of
//! its functions. So the time must not grow quadratically, and a function that is too large must
//! give an error soon.

use crate::common::message;
use anyhow::Result;
use gc_wasm::explore::{Emit, explore, machine_code};
use gc_wasm::{Collector, Config, Engine, Inlining, Instance, Module, Store, Val};
use std::fmt::Write;

/// An engine that compiles as the command does.
fn engine(config: &mut Config) -> Result<Engine> {
    Engine::new(config.collector(Collector::drc()).cranelift_debug_verifier(false))
}

/// `count` casts of a global, to a type that has subtypes. A second cast of one value would be free.
fn casts(count: usize) -> String {
    let casts = "(drop (ref.cast (ref $s) (global.get $g)))".repeat(count);
    format!(
        r#"(module (type $s (sub (struct))) (global $g (mut anyref) (ref.null any))
            (func (export "f") (param anyref) (global.set $g (local.get 0)) {casts})
            (func (export "new") (result anyref) (struct.new $s)))"#
    )
}

/// `count` copies of references from global to global.
fn copies(count: usize) -> String {
    let copies = "(global.set $a (global.get $b)) (global.set $b (global.get $a))".repeat(count);
    format!(
        r#"(module (global $a (mut anyref) (ref.i31 (i32.const 1)))
            (global $b (mut anyref) (ref.i31 (i32.const 2)))
            (func (export "f") (param anyref) (global.set $a (local.get 0)) {copies})
            (func (export "new") (result anyref) (global.get $b)))"#
    )
}

/// `count` locals of references, set from and written to globals, so that each is live
/// across most of the function's cold calls.
fn locals(count: usize) -> String {
    let mut body = String::new();
    for i in 0..count {
        write!(body, "(local.set {} (global.get $g))", i + 1).unwrap();
    }
    for i in 0..count {
        write!(body, "(global.set $g (local.get {}))", i + 1).unwrap();
    }
    format!(
        r#"(module (global $g (mut anyref) (ref.i31 (i32.const 1)))
            (func (export "f") (param anyref) (local {}) {body})
            (func (export "new") (result anyref) (global.get $g)))"#,
        "anyref ".repeat(count)
    )
}

/// `count` loops, nested in each other, that each allocate an object.
fn loops(count: usize) -> String {
    let ends = "(global.set $g (struct.new $s)) (br_if 0 (i32.const 0)))".repeat(count);
    format!(
        r#"(module (type $s (struct)) (global $g (mut anyref) (ref.null any))
            (func (export "f") (param anyref) {} {ends})
            (func (export "new") (result anyref) (global.get $g)))"#,
        "(loop ".repeat(count)
    )
}

/// A module's text, given a number of repetitions.
type Bomb = fn(usize) -> String;

/// Each bomb, and a number of repetitions that makes it large.
const BOMBS: [(&str, Bomb, usize); 3] =
    [("casts", casts, 4000), ("copies", copies, 800), ("locals", locals, 300)];

/// The machine code of function `f`.
fn machine_code_of(engine: &Engine, wat: &str) -> Result<Vec<u8>> {
    Ok(machine_code(engine, wat.as_bytes(), Some("f"))?.remove(0).code)
}

/// The CLIF of function `f`, in some form.
fn listing(engine: &Engine, wat: &str, what: Emit) -> Result<String> {
    Ok(explore(engine, wat.as_bytes(), what, Some("f"))?.remove(0).text)
}

/// Four times as much source gives four times as much intermediate code, including the code that
/// safepoints and locals add.
#[test]
fn intermediate_code_is_in_proportion_to_the_source() -> Result<()> {
    let engine = engine(&mut Config::new())?;
    for (what, bomb, count) in BOMBS {
        let lines = |count| -> Result<usize> {
            Ok(listing(&engine, &bomb(count), Emit::Clif)?.lines().count())
        };
        let (small, large) = (lines(count)?, lines(4 * count)?);
        assert!(small > 10 * count, "{what}: {small} lines");
        assert!(large < 5 * small, "{what}: {small} lines, and {large} for four times as much");
    }
    Ok(())
}

/// From the default limit on, functions are compiled in time proportional to their size. Below it
/// they are compiled to the best code.
#[test]
fn huge_functions_are_compiled_another_way() -> Result<()> {
    let [as_usual, by_default, as_huge] = [usize::MAX, 100_000, 0].map(|huge| {
        let config = &mut Config::new();
        if huge != 100_000 {
            config.huge_function(huge);
        }
        engine(config)
    });
    let (as_usual, by_default, as_huge) = (as_usual?, by_default?, as_huge?);
    // Each cast is 30 instructions.
    let (large, huge) = (casts(3000), casts(4000));
    let code = machine_code_of;
    assert!(code(&by_default, &large)? == code(&as_usual, &large)?);
    assert!(code(&by_default, &large)? != code(&as_huge, &large)?);
    assert!(code(&by_default, &huge)? == code(&as_huge, &huge)?);
    // The compiled code also works.
    for (what, bomb, count) in BOMBS {
        let module = Module::new(&as_huge, bomb(count))?;
        let mut store = Store::new(&as_huge, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let mut new = [Val::AnyRef(None)];
        instance.get_func(&mut store, "new").unwrap().call(&mut store, &[], &mut new)?;
        let run = instance.get_func(&mut store, "f").unwrap().call(&mut store, &new, &mut []);
        assert!(run.is_ok(), "{what}: {run:?}");
    }
    Ok(())
}

/// `locals` locals that differ on each path to a label. `branches` lead to the label.
fn phis(locals: usize, branches: &str) -> String {
    let mut body = String::new();
    for i in 1..=locals {
        write!(body, "(local.set {i} (i32.const {i}))").unwrap();
    }
    body.push_str(branches);
    let sum = (1..=locals).fold("(i32.const 0)".to_owned(), |mut sum, i| {
        write!(sum, "(i32.add (local.get {i}))").unwrap();
        sum
    });
    let locals = "i32 ".repeat(locals);
    format!(
        r#"(module (func (export "f") (param i32) (result i32) (local {locals})
            (block $l (br_if $l (local.get 0)) {body}) {sum}))"#
    )
}

/// The operands that branches pass for locals count, because they are most of such a function.
#[test]
fn arguments_of_branches_make_a_function_huge() -> Result<()> {
    let by_default = engine(&mut Config::new())?;
    let as_huge = engine(Config::new().huge_function(0))?;
    let code = machine_code_of;
    let branches = "(br_if $l (local.get 0))".repeat(240);
    let wat = phis(240, &branches);
    assert!(code(&by_default, &wat)? == code(&as_huge, &wat)?);
    Ok(())
}

/// A table's entries for one label share the passing of operands.
#[test]
fn entries_of_a_branch_table_do_not_multiply_locals() -> Result<()> {
    let engine = engine(&mut Config::new())?;
    let size = |entries| -> Result<usize> {
        let table = format!("(br_table {} (local.get 0))", "$l ".repeat(entries));
        Ok(listing(&engine, &phis(100, &table), Emit::Clif)?.len())
    };
    let (few, many) = (size(10)?, size(1000)?);
    // Each entry names its block.
    assert!(many < few + 990 * 20, "{few} and {many} bytes of text");
    Ok(())
}

/// An operator of three bytes may use a type with a thousand results.
#[test]
fn blocks_of_many_results() -> Result<()> {
    let engine = engine(&mut Config::new())?;
    let types = "i32 ".repeat(1000);
    let values = "(i32.const 1) ".repeat(1000);
    let module = |body: String| {
        let wat = format!(
            r#"(module (type $t (func (param {types}) (result {types})))
                (func $g (type $t) unreachable)
                (func (export "f") {values} {body} {}))"#,
            "drop ".repeat(1000)
        );
        Module::new(&engine, wat)
    };
    // Labels that nothing branches to cost nothing.
    module("block (type $t) end ".repeat(20_000))?;
    let start = "function 1 `f`: function too large: its branches, blocks and handlers have ";
    for body in [
        "loop (type $t) end ",
        "i32.const 1 if (type $t) end ",
        "block (type $t) i32.const 1 br_if 0 end ",
    ] {
        let error = message(module(body.repeat(2_000)));
        assert!(error.starts_with(start), "{body}: {error}");
    }
    let error = message(module("call $g ".repeat(20_000)));
    assert!(error.starts_with("function 1 `f`: function too large: "), "{error}");
    assert!(error.ends_with(" of intermediate code"), "{error}");
    Ok(())
}

/// The frontend's notes for each local in each block would take gigabytes.
#[test]
fn too_many_locals_in_too_many_blocks_are_an_error() -> Result<()> {
    let engine = engine(&mut Config::new())?;
    // The locals are numbers, so that the stack maps are not too large.
    let reads: String = (0..30_000).fold(String::new(), |mut reads, i| {
        write!(reads, "(drop (local.get {i}))").unwrap();
        reads
    });
    let ifs = "(if (local.get 0) (then nop))".repeat(10_000);
    let locals = "i32 ".repeat(30_000);
    for body in [
        format!("(loop $l {reads}{ifs}(br_if $l (local.get 0)))"),
        format!("(loop (loop {reads}) {ifs})"),
    ] {
        let wat = format!("(module (func (local {locals}) {body}))");
        let error = message(Module::new(&engine, wat));
        let expected = "function 0 `func[0]`: function too large: its 30000 locals are used across";
        assert!(error.starts_with(expected), "{error}");
    }
    // Consecutive loops do not add up.
    let loops = "(loop (drop (local.get 1)) (if (local.get 0) (then nop)))".repeat(10_000);
    Module::new(&engine, format!("(module (func (local i32 i32) {loops}))"))?;
    Ok(())
}

/// The optimizer's time grows with the third power of the depth of nested loops. These would take
/// minutes.
#[test]
fn deeply_nested_loops_are_huge() -> Result<()> {
    let configs: [fn(&mut Config); 4] = [
        |_| {},
        |config| {
            config.interruptible(true);
        },
        |config| {
            config.consume_fuel(true);
        },
        |config| {
            config.epoch_interruption(true);
        },
    ];
    for set in configs {
        let mut config = Config::new();
        set(&mut config);
        let engine = engine(&mut config)?;
        let module = Module::new(&engine, loops(4000))?;
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        // It fails if code consumes no fuel.
        let _ = store.set_fuel(1_000_000);
        let instance = Instance::new(&mut store, &module, &[])?;
        let run = instance.get_func(&mut store, "f").expect("an export");
        run.call(&mut store, &[Val::AnyRef(None)], &mut [])?;
    }
    // Below the limit they are compiled to the best code.
    let code = |huge| machine_code_of(&engine(Config::new().huge_function(huge))?, &loops(90));
    assert!(code(100_000)? == code(usize::MAX)?);
    Ok(())
}

/// Loops in loops in loops, with one load. Words that stay the same are looked for in each loop, and an
/// instruction is in all of them. This took minutes.
#[test]
fn the_words_of_nested_loops_are_not_looked_for_in_each() -> Result<()> {
    let count = 20_000;
    let mut ends = String::new();
    for n in 0..count {
        write!(ends, "(br_if 0 (i32.eq (local.get 0) (i32.const {n}))))").unwrap();
    }
    let wat = format!(
        r#"(module (memory 1) (func (export "f") (param i32) (result i32) (local $sum i32)
            {} (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 8)))) {ends}
            (local.get $sum)))"#,
        "(loop ".repeat(count)
    );
    let engine = engine(&mut Config::new())?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[])?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    assert_eq!(run.call(&mut store, -1)?, 0);
    Ok(())
}

/// The bytes of machine code of all functions, with and without inlining.
fn code_sizes(wat: &str) -> Result<[usize; 2]> {
    let size = |inlining| -> Result<usize> {
        let engine = engine(Config::new().compiler_inlining(inlining))?;
        let all = machine_code(&engine, wat.as_bytes(), None)?;
        Ok(all.iter().map(|function| function.code.len()).sum())
    };
    Ok([size(Inlining::Yes)?, size(Inlining::No)?])
}

/// What a small function has that becomes large: cold code, which the module chooses with hints, the
/// entries of a jump table, and the arguments of branches.
#[test]
fn what_looks_small_is_not_inlined_without_limit() -> Result<()> {
    let store = "(i32.store (i32.const 0) (i32.trunc_f64_s (f64.load (i32.const 0))))".repeat(13);
    let cold = format!(r#"local.get 0 (@metadata.code.branch_hint "\00") if {store} end"#);
    let table = format!("(block (br_table {} (local.get 0)))", "0 ".repeat(140));
    let numbers = "(i32.const 1)".repeat(28);
    let arguments = format!(
        "(if (result {}) (local.get 0) (then {numbers}) (else {numbers})) {}",
        "i32 ".repeat(28),
        "(drop)".repeat(28)
    );
    for leaf in [cold, table, arguments] {
        let mut wat = format!("(module (memory 1) (func (param i32) {leaf})");
        write!(wat, "(func (param i32) {})", "(call 0 (local.get 0))".repeat(39))?;
        for _ in 0..20 {
            write!(wat, "(func (param i32) {})", "(call 1 (local.get 0))".repeat(3))?;
        }
        wat.push(')');
        let [inlined, plain] = code_sizes(&wat)?;
        assert!(inlined < 20 * plain, "{inlined} bytes with inlining, {plain} without: {leaf}");
    }
    Ok(())
}

/// Each call of an inlined body has all handlers of the `try_table` that it was inlined into.
#[test]
fn handlers_are_not_multiplied_by_inlined_calls() -> Result<()> {
    let (mut tags, mut catches, mut blocks) = (String::new(), String::new(), String::new());
    for tag in 0..200 {
        write!(tags, "(tag $t{tag})")?;
        write!(catches, "(catch $t{tag} $h)")?;
    }
    for _ in 0..20 {
        blocks.push_str("(call $f)");
    }
    let wat = format!(
        r#"(module {tags} (import "" "" (func $x)) (func $f {})
            (func (block $h (try_table {catches} {blocks}))))"#,
        "(call $x)".repeat(28)
    );
    let [inlined, plain] = code_sizes(&wat)?;
    assert!(inlined < 3 * plain, "{inlined} bytes with inlining, {plain} without");
    Ok(())
}

/// Each block passes its result on to the same outer block, which tests it. All of them are skipped, and
/// the rest must be right.
#[test]
fn many_blocks_that_pass_a_result_on() -> Result<()> {
    let inner = "(block $s (br_if $s (local.get 0)) (br $a (block $b (result i32)
        (br_if $b (local.get 1) (local.get 0)) (drop)
        (if (i32.eq (local.get 0) (local.get 1)) (then (br $b (i32.const 0)))) (local.get 1))))";
    let wat = format!(
        r#"(module (func (export "f") (param i32 i32) (result i32)
            (if (result i32) (block $a (result i32) {} (i32.const 1))
                (then (i32.const 10)) (else (i32.const 20)))))"#,
        inner.repeat(4000)
    );
    let engine = engine(&mut Config::new())?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[])?;
    let run = instance.get_typed_func::<(i32, i32), i32>(&mut store, "f")?;
    for (args, result) in [((1, 0), 10), ((0, 0), 20), ((0, 5), 10)] {
        assert_eq!(run.call(&mut store, args)?, result, "{args:?}");
    }
    Ok(())
}

/// Each call is inlined, and the parts of the block that they were in are in order.
#[test]
fn a_block_of_many_inlined_calls() -> Result<()> {
    let count = 3000;
    let next = "(i32.xor (i32.mul (local.get 0) (i32.const 31)) (i32.const 7))";
    let wat = format!(
        r#"(module (func $g (param i32) (result i32) {next})
            (func (export "f") (param i32) (result i32) {} (local.get 0)))"#,
        "(local.set 0 (call $g (local.get 0)))".repeat(count)
    );
    let engine = engine(&mut Config::new())?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[])?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    let expected = (0..count).fold(5_i32, |value, _| value.wrapping_mul(31) ^ 7);
    assert_eq!(run.call(&mut store, 5)?, expected);
    Ok(())
}

/// Each operator inverts the condition that the one before makes. The whole chain was followed for each.
#[test]
fn a_long_chain_of_conditions() -> Result<()> {
    let wat = format!(
        r#"(module (func (export "f") (param anyref) (result i32)
            (ref.is_null (local.get 0)) {}))"#,
        "(i32.eqz)".repeat(100_001)
    );
    let engine = engine(&mut Config::new())?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[])?;
    let run = instance.get_func(&mut store, "f").expect("an export");
    let mut result = [Val::I32(7)];
    run.call(&mut store, &[Val::AnyRef(None)], &mut result)?;
    assert_eq!(result[0].i32(), Some(0));
    Ok(())
}

/// A table with more labels than get their entries directly. Each label adds its number.
#[test]
fn a_table_of_many_labels() -> Result<()> {
    let count = 1000;
    let mut wat =
        String::from(r#"(module (func (export "f") (param i32) (result i32) (local $sum i32)"#);
    wat.push_str(&"(block ".repeat(count));
    wat.push_str("(br_table ");
    (0..count).for_each(|label| write!(wat, "{label} ").expect("text"));
    wat.push_str("(local.get 0))");
    for label in 0..count {
        write!(wat, ") (local.set $sum (i32.add (local.get $sum) (i32.const {label})))")?;
    }
    wat.push_str("(local.get $sum)))");
    let engine = engine(&mut Config::new())?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[])?;
    let run = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
    for first in [0, 1, 500, 999, 2000] {
        let sum: i32 = (first.min(999)..1000).sum();
        assert_eq!(run.call(&mut store, first)?, sum, "{first}");
    }
    Ok(())
}

/// When a loop ends, the frontend looks through the loops in it.
#[test]
fn too_many_nested_loops_are_an_error() -> Result<()> {
    let engine = engine(&mut Config::new())?;
    let loops =
        |count| format!("(module (func {} {}))", "loop ".repeat(count), "end ".repeat(count));
    Module::new(&engine, loops(10_000))?;
    let error = message(Module::new(&engine, loops(50_001)));
    assert_eq!(error, "function 0 `func[0]`: function too large: 50001 loops in each other");
    Ok(())
}
