//! [`EntryStatus`]: the status with which a call into compiled code ended.

/// The results of an entry trampoline. Any other result is the code of the [`Trap`](crate::Trap)
/// with which the call ended.
#[derive(Clone, Copy, Debug)]
pub struct EntryStatus;

impl EntryStatus {
    /// The callee returned.
    pub const OK: u64 = 0;
    /// A host function failed. The store has the error.
    pub const HOST: u64 = 1 << 8;
}
