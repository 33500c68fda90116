//! The options all subcommands share: the collector, its heap, and the stack.

use crate::failure::misuse;
use crate::registry::Registry;
use crate::size;
use anyhow::Result;
use clap::{Args, ValueEnum};
use gc_wasm::{Collector, Config, Engine, Store};

/// What 32 bits can address, in bytes.
const HEAP_LIMIT: u64 = 1 << 32;

/// The collector, its heap, and the stack.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Collector, heap and stack")]
pub struct EngineOptions {
    /// The collector.
    // Which there are and which is the default is the registry's to say.
    #[arg(long, value_name = "NAME")]
    pub collector: String,
    /// Its heap, and the stack.
    #[command(flatten)]
    pub heap: HeapOptions,
}

/// The heap, whichever the collector, and the stack.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Collector, heap and stack")]
pub struct HeapOptions {
    /// The most the GC heap may grow to, at most 4GiB, or less if the collector can use
    /// less. Allocating past it, after a collection, is a trap.
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = heap_size)]
    pub heap_max: u64,
    /// What the GC heap begins with [default: 1MiB].
    #[arg(long, value_name = "SIZE", value_parser = heap_size)]
    pub heap_initial: Option<u64>,
    /// The nursery, for collectors that have one; at most a 32nd of --heap-max
    /// [default: 8MiB].
    #[arg(long, value_name = "SIZE", value_parser = heap_size)]
    pub heap_nursery: Option<u64>,
    /// How compiled code stays inside the GC heap.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = HeapBounds::Guarded)]
    pub heap_bounds: HeapBounds,
    /// Stack for compiled code; recursion past it is a trap.
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = size::parse)]
    pub max_stack: u64,
    /// Collect at every Nth allocation and verify the heap around it (0: no). Needs a
    /// build with the feature `gc_zeal`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gc_zeal: u32,
}

/// How compiled code stays inside the GC heap.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapBounds {
    /// Reserve 4 GiB of address space, so that no reference can leave it.
    Guarded,
    /// Compare every access with the heap's size.
    Checked,
}

/// Parses the size of a heap.
fn heap_size(text: &str) -> Result<u64, String> {
    match size::parse(text)? {
        size if size > HEAP_LIMIT => Err("references have 32 bits: at most 4GiB".to_owned()),
        size => Ok(size),
    }
}

impl EngineOptions {
    /// An engine with these options, and a collector from `registry`.
    ///
    /// # Errors
    /// Misuse: if they are not possible.
    pub fn engine(&self, registry: &Registry) -> Result<Engine> {
        self.heap.engine(registry.by_name(&self.collector)?)
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
            .gc_zeal(self.gc_zeal)
            .max_wasm_stack(self.stack_bytes());
        if let Some(initial) = self.heap_initial {
            config.gc_heap_initial(initial);
        }
        if let Some(nursery) = self.heap_nursery {
            config.gc_nursery(nursery);
        }
        config
    }

    /// An engine with these options and `collector`.
    ///
    /// # Errors
    /// Misuse: if they are not possible.
    pub fn engine(&self, collector: &Collector) -> Result<Engine> {
        if let Some(initial) = self.heap_initial
            && initial > self.heap_max
        {
            return Err(misuse(format!(
                "--heap-initial {} is more than --heap-max {}",
                size::show(initial),
                size::show(self.heap_max)
            )));
        }
        let engine =
            Engine::new(&self.config(collector)).map_err(|error| misuse(format!("{error:#}")))?;
        if self.gc_zeal != 0 {
            // Whether heaps can do it is found out by making one.
            Store::new(&engine, ()).map_err(|error| {
                misuse(format!("{error:#}: build the command with `--features gc_zeal`"))
            })?;
        }
        Ok(engine)
    }

    /// Bytes of stack for compiled code.
    pub fn stack_bytes(&self) -> usize {
        usize::try_from(self.max_stack).unwrap_or(usize::MAX)
    }
}
