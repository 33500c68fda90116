//! Linear memories: one reservation each, so that growth never moves them and
//! compiled code needs no bounds checks.
//!
//! An access is `base + zext(address) + offset` with both below 2^32 and the offset
//! below [`OFFSET_GUARD`]: 4 GiB of indices and the guard are reserved, unmapped
//! until the memory grows there, so that what is out of bounds faults.

use crate::types::externs::PAGE_SIZE;
use crate::vmctx::VMMemoryDefinition;
use anyhow::{Result, anyhow, bail};
use gc_types::Trap;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use std::ptr::{NonNull, null_mut};
use wasmtime_types::Memory;

/// Offsets below this, less the largest access, are not checked.
pub(crate) const OFFSET_GUARD: u64 = 2 << 30;

const RESERVED: usize = ((4 << 30) + OFFSET_GUARD) as usize;

/// A memory of a store.
pub(crate) struct MemoryData {
    /// What compiled code sees.
    pub(crate) definition: NonNull<VMMemoryDefinition>,
    pub(crate) ty: Memory,
    base: NonNull<u8>,
    /// Pages it may never grow past.
    maximum: u64,
}

impl MemoryData {
    /// Reserves a memory and maps its least size. `definition` is filled in and
    /// must live as long as the memory does; it may never have more than `limit` bytes.
    pub(crate) fn new(
        ty: Memory,
        definition: NonNull<VMMemoryDefinition>,
        limit: u64,
    ) -> Result<MemoryData> {
        let minimum = ty.limits.min;
        let maximum = ty.limits.max.unwrap_or(65536).min(65536).min(limit / PAGE_SIZE);
        if minimum > maximum {
            bail!("a memory of {minimum} pages passes the limit of {maximum} pages");
        }
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh anonymous mapping touches nobody's memory.
        let base = unsafe { mmap_anonymous(null_mut(), RESERVED, ProtFlags::empty(), flags) };
        let base = base.map_err(|e| anyhow!(e).context("reserving a linear memory"))?;
        let base = NonNull::new(base.cast::<u8>()).expect("a mapping is not at address zero");
        let mut memory = MemoryData { definition, ty, base, maximum };
        memory.set_definition(0);
        if memory.grow(minimum).is_none() {
            bail!("the system refused {minimum} pages for a linear memory");
        }
        Ok(memory)
    }

    fn set_definition(&mut self, len: usize) {
        // SAFETY: the definition lives as long as the memory.
        unsafe {
            self.definition.write(VMMemoryDefinition { base: self.base.as_ptr(), len });
        }
    }

    /// Number of bytes.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: as above.
        unsafe { self.definition.as_ref() }.len
    }

    /// Number of pages.
    pub(crate) fn pages(&self) -> u64 {
        self.len() as u64 / PAGE_SIZE
    }

    /// Grows by `delta` pages; the former size in pages, `None` if it cannot.
    pub(crate) fn grow(&mut self, delta: u64) -> Option<u64> {
        let old = self.pages();
        let new = old.checked_add(delta).filter(|new| *new <= self.maximum)?;
        let (from, to) = (self.len(), (new * PAGE_SIZE) as usize);
        if to > from {
            let access = MprotectFlags::READ | MprotectFlags::WRITE;
            // SAFETY: the range is inside this memory's own reservation.
            unsafe { mprotect(self.base.add(from).as_ptr().cast(), to - from, access) }.ok()?;
            self.set_definition(to);
        }
        Some(old)
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: that many bytes are mapped, and compiled code does not run while
        // the store is borrowed.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len()) }
    }

    /// The bytes, to change them.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the store is borrowed uniquely.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len()) }
    }

    /// Copies `source[from..][..len]` to `at`.
    pub(crate) fn init(&mut self, at: u32, source: &[u8], from: u32, len: u32) -> Result<(), Trap> {
        let source = &source[range(from, len, source.len())?];
        let target = range(at, len, self.len())?;
        self.bytes_mut()[target].copy_from_slice(source);
        Ok(())
    }

    /// Sets `len` bytes from `at` on to `byte`.
    pub(crate) fn fill(&mut self, at: u32, byte: u8, len: u32) -> Result<(), Trap> {
        let target = range(at, len, self.len())?;
        self.bytes_mut()[target].fill(byte);
        Ok(())
    }

    /// Copies `len` bytes from `from` to `at`; the ranges may overlap.
    pub(crate) fn copy_within(&mut self, at: u32, from: u32, len: u32) -> Result<(), Trap> {
        let source = range(from, len, self.len())?;
        range(at, len, self.len())?;
        self.bytes_mut().copy_within(source, at as usize);
        Ok(())
    }
}

/// The range of `len` bytes from `at` on, if it is inside `size` bytes.
fn range(at: u32, len: u32, size: usize) -> Result<std::ops::Range<usize>, Trap> {
    let end = u64::from(at) + u64::from(len);
    if end > size as u64 {
        return Err(Trap::MemoryOutOfBounds);
    }
    Ok(at as usize..end as usize)
}

impl Drop for MemoryData {
    fn drop(&mut self) {
        // SAFETY: the mapping is this memory's own, and nothing points into it any more.
        if let Err(error) = unsafe { munmap(self.base.as_ptr().cast(), RESERVED) } {
            log::error!("unmapping a linear memory: {error}");
        }
    }
}
