//! `poll_oneoff`: waits for files and clocks.

use super::clocks::{clock, now};
use super::context::WasiCtx;
use super::descriptor::{Descriptor, DescriptorKind};
use super::errno::Errno;
use super::memory::GuestMemory;
use super::types::filetype;
use crate::wait::Waiter;
use rustix::event::{PollFlags, Timespec};
use rustix::fs::{SeekFrom, seek};
use rustix::io::ioctl_fionread;
use rustix::time::ClockId;

/// Bytes of a `subscription`.
const SUBSCRIPTION: u32 = 48;

/// Bytes of an `event`.
const EVENT: u32 = 32;

/// The largest number of subscriptions. A program has fewer descriptors.
const MOST: u32 = 1 << 16;

/// Kinds of events.
const CLOCK: u8 = 0;
const FD_READ: u8 = 1;
const FD_WRITE: u8 = 2;

/// The flag of a time that is a time of its clock, not a duration.
const ABSTIME: u16 = 1;

/// The flag of a file whose other end is closed.
const HANGUP: u16 = 1;

/// What happened.
struct Event {
    userdata: u64,
    kind: u8,
    result: Result<Ready, Errno>,
}

/// The state of a file that is ready.
#[derive(Clone, Copy, Default)]
struct Ready {
    bytes: u64,
    flags: u16,
}

impl Event {
    fn write(&self, memory: &mut GuestMemory<'_>, at: u32) -> Result<(), Errno> {
        let mut bytes = [0; EVENT as usize];
        bytes[..8].copy_from_slice(&self.userdata.to_le_bytes());
        bytes[10] = self.kind;
        match self.result {
            Ok(ready) => {
                bytes[16..24].copy_from_slice(&ready.bytes.to_le_bytes());
                bytes[24..26].copy_from_slice(&ready.flags.to_le_bytes());
            }
            Err(errno) => bytes[8..10].copy_from_slice(&(errno as u16).to_le_bytes()),
        }
        memory.write(at, &bytes)
    }
}

/// A file for which the program waits.
struct Waiting<'a> {
    userdata: u64,
    kind: u8,
    descriptor: &'a Descriptor,
}

impl Descriptor {
    /// Its state, if nothing needs to wait for it.
    fn is_ready(&self, kind: u8) -> Option<Result<Ready, Errno>> {
        let opened = if kind == FD_READ { self.reads } else { self.writes };
        if !opened {
            return Some(Err(Errno::Badf));
        }
        match (&self.kind, self.fd()) {
            (DescriptorKind::Directory(_), _) => Some(Err(Errno::Badf)),
            // A reader or writer of the host does not say whether it would wait.
            (_, None) => Some(Ok(Ready { bytes: u64::from(kind == FD_READ), flags: 0 })),
            (DescriptorKind::File(_), Some(fd)) => {
                let stat = self.filestat().ok()?;
                if stat.filetype != filetype::REGULAR_FILE {
                    return None;
                }
                let at = seek(fd, SeekFrom::Current(0)).unwrap_or(0);
                let bytes = if kind == FD_READ { stat.size.saturating_sub(at) } else { 0 };
                Some(Ok(Ready { bytes, flags: 0 }))
            }
            (_, Some(_)) => None,
        }
    }

    /// Its state when the system says that something happened.
    fn became_ready(&self, kind: u8, flags: PollFlags) -> Result<Ready, Errno> {
        if flags.contains(PollFlags::NVAL) {
            return Err(Errno::Badf);
        }
        if flags.contains(PollFlags::ERR) {
            return Err(if kind == FD_WRITE { Errno::Pipe } else { Errno::Io });
        }
        let bytes = match self.fd() {
            Some(fd) if kind == FD_READ => ioctl_fionread(fd).unwrap_or(1),
            _ => 0,
        };
        let flags = if flags.contains(PollFlags::HUP) { HANGUP } else { 0 };
        Ok(Ready { bytes, flags })
    }
}

/// The time that is left until a clock's subscription is due, in nanoseconds.
fn time_left(memory: &GuestMemory<'_>, at: u32) -> Result<Result<u64, Errno>, Errno> {
    let (id, timeout, flags) = (memory.u32(at + 16)?, memory.u64(at + 24)?, memory.u16(at + 40)?);
    Ok(match clock(id) {
        Ok(clock @ (ClockId::Realtime | ClockId::Monotonic)) => match flags {
            0 => Ok(timeout),
            ABSTIME => Ok(timeout.saturating_sub(now(clock))),
            _ => Err(Errno::Inval),
        },
        Ok(_) => Err(Errno::Notsup),
        Err(errno) => Err(errno),
    })
}

