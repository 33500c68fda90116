//! Functions of paths: `path_*`. Every path is relative to an open directory, and `cap-std` keeps
//! it inside: an absolute path, or one that leads out through `..` or a symbolic link, is
//! [`Errno::Perm`].
//!
//! A path that ends with a slash or a dot is one of a directory. `cap-std` loses the slash in some
//! functions, so those that only look at a file find it with `O_PATH` and let the system decide. Where the
//! specification says nothing, functions return what Wasmtime returns, except that
//! `path_remove_directory("d/")` succeeds, as on the system itself.

use super::context::WasiCtx;
use super::descriptor::{Descriptor, DescriptorKind, Directory};
use super::errno::Errno;
use super::memory::GuestMemory;
use super::types::{
    Filestat, SYMLINK_FOLLOW, fdflags, filetype, filetype_of, new_times, oflags, rights,
};
use crate::wait::Waiter;
use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt, OpenOptionsSyncExt};
use cap_std::fs::{Dir, FileTypeExt, OpenOptions, OpenOptionsExt};
use rustix::event::Timespec;
use rustix::fs::{AtFlags, FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat, utimensat};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The path of `len` bytes at `at`.
fn path<'a>(memory: &'a GuestMemory<'_>, at: u32, len: u32) -> Result<&'a str, Errno> {
    let path = memory.text(at, len)?;
    if path.contains('\0') { Err(Errno::Inval) } else { Ok(path) }
}

/// Whether these flags of a lookup follow a symbolic link.
fn follows(flags: u32) -> Result<bool, Errno> {
    if flags & !SYMLINK_FOLLOW != 0 { Err(Errno::Inval) } else { Ok(flags == SYMLINK_FOLLOW) }
}

/// Finds a file without opening it: neither its permissions nor the other end of a pipe matter. With
/// a slash or a dot at its end, a path is one of a directory, and a symbolic link is followed.
fn find(dir: &Dir, path: &str, follow: bool) -> Result<OwnedFd, Errno> {
    let follow = follow || path.ends_with('/') || path.ends_with("/.");
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::PATH.bits() as i32).follow(following(follow));
    Ok(OwnedFd::from(dir.open_with(path, &options)?.into_std()))
}

fn following(follow: bool) -> FollowSymlinks {
    if follow { FollowSymlinks::Yes } else { FollowSymlinks::No }
}

/// Opens a file without waiting for the other end of a pipe. With `waiter`, opening a pipe to write
/// waits for its reader in a way that an interrupt can end.
fn open_pipe(
    dir: &Dir,
    path: &str,
    options: &OpenOptions,
    waiter: Option<&Waiter>,
) -> Result<std::fs::File, Errno> {
    const STEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    loop {
        let error = match dir.open_with(path, options) {
            Ok(file) => return Ok(file.into_std()),
            Err(error) => Errno::from(error),
        };
        let has_no_reader =
            || dir.metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
        match waiter {
            Some(waiter) if error == Errno::Nxio && has_no_reader() => {
                waiter.poll(&[], Some(&STEP))?;
            }
            _ => return Err(error),
        }
    }
}

/// Opens a file or a directory.
fn open(
    dir: &Dir,
    path: &str,
    follow: bool,
    oflags: u32,
    rights: u64,
    flags: u32,
    waiter: &Waiter,
) -> Result<Descriptor, Errno> {
    let has = |flag: u32| oflags & flag != 0;
    if oflags & !oflags::ALL != 0 || flags & !fdflags::ALL != 0 {
        return Err(Errno::Inval);
    }
    let directory = has(oflags::DIRECTORY);
    if directory && has(oflags::CREAT | oflags::EXCL | oflags::TRUNC) {
        return Err(Errno::Inval);
    }
    let reads = rights & rights::FD_READ != 0;
    // A directory is not opened to be written: that is `Errno::Isdir`.
    let writes = rights & rights::FD_WRITE != 0;
    let mut options = OpenOptions::new();
    // To make or to empty a file, it must be opened to be written, whatever is done with it later.
    let opens_to_write = writes || has(oflags::CREAT | oflags::TRUNC);
    options.write(opens_to_write).read(reads || !opens_to_write);
    if has(oflags::CREAT) && has(oflags::EXCL) {
        options.create_new(true);
    } else {
        options.create(has(oflags::CREAT));
    }
    options.truncate(has(oflags::TRUNC));
    options.follow(following(follow));
    options.dsync(flags & fdflags::DSYNC != 0).sync(flags & fdflags::SYNC != 0);
    // To open a pipe without a flag would wait for its other end, which nothing could interrupt.
    options.rsync(flags & fdflags::RSYNC != 0).nonblock(true);
    let mut system = OFlags::empty();
    system.set(OFlags::DIRECTORY, directory);
    // The option `append` of `OpenOptions` refuses to empty the file.
    system.set(OFlags::APPEND, flags & fdflags::APPEND != 0);
    options.custom_flags(system.bits() as i32);
    let waits = flags & fdflags::NONBLOCK == 0;
    let file = open_pipe(dir, path, &options, waits.then_some(waiter))?;
    let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
    if waits {
        fcntl_setfl(&file, fcntl_getfl(&file)? - OFlags::NONBLOCK)?;
        if kind == FileType::Fifo && reads && !writes {
            // The other end is opened, or what it wrote is there.
            waiter.wait_readable(file.as_fd())?;
        }
    }
    let ty = filetype_of(kind);
    if ty == filetype::DIRECTORY {
        return Ok(Descriptor::directory(Directory::opened(Dir::from_std_file(file))));
    }
    Ok(Descriptor { kind: DescriptorKind::File(OwnedFd::from(file)), reads, writes, flags })
}

