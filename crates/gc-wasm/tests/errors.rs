//! The text of errors as a user reads it: what is wrong, where, and what was
//! expected.

mod common;

use anyhow::{Context, Result, anyhow};
use common::{each_collector, message};
use gc_wasm::{
    Caller, Config, Engine, Extern, Func, FuncType, Global, GlobalType, HeapType, Instance, Linker,
    Memory, MemoryType, Module, Mutability, RefType, Rooted, Store, StructRef, Table, TableType,
    Trap, TrapError, Val, ValType,
};

fn compile(wat: &str) -> Result<Module> {
    Module::new(&Engine::new(&Config::new())?, wat)
}

#[test]
fn text_that_does_not_parse() {
    assert_eq!(
        message(compile("(module\n  (func (result i32)\n    (i32.cnost 1)))")),
        "parsing the text format: unknown operator or unexpected token\n     --> <anon>:3:6\n      \
         |\n    3 |     (i32.cnost 1)))\n      |      ^"
    );
}

#[test]
fn bytes_that_are_no_module() {
    let engine = Engine::new(&Config::new()).unwrap();
    assert_eq!(
        message(Module::from_binary(&engine, b"\x7fELF\x02\x01\x01\0")),
        "magic header not detected: not a WebAssembly module, which would not begin with the \
         bytes 7f 45 4c 46"
    );
    assert_eq!(
        message(Module::from_binary(&engine, b"\0asm\x01\0\0")),
        "unexpected end-of-file (at offset 0x4)"
    );
    assert_eq!(
        message(Module::from_file(&engine, "/no/such/module.wasm")),
        "reading /no/such/module.wasm: No such file or directory (os error 2)"
    );
}

#[test]
fn modules_that_do_not_validate() {
    let cases = [
        (
            r#"(module (func $twice (export "double") (param i32) (result i32)
                (i64.add (local.get 0) (local.get 0))))"#,
            "function 0 `twice`: type mismatch: expected i64, found i32 (at offset 0x29)",
        ),
        (
            r#"(module (func (export "double") (result i32)))"#,
            "function 0 `double`: type mismatch: expected i32 but nothing on stack (at offset 0x24)",
        ),
        (
            "(module (type $s (struct (field i32))) (func (param (ref $s))
                (struct.set $s 0 (local.get 0) (i32.const 1))))",
            "function 0 `func[0]`: invalid struct modification: struct field is immutable (at offset 0x21)",
        ),
        (
            "(module (type $a (array i8)) (func (param (ref $a)) (result i32)
                (array.get $a (local.get 0) (i32.const 1))))",
            "function 0 `func[0]`: cannot use array.get with packed storage types (at offset 0x21)",
        ),
        (
            "(module (type $a (struct)) (type $b (sub $a (struct))))",
            "sub type cannot have a final super type (at offset 0xd)",
        ),
        (
            "(module (global i32 (i32.div_s (i32.const 1) (i32.const 1))))",
            "constant expression required: non-constant operator: visit_i32_div_s (at offset 0x11)",
        ),
        (
            r#"(module (func (export "a")) (func (export "a")))"#,
            "duplicate export name `a` already defined (at offset 0x1a)",
        ),
        (
            "(module (func (local v128)))",
            "function 0 `func[0]`: SIMD support is not enabled (at offset 0x17)",
        ),
        ("(module (memory i64 1))", "memory64 must be enabled for 64-bit memories (at offset 0xb)"),
        ("(module (tag))", "exceptions proposal not enabled (at offset 0x10)"),
        (
            "(module (func $f return_call $f))",
            "function 0 `f`: tail calls support is not enabled (at offset 0x17)",
        ),
        (
            "(component)",
            "unknown binary version 13: a component, not a module, which is unsupported",
        ),
    ];
    for (wat, expected) in cases {
        assert_eq!(message(compile(wat)), expected, "{wat}");
    }
}

fn store(engine: &Engine) -> Result<Store<()>> {
    Store::new(engine, ())
}

