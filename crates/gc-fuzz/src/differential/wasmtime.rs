//! Runs a module in Wasmtime.

use super::embedding::embedding;
use super::features::Features;
use std::sync::LazyLock;
use wasmtime::{Collector, Config, GcHeapOutOfMemory};

embedding! { wasmtime }

/// What modules for Wasmtime may have. A cast of a value of the host to the type of a struct or an array
/// ends the process in Wasmtime 48: it looks the type of the value up, which has none.
pub const FEATURES: Features = Features { casts_of_host_values: false, ..Features::ALL };

/// An engine for each collector of Wasmtime.
static ENGINES: LazyLock<[Engine; 3]> = LazyLock::new(|| {
    use Collector::{Copying, DeferredReferenceCounting, Null};
    [Copying, DeferredReferenceCounting, Null].map(|collector| {
        Engine::new(&config(collector)).expect("Wasmtime has these collectors and features")
    })
});

/// The name of the collector with this number.
pub fn collector(number: u8) -> &'static str {
    ["copying", "drc", "null"][usize::from(number) % 3]
}

fn config(collector: Collector) -> Config {
    let mut config = Config::new();
    config
        .collector(collector)
        .wasm_tail_call(true)
        .wasm_reference_types(true)
        .wasm_function_references(true)
        .wasm_gc(true)
        .wasm_exceptions(true)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_extended_const(true)
        .async_stack_size(super::STACK)
        .max_wasm_stack(super::STACK);
    config
}

/// Compiles a module for the collector with this number.
fn module(bytes: &[u8], collector: u8) -> Result<(Store<()>, Module)> {
    let engine = &ENGINES[usize::from(collector) % 3];
    Ok((Store::new(engine, ()), Module::new(engine, bytes)?))
}

/// Runs a module under the collector with this number. `choices` decides what is called.
///
/// # Errors
/// If Wasmtime does not compile it.
pub fn run(bytes: &[u8], collector: u8, choices: &mut Choices) -> anyhow::Result<Run> {
    let (mut store, module) = module(bytes, collector)?;
    Ok(lead(&mut store, &module, choices, None)?)
}

/// Runs a module with the calls of `leader`.
///
/// # Errors
/// If Wasmtime does not compile it.
pub(super) fn repeat(bytes: &[u8], collector: u8, leader: &Run) -> anyhow::Result<Run> {
    let (mut store, module) = module(bytes, collector)?;
    Ok(follow(&mut store, &module, leader)?)
}

/// What is done between two calls.
fn between(_: &mut Store<()>) -> Result<()> {
    Ok(())
}

/// How the call that failed with `error` ended.
fn ended(store: &mut Store<()>, error: &Error) -> Result<Outcome> {
    if error.is::<ThrownException>() {
        return thrown(store);
    }
    if error.is::<GcHeapOutOfMemory<()>>() {
        return Ok(Outcome::Exhausted("heap".to_string()));
    }
    let outcome = error.downcast_ref::<Trap>().and_then(|trap| trapped(*trap));
    Ok(outcome.unwrap_or_else(|| match format!("{error:#}").contains(super::NO_VALUE) {
        true => Outcome::Trapped("host function".into()),
        false => Outcome::Failed(format!("{error:?}")),
    }))
}
