//! What a host sees of its references under every collector of ours.

use gc_cli::conformance;
use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    conformance::run(conformance::embedding::trials(&Collector::all()))
}
