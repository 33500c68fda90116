//! Tests of modules that are saved and loaded: they behave as before, and damage is found.

use crate::common::{frame_names, message};
use anyhow::Result;
use gc_wasm::{
    Caller, Collector, Config, Engine, Extern, FieldType, Func, HeapBounds, Instance, Module,
    ModuleVersionStrategy, Mutability, OperatorCost, Precompiled, StorageType, Store, StructType,
    ValType,
};

/// A module with all kinds of data that are saved.
const EVERYTHING: &str = r#"(module $everything
    (type $pair (struct (field $a i32) (field (mut (ref null $pair)))))
    (type $sub (sub (struct (field i64))))
    (type $subsub (sub $sub (struct (field i64) (field f32))))
    (type $words (array (mut i16)))
    (type $binary (func (param i32 i32) (result i32)))
    (import "host" "add" (func $add (type $binary)))
    (import "host" "start" (global $start i32))
    (memory (export "memory") 1 2)
    (table $table (export "table") 3 funcref)
    (global $counter (mut i32) (i32.const 5))
    (global $vector v128 (v128.const i32x4 1 2 3 4))
    (global $kept (ref null $pair) (struct.new $pair (i32.const 9) (ref.null $pair)))
    (elem (table $table) (i32.const 0) func $add $mul)
    (elem $passive func $mul)
    (data (i32.const 16) "saved bytes")
    (data $words_data "\01\00\02\00\03\00")
    (func $mul (type $binary) (i32.mul (local.get 0) (local.get 1)))
    (func $init (global.set $counter (i32.add (global.get $counter) (global.get $start))))
    (start $init)
    (func (export "indirect") (param i32 i32 i32) (result i32)
        (call_indirect (type $binary) (local.get 1) (local.get 2) (local.get 0)))
    (func (export "counter") (result i32)
        (i32.add (global.get $counter) (struct.get $pair $a (global.get $kept))))
    (func (export "is_subsub") (param i32) (result i32)
        (local $object (ref null $sub))
        (if (local.get 0)
            (then (local.set $object (struct.new $subsub (i64.const 1) (f32.const 2))))
            (else (local.set $object (struct.new $sub (i64.const 1)))))
        (ref.test (ref $subsub) (local.get $object)))
    (func (export "word") (param i32) (result i32)
        (array.get_u $words
            (array.new_data $words $words_data (i32.const 0) (i32.const 3)) (local.get 0)))
    (func (export "byte") (param i32) (result i32) (i32.load8_u (local.get 0)))
    (func $lanes (param v128) (result v128)
        (i32x4.mul (v128.const i32x4 10 20 30 40)
            (i8x16.shuffle 12 13 14 15 8 9 10 11 4 5 6 7 0 1 2 3 (local.get 0) (local.get 0))))
    (func (export "lane") (param i32) (result i32)
        (i32x4.extract_lane 3
            (i32x4.add (i32x4.splat (local.get 0)) (call $lanes (global.get $vector)))))
    (func (export "trap") unreachable))"#;

fn config(collector: Collector) -> Config {
    let mut config = Config::new();
    config.collector(collector);
    config
}

/// Runs all that [`EVERYTHING`] exports.
fn run(module: &Module) -> Result<()> {
    let mut store = Store::new(module.engine(), ());
    let add = Func::wrap(&mut store, |a: i32, b: i32| a + b);
    let ty = gc_wasm::GlobalType::new(ValType::I32, Mutability::Const);
    let start = gc_wasm::Global::new(&mut store, ty, gc_wasm::Val::I32(100))?;
    let instance = Instance::new(&mut store, module, &[add.into(), Extern::Global(start)])?;
    let indirect = instance.get_typed_func::<(i32, i32, i32), i32>(&mut store, "indirect")?;
    assert_eq!(indirect.call(&mut store, (0, 6, 7))?, 13);
    assert_eq!(indirect.call(&mut store, (1, 6, 7))?, 42);
    assert!(message(indirect.call(&mut store, (2, 6, 7))).contains("uninitialized element"));
    let counter = instance.get_typed_func::<(), i32>(&mut store, "counter")?;
    assert_eq!(counter.call(&mut store, ())?, 114);
    for (name, cases) in [
        ("is_subsub", vec![(0, 0), (1, 1)]),
        ("lane", vec![(2, 42), (60, 100)]),
        ("word", vec![(0, 1), (1, 2), (2, 3)]),
        ("byte", vec![(16, i32::from(b's')), (26, i32::from(b's')), (27, 0)]),
    ] {
        let function = instance.get_typed_func::<i32, i32>(&mut store, name)?;
        for (argument, expected) in cases {
            assert_eq!(function.call(&mut store, argument)?, expected, "{name} {argument}");
        }
    }
    let trap = instance.get_typed_func::<(), ()>(&mut store, "trap")?;
    let error = trap.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&gc_wasm::Trap::UnreachableCodeReached));
    if cfg!(feature = "backtrace") {
        assert_eq!(frame_names(&error)[0], "trap");
    }
    store.gc(None)
}

