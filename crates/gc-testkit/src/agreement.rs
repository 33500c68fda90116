//! Several collectors side by side: the same operations on a heap of each must have the same
//! results, leave the same graph ([`crate::graph`]), and keep the same host values alive after a
//! full collection.
//!
//! The shadow heap ([`crate::differential`]) defines the correct result for one collector, in a
//! heap of any size. Here no such definition is needed: two collectors must agree exactly, on one
//! hash. The heaps are large enough that few run out of memory. Collectors may differ in that, so
//! the comparison ends where one does, which must have grown to its limit.

use crate::graph::Graph;
use crate::mutator::{Collection, Effect, Mutator};
use crate::ops::Op;
use crate::patterns::Operations;
use crate::schema::Schema;
use crate::{Ledger, Reclaims, Subject};
use anyhow::{Context, Result, anyhow, bail, ensure};
use arbitrary::Unstructured;
use gc_heap::HeapError;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The size of what [`run_within`] makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The maximum size of each heap in bytes.
    pub maximum: u64,
    /// The longest array. Operations with longer arrays, operations that fill the heap, and those on
    /// weak references are skipped.
    pub length: u32,
    /// The most operations that patterns give.
    pub patterns: usize,
}

impl Limits {
    /// The limits of [`run`]. Random operations allocate less than the maximum, even if nothing
    /// dies.
    pub const LARGE: Limits = Limits { maximum: 256 << 20, length: 20_000, patterns: 1200 };
    /// Limits for many short sequences of operations.
    pub const SMALL: Limits = Limits { maximum: 4 << 20, length: 5000, patterns: 200 };
}

/// The maximum number of runs for shrinking a sequence of operations.
const SHRINK_RUNS: u32 = 400;

