//! A small functional language, compiled to machine code straight from Cranelift, with a
//! garbage collector that is chosen by a flag: what it takes to use `gc-compiler` and
//! `gc-jit` without any WebAssembly.
//!
//! ```text
//! cargo run -p toy_language                              # the built-in demo, each collector
//! cargo run -p toy_language -- --collector drc FILE      # a program
//! cargo run -p toy_language -- --clif FILE               # its functions before compilation
//! ```
//!
//! The language has integers, lists and closures, and nothing else:
//!
//! ```text
//! let rec map f xs = match xs with [] -> [] | x :: rest -> f x :: map f rest in
//! print (map (fun x -> x * x) [1, 2, 3])          # [1, 4, 9]
//! ```
//!
//! `let x = e in e`, `let f x y = e in e`, `let rec`, `fun x y -> e`, `if e then e else e`,
//! `match e with [] -> e | x :: xs -> e`, `e; e`, `print e`; `+ - * / %`, `= <> < <= > >=`,
//! `&& ||` (0 is false), `::` and `[a, b]`. Functions take one argument at a time, calls in
//! tail position use no stack, and numbers have 31 bits and wrap.
//!
//! How it is built, in the order to read it:
//!
//! - `syntax.rs`: text to [`syntax::Expr`].
//! - `values.rs`: what values are to the heap: type indices, layouts, header words.
//! - `codegen.rs`: one CLIF function for each closure body. Everything that touches the
//!   heap goes through a `dyn GcCompiler`; nothing here knows which collector it is.
//! - `runtime.rs`: links the functions, makes a heap, enters the code, prints values.

mod codegen;
mod runtime;
mod syntax;
#[cfg(test)]
mod tests;
mod values;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use runtime::{COLLECTORS, Collector, Options};
use std::io::Write;
use std::path::PathBuf;

/// Runs a program of a small functional language.
#[derive(Parser)]
struct Arguments {
    /// The program's file; without one, a demo that checks its own results
    file: Option<PathBuf>,
    /// Which collector: null or drc. The demo runs under each unless told
    #[arg(long, value_name = "NAME", value_parser = Collector::named)]
    collector: Option<&'static Collector>,
    /// The most bytes the heap may use
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    heap_max: u64,
    /// Shows the functions as CLIF instead of running them
    #[arg(long)]
    clif: bool,
    /// Shows what the heap did
    #[arg(long)]
    stats: bool,
}

const DEMO: &str = include_str!("../demo.toy");
const DEMO_PRINTS: &str = "\
[1, 4, 9, 16, 25, 36, 49, 64, 81, 100]
5050
[2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47]
[[3, 1, 6, 2, 5, 7, 4, 0], 92]
500000
";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let collectors = match arguments.collector {
        Some(collector) => vec![collector],
        None if arguments.file.is_none() => COLLECTORS.iter().collect(),
        None => vec![Collector::named("drc").expect("it is in the list")],
    };
    let source = match &arguments.file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?,
        None => DEMO.to_owned(),
    };
    let program = syntax::parse(&source)?;
    for collector in collectors {
        let options = Options { collector, heap_max: arguments.heap_max };
        if arguments.clif {
            print!("{}", runtime::clif(&program, &options)?);
            continue;
        }
        let mut output = String::new();
        let result = runtime::run(&program, &options, &mut output);
        std::io::stdout().write_all(output.as_bytes())?;
        let stats = result?;
        if arguments.stats || arguments.file.is_none() {
            eprintln!(
                "{}: {} objects, {} bytes, {} collections",
                collector.name(),
                stats.allocations,
                stats.allocated_bytes,
                stats.collections
            );
        }
        ensure!(
            arguments.file.is_some() || output == DEMO_PRINTS,
            "the demo should have printed:\n{DEMO_PRINTS}"
        );
    }
    Ok(())
}
