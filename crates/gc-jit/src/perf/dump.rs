//! The records of a dump, version 1 of the format. All numbers are in the byte order of the machine.
#![allow(unsafe_code)]

use super::{SourceLines, name};
use crate::{CodeMemory, arch};
use anyhow::{Context as _, Result};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::time::{ClockId, clock_gettime};
use std::ffi::c_void;
use std::fs::File;
use std::io::Write as _;

/// `JiTD`.
const MAGIC: u32 = 0x4a69_5444;
const VERSION: u32 = 1;
/// Bytes of the header.
const HEADER: u32 = 40;
/// Bytes of a record before what is particular to its kind.
const PREFIX: usize = 16;
/// The kind of a record with a function.
const CODE_LOAD: u32 = 0;
/// The kind of a record with the source lines of the next function.
const DEBUG_INFO: u32 = 2;

/// A mapping of the file. `perf record` writes down that it was made, and with that `perf inject` finds
/// the file. Nothing is read from it.
#[derive(Debug)]
pub(super) struct Dump {
    mapping: *mut c_void,
}

/// Bytes of the mapping.
const MAPPED: usize = 4096;

// SAFETY: only this value knows the mapping, which is not bound to a thread and never accessed.
unsafe impl Send for Dump {}
// SAFETY: as above.
unsafe impl Sync for Dump {}

impl Dump {
    /// Maps the file, and writes its header if it is empty. The file is locked.
    pub(super) fn begin(mut file: &File) -> Result<Dump> {
        if file.metadata()?.len() == 0 {
            let machine = u32::from(arch::ELF_MACHINE);
            let mut header = Vec::new();
            for word in [MAGIC, VERSION, HEADER, machine, 0, std::process::id()] {
                header.extend(word.to_ne_bytes());
            }
            header.extend(now().to_ne_bytes());
            // No flags.
            header.extend(0_u64.to_ne_bytes());
            file.write_all(&header)?;
        }
        // Only executable mappings are written down.
        let protection = ProtFlags::READ | ProtFlags::EXEC;
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping, at an address that the system chooses.
        let mapping = unsafe { mmap(null, MAPPED, protection, MapFlags::PRIVATE, file, 0) };
        let mapping = mapping.context(
            "cannot map it as executable, by which `perf` finds it: is the file system mounted with \
             `noexec`?",
        )?;
        Ok(Dump { mapping })
    }

    /// The records of the functions of `code`, which begin at byte `position` of the file.
    pub(super) fn records(
        &self,
        code: &CodeMemory,
        lines: Option<&SourceLines<'_>>,
        position: u64,
    ) -> Result<Vec<u8>> {
        let thread = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let base = code.base().addr();
        let mut bytes = Vec::new();
        for function in code.image().functions() {
            let range = function.offset..function.offset + function.size;
            let address = (base + function.offset as usize) as u64;
            if let Some(lines) = lines {
                let entries = entries(code, lines, &range);
                if !entries.is_empty() {
                    let mut body = Vec::new();
                    body.extend(address.to_ne_bytes());
                    body.extend((entries.len() as u64).to_ne_bytes());
                    for (offset, line) in entries {
                        body.extend(((base + offset as usize) as u64).to_ne_bytes());
                        body.extend(line.to_ne_bytes());
                        // No discriminator.
                        body.extend(0_u32.to_ne_bytes());
                        push_name(&mut body, lines.file);
                    }
                    push_record(&mut bytes, DEBUG_INFO, &body)?;
                }
            }
            let number = position + bytes.len() as u64;
            let mut body = Vec::new();
            body.extend(std::process::id().to_ne_bytes());
            body.extend(thread.to_ne_bytes());
            // Its address, and again, because it was not moved.
            body.extend(address.to_ne_bytes());
            body.extend(address.to_ne_bytes());
            body.extend(u64::from(function.size).to_ne_bytes());
            body.extend(number.to_ne_bytes());
            push_name(&mut body, &name(&function));
            body.extend(&code.image().code()[range.start as usize..range.end as usize]);
            push_record(&mut bytes, CODE_LOAD, &body)?;
        }
        Ok(bytes)
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        // SAFETY: only this value knows the mapping, and nothing refers to it.
        let unmapped = unsafe { munmap(self.mapping, MAPPED) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The offsets of the code in `range` at which another line begins, and the lines.
fn entries(
    code: &CodeMemory,
    lines: &SourceLines<'_>,
    range: &std::ops::Range<u32>,
) -> Vec<(u32, u32)> {
    let mut entries: Vec<(u32, u32)> = Vec::new();
    for (first, _, location) in code.image().locations_in(range.clone()) {
        let Some(line) = location.and_then(|location| (lines.line)(location)) else { continue };
        if entries.last().is_none_or(|(_, last)| *last != line) {
            entries.push((first, line));
        }
    }
    entries
}

fn push_name(bytes: &mut Vec<u8>, name: &str) {
    bytes.extend(name.bytes().filter(|byte| *byte != 0));
    bytes.push(0);
}

fn push_record(bytes: &mut Vec<u8>, kind: u32, body: &[u8]) -> Result<()> {
    let size = u32::try_from(PREFIX + body.len()).context("a record of 4 GiB")?;
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(size.to_ne_bytes());
    bytes.extend(now().to_ne_bytes());
    bytes.extend(body);
    Ok(())
}

/// The time in nanoseconds by the clock of `perf record -k mono`.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
