//! [`FolderCache`]: compiled functions in the files of a folder.

use super::CacheStore;
use anyhow::{Context as _, Result};
use std::borrow::Cow;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A [`CacheStore`] in a folder. Processes may use one folder at the same time: an entry is written to
/// a file with another name, which is then renamed.
///
/// **The folder is trusted.** It has machine code, which is executed. Somebody who can write to it
/// can do anything in a process that uses it. A folder that does not exist is made so that only its
/// owner can use it.
///
/// The folder has a [limit](FolderCache::with_limit). Files may be deleted at any time.
///
/// # Examples
/// ```
/// use gc_compiler::cache::{CacheStore, FolderCache};
///
/// # let folder = std::env::temp_dir().join(format!("reclaim-doc-{}", std::process::id()));
/// let cache = FolderCache::new(&folder)?;
/// assert!(cache.insert(b"key", vec![1, 2, 3]));
/// assert_eq!(cache.get(b"key").as_deref(), Some(&[1, 2, 3][..]));
///
/// assert_eq!(cache.trim(2)?, 0, "the bytes that are left");
/// assert!(cache.get(b"key").is_none());
/// # std::fs::remove_dir_all(&folder)?;
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
pub struct FolderCache {
    folder: PathBuf,
    /// How many bytes the entries should have at most.
    limit: u64,
    /// Numbers the temporary files of this process.
    next: AtomicU64,
}

/// The beginning of the names of temporary files.
const TEMPORARY: &str = "new-";

/// Temporary files that are older than this belong to processes that ended.
const ABANDONED: Duration = Duration::from_secs(3600);

/// An entry that is used counts as new, if its file is older than this. Most uses need no write.
const REFRESHED: Duration = Duration::from_secs(24 * 3600);

impl FolderCache {
    /// Uses a folder, and makes it if it does not exist.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(folder: impl Into<PathBuf>) -> Result<FolderCache> {
        let folder = folder.into();
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let made = builder.recursive(true).create(&folder);
        made.with_context(|| format!("making the folder {} for a cache", folder.display()))?;
        // Other processes may have begun with the same number, if one has this one's id.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let next = AtomicU64::new(now.as_nanos() as u64);
        Ok(FolderCache { folder, limit: FolderCache::LIMIT, next })
    }

    /// The default limit: 512 MiB.
    pub const LIMIT: u64 = 512 << 20;

    /// Sets how many bytes the entries should have at most (default: [`FolderCache::LIMIT`]). The
    /// folder is [trimmed](FolderCache::trim) about once for each sixteenth of the limit that is
    /// written, by any process, so entries may have a little more.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> FolderCache {
        self.limit = bytes;
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Deletes the entries that were not used for the longest time, until the others have at most
    /// `bytes`. Returns how many they have. What other processes write at the same time may be left
    /// over.
    ///
    /// # Errors
    /// If the folder cannot be read, or a file of it cannot be deleted.
    pub fn trim(&self, bytes: u64) -> Result<u64> {
        let trimmed = self.trim_to(bytes);
        trimmed.with_context(|| format!("trimming the cache in {}", self.folder.display()))
    }

    fn trim_to(&self, bytes: u64) -> io::Result<u64> {
        let now = SystemTime::now();
        let (mut entries, mut left) = (Vec::new(), 0);
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            // Another process may delete it now.
            let Ok(metadata) = file.metadata() else { continue };
            let Ok(used) = metadata.modified() else { continue };
            let age = now.duration_since(used).unwrap_or_default();
            match kind_of(&file) {
                FileKind::Entry => {
                    left += metadata.len();
                    entries.push((used, metadata.len(), file.path()));
                }
                FileKind::Temporary if age > ABANDONED => remove(&file.path())?,
                FileKind::Temporary | FileKind::Other => {}
            }
        }
        entries.sort();
        for (_, size, path) in entries {
            if left <= bytes {
                break;
            }
            remove(&path)?;
            left -= size;
        }
        Ok(left)
    }

    /// The file of a key. Long keys, which this crate does not have, have none.
    fn path_of(&self, key: &[u8]) -> Option<PathBuf> {
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        (1..=100).contains(&key.len()).then(|| self.folder.join(name))
    }

    fn write(&self, path: &Path, value: &[u8]) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!("{TEMPORARY}{}-{number}", process::id()));
        let written = fs::write(&temporary, value).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // There may be no file, for example if the folder was deleted.
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

impl CacheStore for FolderCache {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let path = self.path_of(key)?;
        let value = fs::read(&path).ok()?;
        let now = SystemTime::now();
        let used = fs::metadata(&path).and_then(|metadata| metadata.modified());
        let old = |used| now.duration_since(used).is_ok_and(|age| age > REFRESHED);
        if used.is_ok_and(old) {
            // If it cannot be written, it only counts as older than it is.
            let _ =
                File::options().append(true).open(&path).and_then(|file| file.set_modified(now));
        }
        Some(Cow::Owned(value))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let written = self.path_of(key).is_some_and(|path| self.write(&path, &value).is_ok());
        // No process knows how much the others have written. So chance decides, with a probability
        // that is proportional to what is written. Keys are hashes, and their bytes are random.
        let random = key.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte));
        if written && random % (self.limit / 16).max(1) < value.len() as u64 {
            // If a file cannot be deleted, the next one tries again.
            let _ = self.trim(self.limit);
        }
        written
    }
}

enum FileKind {
    Entry,
    Temporary,
    /// A file of somebody else, which is left alone.
    Other,
}

fn kind_of(file: &DirEntry) -> FileKind {
    let name = file.file_name();
    let is_hexadecimal = |name: &str| name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match name.to_str() {
        Some(name) if name.starts_with(TEMPORARY) => FileKind::Temporary,
        Some(name) if is_hexadecimal(name) => FileKind::Entry,
        _ => FileKind::Other,
    }
}

/// Deletes a file, unless somebody else did.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
