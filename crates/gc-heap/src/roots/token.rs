//! [`Token`]: what a handle of the host shares with its clones. When the last clone is dropped, on
//! any thread, its place is recorded for the table that issued it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Identifies a table, so that a handle of one table is not used with another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TableId(u64);

impl TableId {
    pub(crate) fn next() -> TableId {
        // Only a counter can distinguish the handles of a dropped table from those of a new table.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        TableId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The places whose last token was dropped.
type Dropped = Arc<Mutex<Vec<u32>>>;

fn lock(dropped: &Dropped) -> MutexGuard<'_, Vec<u32>> {
    dropped.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names a place in a table. Clones are the same token.
#[derive(Clone, Debug)]
pub(crate) struct Token(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    table: TableId,
    place: u32,
    dropped: Dropped,
}

impl Drop for Shared {
    fn drop(&mut self) {
        lock(&self.dropped).push(self.place);
    }
}

impl Token {
    /// The place, if the token is one of `table`.
    pub(crate) fn place_in(&self, table: TableId) -> Option<u32> {
        (self.0.table == table).then_some(self.0.place)
    }

    /// The place, in whatever table.
    pub(crate) fn place(&self) -> u32 {
        self.0.place
    }
}

/// Issues tokens of one table and learns which were dropped.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    /// Made with the first token.
    dropped: Option<Dropped>,
}

impl Tokens {
    /// A token for `place` of `table`.
    pub(crate) fn issue(&mut self, table: TableId, place: u32) -> Token {
        let dropped = self.dropped.get_or_insert_default().clone();
        Token(Arc::new(Shared { table, place, dropped }))
    }

    /// The places whose last token was dropped since the last call.
    pub(crate) fn take_dropped(&mut self) -> Vec<u32> {
        self.dropped.as_ref().map_or_else(Vec::new, |dropped| std::mem::take(&mut *lock(dropped)))
    }
}
