//! [`RootKind`]: the kind of a root. It says who writes the root's slot, and when.

use std::fmt;

/// What a root's slot is part of. A slot is registered with the heap's half of a collector under
/// its kind, and emitted code says the same kind to the other half's write barrier: both may rely
/// on what this documentation says about the writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootKind {
    /// A frame of compiled code, which writes the slot without a barrier.
    Stack,
    /// A handle of the host's.
    Handle,
    /// A mutable global.
    Global,
    /// A global that is written once, before it is registered.
    Constant,
    /// An element of a table. There may be millions of them.
    Table,
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
            RootKind::Segment => "segment",
        })
    }
}
