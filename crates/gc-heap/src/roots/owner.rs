//! [`RootOwner`]: the owner of a root, for messages.

use gc_types::RootKind;
use std::fmt;

/// The kind of place that contains a root's slot.
///
/// The numbers of globals, tables and segments are those with which the embedder registered them.
/// It is displayed as text, for example "element 5 of table 2".
///
/// # Examples
/// ```
/// use gc_heap::RootOwner;
/// use gc_types::RootKind;
///
/// let owner = RootOwner::Table { number: 2, element: 5 };
/// assert_eq!(owner.to_string(), "element 5 of table 2");
/// assert_eq!(owner.kind(), RootKind::Table);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootOwner {
    /// A frame of compiled code.
    Frame {
        /// The slot's address. The stack walker can name the function of the frame
        /// ([`TraceRoots::frame_of`](crate::TraceRoots::frame_of)).
        slot: usize,
    },
    /// A handle of the host, by its place in the handle table.
    Handle {
        /// The place among the handles of its kind.
        index: u32,
        /// Whether it is an owned handle. Otherwise it is a scoped handle.
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
        /// The element's index.
        element: u32,
    },
    /// A table that stays where it is.
    FixedTable {
        /// Its number.
        number: u32,
        /// The element's index.
        element: u32,
    },
    /// An element segment.
    Segment {
        /// Its number.
        number: u32,
        /// The element's index.
        element: u32,
    },
}

impl RootOwner {
    /// The owner of slot `element` of the slots that were registered together with `number`.
    pub(super) fn registered(kind: RootKind, number: u32, element: u32) -> RootOwner {
        let nth = number.wrapping_add(element);
        match kind {
            RootKind::Table => RootOwner::Table { number, element },
            RootKind::FixedTable => RootOwner::FixedTable { number, element },
            RootKind::Segment => RootOwner::Segment { number, element },
            RootKind::Global => RootOwner::Global { number: nth },
            RootKind::Constant => RootOwner::Constant { number: nth },
            _ => RootOwner::HostSlot { number: nth },
        }
    }

    /// The kind of its roots.
    pub fn kind(&self) -> RootKind {
        match self {
            RootOwner::Frame { .. } => RootKind::Stack,
            RootOwner::Handle { .. } | RootOwner::HostSlot { .. } => RootKind::Handle,
            RootOwner::Global { .. } => RootKind::Global,
            RootOwner::Constant { .. } => RootKind::Constant,
            RootOwner::Table { .. } => RootKind::Table,
            RootOwner::FixedTable { .. } => RootKind::FixedTable,
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
            RootOwner::Table { number, element } | RootOwner::FixedTable { number, element } => {
                write!(f, "element {element} of table {number}")
            }
            RootOwner::Segment { number, element } => {
                write!(f, "element {element} of segment {number}")
            }
        }
    }
}
