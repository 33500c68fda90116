//! Memory: where it comes from, and the memory of heaps.
//!
//! Everything that a store maps comes from a [`MemorySource`] (`source.rs`), usually from
//! [`OnDemand`] or a [`Pool`]. Address space that is not in use is a [`Reservation`] or a [`UsedReservation`],
//! address space in use is [`MappedMemory`]. [`ZeroedVec`] is a table in such memory, and
//! [`Admission`] counts what is too small for it.
//!
//! The memory of a heap is one reservation of address space, and the data words that emitted code
//! shares with the collector. The first 64 KiB of the reservation are never mapped; the rest is
//! mapped as far as the heap has grown. The host reads and writes a heap only through [`HeapMemory`] (`bytes.rs`). The mapping itself is
//! shared ([`HeapMapping`]), so code that runs compiled code can keep the mapping alive after the
//! heap is dropped.
#![allow(unsafe_code)]

mod admission;
mod ahead;
mod bytes;
mod kept;
mod mapped;
mod on_demand;
mod pool;
mod reservation;
mod source;
#[cfg(test)]
mod tests;
mod view;
mod zeal;
mod zeroed;

pub use admission::Admission;
use ahead::Ahead;
pub(crate) use kept::KeptWords;
pub use mapped::MappedMemory;
pub use on_demand::OnDemand;
pub use pool::{Pool, PoolOptions, PoolSlots};
use reservation::Base;
pub use reservation::{Reservation, UsedReservation};
pub use source::{Growth, MemoryPurpose, MemoryRequest, MemorySource};
pub use view::{HeapBytes, HeapView, SharedBytes};
pub use zeroed::{ZeroIsNone, Zeroable, ZeroedVec};

use crate::{HeapBounds, HeapError, HeapOptions, os};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{CollectorAbi, HEAP_GUARD_SIZE, HeapDataOffsets, NULL_PAGE_SIZE, SideTable};
use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};

const DATA_WORDS: usize = HeapDataOffsets::SIZE as usize / 4;
/// The offsets of the words of the bound.
const BOUND: Range<u32> = HeapDataOffsets::BOUND..HeapDataOffsets::BOUND + 8;
/// A bit for each of these words.
const BOUND_WORDS: u32 = 0b11 << (HeapDataOffsets::BOUND / 4);
const _: () = assert!(DATA_WORDS <= u32::BITS as usize);
const NULL_PAGE: u64 = NULL_PAGE_SIZE as u64;
/// The indices for which a heap asks for huge pages. Smaller heaps use little memory, and a huge page
/// would be most of it. In a virtual machine whose host does not have the memory, a huge page costs
/// four times as much as small ones. So a heap asks for none beyond 256 MiB. It asks from 4 MiB on, because
/// the first nursery ends before. With 4 MiB instead of 16, `string_build` took 0.93 of its time. A heap's
/// growth is not rounded up to huge pages, because a policy would be asked for memory that nobody needs.
const HUGE: Range<u64> = 4 << 20..256 << 20;

/// Ranges of fewer bytes are zeroed without a question to the system about their pages.
const LEAST_EXAMINED: u64 = 256 << 10;
/// Bytes of the parts of a larger range. Each is overwritten, or given back to the system.
const PIECE: u64 = 256 << 10;
/// No page has fewer bytes.
const LEAST_PAGE: u64 = 4 << 10;

/// The data words, alone on their cache lines.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct HeapData([AtomicU32; DATA_WORDS]);

/// A heap's address space and its data words, both at addresses that never change. The address
/// space goes back to its source when the last handle is dropped.
#[derive(Debug)]
pub struct HeapMapping {
    memory: MappedMemory,
    data: HeapData,
    /// A bit for each data word that a [`KeptWords`] keeps.
    kept: AtomicU32,
    /// Of these, the words of tables whose owners were dropped.
    ownerless: AtomicU32,
    /// The tables that the collector's ABI has, if the memory was made for a collector.
    declared: OnceLock<Vec<SideTable>>,
    /// A bit for each word that belongs to one of them.
    declared_words: AtomicU32,
    /// The address and the size in bytes of each table that has memory, by the words of its owner.
    extents: Mutex<BTreeMap<u32, (usize, usize)>>,
    /// The tables whose owners were dropped.
    left: Mutex<Vec<Box<dyn Any + Send>>>,
    /// Made when memory is first touched ahead.
    ahead: OnceLock<Ahead>,
}

impl Drop for HeapMapping {
    fn drop(&mut self) {
        // Before the memory goes back.
        self.ahead.get().inspect(|ahead| ahead.stop());
    }
}

