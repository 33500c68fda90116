//! What programs that embed Wasmtime have before their first line runs: a list of features, settings,
//! linkers in structs of their own. All is accepted, and the page for them names what has no effect.

use crate::common::{each_collector, message};
use anyhow::{Result, anyhow};
use gc_wasm::{
    Config, Engine, Instance, InstancePre, Linker, Module, Store, Trap, WasmBacktrace,
    WasmBacktraceDetails,
};
use std::fs;
use std::path::Path;

/// The features of the crate `wasmtime` 48.
const FEATURES: &[&str] = &[
    "addr2line",
    "all-arch",
    "anyhow",
    "async",
    "backtrace",
    "cache",
    "call-hook",
    "compile-time-builtins",
    "component-model",
    "component-model-async",
    "component-model-bytes",
    "coredump",
    "cranelift",
    "debug",
    "debug-builtins",
    "demangle",
    "gc",
    "gc-copying",
    "gc-drc",
    "gc-null",
    "incremental-cache",
    "memory-protection-keys",
    "parallel-compilation",
    "pooling-allocator",
    "profile-pulley",
    "profiling",
    "pulley",
    "reexport-wasmparser",
    "rr",
    "runtime",
    "stack-switching",
    "std",
    "threads",
    "trace-log",
    "wat",
    "wave",
    "winch",
    "wit-parser",
    "wmemcheck",
];

/// Those with which Wasmtime calls functions of the program that it would have to call here too.
const REFUSED: &[&str] =
    &["custom-fiber", "custom-native-signals", "custom-sync-primitives", "custom-virtual-memory"];

fn project(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()))
}

#[test]
fn wasmtimes_features_are_known_and_documented() {
    let manifest = project("crates/gc-wasm/Cargo.toml");
    let features = manifest.split("[features]").nth(1).unwrap().split("\n[").next().unwrap();
    let page = project("docs/src/coming-from-wasmtime.md");
    for feature in FEATURES.iter().chain(REFUSED) {
        let known = features.lines().any(|line| line.starts_with(&format!("{feature} = ")));
        assert_eq!(known, FEATURES.contains(feature), "{feature}");
        assert!(page.contains(&format!("`{feature}`")), "the page does not mention `{feature}`");
    }
}

#[test]
#[expect(deprecated)]
fn settings_that_change_nothing_are_accepted() -> Result<()> {
    each_collector(|setting| {
        for yes in [true, false] {
            let details = match yes {
                true => WasmBacktraceDetails::Enable,
                false => WasmBacktraceDetails::Disable,
            };
            let mut config = setting.config();
            config
                .async_support(yes)
                .debug_info(yes)
                .debug_symbols(yes)
                .force_memory_init_memfd(yes)
                .guard_before_linear_memory(yes)
                .macos_use_mach_ports(yes)
                .memory_guaranteed_dense_image_size(16 << 20)
                .memory_init_cow(yes)
                .native_unwind_info(yes)
                .table_lazy_init(yes)
                .wasm_backtrace_details(details);
            let engine = Engine::new(&config)?;
            let wat = r#"(module $app (func $last unreachable) (func (export "f") (call $last)))"#;
            let module = Module::new(&engine, wat)?;
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[])?;
            let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
            let error = f.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
            let text = format!("{error:?}");
            assert!(text.contains("wasm trap: wasm `unreachable` instruction executed"), "{text}");
            if cfg!(feature = "backtrace") {
                assert!(error.is::<WasmBacktrace>() && text.contains(" - app!last"), "{text}");
            }
        }
        Ok(())
    })
}

