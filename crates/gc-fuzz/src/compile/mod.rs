//! Any bytes are compiled or refused. Valid modules are mutated by `wasm-mutate`, or by a change of
//! their operators.

mod operators;

use super::{Target, compiling};
use anyhow::Result;
use wasm_mutate::WasmMutate;

pub(super) const TARGET: Target =
    Target { name: "compile", run: compile, seeds: 500, length: 4 << 10, mutate: Some(mutate) };

fn compile(bytes: &[u8]) -> Result<()> {
    // The configuration must not be in the module, and must not change with every mutation: it
    // follows from its length.
    compiling::check(((bytes.len() * 37) >> 3) as u8, bytes)
}

/// How many changes of operators are tried for one that leaves the module valid.
const TRIES: u64 = 20;

/// A similar module, if this is a module.
fn mutate(bytes: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    compiling::validate(bytes).ok()?;
    let mut mutation = WasmMutate::default();
    mutation.seed(seed.into()).fuel(300).preserve_semantics(seed.is_multiple_of(4));
    // It knows no types of objects, and has bugs of its own.
    let mutated = super::foreign(|| mutation.run(bytes).ok()?.find_map(Result::ok)).flatten();
    let mutated = if seed.is_multiple_of(3) { None } else { mutated };
    mutated.or_else(|| operators_changed(bytes, seed)).filter(|module| module.len() <= most)
}

/// A module with other operators, which is usually valid.
fn operators_changed(bytes: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut changed = (0..TRIES)
        .filter_map(|tried| operators::changed(bytes, u64::from(seed) << 8 | tried))
        .filter(|changed| changed != bytes);
    let first = changed.next()?;
    if seed.is_multiple_of(5) || compiling::validate(&first).is_ok() {
        return Some(first);
    }
    changed.find(|module| compiling::validate(module).is_ok()).or(Some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_have_similar_modules() {
        let module = wat::parse_str(
            r#"(module (type $s (struct (field (mut i32))))
                (func (export "f") (param i32) (result (ref $s))
                    (struct.new $s (i32.add (local.get 0) (i32.const 7)))))"#,
        )
        .unwrap();
        let (mut found, mut valid) = (Vec::new(), 0);
        for seed in 0..60 {
            let Some(similar) = mutate(&module, 1000, seed) else { continue };
            assert!(similar.len() <= 1000);
            valid += u32::from(compiling::validate(&similar).is_ok());
            found.push(similar);
        }
        let count = found.len();
        found.sort_unstable();
        found.dedup();
        assert!(found.len() > 20 && valid > 20, "{count}, {} of them, {valid}", found.len());
        assert_eq!(mutate(b"no module", 1000, 1), None);
    }
}
