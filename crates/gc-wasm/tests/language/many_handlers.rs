//! Functions with very many calls under handlers, and with very many handlers in each other. Every
//! exception must be caught by its handler, with the values of the place where it was thrown.

use crate::common::{Setting, each_collector, everywhere};
use anyhow::{Result, bail};
use gc_wasm::explore::check;
use gc_wasm::{
    AsContextMut as _, Caller, Config, Engine, ExnRef, ExnRefPre, ExnType, Func, FuncType,
    Inlining, Instance, Module, Store, Tag, TagType, ThrownException, TypedFunc, WasmBacktrace,
};
use std::fmt::Write;

/// A checked module of which the function `f` is called.
fn instantiate<P, R>(config: &mut Config, wat: &str) -> Result<(Store<()>, TypedFunc<P, R>)>
where
    P: gc_wasm::WasmParams,
    R: gc_wasm::WasmResults,
{
    // The register allocator's own verifier takes quadratic time for chains of blocks.
    let engine = Engine::new(config.cranelift_debug_verifier(false).wasm_legacy_exceptions(true))?;
    for function in check(&engine, wat.as_bytes(), None)? {
        if let Some(broken) = function.broken {
            bail!("{}: {broken}", function.name);
        }
    }
    let module = Module::new(&engine, wat)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func(&mut store, "f")?;
    Ok((store, f))
}

/// `calls` calls in one `try_table` with `clauses` clauses. Call `n` throws an exception that the last
/// clause catches. A number and a reference that live into the handler change between the calls, and
/// another reference does not.
fn flat(calls: usize, clauses: usize) -> String {
    let (mut tags, mut catches, mut body) = (String::new(), String::new(), String::new());
    for tag in 0..clauses {
        write!(tags, "(tag $e{tag} (param i32 (ref $s)))").unwrap();
        write!(catches, "(catch $e{tag} $h)").unwrap();
    }
    for call in 0..calls {
        write!(body, "(call $maybe (i32.const {call}) (local.get $n))").unwrap();
        body.push_str("(local.set $count (i32.add (local.get $count) (i32.const 1)))");
        if call % 100 == 99 {
            body.push_str("(local.set $last (struct.new $s (local.get $count)))");
        }
    }
    let last = clauses - 1;
    format!(
        r#"(module (type $s (struct (field i32))) {tags}
            (func $maybe (param $i i32) (param $n i32)
                (if (i32.eq (local.get $i) (local.get $n)) (then
                    (throw $e{last} (local.get $i) (struct.new $s (local.get $i))))))
            (func (export "f") (param $n i32) (result i32)
                (local $kept (ref $s)) (local $last (ref $s)) (local $count i32)
                (local.set $kept (struct.new $s (i32.const 1000000)))
                (local.set $last (struct.new $s (i32.const 0)))
                (block $h (result i32 (ref $s))
                    (try_table {catches} {body})
                    (return (i32.const -1)))
                (struct.get $s 0) (i32.add)
                (i32.add (local.get $count))
                (i32.add (struct.get $s 0 (local.get $last)))
                (i32.add (struct.get $s 0 (local.get $kept)))))"#
    )
}

fn flat_works(config: &mut Config, calls: usize, clauses: usize) -> Result<()> {
    let (mut store, f) = instantiate::<i32, i32>(config, &flat(calls, clauses))?;
    let calls = calls as i32;
    for n in [0, 1, 99, 100, calls / 2, calls - 1] {
        let expected = 3 * n + n / 100 * 100 + 1_000_000;
        assert_eq!(f.call(&mut store, n)?, expected, "call {n} of {calls}");
    }
    assert_eq!(f.call(&mut store, calls)?, -1);
    Ok(())
}

/// The initializers of Kotlin's files have this shape.
#[test]
fn a_try_table_with_very_many_calls() -> Result<()> {
    let inlining = |setting: &Setting, inlining| {
        let mut config = setting.config();
        config.compiler_inlining(inlining);
        config
    };
    each_collector(|setting| {
        let config = &mut inlining(setting, Inlining::No);
        // Handlers do not depend on the collector, so the largest functions are compiled under one.
        if setting.collector.name() == "generational" {
            flat_works(config, 17_000, 1)?;
            flat_works(config, 8_500, 2)?;
        }
        flat_works(config, 500, 40)?;
        flat_works(&mut inlining(setting, Inlining::Yes), 2_000, 2)
    })?;
    everywhere(|setting| flat_works(&mut setting.config(), 300, 1))
}

/// The number of constructs in each other, or of clauses.
const MANY: i32 = 60;