/// Every setting that an engine is refused for is in the page's table, and no other.
#[test]
fn refused_settings_are_documented() {
    let mut config = Config::new();
    config
        .concurrency_support(true)
        .coredump_on_trap(true)
        .guest_debug(true)
        .shared_memory(true)
        .signals_based_traps(false)
        .strategy(gc_wasm::Strategy::Winch)
        .profiler(gc_wasm::ProfilingStrategy::VTune)
        .wasm_component_model(true)
        .wasm_component_model_async(true)
        .wasm_custom_page_sizes(true)
        .wasm_shared_everything_threads(true)
        .wasm_stack_switching(true)
        .wasm_threads(true)
        .wasm_wide_arithmetic(true)
        .wmemcheck(true);
    config.module_version(gc_wasm::ModuleVersionStrategy::None).unwrap();
    let page = project("docs/src/coming-from-wasmtime.md");
    let section = page.split("## Settings that are refused").nth(1).unwrap();
    let (table, accepted) = section.split_once("Settings that are about speed").unwrap();
    let mut count = 0;
    // Each is named, one after the other, until the engine starts.
    while let Err(error) = Engine::new(&config) {
        let error = format!("{error:#}");
        let setting = error.split('`').nth(1).unwrap().strip_prefix("Config::").unwrap();
        assert!(table.contains(&format!("`{setting}`")), "the page does not mention `{setting}`");
        match setting {
            "concurrency_support" => config.concurrency_support(false),
            "coredump_on_trap" => config.coredump_on_trap(false),
            "guest_debug" => config.guest_debug(false),
            "module_version" => {
                config.module_version(gc_wasm::ModuleVersionStrategy::WasmtimeVersion).unwrap()
            }
            "profiler" => config.profiler(gc_wasm::ProfilingStrategy::None),
            "shared_memory" => config.shared_memory(false),
            "signals_based_traps" => config.signals_based_traps(true),
            "strategy" => config.strategy(gc_wasm::Strategy::Auto),
            "wasm_component_model" => config.wasm_component_model(false),
            "wasm_component_model_async" => config.wasm_component_model_async(false),
            "wasm_custom_page_sizes" => config.wasm_custom_page_sizes(false),
            "wasm_shared_everything_threads" => config.wasm_shared_everything_threads(false),
            "wasm_stack_switching" => config.wasm_stack_switching(false),
            "wasm_threads" => config.wasm_threads(false),
            "wasm_wide_arithmetic" => config.wasm_wide_arithmetic(false),
            "wmemcheck" => config.wmemcheck(false),
            other => panic!("`{other}` is refused"),
        };
        count += 1;
    }
    assert_eq!(count, 16);
    for setting in ["debug_info", "guard_before_linear_memory", "wasm_backtrace_details"] {
        assert!(
            accepted.contains(&format!("`{setting}`")) && !table.contains(setting),
            "{setting}"
        );
    }
}

/// A struct over the data of stores. It has no bound, as those of Wasmtime's users have none.
struct Host<T> {
    linker: Linker<T>,
    ready: Option<InstancePre<T>>,
}

impl<T> Host<T> {
    fn new(engine: &Engine) -> Host<T> {
        Host { linker: Linker::new(engine), ready: None }
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        self.linker.allow_shadowing(true).alias_module(from, to)
    }
}

impl<T> Clone for Host<T> {
    fn clone(&self) -> Self {
        Host { linker: self.linker.clone(), ready: self.ready.clone() }
    }
}

#[test]
fn linkers_are_in_structs_without_bounds() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut host: Host<u32> = Host::new(&engine);
        host.linker.func_wrap("old", "f", |caller: gc_wasm::Caller<'_, u32>| *caller.data())?;
        host.rename("old", "new")?;
        let wat = r#"(module (import "new" "f" (func (result i32))) (export "f" (func 0)))"#;
        host.ready = Some(host.linker.instantiate_pre(&Module::new(&engine, wat)?)?);
        let host = host.clone();
        let mut store = Store::new(&engine, 7);
        let instance = host.ready.unwrap().instantiate(&mut store)?;
        assert_eq!(instance.get_typed_func::<(), u32>(&mut store, "f")?.call(&mut store, ())?, 7);
        Ok(())
    })
}

/// A host function may return the result of another one that may fail.
#[test]
fn results_of_results_are_returned() -> Result<()> {
    each_collector(|setting| {
        let engine = setting.engine()?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("", "f", |n: i32| -> Result<Result<(i32, i64)>> {
            match n {
                0 => Err(anyhow!("the outer one")),
                1 => Ok(Err(anyhow!("the inner one"))),
                n => Ok(Ok((n, -1))),
            }
        })?;
        linker.func_wrap("", "g", || -> Result<Result<Result<()>>> { Ok(Ok(Ok(()))) })?;
        let module = Module::new(
            &engine,
            r#"(module (import "" "f" (func $f (param i32) (result i32 i64)))
                (import "" "g" (func $g))
                (func (export "f") (param i32) (result i32 i64)
                    (call $g) (call $f (local.get 0))))"#,
        )?;
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module)?;
        let f = instance.get_typed_func::<i32, (i32, i64)>(&mut store, "f")?;
        assert_eq!(f.call(&mut store, 5)?, (5, -1));
        for (n, expected) in [(0, "the outer one"), (1, "the inner one")] {
            let error = f.call(&mut store, n).map_err(|error| anyhow!("{}", error.root_cause()));
            assert_eq!(message(error), expected);
        }
        Ok(())
    })
}