impl HeapMapping {
    /// As much address space as memory for a heap with these options has. Nothing of it is ever
    /// mapped, and its data words are zero.
    pub(crate) fn absent(options: &HeapOptions) -> Result<Arc<HeapMapping>, HeapError> {
        let (size, _maximum) = HeapMemory::size_to_reserve(options)?;
        let purpose = MemoryPurpose::NoHeap;
        let request = MemoryRequest { purpose, size, unmapped: 0, initial: 0, affinity: 0 };
        HeapMapping::new(options, request)
    }

    fn new(options: &HeapOptions, request: MemoryRequest) -> Result<Arc<HeapMapping>, HeapError> {
        let memory = MappedMemory::new(&options.memory, request)?;
        Ok(Arc::new(HeapMapping {
            memory,
            data: HeapData::default(),
            kept: AtomicU32::default(),
            ownerless: AtomicU32::default(),
            declared: OnceLock::new(),
            declared_words: AtomicU32::default(),
            extents: Mutex::default(),
            left: Mutex::default(),
            ahead: OnceLock::new(),
        }))
    }

    /// Address of the heap's first byte, which is not mapped. Constant.
    #[inline]
    pub fn base(&self) -> *mut u8 {
        self.memory.base()
    }

    /// Bytes of address space reserved from the base on, guard included.
    pub fn reserved(&self) -> usize {
        self.memory.request().size
    }

    /// Address of the data words ([`HeapDataOffsets::SIZE`] bytes). Constant.
    pub fn data(&self) -> *const u8 {
        (&raw const self.data).cast()
    }

    /// The data word at byte `offset`.
    #[inline]
    fn data_word(&self, offset: u32) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "heap data is in words");
        &self.data.0[offset as usize / 4]
    }

    /// Lets only these tables exist, and only them write their [words](SideTable::owned_words). As long as no table
    /// owns the words of allocation, the heap may write them.
    pub(crate) fn declare(&self, collector: &CollectorAbi) {
        const ALLOCATION: u32 = 1 << (NEXT / 4) | 1 << (LIMIT / 4);
        self.declared.get_or_init(|| collector.tables().collect());
        self.declared_words.store(collector.table_words() & !ALLOCATION, Relaxed);
    }

    /// Whether `table` is there.
    pub(crate) fn has_table(&self, table: SideTable) -> bool {
        let words = table.owned_words();
        self.kept.load(Relaxed) & words == words
    }

    /// Whether the word at byte `offset` is written only by the heap's memory or the owner of a table.
    #[inline]
    fn is_kept(&self, offset: u32) -> bool {
        let kept = self.kept.load(Relaxed) | self.declared_words.load(Relaxed) | BOUND_WORDS;
        kept & 1 << (offset / 4) != 0
    }
}

/// The bytes of one heap and its data words. Besides compiled code, only this handle writes them.
///
/// # Examples
/// ```
/// use gc_heap::{HeapMemory, HeapOptions};
/// use gc_types::NULL_PAGE_SIZE;
///
/// let mut memory = HeapMemory::new(&HeapOptions::default())?;
/// let first = u64::from(NULL_PAGE_SIZE);
/// memory.write_u32(first, 42).unwrap();
/// assert_eq!(memory.read_u32(first), Some(42));
///
/// // Every access is checked.
/// assert_eq!(memory.read_u32(0), None);
/// assert_eq!(memory.read_u32(memory.len() - 2), None);
/// let end = memory.len();
/// memory.grow(1 << 20)?;
/// assert_eq!(memory.read_u32(end - 2), Some(0));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct HeapMemory {
    mapping: Arc<HeapMapping>,
    /// The address of the mapping, so that accesses do not look it up.
    base: Base,
    /// Bytes from the base up to the end of the mapped memory. A multiple of the page size, not
    /// below `NULL_PAGE`. Zero if there is no memory.
    len: u64,
    /// The maximum of `len`.
    maximum: u64,
    bounds: HeapBounds,
    zeal: u32,
}

