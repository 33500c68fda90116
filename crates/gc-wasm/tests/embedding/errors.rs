//! The texts of errors: what is wrong, where, and what was expected.

use crate::common::message;
use anyhow::{Context, Result};
use gc_wasm::{
    Config, Engine, Extern, Func, FuncType, Global, GlobalType, HeapType, Instance, Linker, Memory,
    MemoryType, Module, Mutability, Ref, RefType, Rooted, Store, StructRef, Table, TableType, Val,
    ValType,
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
        message(Module::from_binary(&engine, b" ;; text\n(module)")),
        "magic header not detected: this is a module in the text format, and the binary format is \
         expected"
    );
    let saved = engine.precompile_module(b"\0asm\x01\0\0\0").unwrap();
    assert_eq!(
        message(Module::from_binary(&engine, &saved)),
        "magic header not detected: `Module::deserialize` loads compiled modules"
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
            "type section: sub type cannot have a final super type (at offset 0xd)",
        ),
        (
            "(module (global i32 (i32.div_s (i32.const 1) (i32.const 1))))",
            "global section: constant expression required: non-constant operator: visit_i32_div_s (at offset 0x11)",
        ),
        (
            r#"(module (func (export "a")) (func (export "a")))"#,
            "export section: duplicate export name `a` already defined (at offset 0x1a)",
        ),
        (
            "(module (func atomic.fence))",
            "function 0 `func[0]`: threads support is not enabled (at offset 0x17)",
        ),
        (
            "(module (memory 1 1 shared))",
            "memory section: threads must be enabled for shared memories (at offset 0xb)",
        ),
        (
            "(module (memory 1 (pagesize 1)))",
            "memory section: the custom page sizes proposal must be enabled to customize a memory's page size \
             (at offset 0xb)",
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

#[test]
fn imports_that_are_missing_or_wrong() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let linker = Linker::new(&engine);
    let missing = |wat: &str, store: &mut Store<()>| -> Result<String> {
        Ok(message(linker.instantiate(store, &Module::new(&engine, wat)?)))
    };
    assert_eq!(
        missing(
            r#"(module (import "env" "log" (func (param i32 f64) (result externref))))"#,
            &mut store
        )?,
        "unknown import: `env::log` of type (func (param i32 f64) (result externref)) has not been defined"
    );
    assert_eq!(
        missing(r#"(module (import "env" "g" (global (mut anyref))))"#, &mut store)?,
        "unknown import: `env::g` of type (global (mut anyref)) has not been defined"
    );
    assert_eq!(
        missing(r#"(module (import "env" "t" (table 1 2 funcref)))"#, &mut store)?,
        "unknown import: `env::t` of type (table 1 2 funcref) has not been defined"
    );
    assert_eq!(
        missing(r#"(module (import "env" "m" (memory 3)))"#, &mut store)?,
        "unknown import: `env::m` of type (memory 3) has not been defined"
    );

    let func = Func::wrap(&mut store, |a: i32| a);
    let global = GlobalType::new(ValType::I32, Mutability::Const);
    let global = Global::new(&mut store, global, Val::I32(1))?;
    let table = TableType::new(RefType::new(true, HeapType::Func), 1, None);
    let table = Table::new(&mut store, table, Ref::Func(None))?;
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
            format!("incompatible import type for `a::b`: {expected}")
        );
    }
    let module = Module::new(&engine, r#"(module (import "a" "b" (func)))"#)?;
    assert_eq!(
        message(Instance::new(&mut store, &module, &[])),
        "expected 1 imports, found 0: nothing is given for `a::b`, which is (func)"
    );
    let two = [memory.into(), memory.into()];
    assert_eq!(
        message(Instance::new(&mut store, &module, &two)),
        "expected 1 imports, found 2: no import is left for item 1, which is (memory 1 2)"
    );

    // Types of the module have their names, and others are shown by their structure.
    let module = Module::new(
        &engine,
        r#"(module (type $p (struct (field i32) (field (mut (ref null $p)))))
            (import "a" "b" (func (param (ref $p)))))"#,
    )?;
    assert_eq!(
        message(Instance::new(&mut store, &module, &[func.into()])),
        "incompatible import type for `a::b`: expected (func (param (ref $p))), found (func \
         (param i32) (result i32))"
    );
    let module = Module::new(
        &engine,
        r#"(module (type (struct (field i32) (field (mut (ref null 0)))))
            (import "a" "b" (func (param (ref 0)))))"#,
    )?;
    assert_eq!(
        message(Instance::new(&mut store, &module, &[func.into()])),
        "incompatible import type for `a::b`: expected (func (param (ref (struct (field i32) \
         (field (mut (ref null struct))))))), found (func (param i32) (result i32))"
    );

    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("env", "f", || {})?;
    assert_eq!(message(linker.func_wrap("env", "f", || {})), "import of `env::f` defined twice");
    Ok(())
}

