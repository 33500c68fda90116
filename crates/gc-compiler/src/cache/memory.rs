//! [`MemoryCache`]: compiled functions in the memory of the process.

use super::CacheStore;
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard};

/// A [`CacheStore`] in memory. It is for processes that compile similar modules again and again. It
/// has a limit, and forgets the oldest entries when it is reached.
///
/// # Examples
/// ```
/// use gc_compiler::cache::{CacheStore, MemoryCache};
///
/// let cache = MemoryCache::new(100);
/// assert!(cache.insert(b"key", vec![1, 2, 3]));
/// assert_eq!(cache.get(b"key").as_deref(), Some(&[1, 2, 3][..]));
///
/// // There is not room for both.
/// assert!(cache.insert(b"other", vec![0; 95]));
/// assert!(cache.get(b"key").is_none() && cache.get(b"other").is_some());
/// // There is never room for this.
/// assert!(!cache.insert(b"large", vec![0; 100]));
/// ```
pub struct MemoryCache {
    entries: Mutex<Entries>,
    /// In bytes.
    limit: usize,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Box<[u8]>, Vec<u8>>,
    /// The keys, the oldest first.
    order: VecDeque<Box<[u8]>>,
    /// The bytes of keys and values.
    bytes: usize,
}

impl MemoryCache {
    /// Makes a cache of at most `limit` bytes of keys and values.
    pub fn new(limit: usize) -> MemoryCache {
        MemoryCache { entries: Mutex::default(), limit }
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.lock().by_key.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl CacheStore for MemoryCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.lock().by_key.get(key).cloned().map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let size = key.len() + value.len();
        if size > self.limit {
            return false;
        }
        let mut entries = self.lock();
        entries.bytes += size;
        match entries.by_key.insert(key.into(), value) {
            Some(old) => entries.bytes -= key.len() + old.len(),
            None => entries.order.push_back(key.into()),
        }
        while entries.bytes > self.limit
            && let Some(oldest) = entries.order.pop_front()
        {
            if let Some(value) = entries.by_key.remove(&oldest) {
                entries.bytes -= oldest.len() + value.len();
            }
        }
        true
    }
}

impl fmt::Debug for MemoryCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCache").field("entries", &self.len()).finish_non_exhaustive()
    }
}
