//! Calls of small functions are inlined. Nobody sees this but by the speed: results, traps,
//! backtraces, exceptions, fuel and roots are the same.

use crate::common::everywhere;
use anyhow::{Context, Result};
use gc_wasm::explore::machine_code;
use gc_wasm::{
    Config, Engine, Func, Inlining, Instance, Linker, Module, OptLevel, Store, Val, WasmBacktrace,
};

/// The callees that remain in the code of the function that `filter` names.
fn callees(config: &Config, wat: &str, filter: &str) -> Result<Vec<String>> {
    let code = machine_code(&Engine::new(config)?, wat.as_bytes(), Some(filter))?;
    Ok(code[0].symbols.values().cloned().collect())
}

/// Functions that call each other and may trap at the bottom.
const CHAIN: &str = r#"(module $chain
    (global $g (mut i32) (i32.const 0))
    (func $divide (param i32) (result i32) (i32.div_s (i32.const 100) (local.get 0)))
    (func $twice (param i32) (result i32)
        (i32.add (call $divide (local.get 0))
                 (call $divide (i32.sub (local.get 0) (i32.const 5)))))
    (func $check (param i32)
        (if (i32.eq (local.get 0) (i32.const 9)) (then (unreachable))))
    (func (export "run") (param i32) (result i32)
        (local $i i32)
        (call $check (local.get 0))
        (loop $l
            (global.set $g (i32.add (global.get $g) (call $twice (local.get 0))))
            (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1)))
                                (i32.const 10))))
        (global.get $g))
    (func (export "tail") (param i32) (result i32)
        (return_call $twice (local.get 0))))"#;

#[test]
fn small_functions_are_inlined_unless_this_is_off() -> Result<()> {
    let mut config = Config::new();
    assert!(callees(&config, CHAIN, "run")?.is_empty());
    assert!(callees(&config, CHAIN, "tail")?.is_empty());
    config.compiler_inlining(Inlining::No);
    assert_eq!(callees(&config, CHAIN, "run")?, ["check", "twice"]);
    config.compiler_inlining(Inlining::Yes).cranelift_opt_level(OptLevel::None);
    assert_eq!(callees(&config, CHAIN, "run")?, ["check", "twice"]);
    Ok(())
}

/// A frame's function, its name, and the offset in the module and in the function.
type Frame = (u32, Option<String>, Option<usize>, Option<usize>);

/// What a call gives: its results, or its error with the function and the offset of each frame.
#[derive(Debug, PartialEq)]
struct Outcome {
    results: String,
    frames: Vec<Frame>,
}

fn outcome(config: &Config, wat: &str, export: &str, arg: i32) -> Result<Outcome> {
    let module = Module::new(&Engine::new(config)?, wat)?;
    outcome_of(&module, export, arg)
}

fn outcome_of(module: &Module, export: &str, arg: i32) -> Result<Outcome> {
    let mut store = Store::new(module.engine(), ());
    let mut linker = Linker::new(module.engine());
    linker.func_wrap("host", "fail", |n: i32| -> Result<()> {
        if n == 3 { anyhow::bail!("the host fails") } else { Ok(()) }
    })?;
    let instance = linker.instantiate(&mut store, module)?;
    let func = instance.get_func(&mut store, export).context(export.to_owned())?;
    let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
    Ok(match func.call(&mut store, &[Val::I32(arg)], &mut results) {
        Ok(()) => Outcome { results: format!("{results:?}"), frames: Vec::new() },
        Err(error) => {
            let trace = error.downcast_ref::<WasmBacktrace>().context("a backtrace")?;
            let frames = trace.frames().iter().map(|frame| {
                let name = frame.func_name().map(str::to_owned);
                (frame.func_index(), name, frame.module_offset(), frame.func_offset())
            });
            Outcome { results: error.root_cause().to_string(), frames: frames.collect() }
        }
    })
}

