//! Waiting for files, which an interrupt of the program ends.
//!
//! A program that waits in a host function is not in compiled code, where an interrupt would end it.
//! So the host function waits for the interrupt too. It then fails, and the program ends as soon as
//! the function has returned.

use gc_wasm::{InterruptHandle, Trap};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, OnceLock};

/// Bytes that a pipe takes without waiting when it says that it is ready (`PIPE_BUF`).
const PIPE_BUF: usize = 4096;

/// The error of a host function that failed while it did `what`: the trap, if an interrupt ended it.
pub(crate) fn failed(what: &'static str) -> impl Fn(io::Error) -> anyhow::Error {
    move |error| match Errno::from_io_error(&error) {
        Some(Errno::CANCELED) => Trap::Interrupt.into(),
        _ => anyhow::Error::from(error).context(what),
    }
}

/// What ends waiting: the interrupt of the program, once it is known. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waiter(Arc<OnceLock<InterruptHandle>>);

impl Waiter {
    /// Lets an interrupt by `handle` end waiting. Only the first handle counts.
    pub(crate) fn set_interrupt(&self, handle: &InterruptHandle) {
        let first = self.0.get_or_init(|| handle.clone());
        // The event is made now. Later the program may have used up all descriptors.
        let _made_or_said_later = first.event();
    }

    /// Fails if the program was interrupted.
    ///
    /// # Errors
    /// `CANCELED`.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        match self.0.get() {
            Some(handle) if handle.is_interrupted() => Err(Errno::CANCELED),
            _ => Ok(()),
        }
    }

    /// Waits until something has happened to `files`, or the time is over. Returns the number of
    /// files to which something has happened.
    ///
    /// # Errors
    /// `CANCELED` if the program was interrupted. Also those of the system.
    pub(crate) fn poll(
        &self,
        files: &[(BorrowedFd<'_>, PollFlags)],
        timeout: Option<&Timespec>,
    ) -> Result<Vec<PollFlags>, Errno> {
        let mut polled: Vec<PollFd<'_>> =
            files.iter().map(|(fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
        if let Some(handle) = self.0.get() {
            let event = handle.event().map_err(|_| Errno::MFILE)?;
            polled.push(PollFd::from_borrowed_fd(event, PollFlags::IN));
        }
        poll(&mut polled, timeout)?;
        if polled.len() > files.len() && !polled[files.len()].revents().is_empty() {
            return Err(Errno::CANCELED);
        }
        Ok(polled[..files.len()].iter().map(PollFd::revents).collect())
    }

    /// Waits until `file` can be read, if reading may wait.
    ///
    /// # Errors
    /// As [`poll`](Waiter::poll).
    pub(crate) fn readable(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.ready(file, PollFlags::IN)
    }

    /// Waits until `file` can be written. Returns the number of bytes, at most `count`, that it
    /// takes without waiting.
    ///
    /// # Errors
    /// As [`poll`](Waiter::poll).
    pub(crate) fn writable(&self, file: BorrowedFd<'_>, count: usize) -> Result<usize, Errno> {
        if self.0.get().is_none() {
            return Ok(count);
        }
        self.ready(file, PollFlags::OUT)?;
        if count <= PIPE_BUF
            || FileType::from_raw_mode(fstat(file)?.st_mode) == FileType::RegularFile
        {
            return Ok(count);
        }
        Ok(PIPE_BUF)
    }

    fn ready(&self, file: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Errno> {
        if self.0.get().is_none() {
            return Ok(());
        }
        self.wait_for(file, flags)
    }

    /// Waits until `file` can be read, also if nothing can interrupt the program.
    ///
    /// # Errors
    /// As [`poll`](Waiter::poll).
    pub(crate) fn wait_readable(&self, file: BorrowedFd<'_>) -> Result<(), Errno> {
        self.wait_for(file, PollFlags::IN)
    }

    fn wait_for(&self, file: BorrowedFd<'_>, flags: PollFlags) -> Result<(), Errno> {
        loop {
            match self.poll(&[(file, flags)], None) {
                // A signal that is for somebody else.
                Err(Errno::INTR) => {}
                // The read or write itself says what is wrong with the file.
                Ok(_) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
