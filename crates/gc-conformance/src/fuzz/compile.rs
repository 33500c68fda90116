//! Any bytes are compiled or refused. Valid modules are mutated by `wasm-mutate`.

use super::{Target, compiling};
use anyhow::Result;
use wasm_mutate::WasmMutate;

pub(super) const TARGET: Target =
    Target { name: "compile", run: compile, seeds: 500, length: 500, mutate: Some(mutate) };

fn compile(bytes: &[u8]) -> Result<()> {
    // The configuration must not be in the module, and must not change with every mutation: it
    // follows from its length.
    compiling::check((bytes.len() * 37 >> 3) as u8, bytes)
}

/// A similar module, if this is a module.
fn mutate(bytes: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    compiling::validate(bytes).ok()?;
    let mut mutation = WasmMutate::default();
    mutation.seed(seed.into()).fuel(300).preserve_semantics(seed.is_multiple_of(4));
    let mutated = super::foreign(|| mutation.run(bytes).ok()?.find_map(Result::ok));
    mutated.flatten().filter(|module| module.len() <= most)
}