#[test]
fn backtraces_name_the_functions_whose_calls_were_inlined() -> Result<()> {
    let mut plain = Config::new();
    plain.compiler_inlining(Inlining::No);
    let trace = |arg| outcome(&Config::new(), CHAIN, "run", arg);
    let names = |outcome: Outcome| -> Vec<String> {
        outcome.frames.into_iter().map(|(_, name, ..)| name.unwrap_or_default()).collect()
    };
    assert_eq!(names(trace(0)?), ["divide", "twice", "run"]);
    assert_eq!(names(trace(5)?), ["divide", "twice", "run"]);
    assert_eq!(names(trace(9)?), ["check", "run"]);
    for (export, arg) in [("run", 0), ("run", 5), ("run", 9), ("run", 1), ("tail", 1)] {
        let inlined = outcome(&Config::new(), CHAIN, export, arg)?;
        assert_eq!(inlined, outcome(&plain, CHAIN, export, arg)?, "{export} {arg}");
    }
    // The caller is gone during a tail call.
    assert_eq!(names(outcome(&Config::new(), CHAIN, "tail", 0)?), ["divide", "twice"]);
    assert_eq!(outcome(&Config::new(), CHAIN, "tail", 0)?, outcome(&plain, CHAIN, "tail", 0)?);
    Ok(())
}

#[test]
fn a_saved_module_has_the_frames_too() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let bytes = Module::new(&engine, CHAIN)?.serialize()?;
    // SAFETY: they are the bytes of a module that was serialized.
    let loaded = unsafe { Module::deserialize(&engine, &bytes)? };
    let frames = |outcome: Outcome| -> Vec<_> {
        outcome.frames.into_iter().map(|(index, name, offset, _)| (index, name, offset)).collect()
    };
    let expected = frames(outcome(&Config::new(), CHAIN, "run", 5)?);
    assert_eq!(expected.len(), 3);
    assert_eq!(frames(outcome_of(&loaded, "run", 5)?), expected);
    Ok(())
}

/// Cranelift copies the numbers of the names that an inlined body has for words of types. In the
/// caller these numbers stand for other names.
#[test]
fn inlined_bodies_in_saved_modules_have_their_types() -> Result<()> {
    everywhere(|setting| {
        let engine = setting.engine()?;
        let bytes = Module::new(&engine, EXCEPTIONS)?.serialize()?;
        // SAFETY: they are the bytes of a module that was serialized.
        let loaded = unsafe { Module::deserialize(&engine, &bytes)? };
        let expected = outcome(&setting.config(), EXCEPTIONS, "run", 3)?;
        assert_eq!(outcome_of(&loaded, "run", 3)?, expected);
        Ok(())
    })
}

/// Inlined bodies that allocate, throw, catch, call the host, and loop.
const EXCEPTIONS: &str = r#"(module
    (type $pair (struct (field (mut i32)) (field (mut (ref null $pair)))))
    (import "host" "fail" (func $fail (param i32)))
    (tag $small (param (ref null $pair)))
    (tag $large (param i32))
    (func $cons (param i32 (ref null $pair)) (result (ref $pair))
        (struct.new $pair (local.get 0) (local.get 1)))
    (func $may_throw (param $n i32) (param $list (ref null $pair)) (result (ref null $pair))
        (call $fail (local.get $n))
        (if (i32.eq (i32.rem_s (local.get $n) (i32.const 4)) (i32.const 1))
            (then (throw $small (call $cons (local.get $n) (local.get $list)))))
        (if (i32.eq (i32.rem_s (local.get $n) (i32.const 4)) (i32.const 2))
            (then (throw $large (local.get $n))))
        (call $cons (local.get $n) (local.get $list)))
    (func $guarded (param $n i32) (param $list (ref null $pair)) (result (ref null $pair))
        (block $caught (result (ref null $pair))
            (try_table (result (ref null $pair)) (catch $small $caught)
                (call $may_throw (local.get $n) (local.get $list)))))
    (func $sum (param $list (ref null $pair)) (result i32)
        (local $sum i32)
        (block $end (loop $l
            (br_if $end (ref.is_null (local.get $list)))
            (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31))
                (struct.get $pair 0 (local.get $list))))
            (local.set $list (struct.get $pair 1 (local.get $list)))
            (br $l)))
        (local.get $sum))
    (func (export "run") (param $n i32) (result i32)
        (local $list (ref null $pair)) (local $i i32) (local $thrown i32)
        (loop $l
            (block $next
                (block $large (result i32)
                    (try_table (catch $large $large)
                        (local.set $list (call $guarded (local.get $i) (local.get $list)))
                        (drop (call $cons (i32.const 1) (local.get $list))))
                    (br $next))
                (local.set $thrown (i32.add (local.get $thrown))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_s (local.get $i) (local.get $n))))
        (i32.xor (call $sum (local.get $list)) (local.get $thrown))))"#;

