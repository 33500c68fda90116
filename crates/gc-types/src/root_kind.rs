//! [`RootKind`]: what a root's slot is part of, and so who writes it and when.

use std::fmt;

/// What a root's slot is part of. A slot is registered with the heap's half of a collector
/// under its kind, and emitted code says the same kind to the other half's write barrier:
/// both may rely on what stands here of who writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootKind {
    /// A frame of compiled code, which writes it without a barrier.
    Stack,
    /// A handle of the host's.
    Handle,
    /// A global that is written again and again.
    Global,
    /// A global that is written once, before it is registered.
    Constant,
    /// An element of a table. There may be millions of them.
    Table,
    /// An element of a segment that tables are filled from: written once, before it is
    /// registered.
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
            RootKind::Segment => "segment",
        })
    }
}
