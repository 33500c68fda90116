//! The target: a module runs here and in another engine, and both runs are compared.

use super::allowed::{ALLOWED, Other};
use super::{
    CHOICES, Features, Run, STACK, Setting, Verdict, compare, generate, ours, v8, wasmi, wasmtime,
};
use crate::{Target, report};
use anyhow::{Context, Result, bail};
use gc_script::stack::with_stack;
use gc_testkit::choices::Choices;

pub(crate) const TARGET: Target =
    Target { name: "differential", run: differential, seeds: 150, length: 8 << 10, mutate: None };

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
pub(crate) fn check_variables() -> Result<()> {
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
