//! Roots: the places of the mutator's references while it is stopped.
//!
//! * `list.rs`: all roots of a store. Slots outside the stack are registered by kind. Slots
//!   on the stack are added for each collection. A collector asks for the roots that it needs.
//! * `slot.rs`: one root. This is the only file, besides those of heap memory, that dereferences
//!   raw pointers.
//! * `handles.rs`: the host's handles.
//! * `token.rs`: what a handle shares with its clones, by which its table learns that it was
//!   dropped.
//! * `stack.rs`: the trait that finds the roots on the stack.
//! * `owner.rs`: the owner of a root.

mod handles;
mod list;
mod owner;
mod slot;
mod stack;
mod token;

pub(crate) use handles::HandleTable;
pub use handles::{Handle, HandleError, HandleScope, OwnedHandle};
pub use list::{GcRootsIter, GcRootsList, SegmentId, SlotsId};
pub use owner::RootOwner;
pub use slot::GcRoot;
pub(crate) use slot::as_slot;
pub use stack::{FrameSlot, IncompleteWalk, NoStack, TraceRoots};
pub(crate) use token::{TableId, Token, Tokens};
