//! Allocation of small structs: garbage at once, lists, trees. Collections are part of
//! the time, and so is the first touch of memory, which is most of what a collector
//! that never collects costs.

use criterion::{Criterion, criterion_group, criterion_main};
use gc_benches::measure::{self, Loop, compare_loops};

const WAT: &str = include_str!("../wat/allocation.wat");

/// The sum of 0 ... n - 1, as `i32` arithmetic has it.
const fn sum(n: i32) -> i32 {
    (n as i64 * (n as i64 - 1) / 2) as i32
}

fn allocation(c: &mut Criterion) {
    const GARBAGE: i32 = 100_000;
    const LIST: i32 = 100_000;
    const DEPTH: i32 = 15;
    const NODES: i32 = (1 << (DEPTH + 1)) - 1;
    // At most 64 × 100,000 objects of some 24 bytes in a store: 150 MB.
    for (export, arg, answer, elements) in [
        ("garbage", GARBAGE, sum(GARBAGE), GARBAGE),
        ("list", LIST, sum(LIST), LIST),
        ("tree", DEPTH, NODES, NODES),
    ] {
        let elements = elements as u64;
        let group = format!("struct.new {export}");
        let it = Loop { wat: WAT, export, arg, answer, elements, calls_per_store: 64 };
        compare_loops(c, &group, it);
    }
}

criterion_group!(name = benches; config = measure::criterion(); targets = allocation);
criterion_main!(benches);