impl HeapMemory {
    /// Takes address space from the source of the options and maps its initial part.
    ///
    /// # Errors
    /// If the options cannot be satisfied or the system refuses.
    pub fn new(options: &HeapOptions) -> Result<HeapMemory, HeapError> {
        let (size, maximum) = HeapMemory::size_to_reserve(options)?;
        let len = HeapMemory::maximum_for(options.initial).min(maximum);
        let request = MemoryRequest {
            purpose: MemoryPurpose::GcHeap,
            size,
            unmapped: NULL_PAGE as usize,
            initial: (len - NULL_PAGE) as usize,
            affinity: 0,
        };
        let mapping = HeapMapping::new(options, request)?;
        let (base, bounds) = (mapping.memory.base, options.bounds);
        let zeal = options.zeal;
        let mut memory = HeapMemory { mapping, base, len, maximum, bounds, zeal };
        memory.publish_bound();
        memory.advise_huge(0);
        Ok(memory)
    }

    /// The bytes of address space for memory with these options, and the
    /// [`maximum`](HeapMemory::maximum) of the memory.
    fn size_to_reserve(options: &HeapOptions) -> Result<(usize, u64), HeapError> {
        let page = os::page_size() as u64;
        if options.maximum > 4 << 30 {
            return Err(HeapError::Options {
                what: format!("a GC heap of {} bytes: 32-bit indices reach 4 GiB", options.maximum),
            });
        }
        if !page.is_power_of_two() || page > NULL_PAGE {
            return Err(HeapError::System {
                what: format!("pages of {page} bytes are larger than the null page"),
            });
        }
        let maximum = HeapMemory::maximum_for(options.maximum);
        let reserved = match options.bounds {
            HeapBounds::Guarded => (4 << 30) + HEAP_GUARD_SIZE,
            HeapBounds::Checked => maximum,
        };
        let reserved = usize::try_from(reserved).map_err(|_| HeapError::Options {
            what: format!("{reserved} bytes do not fit this machine's address space"),
        })?;
        Ok((reserved, maximum))
    }

    /// The [`maximum`](HeapMemory::maximum) of memory of which `bytes` are asked for: whole
    /// pages, not more than indices reach.
    pub(crate) fn maximum_for(bytes: u64) -> u64 {
        bytes
            .min(HeapOptions::MAX_SIZE)
            .next_multiple_of(os::page_size() as u64)
            .clamp(NULL_PAGE, HeapOptions::MAX_SIZE)
    }

    /// A handle that keeps the mapping alive. It does not keep the objects.
    pub fn mapping(&self) -> Arc<HeapMapping> {
        Arc::clone(&self.mapping)
    }

    /// Whether this is the memory of `mapping`.
    pub(crate) fn is_in(&self, mapping: &Arc<HeapMapping>) -> bool {
        Arc::ptr_eq(&self.mapping, mapping)
    }

    /// Address of the heap's first byte, which is not mapped. Constant.
    #[inline]
    pub fn base(&self) -> *mut u8 {
        self.base.0.as_ptr()
    }

    /// Where the memory comes from. Tables of a collector come from there too ([`ZeroedVec`]).
    pub fn source(&self) -> &Arc<dyn MemorySource> {
        self.mapping.memory.source()
    }

    /// Address of the data words. Constant.
    pub fn data(&self) -> *const u8 {
        self.mapping.data()
    }

    /// Bytes from the base to the end of the mapped memory. The mapped part begins at
    /// [`NULL_PAGE_SIZE`].
    #[allow(clippy::len_without_is_empty, reason = "an address range, not a collection")]
    #[inline]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// The maximum of [`len`](HeapMemory::len), in bytes.
    pub fn maximum(&self) -> u64 {
        self.maximum
    }

    /// Bytes that are mapped and usable.
    #[inline]
    pub fn usable(&self) -> u64 {
        self.len.saturating_sub(NULL_PAGE)
    }

    /// How emitted code may address this memory.
    pub fn bounds(&self) -> HeapBounds {
        self.bounds
    }

    /// The bytes that [`grow`](HeapMemory::grow) would map: whole pages up to the limit.
    pub fn growth(&self, bytes: u64) -> u64 {
        let room = self.maximum - self.len;
        bytes.max(1).min(room).next_multiple_of(os::page_size() as u64).min(room)
    }

    /// Asks for huge pages from index `from` on, as far as they are wanted.
    fn advise_huge(&self, from: u64) {
        let base = self.base().addr() as u64;
        let from = (base + from.max(HUGE.start)).next_multiple_of(os::HUGE_PAGE) - base;
        if let Some(bytes) = self.len.min(HUGE.end).checked_sub(from).filter(|&bytes| bytes > 0) {
            // SAFETY: it is a part of the mapped memory, and begins at a huge page.
            unsafe { os::advise_huge(self.base().add(from as usize), bytes as usize) };
        }
    }

