//! [`HeapBounds`]: how emitted code stays inside a heap.

use std::fmt;

/// How emitted code stays inside the heap.
///
/// # Examples
/// ```
/// use gc_types::{Abi, CollectorAbi, HeapBounds};
///
/// let abi = Abi::new(CollectorAbi::new("copying"));
/// assert!(abi.guarded());
/// assert!(!abi.with_bounds(HeapBounds::Checked).guarded());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum HeapBounds {
    /// 4 GiB and a guard of [`HEAP_GUARD_SIZE`](crate::HEAP_GUARD_SIZE) are reserved. Accesses with
    /// 32-bit indices cannot leave them, so no checks are emitted.
    #[default]
    Guarded,
    /// Only the heap's maximal size is reserved. Every access is compared with the mapped bound.
    Checked,
}

impl fmt::Display for HeapBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeapBounds::Guarded => "guarded",
            HeapBounds::Checked => "checked",
        })
    }
}
