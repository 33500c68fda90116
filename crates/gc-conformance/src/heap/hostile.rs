//! Random operations and damage, from fixed seeds.

use super::*;
use arbitrary::Unstructured;
use gc_testkit::{agreement, corrupt, differential, random, scaled};

promises! {
    random_operations_agree_with_the_shadow: "all";
    random_operations_come_to_the_same_as_elsewhere: "all";
    damage_stays_inside_the_heap: "all";
}

fn random_operations_agree_with_the_shadow(subject: &Subject<'_>) -> Result<()> {
    for seed in 0..scaled(40) {
        let bytes = random::bytes(seed, 200 + 250 * seed as usize);
        differential::run(subject, &mut Unstructured::new(&bytes))
            .with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

/// Compares the collector with the built-in ones, on heaps of the same kind.
fn random_operations_come_to_the_same_as_elsewhere(subject: &Subject<'_>) -> Result<()> {
    let others = Subject::ours().into_iter().map(|ours| ours.with(subject.bounds, subject.zeal));
    let subjects: Vec<_> = std::iter::once(*subject).chain(others).collect();
    for seed in 0..scaled(8) {
        let bytes = random::bytes(seed + (2 << 32), 500 + 750 * seed as usize);
        agreement::run(&subjects, &mut Unstructured::new(&bytes))
            .with_context(|| format!("seed {seed} + 2^33"))?;
    }
    Ok(())
}

fn damage_stays_inside_the_heap(subject: &Subject<'_>) -> Result<()> {
    for seed in 0..scaled(150) {
        let bytes = random::bytes(seed, 200 + 13 * seed as usize);
        corrupt::run(subject, &mut Unstructured::new(&bytes))
            .with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}
