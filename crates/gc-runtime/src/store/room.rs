//! What is done when an allocation finds no room.
//!
//! The heap's [`GrowthPolicy`](crate::GrowthPolicy) is asked whether to collect or to
//! grow, and by how much, and asked again until there is room, it gives up, or growing is
//! refused. (One growth need not be room enough: a heap may need it to collect in.) Then
//! everything is collected if that was not done yet, or not in a heap as large; if that
//! does not help either the heap is out of memory.

use super::{GcStore, Request};
use crate::object::by_halves;
use crate::{Decision, GcCause, HeapError, HeapUsage, PauseKind, TraceRoots};
use gc_types::VMGcRef;

impl GcStore {
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_slow(
        &mut self,
        tracer: &mut dyn TraceRoots,
        request: Request,
        size: u32,
    ) -> Result<VMGcRef, HeapError> {
        if let Some(done) = self.try_alloc(request, size) {
            return done;
        }
        let memory = &self.heap.core().memory;
        let (bytes, mut limit) = (u64::from(size), memory.maximum());
        if bytes > limit - u64::from(gc_types::NULL_PAGE_SIZE) {
            return Err(HeapError::OutOfMemory { bytes, limit });
        }
        // Since the heap grew last: whether a collection was tried, and what was collected.
        let (mut tried, mut collected) = (false, None);
        loop {
            let may_collect = !tried && self.may_collect();
            let collection_pays = may_collect && self.heap.collection_pays();
            let usage = HeapUsage { collection_pays, ..self.heap.usage() };
            match self.heap.core_mut().policy.decide(&usage, bytes) {
                Decision::Collect if may_collect => {
                    tried = true;
                    collected = self.collect(tracer, GcCause::NoRoom)?;
                }
                Decision::Grow(step) => {
                    match by_halves(step, bytes, |step| self.heap.grow(step)) {
                        Ok(0) | Err(HeapError::OutOfMemory { .. }) => break,
                        Ok(grown) => log::debug!("GC heap grew by {grown} bytes"),
                        Err(error) => {
                            // A policy refuses as a matter of course.
                            let refused = matches!(error, HeapError::Refused { .. });
                            let level = if refused { log::Level::Debug } else { log::Level::Warn };
                            log::log!(level, "GC heap could not grow: {error}");
                            limit = self.limit_now();
                            break;
                        }
                    }
                    (tried, collected) = (false, None);
                }
                // It may still use what it began with.
                _ if self.heap.core().unused() > 0 && self.heap.grow(bytes).is_ok() => {
                    (tried, collected) = (false, None);
                }
                Decision::Collect | Decision::GiveUp => {
                    limit = self.limit_now();
                    break;
                }
            }
            if let Some(done) = self.try_alloc(request, size) {
                return done;
            }
        }
        if collected.is_some_and(PauseKind::is_complete) || !self.may_collect() {
            // There is nothing more to free, but there may be worse places to look at.
            self.heap.announce_gc(GcCause::Exhausted);
        } else {
            self.collect(tracer, GcCause::Exhausted)?;
        }
        let out_of_memory = Err(HeapError::OutOfMemory { bytes, limit });
        self.try_alloc(request, size).unwrap_or(out_of_memory)
    }

    /// The bytes of a heap that may not grow, counted from its base as its maximum is.
    fn limit_now(&self) -> u64 {
        let memory = &self.heap.core().memory;
        match memory.len() == memory.maximum() {
            true => memory.maximum(),
            false => self.heap.usage().mapped + u64::from(gc_types::NULL_PAGE_SIZE),
        }
    }

    fn try_alloc(&mut self, request: Request, size: u32) -> Option<Result<VMGcRef, HeapError>> {
        let result = match request {
            Request::Object(header) => self.heap.alloc_raw(header, size),
            Request::ExternRef(id) => self.heap.alloc_externref(id),
        };
        match result {
            Err(HeapError::NeedsRoom { .. }) => None,
            result => Some(result),
        }
    }

    /// Whether a collection for want of room may happen now.
    pub(super) fn may_collect(&self) -> bool {
        self.heap.frees_memory() && self.heap.core().no_gc_scopes == 0
    }
}