#[test]
fn imports_that_are_missing_or_wrong() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine)?;
    let linker = Linker::new(&engine);
    let missing = |wat: &str, store: &mut Store<()>| -> Result<String> {
        Ok(message(linker.instantiate(store, &Module::new(&engine, wat)?)))
    };
    assert_eq!(
        missing(
            r#"(module (import "env" "log" (func (param i32 f64) (result externref))))"#,
            &mut store
        )?,
        "unknown import: `env` `log` of type (func (param i32 f64) (result externref)) has not been defined"
    );
    assert_eq!(
        missing(r#"(module (import "env" "g" (global (mut anyref))))"#, &mut store)?,
        "unknown import: `env` `g` of type (global (mut anyref)) has not been defined"
    );
    assert_eq!(
        missing(r#"(module (import "env" "t" (table 1 2 funcref)))"#, &mut store)?,
        "unknown import: `env` `t` of type (table 1 2 funcref) has not been defined"
    );
    assert_eq!(
        missing(r#"(module (import "env" "m" (memory 3)))"#, &mut store)?,
        "unknown import: `env` `m` of type (memory 3) has not been defined"
    );

    let func = Func::wrap(&mut store, |a: i32| a)?;
    let global = GlobalType::new(ValType::I32, Mutability::Const);
    let global = Global::new(&mut store, global, Val::I32(1))?;
    let table = TableType::new(RefType::new(true, HeapType::Func), 1, None);
    let table = Table::new(&mut store, table, Val::FuncRef(None))?;
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    let cases: [(&str, Extern, &str); 9] = [
        (
            "(func (param i64) (result i32))",
            func.into(),
            "expected (func (param i64) (result i32)), found (func (param i32) (result i32))",
        ),
        ("(func)", global.into(), "expected (func), found (global i32)"),
        ("(global i64)", global.into(), "expected (global i64), found (global i32)"),
        ("(global (mut i32))", global.into(), "expected (global (mut i32)), found (global i32)"),
        ("(table 2 funcref)", table.into(), "expected (table 2 funcref), found (table 1 funcref)"),
        (
            "(table 1 5 funcref)",
            table.into(),
            "expected (table 1 5 funcref), found (table 1 funcref)",
        ),
        (
            "(table 1 externref)",
            table.into(),
            "expected (table 1 externref), found (table 1 funcref)",
        ),
        ("(memory 2)", memory.into(), "expected (memory 2), found (memory 1 2)"),
        ("(memory 1 1)", memory.into(), "expected (memory 1 1), found (memory 1 2)"),
    ];
    for (wanted, given, expected) in cases {
        let module = Module::new(&engine, format!(r#"(module (import "a" "b" {wanted}))"#))?;
        assert_eq!(
            message(Instance::new(&mut store, &module, &[given])),
            format!("incompatible import type for `a` `b`: {expected}")
        );
    }
    let module = Module::new(&engine, r#"(module (import "a" "b" (func)))"#)?;
    assert_eq!(message(Instance::new(&mut store, &module, &[])), "expected 1 imports, got 0");

    // Types of the module's own are shown by their structure.
    let module = Module::new(
        &engine,
        r#"(module (type $p (struct (field i32) (field (mut (ref null $p)))))
            (import "a" "b" (func (param (ref $p)))))"#,
    )?;
    assert_eq!(
        message(Instance::new(&mut store, &module, &[func.into()])),
        "incompatible import type for `a` `b`: expected (func (param (ref (struct (field i32) \
         (field (mut (ref null struct))))))), found (func (param i32) (result i32))"
    );

    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("env", "f", || {})?;
    assert_eq!(message(linker.func_wrap("env", "f", || {})), "`env` `f` is defined twice");
    Ok(())
}

#[test]
fn calls_with_wrong_arguments() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine)?;
    let module = Module::new(
        &engine,
        r#"(module
            (type $p (struct (field i32)))
            (type $q (struct (field i64)))
            (func (export "add") (param i32 i32) (result i32)
                (i32.add (local.get 0) (local.get 1)))
            (func (export "p") (param (ref $p)))
            (func (export "some") (param (ref any)))
            (func (export "q") (result (ref $q)) (struct.new $q (i64.const 1))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let add = instance.get_func(&mut store, "add").context("an export")?;
    let mut one = [Val::I32(0)];
    assert_eq!(
        message(add.call(&mut store, &[Val::I32(1)], &mut one)),
        "expected 2 arguments, got 1"
    );
    assert_eq!(
        message(add.call(&mut store, &[Val::I32(1); 3], &mut one)),
        "expected 2 arguments, got 3"
    );
    assert_eq!(
        message(add.call(&mut store, &[Val::I32(1); 2], &mut [])),
        "expected room for 1 results, got 0"
    );
    assert_eq!(
        message(add.call(&mut store, &[Val::I32(1), Val::from(1.5_f64)], &mut one)),
        "argument 1: type mismatch: expected i32, found an f64"
    );
    assert_eq!(
        message(add.call(&mut store, &[Val::ExternRef(None), Val::I32(1)], &mut one)),
        "argument 0: type mismatch: expected i32, found a null external reference"
    );
    let p = instance.get_func(&mut store, "p").context("an export")?;
    assert_eq!(
        message(p.call(&mut store, &[Val::AnyRef(None)], &mut [])),
        "argument 0: type mismatch: expected (ref (struct (field i32))), found a null internal reference"
    );
    let q = instance.get_typed_func::<(), Rooted<StructRef>>(&mut store, "q")?;
    let wrong = q.call(&mut store, ())?;
    let expected = "type mismatch: expected (ref (struct (field i32))), \
                    found an internal reference to (struct (field i64))";
    assert_eq!(
        message(p.call(&mut store, &[wrong.to_anyref().into()], &mut [])),
        format!("argument 0: {expected}")
    );
    let typed = p.typed::<Rooted<StructRef>, ()>(&store)?;
    assert_eq!(message(typed.call(&mut store, wrong)), format!("argument 0: {expected}"));
    let some = instance.get_func(&mut store, "some").context("an export")?;
    assert_eq!(
        message(some.call(&mut store, &[Val::AnyRef(None)], &mut [])),
        "argument 0: type mismatch: expected (ref any), found a null internal reference"
    );

    assert_eq!(
        message(instance.get_typed_func::<(), ()>(&mut store, "ad")),
        "there is no exported function `ad`"
    );
    assert_eq!(
        message(instance.get_typed_func::<i32, i32>(&mut store, "add")),
        "the exported function `add`: number of parameters: it has 2, not 1"
    );
    assert_eq!(
        message(instance.get_typed_func::<(i32, i64), i32>(&mut store, "add")),
        "the exported function `add`: parameter 1: type mismatch: it is i32, not i64"
    );
    assert_eq!(
        message(instance.get_typed_func::<(i32, i32), f32>(&mut store, "add")),
        "the exported function `add`: result 0: type mismatch: it is i32, not f32"
    );
    assert_eq!(
        message(instance.get_typed_func::<(i32, i32), ()>(&mut store, "add")),
        "the exported function `add`: number of results: it has 1, not 0"
    );
    Ok(())
}

#[test]
fn globals_and_tables_given_the_wrong_value() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine)?;
    let ty = GlobalType::new(ValType::I32, Mutability::Const);
    let expected = "the global's value: type mismatch: expected i32, found an i64";
    assert_eq!(message(Global::new(&mut store, ty.clone(), Val::I64(1))), expected);
    let global = Global::new(&mut store, ty, Val::I32(1))?;
    assert_eq!(message(global.set(&mut store, Val::I32(2))), "the global is not mutable");
    let ty = TableType::new(RefType::new(false, HeapType::I31), 1, Some(3));
    let expected = "the table's element: type mismatch: expected (ref i31), \
                    found a null internal reference";
    assert_eq!(message(Table::new(&mut store, ty, Val::AnyRef(None))), expected);
    let ty = TableType::new(RefType::new(true, HeapType::Extern), 1, Some(3));
    let table = Table::new(&mut store, ty, Val::ExternRef(None))?;
    assert_eq!(
        message(table.set(&mut store, 1, Val::ExternRef(None))),
        "out of bounds table access"
    );
    assert_eq!(
        message(table.grow(&mut store, 3, Val::ExternRef(None))),
        "a table of 1 elements cannot grow by 3"
    );
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    assert_eq!(message(memory.grow(&mut store, 2)), "a memory of 1 pages cannot grow by 2");
    assert_eq!(
        message(Memory::new(&mut store, MemoryType::new(3, Some(2)))),
        "a memory of 3 pages passes the limit of 2 pages"
    );
    Ok(())
}

#[test]
fn engines_that_cannot_be() {
    assert_eq!(
        message(Engine::new(Config::new().gc_heap_maximum(1000))),
        "engine configuration: the GC heap's maximum must be between 131072 bytes and 4 GiB"
    );
    assert_eq!(
        message(Engine::new(Config::new().max_wasm_stack(100))),
        "engine configuration: the stack for compiled code must be at least 16 KiB"
    );
}

/// Each way compiled code can stop, the text of the specification and, below it,
/// where it was.
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
        ("unreachable", Trap::Unreachable, "wasm `unreachable` instruction executed"),
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
        ("table.get", Trap::TableOutOfBounds, "out of bounds table access"),
        ("table.set", Trap::TableOutOfBounds, "out of bounds table access"),
        ("table.fill", Trap::TableOutOfBounds, "out of bounds table access"),
        ("table.init", Trap::TableOutOfBounds, "out of bounds table access"),
        ("table.copy", Trap::TableOutOfBounds, "out of bounds table access"),
        (
            "call_indirect out",
            Trap::UndefinedElement,
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
            let error = error.downcast_ref::<TrapError>().with_context(|| name.to_string())?;
            assert_eq!(error.trap, trap, "{name}");
            let shown = error.to_string();
            let (first, rest) = shown.split_once('\n').context("a backtrace")?;
            assert!(
                first.starts_with(&trap.to_string()) && first.ends_with(text),
                "{name}: {first}"
            );
            assert!(rest.starts_with(&format!("   0: {name}\n        at ")), "{name}: {rest}");
            assert_eq!(error.backtrace.frames().len(), 1, "{name}: {rest}");
        }
        Ok(())
    })
}

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

