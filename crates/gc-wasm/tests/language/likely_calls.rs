//! A call through a reference compares the reference with the few functions that it is likely to be,
//! and calls these directly. Nobody sees this but by the speed.

use crate::common::everywhere;
use anyhow::{Context, Result};
use gc_wasm::explore::{Emit, explore, machine_code};
use gc_wasm::{
    Config, Engine, Extern, Func, Inlining, Instance, Module, Store, Trap, Val, WasmBacktrace,
};

/// Two closures of one type, which allocate, throw and trap, and tables with functions. `other` is a
/// third function of the same type, from outside.
const CLOSURES: &str = r#"(module
    (rec
        (type $code (sub (func (param (ref $closure)) (param i32) (result i32 anyref))))
        (type $closure (sub (struct (field (ref null $code)) (field (mut anyref))))))
    (type $narrow (sub $code (func (param (ref $closure)) (param i32) (result i32 (ref null i31)))))
    (type $strict (sub (struct (field (ref $code)))))
    (type $codes (array (mut (ref null $code))))
    (type $box (struct (field i32)))
    (type $plain (func (param i32) (result i32)))
    (import "" "other" (func $other (type $plain)))
    (tag $thrown (param anyref))
    (global $add (ref $code) (ref.func $add))
    (elem declare func $narrow)
    (table $table 5 funcref)
    (elem (table $table) (i32.const 0) func $twice $other $add $narrow)
    (func $twice (type $plain) (i32.mul (i32.const 2) (local.get 0)))
    (func $add (type $code)
        (if (i32.eq (local.get 1) (i32.const 7))
            (then (throw $thrown (struct.get $closure 1 (local.get 0)))))
        (if (i32.eq (local.get 1) (i32.const 9)) (then (unreachable)))
        (i32.add (local.get 1)
            (struct.get $box 0 (ref.cast (ref $box) (struct.get $closure 1 (local.get 0)))))
        (struct.get $closure 1 (local.get 0)))
    (func $narrow (type $narrow)
        (struct.set $closure 1 (local.get 0)
            (struct.new $box (i32.mul (local.get 1) (i32.const 3))))
        (i32.const 1)
        (ref.i31 (local.get 1)))

    (func $closure (export "closure") (param $which i32) (result (ref null $code))
        (if (i32.eq (local.get $which) (i32.const 0)) (then (return (ref.func $add))))
        (if (i32.eq (local.get $which) (i32.const 1)) (then (return (ref.func $narrow))))
        (ref.null $code))
    ;; Calls a closure of field 0, from an object and from an array, some times.
    (func (export "run") (param $which i32) (param $n i32) (result i32)
        (local $c (ref $closure)) (local $codes (ref $codes)) (local $sum i32) (local $got anyref)
        (local.set $c (struct.new $closure (call $closure (local.get $which))
            (struct.new $box (i32.const 100))))
        (local.set $codes (array.new $codes (struct.get $closure 0 (local.get $c)) (i32.const 2)))
        (block $caught (result anyref)
            (try_table (result i32 anyref) (catch $thrown $caught)
                (call_ref $code (local.get $c) (local.get $n)
                    (struct.get $closure 0 (local.get $c))))
            (local.set $got)
            (local.set $sum)
            (call_ref $code (local.get $c) (local.get $n)
                (array.get $codes (local.get $codes) (i32.const 1)))
            (drop)
            (local.set $sum (i32.add (i32.mul (i32.const 1000) (local.get $sum))))
            (call_ref $code (local.get $c) (local.get $n)
                (ref.as_non_null (struct.get $closure 0 (local.get $c))))
            (drop)
            (i32.add (i32.mul (i32.const 1000) (local.get $sum)))
            (i32.add (ref.is_null (local.get $got)))
            (return))
        (ref.is_null)
        (i32.sub (i32.const 1)))
    (func (export "strict") (param $n i32) (result i32)
        (local $s (ref $strict))
        (local.set $s (struct.new $strict (ref.func $narrow)))
        (call_ref $code
            (struct.new $closure (ref.null $code) (ref.null any)) (local.get $n)
            (struct.get $strict 0 (local.get $s)))
        (drop))
    (func (export "indirect") (param $at i32) (param $n i32) (result i32)
        (call_indirect $table (type $plain) (local.get $n) (local.get $at)))
    (func (export "indirect_code") (param $at i32) (param $n i32) (result i32)
        (call_indirect $table (type $code)
            (struct.new $closure (ref.null $code) (struct.new $box (i32.const 5)))
            (local.get $n) (local.get $at))
        (drop)))"#;

