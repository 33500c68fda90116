//! The options that subcommands share: the collector and its heap ([`HeapArgs`]), how code runs
//! ([`ExecutionArgs`]), and how it is compiled ([`CompilationArgs`]).

mod heap;

pub use heap::{HeapArgs, HeapPolicy, MinimumSize};

use crate::args;
use crate::failure::misuse;
use crate::option_names::OptionNames;
use crate::registry::Registry;
use crate::wasmtime;
use anyhow::Result;
use clap::{Args, ValueEnum};
use gc_engine::size;
use gc_wasm::{CacheStore, Collector, Config, Engine, FolderCache, ProfilingStrategy, RunOptions};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The heading of options for heaps, memories and stacks in help texts.
const HEAP: &str = "Heap, memory and stack";
/// The heading of options for compilation.
const COMPILATION: &str = "Compilation";

/// An engine with one collector.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEAP)]
pub struct EngineOptions {
    /// The collector, and optionally its options: `NAME:OPTION=VALUE`. `reclaim collectors` lists
    /// both.
    // The registry adds the possible values and the default.
    #[arg(long, value_name = "NAME", help_heading = None::<&str>)]
    pub collector: String,
    /// Keep compiled functions in this folder, so that they are not compiled again.
    ///
    /// It is made if it does not exist. Use only a folder in which nobody else can write: it has machine code.
    #[arg(long, value_name = "FOLDER", value_parser = args::path())]
    #[arg(help_heading = COMPILATION)]
    pub cache: Option<PathBuf>,
    /// All that does not depend on the collector.
    #[command(flatten)]
    pub settings: Settings,
}

/// The options of an engine with any collector.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The heap.
    #[command(flatten)]
    pub heap: HeapArgs,
    /// How code runs.
    #[command(flatten)]
    pub run: ExecutionArgs,
    /// How code is compiled.
    #[command(flatten)]
    pub code: CompilationArgs,
    /// Settings of the engine that are no options of this command.
    #[arg(skip)]
    pub changes: Changes,
    /// The names by which errors call options.
    #[arg(skip)]
    pub names: OptionNames,
}

/// How code runs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEAP)]
pub struct ExecutionArgs {
    /// The maximum size of each linear memory. Only a memory with 64-bit addresses can have more than
    /// 4GiB.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size::parse)]
    pub memory_max: u64,
    /// The stack for compiled code. Deeper recursion traps.
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = size::parse)]
    pub max_stack: u64,
    /// Whether each loop polls, with one instruction, so that a program can be interrupted. Without
    /// polls, Ctrl-C ends the command at once, and there is no --timeout.
    #[arg(long, value_enum, value_name = "WHETHER", default_value_t = LoopPolls::On)]
    #[arg(help_heading = COMPILATION)]
    pub loop_polls: LoopPolls,
    /// How compiled functions are made known to a profiler. `reclaim run` has an option for it.
    #[arg(skip = ProfilingStrategy::None)]
    pub profiler: ProfilingStrategy,
}

impl ExecutionArgs {
    /// Bytes of stack for compiled code.
    pub fn stack_bytes(&self) -> usize {
        usize::try_from(self.max_stack).unwrap_or(usize::MAX)
    }

    /// These options as those of an engine.
    fn options(&self) -> RunOptions {
        RunOptions {
            max_stack: self.stack_bytes(),
            interruptible: self.loop_polls == LoopPolls::On,
        }
    }
}

/// How code is compiled.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = COMPILATION)]
pub struct CompilationArgs {
    /// Whether calls of small functions are replaced with their bodies. Backtraces have these
    /// functions too.
    #[arg(long, value_enum, value_name = "WHETHER", default_value_t = Inlining::On)]
    pub inlining: Inlining,
    /// Functions sign their return addresses while these are on the stack (pointer authentication of
    /// aarch64). A processor of aarch64 without it ignores the instructions. It is refused for x86-64.
    #[arg(long)]
    pub sign_return_addresses: bool,
    /// The machine for which code is compiled, if it is not this one. Not each subcommand has the option for it.
    #[arg(skip)]
    pub target: Option<String>,
    /// Whether code consumes fuel. Each subcommand has its own option for it.
    #[arg(skip)]
    pub consume_fuel: bool,
    /// Where compiled functions are kept. Not each subcommand has the option for it.
    #[arg(skip)]
    pub cache: Option<Arc<dyn CacheStore>>,
}

/// Whether calls are inlined.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inlining {
    /// Calls of small functions.
    On,
    /// No calls.
    Off,
}

/// Whether loops poll.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopPolls {
    /// Each loop polls.
    On,
    /// No loop polls.
    Off,
}

/// A change of an engine's settings.
type Change = Arc<dyn Fn(&mut Config) + Send + Sync>;

/// Changes of an engine's settings.
#[derive(Clone, Default)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// Adds a change.
    pub fn add(&mut self, change: impl Fn(&mut Config) + Send + Sync + 'static) {
        self.0.push(Arc::new(change));
    }

    /// Makes the changes, in the order in which they were added.
    fn make(&self, config: &mut Config) {
        self.0.iter().for_each(|change| change(config));
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changes", self.0.len())
    }
}

impl EngineOptions {
    /// An engine with these options, and a collector from `registry`.
    ///
    /// # Errors
    /// Misuse: if they are not possible. Also if the folder of the cache cannot be made.
    pub fn engine(&self, registry: &Registry) -> Result<Engine> {
        let mut settings = self.settings.clone();
        if let Some(folder) = &self.cache {
            if folder.is_file() {
                let folder = folder.display();
                return Err(misuse(format!("`--cache {folder}`: it is a file, not a folder")));
            }
            settings.code.cache = Some(Arc::new(FolderCache::new(folder)?));
        }
        settings.engine(&registry.choose(&self.collector, settings.names.collector)?)
    }
}

impl Settings {
    /// An engine with these options and `collector`.
    ///
    /// # Errors
    /// Misuse: if they are not possible.
    pub fn engine(&self, collector: &Collector) -> Result<Engine> {
        let heap = self.heap.options(collector, &self.names)?;
        MinimumSize(gc_engine::Engine::MIN_STACK as u64)
            .check(self.names.max_stack, self.run.max_stack)?;
        let mut config = Config::new();
        config
            .collector(collector.clone())
            .gc_heap(heap)
            .run(self.run.options())
            .memory_maximum(self.run.memory_max)
            .profiler(self.run.profiler)
            .compiler_inlining(match self.code.inlining {
                Inlining::On => gc_wasm::Inlining::Yes,
                Inlining::Off => gc_wasm::Inlining::No,
            })
            .sign_return_addresses(self.code.sign_return_addresses)
            .consume_fuel(self.code.consume_fuel);
        if let Some(target) = &self.code.target {
            config.target(target).map_err(|error| misuse(format!("`--target`: {error:#}")))?;
        }
        self.changes.make(&mut config);
        if let Some(cache) = &self.code.cache {
            config.enable_incremental_compilation(cache.clone())?;
        }
        Engine::new(&config).map_err(|error| {
            let without = self.heap.gc_zeal != 0 && !cfg!(feature = "gc_zeal");
            let hint =
                if without { "; for this command, build it with `--features gc_zeal`" } else { "" };
            misuse(format!("{}{hint}", wasmtime::with_settings(&format!("{error:#}"))))
        })
    }
}
