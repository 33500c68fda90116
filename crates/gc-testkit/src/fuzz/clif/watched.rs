//! A cache of compiled functions that is watched: who asks for which keys, and what it returns.

use anyhow::{Result, anyhow, ensure};
use gc_compiler::cache::{CacheStore, FolderCache, MemoryCache};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is behind a watched cache.
#[derive(Debug)]
enum Inner {
    Memory(MemoryCache),
    Folder(FolderCache),
}

/// How a cache damages what it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// A bit is another one. Its number is this one, modulo the number of bits.
    Bit(usize),
    /// Bytes are missing at the end: this many, modulo the number of bytes.
    Cut(usize),
    /// It is the entry of another key.
    Other,
}

/// A cache of several compilers.
#[derive(Debug)]
pub(super) struct Watched {
    inner: Inner,
    /// The most bytes of all entries.
    limit: usize,
    damage: Option<Damage>,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// The last entry of each key.
    inserted: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The number of insertions.
    insertions: usize,
    /// The numbers of the compilers that asked for each key.
    asked: BTreeMap<Vec<u8>, BTreeSet<usize>>,
    /// The first thing that the cache did wrong.
    fault: Option<String>,
}

/// A watched cache as one compiler sees it.
#[derive(Debug)]
struct View {
    watched: Arc<Watched>,
    compiler: usize,
}

/// The room of a cache that forgets nothing.
const ROOM: usize = 1 << 20;

impl Watched {
    /// A cache. The byte says where its entries are, how many it keeps, and whether it damages them.
    ///
    /// # Errors
    /// If there is no temporary folder.
    pub(super) fn new(byte: u8) -> Result<Arc<Watched>> {
        let (kind, more) = (byte % 16, usize::from(byte / 16));
        let few = (more + 1) << 10;
        let (limit, damage) = match kind {
            8..=10 => (few, None),
            11 => (ROOM, Some(Damage::Bit(more * 997))),
            12 => (ROOM, Some(Damage::Cut(more))),
            13 => (ROOM, Some(Damage::Other)),
            15 if more % 2 == 1 => (few, None),
            _ => (ROOM, None),
        };
        let inner = match kind {
            15 => Inner::Folder(folder()?.with_limit(limit as u64)),
            _ => Inner::Memory(MemoryCache::new(limit)),
        };
        Ok(Arc::new(Watched { inner, limit, damage, seen: Mutex::default() }))
    }

    /// The cache for the compiler with this number.
    pub(super) fn view(self: &Arc<Watched>, compiler: usize) -> Arc<dyn CacheStore> {
        Arc::new(View { watched: self.clone(), compiler })
    }

    fn store(&self) -> &dyn CacheStore {
        match &self.inner {
            Inner::Memory(cache) => cache,
            Inner::Folder(cache) => cache,
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything that was inserted is found, as it was.
    pub(super) fn keeps_all(&self) -> bool {
        self.limit == ROOM && self.damage.is_none()
    }

    /// How many entries were inserted.
    pub(super) fn insertions(&self) -> usize {
        self.seen().insertions
    }

    /// How many keys both of the first two compilers asked for, and how many keys there were.
    pub(super) fn shared(&self) -> (usize, usize) {
        let seen = self.seen();
        let shared = seen.asked.values().filter(|compilers| compilers.len() > 1).count();
        (shared, seen.asked.len())
    }

    /// Checks that the cache did what it must do, and that it keeps its limit.
    ///
    /// # Errors
    /// What it did wrong.
    pub(super) fn check(&self) -> Result<()> {
        let seen = self.seen();
        if let Some(fault) = &seen.fault {
            return Err(anyhow!("{fault}"));
        }
        let trimmed = match &self.inner {
            Inner::Memory(_) => None,
            // It may have a little more until it is trimmed.
            Inner::Folder(folder) => Some(folder.trim(self.limit as u64)?),
        };
        let (mut kept, mut bytes) = (0, 0);
        for key in seen.inserted.keys() {
            if let Some(value) = self.store().get(key) {
                kept += 1;
                bytes += value.len() + if trimmed.is_none() { key.len() } else { 0 };
            }
        }
        ensure!(bytes <= self.limit, "a cache of at most {} bytes has {bytes}", self.limit);
        ensure!(trimmed.is_none_or(|left| left == bytes as u64), "{trimmed:?} is not {bytes}");
        if let Inner::Memory(cache) = &self.inner {
            ensure!(cache.len() == kept, "{} entries, but {kept} are found", cache.len());
        }
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Inner::Folder(cache) = &self.inner {
            // It is only a temporary folder.
            let _ = fs::remove_dir_all(cache.folder());
        }
    }
}

/// A cache in a temporary folder that nobody else has.
fn folder() -> Result<FolderCache> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("reclaim-icache-{}-{number}", std::process::id());
    FolderCache::new(std::env::temp_dir().join(name))
}

impl CacheStore for View {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let found = self.watched.store().get(key);
        let mut seen = self.watched.seen();
        seen.asked.entry(key.to_vec()).or_default().insert(self.compiler);
        let last = seen.inserted.get(key).map(Vec::as_slice);
        let other = found.is_some() && found.as_deref() != last;
        let forgotten = found.is_none() && last.is_some() && self.watched.limit == ROOM;
        if other {
            seen.fault.get_or_insert("a cache returns what was not inserted last".into());
        }
        if forgotten {
            seen.fault.get_or_insert("a cache with enough room forgets an entry".into());
        }
        let mut found = found?.into_owned();
        match self.watched.damage {
            None => {}
            Some(Damage::Bit(bit)) if !found.is_empty() => {
                let bit = bit % (found.len() * 8);
                found[bit / 8] ^= 1 << (bit % 8);
            }
            Some(Damage::Cut(bytes)) => found.truncate(found.len().saturating_sub(bytes + 1)),
            Some(Damage::Other) => {
                let mut others = seen.inserted.iter().rev();
                found = others.find(|(other, _)| *other != key)?.1.clone();
            }
            Some(Damage::Bit(_)) => {}
        }
        Some(Cow::Owned(found))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut seen = self.watched.seen();
        let inserted = self.watched.store().insert(key, value.clone());
        if !inserted && key.len() + value.len() <= self.watched.limit {
            seen.fault.get_or_insert("a cache does not keep an entry for which it has room".into());
        }
        if inserted {
            seen.insertions += 1;
            seen.inserted.insert(key.to_vec(), value);
        }
        inserted
    }
}
