//! The errors of a heap.

use crate::MemoryPurpose;
use gc_types::{TypeIndex, VMGcKind};
use std::fmt;

/// An error of a heap.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapError, HeapOptions, NoStack, toy::ToyCollector};
/// use gc_types::{ArrayLayout, GcLayout, StorageType, TypeIndex};
/// use std::sync::Arc;
///
/// let options = HeapOptions { maximum: 1 << 20, ..HeapOptions::default() };
/// let mut store = GcStore::new(&ToyCollector, &options)?;
/// let longs = TypeIndex::new(0).unwrap();
/// let layout = GcLayout::Array(ArrayLayout::new(StorageType::I64));
/// store.ensure_layout(longs, &Arc::new(layout))?;
///
/// let error = store.alloc_array(&mut NoStack, longs, 1_000_000).unwrap_err();
/// assert!(matches!(error, HeapError::OutOfMemory { limit, .. } if limit == 1 << 20), "{error}");
/// # Ok::<(), HeapError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeapError {
    /// There is no room for `bytes` more bytes. A collection or growth may make room.
    NeedsRoom {
        /// The requested bytes.
        bytes: u64,
    },
    /// The heap is at its limit and a collection did not free enough.
    OutOfMemory {
        /// The requested bytes.
        bytes: u64,
        /// The heap's limit in bytes: its maximum, or its current size if it may not grow.
        limit: u64,
    },
    /// The growth policy, or the store's [limiter](crate::HeapLimiter), did not admit `bytes` more
    /// bytes.
    Refused {
        /// Bytes that should have been mapped.
        bytes: u64,
        /// Who refused.
        by: RefusedBy,
    },
    /// An object larger than any heap allows.
    TooLarge {
        /// The array's length in elements, or the object's size in bytes if it is not an array.
        length: u64,
    },
    /// An index or range outside an array.
    OutOfBounds {
        /// The first requested index.
        index: u64,
        /// The number of requested elements.
        count: u64,
        /// The array's length in elements.
        length: u32,
    },
    /// An object of another kind or type than needed.
    WrongKind {
        /// The kind that was needed.
        expected: VMGcKind,
        /// Index of the object in bytes.
        at: u32,
    },
    /// A type whose layout was never registered, or whose kind is not the one to allocate.
    UnknownType {
        /// The type.
        ty: TypeIndex,
    },
    /// A type for which another layout was registered before.
    OtherLayout {
        /// The type.
        ty: TypeIndex,
    },
    /// An array whose elements have another storage type than the operation needs.
    WrongElement {
        /// Index of the array in bytes.
        at: u32,
    },
    /// A reference that is an `i31`, not an object in the heap.
    NotAnObject {
        /// The reference's word.
        raw: u32,
    },
    /// Bytes in the heap that no correct program leaves there.
    Corrupt {
        /// Index of the damage in bytes.
        at: u32,
        /// A description of the damage.
        what: &'static str,
    },
    /// A collection was unwound by a panic, so the heap is half collected
    /// ([`GcStore::check_usable`](crate::GcStore::check_usable)).
    Interrupted,
    /// The collector does not reset its heaps ([`GcHeap::reset`](crate::GcHeap::reset)).
    NoReset,
    /// There are as many of these already as a pool may have at the same time
    /// ([`HeapFactory::with_pool`](crate::HeapFactory::with_pool), [`Pool`](crate::Pool)).
    PoolLimit {
        /// What is limited.
        purpose: MemoryPurpose,
        /// The limit.
        limit: u32,
    },
    /// Damage that a verifier found ([`GcStore::verify`](crate::GcStore::verify)): like
    /// [`Corrupt`](HeapError::Corrupt), with the path from a root.
    Verification {
        /// Index of the damage in bytes.
        at: u32,
        /// A description of the damage.
        what: &'static str,
        /// The references from a root to the damage, as text.
        path: String,
    },
    /// The collector does not do what it must ([`GcHeap`](crate::GcHeap)).
    Collector {
        /// What it did.
        what: String,
    },
    /// Heap options that cannot be satisfied.
    Options {
        /// The option, and the reason.
        what: String,
    },
    /// The [source](crate::MemorySource) of the memory, or the system, refused memory.
    NoMemory {
        /// What the memory was for.
        purpose: MemoryPurpose,
        /// Bytes that were asked for.
        bytes: u64,
        /// The reason.
        why: String,
    },
    /// The system does not have what a heap needs.
    System {
        /// What it lacks.
        what: String,
    },
}

