//! Numbers and layouts of WASI preview 1
//! (<https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md>).

use super::errno::Errno;
use super::memory::GuestMemory;
use rustix::fs::{FileType, Stat, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

/// Types of files.
pub(super) mod filetype {
    pub(in super::super) const UNKNOWN: u8 = 0;
    pub(in super::super) const BLOCK_DEVICE: u8 = 1;
    pub(in super::super) const CHARACTER_DEVICE: u8 = 2;
    pub(in super::super) const DIRECTORY: u8 = 3;
    pub(in super::super) const REGULAR_FILE: u8 = 4;
    pub(in super::super) const SOCKET_STREAM: u8 = 6;
    pub(in super::super) const SYMBOLIC_LINK: u8 = 7;
}

/// Rights of descriptors: what can be done with them.
pub(super) mod rights {
    pub(in super::super) const FD_READ: u64 = 1 << 1;
    pub(in super::super) const FD_SEEK: u64 = 1 << 2;
    pub(in super::super) const FD_TELL: u64 = 1 << 5;
    pub(in super::super) const FD_WRITE: u64 = 1 << 6;
    const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
    const FD_FILESTAT_GET: u64 = 1 << 21;
    const POLL_FD_READWRITE: u64 = 1 << 27;

    /// What can be done with a stream, apart from reading and writing.
    pub(in super::super) const STREAM: u64 =
        FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;

    /// What can be done with a file, apart from reading and writing: `fd_datasync`, `fd_seek`,
    /// `fd_fdstat_set_flags`, `fd_sync`, `fd_tell`, `fd_advise`, `fd_allocate`,
    /// `fd_filestat_get`, `fd_filestat_set_size`, `fd_filestat_set_times`, `poll_fd_readwrite`.
    pub(in super::super) const FILE: u64 = 1
        | FD_SEEK
        | FD_FDSTAT_SET_FLAGS
        | 1 << 4
        | FD_TELL
        | 1 << 7
        | 1 << 8
        | FD_FILESTAT_GET
        | 1 << 22
        | 1 << 23
        | POLL_FD_READWRITE;

    /// What can be done with a directory: the functions `path_*`, `fd_readdir`, and reading and
    /// changing its own attributes.
    pub(in super::super) const DIRECTORY: u64 =
        (0x3ff << 9) | 1 << 20 | FD_FILESTAT_GET | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 26;

    /// What can be done with what is opened in a directory.
    pub(in super::super) const INHERITED: u64 = DIRECTORY | FILE | FD_READ | FD_WRITE;
}

/// Flags of descriptors.
pub(super) mod fdflags {
    pub(in super::super) const APPEND: u32 = 1;
    pub(in super::super) const DSYNC: u32 = 2;
    pub(in super::super) const NONBLOCK: u32 = 4;
    pub(in super::super) const RSYNC: u32 = 8;
    pub(in super::super) const SYNC: u32 = 16;
    pub(in super::super) const ALL: u32 = 31;
}

/// Flags of `path_open`.
pub(super) mod oflags {
    pub(in super::super) const CREAT: u32 = 1;
    pub(in super::super) const DIRECTORY: u32 = 2;
    pub(in super::super) const EXCL: u32 = 4;
    pub(in super::super) const TRUNC: u32 = 8;
    pub(in super::super) const ALL: u32 = 15;
}

/// The flag of paths whose last part is followed if it is a symbolic link.
pub(super) const SYMLINK_FOLLOW: u32 = 1;

/// Flags that say which times are set, and to what.
pub(super) mod fstflags {
    pub(in super::super) const ATIM: u32 = 1;
    pub(in super::super) const ATIM_NOW: u32 = 2;
    pub(in super::super) const MTIM: u32 = 4;
    pub(in super::super) const MTIM_NOW: u32 = 8;
    pub(in super::super) const ALL: u32 = 15;
}

/// The access time and the modification time that `flags` describe, to set them.
pub(super) fn new_times(atim: u64, mtim: u64, flags: u32) -> Result<Timestamps, Errno> {
    let one = |nanos: u64, set: u32, now: u32| match (flags & set != 0, flags & now != 0) {
        (false, false) => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }),
        (false, true) => Ok(Timespec { tv_sec: 0, tv_nsec: UTIME_NOW }),
        (true, false) => Ok(Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as _,
        }),
        (true, true) => Err(Errno::Inval),
    };
    if flags & !fstflags::ALL != 0 {
        return Err(Errno::Inval);
    }
    Ok(Timestamps {
        last_access: one(atim, fstflags::ATIM, fstflags::ATIM_NOW)?,
        last_modification: one(mtim, fstflags::MTIM, fstflags::MTIM_NOW)?,
    })
}

