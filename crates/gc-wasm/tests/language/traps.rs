//! Traps of each kind, with the names of the functions in which they happened; errors of host
//! functions; instantiation that fails halfway.

use crate::common::{each_collector, frame_names, message, texts};
use anyhow::{Context, Result, anyhow};
use gc_wasm::{
    Caller, Config, Engine, Extern, Func, HeapType, Instance, Linker, Module, Ref, RefType, Store,
    Table, TableType, Trap, Val, WasmBacktrace,
};

/// For each way in which compiled code can stop: the text of the specification and, below it, the
/// place.
#[test]
fn traps_of_each_kind() -> Result<()> {
    let wat = r#"(module
        (type $s (struct (field (mut i32))))
        (type $t (sub (struct (field i32))))
        (type $a (array (mut i32)))
        (type $f (func (param i32)))
        (memory 1)
        (table $table 2 funcref)
        (table $refs 1 externref)
        (elem $elem externref (ref.null extern))
        (data $data "abc")
        (elem (table $table) (i32.const 0) func $unreachable)
        (func $unreachable (export "unreachable") (unreachable))
        (func (export "div") (drop (i32.div_s (i32.const 1) (i32.const 0))))
        (func (export "rem") (drop (i64.rem_u (i64.const 1) (i64.const 0))))
        (func (export "overflow") (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
        (func (export "nan") (drop (i32.trunc_f32_s (f32.const nan))))
        (func (export "trunc") (drop (i64.trunc_f64_u (f64.const -1))))
        (func (export "load") (drop (i32.load (i32.const 65533))))
        (func (export "store") (i64.store offset=0xffffffff (i32.const 0xffffffff) (i64.const 1)))
        (func (export "fill") (memory.fill (i32.const 65536) (i32.const 0) (i32.const 1)))
        (func (export "copy") (memory.copy (i32.const 0) (i32.const 65530) (i32.const 7)))
        (func (export "init") (memory.init $data (i32.const 0) (i32.const 1) (i32.const 3)))
        (func (export "table.get") (drop (table.get $refs (i32.const 1))))
        (func (export "table.set") (table.set $refs (i32.const -1) (ref.null extern)))
        (func (export "table.fill") (table.fill $refs (i32.const 1) (ref.null extern) (i32.const 1)))
        (func (export "table.init") (table.init $refs $elem (i32.const 0) (i32.const 0) (i32.const 2)))
        (func (export "table.copy")
            (table.copy $refs $refs (i32.const 1) (i32.const 0) (i32.const 1)))
        (func (export "call_indirect out") (call_indirect $table (i32.const 2)))
        (func (export "call_indirect null") (call_indirect $table (i32.const 1)))
        (func (export "call_indirect type")
            (call_indirect $table (type $f) (i32.const 1) (i32.const 0)))
        (func (export "call_ref") (call_ref $f (i32.const 1) (ref.null $f)))
        (func (export "struct.get") (drop (struct.get $s 0 (ref.null $s))))
        (func (export "struct.set") (struct.set $s 0 (ref.null $s) (i32.const 1)))
        (func (export "array.len") (drop (array.len (ref.null $a))))
        (func (export "array.get null") (drop (array.get $a (ref.null $a) (i32.const 0))))
        (func (export "array.get")
            (drop (array.get $a (array.new_default $a (i32.const 3)) (i32.const 3))))
        (func (export "array.set")
            (array.set $a (array.new_default $a (i32.const 3)) (i32.const -1) (i32.const 1)))
        (func (export "array.fill") (array.fill $a (array.new_default $a (i32.const 3))
            (i32.const 2) (i32.const 1) (i32.const 2)))
        (func (export "array.copy") (array.copy $a $a (array.new_default $a (i32.const 3))
            (i32.const 0) (array.new_default $a (i32.const 3)) (i32.const 1) (i32.const 3)))
        (func (export "array.new_data") (drop (array.new_data $a $data (i32.const 0) (i32.const 1))))
        (func (export "array.new") (drop (array.new_default $a (i32.const -1))))
        (func (export "as_non_null") (drop (ref.as_non_null (ref.null any))))
        (func (export "cast") (drop (ref.cast (ref $t) (struct.new $s (i32.const 1)))))
        (func (export "cast null") (drop (ref.cast (ref $t) (ref.null any))))
        (func (export "i31") (drop (i31.get_s (ref.null i31)))))"#;
    let cases = [
        ("unreachable", Trap::UnreachableCodeReached, "wasm `unreachable` instruction executed"),
        ("div", Trap::IntegerDivisionByZero, "integer divide by zero"),
        ("rem", Trap::IntegerDivisionByZero, "integer divide by zero"),
        ("overflow", Trap::IntegerOverflow, "integer overflow"),
        ("nan", Trap::BadConversionToInteger, "invalid conversion to integer"),
        ("trunc", Trap::IntegerOverflow, "integer overflow"),
        ("load", Trap::MemoryOutOfBounds, "out of bounds memory access"),
        ("store", Trap::MemoryOutOfBounds, "out of bounds memory access"),
        ("fill", Trap::MemoryOutOfBounds, "out of bounds memory access"),
        ("copy", Trap::MemoryOutOfBounds, "out of bounds memory access"),
        ("init", Trap::MemoryOutOfBounds, "out of bounds memory access"),
        ("table.get", Trap::TableOutOfBounds, "undefined element: out of bounds table access"),
        ("table.set", Trap::TableOutOfBounds, "undefined element: out of bounds table access"),
        ("table.fill", Trap::TableOutOfBounds, "undefined element: out of bounds table access"),
        ("table.init", Trap::TableOutOfBounds, "undefined element: out of bounds table access"),
        ("table.copy", Trap::TableOutOfBounds, "undefined element: out of bounds table access"),
        (
            "call_indirect out",
            Trap::TableOutOfBounds,
            "undefined element: out of bounds table access",
        ),
        ("call_indirect null", Trap::IndirectCallToNull, "uninitialized element"),
        ("call_indirect type", Trap::BadSignature, "indirect call type mismatch"),
        ("call_ref", Trap::NullReference, "null reference"),
        ("struct.get", Trap::NullReference, "null reference"),
        ("struct.set", Trap::NullReference, "null reference"),
        ("array.len", Trap::NullReference, "null reference"),
        ("array.get null", Trap::NullReference, "null reference"),
        ("array.get", Trap::ArrayOutOfBounds, "out of bounds array access"),
        ("array.set", Trap::ArrayOutOfBounds, "out of bounds array access"),
        (
            "array.fill",
            Trap::ArrayOutOfBounds,
            "out of bounds array access: 2 elements from 2 of an array of 3",
        ),
        (
            "array.copy",
            Trap::ArrayOutOfBounds,
            "out of bounds array access: 3 elements from 1 of an array of 3",
        ),
        ("array.new_data", Trap::MemoryOutOfBounds, "out of bounds memory access"),
        (
            "array.new",
            Trap::AllocationTooLarge,
            "allocation size too large: an object of length 4294967295",
        ),
        ("as_non_null", Trap::NullReference, "null reference"),
        ("cast", Trap::CastFailure, "cast failure"),
        ("cast null", Trap::CastFailure, "cast failure"),
        ("i31", Trap::NullReference, "null reference"),
    ];
    each_collector(|setting| {
        let (mut store, instance) = setting.instantiate(wat, &[])?;
        for (name, trap, text) in cases {
            let f = instance.get_typed_func::<(), ()>(&mut store, name)?;
            let error = f.call(&mut store, ()).expect_err(name);
            assert_eq!(error.downcast_ref(), Some(&trap), "{name}");
            assert_eq!(error.root_cause().to_string(), trap.to_string(), "{name}");
            // What the heap says stands before the trap.
            let shown = texts(&error);
            assert_eq!(shown.last(), Some(&trap.to_string()), "{name}");
            let whole = shown.iter().rev().cloned().collect::<Vec<_>>().join(": ");
            assert!(
                whole.starts_with(&trap.to_string())
                    && whole.ends_with(text)
                    && text.starts_with(trap.reason()),
                "{name}: {whole}"
            );
            let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
                let expected = cfg!(feature = "backtrace");
                assert!(!expected, "{name}: no backtrace");
                continue;
            };
            assert_eq!(error.to_string(), backtrace.to_string(), "{name}");
            assert_eq!(backtrace.frames().len(), 1, "{name}: {backtrace}");
            let lines: Vec<String> = backtrace.to_string().lines().map(str::to_owned).collect();
            assert_eq!(lines.len(), 2, "{name}: {backtrace}");
            assert_eq!(lines[0], "error while executing at wasm backtrace:", "{name}");
            let place =
                lines[1].split_once(": ").map(|(number, place)| (number.trim(), place.trim()));
            let (number, place) = place.with_context(|| name.to_string())?;
            assert_eq!(number, "0", "{name}");
            assert!(place.starts_with("0x"), "{name}: {place}");
            assert!(place.ends_with(&format!(" - <unknown>!{name}")), "{name}: {place}");
        }
        Ok(())
    })
}

