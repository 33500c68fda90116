//! The laws of the barriers of every built-in collector.

use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    gc_conformance::run(gc_conformance::laws::trials(&Collector::all()))
}