/// Tags, and a function that throws an exception of this tag if both numbers are the same.
fn thrower() -> String {
    let (mut text, mut throws) = (String::new(), String::new());
    for tag in 0..MANY {
        write!(text, "(tag $e{tag} (param i32 (ref $s)))").unwrap();
        write!(throws, "(if (i32.eq (local.get $tag) (i32.const {tag})) (then").unwrap();
        write!(throws, "(throw $e{tag} (local.get $i) (struct.new $s (i32.const 7)))))").unwrap();
    }
    format!(
        "(type $s (struct (field i32))) {text}
        (func $maybe (param $i i32) (param $at i32) (param $tag i32)
            (if (i32.eq (local.get $i) (local.get $at)) (then {throws})))"
    )
}

/// A module with [`thrower`] and a function that gets the number of the call that throws, and the tag.
/// It returns the payload, the number of the clause that caught it times 1000, and what lived across.
fn catching(body: &str) -> String {
    format!(
        r#"(module {}
            (func (export "f") (param $at i32) (param $tag i32) (result i32)
                (local $kept (ref $s))
                (local.set $kept (struct.new $s (i32.const 1000000)))
                (block $out (result i32) {body})
                (i32.add (struct.get $s 0 (local.get $kept)))))"#,
        thrower()
    )
}

/// What [`catching`] returns, if clause `tag` catches what call `at` throws.
fn caught(at: i32, tag: i32) -> i32 {
    1_000_000 + 1000 * tag + at + 7
}

fn call(i: i32) -> String {
    format!("(call $maybe (i32.const {i}) (local.get $at) (local.get $tag))")
}

/// Calls the function of [`catching`] for many pairs of a call and a tag. An exception must be caught
/// exactly if `is_caught`.
fn catches(config: &mut Config, body: &str, is_caught: impl Fn(i32, i32) -> bool) -> Result<()> {
    let (mut store, f) = instantiate::<(i32, i32), i32>(config, &catching(body))?;
    for at in (0..MANY).step_by(7) {
        for tag in (0..MANY).step_by(9).chain([at]) {
            let result = f.call(&mut store, (at, tag));
            match is_caught(at, tag) {
                true => assert_eq!(result?, caught(at, tag), "tag {tag} at {at}"),
                false => {
                    let error = result.expect_err("not caught");
                    assert!(error.is::<ThrownException>(), "tag {tag} at {at}: {error:?}");
                    let thrown = store.take_pending_exception().expect("it is pending");
                    assert_eq!(thrown.field(&mut store, 0)?.i32(), Some(at));
                }
            }
        }
    }
    assert_eq!(f.call(&mut store, (MANY, 0))?, 1_000_000 - 1);
    Ok(())
}

/// Clause `i` belongs to the `i`th of the nested `try_table`s. Each has a call before the next one, and
/// one after it.
#[test]
fn try_tables_in_each_other() -> Result<()> {
    let mut body = "(br $out (i32.const -1))".to_owned();
    for i in (0..MANY).rev() {
        body = format!(
            "(block $h{i} (result i32 (ref $s))
                (try_table (catch $e{i} $h{i}) {} {body})
                (br $out (i32.const -2)))
            (struct.get $s 0) (i32.add)
            (br $out (i32.add (i32.const {})))",
            call(i),
            1000 * i
        );
    }
    everywhere(|setting| catches(&mut setting.config(), &body, |at, tag| tag <= at))
}

/// One `try_table` has all clauses.
#[test]
fn a_try_table_with_very_many_clauses() -> Result<()> {
    let (mut clauses, mut calls) = (String::new(), String::new());
    for i in 0..MANY {
        write!(clauses, "(catch $e{i} $h{i})")?;
        // The second clause with a tag catches nothing.
        write!(clauses, "(catch $e{i} $h0)")?;
        calls.push_str(&call(i));
    }
    let mut body = format!("(try_table {clauses} {calls}) (br $out (i32.const -1))");
    for i in 0..MANY {
        body = format!(
            "(block $h{i} (result i32 (ref $s)) {body})
            (struct.get $s 0) (i32.add) (br $out (i32.add (i32.const {})))",
            1000 * i
        );
    }
    everywhere(|setting| catches(&mut setting.config(), &body, |_, _| true))
}