/// What a program waits for, and what has happened already.
#[derive(Default)]
struct Subscriptions<'a> {
    happened: Vec<Event>,
    files: Vec<Waiting<'a>>,
    /// Clocks, with the time at which they are due on the monotonic clock.
    clocks: Vec<(u64, u64)>,
}

impl<'a> Subscriptions<'a> {
    fn add(
        &mut self,
        ctx: &'a WasiCtx,
        memory: &GuestMemory<'_>,
        at: u32,
        begin: u64,
    ) -> Result<(), Errno> {
        let (userdata, kind) = (memory.u64(at)?, memory.u8(at + 8)?);
        match kind {
            CLOCK => match time_left(memory, at)? {
                Ok(left) => self.clocks.push((userdata, begin.saturating_add(left))),
                Err(errno) => self.happened.push(Event { userdata, kind, result: Err(errno) }),
            },
            FD_READ | FD_WRITE => {
                let descriptor = ctx.descriptor(memory.u32(at + 16)?);
                let ready = match descriptor {
                    Ok(descriptor) => descriptor.is_ready(kind),
                    Err(errno) => Some(Err(errno)),
                };
                match (ready, descriptor) {
                    (None, Ok(descriptor)) => {
                        self.files.push(Waiting { userdata, kind, descriptor });
                    }
                    (ready, _) => {
                        let result = ready.unwrap_or(Err(Errno::Badf));
                        self.happened.push(Event { userdata, kind, result });
                    }
                }
            }
            _ => return Err(Errno::Inval),
        }
        Ok(())
    }

    /// Waits until something has happened.
    fn wait(&mut self, waiter: &Waiter) -> Result<(), Errno> {
        let begin = now(ClockId::Monotonic);
        let timeout =
            match (self.happened.is_empty(), self.clocks.iter().map(|clock| clock.1).min()) {
                (false, _) => Some(0),
                (true, Some(due)) => Some(due.saturating_sub(begin)),
                (true, None) => None,
            };
        let timeout = timeout.map(|nanos| Timespec {
            tv_sec: (nanos / 1_000_000_000) as i64,
            tv_nsec: (nanos % 1_000_000_000) as _,
        });
        let mut polled = Vec::with_capacity(self.files.len());
        for file in &self.files {
            let flags = if file.kind == FD_READ { PollFlags::IN } else { PollFlags::OUT };
            polled.push((file.descriptor.fd().ok_or(Errno::Badf)?, flags));
        }
        let found = waiter.poll(&polled, timeout.as_ref())?;
        for (file, flags) in self.files.iter().zip(found) {
            if !flags.is_empty() {
                let result = file.descriptor.became_ready(file.kind, flags);
                self.happened.push(Event { userdata: file.userdata, kind: file.kind, result });
            }
        }
        let end = now(ClockId::Monotonic);
        for (userdata, due) in &self.clocks {
            if *due <= end {
                let result = Ok(Ready::default());
                self.happened.push(Event { userdata: *userdata, kind: CLOCK, result });
            }
        }
        Ok(())
    }
}

impl WasiCtx {
    pub(super) fn poll_oneoff(
        &mut self,
        memory: &mut GuestMemory<'_>,
        subscriptions: u32,
        events: u32,
        count: u32,
        out: u32,
    ) -> Result<(), Errno> {
        if count == 0 || count > MOST {
            return Err(Errno::Inval);
        }
        memory.check_array(subscriptions, count, SUBSCRIPTION)?;
        memory.check_array(events, count, EVENT)?;
        memory.check_array(out, 1, 4)?;
        let begin = now(ClockId::Monotonic);
        let mut all = Subscriptions::default();
        for index in 0..count {
            all.add(self, memory, subscriptions + index * SUBSCRIPTION, begin)?;
        }
        // A clock may be due a little later than the system wakes the program.
        loop {
            all.wait(&self.waiter)?;
            if !all.happened.is_empty() {
                break;
            }
        }
        for (index, event) in all.happened.iter().enumerate() {
            event.write(memory, events + index as u32 * EVENT)?;
        }
        memory.write_u32(out, all.happened.len() as u32)
    }
}
