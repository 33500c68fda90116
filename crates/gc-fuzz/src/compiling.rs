//! What must come of every module that is compiled: code or an error, in time that its size bounds,
//! and as the validator says.

use super::report;
use anyhow::{Result, bail, ensure};
use gc_wasm::{Collector, Config, Engine, Module, OptLevel, RegallocAlgorithm};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use wasmparser::{Validator, WasmFeatures};

/// What makes valid modules too large for this engine. These are all the reasons to refuse one.
const LIMITS: [&str; 3] =
    ["function too large", "types in one engine at the same time", "Implementation limit exceeded"];

/// An engine that compiles in the way that these bits choose.
fn engine(bits: u8) -> Result<Engine> {
    let collectors = Collector::all();
    let bit = |index: u32| bits >> index & 1 == 1;
    let mut config = Config::new();
    config
        .collector(collectors[usize::from(bits % 4)].clone())
        .cranelift_opt_level(if bit(2) { OptLevel::None } else { OptLevel::Speed })
        .consume_fuel(bit(3))
        .epoch_interruption(bit(4))
        .interruptible(bit(5))
        // Then the time of this thread is all the time.
        .parallel_compilation(false);
    if bit(6) {
        config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    }
    if bit(7) {
        config.memory_reservation(1 << 16).memory_guard_size(1 << 16);
    }
    Engine::new(&config)
}

/// Compiles a module in the way that `bits` chooses.
pub(super) fn check(bits: u8, module: &[u8]) -> Result<()> {
    let engine = engine(bits)?;
    report::configuration(engine.config());
    report::module(module);
    let valid = validate(module);
    let began = clock();
    let compiled = Module::from_binary(&engine, module);
    let time = clock() - began;
    let most = longest(module.len());
    ensure!(time < most, "{} bytes are compiled in {time:?}, not in {most:?}", module.len());
    log::debug!("in {time:?}: {:?}", compiled.as_ref().err());
    match (valid, compiled) {
        (Ok(_), Ok(module)) => look_at(&module),
        (Err(_), Err(_)) => Ok(()),
        (Ok(_), Err(why)) => {
            let why = format!("{why:#}");
            ensure!(is_limit(&why), "a valid module is not compiled: {why}");
            Ok(())
        }
        (Err(why), Ok(_)) => bail!("a module is compiled that is invalid: {why}"),
    }
}

/// Whether this is a reason to refuse a valid module.
pub(super) fn is_limit(why: &str) -> bool {
    LIMITS.iter().any(|limit| why.contains(limit))
}

/// The longest time for a module of this size.
fn longest(bytes: usize) -> Duration {
    Duration::from_secs(2) + Duration::from_millis(2) * u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The time that this thread has run.
fn clock() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Whether a module is valid with what this engine has, by the validator alone.
pub(super) fn validate(module: &[u8]) -> wasmparser::Result<()> {
    Validator::new_with_features(features()).validate_all(module).map(drop)
}

/// What this engine has.
fn features() -> WasmFeatures {
    WasmFeatures::WASM3.difference(WasmFeatures::THREADS)
        | WasmFeatures::LEGACY_EXCEPTIONS
        | WasmFeatures::GC_TYPES
}

/// Looks at all that a module says of itself, and saves its code if that is possible.
fn look_at(module: &Module) -> Result<()> {
    for (number, export) in module.exports().enumerate() {
        let found = module.get_export(export.name()).map(|ty| format!("{ty:?}"));
        ensure!(found == Some(format!("{:?}", export.ty())), "export {number} is not found");
    }
    drop(format!("{:?}", module.imports().collect::<Vec<_>>()));
    let saved = module.serialize()?;
    ensure!(Engine::detect_precompiled(&saved).is_some(), "the saved module is not recognised");
    Ok(())
}
