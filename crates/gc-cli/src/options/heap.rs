//! [`HeapArgs`]: the heap of any collector.

use super::HEAP;
use crate::duration;
use crate::failure::misuse;
use crate::option_names::{OptionNames, with_value};
use anyhow::Result;
use clap::{Args, ValueEnum};
use gc_engine::size;
use gc_wasm::{AdaptivePolicy, Collector, FixedPolicy, GcThreads, HeapOptions};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that 32 bits can address.
const HEAP_LIMIT: u64 = 1 << 32;

/// The heap, for any collector.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEAP)]
pub struct HeapArgs {
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
    /// The time for which a pause for the collector should stop the program, such as 500us or 2ms.
    ///
    /// It is an aim. `generational` uses as much of its nursery as it can empty in this time, and works on
    /// old objects in slices of it. With 0 the pauses are shortest, and collections take more time and memory.
    #[arg(long, value_name = "TIME", default_value = "500us", value_parser = time)]
    pub pause_target: Duration,
    /// The number of threads that work for the heap beside the program [default: 1, or 0 on a machine with one
    /// processor].
    ///
    /// They mark and sweep old objects for `generational`, and touch memory before it is used. With 0 the program's
    /// thread does all of it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(..=64))]
    pub gc_threads: Option<u8>,
    /// Collect at every Nth allocation and verify the heap before and after (0: never). Needs a
    /// build with the feature `gc_zeal`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub gc_zeal: u32,
}

impl HeapArgs {
    /// The options of heaps of `collector`.
    ///
    /// # Errors
    /// Misuse: if these options are not possible. `names` are those by which the errors call them.
    pub fn options(&self, collector: &Collector, names: &OptionNames) -> Result<HeapOptions> {
        let maximum = self.heap_max;
        if self.heap_policy == HeapPolicy::Fixed
            && (self.heap_initial.is_some() || self.heap_utilisation.is_some())
        {
            return Err(misuse(format!(
                "with --heap-policy fixed the heap has the size of --heap-max from the start: \
                 {} and --heap-utilisation are not allowed",
                names.heap_initial
            )));
        }
        if let Some(initial) = self.heap_initial
            && initial > maximum
        {
            return Err(misuse(format!(
                "{} is more than --heap-max {}",
                with_value(names.heap_initial, &size::show(initial)),
                size::show(maximum)
            )));
        }
        MinimumSize(gc_engine::Engine::MIN_HEAP).check("--heap-max", maximum)?;
        if maximum > collector.max_heap_size() {
            return Err(misuse(format!(
                "--heap-max {} is too large: the maximum of `{}` is {}",
                size::show(maximum),
                collector.name(),
                size::show(collector.max_heap_size())
            )));
        }
        let adaptive = |policy: AdaptivePolicy| match self.heap_utilisation {
            Some(percent) => policy.with_utilisation(f64::from(percent) / 100.0).into(),
            None => policy.into(),
        };
        let (policy, initial) = match self.heap_policy {
            HeapPolicy::Balanced => (adaptive(AdaptivePolicy::balanced()), None),
            HeapPolicy::Throughput => (adaptive(AdaptivePolicy::throughput()), None),
            HeapPolicy::Memory => (adaptive(AdaptivePolicy::memory()), None),
            HeapPolicy::Fixed => (FixedPolicy.into(), Some(self.heap_max)),
        };
        let initial = self.heap_initial.or(initial);
        Ok(HeapOptions {
            initial: initial.unwrap_or(HeapOptions::DEFAULT_INITIAL),
            maximum,
            bounds: match self.heap_bounds {
                HeapBounds::Guarded => gc_wasm::HeapBounds::Guarded,
                HeapBounds::Checked => gc_wasm::HeapBounds::Checked,
            },
            policy,
            pause_target: self.pause_target,
            threads: Arc::new(GcThreads::new(
                self.gc_threads.map_or_else(GcThreads::usual, usize::from),
            )),
            zeal: self.gc_zeal,
            ..HeapOptions::default()
        })
    }
}

/// The least size that an option may have. An engine does not know the names of options.
pub struct MinimumSize(pub u64);

impl MinimumSize {
    /// # Errors
    /// Misuse: if `size`, the value of `option`, is smaller.
    pub fn check(&self, option: &str, size: u64) -> Result<()> {
        if size < self.0 {
            return Err(misuse(format!(
                "{} is too small: the minimum is {}",
                with_value(option, &size::show(size)),
                size::show(self.0)
            )));
        }
        Ok(())
    }
}

/// How compiled code stays inside the GC heap.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapBounds {
    /// Reserve 4 GiB of address space, so that no reference can point outside.
    Guarded,
    /// Compare every access with the heap's size.
    Checked,
}

/// The trade between memory and time.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapPolicy {
    /// 1.7 to 2.2 times the live bytes, and up to four times in small heaps and under `copying`.
    Balanced,
    /// Three times the live bytes, up to eight times if that saves time.
    Throughput,
    /// One and a half to two times the live bytes.
    Memory,
    /// All of --heap-max from the start: it neither grows nor shrinks.
    Fixed,
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        heap: HeapArgs,
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let args = Command::parse_from(["command"]).heap;
        let options = args.options(&Collector::default(), &OptionNames::OURS).unwrap();
        let library = HeapOptions::default();
        assert_eq!(options.initial, library.initial);
        assert_eq!(options.maximum, library.maximum);
        assert_eq!(options.pause_target, library.pause_target);
        assert_eq!(options.zeal, library.zeal);
        assert_eq!(format!("{:?}", options.bounds), format!("{:?}", library.bounds));
    }
}
