//! Calls between host and WebAssembly: the host calls WebAssembly through a typed function, and with
//! values that are checked in each call or never, and WebAssembly calls a host function in a loop.

use anyhow::Result;
use gc_benches::Call;
use gc_benches::measure::{Bench, Loop};
use gc_benches::record::Subject;

const SUBJECT: Subject = Subject {
    name: "calls",
    title: "Calls between host and WebAssembly",
    about: "The host calls WebAssembly through a typed function, with values that are checked in each call \
            (untyped), and with raw values (unchecked). WebAssembly calls a function of the host in a loop. \
            Engines are timed one after the other, and each of this project takes turns with Wasmtime's \
            fastest. Times and ratios are medians of 20 samples or more.",
};

const WAT: &str = include_str!("../wat/calls.wat");

fn main() -> Result<()> {
    let mut bench = Bench::new(SUBJECT)?;
    for (group, call) in [
        ("host to wasm: () -> ()", Call::Nop),
        ("host to wasm: (i32, i32) -> i32", Call::Add),
        ("host to wasm: (externref) -> externref", Call::Same),
        ("host to wasm, untyped: (i32, i32) -> i32", Call::UntypedAdd),
        ("host to wasm, untyped: (externref) -> externref", Call::UntypedSame),
        ("host to wasm, unchecked: (i32, i32) -> i32", Call::UncheckedAdd),
    ] {
        bench.calls(group, WAT, call)?;
    }
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
        bench.loops(&format!("wasm to host: {ty}"), it)?;
    }
    bench.finish()
}
