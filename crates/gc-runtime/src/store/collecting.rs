//! [`Collecting`]: a collection of a store's heap that a panic may interrupt.
//!
//! A collector calls the store's policy and its source of memory, which are the embedder's. If one
//! of them panics, the heap is half collected: some references are updated and others are not. So
//! the store is marked while the collector works, and the mark stays if the collector is unwound.

use super::{GcStore, HeapState};
use crate::{GarbageCollection, GcCause, GcRequest, HeapError, PauseKind};
use std::mem;

/// A collection under way.
pub(super) struct Collecting<'a> {
    /// Taken when this is dropped.
    collection: Option<Box<dyn GarbageCollection<'a> + 'a>>,
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
        let GcStore { heap, roots, host_data, state, .. } = self;
        let collection = marked(state, || heap.gc(GcRequest::new(cause, roots, host_data)));
        Collecting { collection: Some(collection), state }
    }
}

impl<'a> Collecting<'a> {
    /// Does all remaining work. Returns the kind of the pause.
    pub(super) fn collect(mut self) -> (Result<(), HeapError>, PauseKind) {
        let (collection, state) = self.parts();
        marked(state, || (collection.collect(), collection.kind()))
    }

    /// As [`collect`](Collecting::collect), yielding between increments.
    #[cfg(feature = "async")]
    pub(super) async fn collect_async(mut self) -> (Result<(), HeapError>, PauseKind) {
        let (collection, state) = self.parts();
        let mut all = collection.collect_async();
        let result =
            std::future::poll_fn(|context| marked(state, || all.as_mut().poll(context))).await;
        drop(all);
        (result, collection.kind())
    }

    fn parts(&mut self) -> (&mut (dyn GarbageCollection<'a> + 'a), &mut HeapState) {
        (self.collection.as_deref_mut().expect("taken only when this is dropped"), self.state)
    }
}

impl Drop for Collecting<'_> {
    fn drop(&mut self) {
        let collection = self.collection.take();
        match self.state {
            // To drop it would be to go on with the work that panicked.
            HeapState::Interrupted => mem::forget(collection),
            _ => marked(self.state, || drop(collection)),
        }
    }
}
