//! The limits for references that a store holds outside its heap.
//!
//! A collector that counts references relies on the sum
//! ([`max_native_refs`](gc_runtime::GcRuntime::max_native_refs)): if all of these references, and all fields of
//! the heap's objects, refer to one object, its count must not overflow. References in frames of
//! compiled code are not counted and so not included.

use gc_runtime::{Handle, OwnedHandle};

/// The maximum of [`Config::table_elements_maximum`](crate::Config::table_elements_maximum):
/// elements of tables, and of element segments that were not dropped.
pub(crate) const ELEMENTS: u64 = 1 << 27;

/// Globals.
pub(crate) const GLOBALS: usize = 1 << 24;

/// The most references that a store with at most so many elements has outside its heap and its stacks.
pub(crate) const fn native_refs(elements: u64) -> u64 {
    elements.saturating_add((Handle::MAX + OwnedHandle::MAX + GLOBALS) as u64)
}
