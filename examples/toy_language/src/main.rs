//! The command of the small Lisp.

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use gc_engine::{CodeOptions, Collector, Engine, Machine};
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use toy_language::{Executable, MAX_STACK, Session, Unclosed, check};

/// The level of the architecture that executables are compiled for, if the user says nothing.
const BASELINE: &str = if cfg!(target_arch = "aarch64") { "armv8-a" } else { "x86-64-v2" };

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
    /// Collect at every Nth allocation
    #[arg(long, global = true, value_name = "N", default_value_t = 0)]
    zeal: u32,
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
    /// Make an executable of a program
    Build {
        file: PathBuf,
        #[arg(short)]
        output: PathBuf,
        /// The static library of the package `toy_runtime`; without it, the one beside this command
        #[arg(long)]
        runtime: Option<PathBuf>,
        /// The processors that it runs on: a level of their architecture
        #[arg(long, value_name = "LEVEL", default_value = BASELINE)]
        baseline: String,
        /// Keep what debuggers need
        #[arg(short = 'g')]
        debug: bool,
        /// Let unwinders walk through the program's functions (`.eh_frame`)
        #[arg(long)]
        unwind_tables: bool,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let code = CodeOptions {
        checked: arguments.checked,
        unwind_tables: matches!(arguments.command, Command::Build { unwind_tables: true, .. }),
        ..CodeOptions::default()
    };
    let mut engine = Engine::builder(arguments.collector)
        .heap_maximum(arguments.heap_max)
        .code(code)
        .zeal(arguments.zeal)
        .max_stack(MAX_STACK);
    if let Command::Build { baseline, .. } = &arguments.command {
        let machine = Machine::baseline(baseline);
        let machine = machine.with_context(|| format!("there is no baseline {baseline}"))?;
        let here = Machine::host();
        ensure!(
            machine.arch() == here.arch(),
            "{baseline} is a level of {}, and the program is linked for {}",
            machine.arch(),
            here.arch()
        );
        engine = engine.machine(machine);
    }
    let engine = engine.build()?;
    let read = |file: &Path| {
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
    };
    if let Command::Build { file, output, runtime, debug, .. } = &arguments.command {
        let executable = Executable::new(&engine, &read(file)?, &file.to_string_lossy())?;
        return link(&executable, output, runtime.as_deref(), *debug);
    }
    let mut session = Session::new(&engine, |text| {
        // Nobody may read what the program prints.
        let _ = writeln!(std::io::stdout(), "{text}");
    })?;
    match arguments.command {
        Command::Run { file } => drop(session.run(&read(&file)?)?),
        _ => repl(&mut session)?,
    }
    if arguments.stats {
        let stats = session.stats();
        eprintln!("{} objects, {} collections", stats.allocations, stats.collections);
    }
    Ok(())
}

/// Links the objects of a program with the runtime.
fn link(executable: &Executable, output: &Path, runtime: Option<&Path>, debug: bool) -> Result<()> {
    let beside = std::env::current_exe()?.with_file_name("libtoy_runtime.a");
    let runtime = runtime.unwrap_or(&beside);
    ensure!(
        runtime.exists(),
        "there is no {}: `cargo build -p toy_runtime` builds it",
        runtime.display()
    );
    let folder = output.with_extension("objects");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let mut linker = std::process::Command::new("cc");
    linker.args((!debug).then_some("-Wl,-S")).args(["-Wl,--gc-sections", "-o"]).arg(output);
    for (name, object) in executable.objects() {
        let path = folder.join(name);
        std::fs::write(&path, object)
            .with_context(|| format!("cannot write {}", path.display()))?;
        linker.arg(path);
    }
    let status = linker.arg(runtime).arg("-lm").status().context("cannot run the linker `cc`")?;
    std::fs::remove_dir_all(folder)?;
    ensure!(status.success(), "the linker failed");
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
        let is_open = check(&source).is_err_and(|error| error.is::<Unclosed>());
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
