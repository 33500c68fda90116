//! The limits for references that a store holds outside its heap.
//!
//! A reference-counting collector relies on the sum: if all of these references, and all fields of
//! the heap's objects, refer to one object, its count must not overflow. References in frames of
//! compiled code are not counted and so not included.

use gc_runtime::{Handle, OwnedHandle};

/// A store has fewer references than this outside its heap and its stacks.
pub(crate) const NATIVE_REFS: u64 = gc_types::collector::drc::MAX_NATIVE_REFS;

/// The maximum of [`Config::table_elements_maximum`](crate::Config::table_elements_maximum):
/// elements of tables, and of element segments that were not dropped.
pub(crate) const ELEMENTS: u64 = 1 << 27;

/// Globals.
pub(crate) const GLOBALS: usize = 1 << 24;

const _: () = assert!(NATIVE_REFS > ELEMENTS + (Handle::MAX + OwnedHandle::MAX + GLOBALS) as u64);