/// Runs the operations that the bytes in `u` encode, on types that they choose, under all of
/// `subjects`. Returns the hash of the final graph.
///
/// # Errors
/// If two collectors disagree. The error says about what, and has a short sequence of operations
/// that suffices.
pub fn run(subjects: &[Subject<'_>], u: &mut Unstructured<'_>) -> Result<u64> {
    run_within(Limits::LARGE, subjects, u)
}

/// The same as [`run`] within other limits.
///
/// # Errors
/// As [`run`].
pub fn run_within(
    limits: Limits,
    subjects: &[Subject<'_>],
    u: &mut Unstructured<'_>,
) -> Result<u64> {
    let Ok((schema, ops)) = choose(limits, u) else { return Ok(Graph::default().hash()) };
    compare(limits, subjects, &schema, &ops).map_err(|fault| {
        let fails = |ops: &[Op]| compare(limits, subjects, &schema, ops).err();
        let (ops, fault) = shrink(ops, fault, fails);
        let mut text = format!("{fault:#}; {} operations suffice:", ops.len());
        for op in &ops {
            let _ = write!(text, "\n  {op:?}");
        }
        anyhow!(text)
    })
}

fn choose(limits: Limits, u: &mut Unstructured<'_>) -> arbitrary::Result<(Arc<Schema>, Vec<Op>)> {
    let schema = if u.arbitrary()? { Schema::fixed() } else { Schema::arbitrary(u)? };
    let mut operations = Operations::new(limits.patterns);
    let skipped = |op: &Op| match op {
        Op::Exhaust => true,
        Op::AllocArray { length, .. } => *length >= limits.length,
        op => op.is_weak(),
    };
    let ops = std::iter::from_fn(|| operations.next(u)).filter(|op| !skipped(op)).collect();
    Ok((schema, ops))
}

/// Runs `ops` under all of `subjects`. Returns the hash of the final graph.
///
/// # Errors
/// If two collectors disagree. The error says after which operation and about what. A panic is a
/// disagreement.
fn compare(
    limits: Limits,
    subjects: &[Subject<'_>],
    schema: &Arc<Schema>,
    ops: &[Op],
) -> Result<u64> {
    let run = || -> Result<u64> {
        let (first, others) = subjects.split_first().context("no collector to compare")?;
        // One after the other, so that only one heap is large at a time.
        let expected = Side::run(limits, first, schema, ops)?;
        for subject in others {
            let actual = Side::run(limits, subject, schema, ops)?;
            for (n, (expected, actual)) in expected.iter().zip(&actual).enumerate() {
                // What comes later depends on it.
                if [expected, actual].iter().any(|seen| seen.came_to == CameTo::OutOfMemory) {
                    break;
                }
                if expected == actual {
                    continue;
                }
                let op = ops.get(n).map_or("the last collection".into(), |op| format!("{op:?}"));
                let difference = if expected.came_to == actual.came_to {
                    let graphs = [first, subject].map(|subject| {
                        Graph::of(&Side::run_up_to(limits, subject, schema, ops, n)?.mutator)
                    });
                    let [one, two] = graphs;
                    one?.first_difference(&two?).unwrap_or_else(|| "only their hashes".into())
                } else {
                    format!("{:?} and {:?}", expected.came_to, actual.came_to)
                };
                bail!("{first:?} and {subject:?} disagree after operation {n}, {op}: {difference}");
            }
        }
        Ok(expected.last().map_or(0, |last| last.hash))
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result,
        Err(panic) => Err(anyhow!("it panicked: {}", crate::panic_text(&*panic))),
    }
}

/// The observations after one operation.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    came_to: CameTo,
    /// The graph's hash after collections and at the end, otherwise 0.
    hash: u64,
}

/// The result of an operation, without the parts that may depend on the collector.
#[derive(Debug, PartialEq, Eq)]
enum CameTo {
    /// An effect, except those of collections and growth.
    Effect(Option<Effect>),
    /// A refusal, without the place in the heap.
    Refused(String),
    /// The heap has no room, and may not grow further.
    OutOfMemory,
}

impl CameTo {
    fn of(op: &Op, outcome: &Result<Effect, HeapError>) -> CameTo {
        match outcome {
            Ok(Effect::Collected(_)) => CameTo::Effect(None),
            Ok(_) if matches!(op, Op::Grow { .. } | Op::EnterWasm { .. }) => CameTo::Effect(None),
            Ok(Effect::Nothing) if matches!(op, Op::Collect) => CameTo::Effect(None),
            Ok(effect) => CameTo::Effect(Some(*effect)),
            // One heap may have grown to its limit before, when another needed no memory.
            Err(HeapError::OutOfMemory { .. }) if matches!(op, Op::Grow { .. }) => {
                CameTo::Effect(None)
            }
            Err(HeapError::OutOfMemory { .. }) => CameTo::OutOfMemory,
            Err(HeapError::NotAnObject { .. }) => CameTo::Refused("not an object".into()),
            Err(HeapError::WrongKind { expected, .. }) => {
                CameTo::Refused(format!("not a {expected:?}"))
            }
            Err(HeapError::WrongElement { .. }) => CameTo::Refused("wrong elements".into()),
            Err(error) => CameTo::Refused(error.to_string()),
        }
    }
}

/// One of the collectors.
struct Side {
    mutator: Mutator,
    reclaims: Reclaims,
}

impl Side {
    fn new(limits: Limits, subject: &Subject<'_>, schema: &Arc<Schema>) -> Result<Side> {
        let options = subject.options(64 << 10, limits.maximum);
        let mutator = Mutator::new(subject.runtime, &options, Arc::clone(schema))?;
        Ok(Side { mutator, reclaims: subject.reclaims })
    }

    /// Runs the operations and a full collection, and drops the heap.
    fn run(
        limits: Limits,
        subject: &Subject<'_>,
        schema: &Arc<Schema>,
        ops: &[Op],
    ) -> Result<Vec<Seen>> {
        let mut side = Side::new(limits, subject, schema)?;
        let mut seen = Vec::with_capacity(ops.len() + 1);
        for (n, op) in ops.iter().enumerate() {
            let outcome = side.mutator.apply(op);
            let collects = matches!(
                outcome,
                Ok(Effect::Collected(Collection::Complete | Collection::Abandoned))
            ) && !matches!(op, Op::EnterWasm { .. });
            let hash = if collects { Graph::of(&side.mutator)?.hash() } else { 0 };
            let came_to = CameTo::of(op, &outcome);
            let checked = match outcome {
                Err(HeapError::OutOfMemory { bytes, limit }) => {
                    side.mutator.check_out_of_memory(bytes, limit)
                }
                _ => Ok(()),
            };
            checked
                .and_then(|()| side.mutator.slots().check())
                .with_context(|| format!("{subject:?}: operation {n}, {op:?}"))?;
            seen.push(Seen { came_to, hash });
        }
        let hash = side.finish().with_context(|| format!("{subject:?}: in the end"))?;
        seen.push(Seen { came_to: CameTo::Effect(None), hash });
        let ledger: Ledger = side.mutator.ledger().clone();
        drop(side);
        ledger.check_all_once().with_context(|| format!("{subject:?}: after the heap"))?;
        Ok(seen)
    }

    /// Runs the operations up to and including the one with this number. If there are fewer, runs
    /// all and a full collection.
    fn run_up_to(
        limits: Limits,
        subject: &Subject<'_>,
        schema: &Arc<Schema>,
        ops: &[Op],
        last: usize,
    ) -> Result<Side> {
        let mut side = Side::new(limits, subject, schema)?;
        for op in ops.iter().take(last + 1) {
            let _: Result<Effect, HeapError> = side.mutator.apply(op);
        }
        if last >= ops.len() {
            side.finish()?;
        }
        Ok(side)
    }

    /// Collects everything and checks which host values are alive. Returns the graph's hash.
    fn finish(&mut self) -> Result<u64> {
        while self.mutator.scopes() > 0 {
            self.mutator.exit_no_gc_scope();
        }
        ensure!(self.mutator.collect()?, "a collection was skipped");
        self.mutator.verify()?;
        let graph = Graph::of(&self.mutator)?;
        let (reachable, ledger) = (graph.tokens(), self.mutator.ledger());
        let alive: Vec<u32> =
            (0..ledger.issued()).filter(|&number| ledger.times_dropped(number) == 0).collect();
        let lost = reachable.iter().find(|token| alive.binary_search(token).is_err());
        ensure!(lost.is_none(), "host value {} was dropped", lost.copied().unwrap_or(0));
        let kept = alive.iter().find(|token| reachable.binary_search(token).is_err());
        if let (Reclaims::Everything, Some(kept)) = (self.reclaims, kept) {
            bail!("host value {kept} is kept, and nothing refers to it");
        }
        ledger.check_none_twice()?;
        Ok(graph.hash())
    }
}

/// Removes operations as long as the remaining ones still fail.
fn shrink(
    mut ops: Vec<Op>,
    mut fault: anyhow::Error,
    fails: impl Fn(&[Op]) -> Option<anyhow::Error>,
) -> (Vec<Op>, anyhow::Error) {
    let mut runs = 0;
    let mut chunk = ops.len().div_ceil(2);
    while chunk > 0 {
        let mut start = 0;
        let before = ops.len();
        while start < ops.len() && runs < SHRINK_RUNS {
            let mut fewer = ops.clone();
            fewer.drain(start..(start + chunk).min(ops.len()));
            runs += 1;
            match fails(&fewer) {
                Some(new) => (ops, fault) = (fewer, new),
                None => start += chunk,
            }
        }
        // Repeats with chunks of one operation until none can be removed.
        chunk = if chunk == 1 && ops.len() < before { 1 } else { chunk / 2 };
    }
    (ops, fault)
}
