//! Traces: collections of the whole heap that promote only live objects.
//!
//! A minor collection treats old objects as alive. So the referents of a dead old object are
//! promoted, and then their referents. In a queue whose cells keep a reference to their successor
//! after they leave, every cell is promoted (*nepotism*: David Ungar and Frank Jackson, "Tenuring
//! Policies for Generation-Based Storage Reclamation", 1988). A major collection finds them dead.
//! But the nursery is emptied before it begins, so the last dead cell keeps the next ones alive.
//!
//! A trace replaces a minor collection. It follows references from all roots, and does not use
//! dirty cards as roots. It moves the young objects that it finds, as a minor collection does, and
//! marks the old ones. The scavenger scans both. Old objects that were not found are swept. A trace
//! takes time for everything that lives. That is very little if dead objects are promoted, and much
//! more than a minor collection in most programs. [`Chooser`] chooses between them.
//!
//! A trace that finds more old objects than its limit becomes a minor collection. This is possible
//! because the roots were visited, the moved objects stay moved, and the cards, which a trace
//! cleans only at its end, give the rest. So its pause is at most that of two minor collections,
//! plus a scan of all roots and, if it completes, a sweep.

use super::GenerationalHeap;
use super::major::Phase;
use crate::space::object_map::Mark;
use crate::trace::shapes::BAD_OBJECT;
use gc_types::I31;

/// Number of minor collections that promote most of the nursery before a trace is tried. Also the
/// cost of traces, in such collections, before a minor collection is tried again.
const PATIENCE: u64 = 4;
/// The maximum exponent of two for the distance between failing trials.
const MAX_FAILED: u32 = 20;
/// A nursery with fewer used bytes than this is too small for conclusions.
const LEAST_USED: u64 = 64 << 10;
/// The cost of visiting a root, in bytes.
const BYTES_OF_ROOT: u64 = 4;

/// Chooses between minor collections and traces by their cost, which is the bytes of objects that
/// are moved or marked.
///
/// The other kind is tried when the chosen one has cost several times what the other is expected to
/// cost. So trials take a small part of the time, whatever the program does. After each failure a
/// kind is tried half as often.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    /// Whether traces are chosen.
    traces: bool,
    /// Bytes of old objects that the last marking of the old generation found alive, if there was
    /// one.
    live: Option<u64>,
    /// The bytes that the last minor collection moved, and the bytes of the nursery that were used.
    minor: (u64, u64),
    /// The cost, since the last trace, of minor collections that promoted most of the nursery. If
    /// traces are chosen, it is the cost of traces in addition to moving survivors.
    spent: u64,
    /// Number of consecutive failed trials.
    failed: u32,
}

impl Chooser {
    /// The bytes that the last minor collection moved, and the bytes of the nursery that were used.
    pub(super) fn last_minor(&self) -> (u64, u64) {
        self.minor
    }

    /// The bytes that a minor collection of `used` bytes is expected to move.
    fn minor_cost(&self, used: u64) -> u64 {
        let (moved, of) = self.minor;
        (moved as f64 / of.max(1) as f64 * used as f64) as u64
    }

    /// The maximum bytes of old objects that a trace may find, if it replaces a minor collection of
    /// `used` bytes.
    fn bargain(&self, used: u64) -> u64 {
        self.minor_cost(used) / 2
    }

