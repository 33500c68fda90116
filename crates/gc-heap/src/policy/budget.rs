//! [`MemoryBudget`]: memory that many heaps share.

use super::{
    AdaptivePolicy, Decision, GrowthPolicy, HeapPlan, HeapUsage, NurseryUsage, PolicyFactory,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Weights are counted in this part of a unit.
const FRACTION: f64 = 256.0;
/// Of the room that a collector wants at least between two collections of the whole heap, a heap gets this part even if
/// nothing is left of the budget. With less it would collect all the time.
const LEAST_PART: u64 = 4;
/// The most room of old objects, as a multiple of what lives.
const MOST_ROOM: u64 = 7;
/// The most by which rooms may be larger than their shares, because some heaps use less than theirs.
const MOST_FACTOR: f64 = 16.0;
/// The cost of a minor collection is learnt as that of a nursery of so many bytes.
const USUAL_NURSERY: f64 = (1 << 20) as f64;

/// Memory that many heaps share.
///
/// What the live objects of all heaps leave of it is room for garbage, and is divided among the heaps. Where a
/// collection takes `t` seconds, and `g` bytes are added in a second, a room has a share in proportion to `√(t g)`. Then a
/// further byte saves the same time wherever it is, so the collections of all heaps together take the least time for
/// the memory. This is the rule of MemBalancer (Kirisame, Shenoy and Panchekha, "Optimal Heap Limits for Reducing Browser
/// Memory Use", OOPSLA 2022). There each heap decides by itself with a given price of memory; here the price follows from the
/// budget. Old objects and the nursery have a room each, and each room its own `t` and `g`, from the last collections. What a heap
/// does not use of its share, the others may use.
///
/// A heap to which its host [gives time](crate::GcStore::gc_for) is idle. It gets no room, and gives memory back, until it
/// collects while a program runs.
///
/// The budget is an aim and not a bound. What lives is more important, and no heap gets an error because of it. Even if nothing
/// is left, a heap has a nursery of 256 KiB, and old objects may grow by a quarter of what their collector wants. Old objects get no
/// more room than seven times what lives. Tables beside the heaps do not count. Rooms are full only before a collection, so
/// on average the heaps take less than the budget.
///
/// The value can be cloned, and the clones are the same budget. It is a [`PolicyFactory`]: heaps with such a policy share it.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, MemoryBudget, toy::ToyCollector};
///
/// let budget = MemoryBudget::new(64 << 20);
/// let options = HeapOptions { policy: budget.clone().into(), ..HeapOptions::default() };
/// let stores: Result<Vec<_>, _> = (0..3).map(|_| GcStore::new(&ToyCollector, &options)).collect();
/// assert_eq!(stores?.len(), 3);
/// assert_eq!((budget.bytes(), budget.live()), (64 << 20, 0));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Sums>);

/// The sums of what the heaps told.
#[derive(Debug)]
struct Sums {
    bytes: u64,
    /// Bytes of live objects.
    live: AtomicU64,
    /// Weights, in fractions.
    weight: AtomicU64,
    /// Number of heaps that are not idle.
    busy: AtomicU64,
    /// Bytes of room that the heaps have.
    rooms: AtomicU64,
    /// The bits of a factor (`f64`) of all rooms, because some heaps use less than their shares.
    factor: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `bytes` bytes for the objects of all its heaps and the garbage between them.
    pub fn new(bytes: u64) -> MemoryBudget {
        let [live, weight, busy, rooms] = [0; 4].map(AtomicU64::new);
        let factor = AtomicU64::new(1_f64.to_bits());
        MemoryBudget(Arc::new(Sums { bytes, live, weight, busy, rooms, factor }))
    }

    /// The bytes that the heaps share.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// The bytes that lived in all heaps after the last collection of each.
    pub fn live(&self) -> u64 {
        self.0.live.load(Relaxed)
    }

    /// The policy of one more heap.
    fn policy(&self) -> BudgetPolicy {
        BudgetPolicy {
            budget: self.clone(),
            adaptive: AdaptivePolicy::balanced(),
            told: Told::default(),
            young: Price::default(),
            old: Price::default(),
        }
    }

    /// What live objects leave.
    fn free(&self) -> u64 {
        self.bytes().saturating_sub(self.live())
    }

    /// The mean weight of a room of the heaps that are not idle.
    fn mean_weight(&self) -> u64 {
        let Sums { weight, busy, .. } = &*self.0;
        (weight.load(Relaxed) / (2 * busy.load(Relaxed)).max(1)).max(1)
    }

    /// The room of this weight.
    fn room(&self, weight: u64) -> u64 {
        let all = self.0.weight.load(Relaxed).max(weight).max(1);
        let factor = f64::from_bits(self.0.factor.load(Relaxed));
        (self.free() as f64 * factor * (weight as f64 / all as f64)) as u64
    }

    /// Adapts the factor of rooms, so that all rooms together will have what is free.
    fn adapt(&self) {
        let Sums { busy, rooms, factor, .. } = &*self.0;
        let free = self.free().max(1) as f64 / rooms.load(Relaxed).max(1) as f64;
        // The rooms follow only when their heaps collect. With larger steps the factor would oscillate.
        let step = free.clamp(0.5, 2.0).powf(0.25 / busy.load(Relaxed).max(1) as f64);
        // If another thread does it at the same time, one of the steps is lost.
        let new = f64::from_bits(factor.load(Relaxed)) * step;
        factor.store(new.clamp(1.0 / MOST_FACTOR, MOST_FACTOR).to_bits(), Relaxed);
    }
}

impl From<MemoryBudget> for PolicyFactory {
    fn from(budget: MemoryBudget) -> PolicyFactory {
        PolicyFactory::new(move || Box::new(budget.policy()))
    }
}

/// What a heap has told its budget.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    live: u64,
    /// The weights of the room for new objects, and of that for old ones.
    weights: [u64; 2],
    /// The bytes of both rooms.
    rooms: [u64; 2],
    busy: u64,
}

