//! [`RootOwner`]: what a root belongs to, for whoever tells a person about it.

use gc_types::RootKind;
use std::fmt;

/// What a root's slot is part of.
///
/// Numbers of globals, tables and segments are those that the embedder registered them
/// with. Shows as words: "element 5 of table 2".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootOwner {
    /// A frame of compiled code.
    Frame {
        /// The slot's address. Whoever walks the stack can name the function it is in
        /// ([`TraceRoots::frame_of`](crate::TraceRoots::frame_of)).
        slot: usize,
    },
    /// A handle of the host's, by its place in the handle table.
    Handle {
        /// The place among handles of its sort.
        index: u32,
        /// Whether it lives until it is dropped, rather than until a scope ends.
        owned: bool,
    },
    /// A slot that the embedder registered as a handle.
    HostSlot {
        /// Its number.
        number: u32,
    },
    /// A mutable global.
    Global {
        /// Its number.
        number: u32,
    },
    /// An immutable global.
    Constant {
        /// Its number.
        number: u32,
    },
    /// A table.
    Table {
        /// Its number.
        number: u32,
        /// Which of its elements.
        element: u32,
    },
    /// An element segment.
    Segment {
        /// Its number.
        number: u32,
        /// Which of its elements.
        element: u32,
    },
}

impl RootOwner {
    /// What slot `element` of those registered together under `number` is part of.
    pub(super) fn registered(kind: RootKind, number: u32, element: u32) -> RootOwner {
        let nth = number.wrapping_add(element);
        match kind {
            RootKind::Table => RootOwner::Table { number, element },
            RootKind::Segment => RootOwner::Segment { number, element },
            RootKind::Global => RootOwner::Global { number: nth },
            RootKind::Constant => RootOwner::Constant { number: nth },
            _ => RootOwner::HostSlot { number: nth },
        }
    }

    /// The kind of root that it has.
    pub fn kind(&self) -> RootKind {
        match self {
            RootOwner::Frame { .. } => RootKind::Stack,
            RootOwner::Handle { .. } | RootOwner::HostSlot { .. } => RootKind::Handle,
            RootOwner::Global { .. } => RootKind::Global,
            RootOwner::Constant { .. } => RootKind::Constant,
            RootOwner::Table { .. } => RootKind::Table,
            RootOwner::Segment { .. } => RootKind::Segment,
        }
    }
}

impl fmt::Display for RootOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RootOwner::Frame { .. } => f.write_str("stack slot"),
            RootOwner::Handle { index, owned: true } => write!(f, "owned handle {index}"),
            RootOwner::Handle { index, owned: false } => write!(f, "scoped handle {index}"),
            RootOwner::HostSlot { number } => write!(f, "handle {number}"),
            RootOwner::Global { number } => write!(f, "global {number}"),
            RootOwner::Constant { number } => write!(f, "constant global {number}"),
            RootOwner::Table { number, element } => {
                write!(f, "element {element} of table {number}")
            }
            RootOwner::Segment { number, element } => {
                write!(f, "element {element} of segment {number}")
            }
        }
    }
}
