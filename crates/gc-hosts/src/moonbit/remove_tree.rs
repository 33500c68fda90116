//! Removes a directory and everything in it, however deep it is: it does not recurse, so it needs no
//! stack that the program may have used up.

use crate::wait::Waiter;
use cap_fs_ext::DirExt;
use cap_std::fs::{Dir, ReadDir};
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// A directory whose entries are being removed.
struct Level {
    dir: Dir,
    entries: ReadDir,
    /// Its name in the directory above.
    name: OsString,
}

impl Level {
    /// Opens a directory, which must not be a symbolic link.
    fn open(above: &Dir, name: OsString) -> io::Result<Level> {
        let dir = above.open_dir_nofollow(&name)?;
        Ok(Level { entries: dir.entries()?, dir, name })
    }
}

/// Removes the directory `path` in `dir`. Symbolic links are removed and not followed.
///
/// # Errors
/// If something cannot be removed, if `path` is no directory, or if the program was interrupted.
/// What was removed until then stays removed.
pub(super) fn remove_tree(dir: &Dir, path: &Path, waiter: &Waiter) -> io::Result<()> {
    let mut levels = vec![Level::open(dir, path.into())?];
    while let Some(level) = levels.last_mut() {
        waiter.check()?;
        match level.entries.next().transpose()? {
            Some(entry) if entry.file_type()?.is_dir() => {
                let below = Level::open(&level.dir, entry.file_name())?;
                levels.push(below);
            }
            Some(entry) => level.dir.remove_file(entry.file_name())?,
            None => {
                let Level { name, .. } = levels.pop().expect("the loop has found it");
                levels.last().map_or(dir, |above| &above.dir).remove_dir(name)?;
            }
        }
    }
    Ok(())
}