#[cfg(feature = "backtrace")]
const NAMES: &str = r#"(module $calculator
    (import "host" "call" (func $host (param funcref)))
    (func $inner (param i32) (result i32) (i32.div_u (i32.const 1) (local.get 0)))
    (func $middle (export "exported") (param i32) (result i32)
        (i32.add (i32.const 1) (call $inner (local.get 0))))
    (func (export "unnamed") (param i32) (result i32)
        (i32.add (i32.const 1) (call $middle (local.get 0))))
    (func (param i32) (result i32) (i32.add (i32.const 1) (call 3 (local.get 0))))
    (func $outer (export "outer") (param i32) (result i32)
        (i32.add (i32.const 1) (call 4 (local.get 0))))
    (elem declare func $again)
    (func $again (drop (call $middle (i32.const 0))))
    (func $through_host (export "through_host") (call $host (ref.func $again)) (nop)))"#;

#[cfg(feature = "backtrace")]
#[test]
fn backtraces_name_functions() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, f: Option<Func>| {
            f.context("not null")?.typed::<(), ()>(&caller)?.call(&mut caller, ())
        });
        let module = Module::new(&engine, NAMES)?;
        assert_eq!(module.name(), Some("calculator"));
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let names = |error: &anyhow::Error| -> Result<Vec<Option<String>>> {
            assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
            let backtrace = error.downcast_ref::<WasmBacktrace>().context("a backtrace")?;
            let names = backtrace.frames().iter().map(|frame| frame.func_name().map(str::to_owned));
            Ok(names.collect())
        };
        let some = |names: &[&str]| -> Vec<Option<String>> {
            names.iter().map(|name| (!name.is_empty()).then(|| name.to_string())).collect()
        };
        let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer")?;
        assert_eq!(outer.call(&mut store, 1)?, 5);
        let error = outer.call(&mut store, 0).unwrap_err();
        let shown = error.to_string();
        assert_eq!(names(&error)?, some(&["inner", "middle", "unnamed", "", "outer"]));
        // Each line has a place in the module, which another test examines.
        let lines: Vec<String> = shown
            .lines()
            .map(|line| match line.split_once("0x") {
                Some((number, place)) => {
                    format!(
                        "{}{}",
                        number.trim(),
                        place.split_once(" - ").map_or("", |(_, name)| name)
                    )
                }
                None => line.to_owned(),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "error while executing at wasm backtrace:",
                "0:calculator!inner",
                "1:calculator!middle",
                "2:calculator!unnamed",
                "3:calculator!<wasm function 4>",
                "4:calculator!outer"
            ]
        );
        let frames = error.downcast_ref::<WasmBacktrace>().context("a backtrace")?.frames();
        let indices: Vec<u32> = frames.iter().map(|frame| frame.func_index()).collect();
        assert_eq!(indices, [1, 2, 3, 4, 5]);
        assert!(frames.iter().all(|frame| frame.module().name() == Some("calculator")));
        assert_eq!(error.root_cause().to_string(), "wasm trap: integer divide by zero");
        let through = instance.get_typed_func::<(), ()>(&mut store, "through_host")?;
        let error = through.call(&mut store, ()).unwrap_err();
        assert_eq!(names(&error)?, some(&["inner", "middle", "again", "through_host"]));
        Ok(())
    })
}

