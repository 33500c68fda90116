//! Allocation of small structs: immediate garbage, lists, trees. The times include collections and
//! the first touch of memory. The latter is most of the cost of a collector that never collects.

use anyhow::Result;
use gc_benches::measure::{Bench, Loop};
use gc_benches::record::Subject;

const SUBJECT: Subject = Subject {
    name: "allocation",
    title: "Allocation of small structs",
    about: "The time of one allocation: of objects that are garbage at once, of a list of 100,000 cells and \
            of a tree of depth 15, each of which is read once. The times include collections and the first \
            touch of memory. Engines are timed one after the other, and each of this project takes turns \
            with Wasmtime's fastest. Times and ratios are medians of 20 samples or more.",
};

const WAT: &str = include_str!("../wat/allocation.wat");

/// The sum of 0 ... n - 1 in `i32` arithmetic.
const fn sum(n: i32) -> i32 {
    (n as i64 * (n as i64 - 1) / 2) as i32
}

fn main() -> Result<()> {
    const GARBAGE: i32 = 100_000;
    const LIST: i32 = 100_000;
    const DEPTH: i32 = 15;
    const NODES: i32 = (1 << (DEPTH + 1)) - 1;
    let mut bench = Bench::new(SUBJECT)?;
    // At most 64 × 100,000 objects of about 24 bytes in a store: 150 MB.
    for (export, arg, answer, elements) in [
        ("garbage", GARBAGE, sum(GARBAGE), GARBAGE),
        ("list", LIST, sum(LIST), LIST),
        ("tree", DEPTH, NODES, NODES),
    ] {
        let elements = elements as u64;
        let it = Loop { wat: WAT, export, arg, answer, elements, calls_per_store: 64 };
        bench.loops(&format!("struct.new {export}"), it)?;
    }
    bench.finish()
}