#[test]
fn exceptions_and_collections_in_inlined_code() -> Result<()> {
    assert!(!callees(&Config::new(), EXCEPTIONS, "run")?.contains(&"guarded".to_owned()));
    everywhere(|setting| {
        let mut plain = setting.config();
        plain.compiler_inlining(Inlining::No);
        for n in [1, 2, 3, 4, 20] {
            let inlined = outcome(&setting.config(), EXCEPTIONS, "run", n)?;
            assert_eq!(inlined, outcome(&plain, EXCEPTIONS, "run", n)?, "{n}");
        }
        Ok(())
    })
}

/// The result of a host call is read where the call is, also in a body that was inlined into a
/// `try_table`.
#[test]
fn host_calls_in_inlined_bodies_have_their_results() -> Result<()> {
    let wat = r#"(module
        (type $bytes (array i8))
        (data $data "abcdef")
        (func $new (param i32) (result (ref $bytes))
            (array.new_data $bytes $data (i32.const 0) (local.get 0)))
        (func (export "run") (param i32) (result i32)
            (block $caught
                (try_table (catch_all $caught)
                    (return (array.len (call $new (local.get 0))))))
            (i32.const -1)))"#;
    everywhere(|setting| {
        assert!(!callees(&setting.config(), wat, "run")?.contains(&"new".to_owned()));
        assert_eq!(outcome(&setting.config(), wat, "run", 5)?.results, "[I32(5)]");
        Ok(())
    })
}

#[test]
fn fuel_is_the_same() -> Result<()> {
    let left = |inlining, arg| -> Result<u64> {
        let mut config = Config::new();
        config.consume_fuel(true).compiler_inlining(inlining);
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        store.set_fuel(10_000)?;
        let instance = Instance::new(&mut store, &Module::new(&engine, CHAIN)?, &[])?;
        let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
        let _ = run.call(&mut store, arg);
        store.get_fuel()
    };
    for arg in [0, 1, 5, 9] {
        assert_eq!(left(Inlining::Yes, arg)?, left(Inlining::No, arg)?, "{arg}");
    }
    Ok(())
}

