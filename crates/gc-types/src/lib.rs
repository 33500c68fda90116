//! The definitions that both halves of a collector share.
//!
//! A collector consists of two programs that must agree exactly: emitted code that allocates and
//! runs barriers, and a heap that collects. This crate defines, once, everything on which they
//! agree: references ([`VMGcRef`], [`I31`]), object headers ([`VMGcHeader`]), the places of an
//! object's fields and references ([`GcLayout`]), the places of a frame's references
//! ([`StackMapTable`]), the context of emitted code ([`VMOffsets`]), the host functions that it may
//! call ([`HostCall`]), the values that are passed between host and code ([`ValRaw`],
//! [`CallSignature`]), the reasons for a trap ([`Trap`]), and each collector's shared constants
//! ([`collector`]). An [`Abi`] contains all of this in one value. A [`CodeImage`] is code that was
//! compiled for an `Abi`, with everything that is needed to run it.
//!
//! This crate has no heap, no Cranelift and no `unsafe`.
#![forbid(unsafe_code)]

mod abi;
mod arch;
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
mod wrap;

pub mod collector;

pub use abi::{Abi, AbiDifference, CollectorAbi, Fingerprint, SideForm, SideTable};
pub use arch::Processor;
pub use bounds::HeapBounds;
pub use call_signature::{CallSignature, ValueType};
pub use data::HeapDataOffsets;
pub use header::{TypeIndex, VMGcHeader, VMGcKind};
pub use host_call::{HostCall, HostCallType, HostSignature, ReturnSignature};
pub use image::{
    CallHandlers, Catches, CodeImage, CodeImageBuilder, EntryPoint, FunctionId, FunctionInfo,
    HandlerSite, ImageBytes, ImageError, ImageFunction, InlinedCall, InstructionSource, Section,
    TypeWord,
};
pub use layout::{
    ArrayLayout, ExnLayout, FieldLayout, GcLayout, LayoutError, MAX_OBJECT_SIZE, OBJECT_ALIGN,
    StorageType, StructLayout,
};
pub use machine::{CALLEE_SAVED, Machine};
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