/// Saves the module of `wat` in one engine and loads it into another.
fn reload(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    // SAFETY: these are the tests' own bytes, some with accidental damage.
    unsafe { Module::deserialize(engine, bytes) }
}

#[test]
fn a_saved_module_does_what_it_did() -> Result<()> {
    for collector in Collector::all() {
        let module = Module::new(&Engine::new(&config(collector.clone()))?, EVERYTHING)?;
        run(&module)?;
        let bytes = module.serialize()?;
        // Another engine, in which other types were registered first.
        let engine = Engine::new(&config(collector.clone()))?;
        for ty in [ValType::I32, ValType::I64, ValType::F64] {
            let field = FieldType::new(Mutability::Var, StorageType::ValType(ty));
            StructType::new(&engine, [field])?;
        }
        Module::new(&engine, "(module (type (array (mut i16))) (type (func (param f64))))")?;
        let loaded = reload(&engine, &bytes)?;
        run(&loaded)?;
        assert_eq!(loaded.name(), Some("everything"));
        let exports = |module: &Module| {
            module.exports().map(|e| format!("{} {}", e.name(), e.ty())).collect::<Vec<_>>()
        };
        assert_eq!(exports(&loaded), exports(&module));
        assert_eq!(loaded.imports().len(), 2);
        assert_eq!(loaded.serialize()?, bytes, "it can be saved again");

        let name = format!("gc-wasm-saved-{}-{}", collector.name(), std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, &bytes)?;
        // SAFETY: only this test uses the file.
        let modules = unsafe {
            [Module::deserialize_file(&engine, &path)?, Module::deserialize_file(&engine, &path)?]
        };
        std::fs::remove_file(&path)?;
        for module in modules {
            run(&module)?;
        }
    }
    Ok(())
}

#[test]
fn a_host_function_is_called_by_code_that_comes_later() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let saved = Module::new(
        &engine,
        r#"(module (import "" "f" (func $f (param i32) (result i32)))
            (func (export "call") (param i32) (result i32) (call $f (local.get 0)))
            (func (export "get") (result funcref) (ref.func $f)) (elem declare func $f))"#,
    )?
    .serialize()?;
    let mut store = Store::new(&engine, 10);
    let add = Func::wrap(&mut store, |caller: Caller<'_, i32>, a: i32| a + caller.data());
    // The host calls it before there is any code.
    let typed = add.typed::<i32, i32>(&store)?;
    assert_eq!(typed.call(&mut store, 1)?, 11);
    let module = reload(&engine, &saved)?;
    let instance = Instance::new(&mut store, &module, &[add.into()])?;
    let call = instance.get_typed_func::<i32, i32>(&mut store, "call")?;
    assert_eq!(call.call(&mut store, 2)?, 12);
    let get = instance.get_typed_func::<(), Option<Func>>(&mut store, "get")?;
    let same = get.call(&mut store, ())?.expect("not null");
    assert_eq!(same.typed::<i32, i32>(&store)?.call(&mut store, 3)?, 13);
    Ok(())
}

