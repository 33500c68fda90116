//! The built-in policies: [`AdaptivePolicy`] and [`FixedPolicy`].

use super::{Decision, GrowthPolicy, HeapPlan, HeapUsage};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// The largest step of a heap that has reached its plan's goal. The step is an eighth of a normal one if
/// that is less, or what an allocation needs if that is more.
const MOST_BEYOND: u64 = 4 * MIB;
/// A small heap grows by half of what it has, up to this number of bytes. With smaller steps a collector that
/// copies objects finds too little room for the copies.
const SMALL_STEP: u64 = MIB / 2;
/// Reviews may take one part in this many of the program's time.
const REVIEW_SHARE: u32 = 100;
/// The shortest time from one collection to a review.
const REVIEW_LEAST: Duration = Duration::from_secs(1);

/// Sizes a heap by its live objects and by the cost of its collections.
///
/// Free memory makes collections of the whole heap rarer. If a collection takes `t` seconds and the
/// program fills `g` bytes in a second, collections take `t g / e` of the time where the heap has
/// room for `e` bytes between them. One more byte saves `t g / e²`. Room is given as long as a
/// mebibyte of it saves `price` of the time, which is up to `e = √(t g / price)`. This is the rule of
/// MemBalancer (Kirisame, Shenoy and Panchekha, "Optimal Heap Limits for Reducing Browser Memory
/// Use", OOPSLA 2022). Heaps with the same price together need the least memory for the time that
/// their collections take. The estimate uses the duration of the last collection and the rate at
/// which the program filled the heap before it.
///
/// The rule has two bounds: the heap is filled at least up to `live / utilisation`, and at most up to
/// `live / least_utilisation`. Some heaps may have more room, up to three times the live bytes: a small
/// heap up to `small_room`, and one in which young objects are not collected on their own. After a
/// spike free memory is given back by halves, because a program
/// may repeat what it did before.
///
/// The price is for each mebibyte, however large the heap is. So large heaps get less room for each live
/// byte than small ones, where room costs little. A bound of 2 instead of 2.2 times the live bytes did not
/// lower the peak of a program with 168 MB live: marking then begins when less is garbage. For a
/// collector without a nursery, 2.2 times instead of 4 doubled the time of collections.
///
/// # Examples
/// ```
/// use gc_heap::{AdaptivePolicy, GcStore, HeapOptions, toy::ToyCollector};
///
/// // A heap of which four fifths are live when it is collected.
/// let policy = AdaptivePolicy::memory().with_utilisation(0.8);
/// let options = HeapOptions { policy: policy.into(), ..HeapOptions::default() };
/// let store = GcStore::new(&ToyCollector, &options)?;
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct AdaptivePolicy {
    /// The highest share of the bytes of objects that should live just before the whole heap is
    /// collected. It is used if collections cost little time.
    pub utilisation: f64,
    /// The lowest such share, used if collections cost much time.
    pub least_utilisation: f64,
    /// The most room of a small heap, in bytes. Up to this, a heap may have room for three times the
    /// live bytes.
    pub small_room: u64,
    /// As `small_room`, for a heap in which every collection is one of the whole heap.
    pub whole_room: u64,
    /// The share of the program's time that a mebibyte of room must save.
    pub price: f64,
    /// The share of the mapped memory by which the heap grows. A small heap grows by half of its memory, up to
    /// 512 KiB. A step ends at the goal of the plan, if the collector knows how far that is. Beyond the goal,
    /// steps have at most 4 MiB, unless an allocation needs more. With a half instead of an eighth, programs
    /// had up to 1.37 times the peak, and were no faster.
    pub step: f64,
    /// Bytes of free memory to keep, independently of the live objects.
    pub cushion: u64,
    /// The share of [`HeapUsage::least`] that is allocated at least between two collections of the
    /// whole heap.
    pub patience: f64,
    /// Bytes that the last plan kept spare.
    spare: u64,
}

impl AdaptivePolicy {
    /// Lets the heap grow to 1.7 to 2.2 times the live bytes. A small heap may become larger, with up
    /// to 48 MiB of room, and one without collections of young objects up to four times the live bytes.
    /// This is the default.
    pub fn balanced() -> AdaptivePolicy {
        AdaptivePolicy {
            utilisation: 0.6,
            least_utilisation: 0.45,
            small_room: 48 * MIB,
            whole_room: u64::MAX,
            price: 0.0005,
            step: 0.125,
            cushion: 8 * MIB,
            patience: 1.0,
            spare: 0,
        }
    }

    /// Lets the heap grow to three times the live bytes, and up to eight times if that saves
    /// collections.
    pub fn throughput() -> AdaptivePolicy {
        AdaptivePolicy {
            utilisation: 0.33,
            least_utilisation: 0.125,
            price: 0.0002,
            step: 1.0,
            cushion: 32 * MIB,
            patience: 2.0,
            ..AdaptivePolicy::balanced()
        }
    }

