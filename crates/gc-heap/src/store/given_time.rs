//! Collection in time that the host gives: [`GcStore::gc_for`].

use super::GcStore;
use crate::{GcCause, HeapError, Idle, Reclaims, TraceRoots};
use std::time::{Duration, Instant};

/// The most collections in the time that the host gives at once. The program does not run meanwhile, so after a
/// few of them there is nothing to do. A heap that still asks for more would use all the time for nothing.
const MOST_COLLECTIONS: u32 = 16;

/// What is left after [`GcStore::gc_for`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "it says whether another call has work to do"]
pub struct GcLeft {
    /// Bytes of the objects that the collector would still visit now, if it had the time. An estimate.
    pub bytes: u64,
}

impl GcLeft {
    /// Whether there is nothing that a collector would do now.
    pub fn is_nothing(self) -> bool {
        self.bytes == 0
    }
}

impl GcStore {
    /// Collects for at most `time`, for a host that waits for something else meanwhile. Returns what is
    /// left. The collector decides what is worth doing. A collection that cannot be interrupted begins
    /// only if it is likely to end in time, by how long those before it took. So it may last a little
    /// longer. A collector that works in parts does as many of them as it can: `generational` empties its
    /// nursery once half of it is used or this is likely to take half of the time, and marks once the heap has
    /// used half of the room that its plan gives it. A host that calls this often enough has few other pauses,
    /// as long as garbage is made slower than it is collected. What is not collected here, the program collects
    /// when it needs room.
    ///
    /// # Examples
    /// ```
    /// use gc_heap::{GcStore, HeapOptions, NoStack, toy::ToyCollector};
    /// use std::time::Duration;
    ///
    /// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
    /// let left = store.gc_for(&mut NoStack, Duration::from_micros(200))?;
    /// assert!(left.is_nothing(), "there are no objects yet");
    /// # Ok::<(), gc_heap::HeapError>(())
    /// ```
    ///
    /// # Errors
    /// As [`gc`](GcStore::gc).
    ///
    /// # Panics
    /// As [`gc`](GcStore::gc).
    pub fn gc_for(
        &mut self,
        tracer: &mut dyn TraceRoots,
        time: Duration,
    ) -> Result<GcLeft, HeapError> {
        if self.reclaims == Reclaims::Nothing || !self.has_heap() {
            return Ok(GcLeft::default());
        }
        self.heap.side().assert_may_collect();
        self.check_usable()?;
        let using = UsesTime(self);
        let result = using.0.use_time(tracer, time);
        drop(using);
        self.resume_host_panic();
        result
    }

    fn use_time(
        &mut self,
        tracer: &mut dyn TraceRoots,
        time: Duration,
    ) -> Result<GcLeft, HeapError> {
        let (start, mut collections) = (Instant::now(), 0);
        loop {
            self.heap.made().core().check_damage()?;
            let left = time.saturating_sub(start.elapsed());
            self.heap.side_mut().given = Some(left);
            match self.heap.made_mut().idle(left) {
                Idle::Worked => {}
                Idle::Rest { bytes } => return Ok(GcLeft { bytes }),
                Idle::Collect => {
                    let ends = collections == MOST_COLLECTIONS;
                    if ends || self.collect(tracer, GcCause::Idle)?.is_none() {
                        return Ok(GcLeft { bytes: self.heap.made().occupancy().used });
                    }
                    collections += 1;
                }
            }
        }
    }
}

/// A store whose heap uses time that the host gives. It ends when this is dropped, also in a panic of the
/// store's policy.
struct UsesTime<'s>(&'s mut GcStore);

impl Drop for UsesTime<'_> {
    fn drop(&mut self) {
        let core = self.0.heap.made_mut().core_mut();
        core.side.given = None;
        core.side.pauses.cancel();
    }
}
