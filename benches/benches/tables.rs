//! `table.get` and `table.set` of externrefs in a loop: the read and write barriers.

use criterion::{Criterion, criterion_group, criterion_main};
use gc_benches::measure::{self, Loop, compare_loops};

const ITERATIONS: i32 = 10_000;

fn tables(c: &mut Criterion) {
    for export in ["get", "set", "swap"] {
        compare_loops(
            c,
            &format!("table.{export} externref"),
            Loop {
                wat: include_str!("../wat/tables.wat"),
                export,
                arg: ITERATIONS,
                answer: 0,
                elements: ITERATIONS as u64,
                calls_per_store: u64::MAX,
            },
        );
    }
}

criterion_group!(name = benches; config = measure::criterion(); targets = tables);
criterion_main!(benches);
