//! Any bytes are compiled or refused. Valid modules are mutated by `wasm-mutate`.

use super::{Target, compiling};
use anyhow::Result;
use wasm_mutate::WasmMutate;

pub(super) const TARGET: Target =
    Target { name: "compile", run: compile, seeds: 500, length: 500, mutate: Some(mutate) };

fn compile(bytes: &[u8]) -> Result<()> {
    // The configuration must not be in the module, and must not change with every mutation: it
    // follows from its length.
    compiling::check(((bytes.len() * 37) >> 3) as u8, bytes)
}

/// A similar module, if this is a module.
fn mutate(bytes: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    compiling::validate(bytes).ok()?;
    let mut mutation = WasmMutate::default();
    mutation.seed(seed.into()).fuel(300).preserve_semantics(seed.is_multiple_of(4));
    let mutated = super::foreign(|| mutation.run(bytes).ok()?.find_map(Result::ok));
    mutated.flatten().filter(|module| module.len() <= most)
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
