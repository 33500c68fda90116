//! Traces: collections of the whole heap that promote nothing but what lives.
//!
//! To a minor collection old objects are alive. Once a dead one is old, what it refers to
//! is promoted, and then what that refers to: the cells of a queue that keep their successors
//! when they leave it are promoted one and all (*nepotism*: David Ungar and Frank Jackson,
//! "Tenuring Policies for Generation-Based Storage Reclamation", 1988). A major collection
//! finds them dead, but the nursery is emptied before it begins, and so the last one hands on
//! to the next.
//!
//! A trace comes in place of a minor collection. It follows references from all roots, and
//! dirty cards are none: young objects that it finds are moved as in a minor collection, old
//! ones are marked, both are scanned by the scavenger. Old objects that it did not find are
//! swept. It costs what lives, which is nearly nothing where all that dies is promoted,
//! and much more than a minor collection in most programs. [`Chooser`] tells which.
//!
//! A trace that finds more old objects than was bargained for becomes a minor collection:
//! roots were looked at, what was moved is moved, and cards, which a trace cleans only
//! at its end, tell the rest. So its pause is no longer than that of two minor collections, but
//! for a look at all roots and, if it goes through, a sweep.

use super::GenerationalHeap;
use super::major::Phase;
use crate::space::object_map::Mark;
use gc_types::I31;

/// In the scavenger's list: an old object that was found, not one that was moved.
pub(super) const FOUND: u32 = 1;

/// Minor collections that promote most of the nursery before a trace is tried, and the traces'
/// cost, in such collections, before one of those is tried again.
const PATIENCE: u64 = 4;
/// Trials that fail are this many powers of two apart, at most.
const MAX_FAILED: u32 = 20;
/// Bytes of a nursery that is too small to tell anything from.
const LEAST_USED: u64 = 64 << 10;
/// Bytes that looking at a root is taken for.
const BYTES_OF_ROOT: u64 = 4;

/// Chooses between minor collections and traces, by what they cost: bytes of objects that are
/// moved or marked.
///
/// The kind that was not chosen is tried when the other has cost several times what it
/// is expected to: whatever the program does, trials take a small part of the time, and a
/// kind that fails is tried half as often each time.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    /// Whether traces are chosen.
    traces: bool,
    /// Bytes of old objects that were found alive when the old generation was marked last, if
    /// it was.
    live: Option<u64>,
    /// What the last minor collection moved, and of how many bytes.
    minor: (u64, u64),
    /// What minor collections that promoted most have cost since the last trace; or, if
    /// traces are chosen, what these have beyond moving what survives.
    spent: u64,
    /// Trials in a row that failed.
    failed: u32,
}

impl Chooser {
    /// What a minor collection of `used` bytes is expected to move.
    fn minor_cost(&self, used: u64) -> u64 {
        let (moved, of) = self.minor;
        (moved as f64 / of.max(1) as f64 * used as f64) as u64
    }

    /// Bytes of old objects that a trace in place of a minor collection of `used` bytes may
    /// find.
    fn bargain(&self, used: u64) -> u64 {
        self.minor_cost(used) / 2
    }

    /// Whether to trace in place of a minor collection of `used` bytes.
    fn wants_trace(&self, used: u64) -> bool {
        // In place of a collection of next to nothing no trace pays, which says nothing of others.
        if used < self.minor.1 / 4 {
            return false;
        }
        let cost = self.minor_cost(used).saturating_mul(PATIENCE);
        if self.traces {
            self.spent < cost
        } else {
            let little = self.live.is_some_and(|live| live <= self.bargain(used));
            little && cost > 0 && self.spent >> self.failed >= cost
        }
    }

    /// Marking has found `live` bytes of the objects alive that were old when it began.
    pub(super) fn learn_live(&mut self, live: u64) {
        self.live = Some(live);
    }

    /// A minor collection has moved `moved` of `used` bytes.
    fn after_minor(&mut self, used: u64, moved: u64) {
        if used < LEAST_USED {
            return;
        }
        let most = moved > used / 2;
        self.minor = (moved, used);
        self.spent = if most && !self.traces { self.spent + moved } else { 0 };
        self.traces &= most;
    }

    /// A trace has moved `moved` of `used` bytes and looked at `found` bytes besides.
    fn after_trace(&mut self, used: u64, moved: u64, found: u64) {
        if moved + found > self.minor_cost(used) / 4 * 3 {
            self.failed();
            return;
        }
        self.spent = if self.traces { self.spent + found } else { 0 };
        self.traces = true;
        self.failed = self.failed.saturating_sub(1);
    }

    /// A trace has not paid.
    fn failed(&mut self) {
        self.traces = false;
        self.spent = 0;
        self.failed = (self.failed + 1).min(MAX_FAILED);
    }

    /// Lets it believe that minor collections move `moved` of `used` bytes.
    #[cfg(test)]
    pub(super) fn expect(&mut self, moved: u64, used: u64) {
        self.minor = (moved, used);
    }

    /// Whether traces are chosen.
    #[cfg(test)]
    pub(super) fn traces(&self) -> bool {
        self.traces
    }
}

/// A trace under way.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Whether one is.
    pub(super) is_active: bool,
    /// Bytes of old objects that were found, and that may be.
    found: u64,
    most: u64,
    /// Whether there were more.
    is_over: bool,
}

impl Trace {
    /// Whether it should become a minor collection.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }
}

