//! Random operations and damage, from fixed seeds.

use super::*;
use crate::{corrupt, differential, random, scaled};
use arbitrary::Unstructured;

promises! {
    random_operations_agree_with_the_shadow: "all";
    damage_stays_inside_the_heap: "all";
}

fn random_operations_agree_with_the_shadow(subject: &Subject<'_>) -> Result<()> {
    for seed in 0..scaled(100) {
        let bytes = random::bytes(seed, 200 + 100 * seed as usize);
        differential::run(subject, &mut Unstructured::new(&bytes))
            .with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

fn damage_stays_inside_the_heap(subject: &Subject<'_>) -> Result<()> {
    for seed in 0..scaled(500) {
        let bytes = random::bytes(seed, 200 + 4 * seed as usize);
        corrupt::run(subject, &mut Unstructured::new(&bytes))
            .with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}
