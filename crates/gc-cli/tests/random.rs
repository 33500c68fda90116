//! Random programs under every collector of ours.

use gc_cli::conformance;
use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    conformance::run(conformance::random::trials(&Collector::all()))
}
