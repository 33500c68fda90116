//! The program whose instructions are counted: it does one piece of work, inside the function
//! [`measured`]. What comes before, which compiles the module, is not counted.
//!
//! `gc-counts WORK COLLECTOR MODULE EXPORT WARM ROUNDS`: the module is a file of `benches/wat`, without
//! its ending. See [`work`] for the kinds of work. The function is called with `WARM` first, for what
//! happens only once. Then there is a collection, so that what the instance has is old.
//!
//! The work must not depend on time. But collectors read the clock: a slice of a collection ends when
//! its time is over, and the default policy compares the time of collections with that of the program.
//! So [`engine`] sets a policy that does not measure, and slices that have an hour. It compiles on one
//! thread.

use gc_wasm::error::Context as _;
use gc_wasm::{
    Caller, Collector, Config, Engine, ExternRef, FixedPolicy, Linker, Module, Result, Rooted,
    Store, TypedFunc, bail,
};
use std::hint::black_box;
use std::time::Duration;

/// The bytes of a heap that has its maximum from the start.
const HEAP: u64 = 16 << 20;

/// The size of a nursery.
const NURSERY: &str = "256KiB";

const MODULES: &[(&str, &str)] = &[
    ("accesses", include_str!("../../wat/accesses.wat")),
    ("allocation", include_str!("../../wat/allocation.wat")),
    ("calls", include_str!("../../wat/calls.wat")),
    ("operations", include_str!("../../wat/operations.wat")),
];

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [kind, collector, module, export, warm, rounds] = args.as_slice() else {
        bail!("the arguments are: WORK COLLECTOR MODULE EXPORT WARM ROUNDS");
    };
    let wat = MODULES.iter().find(|(name, _)| name == module).context("no such module")?.1;
    work(kind, &engine(collector)?, wat, export, warm.parse()?, rounds.parse()?)
}

/// Makes an engine with the collector of this name. Each heap has its maximum from the start.
fn engine(collector: &str) -> Result<Engine> {
    let mut collector = Collector::by_name(collector)?;
    if collector.name() == "generational" {
        collector = collector.with_option("nursery", NURSERY)?;
    }
    let mut config = Config::new();
    config
        .collector(collector)
        .gc_pause_target(Duration::from_secs(3600))
        .parallel_compilation(false);
    config.gc_heap_initial_size(HEAP).gc_heap_maximum(HEAP).growth_policy(FixedPolicy);
    Engine::new(&config)
}

/// Does a piece of work:
///
/// - `call`: the function is called once with the number of rounds.
/// - `enter`: the function `nop`, which takes and returns nothing, is called for each round.
/// - `collect`: the function is called again, and the heap is collected.
/// - `compile`: the module is compiled.
fn work(
    kind: &str,
    engine: &Engine,
    wat: &str,
    export: &str,
    warm: i32,
    rounds: i32,
) -> Result<()> {
    let module = Module::new(engine, wat)?;
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "nop", || ())?;
    linker.func_wrap("host", "add", |a: i32, b: i32| a.wrapping_add(b))?;
    linker.func_wrap("host", "same", |x: Option<Rooted<ExternRef>>| x)?;
    linker.func_wrap("host", "value", |mut caller: Caller<'_, ()>, n: i32| {
        ExternRef::new(&mut caller, n).map(Some)
    })?;
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let func: TypedFunc<i32, i32> = instance.get_typed_func(&mut store, export)?;
    func.call(&mut store, warm)?;
    store.gc(None)?;
    match kind {
        "call" => measured(|| func.call(&mut store, black_box(rounds)).map(drop)),
        "enter" => {
            let nop: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "nop")?;
            measured(|| (0..rounds).try_for_each(|_| nop.call(&mut store, ())))
        }
        "collect" => {
            func.call(&mut store, warm)?;
            measured(|| store.gc(None))
        }
        "compile" => measured(|| Module::new(engine, wat).map(drop)),
        _ => bail!("there is no work `{kind}`"),
    }
}

/// Calls a function. The instructions of all these calls are counted.
#[inline(never)]
fn measured(work: impl FnOnce() -> Result<()>) -> Result<()> {
    black_box(work())
}
