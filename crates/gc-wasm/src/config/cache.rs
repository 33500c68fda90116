//! Caches of compiled code: of whole modules ([`Cache`]) and of functions
//! ([`Config::enable_incremental_compilation`]).

use super::Config;
use anyhow::{Context as _, Result, ensure};
use gc_compiler::cache::{CacheStore as _, FolderCache};
use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The settings of a [`Cache`].
///
/// # Examples
/// ```
/// use gc_wasm::{Cache, CacheConfig, Config, Engine, Module};
///
/// # let folder = std::env::temp_dir().join(format!("reclaim-modules-{}", std::process::id()));
/// let mut config = CacheConfig::new();
/// config.with_directory(&folder);
/// let cache = Cache::new(config)?;
/// for (hits, misses) in [(0, 1), (1, 1)] {
///     let engine = Engine::new(Config::new().cache(Some(cache.clone())))?;
///     Module::new(&engine, r#"(module (func (export "f")))"#)?;
///     assert_eq!((cache.cache_hits(), cache.cache_misses()), (hits, misses));
/// }
/// # std::fs::remove_dir_all(&folder)?;
/// # gc_wasm::error::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct CacheConfig {
    directory: Option<PathBuf>,
    files_total_size_soft_limit: u64,
}

impl Default for CacheConfig {
    fn default() -> CacheConfig {
        CacheConfig::new()
    }
}

impl CacheConfig {
    /// The default settings.
    pub fn new() -> CacheConfig {
        CacheConfig { directory: None, files_total_size_soft_limit: 512 << 20 }
    }

    /// The folder, if one is set.
    pub fn directory(&self) -> Option<&PathBuf> {
        self.directory.as_ref()
    }

    /// Sets the folder (default: `reclaim/modules` in the user's folder for caches). It must be an
    /// absolute path. It is made if it does not exist.
    ///
    /// The folder is trusted, because it has machine code that is executed. Somebody who can write
    /// to it can do anything in this process, as with [`Module::deserialize`](crate::Module::deserialize).
    pub fn with_directory(&mut self, directory: impl Into<PathBuf>) -> &mut CacheConfig {
        self.directory = Some(directory.into());
        self
    }

    #[cfg(test)]
    pub(super) fn limit(&self) -> u64 {
        self.files_total_size_soft_limit
    }

    /// Sets how many bytes the files of the folder should have at most (default: 512 MiB). If they
    /// have more after a module was added, those that were not used for the longest time are deleted.
    /// Files that are not the cache's own do not count, and are left alone.
    pub fn with_files_total_size_soft_limit(&mut self, limit: u64) -> &mut CacheConfig {
        self.files_total_size_soft_limit = limit;
        self
    }
}

/// A folder with compiled modules, for [`Config::cache`]. Clones are the same cache, and count
/// together. Processes may use one folder at the same time.
#[derive(Clone, Debug)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: FolderCache,
    limit: u64,
    hits: AtomicUsize,
    misses: AtomicUsize,
}

impl Cache {
    /// Makes a cache with these settings.
    ///
    /// # Errors
    /// If the folder is not an absolute path or cannot be made, or if none is set and the
    /// environment does not name the user's folder for caches.
    pub fn new(config: CacheConfig) -> Result<Cache> {
        let directory = config.directory.or_else(default_directory);
        let directory =
            directory.context("no folder is set for the cache, and there is no default")?;
        ensure!(
            directory.is_absolute(),
            "the folder of a cache must be an absolute path, not {}",
            directory.display()
        );
        Ok(Cache(Arc::new(Inner {
            folder: FolderCache::new(directory)?,
            limit: config.files_total_size_soft_limit,
            hits: AtomicUsize::new(0),
            misses: AtomicUsize::new(0),
        })))
    }

    /// The folder.
    pub fn directory(&self) -> &Path {
        self.0.folder.folder()
    }

