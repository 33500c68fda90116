//! Linear memories. Each has a reservation of address space, in which it grows without being moved.
//!
//! After the reservation follows a guard, which is never accessible. Where the reservation covers
//! all 32-bit addresses, an access at `base + zext(address) + offset` with a constant offset smaller
//! than the guard faults if it is out of bounds, and needs no check. Other accesses are compared
//! with the memory's length: those of 64-bit memories, and those of all memories if
//! [`Config::memory_reservation`](crate::Config::memory_reservation) is smaller than 4 GiB.
//!
//! A memory that needs more than its reservation gets a larger one, and its bytes are moved there.
//! Compiled code loads the address and the length again after each call.

use super::layout::DEFINITION_LEN;
use super::table::CannotGrow;
use super::words::VMWords;
use crate::pool;
use crate::types::PAGE_SIZE;
use anyhow::Result;
use gc_runtime::{HeapError, MappedMemory, MemoryPurpose, MemoryRequest, MemorySource};
use gc_types::Trap;
use std::fmt;
use std::sync::Arc;
use wasmtime_types::{IndexType, Memory};

/// The largest access in bytes, rounded up.
#[cfg(feature = "compiler")]
const WIDEST: u64 = 16;

/// More address space than a process of today has.
const MAX_SPACE: u64 = 1 << 47;

/// Bytes that are copied together when a memory is moved.
const CHUNK: usize = 4 << 10;

/// How the linear memories of an engine are laid out, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemorySettings {
    /// Address space of a memory, without its guard.
    pub(crate) reservation: u64,
    /// Address space after a memory that is larger than its reservation.
    pub(crate) reservation_for_growth: u64,
    /// Address space after that, which is never accessible.
    pub(crate) guard: u64,
    /// Whether a memory may be moved when it grows beyond its reservation.
    pub(crate) may_move: bool,
    /// The maximal size of a memory.
    pub(crate) maximum: u64,
}

impl Default for MemorySettings {
    fn default() -> MemorySettings {
        MemorySettings {
            reservation: 4 << 30,
            reservation_for_growth: 2 << 30,
            guard: 2 << 30,
            may_move: true,
            maximum: 4 << 30,
        }
    }
}

impl MemorySettings {
    /// The settings with sizes in whole pages of WebAssembly.
    pub(crate) fn rounded(self) -> MemorySettings {
        let round = |bytes: u64| bytes.checked_next_multiple_of(PAGE_SIZE).unwrap_or(u64::MAX);
        MemorySettings {
            reservation: round(self.reservation),
            reservation_for_growth: round(self.reservation_for_growth),
            guard: round(self.guard),
            ..self
        }
    }

    /// Whether the reservation of 32-bit memories covers all addresses.
    pub(crate) fn covers_32_bits(&self) -> bool {
        self.reservation >= 1 << 32
    }

    /// Constant offsets below this are covered by the guard. It has room for them and the widest
    /// access. They fit 31 bits.
    #[cfg(feature = "compiler")]
    pub(crate) fn guarded_offsets(&self) -> u64 {
        self.guard.min(1 << 31).saturating_sub(WIDEST)
    }

    /// The maximal number of pages of a memory of this type.
    pub(crate) fn maximum_pages(&self, ty: &Memory) -> u64 {
        own_maximum(ty).min(self.maximum / PAGE_SIZE)
    }

    /// Address space for a memory of `len` bytes, without its guard.
    fn space(&self, len: u64) -> u64 {
        match len <= self.reservation {
            true => self.reservation,
            false => {
                len.saturating_add(if self.may_move { self.reservation_for_growth } else { 0 })
            }
        }
    }

    /// The request for a memory of `len` bytes with so many bytes of space.
    fn request(&self, len: u64, space: u64) -> Result<MemoryRequest, HeapError> {
        let purpose = MemoryPurpose::LinearMemory;
        let size = space.saturating_add(self.guard).max(PAGE_SIZE);
        match (usize::try_from(size), usize::try_from(len)) {
            (Ok(size), Ok(initial)) if size as u64 <= MAX_SPACE => {
                Ok(MemoryRequest { purpose, size, unmapped: 0, initial, affinity: 0 })
            }
            _ => {
                let why =
                    format!("there are not so many addresses (with {} bytes of guard)", self.guard);
                Err(HeapError::NoMemory { purpose, bytes: space, why })
            }
        }
    }
}

/// The maximal number of pages of a memory of this type, if the engine sets no limit.
fn own_maximum(ty: &Memory) -> u64 {
    let possible = match ty.idx_type {
        IndexType::I32 => 1 << 16,
        IndexType::I64 => 1 << 48,
    };
    ty.limits.max.unwrap_or(possible).min(possible)
}

/// What compiled code depends on.
impl fmt::Display for MemorySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks = if self.covers_32_bits() { "unchecked" } else { "checked" };
        write!(f, "{checks}, guard={}", self.guard)
    }
}

/// A memory of a store.
pub(crate) struct MemoryData {
    /// The part that compiled code reads.
    pub(crate) definition: VMWords,
    pub(crate) ty: Memory,
    memory: MappedMemory,
    settings: MemorySettings,
    /// The bytes to which it can grow where it is.
    space: u64,
    /// The maximal number of pages.
    maximum: u64,
}