/// The functions and host calls that the code of a function calls. The module is too large for callees
/// outside of loops to be inlined as if they were in loops.
fn callees(config: &Config, filter: &str) -> Result<Vec<String>> {
    let module = CLOSURES.trim_end().strip_suffix(')').context("the end of the module")?;
    let module = format!("{module} (func {}))", "nop ".repeat(32 << 10));
    let code = machine_code(&Engine::new(config)?, module.as_bytes(), Some(filter))?;
    Ok(code[0].symbols.values().cloned().collect())
}

/// The multiplications in the code of `indirect`.
fn multiplications(config: &Config) -> Result<Vec<String>> {
    let engine = Engine::new(config)?;
    let listing = explore(&engine, CLOSURES.as_bytes(), Emit::Clif, Some("indirect"))?;
    let lines = listing[0].text.lines();
    Ok(lines.filter(|line| line.contains("imul")).map(str::to_owned).collect())
}

/// What a call gives: its results, or its error and the names of its frames.
fn outcome(config: &Config, export: &str, args: &[i32]) -> Result<(String, u64)> {
    let mut config = config.clone();
    config.consume_fuel(true);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, CLOSURES)?;
    let mut store = Store::new(&engine, ());
    store.set_fuel(1_000_000)?;
    let other = Func::wrap(&mut store, |n: i32| n + 10_000);
    let instance = Instance::new(&mut store, &module, &[Extern::from(other)])?;
    let func = instance.get_func(&mut store, export).context("the export")?;
    let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg)).collect();
    let mut results = [Val::I32(0)];
    let text = match func.call(&mut store, &args, &mut results) {
        Ok(()) => format!("{results:?}"),
        Err(error) => {
            let trap = error.downcast_ref::<Trap>().context("a trap")?;
            let trace = error.downcast_ref::<WasmBacktrace>().context("a backtrace")?;
            let names: Vec<_> = trace.frames().iter().map(|frame| frame.func_name()).collect();
            format!("{trap:?} {names:?}")
        }
    };
    Ok((text, store.get_fuel()?))
}

#[test]
fn likely_functions_are_called_directly_or_inlined() -> Result<()> {
    let mut config = Config::new();
    let called = |config: &Config, filter| -> Result<Vec<String>> {
        let mut called = callees(config, filter)?;
        called.retain(|name| !name.starts_with("gc_"));
        called.sort();
        Ok(called)
    };
    assert_eq!(called(&config, "strict")?, ["add", "narrow"]);
    // `twice` is inlined.
    assert!(called(&config, "indirect")?.is_empty());
    assert!(!multiplications(&config)?.is_empty());
    config.compiler_inlining(Inlining::No);
    assert!(called(&config, "strict")?.is_empty());
    assert!(multiplications(&config)?.is_empty());
    Ok(())
}

