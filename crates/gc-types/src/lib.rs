//! The words both halves of a collector speak.
//!
//! A collector is two programs that must agree to the byte: emitted code that
//! allocates and runs barriers, and a heap that collects. Everything they agree
//! on stands here, written once: what a reference is ([`VMGcRef`], [`I31`]), what
//! every object begins with ([`VMGcHeader`]), where an object's fields and
//! references are ([`GcLayout`]), where a frame's references are
//! ([`StackMapTable`]), where emitted code finds its context ([`VMOffsets`]),
//! which host functions it may call ([`HostCall`]), how values cross between host and
//! code ([`ValRaw`], [`CallSignature`]), why it may stop ([`Trap`]), and each
//! collector's shared constants ([`collector`]). An [`Abi`] says all of it in one value,
//! and a [`CodeImage`] is what was compiled for one: all that is needed to run it.
//!
//! This crate has no heap, no Cranelift and no `unsafe`.
#![forbid(unsafe_code)]

mod abi;
mod bounds;
mod call_signature;
mod data;
mod header;
#[macro_use]
pub mod host_calls;
mod host_call;
mod image;
mod layout;
mod machine;
mod reference;
mod root_kind;
mod stack_map;
mod status;
mod table;
mod trap;
mod val_raw;
mod vmctx;

pub mod collector;

pub use abi::{Abi, AbiDifference, CollectorAbi, Fingerprint};
pub use bounds::HeapBounds;
pub use call_signature::{CallSignature, ValueType};
pub use data::HeapDataOffsets;
pub use header::{TypeIndex, VMGcHeader, VMGcKind};
pub use host_call::{HostCall, HostCallType, HostSignature};
pub use image::{
    CodeImage, CodeImageBuilder, EntryPoint, FunctionId, FunctionInfo, HandlerSite, ImageBytes,
    ImageError, ImageFunction, Section, TypeWord,
};
pub use layout::{
    ArrayLayout, ExnLayout, FieldLayout, GcLayout, LayoutError, MAX_OBJECT_SIZE, OBJECT_ALIGN,
    StorageType, StructLayout,
};
pub use machine::Machine;
pub use reference::{I31, VMGcRef};
pub use root_kind::RootKind;
pub use stack_map::{StackMap, StackMapTable, StackMapTableBuilder, StackMaps};
pub use status::EntryStatus;
pub use trap::Trap;
pub use val_raw::ValRaw;
pub use vmctx::VMOffsets;

/// Bytes at the start of every heap that are never mapped, so that a null dereference faults by
/// itself. This is also the first possible offset of an object.
pub const NULL_PAGE_SIZE: u32 = 64 << 10;

/// Bytes of address space that stay unmapped after the 4 GiB that 32-bit indices can reach. Emitted
/// code may add a constant smaller than this to `base + zext(ref)` without a check.
pub const HEAP_GUARD_SIZE: u64 = 2 << 20;

const _: () = assert!(NULL_PAGE_SIZE.is_power_of_two());
const _: () = assert!(HEAP_GUARD_SIZE > NULL_PAGE_SIZE as u64);
