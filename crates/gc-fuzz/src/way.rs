//! One way to run compiled code, which the choices of an input select.

use gc_runtime::Reclaims;
use gc_testkit::choices::Choices;
use gc_types::collector::nursery::NURSERY;
use gc_wasm::{Collector, Config, HeapBounds, OptLevel, RegallocAlgorithm};
use std::sync::LazyLock;
use std::time::Duration;

/// Whether no code is checked before it runs. `ci/planted` sets this for faults that must show in
/// what code does.
static UNCHECKED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("TESTKIT_UNCHECKED").is_some());

/// The collector that frees nothing, with which the others are compared, and these others.
pub(super) fn plain_and_others() -> (Collector, Vec<Collector>) {
    let frees_nothing = |collector: &Collector| collector.reclaims() == Reclaims::Nothing;
    let (plain, others): (Vec<_>, _) = Collector::all().into_iter().partition(frees_nothing);
    (plain.into_iter().next().expect("there is one"), others)
}

/// Whether a collector has a nursery, with an option for its size.
pub(super) fn has_nursery(collector: &Collector) -> bool {
    collector.options().iter().any(|option| option.name == NURSERY)
}

/// All collectors. Those with more to go wrong are there more than once.
fn by_share() -> Vec<Collector> {
    let mut all = Collector::all();
    all.extend(plain_and_others().1);
    let with_nursery: Vec<_> = Collector::all().into_iter().filter(has_nursery).collect();
    all.extend(with_nursery);
    all
}

/// How code is compiled, and on which heap it runs.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// With a small nursery, if it has one.
    pub(super) collector: Collector,
    bounds: HeapBounds,
    /// The number of allocations between collections; 0 if zeal is off. With any other number the
    /// heap is verified, and freed memory poisoned.
    pub(super) zeal: u32,
    pub(super) optimised: bool,
    single_pass: bool,
    huge: bool,
    verified: bool,
    pub(super) pause_target: Duration,
    pub(super) initial: u64,
}

/// Zeal that collects at no allocation of a small program, but poisons what the collections free
/// that the program asks for.
pub(super) const POISON: u32 = 1 << 20;

impl Way {
    /// A way to run code under one of `collectors`.
    pub(super) fn of(choices: &mut Choices, collectors: &[Collector]) -> Way {
        let collector = &collectors[choices.below(collectors.len())];
        let nursery = choices.pick(&["8KiB", "16KiB", "32KiB", "128KiB"]);
        let heap = choices.below(256);
        let code = choices.below(256);
        let small = collector.with_option("nursery", nursery);
        Way {
            collector: small.unwrap_or_else(|_| collector.clone()),
            bounds: if heap & 1 == 0 { HeapBounds::Guarded } else { HeapBounds::Checked },
            zeal: [1, 0, 2, 3, 7, POISON, 1, 13][heap / 2 % 8],
            optimised: code & 1 == 0,
            single_pass: code & 2 == 0,
            huge: code / 4 % 8 == 7,
            // The checks of the code generator's input find faults that would not show in what the
            // code does. But they take time, and hide what such faults do.
            verified: code / 32 % 4 == 3 && !*UNCHECKED,
            pause_target: if heap & 0x40 == 0 {
                Duration::ZERO
            } else {
                Duration::from_micros(500)
            },
            initial: if heap & 0x80 == 0 { 128 << 10 } else { 512 << 10 },
        }
    }

    /// The way that three bytes choose, under any collector.
    pub(super) fn of_header([collector, heap, code]: [u8; 3]) -> Way {
        let mut choices = Choices::from_bytes(&[collector, heap >> 4, heap, code]);
        Way::of(&mut choices, &by_share())
    }

    /// Takes settings that take little time instead of others.
    pub(super) fn be_quick(&mut self) {
        self.zeal = self.zeal.checked_mul(997).unwrap_or(POISON);
        self.optimised = false;
        self.verified = false;
    }

    /// The configuration, with at most `maximum` bytes of heap.
    pub(super) fn config(&self, maximum: u64) -> Config {
        let mut config = Config::new();
        config
            .collector(self.collector.clone())
            .gc_heap_bounds(self.bounds)
            .gc_zeal(self.zeal)
            .gc_heap_initial_size(self.initial)
            .gc_heap_maximum(maximum)
            .gc_pause_target(self.pause_target)
            .cranelift_opt_level(if self.optimised { OptLevel::Speed } else { OptLevel::None })
            .cranelift_regalloc_algorithm(if self.single_pass {
                RegallocAlgorithm::SinglePass
            } else {
                RegallocAlgorithm::Backtracking
            })
            .cranelift_debug_verifier(self.verified)
            .parallel_compilation(false);
        if self.huge {
            config.huge_function(0);
        }
        if self.bounds == HeapBounds::Checked {
            config.memory_reservation(0).memory_reservation_for_growth(0);
            config.memory_guard_size(64 << 10);
        }
        config
    }
}