impl MemoryData {
    /// Takes a memory from `source` and maps its minimal size, which must not exceed
    /// [`MemorySettings::maximum_pages`]. Initializes `definition`. `affinity` is that of
    /// [`MemoryRequest`].
    pub(crate) fn new(
        source: &Arc<dyn MemorySource>,
        settings: &MemorySettings,
        ty: Memory,
        definition: VMWords,
        affinity: u64,
    ) -> Result<MemoryData> {
        let maximum = settings.maximum_pages(&ty);
        let initial = ty.limits.min * PAGE_SIZE;
        let space = settings.space(initial);
        let request = MemoryRequest { affinity, ..settings.request(initial, space)? };
        let memory = MappedMemory::new(source, request).map_err(pool::error)?;
        let mut memory = MemoryData { definition, ty, memory, settings: *settings, space, maximum };
        memory.set_definition(initial);
        Ok(memory)
    }

    fn set_definition(&mut self, len: u64) {
        self.definition.set_pointer(0, self.memory.base());
        self.definition.set(DEFINITION_LEN, len);
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.definition.get(DEFINITION_LEN) as usize
    }

    /// The number of pages.
    pub(crate) fn pages(&self) -> u64 {
        self.len() as u64 / PAGE_SIZE
    }

    /// Grows by `delta` pages. Returns the old size in pages. If the memory must be moved, this takes as
    /// long as it has bytes, until `must_end`.
    pub(crate) fn grow(
        &mut self,
        delta: u64,
        must_end: impl Fn() -> bool,
    ) -> Result<u64, CannotGrow> {
        let old = self.pages();
        let new = old.checked_add(delta).filter(|new| *new <= own_maximum(&self.ty));
        let new = new.ok_or(CannotGrow::Maximum)?;
        if new > self.maximum {
            return Err(CannotGrow::Limit(format!(
                "a memory of {new} pages exceeds the limit of {} pages (`memory_maximum`)",
                self.maximum
            )));
        }
        let to = new * PAGE_SIZE;
        if delta > 0 {
            let grown = match to <= self.space {
                true => self.memory.grow(to as usize).map_err(CannotGrow::Memory),
                false if self.settings.may_move => self.move_to(to, must_end),
                false => Err(CannotGrow::Limit(format!(
                    "a memory that may not be moved has at most {} pages (`memory_may_move`)",
                    self.space / PAGE_SIZE
                ))),
            };
            grown?;
            self.set_definition(to);
        }
        Ok(old)
    }

    /// Moves the memory to a reservation that has room for `len` bytes.
    fn move_to(&mut self, len: u64, must_end: impl Fn() -> bool) -> Result<(), CannotGrow> {
        let space = self.settings.space(len).min(self.maximum * PAGE_SIZE).max(len);
        let request = self.settings.request(len, space).map_err(CannotGrow::Memory)?;
        let moved = MappedMemory::new(self.memory.source(), request);
        let mut moved = moved.map_err(CannotGrow::Memory)?;
        let bytes = self.bytes();
        // Parts that are zero are not written, because the system has no memory for those that were
        // never written.
        let chunks = moved.bytes_mut()[..bytes.len()].chunks_mut(CHUNK).zip(bytes.chunks(CHUNK));
        for (to, from) in chunks {
            if from.iter().any(|byte| *byte != 0) {
                to.copy_from_slice(from);
            }
            if must_end() {
                return Err(CannotGrow::Interrupted);
            }
        }
        self.memory = moved;
        self.space = space;
        Ok(())
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

    /// Checks that it has `len` bytes from `at` on.
    pub(crate) fn check(&self, at: u64, len: u64) -> Result<(), Trap> {
        range(at, len, self.len()).map(drop)
    }

    /// Copies `source[from..][..len]` to `at`.
    pub(crate) fn init(&mut self, at: u64, source: &[u8], from: u64, len: u64) -> Result<(), Trap> {
        let source = &source[range(from, len, source.len())?];
        let target = range(at, len, self.len())?;
        self.bytes_mut()[target].copy_from_slice(source);
        Ok(())
    }

    /// Sets the `len` bytes that begin at `at` to `byte`.
    pub(crate) fn fill(&mut self, at: u64, byte: u8, len: u64) -> Result<(), Trap> {
        let target = range(at, len, self.len())?;
        self.bytes_mut()[target].fill(byte);
        Ok(())
    }

    /// Copies `len` bytes from `from` to `at`. The ranges may overlap.
    pub(crate) fn copy_within(&mut self, at: u64, from: u64, len: u64) -> Result<(), Trap> {
        let source = range(from, len, self.len())?;
        let target = range(at, len, self.len())?;
        self.bytes_mut().copy_within(source, target.start);
        Ok(())
    }
}

/// The range of `len` bytes from `at`, if it lies within `size` bytes.
fn range(at: u64, len: u64, size: usize) -> Result<std::ops::Range<usize>, Trap> {
    let end = at.checked_add(len).filter(|end| *end <= size as u64);
    let end = end.ok_or(Trap::MemoryOutOfBounds)?;
    Ok(at as usize..end as usize)
}
