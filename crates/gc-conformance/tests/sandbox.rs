//! Runs compiled code on damaged heaps under every built-in collector.

use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    gc_conformance::run(gc_conformance::sandbox::trials(&Collector::all()))
}
