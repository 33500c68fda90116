//! Arguments, environment, random numbers, and the end of the program.

use super::context::{Strings, WasiCtx};
use super::errno::Errno;
use super::memory::GuestMemory;
use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;

/// Bytes that are made at random before the function looks whether the program was interrupted.
const RANDOM_PART: usize = 1 << 20;

/// The error with which a program ends that calls `proc_exit`. The number is its exit status: zero
/// for success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct I32Exit(pub i32);

impl fmt::Display for I32Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program ended with exit status {}", self.0)
    }
}

impl std::error::Error for I32Exit {}

impl Strings {
    fn sizes(&self, memory: &mut GuestMemory<'_>, count: u32, size: u32) -> Result<(), Errno> {
        memory.write_u32(count, self.len()?)?;
        memory.write_u32(size, self.size()?)
    }

    /// Writes the strings, each with a zero after it, at `text`, and their addresses at `pointers`.
    fn write(&self, memory: &mut GuestMemory<'_>, pointers: u32, text: u32) -> Result<(), Errno> {
        memory.check_array(pointers, self.len()?, 4)?;
        memory.check_array(text, self.size()?, 1)?;
        let (mut pointer, mut text) = (pointers, text);
        for string in self.iter() {
            memory.write_u32(pointer, text)?;
            memory.write(text, string)?;
            pointer += 4;
            text += string.len() as u32;
        }
        Ok(())
    }
}

impl WasiCtx {
    pub(super) fn args_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        argv: u32,
        text: u32,
    ) -> Result<(), Errno> {
        self.args.write(memory, argv, text)
    }

    pub(super) fn args_sizes_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        count: u32,
        size: u32,
    ) -> Result<(), Errno> {
        self.args.sizes(memory, count, size)
    }

    pub(super) fn environ_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        environ: u32,
        text: u32,
    ) -> Result<(), Errno> {
        self.env.write(memory, environ, text)
    }

    pub(super) fn environ_sizes_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        count: u32,
        size: u32,
    ) -> Result<(), Errno> {
        self.env.sizes(memory, count, size)
    }

    pub(super) fn random_get(
        &mut self,
        memory: &mut GuestMemory<'_>,
        buffer: u32,
        len: u32,
    ) -> Result<(), Errno> {
        let mut rest = memory.bytes_mut(buffer, len)?;
        while !rest.is_empty() {
            self.waiter.check()?;
            let part = rest.len().min(RANDOM_PART);
            match getrandom(&mut rest[..part], GetRandomFlags::empty()) {
                Ok(count) => rest = &mut rest[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) fn sched_yield(&mut self, _memory: &mut GuestMemory<'_>) -> Result<(), Errno> {
        std::thread::yield_now();
        Ok(())
    }

    /// A program cannot send signals, as in Wasmtime.
    pub(super) fn proc_raise(
        &mut self,
        _memory: &mut GuestMemory<'_>,
        signal: u32,
    ) -> Result<(), Errno> {
        match signal {
            // It only asks whether it could.
            0 => Ok(()),
            1..=30 => Err(Errno::Notsup),
            _ => Err(Errno::Inval),
        }
    }
}
