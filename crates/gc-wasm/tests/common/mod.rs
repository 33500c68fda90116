//! Shared parts of the integration tests: the settings under which each of them runs, and host
//! values that count their drops.
#![allow(dead_code, unreachable_pub)]

use anyhow::{Result, anyhow};
use gc_wasm::{
    ArrayRef, ArrayRefPre, ArrayType, AsContextMut, Caller, Collector, Config, Engine, Extern,
    Func, HeapBounds, Instance, Linker, Module, Rooted, Store, StructRef, StructRefPre, StructType,
    Trap, Val, WasmBacktrace,
};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whether code of this machine can sign return addresses.
fn can_sign_return_addresses() -> bool {
    let Err(why) = Engine::new(Config::new().sign_return_addresses(true)) else { return true };
    let why = format!("{why:#}");
    assert!(why.contains("cannot sign return addresses"), "{why}");
    false
}

/// One way to run a test.
#[derive(Clone)]
pub struct Setting {
    pub collector: Collector,
    pub bounds: HeapBounds,
    /// Collect at every allocation, and verify the heap before and after. Sign return addresses, if the processor can.
    pub zeal: bool,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zeal = if self.zeal { ", zeal" } else { "" };
        write!(f, "{}, {:?}{zeal}", self.collector.name(), self.bounds)
    }
}

impl Setting {
    /// Every collector, in both bounds modes, with and without zeal.
    pub fn all() -> Vec<Setting> {
        let mut all = Vec::new();
        for collector in Collector::all() {
            for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
                for zeal in [false, true] {
                    all.push(Setting { collector: collector.clone(), bounds, zeal });
                }
            }
        }
        all
    }

    /// The engine configuration. The heap is small, because a heap with checked bounds reserves all
    /// of it. The nursery is small too, so that the allocations of a test fill it.
    pub fn config(&self) -> Config {
        let small = self.collector.with_option("nursery", "128KiB");
        let collector = small.unwrap_or_else(|_| self.collector.clone());
        let mut config = Config::new();
        config
            .collector(collector)
            .gc_heap_bounds(self.bounds)
            .gc_heap_maximum(64 << 20)
            .gc_zeal(u32::from(self.zeal))
            .sign_return_addresses(self.zeal && can_sign_return_addresses());
        config
    }

    pub fn engine(&self) -> Result<Engine> {
        Engine::new(&self.config())
    }

    /// Whether the collector frees unreferenced objects.
    pub fn reclaims(&self) -> bool {
        self.collector.name() != "null"
    }

    /// A store without data, and a module in it.
    pub fn instantiate(&self, wat: &str, imports: &[Extern]) -> Result<(Store<()>, Instance)> {
        let engine = self.engine()?;
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &Module::new(&engine, wat)?, imports)?;
        Ok((store, instance))
    }
}

/// Runs a test under [every setting](Setting::all).
pub fn everywhere(test: impl Fn(&Setting) -> Result<()>) -> Result<()> {
    for setting in Setting::all() {
        // Shown only if the test fails, to tell the setting.
        eprintln!("--- {setting}");
        test(&setting).map_err(|error| anyhow!("under {setting}: {error:#}"))?;
    }
    Ok(())
}

/// Runs a test once for each collector, without zeal.
pub fn each_collector(test: impl Fn(&Setting) -> Result<()>) -> Result<()> {
    for collector in Collector::all() {
        eprintln!("--- {}", collector.name());
        test(&Setting { collector, bounds: HeapBounds::Guarded, zeal: false })?;
    }
    Ok(())
}

/// The trap with which a call must have ended.
#[track_caller]
pub fn trap<T>(result: Result<T>) -> Trap {
    match result {
        Ok(_) => panic!("no trap"),
        Err(error) => match error.downcast_ref::<Trap>() {
            Some(trap) => *trap,
            None => panic!("not a trap: {error:?}"),
        },
    }
}

/// The text of the error with which an operation must have ended, without its backtrace.
#[track_caller]
pub fn message<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => texts(&error).join(": "),
    }
}

/// The texts of an error and its causes, without its backtrace.
pub fn texts(error: &anyhow::Error) -> Vec<String> {
    // Only the outermost of several backtraces can be found as one.
    let backtrace = error.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
    let texts = error.chain().map(ToString::to_string);
    texts.filter(|text| Some(text) != backtrace.as_ref()).collect()
}

