//! Descriptors: streams, files and directories that a program has open.

use super::errno::Errno;
use super::types::{Filestat, filetype, rights};
use crate::stdio::{InputStream, OutputStream};
use cap_std::fs::{Dir, FileTypeExt};
use rustix::fs::{DirEntryExt, fstat};
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

/// An open stream, file or directory.
pub(super) struct Descriptor {
    pub(super) kind: DescriptorKind,
    /// Whether it was opened to be read.
    pub(super) reads: bool,
    /// Whether it was opened to be written.
    pub(super) writes: bool,
    /// The flags with which it was opened, or which were set later.
    pub(super) flags: u32,
}

pub(super) enum DescriptorKind {
    Input(InputStream),
    Output(OutputStream),
    File(OwnedFd),
    Directory(Directory),
}

/// An open directory.
pub(super) struct Directory {
    pub(super) dir: Dir,
    /// The name under which it was given to the program.
    pub(super) preopened: Option<Vec<u8>>,
    /// The entries, since the program last began to read them. A place in the list is a cookie. So
    /// an entry is read once, even if the directory changes meanwhile.
    pub(super) entries: Vec<Entry>,
}

/// An entry of a directory.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) ino: u64,
    pub(super) filetype: u8,
}

impl Directory {
    pub(super) fn preopened(dir: Dir, name: Vec<u8>) -> Directory {
        Directory { dir, preopened: Some(name), entries: Vec::new() }
    }

    pub(super) fn opened(dir: Dir) -> Directory {
        Directory { dir, preopened: None, entries: Vec::new() }
    }

    /// Reads the entries again.
    pub(super) fn list(&mut self) -> Result<(), Errno> {
        let own = fstat(&self.dir)?.st_ino;
        let ty = filetype::DIRECTORY;
        self.entries = vec![
            Entry { name: b".".to_vec(), ino: own, filetype: ty },
            // The directory above may be outside of what the program may see.
            Entry { name: b"..".to_vec(), ino: own, filetype: ty },
        ];
        for entry in self.dir.entries()? {
            let entry = entry?;
            self.entries.push(Entry {
                name: entry.file_name().into_vec(),
                ino: entry.ino(),
                filetype: filetype_of_entry(entry.file_type()?),
            });
        }
        Ok(())
    }
}

fn filetype_of_entry(ty: cap_std::fs::FileType) -> u8 {
    if ty.is_file() {
        filetype::REGULAR_FILE
    } else if ty.is_dir() {
        filetype::DIRECTORY
    } else if ty.is_symlink() {
        filetype::SYMBOLIC_LINK
    } else if ty.is_char_device() {
        filetype::CHARACTER_DEVICE
    } else if ty.is_block_device() {
        filetype::BLOCK_DEVICE
    } else if ty.is_socket() {
        filetype::SOCKET_STREAM
    } else {
        filetype::UNKNOWN
    }
}

impl Descriptor {
    pub(super) fn stream(kind: DescriptorKind) -> Descriptor {
        let reads = matches!(kind, DescriptorKind::Input(_));
        Descriptor { kind, reads, writes: !reads, flags: 0 }
    }

    pub(super) fn directory(directory: Directory) -> Descriptor {
        Descriptor {
            kind: DescriptorKind::Directory(directory),
            reads: false,
            writes: false,
            flags: 0,
        }
    }

    /// The open file of the process, if it is one.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.kind {
            DescriptorKind::Input(stream) => stream.fd(),
            DescriptorKind::Output(stream) => stream.fd(),
            DescriptorKind::File(file) => Some(file.as_fd()),
            DescriptorKind::Directory(directory) => Some(directory.dir.as_fd()),
        }
    }

    /// The file. A stream has no place and no size.
    pub(super) fn file(&self) -> Result<BorrowedFd<'_>, Errno> {
        match &self.kind {
            DescriptorKind::File(file) => Ok(file.as_fd()),
            DescriptorKind::Input(_) | DescriptorKind::Output(_) => Err(Errno::Spipe),
            DescriptorKind::Directory(_) => Err(Errno::Badf),
        }
    }

    /// The directory.
    pub(super) fn dir(&self) -> Result<&Directory, Errno> {
        match &self.kind {
            DescriptorKind::Directory(directory) => Ok(directory),
            _ => Err(Errno::Notdir),
        }
    }

    /// Its attributes. Those of a stream that is no file are zero.
    pub(super) fn filestat(&self) -> Result<Filestat, Errno> {
        let Some(fd) = self.fd() else { return Ok(Filestat::default()) };
        let mut stat = Filestat::of(&fstat(fd)?);
        let is_stream = matches!(self.kind, DescriptorKind::Input(_) | DescriptorKind::Output(_));
        // C libraries take a character device without a position for a terminal.
        if is_stream && stat.filetype == filetype::CHARACTER_DEVICE && !fd.is_terminal() {
            stat.filetype = filetype::UNKNOWN;
        }
        Ok(stat)
    }

    /// What can be done with it, and with what is opened in it.
    pub(super) fn rights(&self) -> (u64, u64) {
        let read = if self.reads { rights::FD_READ } else { 0 };
        let write = if self.writes { rights::FD_WRITE } else { 0 };
        match &self.kind {
            // Without `FD_SEEK` and `FD_TELL`, by which C libraries recognise terminals.
            DescriptorKind::Input(_) | DescriptorKind::Output(_) => {
                (rights::STREAM | read | write, 0)
            }
            DescriptorKind::File(file) if file.is_terminal() => (rights::STREAM | read | write, 0),
            DescriptorKind::File(_) => (rights::FILE | read | write, 0),
            DescriptorKind::Directory(_) => (rights::DIRECTORY, rights::INHERITED),
        }
    }
}