    /// The number of modules that were found.
    pub fn cache_hits(&self) -> usize {
        self.0.hits.load(Ordering::Relaxed)
    }

    /// The number of modules that were compiled because they were not found.
    pub fn cache_misses(&self) -> usize {
        self.0.misses.load(Ordering::Relaxed)
    }

    /// The bytes of a module, or what `load` makes of them. An entry that `load` refuses counts as
    /// not found.
    pub(crate) fn find<T>(&self, key: &[u8], load: impl FnOnce(&[u8]) -> Result<T>) -> Option<T> {
        let found = self.0.folder.get(key).and_then(|bytes| {
            let refused = |error: &_| log::warn!("a module in the cache cannot be used: {error:#}");
            load(&bytes).inspect_err(refused).ok()
        });
        let count = if found.is_some() { &self.0.hits } else { &self.0.misses };
        count.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Keeps the bytes of a module. If that fails, the module is compiled again the next time.
    pub(crate) fn keep(&self, key: &[u8], bytes: Vec<u8>) {
        let Inner { folder, limit, .. } = &*self.0;
        if !folder.insert(key, bytes) {
            log::warn!("cannot write to the cache in {}", folder.folder().display());
        }
        if let Err(error) = folder.trim(*limit) {
            log::warn!("{error:#}");
        }
    }
}

/// The folder for compiled modules in the user's folder for caches.
fn default_directory() -> Option<PathBuf> {
    Some(user_directory("XDG_CACHE_HOME", ".cache")?.join("modules"))
}

/// This project's folder in one of the user's folders: that which a variable names, or else one with a
/// name in the home folder (XDG Base Directory Specification).
pub(super) fn user_directory(variable: &str, name: &str) -> Option<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = set(variable).or_else(|| Some(set("HOME")?.join(name)))?;
    Some(folder.join("reclaim"))
}

impl Config {
    /// Sets a cache of compiled modules (default: none). [`Module::new`](crate::Module::new) then
    /// loads a module that was compiled before, with the same settings, from the folder of the cache.
    ///
    /// Such a module was saved, and its code reads types from a table, as that of
    /// [`Module::deserialize`](crate::Module::deserialize) does. It can be a few percent slower than
    /// code that is compiled for this engine. For that there is
    /// [`enable_incremental_compilation`](Config::enable_incremental_compilation).
    pub fn cache(&mut self, cache: Option<Cache>) -> &mut Config {
        self.code.cache = cache;
        self
    }

    /// Keeps compiled functions in `cache_store`. A module of which most functions were compiled
    /// before, with the same settings, is then compiled in less time. Its code is the same, byte for
    /// byte. [`FolderCache`] and [`MemoryCache`](crate::MemoryCache) are ready to use.
    ///
    /// What the store returns is trusted, because it is machine code that is executed: see
    /// [`CacheStore`](crate::CacheStore).
    ///
    /// # Errors
    /// Never.
    ///
    /// # Examples
    /// ```
    /// use gc_wasm::{Config, Engine, MemoryCache, Module};
    /// use std::sync::Arc;
    ///
    /// let cache = Arc::new(MemoryCache::new(64 << 20));
    /// let engine = Engine::new(Config::new().enable_incremental_compilation(cache.clone())?)?;
    /// let small = r#"(module (func (export "f")))"#;
    /// let large = r#"(module (func (export "f")) (func (export "g") (call 0)))"#;
    /// Module::new(&engine, small)?;
    /// let before = cache.len();
    /// // Only the second function is compiled.
    /// Module::new(&engine, large)?;
    /// assert_eq!(cache.len(), before + 1);
    /// # gc_wasm::error::Ok(())
    /// ```
    pub fn enable_incremental_compilation(
        &mut self,
        cache_store: Arc<dyn gc_compiler::cache::CacheStore>,
    ) -> Result<&mut Config> {
        self.code.cache_store = Some(cache_store);
        Ok(self)
    }
}
