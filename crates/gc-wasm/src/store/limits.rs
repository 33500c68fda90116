//! How many references into its heap a store may hold outside of it.
//!
//! A collector that counts references relies on the sum: however often all of them, and
//! every field of the heap's objects, refer to one object, its count must not overflow.
//! Frames of compiled code are not among them: what is on the stack is not counted.

use gc_runtime::{OwnedHandle, ScopedHandle};

/// Fewer references than this are outside the heap and the stack of a store.
pub(crate) const NATIVE_REFS: u64 = gc_types::collector::drc::MAX_NATIVE_REFS;

/// Elements of tables, and of element segments that were not dropped: the most that
/// [`Config::table_elements_maximum`](crate::Config::table_elements_maximum) may be.
pub(crate) const ELEMENTS: u64 = 1 << 27;

/// Globals.
pub(crate) const GLOBALS: usize = 1 << 24;

const _: () =
    assert!(NATIVE_REFS > ELEMENTS + (ScopedHandle::MAX + OwnedHandle::MAX + GLOBALS) as u64);
