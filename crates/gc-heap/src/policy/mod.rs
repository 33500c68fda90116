//! Growth policy: it decides when the whole heap is collected, by how much the heap grows, and how
//! much free memory it keeps.
//!
//! A collector knows the cost of a collection and the memory that it frees. Only the user who runs
//! a program knows how much memory the program may use. So a heap asks its [`GrowthPolicy`]: when
//! an allocation found no room ([`decide`](GrowthPolicy::decide)), when a collection of the whole
//! heap has found the live objects ([`plan`](GrowthPolicy::plan)), and before it maps memory
//! ([`admit`](GrowthPolicy::admit)). The collector itself decides about its other collections, for
//! example when a nursery is full.
//!
//! [`AdaptivePolicy`] is the default. Heaps with a [`MemoryBudget`] share memory. A heap with [`FixedPolicy`] keeps what it has.

mod adaptive;
mod budget;

pub use adaptive::{AdaptivePolicy, FixedPolicy};
pub use budget::MemoryBudget;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The input of a policy: the use of a heap's memory and its recent history. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapUsage {
    /// Objects that the last collection of the whole heap found alive. Zero before the first one.
    pub live: u64,
    /// Objects in the heap now, some of which may be garbage.
    pub used: u64,
    /// Memory that is mapped for objects and was not given back to the system.
    pub mapped: u64,
    /// Memory that the heap may use without [another question](GrowthPolicy::admit): what it began with, and what was
    /// admitted.
    pub admitted: u64,
    /// The maximal memory that may be mapped.
    pub limit: u64,
    /// The minimal number of bytes that should be allocated between two collections of the whole
    /// heap, according to the collector. A collection has a cost even if nothing lives.
    pub least: u64,
    /// The memory that the collector must map in addition to reach the plan's goal, if it is known.
    /// More mapped memory would stay unused until the next plan.
    pub wanted: Option<u64>,
    /// Whether the collector expects a collection now to be worth its cost. False if one was just
    /// tried.
    pub collection_pays: bool,
    /// Whether young objects are also collected on their own. Otherwise each collection is one of the
    /// whole heap, and is needed far more often.
    pub frees_young: bool,
    /// Whether the host or the guest requested the last collection.
    pub asked: bool,
    /// Whether the host gave the time for it, because it waits for something else ([`GcStore::gc_for`](crate::GcStore::gc_for)).
    pub idle: bool,
    /// The bytes of objects that were added between the last two collections of the whole heap and
    /// that only such a collection frees. This and the times are known only in
    /// [`plan`](GrowthPolicy::plan).
    pub grown: u64,
    /// The time for which the program ran between those collections.
    pub mutator_time: Duration,
    /// The time that all parts of the last collection of the whole heap took together.
    pub gc_time: Duration,
}

/// The use of a heap's nursery up to its last collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NurseryUsage {
    /// Bytes of all objects that it had. With 0 nothing is known about its collection.
    pub used: u64,
    /// The time that the collection took.
    pub gc_time: Duration,
    /// The time for which the program ran between the last two collections of the nursery.
    pub mutator_time: Duration,
    /// As [`HeapUsage::idle`].
    pub idle: bool,
}

/// The action when an allocation finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Collect. If there is still no room, the policy is asked again.
    Collect,
    /// Map this many more bytes, but at least the bytes that are needed. If this is refused, the
    /// heap tries half of it, and so on down to the needed bytes.
    Grow(u64),
    /// Neither collect nor grow. Everything is collected, and if there is still no room the heap is
    /// out of memory.
    GiveUp,
}

/// A plan that holds until the whole heap is collected again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapPlan {
    /// Bytes of objects at which the next such collection should happen. Memory between objects that
    /// nothing can use may count too. If the heap cannot become so large, the collector decides.
    pub goal: u64,
    /// The time after which it should happen at the next opportunity, even if the goal is not
    /// reached. This finds garbage in a heap that no longer grows.
    pub review: Duration,
    /// Bytes of free memory to keep. Other free memory goes back to the system.
    pub spare: u64,
}

impl Default for HeapPlan {
    /// A plan under which no collection is due and no memory is given back.
    fn default() -> HeapPlan {
        HeapPlan { goal: u64::MAX, review: Duration::MAX, spare: u64::MAX }
    }
}