#[cfg(feature = "backtrace")]
#[test]
fn backtraces_say_where_in_the_module() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let wat = r#"(module (func $f (export "f") (nop) (nop) (unreachable)))"#;
    let module = Module::new(&engine, wat)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
    let error = f.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
    // The offset in the module's bytes, as disassemblers show it.
    let bytes = wat::parse_str(wat)?;
    let frame = &error.downcast_ref::<WasmBacktrace>().context("a backtrace")?.frames()[0];
    let at = frame.module_offset().context("a location")?;
    assert_eq!(bytes[at - 2..=at], [1, 1, 0]);
    // The body begins with its number of locals, and ends with the code.
    assert_eq!(frame.func_offset(), Some(3));
    Ok(())
}

/// Errors of the host arrive unchanged.
#[test]
fn errors_of_host_functions() -> Result<()> {
    #[derive(Debug, PartialEq)]
    struct Mine(u32);
    impl std::fmt::Display for Mine {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "my error {}", self.0)
        }
    }
    impl std::error::Error for Mine {}

    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let fail = Func::wrap(&mut store, |how: i32| -> Result<()> {
            match how {
                0 => Ok(()),
                1 => Err(Mine(7).into()),
                2 => Err(anyhow!(Mine(8)).context("around it")),
                3 => Err(Trap::OutOfMemory.into()),
                4 => Err(anyhow!(Trap::OutOfMemory).context("no room")),
                _ => anyhow::bail!("only words"),
            }
        });
        let module = Module::new(
            &engine,
            r#"(module (import "" "fail" (func $fail (param i32)))
                (func $f (export "f") (param i32) (call $fail (local.get 0))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[fail.into()])?;
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
        f.call(&mut store, 0)?;
        let error = f.call(&mut store, 1).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Mine(7)));
        assert_eq!(texts(&error), ["my error 7"]);
        assert_eq!(error.root_cause().to_string(), "my error 7");
        if cfg!(feature = "backtrace") {
            assert_eq!(frame_names(&error), ["f"]);
        }
        let error = f.call(&mut store, 2).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Mine(8)));
        assert_eq!(texts(&error), ["around it", "my error 8"]);
        let error = f.call(&mut store, 3).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::OutOfMemory));
        if cfg!(feature = "backtrace") {
            assert_eq!(frame_names(&error), ["f"]);
        }
        let error = f.call(&mut store, 4).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::OutOfMemory));
        assert_eq!(message(f.call(&mut store, 5)), "only words");
        f.call(&mut store, 0)?;
        // The same without WebAssembly in between.
        assert_eq!(message(fail.call(&mut store, &[Val::I32(1)], &mut [])), "my error 7");
        Ok(())
    })
}

