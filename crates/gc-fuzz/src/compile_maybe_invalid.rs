//! Modules of `wasm-smith` that need not be valid: the bodies of functions may be any bytes, and some
//! bytes of the module are changed. They are compiled if they are valid, and refused otherwise.

use super::differential::{Features, config};
use super::{Target, compiling};
use anyhow::Result;
use arbitrary::Unstructured;
use gc_testkit::choices::Choices;
use wasm_smith::Module;

pub(super) const TARGET: Target = Target {
    name: "compile-maybe-invalid",
    run: compile,
    seeds: 400,
    length: 4 << 10,
    mutate: None,
};

/// The first bytes make choices. The others become the module.
const CHOICES: usize = 32;

fn compile(bytes: &[u8]) -> Result<()> {
    let Some((head, rest)) = bytes.split_at_checked(CHOICES) else { return Ok(()) };
    let mut choices = Choices::from_bytes(head);
    let (bits, invalid, changes) = (choices.byte(), choices.byte(), choices.byte());
    let mut config = config(&mut choices, Features::ALL);
    config.allow_invalid_funcs = !invalid.is_multiple_of(3);
    // What this engine does not have must be refused.
    config.threads_enabled = invalid & 0x30 == 0x30;
    config.wide_arithmetic_enabled = invalid & 0x50 == 0x50;
    config.custom_page_sizes_enabled = invalid & 0x90 == 0x90;
    config.generate_custom_sections = invalid & 8 != 0;
    // From some bytes there is no module.
    let Ok(module) = Module::new(config, &mut Unstructured::new(rest)) else { return Ok(()) };
    let mut module = module.to_bytes();
    for _ in 0..changes.saturating_sub(160) % 6 {
        let at = choices.word() as usize % module.len();
        module[at] = choices.byte();
    }
    compiling::check(bits, &module)
}
