//! Targets that drive bare heaps.

use super::Target;
use crate::{Subject, agreement, corrupt, differential};
use anyhow::Result;
use arbitrary::Unstructured;
use gc_runtime::HeapBounds;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "heap_ops", run: heap_ops, seeds: 200, length: 4096, mutate: None },
    Target { name: "heap_corrupt", run: heap_corrupt, seeds: 200, length: 4096, mutate: None },
    Target { name: "heap_agree", run: heap_agree, seeds: 200, length: 4096, mutate: None },
];

/// Each collector against its shadow: [`differential::run`].
fn heap_ops(bytes: &[u8]) -> Result<()> {
    for_each_subject(bytes, differential::run)
}

/// Each collector on a heap that is overwritten: [`corrupt::run`].
fn heap_corrupt(bytes: &[u8]) -> Result<()> {
    for_each_subject(bytes, corrupt::run)
}

/// All collectors side by side: [`agreement::run`].
fn heap_agree(bytes: &[u8]) -> Result<()> {
    let Some((subjects, rest)) = subjects(bytes) else { return Ok(()) };
    agreement::run(&subjects, &mut Unstructured::new(rest)).map(drop)
}

fn for_each_subject(
    bytes: &[u8],
    run: impl Fn(&Subject<'_>, &mut Unstructured<'_>) -> Result<()>,
) -> Result<()> {
    let Some((subjects, rest)) = subjects(bytes) else { return Ok(()) };
    subjects.iter().try_for_each(|subject| run(subject, &mut Unstructured::new(rest)))
}

/// The built-in collectors on heaps of the kind that the first byte chooses, and the other bytes.
fn subjects(bytes: &[u8]) -> Option<(Vec<Subject<'static>>, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let guarded = first % 2 == 1 && !cfg!(miri);
    let bounds = if guarded { HeapBounds::Guarded } else { HeapBounds::Checked };
    let zeal = if cfg!(feature = "gc_zeal") { u32::from(first / 2 % 4) } else { 0 };
    let with = |subject: Subject<'static>| subject.with(bounds, zeal);
    Some((Subject::ours().into_iter().map(with).collect(), rest))
}
