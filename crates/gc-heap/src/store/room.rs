//! Makes room when an allocation finds none.
//!
//! The heap's [`GrowthPolicy`](crate::GrowthPolicy) decides whether to collect or to grow, and by
//! how much. It is asked again until there is room, it gives up, or growth is refused. (One growth
//! may not be enough, because a heap may need the memory for a collection.) Then everything is
//! collected, unless that was done already in a heap of this size. If that does not help either,
//! the heap is out of memory.

use super::{GcStore, Request};
use crate::object::by_halves;
use crate::{
    Decision, GcCause, HeapError, HeapUsage, LastResort, PauseKind, Reclaims, RefusedBy, TraceRoots,
};
use gc_types::VMGcRef;

/// After so many growths that mapped no memory, no further collection is tried for one allocation. The collection may set
/// aside what was gained, again and again.
const MOST_AGAIN: u32 = 2;

impl GcStore {
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_slow(
        &mut self,
        tracer: &mut dyn TraceRoots,
        request: Request,
    ) -> Result<VMGcRef, HeapError> {
        self.ensure_heap()?;
        if let Some(done) = self.try_alloc(request, None) {
            return done;
        }
        let memory = &self.heap.made().core().memory;
        let (bytes, mut limit) = (u64::from(request.size), memory.limit());
        if bytes > limit - u64::from(gc_types::NULL_PAGE_SIZE) {
            return Err(HeapError::OutOfMemory { bytes, limit });
        }
        // If the store's limiter or the system has refused growth: the error.
        let mut refusal = None;
        // Since the last growth: whether a collection was tried, and the kind of the collection.
        let (mut tried, mut collected) = (false, None);
        // Bytes by which the heap has grown since it mapped some, and the number of growths that mapped none.
        let (mut unmapped, mut again) = (0, 0);
        loop {
            let mut skipped = None;
            let may_collect = !tried && self.may_collect();
            let occupancy = self.heap.made().occupancy();
            let collection_pays = may_collect && occupancy.collection_pays;
            let usage = HeapUsage { collection_pays, ..self.heap.made().core().usage(&occupancy) };
            match self.heap.side_mut().policy.decide(&usage, bytes) {
                Decision::Collect if may_collect => {
                    tried = true;
                    collected = self.collect(tracer, GcCause::NoRoom)?;
                    skipped = collected.is_none().then_some(LastResort::NoCollection);
                }
                Decision::Grow(step) => {
                    let before = self.heap.made().core().memory.len();
                    match by_halves(step, bytes, |step| self.heap.made_mut().grow(step)) {
                        Ok(0) | Err(HeapError::OutOfMemory { .. }) => break,
                        // It may grow without mapping memory, if it had some that it did not use.
                        Ok(grown) if unmapped > before => {
                            let grown = unmapped + grown;
                            let what = format!(
                                "its heap of {before} bytes says that it has grown by {grown} bytes, but no \
                                 memory was mapped, and an object of {bytes} bytes finds no room"
                            );
                            return Err(HeapError::Collector { what });
                        }
                        Ok(grown) => {
                            log::debug!("GC heap grew by {grown} bytes");
                            let has_mapped = self.heap.made().core().memory.len() > before;
                            unmapped = if has_mapped { 0 } else { unmapped + grown };
                            again += u32::from(!has_mapped);
                        }
                        Err(error) => {
                            // Refusals by a policy are normal.
                            let refused = matches!(error, HeapError::Refused { .. });
                            let level = if refused { log::Level::Debug } else { log::Level::Warn };
                            log::log!(level, "GC heap could not grow: {error}");
                            limit = self.limit_now();
                            let tells_more = matches!(
                                error,
                                HeapError::Refused { by: RefusedBy::Limiter { .. }, .. }
                                    | HeapError::NoMemory { .. }
                            );
                            refusal = tells_more.then_some(error);
                            break;
                        }
                    }
                    if again <= MOST_AGAIN {
                        (tried, collected) = (false, None);
                    }
                }
                // The heap may still use its initial memory.
                _ if self.heap.made().core().unused() > 0
                    && self.heap.made_mut().grow(bytes).is_ok() =>
                {
                    again += 1;
                    if again <= MOST_AGAIN {
                        (tried, collected) = (false, None);
                    }
                }
                Decision::Collect | Decision::GiveUp => {
                    limit = self.limit_now();
                    break;
                }
            }
            if let Some(done) = self.try_alloc(request, skipped) {
                return done;
            }
        }
        if !collected.is_some_and(PauseKind::is_complete) && self.may_collect() {
            self.collect(tracer, GcCause::Exhausted)?;
        }
        if self.heap.made().core().unused() > 0 {
            // It may have used less memory since then, and needs the rest for something else.
            let _grown = self.heap.made_mut().grow(bytes);
        }
        let out_of_memory = refusal.unwrap_or(HeapError::OutOfMemory { bytes, limit });
        self.try_alloc(request, Some(LastResort::NoMemory)).unwrap_or(Err(out_of_memory))
    }

    /// The size of a heap that may not grow, in bytes from its base.
    fn limit_now(&self) -> u64 {
        let core = self.heap.made().core();
        match core.room() == 0 || core.memory.len() == core.memory.maximum() {
            true => core.memory.limit(),
            false => core.ceiling() + u64::from(gc_types::NULL_PAGE_SIZE),
        }
    }

    fn try_alloc(
        &mut self,
        request: Request,
        last_resort: Option<LastResort>,
    ) -> Option<Result<VMGcRef, HeapError>> {
        let Request { header, size, id } = request;
        let result = match (last_resort, id) {
            (None, None) => self.heap.made_mut().alloc_raw(header, size),
            (None, Some(id)) => self.heap.made_mut().alloc_externref(id),
            (Some(why), _) => self.heap.made_mut().alloc_last_resort(header, size, why),
        };
        match (result, id) {
            (Err(HeapError::NeedsRoom { .. }), _) => None,
            (Ok(externref), Some(id)) if last_resort.is_some() => {
                let written = self.heap.made_mut().core_mut().set_externref_id(&externref, id);
                Some(written.map(|()| externref))
            }
            (result, _) => Some(result),
        }
    }

    /// Whether a collection for lack of room may happen now.
    pub(super) fn may_collect(&self) -> bool {
        self.reclaims != Reclaims::Nothing && self.heap.side().no_gc_scopes == 0
    }
}
