//! A small Lisp that is compiled to machine code with Cranelift, form by form. A flag chooses the garbage
//! collector. The program shows how to use `gc-engine` without WebAssembly, and has no `unsafe` code.
//!
//! ```text
//! cargo run -p toy_language -- run FILE --collector drc      # a program, such as demo.toy
//! cargo run -p toy_language -- repl                          # a prompt
//! ```
//!
//! ```text
//! (def (map f xs)
//!   (match xs () (x rest) (cons (f x) (map f rest))))
//! (print (map (fun (x) (* x x)) (list 1 2 3)))        ; (1 4 9)
//! ```
//!
//! A program is a sequence of forms, which run one after the other. There are integers of 31 bits, which
//! wrap, lists, functions, strings, vectors and symbols (`'name`). `()` is the empty list and "no"; all
//! other values are "yes". Forms:
//!
//! - `(def name e)`, `(def (f x y) …)`: outside of functions, for all forms, and again to redefine it; in a
//!   body, for the rest of the body
//! - `(fun (x y) …)`, `(f a b)`: functions and calls. Tail calls use no stack
//! - `(if e yes no)`, `(while e …)`, `(do …)`, `(set name e)`,
//!   `(match list empty (head tail) not_empty)`
//! - `(throw e)`, `(try e (name handler))`
//! - `(cons e list)`, `(list a b)`, `(vector a b)`, `(new-vector size e)`, `(get vector i)`,
//!   `(put vector i e)`, `(size vector)`, `(byte string i)`, `(join string string)`
//! - `+ - * / % = <`, `not`, `int?`, `pair?`, `string?`, `symbol?`
//! - functions of the host: `print`, `text`, `same` (two strings), `symbol`, `symbols`, `eval`
//!
//! Read the files in this order: `reader.rs` (text to trees), `forms.rs` (its words), `types.rs` (its
//! objects), `compiler.rs`, `variables.rs` and `builtins.rs` (trees to CLIF), `session.rs` (the store, functions of the
//! host), `show.rs` (values to text).

mod builtins;
mod compiler;
mod forms;
mod reader;
mod session;
mod show;
#[cfg(test)]
mod tests;
mod types;
mod variables;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use gc_engine::{CodeOptions, Collector, Engine};
use reader::Unclosed;
use session::Session;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

/// Runs programs of a small Lisp.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Which collector
    #[arg(long, global = true, value_name = "NAME[:OPTION=VALUE]", default_value = "generational")]
    collector: Collector,
    /// The most bytes the heap may use
    #[arg(long, global = true, value_name = "BYTES", default_value_t = 64 << 20)]
    heap_max: u64,
    /// Test the type of an object before each access
    #[arg(long, global = true)]
    checked: bool,
    /// Print the heap's statistics at the end
    #[arg(long, global = true)]
    stats: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run a program
    Run { file: PathBuf },
    /// Run forms from the standard input, and print the value of each
    Repl,
}

/// Bytes of stack that compiled code may use. They are enough to build lists of tens of thousands
/// of elements without tail calls.
const MAX_STACK: usize = 4 << 20;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let code = CodeOptions { checked: arguments.checked, ..CodeOptions::default() };
    let engine = Engine::builder(arguments.collector).heap_maximum(arguments.heap_max).code(code);
    let mut session = Session::new(&engine.max_stack(MAX_STACK).build()?, |text| {
        // Nobody may read what the program prints.
        let _ = writeln!(std::io::stdout(), "{text}");
    })?;
    match arguments.command {
        Command::Run { file } => {
            let source = std::fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            session.run(&source)?;
        }
        Command::Repl => repl(&mut session)?,
    }
    if arguments.stats {
        let stats = session.stats();
        eprintln!("{} objects, {} collections", stats.allocations, stats.collections);
    }
    Ok(())
}

/// Reads forms, each of one or more lines, and shows their values, until the input ends.
fn repl(session: &mut Session) -> Result<()> {
    let (input, mut source) = (std::io::stdin(), String::new());
    loop {
        if input.is_terminal() {
            print!("{}", if source.is_empty() { "> " } else { "  " });
            std::io::stdout().flush()?;
        }
        let is_last = input.lock().read_line(&mut source).context("cannot read the input")? == 0;
        let is_open = reader::read(&source).is_err_and(|error| error.is::<Unclosed>());
        if is_open && !is_last {
            continue;
        }
        if !source.trim().is_empty() {
            match session.run(&source) {
                Ok(value) => writeln!(std::io::stdout(), "{value}")?,
                Err(error) => writeln!(std::io::stdout(), "error: {error}")?,
            }
        }
        if is_last {
            return Ok(());
        }
        source.clear();
    }
}
