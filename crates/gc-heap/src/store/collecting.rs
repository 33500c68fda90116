//! [`Collecting`]: a collection of a store's heap that a panic may interrupt.
//!
//! A collector calls the store's policy and its source of memory, which are the embedder's. If one
//! of them panics, the heap is half collected: some references are updated and others are not. The
//! same is true if the future of a collection is forgotten. So the store is marked from the beginning
//! of the collection to its end, and the mark stays if there is no end.

use super::{GcStore, HeapState};
use crate::{GarbageCollection, GcCause, GcProgress, GcRequest, HeapError, PauseKind, TraceRoots};
use std::mem;

/// A collection under way.
pub(super) struct Collecting<'a> {
    collection: Box<dyn GarbageCollection<'a> + 'a>,
    /// It is [`HeapState::Interrupted`].
    state: &'a mut HeapState,
    /// The state before.
    before: HeapState,
    /// Whether the collector works, or was unwound.
    works: bool,
}

/// Does a part of the collector's work. If it is unwound, `works` stays set.
fn work<R>(works: &mut bool, part: impl FnOnce() -> R) -> R {
    *works = true;
    let done = part();
    *works = false;
    done
}

impl GcStore {
    /// Begins a collection. The roots on the stack are in the list.
    pub(super) fn begin_gc(&mut self, cause: GcCause) -> Collecting<'_> {
        let weak = self.weak_mut();
        let has_weak = !weak.is_empty();
        weak.expect();
        self.host_data.expect_sweep();
        let has_externrefs = !self.host_data.is_empty();
        let frames = self.roots.frames();
        let core = self.heap.made_mut().core_mut();
        core.side.has_weak = has_weak;
        core.side.has_externrefs = has_externrefs;
        core.side.frames = frames;
        let GcStore { heap, roots, host_data, weak, state, .. } = self;
        let weak = weak.get_mut().expect("it was made above");
        let before = mem::replace(state, HeapState::Interrupted);
        let collection = heap.made_mut().gc(GcRequest::new(cause, roots, host_data, weak));
        Collecting { collection, state, before, works: false }
    }
}

impl Collecting<'_> {
    /// Does all remaining work. Returns the kind of the pause. If the tracer wants increments, it may
    /// do other things in between. (If that is never resumed, the heap stays marked.)
    pub(super) fn collect(
        mut self,
        tracer: &mut dyn TraceRoots,
    ) -> (Result<(), HeapError>, PauseKind) {
        let Collecting { collection, works, .. } = &mut self;
        work(works, || {
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
        let Collecting { collection, works, .. } = &mut self;
        let mut all = collection.collect_async();
        let result =
            std::future::poll_fn(|context| work(works, || all.as_mut().poll(context))).await;
        drop(all);
        (result, collection.kind())
    }
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        // To abandon an interrupted collection would be to go on with the work that panicked.
        if !self.works {
            work(&mut self.works, || self.collection.abandon());
            *self.state = self.before;
        }
    }
}