#[test]
fn backtraces_name_functions() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ())?;
        let host = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, f: Option<Func>| {
            f.context("not null")?.typed::<(), ()>(&caller)?.call(&mut caller, ())
        })?;
        let module = Module::new(&engine, NAMES)?;
        assert_eq!(module.name(), Some("calculator"));
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let names = |error: anyhow::Error| -> Result<Vec<String>> {
            let error: TrapError = error.downcast()?;
            Ok(error.backtrace.frames().iter().map(|frame| frame.name.clone()).collect())
        };
        let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer")?;
        assert_eq!(outer.call(&mut store, 1)?, 5);
        let error = outer.call(&mut store, 0).unwrap_err();
        let shown = error.to_string();
        assert_eq!(names(error)?, ["inner", "middle", "unnamed", "func[4]", "outer"]);
        let lines: Vec<&str> = shown.lines().filter(|line| !line.contains(" at ")).collect();
        assert_eq!(
            lines,
            [
                "integer divide by zero",
                "   0: inner",
                "   1: middle",
                "   2: unnamed",
                "   3: func[4]",
                "   4: outer"
            ]
        );
        let through = instance.get_typed_func::<(), ()>(&mut store, "through_host")?;
        let error = through.call(&mut store, ()).unwrap_err();
        assert_eq!(names(error)?, ["inner", "middle", "again", "through_host"]);
        Ok(())
    })
}

