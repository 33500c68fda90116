//! A copy of the `reclaim` command that has one collector more: `--collector mark-sweep`.

// ANCHOR: command
use gc_wasm::Collector;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut collectors = Collector::all();
    collectors.push(custom_collector::mark_sweep().expect("its halves fit"));
    gc_cli::main_with(std::env::args_os(), collectors)
}
// ANCHOR_END: command
