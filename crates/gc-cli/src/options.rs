//! The options that all subcommands share: the collector, its heap, and the stack.

use crate::args;
use crate::duration;
use crate::failure::misuse;
use crate::option_names::{OptionNames, with_value};
use crate::registry::Registry;
use crate::wasmtime;
use anyhow::Result;
use clap::{Args, ValueEnum};
use gc_engine::size;
use gc_wasm::{
    AdaptivePolicy, CacheStore, Collector, Config, Engine, FixedPolicy, FolderCache,
    ProfilingStrategy,
};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that 32 bits can address.
const HEAP_LIMIT: u64 = 1 << 32;

/// The heading of options for heaps, memories and stacks in help texts.
const HEAP: &str = "Heap, memory and stack";

/// The collector, its heap, and the stack.
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
    #[arg(help_heading = "Compilation")]
    pub cache: Option<PathBuf>,
    /// Its heap, and the stack.
    #[command(flatten)]
    pub heap: HeapOptions,
}

/// The heap, for any collector, and the stack.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEAP)]
pub struct HeapOptions {
    /// The maximum size of the GC heap: at least 128KiB, and at most 4GiB or the collector's maximum.
    ///
    /// It includes 64KiB at the start that hold no objects. An allocation for which there is no room,
    /// even after a collection, traps.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = heap_size)]
    #[arg(help_heading = None::<&str>)]
    pub heap_max: u64,
    /// The initial size of the GC heap [default: 1MiB].
    #[arg(long, value_name = "SIZE", value_parser = heap_size)]
    pub heap_initial: Option<u64>,
    /// The amount of memory to spend for less time in collections.
    #[arg(long, value_enum, value_name = "POLICY", default_value_t = HeapPolicy::Balanced)]
    pub heap_policy: HeapPolicy,
    /// The live share of the heap when the whole heap is collected. It may be lower if collections
    /// would take too much time [default: that of --heap-policy, 60 for
    /// `balanced`].
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub heap_utilisation: Option<u8>,
    /// How compiled code stays inside the GC heap.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = HeapBounds::Guarded)]
    pub heap_bounds: HeapBounds,
    /// The maximum size of each linear memory. Only a memory with 64-bit addresses can have more than
    /// 4GiB.
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = size::parse)]
    pub memory_max: u64,
    /// The stack for compiled code. Deeper recursion traps.
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = size::parse)]
    pub max_stack: u64,
    /// The maximal time for which a slice of an incremental collection stops the program.
    #[arg(long, value_name = "TIME", default_value = "500us", value_parser = time)]
    pub gc_slice: Duration,
    /// Whether each loop polls, with one instruction, so that a program can be interrupted. Without
    /// polls, Ctrl-C ends the command at once, and there is no --timeout.
    #[arg(long, value_enum, value_name = "WHETHER", default_value_t = LoopPolls::On)]
    #[arg(help_heading = "Compilation")]
    pub loop_polls: LoopPolls,
    /// Whether calls of small functions are replaced with their bodies. Backtraces have these
    /// functions too.
    #[arg(long, value_enum, value_name = "WHETHER", default_value_t = Inlining::On)]
    #[arg(help_heading = "Compilation")]
    pub inlining: Inlining,
    /// Collect at every Nth allocation and verify the heap before and after (0: never). Needs a
    /// build with the feature `gc_zeal`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gc_zeal: u32,
    /// Where compiled functions are kept. Not each subcommand has the option for it.
    #[arg(skip)]
    pub cache: Option<Arc<dyn CacheStore>>,
    /// Whether code consumes fuel. Each subcommand has its own option for it.
    #[arg(skip)]
    pub consume_fuel: bool,
    /// Settings of the engine that are no options of this command.
    #[arg(skip)]
    pub changes: Changes,
    /// How compiled functions are made known to a profiler. `reclaim run` has an option for it.
    #[arg(skip = ProfilingStrategy::None)]
    pub profiler: ProfilingStrategy,
    /// The names by which errors call options.
    #[arg(skip)]
    pub names: OptionNames,
}

/// How compiled code stays inside the GC heap.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapBounds {
    /// Reserve 4 GiB of address space, so that no reference can point outside.
    Guarded,
    /// Compare every access with the heap's size.
    Checked,
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

/// The trade between memory and time.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapPolicy {
    /// 1.7 to 2.2 times the live bytes, and up to four times in small heaps and under `copying`.
    Balanced,
    /// Three times the live bytes, up to eight times if that saves time.
    Throughput,
    /// One and a half to two times the live bytes, in small steps.
    Memory,
    /// All of --heap-max from the start: it neither grows nor shrinks.
    Fixed,
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

/// Parses a time with its unit.
fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text, "500us or 2ms")
}

/// Parses a share: 70 or 70%.
fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    match number.parse() {
        Ok(percent @ 1..=99) => Ok(percent),
        _ => Err("expected a share from 1% to 99%".to_owned()),
    }
}

