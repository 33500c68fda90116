//! Modules from bytes. Some choices decide how large a module is and which kinds of instructions it
//! may have (swarm testing: Groce et al., ISSTA 2012). A module in which everything is possible seldom
//! executes two instructions of the same proposal.

use super::features::Features;
use super::instrument::instrument;
use anyhow::{Context, Result};
use arbitrary::Unstructured;
use gc_testkit::choices::Choices;
use wasm_smith::{Config, InstructionKind, InstructionKinds, MemoryOffsetChoices, Module};

/// The fuel that a module has when it is instantiated, and at the beginning of each call. Calls and
/// iterations of loops use one, operations on arrays, tables and memories one for each element.
/// Without fuel, code executes `unreachable`.
pub const FUEL: u32 = 1000;

/// A module that `choices` and `bytes` determine, [instrumented](super::instrument).
///
/// # Errors
/// If `wasm-smith` makes no module of them.
///
/// # Examples
/// ```
/// use gc_fuzz::differential::{Features, generate};
/// use gc_testkit::choices::Choices;
///
/// let bytes = gc_testkit::random::bytes(2, 5000);
/// let make = || generate(&mut Choices::from_seed(1), Features::ALL, &bytes);
/// assert!(make()?.starts_with(b"\0asm"));
/// assert_eq!(make()?, make()?);
/// # anyhow::Ok(())
/// ```
pub fn generate(choices: &mut Choices, features: Features, bytes: &[u8]) -> Result<Vec<u8>> {
    let config = config(choices, features);
    let own = choices.many();
    let bulk = !choices.once_in(3);
    let mut module =
        Module::new(config, &mut Unstructured::new(bytes)).context("cannot make a module")?;
    let fuel = module.ensure_termination(FUEL)?;
    instrument(&module.to_bytes(), fuel, features, bulk, own)
}

/// What `wasm-smith` makes: how much of what, by choice.
pub(crate) fn config(choices: &mut Choices, features: Features) -> Config {
    use InstructionKind::*;
    let references = [Aggregate, Control, Parametric, Reference, Table, Variable];
    let kind = choices.below(8);
    // Few modules have several memories and segments otherwise, and code that may not trap has no bulk
    // operations on them.
    let memories = kind == 2;
    let kinds = match kind {
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
        disallow_traps: !choices.once_in(3) && !memories,
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
        min_memories: if memories { 2 } else { choices.below(3) as u32 },
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
        min_data_segments: if memories { 2 } else { 0 },
        max_data_segments: 4,
        max_element_segments: 6,
        max_elements: 12,
        limit_arrays_in_const_exprs: true,
        simd_enabled: true,
        relaxed_simd_enabled: features.relaxed_simd,
        memory64_enabled: true,
        gc_enabled: features.gc,
        exceptions_enabled: features.exceptions,
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
