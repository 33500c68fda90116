//! `reclaim compile`: compiles a module once, for later runs.

use crate::args;
use crate::failure::misuse;
use crate::interrupt::InterruptOptions;
use crate::options::EngineOptions;
use crate::program::Program;
use crate::registry::Registry;
use crate::wasmtime::Groups;
use anyhow::{Context, Result};
use clap::Args;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Arguments of `reclaim compile`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  reclaim compile app.wat                 compile it to app.cwasm
  reclaim compile app.wat -o app.elf      compile it to app.elf
  reclaim run app.elf --invoke main       run it
  reclaim compile app.wat -o app-arm.elf --target aarch64-linux
                                          compile it for another processor
  objdump -d app.elf                      its machine code (llvm-objdump, if it is for another processor)
  readelf -p .reclaim.abi app.elf         what it was compiled for
Run it with the same --collector with its options, --heap-bounds and --loop-polls, and with or without \
--gc-zeal as before: the code depends on them. Run it with --fuel exactly if it was compiled with \
--consume-fuel. Run only files that you trust: they are machine code.")]
pub struct CompileArgs {
    /// The module: binary (.wasm) or text (.wat).
    #[arg(value_name = "FILE", value_parser = args::path())]
    pub file: PathBuf,
    /// The file for the compiled module [default: the name of FILE in the current directory, with
    /// the extension `cwasm`].
    #[arg(short, long, value_name = "OUT", value_parser = args::path())]
    pub output: Option<PathBuf>,
    /// The machine that will run it: x86_64-linux or aarch64-linux, a target triple, or a level such as
    /// x86-64-v3 or armv8.1-a. Code for a level uses the extensions that all its processors have. x86_64-linux
    /// and aarch64-linux are the lowest levels, x86-64 and armv8-a [default: this machine with all its extensions].
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// Compile code that consumes fuel, for `reclaim run --fuel`.
    #[arg(long)]
    pub consume_fuel: bool,
    /// How it is ended.
    #[command(flatten)]
    pub interrupt: InterruptOptions,
    /// Collector and heap.
    #[command(flatten)]
    pub engine: EngineOptions,
    /// Options of Wasmtime.
    #[command(flatten)]
    pub groups: Groups,
}

/// Compiles the module and writes the result.
///
/// # Errors
/// Misuse: if the module is compiled already, or OUT is its file. Also if the module cannot be read
/// or compiled, or the file cannot be written.
pub fn execute(args: &CompileArgs, registry: &Registry) -> Result<()> {
    let output = output(args)?;
    if output == Path::new("-") {
        return Err(misuse(
            "`-` is no file: a compiled module is not written to the standard output",
        ));
    }
    let asked = args.groups.asked()?;
    let mut options = args.engine.clone();
    options.settings.code.consume_fuel = args.consume_fuel || asked.fuel.is_some();
    options.settings.code.target = args.target.clone();
    asked.change(&mut options);
    let mut interrupt = args.interrupt.clone();
    interrupt.timeout = asked.timeout.or(interrupt.timeout);
    interrupt.names = asked.option_names();
    let engine = options.engine(registry)?;
    let program = Program::read(&args.file)?;
    if program.is_compiled() {
        return Err(misuse(format!(
            "{} is already compiled: `compile` takes a module (.wasm or .wat), `run` takes this file",
            args.file.display()
        )));
    }
    if is_same_file(&args.file, &output) {
        let (file, output) = (args.file.display(), output.display());
        return Err(misuse(format!("{output} would replace the module {file}: name another OUT")));
    }
    let bytes = interrupt.listen()?.compiling(&engine, program.compiling(), || {
        let bytes = engine.precompile_module(program.bytes());
        bytes
            .map_err(|error| program.placed(error))
            .with_context(|| program.compiling())
            .map_err(|error| asked.explain(error, &program))
    })?;
    std::fs::write(&output, bytes).with_context(|| format!("writing {}", output.display()))
}

/// The file for the compiled module.
///
/// # Errors
/// Misuse: if there is no name for it.
fn output(args: &CompileArgs) -> Result<PathBuf> {
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    let name = args.file.file_name().map(|name| Path::new(name).with_extension("cwasm"));
    name.ok_or_else(|| misuse(format!("{} has no name: name an OUT", args.file.display())))
}

/// Whether both paths name one file, also by links. A device is not a file that can be lost.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let id = |path: &Path| {
        let metadata = std::fs::metadata(path).ok().filter(|metadata| metadata.is_file())?;
        Some((metadata.dev(), metadata.ino()))
    };
    id(a).is_some_and(|a| id(b) == Some(a))
}
