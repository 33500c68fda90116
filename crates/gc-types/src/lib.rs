//! The words both halves of a collector speak.
//!
//! A collector is two programs that must agree to the byte: emitted code that
//! allocates and runs barriers, and a heap that collects. Everything they agree
//! on stands here, written once: what a reference is ([`VMGcRef`], [`I31`]), what
//! every object begins with ([`VMGcHeader`]), where an object's fields and
//! references are ([`GcLayout`]), where a frame's references are
//! ([`StackMapTable`]), where emitted code finds its context ([`VMOffsets`]),
//! which host functions it may call ([`HostCall`]), why it may stop ([`Trap`]),
//! each collector's shared constants ([`collector`]), and a number to tell whether
//! they are of one mind ([`Fingerprint`]).
//!
//! This crate has no heap, no Cranelift and no `unsafe`.
#![forbid(unsafe_code)]

mod data;
mod fingerprint;
mod header;
mod host_call;
mod layout;
mod reference;
mod stack_map;
mod trap;
mod vmctx;

pub mod collector;

pub use data::HeapDataOffsets;
pub use fingerprint::Fingerprint;
pub use header::{TypeIndex, VMGcHeader, VMGcKind};
pub use host_call::{HostCall, HostCallType, HostSignature};
pub use layout::{
    ArrayLayout, ExnLayout, FieldLayout, GcLayout, LayoutError, MAX_OBJECT_SIZE, OBJECT_ALIGN,
    StorageType, StructLayout,
};
pub use reference::{I31, VMGcRef};
pub use stack_map::{StackMap, StackMapTable, StackMapTableBuilder};
pub use trap::Trap;
pub use vmctx::VMOffsets;

/// Bytes at the start of every heap that are never mapped, so that a null dereference faults by
/// itself. This is also the first possible offset of an object.
pub const NULL_PAGE_SIZE: u32 = 64 << 10;

/// Bytes of address space that stay unmapped after the 4 GiB that 32-bit indices can reach. Emitted
/// code may add a constant smaller than this to `base + zext(ref)` without a check.
pub const HEAP_GUARD_SIZE: u64 = 2 << 20;

const _: () = assert!(NULL_PAGE_SIZE.is_power_of_two());
const _: () = assert!(HEAP_GUARD_SIZE > NULL_PAGE_SIZE as u64);
