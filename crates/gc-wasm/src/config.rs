//! What an engine is made with.

use crate::Collector;
use crate::store::limits;
use anyhow::{Result, bail};
use gc_jit::JitOptions;
use gc_runtime::{HeapBounds, HeapOptions, PolicyFactory};
use std::time::Duration;

/// The settings of an [`Engine`](crate::Engine).
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) collector: Collector,
    pub(crate) gc_heap_initial: u64,
    pub(crate) gc_heap_maximum: u64,
    pub(crate) gc_heap_bounds: HeapBounds,
    pub(crate) gc_nursery: u64,
    pub(crate) gc_policy: PolicyFactory,
    pub(crate) gc_slice: Duration,
    pub(crate) gc_zeal: u32,
    pub(crate) max_wasm_stack: usize,
    pub(crate) optimize: bool,
    pub(crate) verify: bool,
    pub(crate) huge_function: usize,
    pub(crate) memory_maximum: u64,
    pub(crate) table_elements_maximum: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// Settings that suit most programs: the default collector, a heap of up to 2 GiB, 1 MiB
    /// of stack.
    pub fn new() -> Config {
        Config {
            collector: Collector::default(),
            gc_heap_initial: 1 << 20,
            gc_heap_maximum: 2 << 30,
            gc_heap_bounds: HeapBounds::Guarded,
            gc_nursery: HeapOptions::DEFAULT_NURSERY,
            gc_policy: PolicyFactory::default(),
            gc_slice: HeapOptions::DEFAULT_SLICE,
            gc_zeal: 0,
            max_wasm_stack: 1 << 20,
            optimize: true,
            verify: cfg!(debug_assertions),
            huge_function: JitOptions::HUGE_FUNCTION,
            memory_maximum: 4 << 30,
            table_elements_maximum: 1 << 26,
        }
    }

    /// The collector of the engine's stores.
    pub fn collector(&mut self, collector: Collector) -> &mut Config {
        self.collector = collector;
        self
    }

    /// Bytes of GC heap that each store begins with (default: 1 MiB).
    pub fn gc_heap_initial(&mut self, bytes: u64) -> &mut Config {
        self.gc_heap_initial = bytes;
        self
    }

    /// Bytes that a store's GC heap may never grow past, with the 64 KiB at its beginning
    /// that hold nothing (default: 2 GiB; at least 128 KiB; at most 4 GiB, which 32-bit
    /// references can name). Allocating beyond it, after a collection, is an error of the
    /// program that it survives.
    pub fn gc_heap_maximum(&mut self, bytes: u64) -> &mut Config {
        self.gc_heap_maximum = bytes;
        self
    }

    /// How compiled code stays inside the GC heap: by reserving 4 GiB of address
    /// space for each store (the default), or by checking every access.
    pub fn gc_heap_bounds(&mut self, bounds: HeapBounds) -> &mut Config {
        self.gc_heap_bounds = bounds;
        self
    }

    /// The most bytes that the nursery of each store's GC heap may have, for collectors that
    /// have one (default: 16 MiB); never more than a 32nd of the heap's maximum. A quarter is
    /// used at first; what survives tells how much is best.
    pub fn gc_nursery(&mut self, bytes: u64) -> &mut Config {
        self.gc_nursery = bytes;
        self
    }

    /// How each store's GC heap uses memory: when all of it is collected, by how much it
    /// grows, what it gives back to the system (default:
    /// [`AdaptivePolicy::balanced`](crate::AdaptivePolicy::balanced)). A policy, which is
    /// cloned for each store, or a [`PolicyFactory`] that makes one, as one needs that
    /// stores share a limit.
    pub fn growth_policy(&mut self, policy: impl Into<PolicyFactory>) -> &mut Config {
        self.gc_policy = policy.into();
        self
    }

    /// The time that a slice of a collection may take that the program runs beside, and an
    /// increment of an asynchronous one (default: 500 µs). It is looked at every few hundred
    /// objects, so that a slice takes some tens of microseconds even if it is zero. If slices
    /// are too short to keep up with the program, it waits for the collection to end.
    pub fn gc_slice(&mut self, time: Duration) -> &mut Config {
        self.gc_slice = time;
        self
    }

    /// Collect at every `n`th allocation and verify the heap around it, for
    /// finding bugs in collectors and hosts; 0, the default: never for that. Making
    /// a store fails with it unless the feature `gc_zeal` is on.
    pub fn gc_zeal(&mut self, n: u32) -> &mut Config {
        self.gc_zeal = n;
        self
    }

    /// Bytes of native stack that compiled code may use (default: 1 MiB); beyond
    /// it, it traps. The thread must have that much, and some more for the host.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Config {
        self.max_wasm_stack = bytes;
        self
    }

    /// Whether to optimise compiled code (default: yes).
    pub fn optimize(&mut self, yes: bool) -> &mut Config {
        self.optimize = yes;
        self
    }

    /// Whether to verify the code generator's input, and check that it keeps the
    /// collector's laws (default: in debug builds).
    pub fn verify(&mut self, yes: bool) -> &mut Config {
        self.verify = yes;
        self
    }

    /// Functions of this many instructions of intermediate code or more are compiled in
    /// time proportional to their size: not optimised, and with a simpler register
    /// allocator (default: 100 000; a function of that many is some tens of kilobytes of
    /// WebAssembly). The code generator's usual way takes time as the square of a
    /// function's size in the worst case, which whoever sends the module chooses. 0
    /// compiles everything so; `usize::MAX`, for modules that are trusted, nothing.
    pub fn huge_function(&mut self, instructions: usize) -> &mut Config {
        self.huge_function = instructions;
        self
    }

    /// Bytes that a linear memory may never grow past (default: 4 GiB).
    pub fn memory_maximum(&mut self, bytes: u64) -> &mut Config {
        self.memory_maximum = bytes;
        self
    }

    /// Elements that all tables of a store may have together, and with them its element
    /// segments of references into the heap (default: 2^26, at most 2^27). No single table
    /// may have more than 10 million. Growing a table beyond gives the program -1;
    /// instantiating a module whose tables are larger is an error.
    pub fn table_elements_maximum(&mut self, elements: u64) -> &mut Config {
        self.table_elements_maximum = elements;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let least = u64::from(gc_types::NULL_PAGE_SIZE) * 2;
        if self.gc_heap_maximum < least || self.gc_heap_maximum > 4 << 30 {
            bail!("the GC heap's maximum must be between {} KiB and 4 GiB", least >> 10);
        }
        if self.max_wasm_stack < 16 << 10 {
            bail!("the stack for compiled code must be at least 16 KiB");
        }
        if self.table_elements_maximum > limits::ELEMENTS {
            bail!("the tables of a store may have at most {} elements", limits::ELEMENTS);
        }
        Ok(())
    }

    pub(crate) fn heap_options(&self) -> HeapOptions {
        let options = HeapOptions {
            initial: self.gc_heap_initial,
            maximum: self.gc_heap_maximum,
            bounds: self.gc_heap_bounds,
            nursery: self.gc_nursery,
            policy: self.gc_policy.clone(),
            slice: self.gc_slice,
            zeal: self.gc_zeal,
        };
        options.cut_to(self.collector.runtime())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gc_runtime::GcStore;

    #[test]
    fn emitted_code_and_heaps_agree_how_large_a_nursery_is() {
        for collector in Collector::all() {
            let mut config = Config::new();
            config.collector(collector.clone()).gc_heap_maximum(4 << 30).gc_nursery(256 << 20);
            let options = config.heap_options();
            let store = GcStore::new(collector.runtime(), &options).unwrap();
            let nursery = store.heap().core().memory.nursery();
            assert_eq!(nursery, options.nursery_size(), "{}", collector.name());
        }
    }
}
