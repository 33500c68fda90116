//! The registry of published code: which [`CodeMemory`] an address belongs to. One
//! for the process, because a signal handler has nothing but an address to start
//! from.
#![allow(unsafe_code)]

use crate::CodeMemory;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, RwLock, RwLockReadGuard, Weak};

/// By the address behind the last byte.
static REGISTRY: RwLock<BTreeMap<usize, Entry>> = RwLock::new(BTreeMap::new());

thread_local! {
    /// Whether this thread holds the lock: a fault meanwhile is not compiled code's,
    /// and the handler must not wait for itself.
    static HOLDS_LOCK: Cell<bool> = const { Cell::new(false) };
}

struct Entry {
    start: usize,
    /// Weak, so that registration does not keep code alive. The last strong
    /// reference's drop removes the entry before the memory goes.
    memory: Weak<CodeMemory>,
}

struct Holding;

impl Holding {
    fn new() -> Holding {
        HOLDS_LOCK.set(true);
        Holding
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        HOLDS_LOCK.set(false);
    }
}

fn range(memory: &CodeMemory) -> (usize, usize) {
    let start = memory.base().addr();
    (start, start + memory.image().code().len())
}

pub(crate) fn register(memory: &Arc<CodeMemory>) {
    let (start, end) = range(memory);
    let _holding = Holding::new();
    let mut registry = REGISTRY.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    registry.insert(end, Entry { start, memory: Arc::downgrade(memory) });
}

pub(crate) fn unregister(memory: &CodeMemory) {
    let (_, end) = range(memory);
    let _holding = Holding::new();
    let mut registry = REGISTRY.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    registry.remove(&end);
}

fn find<'a>(
    registry: &'a RwLockReadGuard<'_, BTreeMap<usize, Entry>>,
    pc: usize,
) -> Option<&'a Entry> {
    let (_, entry) = registry.range(pc.checked_add(1)?..).next()?;
    (entry.start <= pc).then_some(entry)
}

/// The published code that the address `pc` is in.
pub fn lookup_code(pc: usize) -> Option<Arc<CodeMemory>> {
    let _holding = Holding::new();
    let registry = REGISTRY.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    find(&registry, pc)?.memory.upgrade()
}

/// Calls `look` with the code that `pc` is in. For the signal handler: allocates and
/// frees nothing, and gives up if this thread is inside the registry itself.
pub(crate) fn with_code<R>(pc: usize, look: impl FnOnce(&CodeMemory) -> R) -> Option<R> {
    if HOLDS_LOCK.get() {
        return None;
    }
    let registry = REGISTRY.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let entry = find(&registry, pc)?;
    // SAFETY: while the read lock is held the entry's memory cannot finish its drop,
    // whose first act is to take the write lock.
    Some(look(unsafe { &*entry.memory.as_ptr() }))
}