/// The names of the functions in an error's backtrace, the innermost first. There are none without
/// a backtrace.
pub fn frame_names(error: &anyhow::Error) -> Vec<&str> {
    let backtrace = error.downcast_ref::<WasmBacktrace>();
    let frames = backtrace.map_or(&[][..], WasmBacktrace::frames);
    frames.iter().map(|frame| frame.func_name().unwrap_or("<unknown>")).collect()
}

/// The text with which an operation must panic.
#[track_caller]
pub fn panic_message<T>(action: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(action)) {
        Ok(_) => panic!("no panic"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => match payload.downcast::<&str>() {
                Ok(text) => text.to_string(),
                Err(_) => panic!("a panic without a text"),
            },
        },
    }
}

/// Makes a struct, whose type is looked up each time.
pub fn new_struct(
    mut store: impl AsContextMut,
    ty: &StructType,
    fields: &[Val],
) -> Result<Rooted<StructRef>> {
    let pre = StructRefPre::new(&mut store, ty.clone());
    StructRef::new(store, &pre, fields)
}

/// Makes an array of equal elements, whose type is looked up each time.
pub fn new_array(
    mut store: impl AsContextMut,
    ty: &ArrayType,
    element: &Val,
    length: u32,
) -> Result<Rooted<ArrayRef>> {
    let pre = ArrayRefPre::new(&mut store, ty.clone());
    ArrayRef::new(store, &pre, element, length)
}

/// Makes an array of these elements, whose type is looked up each time.
pub fn new_fixed_array(
    mut store: impl AsContextMut,
    ty: &ArrayType,
    elements: &[Val],
) -> Result<Rooted<ArrayRef>> {
    let pre = ArrayRefPre::new(&mut store, ty.clone());
    ArrayRef::new_fixed(store, &pre, elements)
}

/// Counts for each host value how often it was dropped.
#[derive(Clone, Default)]
pub struct Drops(Arc<std::sync::Mutex<Vec<Arc<AtomicUsize>>>>);

/// A host value that counts its drop.
pub struct Counted {
    pub number: usize,
    dropped: Arc<AtomicUsize>,
}

impl Drops {
    /// A new value, numbered in order.
    pub fn value(&self) -> Counted {
        let mut all = self.0.lock().unwrap();
        let dropped = Arc::new(AtomicUsize::new(0));
        all.push(dropped.clone());
        Counted { number: all.len() - 1, dropped }
    }

    /// The number of values made.
    pub fn made(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// How often value `number` was dropped.
    pub fn of(&self, number: usize) -> usize {
        self.0.lock().unwrap()[number].load(Ordering::SeqCst)
    }

    /// The number of values dropped. No value may have been dropped twice.
    pub fn count(&self) -> usize {
        let all = self.0.lock().unwrap();
        let drops: Vec<usize> = all.iter().map(|n| n.load(Ordering::SeqCst)).collect();
        assert!(drops.iter().all(|n| *n <= 1), "dropped twice: {drops:?}");
        drops.iter().sum()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// A pair type, a collection forced by the host (`$gc`), and `$churn`, which collects and then
/// fills the freed memory.
pub const PRELUDE: &str = r#"
    (type $pair (struct (field $value (mut i32)) (field $next (mut (ref null $pair)))))
    (import "host" "gc" (func $gc))
    IMPORTS
    (func $churn
        (local $i i32)
        (call $gc)
        (local.set $i (i32.const 40))
        (loop $again
            (drop (struct.new $pair (i32.const -1) (ref.null $pair)))
            (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1))))))
    (func $new (param i32) (result (ref $pair))
        (struct.new $pair (local.get 0) (ref.null $pair)))
    (func $get (param (ref null $pair)) (result i32) (struct.get $pair 0 (local.get 0)))
"#;

/// The text of a module with [`PRELUDE`], these imports and this body.
pub fn prelude(imports: &str, body: &str) -> String {
    format!("(module {} {body})", PRELUDE.replace("IMPORTS", imports))
}

/// A module that begins with [`PRELUDE`].
pub fn with_prelude(engine: &Engine, body: &str) -> Result<(Store<()>, Instance)> {
    let mut linker: Linker<()> = Linker::new(engine);
    linker.func_wrap("host", "gc", |mut caller: Caller<'_, ()>| caller.gc(None))?;
    let module = Module::new(engine, prelude("", body))?;
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    Ok((store, instance))
}

/// Calls a function without parameters and results.
pub fn call(store: &mut Store<()>, func: &Func) -> Result<()> {
    let none: [Val; 0] = [];
    func.call(store, &none, &mut [])
}
