//! A small functional language that is compiled to machine code with Cranelift. A flag chooses the
//! garbage collector. The program shows how to use `gc-engine` without WebAssembly.
//!
//! ```text
//! cargo run -p toy_language                              # the demo, under each collector
//! cargo run -p toy_language -- --collector drc FILE      # a program
//! ```
//!
//! A program consists of definitions and an expression, whose value is printed:
//!
//! ```text
//! (def (map f xs)
//!   (match xs () (x rest) (cons (f x) (map f rest))))
//! (map (fun (x) (* x x)) (list 1 2 3))        ; (1 4 9)
//! ```
//!
//! There are lists, functions, and integers of 31 bits, which wrap: `(def name e)`,
//! `(def (f x y) …)`, `(fun (x y) …)`, `(f a b)`; `(if e yes no)`, where 0 is no;
//! `(match list empty (head tail) not_empty)`, `(cons e list)`, `(list a b)`, `()`;
//! `+ - * / % = <`. A function's body is again definitions and an expression. A function
//! that gets too few arguments returns one of the rest. Tail calls use no stack.
//!
//! Read the files in this order: `syntax.rs` (text to forms), `compiler.rs` (forms to CLIF),
//! `function.rs` (types and functions), `runtime.rs` (the heap, running).

mod compiler;
mod function;
mod runtime;
mod syntax;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use gc_engine::{Collector, Engine};
use std::io::Write;
use std::path::PathBuf;

/// Runs a program of a small functional language.
#[derive(Parser)]
struct Arguments {
    /// The program's file; without one, a demo that checks its own result
    file: Option<PathBuf>,
    /// Which collector; without one, each in turn
    #[arg(long, value_name = "NAME[:OPTION=VALUE]")]
    collector: Vec<Collector>,
    /// The most bytes the heap may use
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    heap_max: u64,
}

const DEMO: &str = include_str!("../demo.toy");
const DEMO_RESULT: &str = "((1 4 9 16 25 36 49 64 81 100) \
    (2 3 5 7 11 13 17 19 23 29 31 37 41 43 47) (4 6 1 5 2 0 3 7) 92 500000)";

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let source = match &arguments.file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?,
        None => DEMO.to_owned(),
    };
    let mut collectors = arguments.collector;
    if collectors.is_empty() {
        collectors = Collector::all();
    }
    for collector in collectors {
        let engine = Engine::builder(collector.clone()).heap_maximum(arguments.heap_max);
        let engine = engine.max_stack(runtime::MAX_STACK).build()?;
        let (result, stats) = runtime::run(&source, &engine)?;
        writeln!(std::io::stdout(), "{result}")?;
        eprintln!("{collector}: {} objects, {} collections", stats.allocations, stats.collections);
        ensure!(
            arguments.file.is_some() || result == DEMO_RESULT,
            "the demo's result should be\n{DEMO_RESULT}"
        );
    }
    Ok(())
}