#[test]
fn calls_with_wrong_arguments() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
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
        "expected 1 results, got 0"
    );
    assert_eq!(
        message(add.call(&mut store, &[Val::I32(1), Val::from(1.5_f64)], &mut one)),
        "argument type mismatch: argument 1: type mismatch: expected i32, found f64"
    );
    assert_eq!(
        message(add.call(&mut store, &[Val::ExternRef(None), Val::I32(1)], &mut one)),
        "argument type mismatch: argument 0: type mismatch: expected i32, found a null external reference"
    );
    let p = instance.get_func(&mut store, "p").context("an export")?;
    assert_eq!(
        message(p.call(&mut store, &[Val::AnyRef(None)], &mut [])),
        "argument type mismatch: argument 0: type mismatch: expected (ref (struct (field i32))), found a null internal reference"
    );
    let q = instance.get_typed_func::<(), Rooted<StructRef>>(&mut store, "q")?;
    let wrong = q.call(&mut store, ())?;
    let expected = "type mismatch: expected (ref (struct (field i32))), \
                    found an internal reference to (struct (field i64))";
    assert_eq!(
        message(p.call(&mut store, &[wrong.to_anyref().into()], &mut [])),
        format!("argument type mismatch: argument 0: {expected}")
    );
    let typed = p.typed::<Rooted<StructRef>, ()>(&store)?;
    assert_eq!(
        message(typed.call(&mut store, wrong)),
        format!("argument type mismatch for reference to concrete type: argument 0: {expected}")
    );
    let some = instance.get_func(&mut store, "some").context("an export")?;
    assert_eq!(
        message(some.call(&mut store, &[Val::AnyRef(None)], &mut [])),
        "argument type mismatch: argument 0: type mismatch: expected (ref any), found a null internal reference"
    );

    assert_eq!(
        message(instance.get_typed_func::<(), ()>(&mut store, "ad")),
        "failed to find function export `ad`"
    );
    assert_eq!(
        message(instance.get_typed_func::<i32, i32>(&mut store, "add")),
        "failed to convert function `add` to given type: type mismatch with parameters: \
         expected 1 types, found 2"
    );
    assert_eq!(
        message(instance.get_typed_func::<(i32, i64), i32>(&mut store, "add")),
        "failed to convert function `add` to given type: type mismatch with parameters: \
         parameter 1: type mismatch: expected i32, found i64"
    );
    assert_eq!(
        message(instance.get_typed_func::<(i32, i32), f32>(&mut store, "add")),
        "failed to convert function `add` to given type: type mismatch with results: \
         result 0: type mismatch: expected f32, found i32"
    );
    assert_eq!(
        message(instance.get_typed_func::<(i32, i32), ()>(&mut store, "add")),
        "failed to convert function `add` to given type: type mismatch with results: \
         expected 0 types, found 1"
    );
    Ok(())
}

