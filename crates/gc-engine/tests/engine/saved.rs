//! Code that is saved and loaded behaves as before, and damage is found.

use crate::common::loaded;
use crate::common::{engines, lists};
use anyhow::Result;
use gc_engine::{
    Code, Collector, Engine, HeapBounds, HeapOptions, Module, Rooted, StorageType, Type,
};

/// Loads code from the tests' own bytes.
fn load(engine: &Engine, bytes: &[u8]) -> Result<Code> {
    // SAFETY: the bytes are those that `serialize` returned, some with accidental damage, which the
    // checksum finds.
    unsafe { Code::deserialize(engine, bytes) }
}

fn message<T>(result: Result<T>) -> String {
    format!("{:#}", result.err().expect("an error"))
}

/// An engine of the same options.
fn same(engine: &Engine) -> Engine {
    Engine::builder(engine.collector().clone()).heap(engine.heap_options().clone()).build().unwrap()
}

/// Builds a list and sums it.
fn run(engine: &Engine, code: &Code) {
    let mut store = loaded(engine, code).unwrap();
    let list = store.function::<i64, Rooted>("list").unwrap().call(&mut store, 100).unwrap();
    store.collect().unwrap();
    let sum = store.function::<Option<Rooted>, i64>("sum").unwrap();
    assert_eq!(sum.call(&mut store, Some(list)).unwrap(), 5050, "{engine:?}");
    let head = store.function::<Option<Rooted>, i64>("head").unwrap();
    let error = head.call(&mut store, None).unwrap_err().to_string();
    assert!(error.contains("null") && error.contains("head"), "{error}");
}

#[test]
fn saved_code_does_what_it_did() {
    for engine in engines() {
        let (module, _) = lists(&engine);
        let code = module.compile().unwrap();
        run(&engine, &code);
        let bytes = code.serialize().unwrap();
        let engine = same(&engine);
        let loaded = load(&engine, &bytes).unwrap();
        run(&engine, &loaded);
        assert_eq!(loaded.serialize().unwrap(), bytes, "it can be saved again");
        let functions = |code: &Code| {
            code.functions().map(|(name, ty)| format!("{name} {ty}")).collect::<Vec<_>>()
        };
        assert_eq!(functions(&loaded), functions(&code));
    }
}

#[test]
fn a_file_is_loaded_by_many() {
    let engine = Engine::new(Collector::generational()).unwrap();
    let bytes = lists(&engine).0.compile().unwrap().serialize().unwrap();
    let path = std::env::temp_dir().join(format!("gc-engine-saved-{}", std::process::id()));
    std::fs::write(&path, &bytes).unwrap();
    // SAFETY: only this test uses the file.
    let codes = [0, 1].map(|_| unsafe { Code::deserialize_file(&engine, &path).unwrap() });
    std::fs::remove_file(&path).unwrap();
    codes.iter().for_each(|code| run(&engine, code));
    // SAFETY: there is no file.
    let error = message(unsafe { Code::deserialize_file(&engine, &path) });
    assert!(error.contains("gc-engine-saved-"), "{error}");
}

#[test]
fn all_types_and_names_are_saved() {
    let engine = Engine::new(Collector::copying()).unwrap();
    let mut module = Module::new(&engine);
    let fields = [StorageType::I8, StorageType::F64, StorageType::Ref, StorageType::I16];
    let packed = module.struct_type("packed", fields).unwrap();
    let bytes = module.array_type("bytes", StorageType::I8).unwrap();
    let name = "a \"name\"\nwith lines, \0 and \u{1f980}";
    module
        .function(name, [Type::I32, Type::F64], [Type::F64, Type::Ref], |f| {
            let (small, float, length) = (f.param(0), f.param(1), f.i32(3));
            let array = f.array_new(&bytes, small, length);
            let object = f.struct_new(&packed, &[small, float, array, small]);
            let float = f.struct_get(&packed, object, 1);
            f.ret(&[float, object]);
        })
        .unwrap();
    let code = module.compile().unwrap();
    let again = load(&engine, &code.serialize().unwrap()).unwrap();
    assert!(again.types().eq(code.types()));
    let mut store = loaded(&engine, &again).unwrap();
    let function = store.function::<(i32, f64), (f64, Rooted)>(name).unwrap();
    assert_eq!(function.call(&mut store, (7, 2.5)).unwrap().0, 2.5);
}

#[test]
fn other_collectors_and_options_are_refused() {
    let engine = |collector: &str| Engine::builder(collector.parse().unwrap());
    let checked = HeapOptions { bounds: HeapBounds::Checked, ..HeapOptions::default() };
    let saved = lists(&engine("generational:nursery=1MiB").build().unwrap()).0;
    let bytes = saved.compile().unwrap().serialize().unwrap();
    let error =
        |builder: gc_engine::EngineBuilder| message(load(&builder.build().unwrap(), &bytes));
    let fit = "loading saved code: the saved code does not fit this engine \
               (here: this engine; there: the saved code): ";
    for (builder, difference) in [
        (engine("drc"), "collector is `drc` here, but `generational` there"),
        (
            engine("generational:nursery=2MiB"),
            "collector.nursery is `2097152` here, but `1048576` there",
        ),
        (
            engine("generational:nursery=1MiB").heap(checked),
            "heap.bounds is `checked` here, but `guarded` there",
        ),
        (
            engine("generational:nursery=1MiB").zeal(1),
            "heap.zeal is `true` here, but `false` there",
        ),
    ] {
        assert_eq!(error(builder), format!("{fit}{difference}"));
    }
    let text = message(load(&engine("drc").build().unwrap(), b"print 1"));
    assert!(text.contains("not a saved image"), "{text}");
}

#[test]
fn every_byte_counts() {
    let engine = Engine::new(Collector::drc()).unwrap();
    let mut module = Module::new(&engine);
    module.function("f", [], [], |f| f.ret(&[])).unwrap();
    let mut bytes = module.compile().unwrap().serialize().unwrap();
    for at in 0..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(load(&engine, &bytes).is_err(), "byte {at}");
        bytes[at] ^= 1 << (at % 8);
    }
    load(&engine, &bytes).unwrap();
}