#[test]
fn backtraces_say_where_in_the_module() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let wat = r#"(module (func $f (export "f") (nop) (nop) (unreachable)))"#;
    let module = Module::new(&engine, wat)?;
    let mut store = store(&engine)?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
    let error: TrapError = f.call(&mut store, ()).unwrap_err().downcast()?;
    // The offset in the module's bytes, as disassemblers show it.
    let bytes = wat::parse_str(wat)?;
    let at = error.backtrace.frames()[0].srcloc.context("a location")?;
    assert_eq!(bytes[at as usize - 2..=at as usize], [1, 1, 0]);
    Ok(())
}

/// Errors of the host's arrive as themselves.
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
        let mut store = Store::new(&engine, ())?;
        let fail = Func::wrap(&mut store, |how: i32| -> Result<()> {
            match how {
                0 => Ok(()),
                1 => Err(Mine(7).into()),
                2 => Err(anyhow!(Mine(8)).context("around it")),
                3 => Err(Trap::OutOfMemory.into()),
                4 => Err(anyhow!(Trap::OutOfMemory).context("no room")),
                _ => anyhow::bail!("only words"),
            }
        })?;
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
        assert_eq!(format!("{error:#}"), "my error 7");
        let error = f.call(&mut store, 2).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Mine(8)));
        assert_eq!(format!("{error:#}"), "around it: my error 8");
        let error = f.call(&mut store, 3).unwrap_err();
        let trap = error.downcast_ref::<TrapError>().context("a trap")?;
        assert_eq!(trap.trap, Trap::OutOfMemory);
        assert_eq!(trap.backtrace.frames()[0].name, "f");
        let error = f.call(&mut store, 4).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::OutOfMemory));
        assert_eq!(message(f.call(&mut store, 5)), "only words");
        f.call(&mut store, 0)?;
        // The same without WebAssembly in between.
        assert_eq!(message(fail.call(&mut store, &[Val::I32(1)], &mut [])), "my error 7");
        Ok(())
    })
}

