//! Tests of what custom sections say: names in messages, sections that are kept, and hints of
//! branches.

use crate::common::{frame_names, message, trap};
use anyhow::Result;
use gc_wasm::explore::{Emit, explore};
use gc_wasm::{AsContextMut, Config, Engine, Instance, Module, Store, Trap};

/// A module in memory and the same one after it was saved and loaded.
fn also_saved(engine: &Engine, wat: &str) -> Result<[Module; 2]> {
    let module = Module::new(engine, wat)?;
    let bytes = module.serialize()?;
    // SAFETY: these are the bytes of a saved module.
    let saved = unsafe { Module::deserialize(engine, bytes)? };
    Ok([module, saved])
}

#[test]
fn items_are_named() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    for (wat, expected) in [
        ("(module (memory 1) (memory $m i64 70000))", "allocating memory 1 `m`: a memory"),
        ("(module (table $t 20000000 funcref))", "table 0 `t` cannot have"),
        (
            "(module (memory 1) (data $d (i32.const -1) \"abc\"))",
            "data segment 0 `d`: wasm trap: out of bounds",
        ),
        (
            "(module (table 1 funcref) (elem $e (i32.const 1) func 0) (func))",
            "element segment 0 `e`: wasm trap: undefined element: out of bounds",
        ),
        (
            "(module (type $a (array i64))
                (global $g (ref $a) (array.new_default $a (i32.const 0x7fffffff))))",
            "global 0 `g`: allocating an array",
        ),
    ] {
        for module in also_saved(&engine, wat)? {
            let error = message(Instance::new(&mut Store::new(&engine, ()), &module, &[]));
            assert!(error.contains(expected), "{error}");
        }
    }
    Ok(())
}

#[test]
fn saved_modules_keep_names_and_sections() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let wat = r#"(module $app
        (@custom "before" (before first) "one")
        (func $inner unreachable)
        (func (export "run") (call $inner))
        (tag $problem (param i32))
        (func (export "throw") (throw $problem (i32.const 1)))
        (@custom "after" "two")
        (@custom "after" (after last) "three"))"#;
    for module in also_saved(&engine, wat)? {
        let sections = |name| module.custom_sections(name).collect::<Vec<_>>();
        assert_eq!(sections("before"), [b"one"]);
        assert_eq!(sections("after"), [&b"two"[..], b"three"]);
        assert_eq!(sections("name").len(), 1);
        assert!(sections("other").is_empty());
        assert_eq!(module.name(), Some("app"));
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "run")?;
        let error = run.call(&mut store, ()).unwrap_err();
        if cfg!(feature = "backtrace") {
            assert_eq!(frame_names(&error), ["inner", "run"]);
            assert!(error.to_string().contains("app!inner"), "{error}");
        }
        assert_eq!(trap::<()>(Err(error)), Trap::UnreachableCodeReached);
        let throw = instance.get_typed_func::<(), ()>(&mut store, "throw")?;
        throw.call(&mut store, ()).unwrap_err();
        let exception = store.as_context_mut().take_pending_exception().unwrap();
        let tag = exception.tag(&mut store)?;
        assert_eq!(tag.name(&store).as_deref(), Some("problem"));
    }
    Ok(())
}

#[test]
fn listings_have_names() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let wat = r#"(module (type $node (struct (field $value i32)))
        (type (array i8))
        (func $f (param $x (ref $node)) (param (ref null 1) i64) (result (ref $node))
            (local i32) (local $i i32) (local.get $x)))"#;
    let listings = explore(&engine, wat.as_bytes(), Emit::Clif, None)?;
    assert_eq!(
        listings[0].signature,
        "(param $x (ref $node)) (param (ref null 1)) (param i64) (result (ref $node)) (local 4 $i)"
    );
    Ok(())
}

/// A custom section with this name and content.
fn custom(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![name.len() as u8];
    bytes.extend(name.as_bytes());
    bytes.extend(content);
    [vec![0, bytes.len() as u8], bytes].concat()
}

#[test]
fn malformed_sections_are_ignored() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let module = wat::parse_str(
        r#"(module (func (export "f") (param i32) (result i32)
            (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2)))))"#,
    )?;
    let hints = "metadata.code.branch_hint";
    for section in [
        custom("name", b"\x01\xff\xff\xff"),
        custom("name", b"\x04\x03\x01\x07\x01x"),
        custom(hints, b""),
        custom(hints, b"\x01\x00\x01\x05\x01\x02"),
        custom(hints, b"\x01\x00\x01\x05\x02\x00"),
        // No function and no branch there.
        custom(hints, b"\x01\x63\x01\x05\x01\x00"),
        custom(hints, b"\x01\x00\x01\x63\x01\x00"),
        custom(hints, b"\x01\x00\x01\xff\xff\xff\xff\x0f\x01\x00"),
        // Not in order.
        custom(hints, b"\x02\x00\x01\x03\x01\x00\x00\x01\x03\x01\x00"),
        custom(hints, b"\x01\x00\x02\x03\x01\x00\x03\x01\x00"),
    ] {
        for at in [8, module.len()] {
            let bytes = [&module[..at], &section, &module[at..]].concat();
            let mut store = Store::new(&engine, ());
            let module = Module::new(&engine, &bytes)?;
            let instance = Instance::new(&mut store, &module, &[])?;
            let f = instance.get_typed_func::<i32, i32>(&mut store, "f")?;
            assert_eq!((f.call(&mut store, 1)?, f.call(&mut store, 0)?), (1, 2));
        }
    }
    Ok(())
}

/// The unlikely side of a branch is cold, and the results are the same.
#[test]
fn hints_make_blocks_cold() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let module = |hint: &str| {
        format!(
            r#"(module
            (func $if (export "if") (param i32) (result i32)
                local.get 0
                {hint} if (result i32) (i32.const 10) else (i32.const 20) end)
            (func $br_if (export "br_if") (param i32) (result i32)
                (block $out (result i32)
                    (i32.const 30)
                    (local.get 0)
                    {hint} br_if $out
                    (drop) (i32.const 40))))"#
        )
    };
    let likely = r#"(@metadata.code.branch_hint "\01")"#;
    let unlikely = r#"(@metadata.code.branch_hint "\00")"#;
    for (hint, cold) in [("", false), (likely, true), (unlikely, true)] {
        let wat = module(hint);
        for listing in explore(&engine, wat.as_bytes(), Emit::Clif, None)? {
            assert_eq!(listing.text.contains(" cold:"), cold, "{hint}\n{}", listing.text);
        }
        for module in also_saved(&engine, &wat)? {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            for (name, yes, no) in [("if", 10, 20), ("br_if", 30, 40)] {
                let f = instance.get_typed_func::<i32, i32>(&mut store, name)?;
                assert_eq!((f.call(&mut store, 1)?, f.call(&mut store, 0)?), (yes, no), "{hint}");
            }
        }
    }
    let clif = |hint, name| {
        let listings = explore(&engine, module(hint).as_bytes(), Emit::Clif, Some(name));
        listings.map(|listings| listings[0].text.clone())
    };
    // The arms are blocks 3 and 4: `then` and `else`.
    assert!(clif(likely, "if")?.contains("block4 cold:"), "{}", clif(likely, "if")?);
    assert!(clif(unlikely, "if")?.contains("block3 cold:"), "{}", clif(unlikely, "if")?);
    Ok(())
}
