//! `reclaim wast`: runs specification scripts.

use crate::args;
use crate::failure::Failure;
use crate::interrupt::InterruptOptions;
use crate::options::EngineOptions;
use crate::registry::Registry;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use gc_script::stack::with_stack;
use gc_script::{Report, run_script_with};
use gc_wasm::Engine;
use std::io::Write;
use std::path::PathBuf;

/// Arguments of `reclaim wast`.
#[derive(Args, Debug)]
#[command(after_help = "\
Prints for each script the number of directives that passed, failed, and were skipped because \
they need an unsupported feature; then each failure, and the number of skipped directives for \
each reason. The exit status is 1 if a directive failed.

Scripts can import the module `spectest` of the specification, and the function `gc` of the \
module `reclaim`, which collects all garbage.

Example:
  reclaim wast --collector null test/core/gc/*.wast")]
pub struct WastArgs {
    /// The scripts.
    #[arg(required = true, value_name = "FILE", value_parser = args::path())]
    pub files: Vec<PathBuf>,
    /// How it is ended.
    #[command(flatten)]
    pub interrupt: InterruptOptions,
    /// Collector and heap.
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// Runs the scripts.
///
/// # Errors
/// [`Failure::Reported`] if one fails.
pub fn execute(args: &WastArgs, registry: &Registry) -> Result<()> {
    let engine = args.engine.engine(registry)?;
    let interrupter = args.interrupt.listen()?;
    let mut total = Report::default();
    with_stack(args.engine.settings.run.stack_bytes(), || {
        let mut out = std::io::stdout().lock();
        for path in &args.files {
            let name = path.display().to_string();
            let report =
                std::fs::read(path).with_context(|| format!("reading {name}")).and_then(|bytes| {
                    let before = |at: &str, report: &Report| interrupter.doing(doing(at, report));
                    run_script_with(&engine, &name, &script(&name, bytes)?, before)
                });
            let report = report.unwrap_or_else(|error| Report::failed(&error));
            writeln!(out, "{name}: {}", report.summary())?;
            for failure in &report.failures {
                writeln!(out, "  {failure}")?;
            }
            for (reason, count) in &report.skipped {
                writeln!(out, "  {count} skipped: {reason}")?;
            }
            total.add(report);
        }
        if args.files.len() > 1 {
            writeln!(out, "{} scripts: {}", args.files.len(), total.summary())?;
        }
        Ok(())
    })?;
    if total.failures.is_empty() { Ok(()) } else { Err(Failure::Reported.into()) }
}

/// What the command does when it runs the directive at `at`, and what came of those before it.
fn doing(at: &str, report: &Report) -> String {
    let mut text = format!("running {at} ({} before)", report.summary());
    for failure in &report.failures {
        text.push_str(&format!("\n  {failure}"));
    }
    text
}

/// The text of the file `name`.
///
/// # Errors
/// If it is no text.
fn script(name: &str, bytes: Vec<u8>) -> Result<String> {
    if bytes.starts_with(b"\0asm") {
        bail!("{name} is no script: it is a module in the binary format, which `reclaim run` runs");
    }
    if Engine::detect_precompiled(&bytes).is_some() {
        bail!("{name} is no script: it is a compiled module, which `reclaim run` runs");
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        anyhow!("{name} is no script: it is not text in UTF-8 (from byte {at} on)")
    })
}