    /// Whether a trace should replace a minor collection of `used` bytes.
    fn wants_trace(&self, used: u64) -> bool {
        // A trace never pays instead of a very small collection. That says nothing about larger
        // ones.
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

    /// Records that marking found `live` bytes alive, of the objects that were old when it began.
    pub(super) fn learn_live(&mut self, live: u64) {
        self.live = Some(live);
    }

    /// Records that a minor collection moved `moved` of `used` bytes.
    fn after_minor(&mut self, used: u64, moved: u64) {
        if used < LEAST_USED {
            return;
        }
        let most = moved > used / 2;
        self.minor = (moved, used);
        self.spent = if most && !self.traces { self.spent + moved } else { 0 };
        self.traces &= most;
    }

    /// Records that a trace moved `moved` of `used` bytes and visited `found` more bytes.
    fn after_trace(&mut self, used: u64, moved: u64, found: u64) {
        if moved + found > self.minor_cost(used) / 4 * 3 {
            self.failed();
            return;
        }
        self.spent = if self.traces { self.spent + found } else { 0 };
        self.traces = true;
        self.failed = self.failed.saturating_sub(1);
    }

    /// Records that a trace did not pay.
    fn failed(&mut self) {
        self.traces = false;
        self.spent = 0;
        self.failed = (self.failed + 1).min(MAX_FAILED);
    }

    /// Sets the expectation that minor collections move `moved` of `used` bytes.
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
pub(super) struct TraceState {
    /// Whether a trace is under way.
    pub(super) is_active: bool,
    /// Whether the minor collection that is under way began as a trace.
    pub(super) was_begun: bool,
    /// Old objects that were found and are not scanned yet.
    grey: Vec<u32>,
    /// Bytes of old objects that were found, and the maximum.
    found: u64,
    most: u64,
    /// Whether more than the maximum were found.
    is_over: bool,
}

impl TraceState {
    /// Whether the trace should become a minor collection.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next old object to scan.
    pub(super) fn next(&mut self) -> Option<u32> {
        self.grey.pop()
    }

    /// Whether no old object is to be scanned.
    pub(super) fn is_done(&self) -> bool {
        self.grey.is_empty()
    }
}

impl GenerationalHeap {
    /// Whether a trace is possible: no major collection is marking or evacuating, and no objects
    /// are retained in the nursery.
    pub(super) fn may_trace(&self) -> bool {
        !matches!(self.major.phase, Phase::Marking | Phase::Evacuating) && !self.nursery.retains()
    }

    /// Whether a trace should replace a minor collection.
    pub(super) fn trace_pays(&self) -> bool {
        self.may_trace()
            && !self.old.is_sweeping()
            && self.chooser.wants_trace(self.nursery_used().into())
    }

    /// Begins a trace of a swept heap. Under zeal it is sometimes abandoned.
    pub(super) fn begin_trace(&mut self) {
        let most = match self.core.memory.zeal() {
            0 => self.chooser.bargain(self.nursery_used().into()),
            _ if self.zeal_count.is_multiple_of(2) => 64,
            _ => u64::MAX,
        };
        self.begin_minor();
        self.begin_marking_all();
        self.scavenger.looks_at_old = true;
        let mut grey = std::mem::take(&mut self.scavenger.trace.grey);
        grey.clear();
        self.scavenger.trace =
            TraceState { is_active: true, was_begun: true, grey, most, ..TraceState::default() };
    }

    /// Follows the reference `word`, which does not refer to a young object.
    #[inline]
    pub(super) fn trace(&mut self, word: u32) {
        if word & I31::TAG != 0 || word < self.nursery.end {
            return;
        }
        match self.old.mark(word) {
            Mark::New => self.scavenger.trace.grey.push(word),
            Mark::Old => {}
            Mark::NoObject => self.core.note_damage(word, "a reference to no object"),
        }
    }

    /// Counts an old object that was found, before it is scanned. Returns whether it may be
    /// scanned.
    pub(super) fn found(&mut self, index: u32, size: u32) -> bool {
        if !self.old.fits(index, size) {
            self.core.note_damage(index, BAD_OBJECT);
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

    /// Makes a trace that found too much a minor collection whose roots were visited.
    pub(super) fn give_trace_up(&mut self) {
        self.scavenger.trace.is_active = false;
        self.scavenger.looks_at_old = false;
        self.scavenger.trace.grey.clear();
        self.scavenger.found.old.clear();
        self.abandon_marking();
        self.chooser.failed();
    }

    /// Ends a trace after its minor collection. Objects that were not found are garbage.
    pub(super) fn end_trace(&mut self, used: u32) {
        self.scavenger.trace.is_active = false;
        let roots = u64::from(self.scavenger.roots) * BYTES_OF_ROOT;
        let found = self.scavenger.trace.found + roots;
        if self.nursery.retains() {
            self.chooser.failed();
        } else {
            // Every object that referred to a young one was updated or is dead.
            self.tables.cards.clean_all(self.old.start(), self.old.end());
            self.chooser.after_trace(used.into(), self.survived, found);
        }
        self.end_marking();
    }

    /// Records the result of a minor collection.
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

    /// A chooser for a heap in which little lives.
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
        // A nursery in which most objects are dead is best collected alone.
        assert_eq!(minors(&mut Chooser { failed: 0, ..chooser }, USED / 2), None);
        // Nothing is tried before the live bytes are known.
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
        // Traces continue until a minor collection is tried, which happens more often if they cost
        // more.
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
        // A trace that finds too much alive ends this, and so does a cheap minor collection.
        chooser.after_trace(USED, USED / 2, USED / 2);
        assert!(!chooser.wants_trace(USED));
        assert_eq!(minors(&mut chooser, USED), Some(8));
        chooser.after_trace(USED, 1000, 1000);
        chooser.after_minor(USED, USED / 4);
        assert!(!chooser.traces());
    }
}
