//! Growth policy: when the whole heap is collected, by how much it grows, how much free
//! memory it keeps.
//!
//! A collector knows what a collection costs and frees; how much memory a program is
//! worth is for whoever runs it to say. So a heap asks its [`GrowthPolicy`]: when an
//! allocation found no room ([`decide`](GrowthPolicy::decide)), when a collection of the
//! whole heap has told what lives ([`plan`](GrowthPolicy::plan)), and before it maps
//! memory ([`admit`](GrowthPolicy::admit)). What else triggers collections, as a full
//! nursery does, is the collector's own affair.
//!
//! [`AdaptivePolicy`] is the default, [`FixedPolicy`] the other one there is.

mod adaptive;

pub use adaptive::{AdaptivePolicy, FixedPolicy};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How full a heap is, and how it became so. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapUsage {
    /// Objects that the last collection of the whole heap found alive; zero before the
    /// first.
    pub live: u64,
    /// Objects in the heap now, some of which may be garbage.
    pub used: u64,
    /// Memory mapped for objects that was not given back to the system.
    pub mapped: u64,
    /// The most that may be mapped.
    pub limit: u64,
    /// What the collector would have allocated between two collections of the whole heap,
    /// at least: they cost something even if nothing lives.
    pub least: u64,
    /// What the collector would have to map more to come to the plan's goal, if it can
    /// tell: what is mapped beyond that lies idle until the next plan.
    pub wanted: Option<u64>,
    /// Whether a collection now would free more than it costs, as far as the collector
    /// can tell. Not if one was just tried.
    pub collection_pays: bool,
    /// Whether somebody asked for the last collection.
    pub asked: bool,
    /// What was added, between the last two collections of the whole heap, to the objects
    /// that only such a collection frees. Known in [`plan`](GrowthPolicy::plan), as are
    /// the times.
    pub grown: u64,
    /// How long the program ran meanwhile.
    pub mutator_time: Duration,
    /// How long the last collection of the whole heap took, all its parts together.
    pub gc_time: Duration,
}

/// What to do when an allocation finds no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Collect. Then, if there is still no room, the policy is asked again.
    Collect,
    /// Map so many bytes more, or as many as are needed if that is more. If that is
    /// refused it is tried with half of it, and so on down to what is needed.
    Grow(u64),
    /// Neither: everything that can be is collected, and if there is no room then the
    /// heap is out of memory.
    GiveUp,
}

/// What is to hold until the whole heap is collected again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeapPlan {
    /// Bytes of objects at which it should be. The heap may not be able to become so
    /// large; then it is when the collector thinks best.
    pub goal: u64,
    /// Time after which it should be whatever there is in it, at the next opportunity:
    /// what became garbage in a heap that no longer grows is found so.
    pub review: Duration,
    /// Bytes of free memory to keep; what is free beyond goes back to the system.
    pub spare: u64,
}

impl Default for HeapPlan {
    /// Nothing is ever due, and nothing given back.
    fn default() -> HeapPlan {
        HeapPlan { goal: u64::MAX, review: Duration::MAX, spare: u64::MAX }
    }
}

/// How a heap uses memory. Each heap has its own value.
///
/// # The duties of a `GrowthPolicy`
/// 1. No method panics or blocks: all are called in the middle of an allocation or a
///    collection.
/// 2. A heap to which every growth is refused must still be able to collect: a policy
///    answers [`Decision::Collect`] as long as [`HeapUsage::collection_pays`], unless it
///    would have the program run out of memory.
pub trait GrowthPolicy: Send + Sync + fmt::Debug {
    /// An allocation of `need` bytes found no room.
    fn decide(&mut self, usage: &HeapUsage, need: u64) -> Decision;

    /// A collection of the whole heap has found [`HeapUsage::live`], or a heap is new.
    fn plan(&mut self, usage: &HeapUsage) -> HeapPlan;

    /// Whether the heap, which uses `mapped` bytes or was admitted them, may use `more`. A
    /// limiter that several heaps share refuses here. It is not asked about what a heap began
    /// with, and may be asked again about bytes that were admitted and then not used: what
    /// holds is the sum of the two.
    fn admit(&mut self, mapped: u64, more: u64) -> bool {
        let _ = (mapped, more);
        true
    }
}

/// Makes a policy for each heap.
#[derive(Clone)]
pub struct PolicyFactory(Arc<dyn Fn() -> Box<dyn GrowthPolicy> + Send + Sync>);

impl PolicyFactory {
    /// A factory that calls `make`.
    pub fn new(make: impl Fn() -> Box<dyn GrowthPolicy> + Send + Sync + 'static) -> PolicyFactory {
        PolicyFactory(Arc::new(make))
    }

    /// A policy for one heap.
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