/// What a collection that frees one kind of objects costs the program.
#[derive(Clone, Copy, Debug, Default)]
struct Price {
    /// The seconds that it takes, times the bytes that are added in a second: the mean of the last ones, of which each counts
    /// half as much as the one after it. Zero if nothing is known.
    byte_price: f64,
}

impl Price {
    /// Learns from a collection that took `gc` after `grown` bytes were added in `mutator`.
    fn learn(&mut self, gc: Duration, grown: u64, mutator: Duration) {
        if grown > 0 && !mutator.is_zero() {
            let new = gc.as_secs_f64() * grown as f64 / mutator.as_secs_f64();
            let old = self.byte_price;
            self.byte_price = if old > 0.0 { (old + new) / 2.0 } else { new };
        }
    }

    /// The weight of its room, if that is known.
    fn weight(self) -> Option<u64> {
        (self.byte_price > 0.0).then(|| (self.byte_price.sqrt() * FRACTION) as u64)
    }
}

/// The policy of a heap with a share of a budget.
#[derive(Debug)]
struct BudgetPolicy {
    budget: MemoryBudget,
    /// Says in what steps the heap grows, and when it is reviewed.
    adaptive: AdaptivePolicy,
    told: Told,
    young: Price,
    old: Price,
}

impl BudgetPolicy {
    /// Tells the budget what the heap uses.
    fn tell(&mut self, new: Told) {
        let old = std::mem::replace(&mut self.told, new);
        let Sums { live, weight, busy, rooms, .. } = &*self.budget.0;
        // The sums never are negative, so a difference that wraps is right.
        let add =
            |sum: &AtomicU64, new: u64, old: u64| sum.fetch_add(new.wrapping_sub(old), Relaxed);
        add(live, new.live, old.live);
        add(weight, new.weights.iter().sum(), old.weights.iter().sum());
        add(rooms, new.rooms.iter().sum(), old.rooms.iter().sum());
        add(busy, new.busy, old.busy);
    }

