//! Allocation of small structs: immediate garbage, lists, trees. The times include collections and
//! the first touch of memory. The latter is most of the cost of a collector that never collects.

use criterion::{Criterion, criterion_group, criterion_main};
use gc_benches::measure::{self, Loop, compare_loops};

const WAT: &str = include_str!("../wat/allocation.wat");

/// The sum of 0 ... n - 1 in `i32` arithmetic.
const fn sum(n: i32) -> i32 {
    (n as i64 * (n as i64 - 1) / 2) as i32
}

fn allocation(c: &mut Criterion) {
    const GARBAGE: i32 = 100_000;
    const LIST: i32 = 100_000;
    const DEPTH: i32 = 15;
    const NODES: i32 = (1 << (DEPTH + 1)) - 1;
    // At most 64 × 100,000 objects of about 24 bytes in a store: 150 MB.
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
