//! One collection, in increments.

use crate::{HeapError, PauseKind};

#[cfg(feature = "async")]
use std::{future::Future, pin::Pin, task};

/// The result of an increment of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcProgress {
    /// There is more to do.
    Continue,
    /// The collection is over.
    Complete,
}

/// What a heap does with the time that the host gives it ([`GcHeap::idle`](crate::GcHeap::idle)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It wants a collection for [`GcCause::Idle`](crate::GcCause::Idle) now.
    Collect,
    /// It has worked for a part of the time.
    Worked,
    /// It does not work, because there is nothing to do or there is too little time.
    Rest {
        /// Bytes of the objects that it would still visit, if it had the time; 0 if there is nothing to
        /// do.
        bytes: u64,
    },
}

/// A collection under way. The mutator is stopped until it is complete. Between increments the host
/// may do other things.
///
/// A collection that is not complete is [abandoned](GarbageCollection::abandon) before it is
/// dropped. The drop itself does no work of the collection: it must not panic, and the collector may
/// have been unwound. A [`GcStore`](crate::GcStore) abandons its collections.
///
/// # Examples
/// ```
/// use gc_heap::toy::ToyCollector;
/// use gc_heap::{ExternRefHostDataTable, GcCause, GcProgress, GcRequest, GcRootsList};
/// use gc_heap::{GcRuntime, HeapMemory, HeapOptions, PauseKind, WeakTable};
///
/// let memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut heap = ToyCollector.new_gc_heap(memory)?;
/// let mut roots = GcRootsList::default();
/// let (mut host_data, mut weak) = (ExternRefHostDataTable::default(), WeakTable::default());
///
/// let request = GcRequest::new(GcCause::NoRoom, &mut roots, &mut host_data, &mut weak);
/// let mut collection = heap.gc(request);
/// while collection.collect_increment()? == GcProgress::Continue {
///     // The host may do other things here.
/// }
/// assert_eq!(collection.kind(), PauseKind::Full);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
pub trait GarbageCollection<'a>: Send + Sync {
    /// Does a bounded piece of work. After it returned [`Complete`](GcProgress::Complete), further
    /// calls do nothing and return the same.
    ///
    /// # Errors
    /// If the heap is found to be corrupt. The collection is then over, and the heap must only be
    /// reset or dropped.
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError>;

    /// The kind of the pause. Called when the collection is over.
    fn kind(&self) -> PauseKind {
        PauseKind::Full
    }

    /// Does all remaining work.
    ///
    /// # Errors
    /// As [`collect_increment`](GarbageCollection::collect_increment).
    fn collect(&mut self) -> Result<(), HeapError> {
        while self.collect_increment()? == GcProgress::Continue {}
        Ok(())
    }

    /// Leaves the heap consistent, although the collection may not be complete. The collection is
    /// then over. The collector chooses whether it finishes the work or leaves it to the next
    /// collection. By default it finishes the work. After a collection that is complete or that
    /// failed, this does nothing.
    ///
    /// If a collection is neither complete nor abandoned when it is dropped, its heap must only be
    /// reset or dropped. A collector that cannot leave the heap consistent notes this with
    /// [`HeapCore::check_over`](crate::HeapCore::check_over) when the collection is dropped, so that
    /// the heap refuses to be used. [`GcStore`](crate::GcStore) does not call `abandon` if the
    /// collector was unwound, and refuses to use the heap.
    fn abandon(&mut self) {
        // A heap that is corrupt is not made consistent.
        let _corrupt = self.collect();
    }

    /// Does all remaining work, and yields to the executor between increments. Dropping the future
    /// stops between increments.
    ///
    /// # Errors
    /// As [`collect_increment`](GarbageCollection::collect_increment).
    #[cfg(feature = "async")]
    fn collect_async(&mut self) -> CollectFuture<'_> {
        Box::pin(CollectAsync { collection: self })
    }
}

/// The future that [`GarbageCollection::collect_async`] returns.
#[cfg(feature = "async")]
pub type CollectFuture<'a> =
    Pin<Box<dyn Future<Output = Result<(), HeapError>> + Send + Sync + 'a>>;

/// Runs one increment each time it is polled, and asks to be polled again.
#[cfg(feature = "async")]
struct CollectAsync<'b, C: ?Sized> {
    collection: &'b mut C,
}

#[cfg(feature = "async")]
impl<'a, C: GarbageCollection<'a> + ?Sized> Future for CollectAsync<'_, C> {
    type Output = Result<(), HeapError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut task::Context<'_>) -> task::Poll<Self::Output> {
        match self.collection.collect_increment() {
            Ok(GcProgress::Continue) => {
                context.waker().wake_by_ref();
                task::Poll::Pending
            }
            Ok(GcProgress::Complete) => task::Poll::Ready(Ok(())),
            Err(error) => task::Poll::Ready(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Countdown(u32);

    impl GarbageCollection<'_> for Countdown {
        fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
            self.0 = self.0.saturating_sub(1);
            Ok(if self.0 == 0 { GcProgress::Complete } else { GcProgress::Continue })
        }
    }

    #[test]
    fn collect_runs_every_increment() {
        let mut collection = Countdown(5);
        collection.collect().unwrap();
        assert_eq!(collection.0, 0);
    }

    #[test]
    fn a_collection_is_finished_when_it_is_abandoned() {
        let mut collection = Countdown(5);
        collection.collect_increment().unwrap();
        collection.abandon();
        assert_eq!(collection.0, 0);
    }

    /// The future can be shared by threads, as the collection can.
    #[cfg(feature = "async")]
    const _: () = {
        const fn is_shared<T: Send + Sync>() {}
        is_shared::<CollectFuture<'_>>();
        is_shared::<Box<dyn GarbageCollection<'_>>>();
    };

    #[cfg(feature = "async")]
    #[test]
    fn the_future_yields_between_increments() {
        let mut collection: Box<dyn GarbageCollection<'_>> = Box::new(Countdown(5));
        let mut future = collection.collect_async();
        let mut context = task::Context::from_waker(task::Waker::noop());
        for _ in 0..4 {
            assert_eq!(future.as_mut().poll(&mut context), task::Poll::Pending);
        }
        assert_eq!(future.as_mut().poll(&mut context), task::Poll::Ready(Ok(())));
    }
}