/// The same with the first version of exceptions. One `try` delegates exceptions over many others.
#[test]
fn legacy_tries_in_each_other() -> Result<()> {
    const OVER: std::ops::Range<i32> = 20..40;
    let mut body = "(i32.const -1)".to_owned();
    for i in (0..MANY).rev() {
        if i + 1 == OVER.end {
            body = format!("try $d (result i32) {body} delegate $l{}", OVER.start);
        }
        body = format!(
            "try $l{i} (result i32) {} {body}
            catch $e{i} (struct.get $s 0) (i32.add) (i32.add (i32.const {})) end",
            call(i),
            1000 * i
        );
    }
    everywhere(|setting| {
        catches(&mut setting.config(), &body, |at, tag| {
            tag <= at && !(at >= OVER.end && tag > OVER.start && tag < OVER.end)
        })
    })
}

/// Fuel is counted on every way to a handler.
#[test]
fn exceptions_that_are_thrown_on_cost_no_fuel() -> Result<()> {
    let nested = |inner: &str| {
        let mut body = inner.to_owned();
        for i in (0..MANY).rev() {
            body = format!("(try_table (catch $e{i} $h) {body})");
        }
        format!(
            r#"(module {}
                (func $throw (throw $e0 (i32.const 0) (struct.new $s (i32.const 0))))
                (func (export "f") (block $h (result i32 (ref $s)) {body} (unreachable)) drop drop))"#,
            thrower()
        )
    };
    each_collector(|setting| {
        let spent = |wat: &str| -> Result<u64> {
            let config = &mut setting.config();
            let (mut store, f) = instantiate::<(), ()>(config.consume_fuel(true), wat)?;
            store.set_fuel(100_000)?;
            f.call(&mut store, ())?;
            Ok(100_000 - store.get_fuel()?)
        };
        let direct =
            nested("(call $throw)").replace(&format!("catch $e{} ", MANY - 1), "catch $e0 ");
        assert_eq!(spent(&nested("(call $throw)"))?, spent(&direct)?);
        Ok(())
    })
}

/// An exception that none of many handlers catches comes from where it was thrown, in guest or host, and a
/// host's error arrives whole.
#[test]
fn what_no_handler_catches_is_not_thrown_on() -> Result<()> {
    #[derive(Debug)]
    struct Own;

    impl std::fmt::Display for Own {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an error of the host")
        }
    }

    for handlers in [1, 16, 17, 33, 90] {
        for nested in [false, true] {
            let clause = |i| format!("(catch $e{i} $h)");
            let body = match nested {
                false => {
                    let clauses: String = (0..handlers).map(clause).collect();
                    format!("(try_table {clauses} (call $mid (local.get $host)))")
                }
                true => (0..handlers).fold("(call $mid (local.get $host))".into(), |body, i| {
                    format!("(try_table {} {body})", clause(i))
                }),
            };
            let tags: String = (0..handlers).map(|i| format!("(tag $e{i})")).collect();
            let wat = format!(
                r#"(module (import "" "host" (func $host)) (tag $other) {tags}
                    (func $deep (throw $other))
                    (func $mid (param $host i32)
                        (if (local.get $host) (then (call $host)) (else (call $deep))))
                    (func $f (export "f") (param $host i32) (block $h {body})))"#
            );
            everywhere(|setting| {
                let mut config = setting.config();
                config.compiler_inlining(Inlining::No);
                let engine = Engine::new(&config)?;
                let module = Module::new(&engine, &wat)?;
                let mut store = Store::new(&engine, ());
                let ty = TagType::new(FuncType::new(&engine, [], []));
                let tag = Tag::new(&mut store, &ty)?;
                let host = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| {
                    let pre = ExnRefPre::new(&mut caller, ExnType::from_tag_type(&ty)?);
                    let exception = ExnRef::new(&mut caller, &pre, &tag, &[])?;
                    let thrown = caller.as_context_mut().throw::<()>(exception);
                    thrown.map_err(|error| error.context(Own))
                });
                let instance = Instance::new(&mut store, &module, &[host.into()])?;
                let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
                for (from_host, names) in [(0, "deep mid f"), (1, "mid f")] {
                    let error = f.call(&mut store, from_host).expect_err("nobody catches it");
                    assert!(error.is::<ThrownException>(), "{handlers}: {error:#}");
                    assert_eq!(error.is::<Own>(), from_host == 1, "{handlers}: {error:#}");
                    assert!(store.take_pending_exception().is_some());
                    let trace = error.downcast_ref::<WasmBacktrace>();
                    if cfg!(feature = "backtrace") {
                        let frames = trace.expect("there is a backtrace").frames();
                        let found: Vec<_> = frames.iter().filter_map(|it| it.func_name()).collect();
                        assert_eq!(found.join(" "), names, "{handlers} handlers");
                    }
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}
