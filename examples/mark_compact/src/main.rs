//! The `reclaim` command with one more collector: `--collector mark-compact`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut collectors = gc_wasm::Collector::all();
    collectors.push(mark_compact::mark_compact().expect("its halves fit"));
    gc_cli::main_with(std::env::args_os(), collectors)
}