/// Who [refused](HeapError::Refused) a heap's growth.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedBy {
    /// The heap's [policy](crate::GrowthPolicy).
    Policy,
    /// The store's [limiter](crate::HeapLimiter).
    Limiter {
        /// The reason, if the limiter gave one.
        why: Option<String>,
    },
}

impl HeapError {
    /// The error for an access outside the mapped memory, at this index.
    #[cold]
    pub fn outside(at: u32) -> HeapError {
        HeapError::Corrupt { at, what: "a reference outside the heap" }
    }

    /// Records damage found at this index, and logs it, if it is the first.
    #[cold]
    pub fn note(damage: &mut Option<HeapError>, at: u32, what: &'static str) {
        damage.get_or_insert_with(|| {
            let error = HeapError::Corrupt { at, what };
            log::warn!("{error}");
            error
        });
    }
}

impl fmt::Display for HeapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeapError::NeedsRoom { bytes } => write!(f, "no room in the GC heap for {bytes} bytes"),
            HeapError::OutOfMemory { bytes, limit } => write!(
                f,
                "GC heap out of memory: {bytes} bytes more do not fit its limit of {limit} bytes"
            ),
            HeapError::Refused { bytes, by: RefusedBy::Policy } => {
                write!(f, "the policy of the GC heap does not admit {bytes} more bytes")
            }
            HeapError::Refused { bytes, by: RefusedBy::Limiter { why } } => {
                write!(f, "the store's limiter refused {bytes} more bytes for the GC heap")?;
                why.iter().try_for_each(|why| write!(f, ": {why}"))
            }
            HeapError::TooLarge { length } => {
                write!(f, "allocation size too large: an object of length {length}")
            }
            HeapError::OutOfBounds { index, count, length } => write!(
                f,
                "out of bounds array access: {count} elements from {index} of an array of {length}"
            ),
            HeapError::WrongKind { expected, at } => {
                write!(f, "the object at {at:#x} of the GC heap is not a {expected:?}")
            }
            HeapError::UnknownType { ty } => {
                write!(f, "{ty:?} has no layout of the kind to be allocated in this GC heap")
            }
            HeapError::OtherLayout { ty } => {
                write!(f, "{ty:?} has another layout in this GC heap")
            }
            HeapError::WrongElement { at } => {
                write!(f, "the array at {at:#x} of the GC heap has elements of another kind")
            }
            HeapError::NotAnObject { raw } => {
                write!(f, "the reference {raw:#x} is an i31, not an object of the GC heap")
            }
            HeapError::Corrupt { at, what } => write!(f, "corrupt GC heap at {at:#x}: {what}"),
            HeapError::Interrupted => f.write_str("corrupt GC heap: a collection was interrupted"),
            HeapError::NoReset => f.write_str("heaps of this collector cannot be reset"),
            HeapError::PoolLimit { purpose, limit } => {
                write!(f, "no memory for {purpose}: the pool has {limit} at the same time")
            }
            HeapError::Verification { at, what, path } => {
                write!(f, "corrupt GC heap at {at:#x}: {what}; {path}")
            }
            HeapError::Collector { what } => write!(f, "the collector has a bug: {what}"),
            HeapError::Options { what } => write!(f, "heap options cannot be satisfied: {what}"),
            HeapError::NoMemory { purpose, bytes, why } => {
                write!(f, "no memory for {purpose} ({bytes} bytes): {why}")
            }
            HeapError::System { what } => write!(f, "this system cannot have GC heaps: {what}"),
        }
    }
}

impl std::error::Error for HeapError {}
