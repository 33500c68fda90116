//! Configurations that bytes choose: one of the collectors with a small nursery, and how it runs.

use gc_wasm::{Collector, Config, HeapBounds, OptLevel, RegallocAlgorithm};

/// The configuration that these bytes choose. The heap begins small and may grow to `maximum` bytes.
pub(super) fn config(bytes: [u8; 3], maximum: u64) -> Config {
    let [collector, heap, code] = bytes;
    let all = Collector::all();
    let collector = &all[usize::from(collector) % all.len()];
    let nursery = ["8KiB", "16KiB", "32KiB", "128KiB"][usize::from(heap / 16 % 4)];
    let small = collector.with_option("nursery", nursery);
    let mut config = Config::new();
    config
        .collector(small.unwrap_or_else(|_| collector.clone()))
        .gc_heap_bounds(if heap & 1 == 0 { HeapBounds::Guarded } else { HeapBounds::Checked })
        .gc_zeal([0, 1, 0, 2, 0, 3, 0, 7][usize::from(heap / 2 % 8)])
        .gc_heap_initial_size((128 << 10) << (heap / 64))
        .gc_heap_maximum(maximum)
        .cranelift_opt_level(match code & 1 {
            0 => OptLevel::None,
            _ => OptLevel::Speed,
        })
        .cranelift_regalloc_algorithm(match code & 2 {
            0 => RegallocAlgorithm::Backtracking,
            _ => RegallocAlgorithm::SinglePass,
        })
        .cranelift_debug_verifier(code & 4 != 0)
        .parallel_compilation(false);
    config
}
