//! What instances are made of: tables, linear memories, globals, function references, and the
//! vmctx that compiled code reads.
//!
//! The parts know no store and no handle of the host's. Where one changes references it is
//! lent the heap.

pub(crate) mod func_ref;
pub(crate) mod globals;
pub(crate) mod instance;
pub(crate) mod layout;
pub(crate) mod memory;
pub(crate) mod table;
pub(crate) mod tag;
pub(crate) mod words;
