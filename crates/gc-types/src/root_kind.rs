//! [`RootKind`]: the kind of a root. It says who writes the root's slot, and when.

use std::fmt;

/// The kind of place that contains a root's slot. An embedder registers a slot with the heap under
/// its kind, and passes the same kind to the write barrier of emitted code. Both halves of a
/// collector may rely on the writes that are documented here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootKind {
    /// A frame of compiled code, which writes the slot without a barrier.
    Stack,
    /// A handle of the host.
    Handle,
    /// A mutable global.
    Global,
    /// A global that is written once, before it is registered.
    Constant,
    /// An element of a table. There may be millions of them.
    Table,
    /// An element of a table that stays where it is and is small, so every collection may visit it.
    FixedTable,
    /// An element of an element segment. It is written once, before it is registered.
    Segment,
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RootKind::Stack => "stack slot",
            RootKind::Handle => "handle",
            RootKind::Global => "global",
            RootKind::Constant => "constant",
            RootKind::Table => "table",
            RootKind::FixedTable => "fixed table",
            RootKind::Segment => "segment",
        })
    }
}
