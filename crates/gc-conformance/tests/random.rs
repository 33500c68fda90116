//! Runs random programs under every built-in collector.

use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    gc_conformance::run(gc_conformance::random::trials(&Collector::all()))
}
