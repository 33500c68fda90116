//! Roots: where the mutator's references are while it is stopped.
//!
//! * `list.rs`: all roots of a store. Slots outside the stack are registered by kind, those
//!   on the stack are added for each collection; a collector asks for those it needs.
//! * `slot.rs`: one root. The only file beside heap memory that dereferences raw pointers.
//! * `handles.rs`: the host's handles.
//! * `stack.rs`: what finds the roots on the stack.
//! * `remembered.rs`: what a write barrier notes of slots outside the heap.
//! * `owner.rs`: what a root is part of.

mod handles;
mod list;
mod owner;
mod remembered;
mod slot;
mod stack;

pub(crate) use handles::HandleTable;
pub use handles::{HandleError, HandleScope, OwnedHandle, ScopedHandle};
pub use list::{GcRootsIter, GcRootsList, SegmentId, SlotsId};
pub use owner::RootOwner;
pub use remembered::RememberedSlots;
pub use slot::GcRoot;
pub(crate) use slot::as_slot;
pub use stack::{FrameSlot, IncompleteWalk, NoStack, TraceRoots};
