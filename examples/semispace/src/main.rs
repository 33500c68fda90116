//! The command `semispace`: compiles a program to an object or an executable.

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use std::path::PathBuf;
use std::process::Command;

/// Compiles a program of a small language with a moving collector.
#[derive(Debug, Parser)]
struct Options {
    /// The program.
    file: PathBuf,
    /// Where the executable is written.
    #[arg(short)]
    output: PathBuf,
    /// Write an object instead of an executable.
    #[arg(short = 'c')]
    object: bool,
    /// Print the CLIF.
    #[arg(long)]
    clif: bool,
    /// The runtime. By default `libsemispace_runtime.a` beside this command.
    #[arg(long)]
    runtime: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let file = options.file.display();
    let text =
        std::fs::read_to_string(&options.file).with_context(|| format!("cannot read {file}"))?;
    let program = semispace::read(&text).with_context(|| format!("cannot read {file}"))?;
    let compiled =
        semispace::compile(&program).with_context(|| format!("cannot compile {file}"))?;
    if options.clif {
        print!("{}", compiled.clif);
    }
    let written = match options.object {
        true => options.output.clone(),
        false => options.output.with_extension("o"),
    };
    std::fs::write(&written, compiled.object)
        .with_context(|| format!("cannot write {}", written.display()))?;
    if options.object {
        return Ok(());
    }
    let beside = std::env::current_exe()?.with_file_name("libsemispace_runtime.a");
    let runtime = options.runtime.unwrap_or(beside);
    ensure!(
        runtime.exists(),
        "there is no runtime {}; build it with `cargo build -p semispace_runtime`",
        runtime.display()
    );
    let status = Command::new("cc")
        .args([&written, &runtime])
        .arg("-o")
        .arg(&options.output)
        .status()
        .context("cannot run the linker `cc`")?;
    ensure!(status.success(), "the linker failed");
    Ok(())
}
