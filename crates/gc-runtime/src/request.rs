//! [`GcRequest`]: what a collection is begun with.

use crate::{ExternRefHostDataTable, GcRootsList};
use std::fmt;

/// Why a collection is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GcCause {
    /// The host or the guest asked: everything that is garbage should be freed.
    #[default]
    Asked,
    /// An allocation found no room: as little as makes some will do.
    NoRoom,
    /// An allocation found no room and the heap cannot grow: all there is to free.
    Exhausted,
    /// There are many host values: those without an externref should be dropped.
    HostValues,
    /// Zeal: whatever finds most bugs.
    Zeal,
}

/// What [`GcHeap::gc`](crate::GcHeap::gc) is given: why it is asked to collect, and what
/// stands outside the heap.
///
/// Whatever else a collection will have to look at becomes a field here, so that the trait
/// stays as it is. Weak references are to be one: a table of them that the collection
/// clears, and of the keys of ephemerons it marks from. Their place in a collection is
/// fixed: when all that the roots lead to is found, ephemerons are followed until none adds
/// anything; then weak references to what was not found are cleared; then the host values of
/// dead externrefs are dropped. So nothing that a host value's drop can see refers to what
/// died.
#[non_exhaustive]
pub struct GcRequest<'a> {
    /// Why a collection is asked for.
    pub cause: GcCause,
    /// The roots of the mutator, those on the stack included. A collector takes those it
    /// needs; one that moves objects updates them.
    pub roots: &'a mut GcRootsList,
    /// The host values behind externrefs.
    pub host_data: &'a mut ExternRefHostDataTable,
}

impl<'a> GcRequest<'a> {
    /// A request for `cause`, of a mutator with these roots and host values.
    pub fn new(
        cause: GcCause,
        roots: &'a mut GcRootsList,
        host_data: &'a mut ExternRefHostDataTable,
    ) -> GcRequest<'a> {
        GcRequest { cause, roots, host_data }
    }
}

impl fmt::Debug for GcRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcRequest").field("cause", &self.cause).finish_non_exhaustive()
    }
}
