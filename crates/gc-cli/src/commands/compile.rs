//! `reclaim compile`: compiles a module once, for later runs.

use crate::args;
use crate::options::EngineOptions;
use crate::program::Program;
use crate::registry::Registry;
use anyhow::{Context, Result};
use clap::Args;
use std::path::PathBuf;

/// Arguments of `reclaim compile`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  reclaim compile app.wat -o app.elf      compile it
  reclaim run app.elf --invoke main       run it
  objdump -d app.elf                      its machine code
  readelf -p .reclaim.abi app.elf         what it was compiled for
Run it with the options it was compiled with. Run only files that you trust: they are \
machine code.")]
pub struct CompileArgs {
    /// The module: binary (.wasm) or text (.wat).
    #[arg(value_name = "FILE", value_parser = args::path())]
    pub file: PathBuf,
    /// The file for the compiled module.
    #[arg(short, long, value_name = "OUT", value_parser = args::path())]
    pub output: PathBuf,
    /// Collector and heap.
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// Compiles the module and writes the result.
///
/// # Errors
/// If the module cannot be read or compiled, or the file cannot be written.
pub fn execute(args: &CompileArgs, registry: &Registry) -> Result<()> {
    let engine = args.engine.engine(registry)?;
    let bytes = Program::read(&args.file)?.compile(&engine)?.serialize()?;
    std::fs::write(&args.output, bytes)
        .with_context(|| format!("writing {}", args.output.display()))
}