/// An error goes through as many activations as there are, unless one catches it.
#[test]
fn errors_through_nested_activations() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, Vec::<String>::new())?;
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
                    // One catches it, and goes on.
                    Err(error) if n == 4 => {
                        caller.data_mut().push(format!("{error:#}"));
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
fn host_functions_of_the_wrong_type() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine)?;
    let ty = FuncType::new(&engine, [], [ValType::I32, ValType::I64])?;
    let wrong = Func::new(&mut store, ty, |_, _, results| {
        results[0] = Val::I32(1);
        results[1] = Val::I32(1);
        Ok(())
    })?;
    assert_eq!(
        message(wrong.call(&mut store, &[], &mut [Val::I32(0); 2])),
        "result 1 of a host function: type mismatch: expected i64, found an i32"
    );
    // A result that must not be null is not set.
    let ty = FuncType::new(&engine, [], [ValType::Ref(RefType::new(false, HeapType::Any))])?;
    let wrong = Func::new(&mut store, ty, |_, _, _| Ok(()))?;
    assert_eq!(
        message(wrong.call(&mut store, &[], &mut [Val::I32(0)])),
        "result 0 of a host function: type mismatch: expected (ref any), found a null internal reference"
    );
    Ok(())
}

#[test]
fn instantiation_that_fails_leaves_the_store_usable() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut store = Store::new(&engine, ())?;
        let cases = [
            (
                "(module (table 1 funcref) (elem (i32.const 0) $f $f) (func $f))",
                "element segment 0: out of bounds table access",
            ),
            (
                r#"(module (memory 1) (data (i32.const 0) "a") (data (i32.const 65536) "b"))"#,
                "data segment 1: out of bounds memory access",
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
            ("(module (table 20000000 funcref))", "table 0 cannot have 20000000 elements"),
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
        let shown = format!("{error:#}");
        assert!(
            shown.starts_with(
                "the start function failed: wasm `unreachable` instruction executed\n   0: bad\n"
            ),
            "{shown}"
        );
        assert_eq!(error.downcast_ref::<TrapError>().context("a trap")?.trap, Trap::Unreachable);

        store.gc()?;
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

/// What a failed instantiation did to what it imported stays, as the specification says.
#[test]
fn instantiation_that_fails_keeps_what_it_wrote() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = store(&engine)?;
    let ty = TableType::new(RefType::new(true, HeapType::Func), 2, None);
    let table = Table::new(&mut store, ty, Val::FuncRef(None))?;
    let module = Module::new(
        &engine,
        r#"(module (import "" "t" (table 2 funcref))
            (func $f (result i32) (i32.const 7))
            (elem (i32.const 1) $f) (elem (i32.const 2) $f))"#,
    )?;
    assert_eq!(
        message(Instance::new(&mut store, &module, &[table.into()])),
        "element segment 1: out of bounds table access"
    );
    drop(module);
    let func = table.get(&mut store, 1)?.and_then(|value| value.func_ref().flatten());
    let func = func.context("a function")?.typed::<(), i32>(&store)?;
    assert_eq!(func.call(&mut store, ())?, 7);
    Ok(())
}
