//! The `reclaim` command: [`gc_cli::main`] does everything.

use std::process::ExitCode;

fn main() -> ExitCode {
    gc_cli::main(std::env::args_os())
}
