//! Functions of descriptors: `fd_*`, and `sock_*`, for which no program has a socket.

use super::context::WasiCtx;
use super::descriptor::{Descriptor, DescriptorKind};
use super::errno::Errno;
use super::memory::{GuestMemory, GuestRange};
use super::types::{fdflags, filetype, new_times};
use crate::stdio::write_file;
use crate::wait::Waiter;
use rustix::fs::{
    Advice, AtFlags, FallocateFlags, Mode, OFlags, SeekFrom, fadvise, fallocate, fcntl_setfl,
    fdatasync, fsync, ftruncate, futimens, openat, seek, utimensat,
};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes of a `dirent`, before the name.
const DIRENT: usize = 24;

impl Descriptor {
    /// Reads into these places and returns the number of bytes. A stream fills the first place
    /// only: to wait for the next one could take forever.
    fn read(
        &self,
        memory: &mut GuestMemory<'_>,
        places: &[GuestRange],
        waiter: &Waiter,
    ) -> Result<u32, Errno> {
        let regular = places.len() > 1 && self.filestat()?.filetype == filetype::REGULAR_FILE;
        let mut total = 0;
        for place in places {
            let bytes = memory.at(*place)?;
            let read = match &self.kind {
                DescriptorKind::Input(stream) => stream.read(bytes).map_err(Errno::from),
                DescriptorKind::File(file) => {
                    waiter.readable(file.as_fd())?;
                    rustix::io::read(file, &mut *bytes).map_err(Errno::from)
                }
                DescriptorKind::Output(_) | DescriptorKind::Directory(_) => Err(Errno::Badf),
            };
            match read {
                Ok(count) => total += count as u32,
                // What was read before is not lost.
                Err(errno) if total == 0 => return Err(errno),
                Err(_) => break,
            }
            let full = read == Ok(bytes.len());
            if !full || !regular {
                break;
            }
        }
        Ok(total)
    }

    /// Reads from `offset` into these places and returns the number of bytes.
    fn read_at(
        &self,
        memory: &mut GuestMemory<'_>,
        places: &[GuestRange],
        mut offset: u64,
    ) -> Result<u32, Errno> {
        let file = self.file()?;
        let mut total = 0;
        for place in places {
            let bytes = memory.at(*place)?;
            let count = match rustix::io::pread(file, &mut *bytes, offset) {
                Ok(count) => count,
                Err(error) if total == 0 => return Err(error.into()),
                Err(_) => break,
            };
            total += count as u32;
            offset += count as u64;
            if count < bytes.len() {
                break;
            }
        }
        Ok(total)
    }
}

impl Descriptor {
    /// Calls `f`, which writes to the disk what the system keeps in memory. A directory may be open
    /// only to find paths, so it is opened to be read.
    fn synchronize(
        &self,
        f: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<()>,
    ) -> Result<(), Errno> {
        match &self.kind {
            DescriptorKind::Directory(directory) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Ok(f(openat(&directory.dir, c".", flags, Mode::empty())?.as_fd())?)
            }
            _ => Ok(f(self.fd().ok_or(Errno::Inval)?)?),
        }
    }
}

impl WasiCtx {
    /// The descriptor, which must be open for reading.
    fn reader(&self, fd: u32) -> Result<&Descriptor, Errno> {
        let descriptor = self.descriptor(fd)?;
        if descriptor.reads { Ok(descriptor) } else { Err(Errno::Badf) }
    }

    /// The descriptor, which must be open for writing.
    fn writer(&self, fd: u32) -> Result<&Descriptor, Errno> {
        let descriptor = self.descriptor(fd)?;
        if descriptor.writes { Ok(descriptor) } else { Err(Errno::Badf) }
    }

    pub(super) fn fd_read(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        count: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.reader(fd)?;
        let places = memory.places(iovs, count)?;
        // Bytes that were read must not be lost because their number cannot be written.
        memory.check_array(out, 1, 4)?;
        let read = descriptor.read(memory, &places, &self.waiter)?;
        memory.write_u32(out, read)
    }

    pub(super) fn fd_pread(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.reader(fd)?;
        let places = memory.places(iovs, count)?;
        memory.check_array(out, 1, 4)?;
        let read = descriptor.read_at(memory, &places, offset)?;
        memory.write_u32(out, read)
    }

    pub(super) fn fd_write(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        count: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.writer(fd)?;
        let places = memory.places(iovs, count)?;
        memory.check_array(out, 1, 4)?;
        let slices = memory.slices(&places)?;
        let written = match &descriptor.kind {
            DescriptorKind::Output(stream) => stream.write_vectored(&slices)?,
            DescriptorKind::File(file) => write_file(&self.waiter, file.as_fd(), &slices)?,
            DescriptorKind::Input(_) | DescriptorKind::Directory(_) => return Err(Errno::Badf),
        };
        memory.write_u32(out, written as u32)
    }

