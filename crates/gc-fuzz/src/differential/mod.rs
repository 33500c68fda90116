//! Modules of `wasm-smith` do the same here as in another engine, or in another configuration.
//!
//! [`generate()`] makes a module: every feature of WebAssembly 3.0, code that ends, and the same bits
//! for every NaN. Globals count what it executes ([`instrument()`]), and bulk operations on memories,
//! tables and arrays are added. Its exported functions are called
//! with numbers and with references that it returned before. A run of a module is written down as a
//! [`Run`] in words that belong to no engine, so that two runs can be compared.
//!
//! One of the engines chooses the calls and their arguments while it runs the module, and the other
//! repeats them. If one has used up something (the stack, the heap), the comparison of this module
//! ends there.

mod allowed;
mod bulk;
mod embedding;
mod features;
mod generate;
mod instrument;
pub mod ours;
mod run;
mod v8;
mod wasmi;
pub mod wasmtime;

use super::{Target, report};
use allowed::{ALLOWED, Other};
use anyhow::{Context, Result, bail};
use gc_script::stack::with_stack;

pub use features::Features;
use gc_testkit::choices::Choices;
pub(crate) use generate::config;
pub use generate::{FUEL, generate};
pub use instrument::{COUNTERS, FUEL_EXPORT, instrument};
pub use ours::Setting;
pub use run::{Argument, Call, ObservedValue, Outcome, Run, Verdict, compare, hash};

pub(super) const TARGET: Target =
    Target { name: "differential", run: differential, seeds: 150, length: 8 << 10, mutate: None };

/// The first bytes of an input make choices. The others become the module.
pub const CHOICES: usize = 40;

/// Bytes of stack for compiled code in all engines. What calls itself until its fuel is used seldom
/// needs more.
pub const STACK: usize = 1 << 20;

/// The error of a host function that has no value to return.
const NO_VALUE: &str = "the host has no value of this type";

/// The failure of a module for whose imports there are no values.
const NO_IMPORT: &str = "an import for which there is no value";

/// What an input says.
#[derive(Debug)]
struct Case {
    other: Other,
    /// A number that selects a configuration of the other engine.
    number: u8,
    setting: Setting,
}

fn differential(bytes: &[u8]) -> Result<()> {
    let allowed = ALLOWED.as_ref().map_err(|why| anyhow::anyhow!("{why:#}"))?;
    let Some((head, rest)) = bytes.split_at_checked(CHOICES) else { return Ok(()) };
    let mut choices = Choices::from_bytes(head);
    let other = allowed.engines[usize::from(choices.byte()) % allowed.engines.len()];
    let number = choices.byte();
    let case = Case { other, number, setting: Setting::some(&mut choices)? };
    let mut arguments = choices.many();
    let features = match other {
        Other::Wasmtime => wasmtime::FEATURES,
        Other::Reclaim => Features::ALL,
        Other::Wasmi => wasmi::FEATURES,
        Other::V8 => v8::FEATURES,
    };
    // From some bytes there is no module.
    let Ok(module) = generate(&mut choices, features, rest) else { return Ok(()) };
    report::configuration(&case);
    report::module(&module);
    with_stack(STACK, move || check(&case, &module, &mut arguments))
}

/// Checks the variables of [`allowed`] and starts the program that `NODE` names.
pub(super) fn check_variables() -> Result<()> {
    let allowed = ALLOWED.as_ref().map_err(|why| anyhow::anyhow!("{why:#}"))?;
    if allowed.engines.contains(&Other::V8) { v8::start() } else { Ok(()) }
}

/// Compares what a module does.
fn check(case: &Case, module: &[u8], arguments: &mut Choices) -> Result<()> {
    let here = |leader: &Run| ours::repeat(module, &case.setting, leader).context("Reclaim failed");
    let (name, expected, actual) = match case.other {
        Other::Wasmtime => {
            // A limit of Wasmtime is not ours.
            let Ok(theirs) = wasmtime::run(module, case.number, arguments) else { return Ok(()) };
            let ours = here(&theirs)?;
            (format!("Wasmtime with {}", wasmtime::collector(case.number)), theirs, ours)
        }
        Other::Wasmi => {
            let (ours, _) = ours::run(module, arguments, None)?;
            let Some(theirs) = wasmi::repeat(module, &ours)? else { return Ok(()) };
            ("wasmi".to_string(), theirs, wasmi::comparable(&here(&ours)?))
        }
        Other::V8 => {
            let (ours, compiled) = ours::run(module, arguments, Some(v8::is_callable))?;
            let Some(theirs) = v8::repeat(module, &compiled, &ours)? else { return Ok(()) };
            let ours = v8::comparable(&here(&ours)?, &theirs);
            ("V8".to_string(), v8::comparable(&theirs, &theirs), ours)
        }
        Other::Reclaim => {
            let (leader, _) = ours::run(module, arguments, None)?;
            let ours = here(&leader)?;
            ("Reclaim in a plain setting".to_string(), leader, ours)
        }
    };
    log::debug!("{name}: {expected:#?}");
    let Verdict::Different(mut what) = compare(&expected, &actual) else { return Ok(()) };
    if matches!(case.other, Other::Wasmi | Other::V8) {
        // Wasmtime is the judge.
        let judge = wasmtime::repeat(module, case.number, &actual)?;
        let judge = match case.other {
            Other::V8 => v8::comparable(&judge, &expected),
            _ => wasmi::comparable(&judge),
        };
        match compare(&judge, &actual) {
            Verdict::Different(also) => what = format!("{what}\nand from Wasmtime in {also}"),
            _ => {
                log::info!("{name} differs, and Wasmtime does not: {what}");
                return Ok(());
            }
        }
    }
    bail!("{}, differs from {name} in {what}", case.setting.name())
}
