//! `reclaim explore`: shows the code that is emitted for a module's functions.

use crate::args;
use crate::call;
use crate::failure::misuse;
use crate::options::EngineOptions;
use crate::program::Program;
use crate::registry::Registry;
use anyhow::{Context, Error, Result, bail};
use clap::{Args, ValueEnum};
use gc_wasm::explore::{self, Listing, check, explore};
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `reclaim explore`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  reclaim explore lib.wat                                CLIF of all functions
  reclaim explore lib.wat --func push --collector null   CLIF of one, under `null`
  reclaim explore lib.wat --func push --emit asm         its machine code
  reclaim explore lib.wat --func push --emit stack-maps  references at calls
  reclaim explore lib.wat --check                        whether all keep the laws of emitted code")]
pub struct ExploreArgs {
    /// The module: binary (.wasm) or text (.wat).
    #[arg(value_name = "FILE", value_parser = args::path())]
    pub file: PathBuf,
    /// Only this function: its name, its export name, or its index.
    #[arg(long, value_name = "NAME", value_parser = args::text())]
    pub func: Option<String>,
    /// What to show.
    #[arg(long, value_enum, default_value_t = Emit::Clif, value_name = "WHAT")]
    pub emit: Emit,
    /// Check each function: references are in stack maps where they must be, stores of references
    /// have their barrier, and no access leaves the heap.
    #[arg(long)]
    pub check: bool,
    /// Collector and heap.
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// The views of `reclaim explore`.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Cranelift's intermediate representation, before optimisation.
    Clif,
    /// The machine code.
    Asm,
    /// The places of references on the stack at each call.
    StackMaps,
}

/// Prints the listings.
///
/// # Errors
/// If the module cannot be read or compiled, is compiled already, or if it has no such function. Also, after the
/// listings, if `--check` finds a function that breaks a law.
pub fn execute(args: &ExploreArgs, registry: &Registry) -> Result<()> {
    let engine = args.engine.engine(registry)?;
    let program = Program::read(&args.file)?;
    if program.is_compiled() {
        return Err(misuse(format!(
            "{} is already compiled: `explore` needs the module it was compiled from (`objdump -d` \
             shows the code in a compiled module)",
            args.file.display()
        )));
    }
    let bytes = program.bytes();
    let what = match args.emit {
        Emit::Clif => explore::Emit::Clif,
        Emit::Asm => explore::Emit::Asm,
        Emit::StackMaps => explore::Emit::StackMaps,
    };
    let listings = match (explore(&engine, bytes, what, args.func.as_deref()), &args.func) {
        (Err(error), Some(func)) => match explore(&engine, bytes, what, None) {
            Ok(all) => return Err(no_such_function(func, &all)),
            Err(_) => Err(error),
        },
        (listings, _) => listings,
    };
    let listings = listings.with_context(|| program.compiling())?;
    if listings.is_empty() {
        writeln!(std::io::stderr(), "the module defines no functions")?;
    }
    let checked = match args.check {
        true => check(&engine, bytes, args.func.as_deref())?,
        false => Vec::new(),
    };
    let mut out = std::io::stdout().lock();
    for (i, listing) in listings.iter().enumerate() {
        if i > 0 {
            writeln!(out)?;
        }
        writeln!(out, "; {} ({})", listing.name, args.engine.collector)?;
        writeln!(out, "{}", listing.text.trim_end())?;
        if let Some(checked) = checked.iter().find(|checked| checked.index == listing.index) {
            match &checked.broken {
                None => writeln!(out, "checked: roots, barriers, sandbox")?,
                Some(law) => writeln!(out, "broken: {law}")?,
            }
        }
    }
    if let Some(broken) = checked.iter().find(|checked| checked.broken.is_some()) {
        bail!("`{}` breaks a law of emitted code: this is a bug of the compiler", broken.name);
    }
    Ok(())
}

/// The error for a filter that matches no function.
fn no_such_function(func: &str, all: &[Listing]) -> Error {
    let near = call::near(func, all.iter().map(|listing| &*listing.name));
    let hint = match near {
        Some(name) => format!("; did you mean `{name}`?"),
        None => call::list("; it defines", all.iter().map(|listing| listing.name.as_str())),
    };
    misuse(format!("the module defines no function `{func}`{hint}"))
}
