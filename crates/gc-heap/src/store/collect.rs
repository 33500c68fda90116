//! Collections of a store: the mutator is stopped, the roots on its stack are found, and the heap
//! collects.

use super::{GcStore, HOST_DATA_THRESHOLD};
use crate::{GcCause, HeapError, IncompleteWalk, Occupancy, Pause, PauseKind, TraceRoots};
use std::time::{Duration, Instant};

/// A stop of the mutator for a collection.
struct MutatorStop {
    start: Instant,
    root_search: Duration,
    bytes_before: u64,
    verified: bool,
}

impl GcStore {
    /// Collects. If `tracer` cannot find all roots on the stack, it does nothing and returns
    /// `Ok(false)`. The first time, it also logs a warning. Without a heap there is no garbage, and
    /// no collection is counted.
    ///
    /// # Errors
    /// If the heap is found to be corrupt. Then it must only be reset or dropped.
    /// [`HeapError::Interrupted`] if an earlier collection was unwound.
    ///
    /// # Panics
    /// Inside a no-GC scope. If the policy or the source of the memory panics: then the heap cannot
    /// be used until it is [reset](GcStore::reset). Also if the drop of a host value panicked, when
    /// the collection is over (see [`resume_host_panic`](GcStore::resume_host_panic)).
    pub fn gc(&mut self, tracer: &mut dyn TraceRoots) -> Result<bool, HeapError> {
        let result = self.collect(tracer, GcCause::Asked);
        self.resume_host_panic();
        Ok(result?.is_some())
    }

    /// Collects. Returns the kind of the collection, or `None` if it was skipped.
    pub(super) fn collect(
        &mut self,
        tracer: &mut dyn TraceRoots,
        cause: GcCause,
    ) -> Result<Option<PauseKind>, HeapError> {
        if self.collected_nothing() {
            return Ok(Some(PauseKind::Full));
        }
        let Some(stop) = self.stop(tracer, cause)? else { return Ok(None) };
        let start = Instant::now();
        let (result, kind) = self.begin_gc(cause).collect(tracer);
        self.finish_gc(result, stop, kind, start.elapsed(), Some(tracer))?;
        Ok(Some(kind))
    }

    /// As [`gc`](GcStore::gc), yielding to the executor between increments. The stack is walked
    /// immediately, before the future is first polled. The future borrows `tracer`, because the
    /// stack must not change.
    ///
    /// # Errors
    /// As [`gc`](GcStore::gc).
    ///
    /// # Panics
    /// As [`gc`](GcStore::gc).
    #[cfg(feature = "async")]
    pub fn gc_async<'a>(
        &'a mut self,
        tracer: &'a mut dyn TraceRoots,
    ) -> impl Future<Output = Result<bool, HeapError>> + Send + use<'a> {
        let nothing = self.collected_nothing();
        let stop = if nothing { Ok(None) } else { self.stop(tracer, GcCause::Asked) };
        async move {
            let result = match stop {
                Ok(Some(stop)) => self.collect_async(stop).await,
                Ok(None) => Ok(nothing),
                Err(error) => Err(error),
            };
            self.resume_host_panic();
            result
        }
    }

    #[cfg(feature = "async")]
    async fn collect_async(&mut self, stop: MutatorStop) -> Result<bool, HeapError> {
        let start = Instant::now();
        let (result, kind) = self.begin_gc(GcCause::Asked).collect_async().await;
        self.finish_gc(result, stop, kind, start.elapsed(), None)?;
        Ok(true)
    }

    /// Stops the mutator and finds the roots on its stack. `None` if some could not be found.
    fn stop(
        &mut self,
        tracer: &mut dyn TraceRoots,
        cause: GcCause,
    ) -> Result<Option<MutatorStop>, HeapError> {
        self.heap.side().assert_may_collect();
        self.check_usable()?;
        let mut start = Instant::now();
        let Occupancy { used: bytes_before, given_back, .. } = self.heap.made().occupancy();
        let core = self.heap.made_mut().core_mut();
        core.count_peak(given_back);
        core.side.asked = cause == GcCause::Asked;
        self.drop_dead_handles();
        if let Err(incomplete) = self.trace_stack(tracer) {
            // The reason that stops one collection stops all, and a program may request millions of
            // them.
            let again = std::mem::replace(&mut self.warned, true);
            let level = if again { log::Level::Debug } else { log::Level::Warn };
            log::log!(level, "collection skipped: {incomplete}");
            return Ok(None);
        }
        let mut root_search = start.elapsed();
        let verified = self.verification_is_due();
        if verified {
            self.verify_roots(Some(&*tracer))?;
            start = Instant::now();
            root_search = Duration::ZERO;
        }
        self.heap.side_mut().pauses.begin(start);
        Ok(Some(MutatorStop { start, root_search, bytes_before, verified }))
    }

    /// Adds the roots on the stack to the list.
    pub(super) fn trace_stack(
        &mut self,
        tracer: &mut dyn TraceRoots,
    ) -> Result<(), IncompleteWalk> {
        self.roots.clear_stack();
        let walked = tracer.trace_stack(&mut self.roots);
        if walked.is_err() {
            self.roots.clear_stack();
        }
        walked
    }

    fn finish_gc(
        &mut self,
        result: Result<(), HeapError>,
        stop: MutatorStop,
        kind: PauseKind,
        collection: Duration,
        tracer: Option<&mut dyn TraceRoots>,
    ) -> Result<(), HeapError> {
        let bytes_after = self.heap.made().occupancy().used;
        let pauses = &mut self.heap.side_mut().pauses;
        let pause = Pause {
            start: pauses.since_made(stop.start),
            length: stop.root_search + collection,
            kind,
            bytes_before: stop.bytes_before,
            bytes_after,
        };
        pauses.record(pause);
        log::debug!("collected: {pause:?}");
        let result = result.and_then(|()| self.check_swept());
        let verified = match result {
            Ok(()) if stop.verified => self.verify_after(tracer),
            result => result,
        };
        self.roots.clear_stack();
        verified?;
        self.host_data_threshold = HOST_DATA_THRESHOLD.max(self.host_data.len().saturating_mul(2));
        Ok(())
    }
}