/// Parses the size of a heap. 4 GiB stand for the largest heap of any collector, which has 64 KiB less.
fn heap_size(text: &str) -> Result<u64, String> {
    match size::parse(text)? {
        size if size > HEAP_LIMIT => Err("the maximum is 4GiB".to_owned()),
        size => Ok(size.min(HEAP_LIMIT - u64::from(gc_types::NULL_PAGE_SIZE))),
    }
}

impl EngineOptions {
    /// An engine with these options, and a collector from `registry`.
    ///
    /// # Errors
    /// Misuse: if they are not possible. Also if the folder of the cache cannot be made.
    pub fn engine(&self, registry: &Registry) -> Result<Engine> {
        let mut heap = self.heap.clone();
        if let Some(folder) = &self.cache {
            if folder.is_file() {
                let folder = folder.display();
                return Err(misuse(format!("`--cache {folder}`: it is a file, not a folder")));
            }
            heap.cache = Some(Arc::new(FolderCache::new(folder)?));
        }
        heap.engine(&registry.choose(&self.collector, self.heap.names.collector)?)
    }
}

impl HeapOptions {
    /// These options as the settings of an engine with `collector`.
    pub fn config(&self, collector: &Collector) -> Config {
        let mut config = Config::new();
        config
            .collector(collector.clone())
            .gc_heap_maximum(self.heap_max)
            .gc_heap_bounds(match self.heap_bounds {
                HeapBounds::Guarded => gc_wasm::HeapBounds::Guarded,
                HeapBounds::Checked => gc_wasm::HeapBounds::Checked,
            })
            .gc_slice(self.gc_slice)
            .gc_zeal(self.gc_zeal)
            .memory_maximum(self.memory_max)
            .max_wasm_stack(self.stack_bytes())
            .interruptible(self.loop_polls == LoopPolls::On)
            .compiler_inlining(match self.inlining {
                Inlining::On => gc_wasm::Inlining::Yes,
                Inlining::Off => gc_wasm::Inlining::No,
            })
            .consume_fuel(self.consume_fuel)
            .profiler(self.profiler);
        let adaptive = match self.heap_policy {
            HeapPolicy::Balanced => Some(AdaptivePolicy::balanced()),
            HeapPolicy::Throughput => Some(AdaptivePolicy::throughput()),
            HeapPolicy::Memory => Some(AdaptivePolicy::memory()),
            HeapPolicy::Fixed => None,
        };
        match (adaptive, self.heap_utilisation) {
            (Some(policy), Some(percent)) => {
                config.growth_policy(policy.with_utilisation(f64::from(percent) / 100.0))
            }
            (Some(policy), None) => config.growth_policy(policy),
            (None, _) => config.growth_policy(FixedPolicy).gc_heap_initial_size(self.heap_max),
        };
        if let Some(initial) = self.heap_initial {
            config.gc_heap_initial_size(initial);
        }
        self.changes.make(&mut config);
        config
    }

    /// An engine with these options and `collector`.
    ///
    /// # Errors
    /// Misuse: if they are not possible.
    pub fn engine(&self, collector: &Collector) -> Result<Engine> {
        if self.heap_policy == HeapPolicy::Fixed
            && (self.heap_initial.is_some() || self.heap_utilisation.is_some())
        {
            return Err(misuse(format!(
                "with --heap-policy fixed the heap has the size of --heap-max from the start: \
                 {} and --heap-utilisation are not allowed",
                self.names.heap_initial
            )));
        }
        if let Some(initial) = self.heap_initial
            && initial > self.heap_max
        {
            return Err(misuse(format!(
                "{} is more than --heap-max {}",
                with_value(self.names.heap_initial, &size::show(initial)),
                size::show(self.heap_max)
            )));
        }
        // An engine does not know the names of the options.
        let minimum = |option: &str, size: u64, minimum: u64| match size < minimum {
            true => Err(misuse(format!(
                "{} is too small: the minimum is {}",
                with_value(option, &size::show(size)),
                size::show(minimum)
            ))),
            false => Ok(()),
        };
        minimum("--heap-max", self.heap_max, gc_engine::Engine::MIN_HEAP)?;
        minimum(self.names.max_stack, self.max_stack, gc_engine::Engine::MIN_STACK as u64)?;
        if self.heap_max > collector.max_heap_size() {
            return Err(misuse(format!(
                "--heap-max {} is too large: the maximum of `{}` is {}",
                size::show(self.heap_max),
                collector.name(),
                size::show(collector.max_heap_size())
            )));
        }
        let mut config = self.config(collector);
        if let Some(cache) = &self.cache {
            config.enable_incremental_compilation(cache.clone())?;
        }
        Engine::new(&config).map_err(|error| {
            let without = self.gc_zeal != 0 && !cfg!(feature = "gc_zeal");
            let hint =
                if without { "; for this command, build it with `--features gc_zeal`" } else { "" };
            misuse(format!("{}{hint}", wasmtime::with_settings(&format!("{error:#}"))))
        })
    }

    /// Bytes of stack for compiled code.
    pub fn stack_bytes(&self) -> usize {
        usize::try_from(self.max_stack).unwrap_or(usize::MAX)
    }
}
