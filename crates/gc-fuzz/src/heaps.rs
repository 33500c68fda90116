//! Targets that drive bare heaps.
//!
//! The first byte chooses the kind of heap, the zeal and the nursery. For the targets that need only
//! one collector, the second byte chooses it, and whether a thread works beside the program. An input
//! says little more in many operations than in a few, so the bytes after the first few hundred are
//! ignored: more inputs run in the same time.

use anyhow::Result;
use arbitrary::Unstructured;
use gc_runtime::{GcRuntime, HeapBounds, collector};
use gc_testkit::fuzz::Target;
use gc_testkit::{Subject, agreement, corrupt, differential};
use gc_types::collector::nursery::NURSERY;
use std::sync::{Arc, LazyLock};

pub(super) const OPS: Target =
    Target { name: "heap_ops", run: heap_ops, seeds: 1500, length: LENGTH, mutate: None };
pub(super) const CORRUPT: Target =
    Target { name: "heap_corrupt", run: heap_corrupt, seeds: 1500, length: LENGTH, mutate: None };
pub(super) const AGREE: Target =
    Target { name: "heap_agree", run: heap_agree, seeds: 1500, length: AGREE_LENGTH, mutate: None };

/// The most bytes of an input that have a meaning.
const LENGTH: usize = 256;
/// The same for [`heap_agree`], where each operation runs under every collector.
const AGREE_LENGTH: usize = 96;

/// The zeal of a quarter of the inputs: the first byte chooses among these.
const OFTEN_ZEAL: [u32; 4] = [2, 1, 4, 1];
/// The same for targets that should run many inputs, where an eighth have zeal. A collection at every
/// allocation takes far more time than all else.
const RARE_ZEAL: [u32; 4] = [0, 7, 0, 1];

/// The numbers of the collectors in [`collector::all`], by a byte. Those with more to go wrong
/// have a larger share.
const SHARES: [usize; 16] = [0, 1, 2, 3, 3, 1, 2, 3, 3, 1, 2, 3, 3, 3, 2, 3];

/// From this number on in the upper half of the byte for the collector, a thread works beside the heap.
const BESIDE: u8 = 12;

type Collectors = Vec<Arc<dyn GcRuntime>>;

/// The collectors as they are, and with nurseries of a few dozen objects, which a short input fills several times.
static COLLECTORS: LazyLock<[Collectors; 3]> = LazyLock::new(|| {
    let with_nursery = |bytes| {
        let with = |collector: Arc<dyn GcRuntime>| {
            let has = collector.options().iter().any(|option| option.name == NURSERY);
            if has { collector.with_option(NURSERY, bytes).unwrap() } else { collector }
        };
        collector::all().into_iter().map(with).collect()
    };
    [collector::all(), with_nursery(8 << 10), with_nursery(16 << 10)]
});

/// A collector against its shadow: [`differential::run`].
fn heap_ops(bytes: &[u8]) -> Result<()> {
    with_subject(bytes, OFTEN_ZEAL, differential::run)
}

/// A collector on a heap that is overwritten: [`corrupt::run`].
fn heap_corrupt(bytes: &[u8]) -> Result<()> {
    with_subject(bytes, RARE_ZEAL, corrupt::run)
}

/// All collectors side by side: [`agreement::run_within`].
fn heap_agree(bytes: &[u8]) -> Result<()> {
    let Some((subjects, rest)) = subjects(bytes, AGREE_LENGTH, RARE_ZEAL) else { return Ok(()) };
    let mut rest = Unstructured::new(rest);
    agreement::run_within(agreement::Limits::SMALL, &subjects, &mut rest).map(drop)
}

fn with_subject(
    bytes: &[u8],
    zeals: [u32; 4],
    run: impl Fn(&Subject<'_>, &mut Unstructured<'_>) -> Result<()>,
) -> Result<()> {
    let Some((subjects, rest)) = subjects(bytes, LENGTH, zeals) else { return Ok(()) };
    let Some((choice, rest)) = rest.split_first() else { return Ok(()) };
    let chosen = SHARES[usize::from(*choice) % SHARES.len()] % subjects.len();
    let beside = choice / 16 >= BESIDE;
    run(&Subject { beside, ..subjects[chosen] }, &mut Unstructured::new(rest))
}

/// The built-in collectors on heaps of the kind that the first byte chooses, and the other bytes, of
/// which the first `length` have a meaning.
fn subjects(
    bytes: &[u8],
    length: usize,
    zeals: [u32; 4],
) -> Option<(Vec<Subject<'static>>, &[u8])> {
    let (first, rest) = bytes[..bytes.len().min(length)].split_first()?;
    let guarded = first % 2 == 1 && !cfg!(miri);
    let bounds = if guarded { HeapBounds::Guarded } else { HeapBounds::Checked };
    let zeal = match first / 2 % 16 {
        choice @ 12.. => zeals[usize::from(choice - 12)],
        _ => 0,
    };
    let collectors = match first / 32 {
        0 | 1 => &COLLECTORS[0],
        2..=4 => &COLLECTORS[1],
        _ => &COLLECTORS[2],
    };
    let subjects = Subject::each(collectors).into_iter();
    Some((subjects.map(|subject| subject.with(bounds, zeal)).collect(), rest))
}