/// The name of a symbol in an ELF file cannot have a NUL, but that of a function can.
#[test]
fn a_function_keeps_a_name_with_nul() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    for function in [
        r#"(func (export "a\00b") unreachable)"#,
        r#"(func (@name "a\00b") (export "a\00b") unreachable)"#,
        r#"(func (@name "a\00b") unreachable) (func (export "a\00b") (call 0))"#,
    ] {
        let bytes = Module::new(&engine, format!("(module {function})"))?.serialize()?;
        let module = reload(&engine, &bytes)?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let trap = instance.get_typed_func::<(), ()>(&mut store, "a\0b")?;
        let error = trap.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&gc_wasm::Trap::UnreachableCodeReached));
        if cfg!(feature = "backtrace") {
            assert_eq!(frame_names(&error)[0], "a\0b", "{function}");
        }
    }
    Ok(())
}

#[test]
fn other_collectors_and_options_are_refused() -> Result<()> {
    let engine = Engine::new(&config(Collector::copying()))?;
    let bytes = Module::new(&engine, EVERYTHING)?.serialize()?;
    let error =
        |config: &Config| -> Result<String> { Ok(message(reload(&Engine::new(config)?, &bytes))) };
    let fit = "loading a saved module: the saved code does not fit this engine \
               (here: this engine; there: the saved code): ";
    assert_eq!(
        error(&config(Collector::drc()))?,
        format!("{fit}collector is `drc` here, but `copying` there")
    );
    let mut checked = config(Collector::copying());
    checked.gc_heap_bounds(HeapBounds::Checked);
    assert_eq!(
        error(&checked)?,
        format!("{fit}heap.bounds is `checked` here, but `guarded` there")
    );
    let mut zeal = config(Collector::copying());
    zeal.gc_zeal(1);
    assert_eq!(error(&zeal)?, format!("{fit}heap.zeal is `true` here, but `false` there"));
    assert!(message(reload(&engine, b"\0asm\x01\0\0\0")).contains("not a saved image"));
    Ok(())
}

#[test]
fn every_bit_of_a_small_module_counts() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let mut bytes = Module::new(&engine, r#"(module (func (export "f")))"#)?.serialize()?;
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            assert!(reload(&engine, &bytes).is_err(), "bit {bit} of byte {at}");
            bytes[at] ^= 1 << bit;
        }
    }
    reload(&engine, &bytes)?;
    Ok(())
}

#[test]
fn thousands_of_places_of_a_large_module_count() -> Result<()> {
    use std::fmt::Write;
    let engine = Engine::new(&Config::new())?;
    let mut wat = String::from("(module (type $t (struct (field i32)))");
    for i in 0..400 {
        write!(
            wat,
            "(func (export \"f{i}\") (param i32) (result i32)
                (struct.get $t 0 (struct.new $t (i32.add (local.get 0) (i32.const {i})))))"
        )?;
    }
    wat.push(')');
    let mut bytes = Module::new(&engine, wat)?.serialize()?;
    let places = 4000;
    for place in 0..places {
        let at = place * bytes.len() / places;
        bytes[at] ^= 1 << (place % 8);
        assert!(reload(&engine, &bytes).is_err(), "byte {at}");
        bytes[at] ^= 1 << (place % 8);
    }
    reload(&engine, &bytes)?;
    Ok(())
}

/// A loaded module needs a heap if it did when it was compiled: its declarations say it.
#[test]
fn a_loaded_module_without_objects_needs_no_heap() -> Result<()> {
    let plain = r#"(module (func (export "f") (param i32) (result i32) (local.get 0)))"#;
    for (wat, has_heap) in [(plain, false), ("(module (type (struct)))", true)] {
        let engine = Engine::new(&config(Collector::copying()))?;
        let module = reload(&engine, &Module::new(&engine, wat)?.serialize()?)?;
        let mut store = Store::new(&engine, ());
        Instance::new(&mut store, &module, &[])?;
        assert_eq!(store.gc_heap_len() != 0, has_heap, "{wat}");
    }
    Ok(())
}

#[test]
fn the_code_does_not_depend_on_the_number_of_threads() -> Result<()> {
    let functions: String =
        (0..50).map(|i| format!("(func (export \"f{i}\") (result i32) (i32.const {i}))")).collect();
    let text = format!("(module {functions})");
    let code = |parallel| -> Result<Vec<u8>> {
        Engine::new(Config::new().parallel_compilation(parallel))?.precompile_module(&text)
    };
    assert!(code(true)? == code(false)?);
    Ok(())
}

