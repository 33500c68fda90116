//! [`EntryStatus`]: how a call from the host into compiled code ended.

/// What an entry trampoline returns. Anything else is the code of the
/// [`Trap`](crate::Trap) the call ended with.
#[derive(Clone, Copy, Debug)]
pub struct EntryStatus;

impl EntryStatus {
    /// The callee returned.
    pub const OK: u64 = 0;
    /// A host function failed; the store knows why.
    pub const HOST: u64 = 1 << 8;
}