    /// Lets the heap grow to one and a half times the live bytes, even if collections are expensive.
    pub fn memory() -> AdaptivePolicy {
        AdaptivePolicy {
            utilisation: 0.67,
            least_utilisation: 0.5,
            small_room: 0,
            whole_room: 0,
            price: 0.02,
            cushion: MIB,
            patience: 0.25,
            ..AdaptivePolicy::balanced()
        }
    }

    /// Returns this policy with another `utilisation`, half of it as `least_utilisation`, and no more
    /// room for small heaps.
    #[must_use]
    pub fn with_utilisation(mut self, utilisation: f64) -> AdaptivePolicy {
        self.utilisation = utilisation.clamp(0.01, 0.99);
        self.least_utilisation = self.utilisation / 2.0;
        (self.small_room, self.whole_room) = (0, 0);
        self
    }

    /// Bytes that may be allocated until the whole heap is collected again.
    fn room(&self, usage: &HeapUsage) -> u64 {
        if usage.live == 0 {
            // A new heap, of which there may be many.
            return (usage.least as f64 * self.patience) as u64;
        }
        let room =
            |utilisation: f64| usage.live as f64 * (1.0 / utilisation.clamp(0.01, 1.0) - 1.0);
        let least = usage.least as f64 * self.patience;
        // Where every collection is one of the whole heap, all garbage has to wait for it.
        let more = if usage.frees_young { self.small_room } else { self.whole_room };
        let more = usage.live.saturating_mul(3).min(more) as f64;
        let (least, most) =
            (room(self.utilisation).max(least), room(self.least_utilisation).max(more));
        // A collection costs the same at any time. The program's time grows with the bytes that it
        // allocates.
        let (gc, mutator) = (usage.gc_time.as_secs_f64(), usage.mutator_time.as_secs_f64());
        let worth = match mutator > 0.0 {
            true => {
                let grown = usage.grown as f64 / MIB as f64;
                (gc * grown / mutator / self.price.max(1e-9)).sqrt() * MIB as f64
            }
            false => 0.0,
        };
        worth.min(most).max(least) as u64
    }
}

impl Default for AdaptivePolicy {
    fn default() -> AdaptivePolicy {
        AdaptivePolicy::balanced()
    }
}

impl GrowthPolicy for AdaptivePolicy {
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
        if usage.collection_pays {
            Decision::Collect
        } else {
            let step = (usage.mapped as f64 * self.step) as u64;
            let step = step.max((usage.mapped / 2).min(SMALL_STEP));
            // Avoid many tiny steps.
            let least = (step / 8).min(MOST_BEYOND);
            let step = usage.wanted.map_or(step, |wanted| step.min(wanted.max(least)));
            Decision::Grow(need.max(step))
        }
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        let room = self.room(usage);
        let last = if usage.asked { 0 } else { self.spare / 2 };
        self.spare = room.saturating_add(self.cushion).max(last);
        HeapPlan {
            goal: usage.live.saturating_add(room),
            review: (usage.gc_time * REVIEW_SHARE).max(REVIEW_LEAST),
            spare: self.spare,
        }
    }
}

/// The heap keeps the memory that it was made with. It neither grows nor shrinks, and the whole
/// heap is collected when it is full.
///
/// # Examples
/// ```
/// use gc_heap::{FixedPolicy, GcStore, HeapError, HeapOptions, toy::ToyCollector};
///
/// let options = HeapOptions { policy: FixedPolicy.into(), ..HeapOptions::default() };
/// let mut store = GcStore::new(&ToyCollector, &options)?;
/// assert!(matches!(store.heap_mut().unwrap().grow(1 << 20), Err(HeapError::Refused { .. })));
/// # Ok::<(), HeapError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FixedPolicy;

impl GrowthPolicy for FixedPolicy {
    fn decide(&mut self, usage: &HeapUsage, _need: u64) -> Decision {
        if usage.collection_pays { Decision::Collect } else { Decision::GiveUp }
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        let goal = usage.admitted.max(usage.live.saturating_mul(2));
        HeapPlan { goal, ..HeapPlan::default() }
    }

    fn admit(&mut self, _mapped: u64, _more: u64) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(live: u64) -> HeapUsage {
        let (limit, mapped) = (1 << 32, 64 * MIB);
        let usage = HeapUsage { live, limit, mapped, admitted: mapped, ..HeapUsage::default() };
        HeapUsage { least: MIB, frees_young: true, ..usage }
    }