/// An error passes through all activations unless one catches it.
#[test]
fn errors_through_nested_activations() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, Vec::<String>::new());
        let mut linker: Linker<Vec<String>> = Linker::new(&engine);
        linker.func_wrap(
            "",
            "down",
            |mut caller: Caller<'_, Vec<String>>, n: i32| -> Result<i32> {
                if n == 0 {
                    anyhow::bail!("the bottom");
                }
                let go =
                    caller.get_export("go").and_then(Extern::into_func).context("an export")?;
                let result = go.typed::<i32, i32>(&caller)?.call(&mut caller, n - 1);
                match result {
                    // One catches the error and continues.
                    Err(error) if n == 4 => {
                        caller.data_mut().push(texts(&error).join(": "));
                        Ok(100)
                    }
                    Err(error) => Err(error.context(format!("level {n}"))),
                    Ok(value) => Ok(value),
                }
            },
        )?;
        let module = Module::new(
            &engine,
            r#"(module (import "" "down" (func $down (param i32) (result i32)))
                (func (export "go") (param i32) (result i32)
                    (i32.add (call $down (local.get 0)) (i32.const 1))))"#,
        )?;
        let instance = linker.instantiate(&mut store, &module)?;
        let go = instance.get_typed_func::<i32, i32>(&mut store, "go")?;
        assert_eq!(message(go.call(&mut store, 3)), "level 3: level 2: level 1: the bottom");
        assert_eq!(go.call(&mut store, 6)?, 103);
        assert_eq!(store.data()[..], ["level 3: level 2: level 1: the bottom"]);
        Ok(())
    })
}