/// A module is loaded from an open file and from memory, and what is compiled is recognized.
#[test]
fn saved_modules_are_recognized_and_loaded() -> Result<()> {
    let engine = Engine::new(&Config::new())?;
    let bytes = engine.precompile_module(EVERYTHING)?;
    assert_eq!(Engine::detect_precompiled(&bytes), Some(Precompiled::Module));
    let truncated = &bytes[..bytes.len() - 1];
    for other in [&[][..], &bytes[..5], truncated, b"\0asm\x01\0\0\0", b"(module)"] {
        assert_eq!(Engine::detect_precompiled(other), None);
    }
    let path = std::env::temp_dir().join(format!("reclaim-saved-open-{}", std::process::id()));
    std::fs::write(&path, &bytes)?;
    assert_eq!(Engine::detect_precompiled_file(&path)?, Some(Precompiled::Module));
    let file = std::fs::File::open(&path)?;
    // SAFETY: these are the bytes of a saved module, in a file that is not changed while it runs.
    run(&unsafe { Module::deserialize_open_file(&engine, file)? })?;
    std::fs::write(&path, &bytes[..20])?;
    assert_eq!(Engine::detect_precompiled_file(&path)?, None);
    std::fs::remove_file(&path)?;
    assert!(message(Engine::detect_precompiled_file(&path)).starts_with("reading "));
    // SAFETY: these are the bytes of a saved module, and live longer than it.
    run(&unsafe { Module::deserialize_raw(&engine, std::ptr::NonNull::from(&*bytes))? })
}

/// Code for other versions or other costs of operators is refused, and the difference is named.
#[test]
fn versions_and_costs_must_be_the_same() -> Result<()> {
    let usual = Engine::new(&Config::new())?;
    let custom = |text: &str| ModuleVersionStrategy::Custom(text.to_string());
    let mine = Engine::new(Config::new().module_version(custom("mine"))?)?;
    let bytes = mine.precompile_module("(module)")?;
    reload(&Engine::new(Config::new().module_version(custom("mine"))?)?, &bytes)?;
    let error = message(reload(&usual, &bytes));
    assert!(error.contains("embedder.version") && error.contains("mine"), "{error}");
    let error = message(reload(&mine, &usual.precompile_module("(module)")?));
    assert!(error.contains("embedder.version"), "{error}");
    assert!(Config::new().module_version(custom(&"x".repeat(256))).is_err());
    let error = message(Engine::new(Config::new().module_version(ModuleVersionStrategy::None)?));
    assert!(error.contains("`Config::module_version`"), "{error}");

    let costly = |cost| {
        let mut config = Config::new();
        let costs = OperatorCost { I32Add: cost, ..Default::default() };
        config.consume_fuel(true).operator_cost(costs);
        Engine::new(&config)
    };
    let bytes = costly(9)?.precompile_module("(module)")?;
    reload(&costly(9)?, &bytes)?;
    let error = message(reload(&costly(8)?, &bytes));
    assert!(error.contains("I32Add: 9") && error.contains("I32Add: 8"), "{error}");
    // Costs that are the default, or that do not count, are no difference.
    let fuel = Engine::new(Config::new().consume_fuel(true))?;
    reload(&costly(1)?, &fuel.precompile_module("(module)")?)?;
    let mut unused = Config::new();
    unused.operator_cost(OperatorCost { I32Add: 9, ..Default::default() });
    reload(&usual, &Engine::new(&unused)?.precompile_module("(module)")?)?;
    Ok(())
}

#[test]
fn a_module_that_was_not_compiled_is_named() {
    let engine = Engine::new(&Config::new()).unwrap();
    for (bytes, form) in [(&b"(module)"[..], "text"), (b"\0asm\x01\0\0\0", "binary")] {
        // SAFETY: it is no machine code, and so is refused.
        let error = message(unsafe { Module::deserialize(&engine, bytes) });
        let said = format!("this is a module in the {form} format, and `Module::new` compiles it");
        assert!(error.contains(&said), "{error}");
    }
}
