//! The registry of published code finds the [`CodeMemory`] of an address. The process has one,
//! because a signal handler knows only an address.
#![allow(unsafe_code)]

use crate::CodeMemory;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{Ordering, compiler_fence};
use std::sync::{Arc, RwLock, RwLockReadGuard, Weak};

/// The key is the address after the last byte.
static REGISTRY: RwLock<BTreeMap<usize, Entry>> = RwLock::new(BTreeMap::new());

thread_local! {
    /// Whether this thread holds the lock. A fault at that time is not compiled code's, and the
    /// handler must not wait for its own thread.
    static HOLDS_LOCK: Cell<bool> = const { Cell::new(false) };
}

struct Entry {
    start: usize,
    /// Weak, so that the registration does not keep the code alive. When the last strong reference
    /// is dropped, it removes the entry before the memory is unmapped.
    memory: Weak<CodeMemory>,
}

struct Holding;

impl Holding {
    fn new() -> Holding {
        HOLDS_LOCK.set(true);
        // A signal handler on this thread finds it set as long as the thread holds the lock.
        compiler_fence(Ordering::SeqCst);
        Holding
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
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

/// The published code that contains the address `pc`.
pub fn lookup_code(pc: usize) -> Option<Arc<CodeMemory>> {
    let _holding = Holding::new();
    let registry = REGISTRY.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    find(&registry, pc)?.memory.upgrade()
}

/// Calls `look` with the code that contains `pc`. It is for the signal handler: it allocates and
/// frees nothing, and returns `None` if this thread holds the registry's lock.
pub(crate) fn with_code<R>(pc: usize, look: impl FnOnce(&CodeMemory) -> R) -> Option<R> {
    if HOLDS_LOCK.get() {
        return None;
    }
    // A fault in `look` must not wait for this thread.
    let _holding = Holding::new();
    let registry = REGISTRY.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let entry = find(&registry, pc)?;
    // SAFETY: while the read lock is held, the entry's memory cannot be dropped, because its `drop`
    // first takes the write lock.
    Some(look(unsafe { &*entry.memory.as_ptr() }))
}
