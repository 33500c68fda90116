//! [`FolderCache`]: compiled functions in the files of a folder.

use super::CacheStore;
use anyhow::{Context as _, Result};
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File};
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
/// The folder has a [limit](FolderCache::with_limit). Files may be deleted at any time. The names of the
/// cache's own files end with `.reclaim`. Everything else in the folder is left alone, and does not
/// count.
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

/// The end of the names of all files.
const SUFFIX: &str = ".reclaim";

/// The beginning of the names of temporary files. The id of the process and a number follow.
const TEMPORARY: &str = "new-";

/// The longest key that has a file, in bytes.
const LONGEST_KEY: usize = 100;

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
    /// over. So may files that cannot be deleted, which are logged.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn trim(&self, bytes: u64) -> Result<u64> {
        let trimmed = self.trim_to(bytes);
        trimmed.with_context(|| format!("trimming the cache in {}", self.folder.display()))
    }

    fn trim_to(&self, bytes: u64) -> io::Result<u64> {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let file = file?;
            let Some(kind) = FileKind::of(&file.file_name()) else { continue };
            // Another process may delete it now.
            let Ok(metadata) = file.metadata() else { continue };
            let Ok(used) = metadata.modified() else { continue };
            // A folder or a link with such a name is not one of the cache's files.
            if !metadata.is_file() {
                continue;
            }
            let age = now.duration_since(used).unwrap_or_default();
            match kind {
                FileKind::Entry => entries.push((used, metadata.len(), file.path())),
                FileKind::Temporary if age > ABANDONED => _ = is_removed(&file.path()),
                FileKind::Temporary => {}
            }
        }
        Ok(delete_oldest(entries, bytes, is_removed))
    }

    /// The file of a key. Long keys, which this crate does not have, have none.
    fn path_of(&self, key: &[u8]) -> Option<PathBuf> {
        let name: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        (1..=LONGEST_KEY).contains(&key.len()).then(|| self.folder.join(name + SUFFIX))
    }

    fn write(&self, path: &Path, value: &[u8]) -> io::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY}{}-{number}{SUFFIX}", process::id());
        let temporary = self.folder.join(name);
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
            // If the folder cannot be read, the next one tries again.
            let _ = self.trim(self.limit);
        }
        written
    }
}

/// The kind of a file of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileKind {
    Entry,
    Temporary,
}

impl FileKind {
    /// The kind of a file with this name. `None` if it is the name of somebody else's file.
    fn of(name: &OsStr) -> Option<FileKind> {
        let name = name.to_str()?.strip_suffix(SUFFIX)?;
        let is_number =
            |text: &str| text.parse::<u64>().is_ok_and(|number| number.to_string() == text);
        if let Some(numbers) = name.strip_prefix(TEMPORARY) {
            let (process, number) = numbers.split_once('-')?;
            return (is_number(process) && is_number(number)).then_some(FileKind::Temporary);
        }
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_key = name.len().is_multiple_of(2)
            && (1..=LONGEST_KEY).contains(&(name.len() / 2))
            && name.bytes().all(is_digit);
        is_key.then_some(FileKind::Entry)
    }
}

/// Deletes the entries with the smallest times, until the others have at most `bytes`. Returns how many
/// they have. An entry that is not deleted counts, and the next one is deleted in its place.
fn delete_oldest(
    mut entries: Vec<(SystemTime, u64, PathBuf)>,
    bytes: u64,
    mut is_deleted: impl FnMut(&Path) -> bool,
) -> u64 {
    let mut left = entries.iter().map(|(_, size, _)| size).sum();
    entries.sort();
    for (_, size, path) in entries {
        if left <= bytes {
            break;
        }
        if is_deleted(&path) {
            left -= size;
        }
    }
    left
}

/// Deletes a file, unless somebody else did. Returns whether it is gone.
fn is_removed(path: &Path) -> bool {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("{} of a cache was not deleted: {error}", path.display());
            false
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_others_are_left_alone() {
        let folder = std::env::temp_dir().join(format!("reclaim-folder-{}", process::id()));
        let cache = FolderCache::new(&folder).unwrap();
        let old = SystemTime::now() - Duration::from_secs(7200);
        let write = |name: &str| {
            let path = folder.join(name);
            fs::write(&path, "four").unwrap();
            File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
        };
        let others = [
            "2026",
            "cafe",
            "letter.txt",
            "new-letter.txt",
            "new-2026-11",
            "new-2026-11-22.reclaim",
            "new-+1-2.reclaim",
            "abc.reclaim",
            "CAFE.reclaim",
            ".reclaim",
        ];
        others.into_iter().for_each(write);
        write("new-2026-11.reclaim");
        // Folders may have any name.
        let folders = ["beef.reclaim", "new-1-2.reclaim", "dead"];
        folders.iter().for_each(|name| fs::create_dir(folder.join(name)).unwrap());
        for key in [&[1_u8; 32][..], b"key", &[2; LONGEST_KEY]] {
            assert!(cache.insert(key, vec![0; 100]));
        }
        assert_eq!(cache.trim(200).unwrap(), 200);
        assert_eq!(cache.trim(0).unwrap(), 0);
        let mut left: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let mut expected: Vec<_> = others.into_iter().chain(folders).collect();
        expected.sort();
        assert_eq!(left, expected);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn an_entry_that_cannot_be_deleted_does_not_stop_the_others() {
        let entry = |n: u64| {
            (SystemTime::UNIX_EPOCH + Duration::from_secs(n), 10, PathBuf::from(n.to_string()))
        };
        let (mut tried, first) = (Vec::new(), PathBuf::from("1"));
        let left = delete_oldest([3, 1, 4, 2].map(entry).into(), 25, |path| {
            tried.push(path.to_owned());
            path != first
        });
        assert_eq!((left, tried), (20, ["1", "2", "3"].map(PathBuf::from).into()));
    }
}
