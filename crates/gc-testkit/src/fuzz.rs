//! The fuzz targets, as functions of bytes: what the crate under `fuzz/` calls, and
//! what a test on the stable compiler replays its corpus and its past failures
//! through.

use crate::{Subject, corrupt, differential};
use arbitrary::Unstructured;
use gc_runtime::HeapBounds;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the binary under `fuzz/fuzz_targets/`, and of its folders in
    /// `fuzz/corpus/` and `fuzz/regressions/`.
    pub name: &'static str,
    /// Runs it on some bytes; panics if they show a fault.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "heap_ops", run: heap_ops },
    Target { name: "heap_corrupt", run: heap_corrupt },
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

fn for_each_subject(
    bytes: &[u8],
    run: impl Fn(&Subject<'_>, &mut Unstructured<'_>) -> anyhow::Result<()>,
) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let guarded = first % 2 == 1 && !cfg!(miri);
    let bounds = if guarded { HeapBounds::Guarded } else { HeapBounds::Checked };
    let zeal = if cfg!(feature = "gc_zeal") { u32::from(first / 2 % 4) } else { 0 };
    for subject in Subject::ours() {
        let subject = subject.with(bounds, zeal);
        if let Err(fault) = run(&subject, &mut Unstructured::new(rest)) {
            panic!("{fault:#}");
        }
    }
}
