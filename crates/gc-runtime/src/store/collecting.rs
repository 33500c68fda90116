//! [`Collecting`]: a collection of a store's heap that a panic may interrupt.
//!
//! A collector calls the store's policy and its source of memory, which are the embedder's. If one
//! of them panics, the heap is half collected: some references are updated and others are not. So
//! the store is marked while the collector works, and the mark stays if the collector is unwound.

use super::{GcStore, HeapState};
use crate::{GarbageCollection, GcCause, GcProgress, GcRequest, HeapError, PauseKind, TraceRoots};
use std::mem;

/// A collection under way.
pub(super) struct Collecting<'a> {
    collection: Box<dyn GarbageCollection<'a> + 'a>,
    state: &'a mut HeapState,
}

/// Does a part of the collector's work. If it is unwound, the mark stays.
fn marked<R>(state: &mut HeapState, work: impl FnOnce() -> R) -> R {
    let before = mem::replace(state, HeapState::Interrupted);
    let done = work();
    *state = before;
    done
}

impl GcStore {
    /// Begins a collection. The roots on the stack are in the list.
    pub(super) fn begin_gc(&mut self, cause: GcCause) -> Collecting<'_> {
        let weak = self.weak_mut();
        let has_weak = !weak.is_empty();
        weak.expect();
        self.heap.core_mut().has_weak = has_weak;
        let GcStore { heap, roots, host_data, weak, state, .. } = self;
        let weak = weak.get_mut().expect("it was made above");
        let collection = marked(state, || heap.gc(GcRequest::new(cause, roots, host_data, weak)));
        Collecting { collection, state }
    }
}

impl Collecting<'_> {
    /// Does all remaining work. Returns the kind of the pause. If the tracer wants increments, it may
    /// do other things in between. (If that is never resumed, the heap stays marked.)
    pub(super) fn collect(
        mut self,
        tracer: &mut dyn TraceRoots,
    ) -> (Result<(), HeapError>, PauseKind) {
        let Collecting { collection, state } = &mut self;
        marked(state, || {
            let result = match tracer.wants_increments() {
                false => collection.collect(),
                true => loop {
                    match collection.collect_increment() {
                        Ok(GcProgress::Continue) => tracer.between_increments(),
                        Ok(GcProgress::Complete) => break Ok(()),
                        Err(error) => break Err(error),
                    }
                },
            };
            (result, collection.kind())
        })
    }

    /// As [`collect`](Collecting::collect), yielding between increments.
    #[cfg(feature = "async")]
    pub(super) async fn collect_async(mut self) -> (Result<(), HeapError>, PauseKind) {
        let Collecting { collection, state } = &mut self;
        let mut all = collection.collect_async();
        let result =
            std::future::poll_fn(|context| marked(state, || all.as_mut().poll(context))).await;
        drop(all);
        (result, collection.kind())
    }
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        // To abandon an interrupted collection would be to go on with the work that panicked.
        if *self.state != HeapState::Interrupted {
            marked(self.state, || self.collection.abandon());
        }
    }
}
