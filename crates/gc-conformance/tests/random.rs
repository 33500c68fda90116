//! Random programs under every collector of ours.

use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    gc_conformance::run(gc_conformance::random::trials(&Collector::all()))
}
