//! Calls that use a memory.

use super::driver::{Driver, Fault, ended};
use super::host::MEMORY_LIMIT;
use super::ops::Op;
use super::world::World;
use anyhow::{Context as _, Result, ensure};

const PAGE: usize = 1 << 16;

/// An address. Some are around the end of a memory of this many bytes.
fn address(byte: u8, len: usize) -> usize {
    match byte {
        0x80.. => len + usize::from(byte % 16) - 8,
        _ => usize::from(byte) * 100,
    }
}

impl<A: Driver> World<A> {
    /// A call with the memory of a store. The first one makes the memory.
    pub(super) fn memory_call(&mut self, cx: &mut A::Cx<'_>, op: Op) -> Result<()> {
        if self.memory.is_none() {
            if !A::is_open(&self.own) {
                return Ok(());
            }
            self.memory = Some((A::new_memory(cx, &self.own)?, vec![0; PAGE]));
        }
        let (memory, bytes) = self.memory.as_mut().context("there is one")?;
        let size = A::memory_size(cx, memory)?;
        ensure!(size == bytes.len(), "{size} bytes instead of {}", bytes.len());
        match op {
            Op::MemoryGrow { pages } => {
                let pages = pages % 4;
                let new = bytes.len() + usize::from(pages) * PAGE;
                let grown = A::memory_grow(cx, memory, pages.into());
                let grown = ended::<A, _>(grown, new <= MEMORY_LIMIT, Fault::MemoryGrowth)?;
                if let Some(old) = grown {
                    ensure!(old as usize * PAGE == bytes.len(), "{old} pages before");
                    bytes.resize(new, 0);
                }
            }
            Op::MemoryWrite { at, value } => {
                let at = address(at, bytes.len());
                let places = bytes.get_mut(at..at + 3);
                let written = A::memory_write(cx, memory, at, &[value; 3]);
                if ended::<A, _>(written, places.is_some(), Fault::MemoryIndex)?.is_some()
                    && let Some(places) = places
                {
                    places.fill(value);
                }
            }
            Op::MemoryRead { at } => {
                let (at, mut read) = (address(at, bytes.len()), [0; 5]);
                let expected = bytes.get(at..at + 5);
                let result = A::memory_read(cx, memory, at, &mut read);
                if ended::<A, _>(result, expected.is_some(), Fault::MemoryIndex)?.is_some() {
                    ensure!(Some(&read[..]) == expected, "{read:?} was read at {at}");
                }
            }
            _ => {}
        }
        Ok(())
    }
}