impl GenerationalHeap {
    /// Whether nothing stands against a trace: a major collection that was not swept yet,
    /// or objects that wait in the nursery.
    pub(super) fn may_trace(&self) -> bool {
        !matches!(self.phase, Phase::Marking | Phase::Evacuating) && !self.nursery.retains()
    }

    /// Whether a trace should come in place of a minor collection.
    pub(super) fn trace_pays(&self) -> bool {
        self.may_trace() && self.chooser.wants_trace(self.nursery_used().into())
    }

    /// Begins a trace, of a heap that is swept. Under zeal it is sometimes given up.
    pub(super) fn begin_trace(&mut self) {
        let most = match self.zeal {
            0 => self.chooser.bargain(self.nursery_used().into()),
            _ if self.zeal_count.is_multiple_of(2) => 64,
            _ => u64::MAX,
        };
        self.begin_minor();
        self.begin_marking_all();
        self.scavenger.looks_at_old = true;
        self.scavenger.trace = Trace { is_active: true, most, ..Trace::default() };
    }

    /// Follows `word`, which is not that of a reference to a young object.
    #[inline]
    pub(super) fn trace(&mut self, word: u32) {
        if word & I31::TAG != 0 || word < self.nursery.end {
            return;
        }
        match self.old.map.mark(word) {
            Mark::New => self.scavenger.grey.push(word | FOUND),
            Mark::Old => {}
            Mark::NoObject => self.core.note_damage(word, "a reference to no object"),
        }
    }

    /// Counts an old object that was found, before it is scanned; whether it may be.
    pub(super) fn found(&mut self, index: u32, size: u32) -> bool {
        if !self.old.fits(index, size) {
            self.core.note_damage(index, "an old object that cannot be");
            return false;
        }
        let trace = &mut self.scavenger.trace;
        trace.found += u64::from(size);
        trace.is_over |= trace.found > trace.most;
        if !trace.is_over {
            self.old.reached(index, size);
        }
        !trace.is_over
    }

    /// Makes a trace that found too much a minor collection, whose roots were looked at.
    pub(super) fn give_trace_up(&mut self) {
        self.scavenger.trace.is_active = false;
        self.scavenger.looks_at_old = false;
        self.scavenger.grey.retain(|entry| entry & FOUND == 0);
        self.abandon_marking();
        self.chooser.failed();
    }

    /// Ends a trace, behind the minor collection that it was too: what was not found
    /// is garbage.
    pub(super) fn end_trace(&mut self, used: u32) {
        self.scavenger.trace.is_active = false;
        let roots = u64::from(self.scavenger.roots) * BYTES_OF_ROOT;
        let found = self.scavenger.trace.found + roots;
        if self.nursery.retains() {
            self.chooser.failed();
        } else {
            // Whatever referred to a young object was updated, or is dead.
            self.tables.clean_all(self.old.blocks.start(), self.old.blocks.end());
            self.chooser.after_trace(used.into(), self.survived, found);
        }
        self.end_marking();
    }

    /// Learns from a minor collection.
    pub(super) fn learn_from_minor(&mut self, used: u32) {
        if !self.scavenger.trace.is_active {
            self.chooser.after_minor(used.into(), self.survived);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USED: u64 = 1 << 20;

    /// Where little lives.
    fn chooser() -> Chooser {
        Chooser { live: Some(0), ..Chooser::default() }
    }

    /// The number of minor collections until a trace is wanted.
    fn minors(chooser: &mut Chooser, moved: u64) -> Option<usize> {
        (0..10_000).find(|_| {
            let wants = chooser.wants_trace(USED);
            if !wants {
                chooser.after_minor(USED, moved);
            }
            wants
        })
    }

    #[test]
    fn traces_that_fail_are_tried_ever_less_often() {
        let mut chooser = chooser();
        let mut between = || {
            let minors = minors(&mut chooser, USED).unwrap();
            chooser.failed();
            minors
        };
        assert_eq!([between(), between(), between(), between()], [4, 8, 16, 32]);
        // A nursery most of which is dead is best collected alone.
        assert_eq!(minors(&mut Chooser { failed: 0, ..chooser }, USED / 2), None);
        // And nothing is tried before it is known what lives.
        assert_eq!(minors(&mut Chooser::default(), USED), None);
    }

    #[test]
    fn traces_go_on_while_they_cost_less() {
        let mut chooser = chooser();
        assert_eq!(minors(&mut chooser, USED), Some(4));
        chooser.learn_live(USED);
        assert!(!chooser.wants_trace(USED), "much lives");
        chooser.learn_live(0);
        chooser.after_trace(USED, 1000, 1000);
        assert!(chooser.traces());
        // Until a minor collection is tried: now and then, and more often if it cost more.
        let mut traces = |found| {
            let mut count = 0;
            while chooser.wants_trace(USED) {
                chooser.after_trace(USED, 1000, found);
                count += 1;
            }
            chooser.after_minor(USED, USED);
            count
        };
        assert_eq!([traces(USED / 4), traces(USED / 64)], [16, 256]);
        assert!(chooser.wants_trace(USED));
        // One that finds too much to live ends that, and so does a cheap minor collection.
        chooser.after_trace(USED, USED / 2, USED / 2);
        assert!(!chooser.wants_trace(USED));
        assert_eq!(minors(&mut chooser, USED), Some(8));
        chooser.after_trace(USED, 1000, 1000);
        chooser.after_minor(USED, USED / 4);
        assert!(!chooser.traces());
    }
}
