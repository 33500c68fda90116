//! Targets that drive bare heaps.
//!
//! The first byte chooses the kind of heap and the zeal. For the targets that need only one
//! collector, the second byte chooses it. An input says little more in many operations than in a
//! few, so the bytes after the first few hundred are ignored: more inputs run in the same time.

use super::Target;
use crate::{Subject, agreement, corrupt, differential};
use anyhow::Result;
use arbitrary::Unstructured;
use gc_runtime::HeapBounds;

pub(super) const TARGETS: &[Target] = &[
    Target { name: "heap_ops", run: heap_ops, seeds: 1500, length: LENGTH, mutate: None },
    Target { name: "heap_corrupt", run: heap_corrupt, seeds: 1500, length: LENGTH, mutate: None },
    Target { name: "heap_agree", run: heap_agree, seeds: 1500, length: AGREE_LENGTH, mutate: None },
];

/// The most bytes of an input that have a meaning.
const LENGTH: usize = 256;
/// The same for [`heap_agree`], where each operation runs under every collector.
const AGREE_LENGTH: usize = 160;

/// A collector against its shadow: [`differential::run`].
fn heap_ops(bytes: &[u8]) -> Result<()> {
    with_subject(bytes, differential::run)
}

/// A collector on a heap that is overwritten: [`corrupt::run`].
fn heap_corrupt(bytes: &[u8]) -> Result<()> {
    with_subject(bytes, corrupt::run)
}

/// All collectors side by side: [`agreement::run_within`].
fn heap_agree(bytes: &[u8]) -> Result<()> {
    let Some((subjects, rest)) = subjects(bytes, AGREE_LENGTH) else { return Ok(()) };
    let mut rest = Unstructured::new(rest);
    agreement::run_within(agreement::Limits::SMALL, &subjects, &mut rest).map(drop)
}

fn with_subject(
    bytes: &[u8],
    run: impl Fn(&Subject<'_>, &mut Unstructured<'_>) -> Result<()>,
) -> Result<()> {
    let Some((subjects, rest)) = subjects(bytes, LENGTH) else { return Ok(()) };
    let Some((choice, rest)) = rest.split_first() else { return Ok(()) };
    run(&subjects[usize::from(*choice) % subjects.len()], &mut Unstructured::new(rest))
}

/// The built-in collectors on heaps of the kind that the first byte chooses, and the other bytes, of
/// which the first `length` have a meaning.
fn subjects(bytes: &[u8], length: usize) -> Option<(Vec<Subject<'static>>, &[u8])> {
    let (first, rest) = bytes[..bytes.len().min(length)].split_first()?;
    let guarded = first % 2 == 1 && !cfg!(miri);
    let bounds = if guarded { HeapBounds::Guarded } else { HeapBounds::Checked };
    // A collection at every allocation takes far more time than all else.
    let zeal = match first / 2 % 16 {
        15 => 1,
        14 => 4,
        _ => 0,
    };
    let zeal = if cfg!(feature = "gc_zeal") { zeal } else { 0 };
    let with = |subject: Subject<'static>| subject.with(bounds, zeal);
    Some((Subject::ours().into_iter().map(with).collect(), rest))
}
