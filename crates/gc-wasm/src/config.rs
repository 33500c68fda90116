//! The settings of an engine.

use crate::Collector;
use crate::store::limits;
use crate::vm::memory::MemorySettings;
use anyhow::{Result, bail};
use gc_runtime::{HeapBounds, HeapOptions, MemorySource, OnDemand, PolicyFactory};
use std::sync::Arc;
use std::time::Duration;

/// The default of [`Config::huge_function`].
const HUGE_FUNCTION: usize = 100_000;

#[cfg(feature = "compiler")]
const _: () = assert!(HUGE_FUNCTION == gc_compiler::CompileOptions::HUGE_FUNCTION);

/// The settings of an [`Engine`](crate::Engine).
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) collector: Collector,
    pub(crate) gc_heap_initial: u64,
    pub(crate) gc_heap_maximum: u64,
    pub(crate) gc_heap_bounds: HeapBounds,
    pub(crate) gc_policy: PolicyFactory,
    pub(crate) gc_slice: Duration,
    pub(crate) gc_zeal: u32,
    pub(crate) memory_source: Arc<dyn MemorySource>,
    pub(crate) max_wasm_stack: usize,
    pub(crate) interruptible: bool,
    pub(crate) consume_fuel: bool,
    pub(crate) epoch_interruption: bool,
    pub(crate) optimize: bool,
    pub(crate) verify: bool,
    pub(crate) huge_function: usize,
    pub(crate) memory: MemorySettings,
    pub(crate) table_elements_maximum: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// Makes settings that suit most programs: the default collector, a heap of up to 2 GiB, 1 MiB
    /// of stack.
    pub fn new() -> Config {
        Config {
            collector: Collector::default(),
            gc_heap_initial: 1 << 20,
            gc_heap_maximum: 2 << 30,
            gc_heap_bounds: HeapBounds::Guarded,
            gc_policy: PolicyFactory::default(),
            gc_slice: HeapOptions::DEFAULT_SLICE,
            gc_zeal: 0,
            memory_source: Arc::new(OnDemand::default()),
            max_wasm_stack: 1 << 20,
            interruptible: false,
            consume_fuel: false,
            epoch_interruption: false,
            optimize: true,
            verify: cfg!(debug_assertions),
            huge_function: HUGE_FUNCTION,
            memory: MemorySettings {
                reservation: 4 << 30,
                reservation_for_growth: 2 << 30,
                guard: 2 << 30,
                may_move: true,
                maximum: 4 << 30,
            },
            table_elements_maximum: 1 << 26,
        }
    }

    /// Sets the collector of the engine's stores, with its [options](Collector::with_option).
    pub fn collector(&mut self, collector: Collector) -> &mut Config {
        self.collector = collector;
        self
    }

    /// Sets the initial size of each store's GC heap in bytes (default: 1 MiB).
    pub fn gc_heap_initial(&mut self, bytes: u64) -> &mut Config {
        self.gc_heap_initial = bytes;
        self
    }

    /// Sets the maximum size of a store's GC heap in bytes (default: 2 GiB, at least 128 KiB, at
    /// most 4 GiB, because references have 32 bits). It includes the 64 KiB at the heap's start
    /// that hold no objects. An allocation for which there is no room, even after a collection, is
    /// an error. The store stays usable.
    pub fn gc_heap_maximum(&mut self, bytes: u64) -> &mut Config {
        self.gc_heap_maximum = bytes;
        self
    }

    /// Sets how the accesses of compiled code are kept inside the GC heap: by reserving 4 GiB of
    /// address space for each store (the default), or by checking every access.
    pub fn gc_heap_bounds(&mut self, bounds: HeapBounds) -> &mut Config {
        self.gc_heap_bounds = bounds;
        self
    }

    /// Sets how each store's GC heap uses memory: when the whole heap is collected, by how much it
    /// grows, and what it gives back to the system (default:
    /// [`AdaptivePolicy::balanced`](crate::AdaptivePolicy::balanced)). Pass a policy, which is
    /// cloned for each store, or a [`PolicyFactory`] that makes policies.
    pub fn growth_policy(&mut self, policy: impl Into<PolicyFactory>) -> &mut Config {
        self.gc_policy = policy.into();
        self
    }

    /// Sets the time that a slice of an incremental collection, or an increment of an asynchronous
    /// one, may take (default: 500 µs). The collector reads the clock every few hundred objects, so
    /// a slice takes some tens of microseconds even if the time is zero. If slices are too short to
    /// keep up with the program, the program waits for the collection to end.
    pub fn gc_slice(&mut self, time: Duration) -> &mut Config {
        self.gc_slice = time;
        self
    }

    /// Collects at every `n`th allocation and verifies the heap before and after, to find bugs in
    /// collectors and hosts. 0, the default, turns this off. With another value, making an
    /// engine fails unless the feature `gc_zeal` is on.
    pub fn gc_zeal(&mut self, n: u32) -> &mut Config {
        self.gc_zeal = n;
        self
    }

    /// Sets the source from which stores get their memory: GC heaps and the tables of collectors,
    /// linear memories, tables and instances (default: a new [`OnDemand`], which maps memory when it
    /// is asked for and keeps a few reservations for the next stores). Engines made from clones of
    /// these settings share the source.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, OnDemand};
    /// use std::sync::Arc;
    ///
    /// // Nothing is kept when a store is dropped.
    /// let engine = Engine::new(Config::new().memory_source(Arc::new(OnDemand::keeping(0, 0))))?;
    /// # anyhow::Ok(())
    /// ```
    pub fn memory_source(&mut self, source: Arc<dyn MemorySource>) -> &mut Config {
        self.memory_source = source;
        self
    }

    /// Sets the bytes of native stack that compiled code may use (default: 1 MiB). Code traps if it
    /// needs more. The thread must have that much stack, and some more for the host.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Config {
        self.max_wasm_stack = bytes;
        self
    }

    /// Sets whether running code can be interrupted from another thread (default: no). Then each
    /// loop polls, with one instruction. See [`InterruptHandle`](crate::InterruptHandle).
    pub fn interruptible(&mut self, yes: bool) -> &mut Config {
        self.interruptible = yes;
        self
    }

    /// Sets whether code consumes fuel while it runs (default: no). When a store's fuel is used up,
    /// its code traps. So a program ends after a certain amount of work, which is the same in each
    /// run, on each machine and under each collector. A store has no fuel at first: see
    /// [`Store::set_fuel`](crate::Store::set_fuel).
    ///
    /// Most instructions consume one unit. `nop`, `drop`, `block`, `loop`, `unreachable`, `return`,
    /// `else` and `end` consume nothing. A call of a function consumes one more unit. An instruction
    /// that works on many bytes or elements, such as `memory.fill`, `table.copy` or `array.new`,
    /// consumes one more for each. Code checks what is left where a function begins, where each turn
    /// of a loop begins, and before instructions that work on many elements. Between two checks it
    /// may consume more than there is.
    ///
    /// Each basic block has an addition, and each loop and each function a test. To end code after
    /// some time, [epochs](Config::epoch_interruption) cost less. Neither ends a host function that
    /// waits.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, Store, Trap, TrapError};
    ///
    /// let engine = Engine::new(Config::new().consume_fuel(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "hang") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ())?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let hang = instance.get_typed_func::<(), ()>(&mut store, "hang")?;
    ///
    /// store.set_fuel(10_000)?;
    /// let error = hang.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast::<TrapError>()?.trap, Trap::OutOfFuel);
    /// assert_eq!(store.get_fuel()?, 0);
    /// # anyhow::Ok(())
    /// ```
    pub fn consume_fuel(&mut self, enable: bool) -> &mut Config {
        self.consume_fuel = enable;
        self
    }

    /// Sets whether code compares the engine's epoch with its store's deadline (default: no). An
    /// epoch is a counter that the host [increments](crate::Engine::increment_epoch) from time to
    /// time, for example with a thread that sleeps. When the
    /// [deadline](crate::Store::set_epoch_deadline) is reached, the store's code
    /// [traps](crate::Store::epoch_deadline_trap) or
    /// [calls the host](crate::Store::epoch_deadline_callback). A store's deadline is reached at
    /// first, so it must be set before code runs.
    ///
    /// The comparison stands where a function begins, where each turn of a loop begins, and before
    /// instructions that work on many bytes or elements. It is a load, a comparison and a branch.
    /// When code ends depends on time; [fuel](Config::consume_fuel) does not. One increment reaches
    /// all stores of an engine. To interrupt a single store, without any branch, see
    /// [`interruptible`](Config::interruptible). None of them ends a host function that waits.
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Instance, Module, Store, Trap, TrapError};
    /// use std::time::Duration;
    ///
    /// let engine = Engine::new(Config::new().epoch_interruption(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "hang") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, ())?;
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let hang = instance.get_typed_func::<(), ()>(&mut store, "hang")?;
    ///
    /// // At most one tick from now on.
    /// store.set_epoch_deadline(1);
    /// let ticker = std::thread::spawn(move || {
    ///     std::thread::sleep(Duration::from_millis(10));
    ///     engine.increment_epoch();
    /// });
    /// let error = hang.call(&mut store, ()).unwrap_err();
    /// assert_eq!(error.downcast::<TrapError>()?.trap, Trap::Interrupt);
    /// # ticker.join().unwrap();
    /// # anyhow::Ok(())
    /// ```
    pub fn epoch_interruption(&mut self, enable: bool) -> &mut Config {
        self.epoch_interruption = enable;
        self
    }

    /// Sets whether compiled code is optimised (default: yes).
    pub fn optimize(&mut self, yes: bool) -> &mut Config {
        self.optimize = yes;
        self
    }

    /// Sets whether the code generator's input is verified and checked against the collector's
    /// rules (default: in debug builds).
    pub fn verify(&mut self, yes: bool) -> &mut Config {
        self.verify = yes;
        self
    }

    /// Sets the number of instructions of intermediate code from which a function counts as huge
    /// (default: 100 000, which is some tens of kilobytes of WebAssembly). A huge function is
    /// compiled without optimisation and with a simpler register allocator, in time proportional to
    /// its size. Usually the code generator needs time quadratic in a function's size in the worst
    /// case, and the author of a module can provoke that case. With 0 all functions count as huge.
    /// With `usize::MAX`, which is for trusted modules, none does.
    pub fn huge_function(&mut self, instructions: usize) -> &mut Config {
        self.huge_function = instructions;
        self
    }

    /// Sets the maximum size of each linear memory in bytes (default: 4 GiB). A memory that would be
    /// larger is an error when it is made. When it grows, the program gets -1.
    pub fn memory_maximum(&mut self, bytes: u64) -> &mut Config {
        self.memory.maximum = bytes;
        self
    }

    /// Sets the bytes of address space that are reserved for each linear memory (default: 4 GiB).
    /// In its reservation a memory grows without being moved. If it is at least 4 GiB, accesses of
    /// 32-bit memories are not checked, because they cannot leave it and the [guard]. Otherwise
    /// every access is compared with the memory's size, as those of 64-bit memories always are.
    ///
    /// A memory that begins larger than this gets a reservation of its size, and
    /// [some more](Config::memory_reservation_for_growth). Sizes are rounded up to pages of 64 KiB.
    ///
    /// [guard]: Config::memory_guard_size
    ///
    /// ```
    /// use gc_wasm::{Config, Engine, Memory, MemoryType, Store};
    ///
    /// // Small reservations, for many stores.
    /// let engine = Engine::new(Config::new().memory_reservation(1 << 20).memory_guard_size(1 << 16))?;
    /// let mut store = Store::new(&engine, ())?;
    /// let memory = Memory::new(&mut store, MemoryType::new(16, None))?;
    /// // It does not fit its reservation any more, and is moved.
    /// assert_eq!(memory.grow(&mut store, 16)?, 16);
    /// # anyhow::Ok(())
    /// ```
    pub fn memory_reservation(&mut self, bytes: u64) -> &mut Config {
        self.memory.reservation = bytes;
        self
    }

    /// Sets the bytes of address space that a linear memory gets beyond its size if it is larger
    /// than [its reservation](Config::memory_reservation), so that it is not moved each time that it
    /// grows (default: 2 GiB). If memories are not moved, this has no effect.
    pub fn memory_reservation_for_growth(&mut self, bytes: u64) -> &mut Config {
        self.memory.reservation_for_growth = bytes;
        self
    }

    /// Sets the bytes of address space after each linear memory's reservation that are never
    /// accessible (default: 2 GiB). Accesses with a larger constant offset are always compared with
    /// the memory's size. Rounded up to pages of 64 KiB.
    pub fn memory_guard_size(&mut self, bytes: u64) -> &mut Config {
        self.memory.guard = bytes;
        self
    }

    /// Sets whether a linear memory is moved if it grows beyond its reservation (default: yes). If
    /// not, such a growth fails.
    pub fn memory_may_move(&mut self, yes: bool) -> &mut Config {
        self.memory.may_move = yes;
        self
    }

    /// Sets the maximum number of elements of all tables of a store together, including element
    /// segments of references into the heap (default: 2^26, at most 2^27). A single table may have
    /// at most 10 million. Growing a table beyond the limit returns -1 to the program.
    /// Instantiating a module with larger tables is an error.
    pub fn table_elements_maximum(&mut self, elements: u64) -> &mut Config {
        self.table_elements_maximum = elements;
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.table_elements_maximum > limits::ELEMENTS {
            bail!("the tables of a store may have at most {} elements", limits::ELEMENTS);
        }
        Ok(())
    }

    pub(crate) fn heap_options(&self) -> HeapOptions {
        HeapOptions {
            initial: self.gc_heap_initial,
            maximum: self.gc_heap_maximum,
            bounds: self.gc_heap_bounds,
            policy: self.gc_policy.clone(),
            slice: self.gc_slice,
            memory: self.memory_source.clone(),
            zeal: self.gc_zeal,
        }
    }
}
