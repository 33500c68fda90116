//! [`GcRequest`]: the input of a collection.

use crate::{ExternRefHostDataTable, GcRootsList, WeakTable};
use std::fmt;

/// The cause of a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GcCause {
    /// The host or the guest asked. All garbage should be freed.
    #[default]
    Asked,
    /// An allocation found no room. It suffices to make some room.
    NoRoom,
    /// An allocation found no room and the heap cannot grow. All garbage should be freed.
    Exhausted,
    /// There are many host values. Those without an externref should be dropped.
    HostValues,
    /// The host gives time to the collector, and [`GcHeap::idle`](crate::GcHeap::idle) has found that a
    /// collection is likely to end in it.
    Idle,
    /// Zeal. The collector chooses the kind of collection that finds most bugs.
    Zeal,
}

/// The input of [`GcHeap::gc`](crate::GcHeap::gc): the cause of the collection, and the data
/// outside the heap.
///
/// Further inputs of collections will become fields here, so that the trait does not change.
///
/// # Examples
/// ```
/// use gc_heap::toy::ToyCollector;
/// use gc_heap::{ExternRefHostDataTable, GcCause, GcRequest, GcRootsList};
/// use gc_heap::{GcRuntime, HeapMemory, HeapOptions, WeakTable};
///
/// let mut heap = ToyCollector.new_gc_heap(HeapMemory::new(&HeapOptions::default())?)?;
/// let mut roots = GcRootsList::default();
/// let (mut host_data, mut weak) = (ExternRefHostDataTable::default(), WeakTable::default());
/// heap.gc(GcRequest::new(GcCause::Asked, &mut roots, &mut host_data, &mut weak)).collect()?;
/// assert_eq!(heap.stats().collections, 1);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[non_exhaustive]
pub struct GcRequest<'a> {
    /// The cause of a collection.
    pub cause: GcCause,
    /// The roots of the mutator, including those on the stack. A collector takes the roots that it
    /// needs. A collector that moves objects updates them.
    pub roots: &'a mut GcRootsList,
    /// The host values of externrefs.
    pub host_data: &'a mut ExternRefHostDataTable,
    /// The weak references of the host. [`WeakTracer`](crate::WeakTracer) has the collector's duty.
    pub weak: &'a mut WeakTable,
}

impl<'a> GcRequest<'a> {
    /// Creates a request with this cause, these roots, these host values and these weak references.
    pub fn new(
        cause: GcCause,
        roots: &'a mut GcRootsList,
        host_data: &'a mut ExternRefHostDataTable,
        weak: &'a mut WeakTable,
    ) -> GcRequest<'a> {
        GcRequest { cause, roots, host_data, weak }
    }
}

impl fmt::Debug for GcRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcRequest").field("cause", &self.cause).finish_non_exhaustive()
    }
}