    /// Says that `count` bytes from index `at` on will be written soon, as far as they are mapped.
    /// The system may then provide memory for them on another thread, before they are written. It
    /// changes no byte, and is only a hint.
    pub fn touch_ahead(&self, at: u64, count: u64) {
        let page = os::page_size() as u64;
        let end = at.saturating_add(count).min(self.len) / page * page;
        let start = at.max(NULL_PAGE).checked_next_multiple_of(page);
        if let Some(start) = start.filter(|&start| start < end) {
            let ahead = self.mapping.ahead.get_or_init(|| Ahead::new(self.base));
            // SAFETY: they are whole pages of the mapped memory, and the mapping stops it before it
            // is released.
            unsafe { ahead.want(start as usize..end as usize) };
        }
    }

    /// Maps at least `bytes` more bytes after the mapped range, or as many as the limit allows.
    /// Returns how many. New bytes are zero.
    ///
    /// # Errors
    /// If the heap is at its limit or the system refuses.
    pub fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let grown = self.growth(bytes);
        if grown == 0 {
            return Err(HeapError::OutOfMemory { bytes, limit: self.maximum });
        }
        self.mapping.memory.grow((self.usable() + grown) as usize)?;
        // A huge page may have begun before.
        let from = self.len.saturating_sub(os::HUGE_PAGE);
        self.len += grown;
        self.publish_bound();
        self.advise_huge(from);
        Ok(grown)
    }

    /// Makes every mapped byte and every data word zero again, except the words that
    /// this type or a side table keeps for itself ([`set_data_u32`](HeapMemory::set_data_u32)). Mapped
    /// bytes stay mapped. At most [`OnDemand::DEFAULT_RESIDENT`] bytes of their pages stay in physical
    /// memory.
    pub fn reset(&mut self) {
        self.mapping.ahead.get().inspect(|ahead| ahead.stop());
        // SAFETY: the bytes belong to this value, which is borrowed mutably.
        unsafe { self.mapping.memory.clear(OnDemand::DEFAULT_RESIDENT) };
        for (n, word) in self.mapping.data.0.iter().enumerate() {
            if !self.mapping.is_kept(n as u32 * 4) {
                word.store(0, Relaxed);
            }
        }
    }

    /// Gives the pages of `count` bytes from index `at` on back to the system. The bytes stay
    /// mapped and are zero. Returns `None` and does nothing unless all are mapped.
    #[must_use]
    pub fn give_back(&mut self, at: u64, count: u64) -> Option<()> {
        let pointer = self.pointer(at, count)?;
        let page = os::page_size() as u64;
        if at.is_multiple_of(page) && count.is_multiple_of(page) {
            if count > 0 {
                self.mapping.ahead.get().inspect(|ahead| ahead.cancel());

                // SAFETY: the range is mapped for reading and writing, belongs to
                // this value, and both its ends are multiples of the page size.
                unsafe { os::zero(pointer, count as usize) };
            }
            Some(())
        } else {
            self.fill(at, count, 0)
        }
    }

    /// Makes `count` bytes from index `at` on zero. Of a large range, the parts that have hardly any
    /// physical memory go back to the system, so that a range that was never written costs no memory
    /// and almost no time. Returns `None` and does nothing unless all are mapped.
    ///
    /// To overwrite 64 MiB that are in memory takes 2 to 9 ms. To give them back takes 10 ms, and 70 ms more
    /// when they are written again. But to overwrite what was never written provides all of it.
    #[must_use]
    pub fn zero(&mut self, at: u64, count: u64) -> Option<()> {
        self.pointer(at, count)?;
        let end = at + count;
        let page = os::page_size() as u64;
        let first = at.next_multiple_of(page);
        if count < LEAST_EXAMINED {
            return self.fill(at, count, 0);
        }
        self.fill(at, first - at, 0)?;
        let base = self.base().addr() as u64;
        let (mut next, mut absent) = (first, first..first);
        while next < end {
            // No piece is in two huge pages. Otherwise a write to the first would provide the second.
            let limit = (base + next + 1).next_multiple_of(PIECE) - base;
            let piece = next..limit.min(end);
            next = piece.end;
            if self.is_absent(piece.clone(), page) {
                absent.end = piece.end;
                continue;
            }
            self.give_back(absent.start, absent.end - absent.start)?;
            absent = piece.end..piece.end;
            self.fill(piece.start, piece.end - piece.start, 0)?;
        }
        self.give_back(absent.start, absent.end - absent.start)
    }

    /// Whether it is known that most of these mapped pages, at most those of a piece, have no physical
    /// memory.
    fn is_absent(&self, pages: Range<u64>, page: u64) -> bool {
        let bytes = pages.end - pages.start;
        let mut resident = [1; (PIECE / LEAST_PAGE) as usize];
        if !bytes.is_multiple_of(page) || page < LEAST_PAGE {
            return false;
        }
        let resident = &mut resident[..(bytes / page) as usize];
        let Some(first) = self.pointer(pages.start, bytes) else { return false };
        // SAFETY: they are whole pages of the mapped memory, and there is an entry for each.
        let known = unsafe { os::resident(first, bytes as usize, resident) };
        let present: usize = resident.iter().map(|page| usize::from(page & 1)).sum();
        known && present < resident.len() / 2
    }

    // ---- data words -----------------------------------------------------

    /// The data word at byte `offset`.
    ///
    /// # Panics
    /// Unless `offset` is a multiple of 4 below [`HeapDataOffsets::SIZE`]. Callers pass a constant,
    /// never a value read from a heap.
    #[inline]
    pub fn data_u32(&self, offset: u32) -> u32 {
        self.data_word(offset).load(Relaxed)
    }

    /// Writes the data word at byte `offset`, which emitted code reads.
    ///
    /// # Panics
    /// * As [`data_u32`](HeapMemory::data_u32).
    /// * If it is one of the words of [`HeapDataOffsets::BOUND`], or a word that belongs to a
    ///   [table](gc_types::SideTable::owned_words) of the collector. Emitted code relies on them, so only
    ///   this type and the owner of the table write them.
    /// * If it is [`NEXT`] or [`LIMIT`], and emitted code would allocate outside the mapped memory:
    ///   unless `LIMIT` is zero, it must not exceed [`len`](HeapMemory::len), and `NEXT` must not be
    ///   in the null page.
    #[inline]
    pub fn set_data_u32(&mut self, offset: u32, value: u32) {
        let word = self.data_word(offset);
        if self.mapping.is_kept(offset) {
            self.refuse_to_write(offset);
        }
        match offset {
            NEXT => self.check_free(value, self.data_u32(LIMIT)),
            LIMIT => self.check_free(self.data_u32(NEXT), value),
            _ => (),
        }
        word.store(value, Relaxed);
    }

    #[cold]
    fn refuse_to_write(&self, offset: u32) -> ! {
        assert!(!BOUND.contains(&offset), "only the heap's memory writes its bound");
        panic!("only the owner of a side table writes the data word at {offset}");
    }

    /// Refuses a range for allocation that is not mapped.
    #[inline]
    pub(crate) fn check_free(&self, next: u32, limit: u32) {
        let mapped = next >= NULL_PAGE_SIZE && u64::from(limit) <= self.len;
        assert!(
            limit == 0 || mapped,
            "emitted code would allocate from {next:#x} to {limit:#x}, where the heap is not \
             mapped: it is from {NULL_PAGE_SIZE:#x} to {:#x}",
            self.len
        );
    }

    /// The two data words at byte `offset` as one number. The read is not atomic. It is consistent
    /// because no compiled code of this heap runs while the host runs.
    ///
    /// # Panics
    /// As [`data_u32`](HeapMemory::data_u32).
    pub fn data_u64(&self, offset: u32) -> u64 {
        let halves = [self.data_u32(offset), self.data_u32(offset + 4)];
        let [low, high] =
            if cfg!(target_endian = "little") { halves } else { [halves[1], halves[0]] };
        u64::from(high) << 32 | u64::from(low)
    }

    /// Writes the two data words at byte `offset` as one number.
    ///
    /// # Panics
    /// As [`set_data_u32`](HeapMemory::set_data_u32).
    pub fn set_data_u64(&mut self, offset: u32, value: u64) {
        let [first, second] = halves(value);
        self.set_data_u32(offset, first);
        self.set_data_u32(offset + 4, second);
    }

    /// Writes the bound that emitted code compares addresses with.
    fn publish_bound(&mut self) {
        let [first, second] = halves(self.len);
        self.data_word(HeapDataOffsets::BOUND).store(first, Relaxed);
        self.data_word(HeapDataOffsets::BOUND + 4).store(second, Relaxed);
    }

    #[inline]
    fn data_word(&self, offset: u32) -> &AtomicU32 {
        self.mapping.data_word(offset)
    }
}

/// The two words of a number, in the order of their addresses.
fn halves(value: u64) -> [u32; 2] {
    let (low, high) = (value as u32, (value >> 32) as u32);
    if cfg!(target_endian = "little") { [low, high] } else { [high, low] }
}
