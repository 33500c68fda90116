//! [`Chooser`]: chooses between minor collections and traces, by their cost.
//!
//! A trace replaces a minor collection. It follows references from all roots, and does not use
//! dirty cards as roots. It moves the young objects that it finds, as a minor collection does, and
//! marks the old ones ([`OldObjects::Traced`](crate::trace::scavenge::OldObjects)). Old objects that were not found
//! are swept. A trace takes time for everything that lives. That is very little if dead objects are promoted, and
//! much more than a minor collection in most programs.
//!
//! A trace that finds more old objects than its limit becomes a minor collection. This is possible
//! because the roots were visited, the moved objects stay moved, and the cards, which a trace
//! cleans only at its end, give the rest. So its pause is at most that of two minor collections,
//! plus a scan of all roots and, if it completes, a sweep.

/// Number of minor collections that promote most of the nursery before a trace is tried. Also the
/// cost of traces, in such collections, before a minor collection is tried again.
const PATIENCE: u64 = 4;
/// The maximum exponent of two for the distance between failing trials.
const MAX_FAILED: u32 = 20;
/// A nursery with fewer used bytes than this is too small for conclusions.
const LEAST_USED: u64 = 64 << 10;
/// The cost of visiting a root in a trace, in bytes.
pub const BYTES_OF_ROOT: u64 = 4;

/// Chooses between minor collections and traces by their cost, which is the bytes of objects that
/// are moved or marked.
///
/// The other kind is tried when the chosen one has cost several times what the other is expected to
/// cost. So trials take a small part of the time, whatever the program does. After each failure a
/// kind is tried half as often.
///
/// # Examples
/// ```
/// use gc_heap::space::generations::Chooser;
///
/// let mut chooser = Chooser::default();
/// // The old generation is nearly empty, but most young objects survive a minor collection. So they die soon after.
/// chooser.learn_live(0);
/// for _ in 0..8 {
///     chooser.after_minor(1 << 20, 900 << 10);
/// }
/// assert!(chooser.wants_trace(1 << 20));
/// ```
#[derive(Debug, Default)]
pub struct Chooser {
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
    /// The bytes that a minor collection of `used` bytes is expected to move.
    pub fn minor_cost(&self, used: u64) -> u64 {
        let (moved, of) = self.minor;
        (moved as f64 / of.max(1) as f64 * used as f64) as u64
    }

    /// The maximum bytes of old objects that a trace may find, if it replaces a minor collection of
    /// `used` bytes.
    pub fn bargain(&self, used: u64) -> u64 {
        self.minor_cost(used) / 2
    }

    /// Whether a trace should replace a minor collection of `used` bytes.
    pub fn wants_trace(&self, used: u64) -> bool {
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
    pub fn learn_live(&mut self, live: u64) {
        self.live = Some(live);
    }

    /// Records that a minor collection moved `moved` of `used` bytes.
    pub fn after_minor(&mut self, used: u64, moved: u64) {
        if used < LEAST_USED {
            return;
        }
        let most = moved > used / 2;
        self.minor = (moved, used);
        self.spent = if most && !self.traces { self.spent + moved } else { 0 };
        self.traces &= most;
    }

    /// Records that a trace moved `moved` of `used` bytes and visited `found` more bytes.
    pub fn after_trace(&mut self, used: u64, moved: u64, found: u64) {
        if moved + found > self.minor_cost(used) / 4 * 3 {
            self.failed();
            return;
        }
        self.spent = if self.traces { self.spent + found } else { 0 };
        self.traces = true;
        self.failed = self.failed.saturating_sub(1);
    }

    /// Records that a trace did not pay.
    pub fn failed(&mut self) {
        self.traces = false;
        self.spent = 0;
        self.failed = (self.failed + 1).min(MAX_FAILED);
    }

    /// Expects that minor collections move `moved` of `used` bytes, until the next one is recorded. Tests of a plan
    /// need it.
    pub fn expect(&mut self, moved: u64, used: u64) {
        self.minor = (moved, used);
    }

    /// Whether traces are chosen.
    pub fn traces(&self) -> bool {
        self.traces
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
