//! Random operations and damage, from fixed seeds.

use super::*;
use arbitrary::Unstructured;
use gc_testkit::{agreement, corrupt, differential, random, scaled};
use std::ops::Range;

promises! {
    random_operations_agree_with_the_shadow: "all";
    random_operations_come_to_the_same_as_elsewhere: "all";
    damage_stays_inside_the_heap: "all";
}

/// Calls `run` with the bytes of each seed: `least` for the first one, and `more` for each one after it.
fn for_seeds<T>(
    seeds: Range<u64>,
    (least, more): (usize, usize),
    run: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<()> {
    for (seed, n) in seeds.zip(0..) {
        let bytes = random::bytes(seed, least + more * n);
        run(&mut Unstructured::new(&bytes)).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

fn random_operations_agree_with_the_shadow(subject: &Subject<'_>) -> Result<()> {
    for_seeds(0..scaled(40), (200, 250), |u| differential::run(subject, u))
}

/// Compares the collector with the built-in ones, on heaps of the same kind.
fn random_operations_come_to_the_same_as_elsewhere(subject: &Subject<'_>) -> Result<()> {
    let ours = gc_runtime::collector::all();
    let others =
        Subject::each(&ours).into_iter().map(|ours| ours.with(subject.bounds, subject.zeal));
    let subjects: Vec<_> = std::iter::once(*subject).chain(others).collect();
    let first = 2 << 32;
    for_seeds(first..first + scaled(8), (500, 750), |u| agreement::run(&subjects, u))
}

fn damage_stays_inside_the_heap(subject: &Subject<'_>) -> Result<()> {
    for_seeds(0..scaled(150), (200, 13), |u| corrupt::run(subject, u))
}
