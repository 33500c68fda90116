//! One collection, in increments.

use crate::HeapError;

/// What an increment of a collection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcProgress {
    /// There is more to do.
    Continue,
    /// The collection is over.
    Complete,
}

/// A collection under way. The mutator is stopped until it is complete; between
/// increments the host may do other things.
pub trait GarbageCollection<'a>: Send + Sync {
    /// Does a bounded piece of work.
    ///
    /// # Errors
    /// If the heap is found to be corrupt: the collection is then over, and the
    /// heap must only be reset or dropped.
    fn collect_increment(&mut self) -> Result<GcProgress, HeapError>;

    /// Does all the work that is left.
    ///
    /// # Errors
    /// As [`collect_increment`](GarbageCollection::collect_increment).
    fn collect(&mut self) -> Result<(), HeapError> {
        while self.collect_increment()? == GcProgress::Continue {}
        Ok(())
    }
}
