//! The runtime of executables of the small Lisp in `examples/toy_language`. It contains the compiler, for `eval`.

use anyhow::Result;
use std::io::Write as _;
use toy_language::Session;

/// Runs the executable's program. Returns the exit code.
fn main() -> i32 {
    gc_native::exit_code(run())
}

fn run() -> Result<i32> {
    let print = |text: &str| {
        // Nobody may read what the program prints.
        let _ = writeln!(std::io::stdout(), "{text}");
    };
    let mut session = Session::with(print, |state, add| gc_native::open(state, add))?;
    match gc_native::run_main(session.store()) {
        Ok(code) => Ok(code),
        Err(error) => Err(session.explain(error)?),
    }
}

gc_native::main!("toy_main", main);