#[test]
fn globals_and_tables_given_the_wrong_value() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let ty = GlobalType::new(ValType::I32, Mutability::Const);
    let expected = "type mismatch: initial value provided does not match the type of this global: \
                    type mismatch: expected i32, found i64";
    assert_eq!(message(Global::new(&mut store, ty.clone(), Val::I64(1))), expected);
    let global = Global::new(&mut store, ty, Val::I32(1))?;
    assert_eq!(message(global.set(&mut store, Val::I32(2))), "immutable global cannot be set");
    let ty = TableType::new(RefType::new(false, HeapType::I31), 1, Some(3));
    let expected = "type mismatch: value does not match table element type: \
                    type mismatch: expected (ref i31), found a null internal reference";
    assert_eq!(message(Table::new(&mut store, ty, Ref::Any(None))), expected);
    let ty = TableType::new(RefType::new(true, HeapType::Extern), 1, Some(3));
    let table = Table::new(&mut store, ty, Ref::Extern(None))?;
    assert_eq!(
        message(table.set(&mut store, 1, Ref::Extern(None))),
        "failed to set the table's element: wasm trap: undefined element: out of bounds table access"
    );
    assert_eq!(
        message(table.grow(&mut store, 3, Ref::Extern(None))),
        "failed to grow table by `3`: a table of 1 elements cannot grow by 3"
    );
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
    assert_eq!(
        message(memory.grow(&mut store, 2)),
        "failed to grow memory by `2`: a memory of 1 pages cannot grow by 2"
    );
    assert_eq!(
        message(Memory::new(&mut store, MemoryType::new(3, Some(2)))),
        "a memory of 3 pages exceeds the limit of 2 pages"
    );
    Ok(())
}

#[test]
fn engines_that_cannot_be() {
    assert_eq!(
        message(Engine::new(Config::new().gc_heap_maximum(1000))),
        "engine configuration: the GC heap's maximum must be between 128 KiB and 4 GiB"
    );
    assert_eq!(
        message(Engine::new(Config::new().max_wasm_stack(100))),
        "engine configuration: the stack for compiled code must be at least 16 KiB"
    );
    assert_eq!(
        message(Engine::new(Config::new().table_elements_maximum(1 << 28))),
        "engine configuration: the tables of a store may have at most 134217728 elements"
    );
}

#[test]
fn the_guard_of_heaps_is_what_it_is() -> Result<()> {
    for (reservation, guard) in [(4 << 30, 2 << 20), (4 << 30, 0), (0, 0)] {
        let mut config = Config::new();
        config.gc_heap_reservation(reservation).gc_heap_guard_size(guard);
        config.gc_heap_reservation_for_growth(1 << 30).gc_heap_maximum(1 << 20);
        Engine::new(&config)?;
        let error = message(Engine::new(config.gc_heap_guard_size(guard + (4 << 20))));
        assert!(error.contains("unsupported: `Config::gc_heap_guard_size`"), "{error}");
    }
    Ok(())
}

#[test]
fn host_functions_of_the_wrong_type() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(&engine, [], [ValType::I32, ValType::I64]);
    let wrong = Func::new(&mut store, ty, |_, _, results| {
        results[0] = Val::I32(1);
        results[1] = Val::I32(1);
        Ok(())
    });
    assert_eq!(
        message(wrong.call(&mut store, &[], &mut [Val::I32(0); 2])),
        "function attempted to return an incompatible value: result 1: type mismatch: expected i64, found i32"
    );
    // A result that must not be null was not set.
    let ty = FuncType::new(&engine, [], [ValType::Ref(RefType::new(false, HeapType::Any))]);
    let wrong = Func::new(&mut store, ty, |_, _, _| Ok(()));
    assert_eq!(
        message(wrong.call(&mut store, &[], &mut [Val::I32(0)])),
        "function attempted to return an incompatible value: result 0: type mismatch: expected (ref any), found a null function reference"
    );
    Ok(())
}

#[test]
fn a_feature_that_was_asked_for_stays() -> Result<()> {
    let module = |config: &mut Config| {
        let engine = Engine::new(config)?;
        Module::new(&engine, "(module (type (struct (field i32))))").map(drop)
    };
    let mut asked = Config::new();
    module(asked.wasm_gc(true).wasm_function_references(false))?;
    module(asked.wasm_reference_types(false))?;
    module(Config::new().wasm_function_references(false).wasm_gc(true))?;
    for alone in [Config::wasm_function_references, Config::wasm_reference_types] {
        assert!(module(alone(&mut Config::new(), false)).is_err());
    }
    assert!(module(asked.wasm_gc(false)).is_err());
    Ok(())
}
