//! The `reclaim` command with one more collector: `--collector two-generations`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut collectors = gc_wasm::Collector::all();
    collectors.push(two_generations::two_generations().expect("its halves fit"));
    gc_cli::main_with(std::env::args_os(), collectors)
}
