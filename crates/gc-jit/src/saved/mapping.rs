//! [`FileMapping`]: a private mapping of a file.
#![allow(unsafe_code)]

use anyhow::{Context as _, Result, ensure};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::fs::File;

/// A private, readable mapping of a whole file. When its code is published, some pages become
/// executable, and a few are written before anything reads them.
#[derive(Debug)]
pub(crate) struct FileMapping {
    base: *mut u8,
    len: usize,
}

// SAFETY: only this value owns the mapping, which is not bound to a thread. It is written only
// during publication, before it is shared.
unsafe impl Send for FileMapping {}
// SAFETY: as above.
unsafe impl Sync for FileMapping {}

impl FileMapping {
    /// Maps `file`.
    ///
    /// # Safety
    /// The file must not change while the mapping exists.
    pub(super) unsafe fn new(file: &File) -> Result<FileMapping> {
        let metadata = file.metadata()?;
        ensure!(metadata.is_file(), "not a regular file");
        let len = usize::try_from(metadata.len())?;
        ensure!(len > 0, "an empty file");
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping, at an address that the system chooses.
        let base = unsafe { mmap(null, len, ProtFlags::READ, MapFlags::PRIVATE, file, 0) };
        Ok(FileMapping { base: base.context("cannot map it")?.cast(), len })
    }

    /// The address of the first byte.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base
    }
}

impl AsRef<[u8]> for FileMapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is readable and has this length, and the file does not change.
        unsafe { std::slice::from_raw_parts(self.base, self.len) }
    }
}

impl Drop for FileMapping {
    fn drop(&mut self) {
        // SAFETY: only this value owns the mapping, and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.base.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}