/// `$eval` and `$apply` call each other, with references that live across the calls. A loop calls them,
/// and `$size`, which calls itself. The deepest call throws, traps, or makes a tail call.
const EACH_OTHER: &str = r#"(module
    (type $tree (struct (field i32) (field (ref null $tree)) (field (ref null $tree))))
    (tag $stop (param (ref $tree)))
    (func $build (param $n i32) (result (ref $tree))
        (if (i32.eqz (local.get $n))
            (then (return (struct.new $tree (i32.const 0) (ref.null $tree) (ref.null $tree)))))
        (struct.new $tree (local.get $n)
            (call $build (i32.sub (local.get $n) (i32.const 1)))
            (call $build (i32.sub (local.get $n) (i32.const 1)))))
    (func $eval (param $tree (ref null $tree)) (param $how i32) (result (ref null $tree))
        (local $of i32)
        (if (ref.is_null (local.get $tree)) (then (return (ref.null $tree))))
        (local.set $of (struct.get $tree 0 (local.get $tree)))
        (if (i32.eqz (local.get $of))
            (then
                (if (i32.eq (local.get $how) (i32.const 1))
                    (then (throw $stop (ref.as_non_null (local.get $tree)))))
                (drop (i32.div_s (i32.const 7) (local.get $how)))
                (if (i32.eq (local.get $how) (i32.const 2))
                    (then (return_call $apply (local.get $tree) (i32.const 3))))))
        (call $apply (local.get $tree) (local.get $how)))
    (func $apply (param $tree (ref null $tree)) (param $how i32) (result (ref null $tree))
        (local $left (ref null $tree))
        (local.set $left (struct.new $tree (i32.const 5) (ref.null $tree) (local.get $tree)))
        (block $caught (result (ref null $tree))
            (try_table (result (ref null $tree)) (catch $stop $caught)
                (local.set $left
                    (call $eval (struct.get $tree 1 (local.get $tree)) (local.get $how)))
                (struct.new $tree
                    (i32.add (struct.get $tree 0 (local.get $tree)) (local.get $how))
                    (local.get $left)
                    (call $eval (struct.get $tree 2 (local.get $tree)) (local.get $how)))))
        (drop)
        (struct.new $tree (i32.const 2) (local.get $left) (local.get $tree)))
    (func $size (param $tree (ref null $tree)) (result i32)
        (if (ref.is_null (local.get $tree)) (then (return (i32.const 0))))
        (i32.add (struct.get $tree 0 (local.get $tree))
            (i32.add (call $size (struct.get $tree 1 (local.get $tree)))
                     (call $size (struct.get $tree 2 (local.get $tree))))))
    (func (export "run") (param $how i32) (result i32)
        (local $i i32) (local $sum i32) (local $tree (ref $tree))
        (local.set $i (i32.const 1))
        (loop $l
            (local.set $tree (call $build (local.get $i)))
            (local.set $sum (i32.add (local.get $sum) (call $size (local.get $tree))))
            (local.set $sum (i32.add (local.get $sum)
                (call $size (call $eval (local.get $tree) (local.get $how)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $l (i32.lt_s (local.get $i) (i32.const 5))))
        (local.get $sum)))"#;

#[test]
fn functions_that_call_each_other() -> Result<()> {
    // The body of one is in the other.
    assert!(!callees(&Config::new(), EACH_OTHER, "eval")?.contains(&"apply".to_owned()));
    everywhere(|setting| {
        let mut plain = setting.config();
        plain.compiler_inlining(Inlining::No);
        for how in [0, 1, 2, 4] {
            let inlined = outcome(&setting.config(), EACH_OTHER, "run", how)?;
            let expected = outcome(&plain, EACH_OTHER, "run", how)?;
            assert_eq!(expected.frames.is_empty(), how != 0, "{expected:?}");
            assert_eq!(inlined, expected, "{how}");
        }
        Ok(())
    })
}

#[test]
fn the_caller_of_a_host_function_is_the_same_instance() -> Result<()> {
    let wat = r#"(module
        (import "host" "name" (func $name (result i32)))
        (global (export "id") i32 (i32.const 42))
        (func $inner (result i32) (call $name))
        (func (export "run") (result i32) (i32.add (call $inner) (i32.const 1))))"#;
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let name = Func::wrap(&mut store, |mut caller: gc_wasm::Caller<'_, ()>| -> Result<i32> {
        let id = caller.get_export("id").context("the caller's export")?;
        let id = id.into_global().context("a global")?;
        id.get(&mut caller).i32().context("an i32")
    });
    let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, &[name.into()])?;
    let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 43);
    Ok(())
}

/// In a block with handlers the calls of an inlined function have handlers too, also calls of the host. The result of
/// such a call is read in the next block.
#[test]
fn a_host_call_with_handlers_returns_a_reference() -> Result<()> {
    everywhere(|setting| {
        for fuel in [false, true] {
            let mut config = setting.config();
            let engine = Engine::new(config.cranelift_debug_verifier(true).consume_fuel(fuel))?;
            let module = Module::new(
                &engine,
                r#"(module
                    (type $bytes (array (mut i8)))
                    (global $kept (mut (ref null $bytes)) (ref.null $bytes))
                    (data $text "abcdef")
                    (func $set (param i32)
                        (global.set $kept (array.new_data $bytes $text (i32.const 0) (local.get 0))))
                    (func (export "run") (param i32) (result i32)
                        (block $caught
                            (try_table (catch_all $caught) (call $set (local.get 0))))
                        (array.len (global.get $kept))))"#,
            )?;
            let mut store = Store::new(&engine, ());
            if fuel {
                store.set_fuel(1000)?;
            }
            let instance = Instance::new(&mut store, &module, &[])?;
            let run = instance.get_typed_func::<i32, i32>(&mut store, "run")?;
            assert_eq!(run.call(&mut store, 5)?, 5);
        }
        Ok(())
    })
}