    pub(super) fn fd_pwrite(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        iovs: u32,
        count: u32,
        offset: u64,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.writer(fd)?;
        let places = memory.places(iovs, count)?;
        memory.check_array(out, 1, 4)?;
        let slices = memory.slices(&places)?;
        let written = rustix::io::pwritev(descriptor.file()?, &slices, offset)?;
        memory.write_u32(out, written as u32)
    }

    pub(super) fn fd_seek(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        offset: i64,
        whence: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let to = match whence {
            0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::Inval)?),
            1 => SeekFrom::Current(offset),
            2 => SeekFrom::End(offset),
            _ => return Err(Errno::Inval),
        };
        let file = self.descriptor(fd)?.file()?;
        memory.check_array(out, 1, 8)?;
        memory.write_u64(out, seek(file, to)?)
    }

    pub(super) fn fd_tell(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let file = self.descriptor(fd)?.file()?;
        memory.write_u64(out, seek(file, SeekFrom::Current(0))?)
    }

    pub(super) fn fd_close(&mut self, _: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
        self.remove(fd).map(drop)
    }

    pub(super) fn fd_renumber(
        &mut self,
        _: &mut GuestMemory<'_>,
        from: u32,
        to: u32,
    ) -> Result<(), Errno> {
        self.renumber(from, to)
    }

    pub(super) fn fd_datasync(&mut self, _: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
        self.descriptor(fd)?.synchronize(|fd| fdatasync(fd))
    }

    pub(super) fn fd_sync(&mut self, _: &mut GuestMemory<'_>, fd: u32) -> Result<(), Errno> {
        self.descriptor(fd)?.synchronize(|fd| fsync(fd))
    }

    pub(super) fn fd_advise(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        len: u64,
        advice: u32,
    ) -> Result<(), Errno> {
        let file = self.descriptor(fd)?.file()?;
        let advice = match advice {
            0 => Advice::Normal,
            1 => Advice::Sequential,
            2 => Advice::Random,
            3 => Advice::WillNeed,
            4 => Advice::DontNeed,
            5 => Advice::NoReuse,
            _ => return Err(Errno::Inval),
        };
        Ok(fadvise(file, offset, NonZeroU64::new(len), advice)?)
    }

    pub(super) fn fd_allocate(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        offset: u64,
        len: u64,
    ) -> Result<(), Errno> {
        let file = self.writer(fd)?.file()?;
        Ok(fallocate(file, FallocateFlags::empty(), offset, len)?)
    }

    pub(super) fn fd_fdstat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.descriptor(fd)?;
        // The type of a stream that is closed is not known.
        let ty = descriptor.filestat().unwrap_or_default().filetype;
        let (base, inheriting) = descriptor.rights();
        let mut bytes = [0; 24];
        bytes[0] = ty;
        bytes[2..4].copy_from_slice(&(descriptor.flags as u16).to_le_bytes());
        bytes[8..16].copy_from_slice(&base.to_le_bytes());
        bytes[16..24].copy_from_slice(&inheriting.to_le_bytes());
        memory.write(out, &bytes)
    }

    /// Changes whether a file is written at its end, and whether it waits. Those of streams belong
    /// to the host, which shares them with other processes.
    pub(super) fn fd_fdstat_set_flags(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        flags: u32,
    ) -> Result<(), Errno> {
        let descriptor = self.descriptor_mut(fd)?;
        if flags & !fdflags::ALL != 0 {
            return Err(Errno::Inval);
        }
        let changed = descriptor.flags ^ flags;
        if changed == 0 {
            return Ok(());
        }
        let DescriptorKind::File(file) = &descriptor.kind else { return Err(Errno::Notsup) };
        if changed & !(fdflags::APPEND | fdflags::NONBLOCK) != 0 {
            return Err(Errno::Notsup);
        }
        let mut system = OFlags::empty();
        system.set(OFlags::APPEND, flags & fdflags::APPEND != 0);
        system.set(OFlags::NONBLOCK, flags & fdflags::NONBLOCK != 0);
        fcntl_setfl(file, system)?;
        descriptor.flags = flags;
        Ok(())
    }

    /// Rights were taken out of WASI: what a descriptor can do depends on how it was opened.
    pub(super) fn fd_fdstat_set_rights(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        _base: u64,
        _inheriting: u64,
    ) -> Result<(), Errno> {
        self.descriptor(fd)?;
        Err(Errno::Notsup)
    }

    pub(super) fn fd_filestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        out: u32,
    ) -> Result<(), Errno> {
        self.descriptor(fd)?.filestat()?.write(memory, out)
    }

    pub(super) fn fd_filestat_set_size(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        size: u64,
    ) -> Result<(), Errno> {
        let file = self.descriptor(fd)?.file()?;
        Ok(ftruncate(file, size)?)
    }

    pub(super) fn fd_filestat_set_times(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        atim: u64,
        mtim: u64,
        flags: u32,
    ) -> Result<(), Errno> {
        let times = new_times(atim, mtim, flags)?;
        match &self.descriptor(fd)?.kind {
            DescriptorKind::Input(_) | DescriptorKind::Output(_) => Err(Errno::Notsup),
            DescriptorKind::File(file) => Ok(futimens(file, &times)?),
            // A directory that is opened only to find paths has no times of its own.
            DescriptorKind::Directory(directory) => {
                Ok(utimensat(&directory.dir, c".", &times, AtFlags::empty())?)
            }
        }
    }

    pub(super) fn fd_prestat_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        out: u32,
    ) -> Result<(), Errno> {
        let name = self.preopened(fd)?;
        let len = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?;
        let mut bytes = [0; 8];
        bytes[4..].copy_from_slice(&len.to_le_bytes());
        memory.write(out, &bytes)
    }

    pub(super) fn fd_prestat_dir_name(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        path: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let name = self.preopened(fd)?;
        if name.len() > len as usize {
            return Err(Errno::Nametoolong);
        }
        memory.write(path, name)
    }

    /// The name of a directory that was given to the program. C libraries ask for one descriptor
    /// after the other, until the first that is no such directory.
    fn preopened(&self, fd: u32) -> Result<&[u8], Errno> {
        match &self.descriptor(fd)?.kind {
            DescriptorKind::Directory(directory) => {
                directory.preopened.as_deref().ok_or(Errno::Badf)
            }
            _ => Err(Errno::Badf),
        }
    }

    pub(super) fn fd_readdir(
        &mut self,
        memory: &mut GuestMemory<'_>,
        fd: u32,
        buffer: u32,
        len: u32,
        cookie: u64,
        out: u32,
    ) -> Result<(), Errno> {
        let DescriptorKind::Directory(directory) = &mut self.descriptor_mut(fd)?.kind else {
            return Err(Errno::Notdir);
        };
        if cookie == 0 || directory.entries.is_empty() {
            directory.list()?;
        }
        let mut rest = memory.bytes_mut(buffer, len)?;
        let first = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (index, entry) in directory.entries.iter().enumerate().skip(first) {
            let mut bytes = [0; DIRENT];
            bytes[..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
            bytes[8..16].copy_from_slice(&entry.ino.to_le_bytes());
            bytes[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            bytes[20] = entry.filetype;
            rest = fill(fill(rest, &bytes), &entry.name);
            if rest.is_empty() {
                break;
            }
        }
        let unused = rest.len() as u32;
        memory.write_u32(out, len - unused)
    }

    /// Fails with the reason why the descriptor is no socket.
    fn no_socket(&self, fd: u32) -> Result<(), Errno> {
        self.descriptor(fd)?;
        Err(Errno::Notsock)
    }

    pub(super) fn sock_accept(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        _flags: u32,
        _out: u32,
    ) -> Result<(), Errno> {
        self.no_socket(fd)
    }

    #[expect(clippy::too_many_arguments, reason = "the signature is that of WASI")]
    pub(super) fn sock_recv(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        _iovs: u32,
        _count: u32,
        _flags: u32,
        _out: u32,
        _out_flags: u32,
    ) -> Result<(), Errno> {
        self.no_socket(fd)
    }

    pub(super) fn sock_send(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        _iovs: u32,
        _count: u32,
        _flags: u32,
        _out: u32,
    ) -> Result<(), Errno> {
        self.no_socket(fd)
    }

    pub(super) fn sock_shutdown(
        &mut self,
        _: &mut GuestMemory<'_>,
        fd: u32,
        _how: u32,
    ) -> Result<(), Errno> {
        self.no_socket(fd)
    }
}

/// Copies as much of `bytes` as fits. Returns the rest of the place.
fn fill<'a>(place: &'a mut [u8], bytes: &[u8]) -> &'a mut [u8] {
    let count = place.len().min(bytes.len());
    let (head, tail) = place.split_at_mut(count);
    head.copy_from_slice(&bytes[..count]);
    tail
}
