//! Linear memories. Each has one reservation, so that growth never moves it and compiled code needs
//! no bounds checks.
//!
//! The address of an access is `base + zext(address) + offset`, where `address` is below 2^32 and
//! `offset` below [`OFFSET_GUARD`]. So 4 GiB and the guard are reserved. They stay unmapped until
//! the memory grows, so that accesses out of bounds fault.

use super::layout::DEFINITION_LEN;
use super::words::VMWords;
use crate::types::externs::PAGE_SIZE;
use anyhow::{Result, bail};
use gc_runtime::{MappedMemory, MemoryPurpose, MemoryRequest, MemorySource};
use gc_types::Trap;
use std::sync::Arc;
use wasmtime_types::Memory;

/// Offsets below this, minus the size of the largest access, are not checked.
pub(crate) const OFFSET_GUARD: u64 = 2 << 30;

const RESERVED: usize = ((4 << 30) + OFFSET_GUARD) as usize;

/// A memory of a store.
pub(crate) struct MemoryData {
    /// The part that compiled code reads.
    pub(crate) definition: VMWords,
    pub(crate) ty: Memory,
    memory: MappedMemory,
    /// The maximal number of pages.
    maximum: u64,
}

impl MemoryData {
    /// Takes a memory from `source` and maps its minimal size. Initializes `definition`. The memory
    /// may never have more than `limit` bytes.
    pub(crate) fn new(
        source: &Arc<dyn MemorySource>,
        ty: Memory,
        definition: VMWords,
        limit: u64,
    ) -> Result<MemoryData> {
        let minimum = ty.limits.min;
        let maximum = ty.limits.max.unwrap_or(65536).min(65536).min(limit / PAGE_SIZE);
        if minimum > maximum {
            bail!("a memory of {minimum} pages exceeds the limit of {maximum} pages");
        }
        let initial = (minimum * PAGE_SIZE) as usize;
        let purpose = MemoryPurpose::LinearMemory;
        let request = MemoryRequest { purpose, size: RESERVED, unmapped: 0, initial };
        let memory = MappedMemory::new(source, request)?;
        let mut memory = MemoryData { definition, ty, memory, maximum };
        memory.set_definition(initial);
        Ok(memory)
    }

    fn set_definition(&mut self, len: usize) {
        self.definition.set_pointer(0, self.memory.base());
        self.definition.set(DEFINITION_LEN, len as u64);
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.definition.get(DEFINITION_LEN) as usize
    }

    /// The number of pages.
    pub(crate) fn pages(&self) -> u64 {
        self.len() as u64 / PAGE_SIZE
    }

    /// Grows by `delta` pages. Returns the old size in pages, or `None` if the memory cannot grow.
    pub(crate) fn grow(&mut self, delta: u64) -> Option<u64> {
        let old = self.pages();
        let new = old.checked_add(delta).filter(|new| *new <= self.maximum)?;
        let (from, to) = (self.len(), (new * PAGE_SIZE) as usize);
        if to > from {
            let grown = self.memory.grow(to);
            grown.inspect_err(|error| log::warn!("{error}")).ok()?;
            self.set_definition(to);
        }
        Some(old)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory.bytes()[..self.len()]
    }

    /// The bytes, mutable.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.memory.bytes_mut()[..len]
    }

    /// Copies `source[from..][..len]` to `at`.
    pub(crate) fn init(&mut self, at: u32, source: &[u8], from: u32, len: u32) -> Result<(), Trap> {
        let source = &source[range(from, len, source.len())?];
        let target = range(at, len, self.len())?;
        self.bytes_mut()[target].copy_from_slice(source);
        Ok(())
    }

    /// Sets the `len` bytes that begin at `at` to `byte`.
    pub(crate) fn fill(&mut self, at: u32, byte: u8, len: u32) -> Result<(), Trap> {
        let target = range(at, len, self.len())?;
        self.bytes_mut()[target].fill(byte);
        Ok(())
    }

    /// Copies `len` bytes from `from` to `at`. The ranges may overlap.
    pub(crate) fn copy_within(&mut self, at: u32, from: u32, len: u32) -> Result<(), Trap> {
        let source = range(from, len, self.len())?;
        range(at, len, self.len())?;
        self.bytes_mut().copy_within(source, at as usize);
        Ok(())
    }
}

/// The range of `len` bytes from `at`, if it lies within `size` bytes.
fn range(at: u32, len: u32, size: usize) -> Result<std::ops::Range<usize>, Trap> {
    let end = u64::from(at) + u64::from(len);
    if end > size as u64 {
        return Err(Trap::MemoryOutOfBounds);
    }
    Ok(at as usize..end as usize)
}
