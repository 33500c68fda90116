//! Runs the embedding trials for every built-in collector.

use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    gc_conformance::run(gc_conformance::embedding::trials(&Collector::all()))
}