    #[test]
    fn room_follows_what_lives() {
        let mut policy = AdaptivePolicy::balanced();
        assert_eq!(policy.plan(&usage(120 * MIB)).goal, 200 * MIB);
        assert_eq!(policy.plan(&usage(0)).goal, MIB);
        let goal = |mut policy: AdaptivePolicy| policy.plan(&usage(100 * MIB)).goal;
        assert!(goal(AdaptivePolicy::memory()) < goal(AdaptivePolicy::balanced()));
        assert!(goal(AdaptivePolicy::throughput()) > goal(AdaptivePolicy::balanced()));
        let own = AdaptivePolicy::memory().with_utilisation(0.25);
        assert_eq!((goal(own.clone()), own.least_utilisation), (400 * MIB, 0.125));
        let tight = AdaptivePolicy::throughput().with_utilisation(0.8);
        assert_eq!((goal(tight.clone()), tight.least_utilisation), (125 * MIB, 0.4));
    }

    #[test]
    fn dear_collections_come_less_often_up_to_a_bound() {
        let balanced = AdaptivePolicy::balanced();
        let mut policy = AdaptivePolicy { price: 0.002, least_utilisation: 0.4, ..balanced };
        let mut at = |gc_time: u64, mutator_time: u64| {
            let usage = HeapUsage {
                grown: 100 * MIB,
                gc_time: Duration::from_millis(gc_time),
                mutator_time: Duration::from_millis(mutator_time),
                ..usage(120 * MIB)
            };
            policy.plan(&usage).goal / MIB
        };
        assert_eq!(at(1, 1000), 200);
        // The root of 0.1 s times 500 MiB/s over 0.002 of the time for each MiB.
        assert_eq!(at(100, 200), 120 + 158);
        // Four times the cost is twice the room, which is more than the bound.
        assert_eq!(at(400, 200), 300);
        assert_eq!(at(25, 200), 200);
        assert_eq!(at(100, 0), 200, "nothing is known");
    }

    #[test]
    fn some_heaps_may_have_more_room() {
        let at = |live: u64, frees_young: bool| {
            let usage = HeapUsage {
                grown: 1000 * MIB,
                gc_time: Duration::from_secs(1),
                mutator_time: Duration::from_secs(1),
                frees_young,
                ..usage(live * MIB)
            };
            AdaptivePolicy::balanced().plan(&usage).goal / MIB
        };
        // Three times the live bytes, 48 MiB, and 0.55 / 0.45 of the live bytes.
        assert_eq!([4, 16, 24, 36, 90].map(|live| at(live, true)), [16, 64, 72, 84, 200]);
        // All garbage waits for a collection of the whole heap.
        assert_eq!([4, 90].map(|live| at(live, false)), [16, 360]);
    }

    #[test]
    fn spare_memory_is_given_back_by_halves() {
        let mut policy = AdaptivePolicy::balanced();
        let mut spare = |live| policy.plan(&usage(live)).spare / MIB;
        assert_eq!(spare(1500 * MIB), 1008);
        assert_eq!([spare(0), spare(0), spare(0)], [504, 252, 126]);
        assert_eq!((0..10).map(|_| spare(0)).last(), Some(9));
        // A requested collection gives everything back at once.
        policy.plan(&usage(1000 * MIB));
        let asked = HeapUsage { asked: true, ..usage(0) };
        assert_eq!(policy.plan(&asked).spare, 9 * MIB);
    }

    #[test]
    fn a_fixed_heap_never_grows() {
        let full = HeapUsage { collection_pays: true, ..usage(0) };
        let mut policy = FixedPolicy;
        assert_eq!(policy.decide(&full, 8), Decision::Collect);
        assert_eq!(policy.decide(&usage(0), 8), Decision::GiveUp);
        assert!(!policy.admit(0, 4096));
        assert_eq!(policy.plan(&full).goal, 64 * MIB);
    }

    #[test]
    fn a_heap_grows_in_steps_of_what_it_has() {
        let grows = |mut policy: AdaptivePolicy, need| policy.decide(&usage(0), need);
        assert_eq!(grows(AdaptivePolicy::balanced(), 8), Decision::Grow(8 * MIB));
        assert_eq!(grows(AdaptivePolicy::balanced(), 9 * MIB), Decision::Grow(9 * MIB));
        assert_eq!(grows(AdaptivePolicy::throughput(), 8), Decision::Grow(64 * MIB));
        let small = |mapped| HeapUsage { mapped, ..usage(0) };
        let grows_small = |mapped| AdaptivePolicy::balanced().decide(&small(mapped), 8);
        assert_eq!([MIB / 4, 2 * MIB].map(grows_small), [MIB / 8, MIB / 2].map(Decision::Grow));
        // The heap grows no further than the collector can use, and not in tiny steps.
        let wanting = |wanted| HeapUsage { wanted: Some(wanted), ..usage(0) };
        let grows = |wanted| AdaptivePolicy::throughput().decide(&wanting(wanted), 8);
        assert_eq!(
            [0, 20 * MIB, 99 * MIB].map(grows),
            [4 * MIB, 20 * MIB, 64 * MIB].map(Decision::Grow)
        );
        let pays = HeapUsage { collection_pays: true, ..usage(0) };
        assert_eq!(AdaptivePolicy::default().decide(&pays, 8), Decision::Collect);
    }
}
