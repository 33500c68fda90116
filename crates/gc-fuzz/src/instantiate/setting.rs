//! Configurations of engines and stores, as many as there are.

use super::source::Counting;
use anyhow::Result;
use gc_testkit::choices::Choices;
use gc_wasm::{
    Collector, Config, Engine, HeapBounds, OptLevel, PoolingAllocationConfig, RegallocAlgorithm,
    Store, StoreLimits, StoreLimitsBuilder,
};
use std::sync::Arc;

const PAGE: u64 = 64 << 10;

/// The most bytes of a module's memory.
pub(super) const MEMORY: u64 = 2 << 20;
/// The most elements of a module's table.
pub(super) const ELEMENTS: u64 = 2000;
/// The most memories that a module has.
pub(crate) const MEMORIES: u32 = 3;
/// The most tables that a module has.
pub(crate) const TABLES: u32 = 4;

/// A configuration.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) config: Config,
    pub(crate) source: Arc<Counting>,
    /// The bytes of stack for compiled code.
    pub(super) stack: usize,
    limits: StoreLimits,
    limited: bool,
    fuel: Option<u64>,
    epochs: Option<u64>,
}

impl Setting {
    /// A configuration whose stores have no limits, no fuel and no deadline.
    pub(crate) fn unlimited(config: Config, source: Arc<Counting>) -> Setting {
        let limits = StoreLimits::default();
        Setting { config, source, stack: 0, limits, limited: false, fuel: None, epochs: None }
    }

    pub(super) fn some(choices: &mut Choices) -> Result<Setting> {
        let source = Arc::<Counting>::default();
        let mut config = Config::new();
        let rarely = |choices: &mut Choices| choices.byte() % 4 == 3;
        // A limit that no module exceeds, but for one in eight.
        fn mostly<T: Clone>(choices: &mut Choices, enough: T, others: &[T]) -> T {
            if choices.byte() % 8 == 7 { choices.pick(others) } else { enough }
        }
        let collector = choices.pick(&Collector::all());
        let collector = match crate::way::has_nursery(&collector) && rarely(choices) {
            true => collector.with_option("nursery", "128KiB")?,
            false => collector,
        };
        let stack = choices.pick(&[1 << 20, 64 << 10, 256 << 10]);
        let heap = choices.pick(&[1 << 20, 4 << 20, 128 << 10, 512 << 10]);
        config
            .collector(collector)
            .gc_zeal(choices.pick(&[0, 1, 2, 5]))
            .gc_heap_bounds(choices.pick(&[HeapBounds::Guarded, HeapBounds::Checked]))
            .gc_heap_initial_size(choices.pick(&[128 << 10, heap]))
            .gc_heap_maximum(heap)
            .cranelift_opt_level(choices.pick(&[OptLevel::None, OptLevel::Speed]))
            .interruptible(rarely(choices))
            .memory_may_move(choices.pick(&[true, false]))
            .memory_maximum(mostly(choices, MEMORY, &[1 << 20, 4 * PAGE, 64 << 20]))
            .table_elements_maximum(mostly(choices, 1 << 20, &[1000, 10, 100_000]))
            .parallel_compilation(false)
            .memory_source(source.clone())
            .max_wasm_stack(stack);
        if rarely(choices) {
            config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
        }
        let pooled = !choices.once_in(3);
        if !choices.once_in(2) {
            // A pool needs reservations as large as its memories.
            let reservation = match pooled {
                true => mostly(choices, 5 << 30, &[MEMORY, 1 << 20, 0]),
                false => choices.pick(&[0, PAGE, 2 * PAGE, 1 << 20, 5 << 30]),
            };
            config
                .memory_reservation(reservation)
                .memory_reservation_for_growth(choices.pick(&[0, PAGE, 1 << 20]))
                .memory_guard_size(choices.pick(&[0, PAGE, 1 << 20, 4 << 30]));
        }
        if rarely(choices) {
            config.gc_heap_reservation(choices.pick(&[0, 1 << 20, 4 << 30]));
        }
        if pooled {
            let mut pool = PoolingAllocationConfig::new();
            let count = mostly(choices, 20, &[4, 8]);
            pool.total_core_instances(count)
                .total_memories(count)
                .total_tables(count)
                .total_gc_heaps(choices.pick(&[1, 2]))
                .max_memories_per_module(mostly(choices, MEMORIES, &[1, 2]))
                .max_tables_per_module(mostly(choices, TABLES, &[1, 2]))
                .table_elements(mostly(choices, ELEMENTS as usize, &[20_000, 10]))
                .max_memory_size(mostly(choices, MEMORY, &[1 << 20, 4 * PAGE, PAGE]) as usize)
                .max_unused_warm_slots(choices.pick(&[100, 0, 1]))
                .decommit_batch_size(choices.pick(&[1, 3]))
                .linear_memory_keep_resident(choices.pick(&[0, PAGE as usize, 1 << 20]))
                .table_keep_resident(choices.pick(&[0, 4096, 1 << 20]));
            config.allocation_strategy(pool);
        }
        let mut limits = StoreLimitsBuilder::new();
        let limited = choices.byte() % 8 == 7;
        if limited {
            let kinds = choices.byte();
            let set = |kind: u32| kinds >> kind & 1 == 1;
            if set(0) {
                limits = limits.memory_size(choices.pick(&[16 * PAGE, PAGE, 0]) as usize);
            }
            if set(1) {
                limits = limits.gc_heap_size(choices.pick(&[512 << 10, 128 << 10]));
            }
            if set(2) {
                limits = limits.table_elements(choices.pick(&[100, 20, 0]));
            }
            if set(3) {
                limits = limits.instances(choices.pick(&[1, 1, 0]));
            }
            if kinds % 64 == 17 {
                limits = limits.tables(choices.pick(&[4, 2, 0]));
            }
            if kinds % 64 == 34 {
                limits = limits.memories(choices.pick(&[3, 1, 0]));
            }
            limits = limits.trap_on_grow_failure(set(7));
        }
        let fuel = rarely(choices).then(|| choices.word() % 10_000);
        config.consume_fuel(fuel.is_some());
        let epochs = rarely(choices).then(|| u64::from(choices.byte() % 4));
        config.epoch_interruption(epochs.is_some());
        Ok(Setting { config, source, stack, limits: limits.build(), limited, fuel, epochs })
    }

    /// Whether stores have limits.
    pub(super) fn is_limited(&self) -> bool {
        self.limited
    }

    /// A new store.
    pub(super) fn store(&self, engine: &Engine) -> Result<Store<StoreLimits>> {
        let mut store = Store::new(engine, self.limits.clone());
        store.limiter(|limits| limits);
        if let Some(fuel) = self.fuel {
            store.set_fuel(fuel)?;
        }
        if let Some(epochs) = self.epochs {
            store.set_epoch_deadline(epochs);
        }
        Ok(store)
    }

    /// The fuel that is left.
    pub(super) fn left(&self, store: &Store<StoreLimits>) -> Option<u64> {
        self.fuel.and_then(|_| store.get_fuel().ok())
    }
}