    /// The weights of its rooms. A room about which nothing is known counts as the mean of all.
    fn weights(&self, idle: bool) -> [u64; 2] {
        let weight = |price: Price| price.weight().unwrap_or_else(|| self.budget.mean_weight());
        if idle { [0; 2] } else { [self.young, self.old].map(weight) }
    }
}

impl GrowthPolicy for BudgetPolicy {
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
        self.adaptive.decide(usage, need)
    }

    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
        self.old.learn(usage.gc_time, usage.grown, usage.mutator_time);
        let weights = self.weights(usage.idle);
        let busy = u64::from(!usage.idle);
        self.tell(Told { live: usage.live, weights, busy, ..self.told });
        let most = usage.live.saturating_mul(MOST_ROOM).max(usage.least);
        let room = self.budget.room(weights[1]).clamp(usage.least / LEAST_PART, most);
        self.tell(Told { rooms: [self.told.rooms[0], room], ..self.told });
        // Only here: between two plans there are many minor collections and much given time, but old rooms do not follow.
        if !usage.idle {
            self.budget.adapt();
        }
        let spare = if usage.idle { 0 } else { room };
        let HeapPlan { review, .. } = self.adaptive.plan(usage);
        HeapPlan { goal: usage.live.saturating_add(room), spare, review }
    }

    fn most_young(&mut self, usage: &NurseryUsage) -> u64 {
        if usage.used > 0 {
            // In a small nursery most objects survive, and its collection seems cheap. A larger one would save more.
            let usual = usage.gc_time.mul_f64(USUAL_NURSERY / usage.used as f64);
            self.young.learn(usual, usage.used, usage.mutator_time);
        }
        let weights = self.weights(usage.idle);
        let rooms = [usage.used, self.told.rooms[1]];
        self.tell(Told { weights, rooms, busy: u64::from(!usage.idle), ..self.told });
        self.budget.room(weights[0])
    }
}

