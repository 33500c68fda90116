//! Calls between host and WebAssembly: the host calls WebAssembly through a typed function, and with
//! values that are checked in each call or never, and WebAssembly calls a host function in a loop.

use criterion::{Criterion, criterion_group, criterion_main};
use gc_benches::Call;
use gc_benches::measure::{self, Loop, compare_calls, compare_loops};

const WAT: &str = include_str!("../wat/calls.wat");

fn host_to_wasm(c: &mut Criterion) {
    compare_calls(c, "host to wasm: () -> ()", WAT, Call::Nop);
    compare_calls(c, "host to wasm: (i32, i32) -> i32", WAT, Call::Add);
    compare_calls(c, "host to wasm: (externref) -> externref", WAT, Call::Same);
    compare_calls(c, "host to wasm, untyped: (i32, i32) -> i32", WAT, Call::UntypedAdd);
    compare_calls(c, "host to wasm, untyped: (externref) -> externref", WAT, Call::UntypedSame);
    compare_calls(c, "host to wasm, unchecked: (i32, i32) -> i32", WAT, Call::UncheckedAdd);
}

fn wasm_to_host(c: &mut Criterion) {
    const CALLS: i32 = 10_000;
    for (export, ty, answer) in [
        ("host nop", "() -> ()", 0),
        // The sum of 1 ... 10,000.
        ("host add", "(i32, i32) -> i32", 50_005_000),
        ("host same", "(externref) -> externref", 0),
    ] {
        let it = Loop {
            wat: WAT,
            export,
            arg: CALLS,
            answer,
            elements: CALLS as u64,
            calls_per_store: u64::MAX,
        };
        compare_loops(c, &format!("wasm to host: {ty}"), it);
    }
}

criterion_group!(name = benches; config = measure::criterion(); targets = host_to_wasm, wasm_to_host);
criterion_main!(benches);