#[test]
fn instantiation_that_fails_leaves_the_store_usable() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ());
        let cases = [
            (
                "(module (table 1 funcref) (elem (i32.const 0) $f $f) (func $f))",
                "element segment 0: wasm trap: undefined element: out of bounds table access",
            ),
            (
                r#"(module (memory 1) (data (i32.const 0) "a") (data (i32.const 65536) "b"))"#,
                "data segment 1: wasm trap: out of bounds memory access",
            ),
            (
                "(module (type $a (array i64)) (global (ref $a)
                    (array.new_default $a (i32.const 0x7fffffff))))",
                "global 0: allocating an array: allocation size too large: an object of length 2147483647",
            ),
            (
                "(module (type $a (array i64)) (global i32 (i32.const 1))
                    (global (ref $a) (array.new $a (i64.const 7) (i32.const 0x1000000))))",
                "global 1: allocating an array: GC heap out of memory: 134217744 bytes more do not fit \
                 its limit of 67108864 bytes",
            ),
            (
                "(module (table 20000000 funcref))",
                "table 0 cannot have 20000000 elements: a table of 20000000 elements exceeds the limit of 10000000 elements",
            ),
        ];
        for (wat, expected) in cases {
            let module = Module::new(&engine, wat)?;
            assert_eq!(message(Instance::new(&mut store, &module, &[])), expected, "{wat}");
        }
        let module = Module::new(
            &engine,
            r#"(module (func $bad (unreachable)) (func $start (call $bad)) (start $start)
                (func (export "f")))"#,
        )?;
        let error = Instance::new(&mut store, &module, &[]).unwrap_err();
        assert_eq!(texts(&error), ["wasm trap: wasm `unreachable` instruction executed"]);
        if cfg!(feature = "backtrace") {
            assert_eq!(frame_names(&error), ["bad", "start"]);
        }
        assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));

        store.gc(None)?;
        let module = Module::new(
            &engine,
            r#"(module (type $a (array i64)) (func (export "f") (result i32)
                (array.len (array.new_default $a (i32.const 1000)))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, ())?, 1000);
        Ok(())
    })
}

/// Changes that a failed instantiation made to its imports stay, as the specification says.
#[test]
fn instantiation_that_fails_keeps_what_it_wrote() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let ty = TableType::new(RefType::new(true, HeapType::Func), 2, None);
    let table = Table::new(&mut store, ty, Ref::Func(None))?;
    let module = Module::new(
        &engine,
        r#"(module (import "" "t" (table 2 funcref))
            (func $f (result i32) (i32.const 7))
            (elem (i32.const 1) $f) (elem (i32.const 2) $f))"#,
    )?;
    assert_eq!(
        message(Instance::new(&mut store, &module, &[table.into()])),
        "element segment 1: wasm trap: undefined element: out of bounds table access"
    );
    drop(module);
    let func = table.get(&mut store, 1).context("an element")?.unwrap_func().copied();
    let func = func.context("a function")?.typed::<(), i32>(&store)?;
    assert_eq!(func.call(&mut store, ())?, 7);
    Ok(())
}