impl Drop for BudgetPolicy {
    fn drop(&mut self) {
        self.tell(Told::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A heap in which so many MiB live, after a collection that took `gc` ms, before which it had grown by `grown` MiB in a
    /// second.
    fn usage(live: u64, gc: u64, grown: u64) -> HeapUsage {
        HeapUsage {
            live: live * MIB,
            limit: 1 << 32,
            least: 4 * MIB,
            grown: grown * MIB,
            gc_time: Duration::from_millis(gc),
            mutator_time: Duration::from_secs(1),
            frees_young: true,
            ..HeapUsage::default()
        }
    }

    /// A nursery that was collected after a second. Its collection costs what that of old objects costs in `usage(_, 10, 100)`.
    fn nursery() -> NurseryUsage {
        let second = Duration::from_secs(1);
        NurseryUsage { used: MIB, gc_time: second, mutator_time: second, idle: false }
    }

    /// The room in the next plan, in MiB.
    fn room(policy: &mut BudgetPolicy, usage: &HeapUsage) -> u64 {
        (policy.plan(usage).goal - usage.live + MIB / 2) / MIB
    }

    /// The rooms of old objects, and those of new ones, when they no longer change.
    fn settled(heaps: &mut [(BudgetPolicy, HeapUsage, NurseryUsage)]) -> Vec<[u64; 2]> {
        let mut rooms = Vec::new();
        for _ in 0..200 {
            let each = |(policy, usage, nursery): &mut (BudgetPolicy, HeapUsage, NurseryUsage)| {
                let young = policy.most_young(nursery);
                // It is used as far as it may be, and the same share survives.
                let time = Duration::from_secs(young) / MIB as u32;
                (nursery.used, nursery.gc_time, nursery.mutator_time) = (young, time, time);
                [room(policy, usage), (young + MIB / 2) / MIB]
            };
            rooms = heaps.iter_mut().map(each).collect();
        }
        rooms
    }

    #[test]
    fn room_is_divided_by_the_root_of_what_collections_cost() {
        let budget = MemoryBudget::new(120 * MIB);
        // Nine times the cost is three times the weight.
        let mut heaps = vec![
            (budget.policy(), usage(20, 90, 100), nursery()),
            (budget.policy(), usage(20, 10, 100), nursery()),
        ];
        assert_eq!(settled(&mut heaps), [[40, 13], [13, 13]]);
        assert_eq!(budget.live(), 40 * MIB);
        // Four times the rate is twice the weight.
        heaps[1].1 = usage(20, 10, 400);
        assert_eq!(settled(&mut heaps), [[34, 11], [23, 11]]);
        // A heap that is gone leaves its part to the other one.
        heaps.pop();
        assert_eq!(settled(&mut heaps), [[75, 25]]);
        assert_eq!(budget.live(), 20 * MIB);
    }

    #[test]
    fn what_a_heap_does_not_use_is_for_others() {
        let budget = MemoryBudget::new(140 * MIB);
        // No more than seven times what lives, and the least that its collector wants.
        let mut heaps = vec![
            (budget.policy(), usage(1, 90, 100), nursery()),
            (budget.policy(), usage(39, 90, 100), nursery()),
        ];
        let rooms = settled(&mut heaps);
        assert_eq!(rooms[0][0], 7);
        let sum: u64 = rooms.as_flattened().iter().sum();
        assert!((98..=102).contains(&sum), "{rooms:?}");
    }

    #[test]
    fn a_heap_has_some_room_if_nothing_is_left_and_not_all_if_much_is() {
        let tight = MemoryBudget::new(10 * MIB);
        assert_eq!(room(&mut tight.policy(), &usage(20, 10, 10)), 1);
        let ample = MemoryBudget::new(1 << 40);
        assert_eq!(room(&mut ample.policy(), &usage(20, 10, 10)), 140);
    }

    #[test]
    fn an_idle_heap_leaves_its_room_to_others() {
        let budget = MemoryBudget::new(100 * MIB);
        let heap = || (budget.policy(), usage(20, 10, 100), nursery());
        let mut heaps = vec![heap(), heap()];
        assert_eq!(settled(&mut heaps), [[15, 15]; 2]);
        (heaps[1].1.idle, heaps[1].2.idle) = (true, true);
        assert_eq!(settled(&mut heaps), [[30, 30], [1, 0]]);
        let (policy, usage, _) = &mut heaps[1];
        assert_eq!(policy.plan(usage).spare, 0);
        (heaps[1].1.idle, heaps[1].2.idle) = (false, false);
        assert_eq!(settled(&mut heaps), [[15, 15]; 2]);
    }

    #[test]
    fn what_happens_between_plans_does_not_change_the_rooms() {
        let budget = MemoryBudget::new(310 * MIB);
        let new = |live| (budget.policy(), usage(live, 10, 100));
        let mut busy = [new(50), new(50)];
        let (mut idle, given) = (new(10), NurseryUsage { idle: true, ..NurseryUsage::default() });
        let mut rooms = Vec::new();
        for _ in 0..100 {
            rooms.clear();
            for (policy, usage) in &mut busy {
                for _ in 0..100 {
                    let small =
                        NurseryUsage { used: MIB, gc_time: Duration::from_millis(1), ..nursery() };
                    policy.most_young(&small);
                    idle.0.most_young(&given);
                }
                rooms.push(room(policy, usage));
            }
            idle.0.plan(&HeapUsage { idle: true, ..idle.1 });
        }
        // Of 200 MiB that are free, what the nurseries use is little.
        assert!(rooms.iter().all(|room| (80..=110).contains(room)), "{rooms:?}");
    }
}
