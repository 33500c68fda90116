//! Modules from seeds. The seed also decides how large a module is and which kinds of instructions
//! it may have (swarm testing: Groce et al., ISSTA 2012). A module in which everything is possible
//! seldom executes two instructions of the same proposal.

use anyhow::{Context, Result};
use arbitrary::Unstructured;
use gc_testkit::random;
use wasm_smith::{Config, InstructionKind, InstructionKinds, MemoryOffsetChoices, Module};

/// The fuel that a module has when it is instantiated, and at the beginning of each call. Calls and
/// iterations of loops use one, operations on arrays, tables and memories one for each element.
/// Without fuel, code executes `unreachable`.
pub const FUEL: u32 = 1000;

/// Random choices from a seed, independent of those of the module with the same seed.
pub struct Seeded {
    bytes: std::vec::IntoIter<u8>,
}

impl Seeded {
    /// The choices of `seed` for the purpose `what`.
    pub fn new(seed: u64, what: u64) -> Seeded {
        let bytes = random::bytes(seed ^ (what << 48), 1 << 14);
        Seeded { bytes: bytes.into_iter() }
    }

    /// The next choice. When all are used, it is 0.
    pub fn word(&mut self) -> u64 {
        let mut word = [0; 8];
        for byte in &mut word {
            *byte = self.bytes.next().unwrap_or(0);
        }
        u64::from_le_bytes(word)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.word() % end.max(1) as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A module that depends only on `seed`, and the index of the global with its fuel, which is the
/// last global.
///
/// # Errors
/// If `wasm-smith` does not make a module.
///
/// # Examples
/// ```
/// let (module, fuel) = differential::generate(7)?;
/// assert_eq!(differential::generate(7)?, (module.clone(), fuel));
/// let module = differential::instrument(&module, fuel, 7)?;
/// assert!(module.starts_with(b"\0asm"));
/// # anyhow::Ok(())
/// ```
pub fn generate(seed: u64) -> Result<(Vec<u8>, u32)> {
    let mut choices = Seeded::new(seed, 1);
    let config = config(&mut choices);
    let length = 4096 + choices.below(12 << 10);
    // From some bytes there is no module.
    let mut attempts = (0..100).map(|attempt| {
        let bytes = random::bytes(seed ^ (attempt << 40), length);
        Module::new(config.clone(), &mut Unstructured::new(&bytes))
    });
    let mut module = attempts.find_map(Result::ok).context("cannot make a module")?;
    let fuel = module.ensure_termination(FUEL)?;
    Ok((module.to_bytes(), fuel))
}

fn config(choices: &mut Seeded) -> Config {
    use InstructionKind::*;
    let references = [Aggregate, Control, Parametric, Reference, Table, Variable];
    let kinds = match choices.below(8) {
        0 | 1 => InstructionKinds::all(),
        2 => InstructionKinds::new(&[Control, Memory, Numeric, Parametric, Variable, Vector]),
        3 | 4 => InstructionKinds::new(&references),
        5 => InstructionKinds::new(&[Aggregate, Control, Reference]),
        6 => InstructionKinds::new(&[Control, Parametric, Reference, Variable]),
        _ => InstructionKinds::new(&[&references[..], &[MemoryInt, NumericInt]].concat()),
    };
    let imports = if choices.once_in(2) { 0 } else { choices.below(6) };
    Config {
        allowed_instructions: kinds,
        // With it, operations that could trap are guarded. Without it, code often ends early.
        disallow_traps: !choices.once_in(3),
        canonicalize_nans: true,
        export_everything: true,
        allow_start_export: choices.once_in(4),
        min_types: 4 + choices.below(8),
        max_types: 24,
        min_imports: imports,
        max_imports: imports,
        min_funcs: 2 + choices.below(6),
        max_funcs: 12,
        max_instructions: 40 + choices.below(160),
        min_globals: choices.below(8),
        max_globals: 16,
        min_tags: choices.below(5),
        max_tags: 6,
        min_memories: choices.below(3) as u32,
        max_memories: 3,
        // So small that both engines can always make and grow them.
        memory_max_size_required: true,
        max_memory32_bytes: 4 << 16,
        max_memory64_bytes: 4 << 16,
        memory_offset_choices: MemoryOffsetChoices(90, 9, 1),
        min_tables: choices.below(3) as u32,
        max_tables: 4,
        table_max_size_required: true,
        max_table_elements: 100,
        max_data_segments: 4,
        max_element_segments: 6,
        max_elements: 12,
        limit_arrays_in_const_exprs: true,
        simd_enabled: true,
        relaxed_simd_enabled: true,
        memory64_enabled: true,
        gc_enabled: true,
        exceptions_enabled: true,
        tail_call_enabled: true,
        extended_const_enabled: true,
        threads_enabled: false,
        shared_everything_threads_enabled: false,
        custom_page_sizes_enabled: false,
        custom_descriptors_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}
