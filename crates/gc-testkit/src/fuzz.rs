//! The fuzz targets as functions of bytes. The crate under `fuzz/` calls them, and a test on the
//! stable compiler replays the corpus and past failures with them.

use crate::{Subject, agreement, corrupt, differential};
use arbitrary::Unstructured;
use gc_runtime::HeapBounds;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of the binary under `fuzz/fuzz_targets/` and of the folders in `fuzz/corpus/` and
    /// `fuzz/regressions/`.
    pub name: &'static str,
    /// Runs the target on some bytes. Panics if they show a fault.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "heap_ops", run: heap_ops },
    Target { name: "heap_corrupt", run: heap_corrupt },
    Target { name: "heap_agree", run: heap_agree },
];

/// Each collector against its shadow: [`differential::run`].
///
/// # Panics
/// If heap and shadow differ.
pub fn heap_ops(bytes: &[u8]) {
    for_each_subject(bytes, differential::run);
}

/// Each collector on a heap that is overwritten: [`corrupt::run`].
///
/// # Panics
/// If the damage was not contained.
pub fn heap_corrupt(bytes: &[u8]) {
    for_each_subject(bytes, corrupt::run);
}

/// All collectors side by side: [`agreement::run`].
///
/// # Panics
/// If two disagree.
pub fn heap_agree(bytes: &[u8]) {
    let Some((subjects, rest)) = subjects(bytes) else { return };
    if let Err(fault) = agreement::run(&subjects, &mut Unstructured::new(rest)) {
        panic!("{fault:#}");
    }
}

fn for_each_subject(
    bytes: &[u8],
    run: impl Fn(&Subject<'_>, &mut Unstructured<'_>) -> anyhow::Result<()>,
) {
    let Some((subjects, rest)) = subjects(bytes) else { return };
    for subject in subjects {
        if let Err(fault) = run(&subject, &mut Unstructured::new(rest)) {
            panic!("{fault:#}");
        }
    }
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
