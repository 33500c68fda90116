//! What a host sees of its references under every collector of ours.

use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    gc_conformance::run(gc_conformance::embedding::trials(&Collector::all()))
}