/// The WASI type of a file.
pub(super) fn filetype_of(ty: FileType) -> u8 {
    match ty {
        FileType::RegularFile => filetype::REGULAR_FILE,
        FileType::Directory => filetype::DIRECTORY,
        FileType::Symlink => filetype::SYMBOLIC_LINK,
        FileType::CharacterDevice => filetype::CHARACTER_DEVICE,
        FileType::BlockDevice => filetype::BLOCK_DEVICE,
        FileType::Socket => filetype::SOCKET_STREAM,
        FileType::Fifo | FileType::Unknown => filetype::UNKNOWN,
    }
}

/// A file's attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Filestat {
    pub(super) dev: u64,
    pub(super) ino: u64,
    pub(super) filetype: u8,
    pub(super) nlink: u64,
    pub(super) size: u64,
    /// Times in nanoseconds since 1970.
    pub(super) atim: u64,
    pub(super) mtim: u64,
    pub(super) ctim: u64,
}

/// Nanoseconds since 1970; zero for times before.
pub(super) fn timestamp(secs: i64, nanos: i64) -> u64 {
    let nanos = i128::from(secs) * 1_000_000_000 + i128::from(nanos);
    u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
}

impl Filestat {
    pub(super) fn of(stat: &Stat) -> Filestat {
        Filestat {
            dev: stat.st_dev,
            ino: stat.st_ino,
            filetype: filetype_of(FileType::from_raw_mode(stat.st_mode)),
            #[allow(clippy::useless_conversion, reason = "it has 32 bits on some processors")]
            nlink: stat.st_nlink.into(),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            atim: timestamp(stat.st_atime, stat.st_atime_nsec as i64),
            mtim: timestamp(stat.st_mtime, stat.st_mtime_nsec as i64),
            ctim: timestamp(stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    /// Writes it as a `filestat`, of 64 bytes.
    pub(super) fn write(&self, memory: &mut GuestMemory<'_>, at: u32) -> Result<(), Errno> {
        let ty = u64::from(self.filetype);
        let words =
            [self.dev, self.ino, ty, self.nlink, self.size, self.atim, self.mtim, self.ctim];
        let place = memory.bytes_mut(at, 64)?;
        for (place, word) in place.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_kept_set_or_now() {
        let times = |flags| {
            let times = new_times(1, 2_000_000_003, flags)?;
            let both = [times.last_access, times.last_modification];
            Ok::<_, Errno>(both.map(|time| (time.tv_sec, time.tv_nsec)))
        };
        assert_eq!(times(0), Ok([(0, UTIME_OMIT); 2]));
        assert_eq!(times(1 | 8), Ok([(0, 1), (0, UTIME_NOW)]));
        assert_eq!(times(2 | 4), Ok([(0, UTIME_NOW), (2, 3)]));
        assert_eq!(times(3), Err(Errno::Inval));
        assert_eq!(times(16), Err(Errno::Inval));
        assert_eq!(timestamp(-1, 5), 0);
        assert_eq!(timestamp(1, 5), 1_000_000_005);
    }
}
