//! [`StoreSide`]: what a store tells its heap.

use crate::{
    AdaptivePolicy, GrowthPolicy, HeapError, HeapGrowth, HeapLimiter, HeapOptions, LayoutTable,
    PauseLog, RefusedBy,
};
use std::time::Duration;

/// Bytes that are allocated at least between two collections for each frame on the stack.
const BYTES_OF_FRAME: u64 = 16;

/// What belongs to a store and concerns its heap. A store has it also without a heap. It lends it to its heap as soon as
/// that is made ([`HeapCore::side`](crate::HeapCore::side)), and takes it back when the heap goes to another store.
///
/// # Examples
/// ```
/// use gc_heap::{HeapCore, HeapMemory, HeapOptions};
///
/// // A heap that no store has.
/// let core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// assert_eq!(core.side.pause_target, HeapOptions::DEFAULT_PAUSE_TARGET);
/// assert!(core.side.layouts.iter().next().is_none());
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct StoreSide {
    /// The layouts of the types whose objects may be in the heap.
    pub layouts: LayoutTable,
    /// Nesting depth of no-GC scopes.
    pub no_gc_scopes: u32,
    /// The pauses of the mutator.
    pub pauses: PauseLog,
    /// The policy for the heap's use of memory.
    pub policy: Box<dyn GrowthPolicy>,
    /// The limit of the store's embedder, which is asked where the policy is.
    pub(crate) limiter: Option<Box<dyn HeapLimiter>>,
    /// Whether the host or the guest requested the current or the last collection.
    pub asked: bool,
    /// Whether the store has weak references.
    pub(crate) has_weak: bool,
    /// Whether the store has externrefs. The first externref and the store set this.
    pub(crate) has_externrefs: bool,
    /// The number of frames of the stack that was walked for the last collection.
    pub frames: u64,
    /// The time that a pause should take ([`HeapOptions::pause_target`]).
    pub pause_target: Duration,
    /// The rest of the time that the host gives to the collector, if it does.
    pub(crate) given: Option<Duration>,
}

impl Default for StoreSide {
    fn default() -> StoreSide {
        StoreSide::new(Box::new(AdaptivePolicy::balanced()), HeapOptions::DEFAULT_PAUSE_TARGET)
    }
}

impl StoreSide {
    /// The side of a new store, whose heap has this policy.
    #[inline(always)]
    pub(crate) fn new(policy: Box<dyn GrowthPolicy>, pause_target: Duration) -> StoreSide {
        StoreSide {
            layouts: LayoutTable::default(),
            no_gc_scopes: 0,
            pauses: PauseLog::default(),
            policy,
            limiter: None,
            asked: false,
            has_weak: false,
            has_externrefs: false,
            frames: 0,
            pause_target,
            given: None,
        }
    }

    /// Forgets everything that concerns objects. Keeps the layouts, the policy and the limiter.
    pub(crate) fn reset(&mut self) {
        self.no_gc_scopes = 0;
        self.pauses = PauseLog::default();
        self.asked = false;
        (self.has_weak, self.has_externrefs) = (false, false);
        self.frames = 0;
        self.given = None;
    }

    /// The rest of the [target](StoreSide::pause_target) for the pause that is under way. If none is, the
    /// target. In time that the host gives ([`GcStore::gc_for`](crate::GcStore::gc_for)), the rest of
    /// that.
    pub fn pause_left(&self) -> Duration {
        let target = self.given.unwrap_or(self.pause_target);
        target.saturating_sub(self.pauses.under_way())
    }

    /// Whether only a collection may decide that objects are dead, because only a collection gets the store's tables
    /// that refer to objects: weak references ([`GcRequest::weak`](crate::GcRequest::weak)) or host values
    /// ([`GcRequest::host_data`](crate::GcRequest::host_data)). A collector that marks while the mutator runs waits
    /// for a collection then, before it ends marking.
    pub fn marking_must_wait(&self) -> bool {
        self.has_weak || self.has_externrefs
    }

    /// The time that a collection of the whole heap is likely to take if it has `used` bytes of objects:
    /// as long for each byte as the last one.
    pub(crate) fn expected_time(&self, used: u64) -> Duration {
        /// If there was none.
        const OF_BYTE: Duration = Duration::from_nanos(2);
        match self.pauses.last_complete().filter(|pause| pause.bytes_before > 0) {
            Some(pause) => pause.length.mul_f64(used as f64 / pause.bytes_before as f64),
            None => OF_BYTE.mul_f64(used as f64),
        }
    }

    /// Asks the limiter, if there is one.
    ///
    /// # Errors
    /// [`HeapError::Refused`] if it does not allow the growth.
    pub(crate) fn ask_limiter(&mut self, growth: HeapGrowth) -> Result<(), HeapError> {
        let why = match self.limiter.as_mut().map(|limiter| limiter.growing(growth)) {
            None | Some(Ok(true)) => return Ok(()),
            Some(Ok(false)) => None,
            Some(Err(why)) => Some(why),
        };
        let bytes = growth.desired - growth.current;
        Err(HeapError::Refused { bytes, by: RefusedBy::Limiter { why } })
    }

    /// Bytes that should be allocated at least until the next collection, because the stack was walked
    /// for the last one. If the depth of a stack and the allocated bytes grow together, then all walks
    /// together look at each frame a few times. This is less memory than the stack itself has.
    pub fn stack_room(&self) -> u64 {
        self.frames.saturating_mul(BYTES_OF_FRAME)
    }

    /// Checks that a collection is allowed. Every collector's `gc` begins with this call.
    ///
    /// # Panics
    /// Inside a no-GC scope.
    pub fn assert_may_collect(&self) {
        assert!(self.no_gc_scopes == 0, "a garbage collection inside a no-GC scope");
    }

    /// Enters a scope in which no collection may begin. Scopes nest.
    pub fn enter_no_gc_scope(&mut self) {
        self.no_gc_scopes += 1;
    }

    /// Leaves the innermost no-GC scope.
    ///
    /// # Panics
    /// If there is no no-GC scope.
    pub fn exit_no_gc_scope(&mut self) {
        let left = self.no_gc_scopes.checked_sub(1);
        self.no_gc_scopes = left.expect("left a no-GC scope that was not entered");
    }
}