/// Decides how a heap uses memory. Each heap has its own value.
///
/// # The duties of a `GrowthPolicy`
/// 1. No method panics or blocks, because all are called in the middle of an allocation or a
///    collection. If one panics in the middle of a collection, the heap is refused until it is
///    reset ([`GcStore::check_usable`](crate::GcStore::check_usable)).
/// 2. A heap that may not grow must still be able to collect. So a policy answers
///    [`Decision::Collect`] as long as [`HeapUsage::collection_pays`] is true, unless it wants the
///    program to run out of memory.
///
/// # Examples
/// A policy that limits the memory of all its heaps together:
///
/// ```
/// use gc_heap::{AdaptivePolicy, Decision, GcStore, GrowthPolicy, HeapError, HeapOptions};
/// use gc_heap::{HeapPlan, HeapUsage, NoStack, PolicyFactory, toy::ToyCollector};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
///
/// /// Bytes that are left, for all heaps.
/// type Left = Arc<AtomicU64>;
///
/// #[derive(Debug)]
/// struct Shared {
///     inner: AdaptivePolicy,
///     left: Left,
///     /// Bytes that this heap has used in addition to those that it began with.
///     used: u64,
/// }
///
/// impl GrowthPolicy for Shared {
///     fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision {
///         self.inner.decide(usage, need)
///     }
///
///     fn plan(&mut self, usage: &HeapUsage) -> HeapPlan {
///         self.inner.plan(usage)
///     }
///
///     fn admit(&mut self, mapped: u64, more: u64) -> bool {
///         let total = mapped + more;
///         let new = total.saturating_sub(self.used);
///         let admitted = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(new));
///         if admitted.is_ok() {
///             self.used = self.used.max(total);
///         }
///         admitted.is_ok()
///     }
/// }
///
/// let left = Left::new(AtomicU64::new(0));
/// let policy = PolicyFactory::new(move || {
///     Box::new(Shared { inner: AdaptivePolicy::balanced(), left: left.clone(), used: 0 })
/// });
/// let options = HeapOptions { policy, ..HeapOptions::default() };
/// let mut store = GcStore::new(&ToyCollector, &options)?;
/// let error = store.heap_mut().unwrap().grow(1 << 20).unwrap_err();
/// assert!(matches!(error, HeapError::Refused { .. }));
/// # Ok::<(), HeapError>(())
/// ```
pub trait GrowthPolicy: Send + Sync + fmt::Debug {
    /// Decides what to do when an allocation of `need` bytes found no room.
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision;

    /// Makes a plan when a collection of the whole heap has found [`HeapUsage::live`], or when a
    /// heap is new.
    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan;

    /// Returns the most bytes that new objects should have until the nursery is collected again. A collector with a nursery
    /// asks when it has collected the nursery, and before it uses time that the host gives. `u64::MAX` by default: the
    /// collector decides.
    fn most_young(&mut self, usage: &NurseryUsage) -> u64 {
        let _ = usage;
        u64::MAX
    }

    /// Returns whether the heap may use `more` bytes in addition to the `mapped` bytes that it uses
    /// or that were admitted. A limiter that several heaps share can refuse here. The heap does not
    /// ask about the memory that it began with. It may ask again about bytes that were admitted and
    /// not used, so only the sum of `mapped` and `more` counts.
    fn admit(&mut self, mapped: u64, more: u64) -> bool {
        let _ = (mapped, more);
        true
    }
}

/// Makes a policy for each heap.
///
/// # Examples
/// ```
/// use gc_heap::{AdaptivePolicy, PolicyFactory};
///
/// // A policy that can be cloned is a factory. Each heap gets a clone.
/// let same = PolicyFactory::from(AdaptivePolicy::throughput());
/// // A function can make other policies.
/// let made = PolicyFactory::new(|| Box::new(AdaptivePolicy::memory()));
/// assert_eq!(format!("{:?}", same.make()), format!("{:?}", AdaptivePolicy::throughput()));
/// ```
#[derive(Clone)]
pub struct PolicyFactory(Arc<dyn Fn() -> Box<dyn GrowthPolicy> + Send + Sync>);

impl PolicyFactory {
    /// Makes a factory that calls `make`.
    pub fn new(make: impl Fn() -> Box<dyn GrowthPolicy> + Send + Sync + 'static) -> PolicyFactory {
        PolicyFactory(Arc::new(make))
    }

    /// Makes a policy for one heap.
    pub fn make(&self) -> Box<dyn GrowthPolicy> {
        (self.0)()
    }
}

impl Default for PolicyFactory {
    /// Makes [`AdaptivePolicy::balanced`].
    fn default() -> PolicyFactory {
        AdaptivePolicy::balanced().into()
    }
}

impl<P: GrowthPolicy + Clone + 'static> From<P> for PolicyFactory {
    /// Clones `policy` for each heap.
    fn from(policy: P) -> PolicyFactory {
        PolicyFactory::new(move || Box::new(policy.clone()))
    }
}

impl fmt::Debug for PolicyFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PolicyFactory").field(&self.make()).finish()
    }
}