#[test]
fn likely_calls_do_what_other_calls_do() -> Result<()> {
    everywhere(|setting| {
        let config = setting.config();
        let mut plain = config.clone();
        plain.compiler_inlining(Inlining::No);
        let mut calls = Vec::new();
        for which in 0..3 {
            calls.extend([1, 7, 9].map(|n| ("run", vec![which, n])));
        }
        calls.push(("strict", vec![4]));
        for at in 0..6 {
            calls.extend(["indirect", "indirect_code"].map(|export| (export, vec![at, 3])));
        }
        for (export, args) in calls {
            let found = outcome(&config, export, &args)?;
            assert_eq!(found, outcome(&plain, export, &args)?, "{export} {args:?}");
        }
        let results = |export, args: &[i32]| anyhow::Ok(outcome(&config, export, args)?.0);
        assert_eq!(results("run", &[0, 1])?, "[I32(101101101)]");
        assert_eq!(results("run", &[0, 7])?, "[I32(-1)]");
        assert_eq!(
            results("run", &[0, 9])?,
            r#"UnreachableCodeReached [Some("add"), Some("run")]"#
        );
        assert_eq!(results("run", &[2, 1])?, r#"NullReference [Some("run")]"#);
        assert_eq!(results("indirect", &[0, 3])?, "[I32(6)]");
        assert_eq!(results("indirect", &[1, 3])?, "[I32(10003)]");
        assert_eq!(results("indirect", &[2, 3])?, r#"BadSignature [Some("indirect")]"#);
        assert_eq!(results("indirect", &[4, 3])?, r#"IndirectCallToNull [Some("indirect")]"#);
        assert_eq!(results("indirect", &[5, 3])?, r#"TableOutOfBounds [Some("indirect")]"#);
        assert_eq!(results("indirect_code", &[2, 3])?, "[I32(8)]");
        assert_eq!(results("indirect_code", &[3, 3])?, "[I32(1)]");
        Ok(())
    })
}

/// Two tables of methods, whose functions all have one type. More functions of the type are named than
/// a reference is compared with. A method of one table changes while the program runs.
const METHODS: &str = r#"(module
    (type $method (func (param i32) (result i32)))
    (type $table (sub (struct (field $first (ref $method)) (field $second (mut (ref $method))))))
    (type $larger (sub $table
        (struct (field $first (ref $method)) (field $second (mut (ref $method))) (field i32))))
    (elem declare func $more)
    (global $one (ref $table) (struct.new $table (ref.func $a) (ref.func $b)))
    (global $two (ref $table)
        (struct.new $larger (ref.func $c) (ref.func $d) (i32.add (i32.const 1) (i32.const 2))))
    (func $a (type $method) (i32.add (local.get 0) (i32.const 1)))
    (func $b (type $method) (i32.add (local.get 0) (i32.const 20)))
    (func $c (type $method) (i32.add (local.get 0) (i32.const 300)))
    (func $d (type $method) (i32.add (local.get 0) (i32.const 4000)))
    (func $more (type $method) (i32.add (local.get 0) (i32.const 50000)))
    (func $table (param $which i32) (result (ref $table))
        (if (result (ref $table)) (local.get $which)
            (then (global.get $two)) (else (global.get $one))))
    (func (export "first") (param $which i32) (param $n i32) (result i32)
        (call_ref $method (local.get $n) (struct.get $table $first (call $table (local.get $which)))))
    (func (export "second") (param $which i32) (param $n i32) (result i32)
        (call_ref $method (local.get $n)
            (struct.get $table $second (call $table (local.get $which)))))
    (func (export "change") (param $which i32) (param $n i32) (result i32)
        (struct.set $table $second (call $table (local.get $which)) (ref.func $more))
        (call_ref $method (local.get $n)
            (struct.get $table $second (call $table (local.get $which))))))"#;

#[test]
fn a_method_is_compared_with_those_in_its_field() -> Result<()> {
    let mut config = Config::new();
    config.compiler_inlining(Inlining::No);
    // Without inlining nothing is compared.
    let code = |config: &Config, name: &str| {
        let code = machine_code(&Engine::new(config)?, METHODS.as_bytes(), Some(name))?;
        Ok::<_, anyhow::Error>(code[0].code.len())
    };
    let plain = code(&config, "first")?;
    config.compiler_inlining(Inlining::Yes);
    assert!(code(&config, "first")? > plain, "two functions are compared");
    let clif = |name| {
        let listing = explore(&Engine::new(&config)?, METHODS.as_bytes(), Emit::Clif, Some(name))?;
        Ok::<_, anyhow::Error>(listing[0].text.clone())
    };
    for (name, inlined, others) in
        [("first", [1, 300], [20, 4000]), ("second", [20, 4000], [1, 300])]
    {
        let text = clif(name)?;
        let has = |constant: i32| text.contains(&format!("iconst.i32 {constant}\n"));
        assert!(inlined.into_iter().all(has) && !others.into_iter().any(has), "{name}: {text}");
    }
    everywhere(|setting| {
        let (mut store, instance) = setting.instantiate(METHODS, &[])?;
        let mut call = |name: &str, which: i32| {
            let call = instance.get_typed_func::<(i32, i32), i32>(&mut store, name)?;
            call.call(&mut store, (which, 7))
        };
        assert_eq!([call("first", 0)?, call("first", 1)?], [8, 307]);
        assert_eq!([call("second", 0)?, call("second", 1)?], [27, 4007]);
        assert_eq!(call("change", 1)?, 50007);
        assert_eq!([call("second", 0)?, call("second", 1)?], [27, 50007]);
        Ok(())
    })
}