impl WasiCtx {
    fn dir(&self, fd: u32) -> Result<&Dir, Errno> {
        Ok(&self.descriptor(fd)?.dir()?.dir)
    }

    #[expect(clippy::too_many_arguments, reason = "the signature is that of WASI")]
    pub(super) fn path_open(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        dirflags: u32,
        at: u32,
        len: u32,
        oflags: u32,
        rights: u64,
        _inheriting: u64,
        fdflags: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let dir = self.dir(fd)?;
        // A file that was made must not be lost because its number cannot be written.
        memory.check_array(out, 1, 4)?;
        let path = path(memory, at, len)?;
        let opened = open(dir, path, follows(dirflags)?, oflags, rights, fdflags, &self.waiter)?;
        let fd = self.insert(opened)?;
        memory.write_u32(out, fd)
    }

    pub(super) fn path_create_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        Ok(self.dir(fd)?.create_dir(path(memory, at, len)?)?)
    }

    pub(super) fn path_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        at: u32,
        len: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let found = find(self.dir(fd)?, path(memory, at, len)?, follows(flags)?)?;
        Filestat::of(&fstat(found)?).write(memory, out)
    }

    #[expect(clippy::too_many_arguments, reason = "the signature is that of WASI")]
    pub(super) fn path_filestat_set_times(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        at: u32,
        len: u32,
        atim: u64,
        mtim: u64,
        times: u32,
    ) -> Result<(), Errno> {
        let times = new_times(atim, mtim, times)?;
        let found = find(self.dir(fd)?, path(memory, at, len)?, follows(flags)?)?;
        Ok(utimensat(found, c"", &times, AtFlags::EMPTY_PATH)?)
    }

    #[expect(clippy::too_many_arguments, reason = "the signature is that of WASI")]
    pub(super) fn path_link(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
        at: u32,
        len: u32,
        new_fd: u32,
        new_at: u32,
        new_len: u32,
    ) -> Result<(), Errno> {
        // `cap-std` cannot follow a link here.
        if follows(flags)? {
            return Err(Errno::Inval);
        }
        let (dir, new_dir) = (self.dir(fd)?, self.dir(new_fd)?);
        Ok(dir.hard_link(path(memory, at, len)?, new_dir, path(memory, new_at, new_len)?)?)
    }

    #[expect(clippy::too_many_arguments, reason = "the signature is that of WASI")]
    pub(super) fn path_readlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        at: u32,
        len: u32,
        buffer: u32,
        buffer_len: u32,
        out: u32,
    ) -> Result<(), Errno> {
        memory.check_array(out, 1, 4)?;
        let target = self.dir(fd)?.read_link(path(memory, at, len)?)?;
        let target = target.as_os_str().as_bytes();
        let target = &target[..target.len().min(buffer_len as usize)];
        memory.write(buffer, target)?;
        memory.write_u32(out, target.len() as u32)
    }

    pub(super) fn path_remove_directory(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let path = path(memory, at, len)?;
        // `cap-std` takes `d/` for `d/.`, which the system refuses to remove. What is no directory,
        // also a link to one, is refused without the slash too.
        let without = path.trim_end_matches('/');
        let path = if without.is_empty() { path } else { without };
        Ok(self.dir(fd)?.remove_dir(path)?)
    }

    #[expect(clippy::too_many_arguments, reason = "the signature is that of WASI")]
    pub(super) fn path_rename(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        at: u32,
        len: u32,
        new_fd: u32,
        new_at: u32,
        new_len: u32,
    ) -> Result<(), Errno> {
        let (dir, new_dir) = (self.dir(fd)?, self.dir(new_fd)?);
        let (old, new) = (path(memory, at, len)?, path(memory, new_at, new_len)?);
        // `cap-std` ignores what the slash says: that the new name is one of a directory.
        if new.ends_with('/') && !dir.symlink_metadata(old)?.is_dir() {
            return Err(Errno::Notdir);
        }
        Ok(dir.rename(old, new_dir, new)?)
    }

    pub(super) fn path_symlink(
        &mut self,
        memory: &mut GuestMemory<'_>,
        target: u32,
        target_len: u32,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let target = path(memory, target, target_len)?;
        Ok(self.dir(fd)?.symlink(target, path(memory, at, len)?)?)
    }

    pub(super) fn path_unlink_file(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        at: u32,
        len: u32,
    ) -> Result<(), Errno> {
        Ok(self.dir(fd)?.remove_file(path(memory, at, len)?)?)
    }
}
