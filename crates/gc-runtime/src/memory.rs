//! Heap memory: one reservation of address space, mapped from its second 64 KiB
//! on as far as the heap has grown, and the data words emitted code shares with
//! the collector.
//!
//! [`HeapMemory`] is the one way the host reads and writes a heap. Every access
//! takes a byte index from the heap's base as an untrusted number, is checked
//! against what is mapped, and may be misaligned: a corrupt reference cannot
//! reach outside. Accesses go through raw pointers and never through Rust
//! references, since compiled code writes the same bytes behind the compiler's
//! back. The mapping itself is shared ([`HeapMapping`]): whoever keeps compiled
//! code running may keep it alive, whatever becomes of the heap.
#![allow(unsafe_code)]

use crate::{HeapBounds, HeapError, HeapOptions};
use gc_types::{HEAP_GUARD_SIZE, HeapDataOffsets, NULL_PAGE_SIZE};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const DATA_WORDS: usize = HeapDataOffsets::SIZE as usize / 4;
const NULL_PAGE: u64 = NULL_PAGE_SIZE as u64;

/// The data words, alone on their cache lines.
#[derive(Debug, Default)]
#[repr(C, align(64))]
struct HeapData([AtomicU32; DATA_WORDS]);

/// A heap's reservation and its data words, both at addresses that never change.
/// Unmapped when the last handle is dropped.
#[derive(Debug)]
pub struct HeapMapping {
    base: *mut u8,
    reserved: usize,
    data: HeapData,
}

// SAFETY: `base` points to memory that belongs to this value alone and is not
// bound to a thread. Through a shared `HeapMapping` nothing can be read or
// written but the data words, which are atomic.
unsafe impl Send for HeapMapping {}
// SAFETY: as above.
unsafe impl Sync for HeapMapping {}

impl HeapMapping {
    /// Address of the heap's first byte, which is not mapped. Constant.
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// Bytes of address space reserved from the base on, guard included.
    pub fn reserved(&self) -> usize {
        self.reserved
    }

    /// Address of the data words ([`HeapDataOffsets::SIZE`] bytes). Constant.
    pub fn data(&self) -> *const u8 {
        (&raw const self.data).cast()
    }
}

impl Drop for HeapMapping {
    fn drop(&mut self) {
        // SAFETY: the reservation was made by `system::reserve` with this size,
        // and the last handle to it is going away.
        unsafe { system::release(self.base, self.reserved) }
    }
}

/// The bytes of one heap and its data words: the sole handle that writes them,
/// besides compiled code.
#[derive(Debug)]
pub struct HeapMemory {
    mapping: Arc<HeapMapping>,
    /// Bytes from the base up to the end of what is mapped; a multiple of the
    /// page size, never below `NULL_PAGE`.
    len: u64,
    /// What `len` may grow to.
    maximum: u64,
    bounds: HeapBounds,
    nursery: u32,
}

impl HeapMemory {
    /// Reserves address space as `options` say and maps its initial part.
    ///
    /// # Errors
    /// If the options cannot be met or the system refuses.
    pub fn new(options: &HeapOptions) -> Result<HeapMemory, HeapError> {
        let page = system::page_size();
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
        let maximum =
            options.maximum.next_multiple_of(page).clamp(NULL_PAGE, HeapOptions::MAX_SIZE);
        let reserved = match options.bounds {
            HeapBounds::Guarded => (4 << 30) + HEAP_GUARD_SIZE,
            HeapBounds::Checked => maximum,
        };
        let reserved = usize::try_from(reserved).map_err(|_| HeapError::Options {
            what: format!("{reserved} bytes do not fit this machine's address space"),
        })?;
        let base = system::reserve(reserved)?;
        let mapping = Arc::new(HeapMapping { base, reserved, data: HeapData::default() });
        let bounds = options.bounds;
        let nursery = options.nursery_size();
        let mut memory = HeapMemory { mapping, len: NULL_PAGE, maximum, bounds, nursery };
        memory.set_data_u64(HeapDataOffsets::BOUND, NULL_PAGE);
        let initial = options.initial.min(maximum).saturating_sub(NULL_PAGE);
        if initial > 0 {
            memory.grow(initial)?;
        }
        Ok(memory)
    }

    /// A handle that keeps the mapping, and nothing in it, alive.
    pub fn mapping(&self) -> Arc<HeapMapping> {
        Arc::clone(&self.mapping)
    }

    /// Address of the heap's first byte, which is not mapped. Constant.
    pub fn base(&self) -> *mut u8 {
        self.mapping.base
    }

    /// Address of the data words. Constant.
    pub fn data(&self) -> *const u8 {
        self.mapping.data()
    }

    /// Bytes from the base to the end of what is mapped. The mapped part begins
    /// at [`NULL_PAGE_SIZE`].
    #[allow(clippy::len_without_is_empty, reason = "an address range, not a collection")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// What [`len`](HeapMemory::len) may grow to, in bytes.
    pub fn maximum(&self) -> u64 {
        self.maximum
    }

    /// Bytes that are mapped and usable.
    pub fn usable(&self) -> u64 {
        self.len - NULL_PAGE
    }

    /// Bytes from [`NULL_PAGE_SIZE`] on that are kept for a nursery, mapped or not.
    pub fn nursery(&self) -> u32 {
        self.nursery
    }

    /// How emitted code may address this memory.
    pub fn bounds(&self) -> HeapBounds {
        self.bounds
    }

    /// Maps at least `bytes` more behind what is mapped, or as much as the limit
    /// leaves; returns how many. New bytes are zero.
    ///
    /// # Errors
    /// If nothing is left below the limit or the system refuses.
    pub fn grow(&mut self, bytes: u64) -> Result<u64, HeapError> {
        let room = self.maximum - self.len;
        let grown = bytes.max(1).min(room).next_multiple_of(system::page_size()).min(room);
        if grown == 0 {
            return Err(HeapError::OutOfMemory { bytes, limit: self.maximum });
        }
        // SAFETY: `len + grown <= maximum <= reserved`, and both ends are
        // multiples of the page size.
        unsafe { system::commit(self.mapping.base.add(self.len as usize), grown as usize)? };
        self.len += grown;
        self.set_data_u64(HeapDataOffsets::BOUND, self.len);
        Ok(grown)
    }

    /// Makes every mapped byte and every data word zero again, except
    /// [`HeapDataOffsets::BOUND`]. What is mapped stays mapped; the pages behind
    /// it go back to the system.
    pub fn reset(&mut self) {
        let usable = self.usable() as usize;
        if usable > 0 {
            // SAFETY: `NULL_PAGE .. len` is mapped for reading and writing and
            // belongs to this value.
            unsafe { system::zero(self.mapping.base.add(NULL_PAGE as usize), usable) };
        }
        for word in &self.mapping.data.0 {
            word.store(0, Relaxed);
        }
        self.set_data_u64(HeapDataOffsets::BOUND, self.len);
    }

    /// Gives the pages behind `count` bytes from index `at` on back to the system.
    /// They stay mapped and are zero. `None`, and nothing happens, unless all are
    /// mapped.
    #[must_use]
    pub fn give_back(&mut self, at: u64, count: u64) -> Option<()> {
        let pointer = self.pointer(at, count)?;
        let page = system::page_size();
        if at.is_multiple_of(page) && count.is_multiple_of(page) {
            if count > 0 {
                // SAFETY: the range is mapped for reading and writing, belongs to
                // this value, and both its ends are multiples of the page size.
                unsafe { system::zero(pointer, count as usize) };
            }
            Some(())
        } else {
            self.fill(at, count, 0)
        }
    }

    // ---- data words -----------------------------------------------------

    /// The data word at byte `offset`.
    ///
    /// # Panics
    /// Unless `offset` is a multiple of 4 below [`HeapDataOffsets::SIZE`]; it is
    /// a constant, never something read from a heap.
    #[inline]
    pub fn data_u32(&self, offset: u32) -> u32 {
        self.data_word(offset).load(Relaxed)
    }

    /// Writes the data word at byte `offset`.
    ///
    /// # Panics
    /// As [`data_u32`](HeapMemory::data_u32).
    #[inline]
    pub fn set_data_u32(&mut self, offset: u32, value: u32) {
        self.data_word(offset).store(value, Relaxed);
    }

    /// The two data words at byte `offset` as one number. Whole only while no
    /// compiled code of this heap runs, which is always so when the host does.
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
    /// As [`data_u32`](HeapMemory::data_u32).
    pub fn set_data_u64(&mut self, offset: u32, value: u64) {
        let halves = [value as u32, (value >> 32) as u32];
        let [first, second] =
            if cfg!(target_endian = "little") { halves } else { [halves[1], halves[0]] };
        self.set_data_u32(offset, first);
        self.set_data_u32(offset + 4, second);
    }

    #[inline]
    fn data_word(&self, offset: u32) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "heap data is in words");
        &self.mapping.data.0[offset as usize / 4]
    }

    // ---- bytes ----------------------------------------------------------

    /// The address of `size` bytes from index `at` on, if all are mapped.
    #[inline(always)]
    fn pointer(&self, at: u64, size: u64) -> Option<*mut u8> {
        if at >= NULL_PAGE && at <= self.len && size <= self.len - at {
            // SAFETY: `at <= len`, which is inside the reservation.
            Some(unsafe { self.mapping.base.add(at as usize) })
        } else {
            None
        }
    }

    #[inline(always)]
    fn read<T: Copy>(&self, at: u64) -> Option<T> {
        let pointer = self.pointer(at, size_of::<T>() as u64)?;
        // SAFETY: the bytes are mapped; `T` is one of the integer types below,
        // for which any bytes are a value; no one writes while the host holds
        // `&self`.
        Some(unsafe { pointer.cast::<T>().read_unaligned() })
    }

    #[inline(always)]
    #[must_use]
    fn write<T: Copy>(&mut self, at: u64, value: T) -> Option<()> {
        let pointer = self.pointer(at, size_of::<T>() as u64)?;
        // SAFETY: the bytes are mapped for writing, and no Rust reference to
        // them ever exists.
        unsafe { pointer.cast::<T>().write_unaligned(value) };
        Some(())
    }

    /// Copies the bytes from index `at` on out of the heap; `None`, and nothing
    /// is copied, unless all are mapped.
    pub fn read_bytes(&self, at: u64, out: &mut [u8]) -> Option<()> {
        let pointer = self.pointer(at, out.len() as u64)?;
        // SAFETY: all source bytes are mapped, and `out` cannot overlap them,
        // since no Rust reference into the heap exists.
        unsafe { pointer.copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
        Some(())
    }

    /// Copies `bytes` into the heap from index `at` on; `None`, and nothing is
    /// written, unless all are mapped.
    #[must_use]
    pub fn write_bytes(&mut self, at: u64, bytes: &[u8]) -> Option<()> {
        let pointer = self.pointer(at, bytes.len() as u64)?;
        // SAFETY: as in `read_bytes`.
        unsafe { pointer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Some(())
    }

    /// Copies `count` bytes within the heap; they may overlap. `None`, and
    /// nothing is written, unless all are mapped.
    #[must_use]
    pub fn copy_within(&mut self, to: u64, from: u64, count: u64) -> Option<()> {
        let (to, from) = (self.pointer(to, count)?, self.pointer(from, count)?);
        // SAFETY: both ranges are mapped.
        unsafe { from.copy_to(to, count as usize) };
        Some(())
    }

    /// Copies an object: `size` bytes, rounded up to a multiple of 8, which must not
    /// overlap. `None`, and nothing is written, unless all are mapped. Faster than
    /// [`copy_within`](HeapMemory::copy_within) for the sizes most objects have.
    #[inline(always)]
    #[must_use]
    pub fn copy_object(&mut self, to: u64, from: u64, size: u32) -> Option<()> {
        let size = u64::from(size).next_multiple_of(8);
        let (to, from) = (self.pointer(to, size)?, self.pointer(from, size)?);
        if size > 128 {
            // SAFETY: both ranges are mapped.
            unsafe { from.copy_to(to, size as usize) };
            return Some(());
        }
        let mut done = 0;
        while done < size as usize {
            // SAFETY: `done + 8 <= size`, and both ranges are mapped.
            unsafe {
                let word = from.add(done).cast::<u64>().read_unaligned();
                to.add(done).cast::<u64>().write_unaligned(word);
            }
            done += 8;
        }
        Some(())
    }

    /// Sets `count` bytes from index `at` on to `byte`. `None`, and nothing is
    /// written, unless all are mapped.
    #[inline]
    #[must_use]
    pub fn fill(&mut self, at: u64, count: u64, byte: u8) -> Option<()> {
        let pointer = self.pointer(at, count)?;
        // SAFETY: the range is mapped for writing.
        unsafe { pointer.write_bytes(byte, count as usize) };
        Some(())
    }
}

macro_rules! accessors {
    ($($read:ident $write:ident $ty:ident $what:literal;)*) => {
        impl HeapMemory {
            $(
                #[doc = concat!("Reads ", $what, " at index `at`, which need not be aligned; `None` unless mapped.")]
                #[inline]
                pub fn $read(&self, at: u64) -> Option<$ty> {
                    self.read(at)
                }

                #[doc = concat!("Writes ", $what, " at index `at`, which need not be aligned; `None`, and nothing is written, unless mapped.")]
                #[inline]
                #[must_use]
                pub fn $write(&mut self, at: u64, value: $ty) -> Option<()> {
                    self.write(at, value)
                }
            )*
        }
    };
}

accessors! {
    read_u8 write_u8 u8 "one byte";
    read_u16 write_u16 u16 "two bytes";
    read_u32 write_u32 u32 "four bytes";
    read_u64 write_u64 u64 "eight bytes";
    read_u128 write_u128 u128 "sixteen bytes";
}

#[cfg(not(miri))]
mod system {
    //! Pages from the operating system.
    use crate::HeapError;
    use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

    fn refused(attempt: &str, bytes: usize, error: rustix::io::Errno) -> HeapError {
        HeapError::System { what: format!("{attempt} {bytes} bytes of GC heap: {error}") }
    }

    pub(super) fn page_size() -> u64 {
        rustix::param::page_size() as u64
    }

    pub(super) fn reserve(bytes: usize) -> Result<*mut u8, HeapError> {
        // SAFETY: a private mapping at an address the system picks touches no
        // memory that exists.
        let base = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        base.map(|base| base.cast()).map_err(|error| refused("reserving", bytes, error))
    }

    /// # Safety
    /// The range is page-aligned, inside a reservation of ours, not yet committed.
    pub(super) unsafe fn commit(at: *mut u8, bytes: usize) -> Result<(), HeapError> {
        // SAFETY: the caller's.
        unsafe {
            rustix::mm::mprotect(at.cast(), bytes, MprotectFlags::READ | MprotectFlags::WRITE)
        }
        .map_err(|error| refused("mapping", bytes, error))
    }

    /// # Safety
    /// The range is page-aligned and committed, and nobody holds references to it.
    pub(super) unsafe fn zero(at: *mut u8, bytes: usize) {
        // Only Linux promises zeroes after MADV_DONTNEED.
        // SAFETY: the caller's.
        let given_back = cfg!(target_os = "linux")
            && unsafe { rustix::mm::madvise(at.cast(), bytes, Advice::LinuxDontNeed) }.is_ok();
        if !given_back {
            // SAFETY: the caller's.
            unsafe { at.write_bytes(0, bytes) };
        }
    }

    /// # Safety
    /// The range is a whole reservation of ours that nobody uses any more.
    pub(super) unsafe fn release(base: *mut u8, bytes: usize) {
        // SAFETY: the caller's.
        if let Err(error) = unsafe { rustix::mm::munmap(base.cast(), bytes) } {
            log::error!("{}", refused("unmapping", bytes, error));
        }
    }
}

#[cfg(miri)]
mod system {
    //! Miri has no pages: a heap is one allocation, which suits only small ones.
    use crate::HeapError;
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    pub(super) fn page_size() -> u64 {
        4096
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 4096).expect("a heap's size")
    }

    pub(super) fn reserve(bytes: usize) -> Result<*mut u8, HeapError> {
        if bytes > 1 << 30 {
            return Err(HeapError::System { what: "guarded heaps do not run under Miri".into() });
        }
        // SAFETY: heaps are never empty.
        Ok(unsafe { alloc_zeroed(layout(bytes)) })
    }

    /// # Safety
    /// None; all of it is there already.
    pub(super) unsafe fn commit(_at: *mut u8, _bytes: usize) -> Result<(), HeapError> {
        Ok(())
    }

    /// # Safety
    /// The range is in a reservation of ours.
    pub(super) unsafe fn zero(at: *mut u8, bytes: usize) {
        // SAFETY: the caller's.
        unsafe { at.write_bytes(0, bytes) };
    }

    /// # Safety
    /// The range is a whole reservation of ours that nobody uses any more.
    pub(super) unsafe fn release(base: *mut u8, bytes: usize) {
        // SAFETY: the caller's.
        unsafe { dealloc(base, layout(bytes)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(bounds: HeapBounds) -> HeapOptions {
        HeapOptions { initial: 128 << 10, maximum: 1 << 20, bounds, ..HeapOptions::default() }
    }

    #[cfg(not(miri))]
    const BOUNDS: &[HeapBounds] = &[HeapBounds::Guarded, HeapBounds::Checked];
    #[cfg(miri)]
    const BOUNDS: &[HeapBounds] = &[HeapBounds::Checked];

    #[test]
    fn accesses_outside_what_is_mapped_are_refused() {
        for &bounds in BOUNDS {
            let mut memory = HeapMemory::new(&options(bounds)).unwrap();
            let len = memory.len();
            assert_eq!(len, 128 << 10);
            for at in [0, 8, NULL_PAGE - 1, len - 3, len, len + 8, u64::MAX - 1, u64::MAX] {
                assert_eq!(memory.read_u32(at), None, "{at:#x}");
                assert_eq!(memory.write_u32(at, 1), None, "{at:#x}");
                assert_eq!(memory.fill(at, 4, 1), None);
                assert_eq!(memory.write_bytes(at, &[1; 4]), None);
                assert_eq!(memory.read_bytes(at, &mut [1; 4]), None);
                assert_eq!(memory.copy_within(at, NULL_PAGE, 4), None);
                assert_eq!(memory.copy_within(NULL_PAGE, at, 4), None);
            }
            assert_eq!(memory.fill(NULL_PAGE, u64::MAX, 0), None);
            assert_eq!(memory.write_u32(len - 4, 7), Some(()));
            assert_eq!(memory.read_u32(len - 4), Some(7));
        }
    }

    #[test]
    fn misaligned_accesses_read_what_they_wrote() {
        let mut memory = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
        let at = NULL_PAGE + 3;
        memory.write_u64(at, 0x0102_0304_0506_0708).unwrap();
        assert_eq!(memory.read_u64(at), Some(0x0102_0304_0506_0708));
        let mut bytes = [0; 8];
        memory.copy_within(at + 2, at, 8).unwrap();
        memory.read_bytes(at + 2, &mut bytes).unwrap();
        assert_eq!(u64::from_ne_bytes(bytes), 0x0102_0304_0506_0708);
    }

    #[test]
    fn what_is_given_back_is_zero_and_still_mapped() {
        for &bounds in BOUNDS {
            let mut memory = HeapMemory::new(&options(bounds)).unwrap();
            let (start, len) = (NULL_PAGE, memory.len());
            for (at, count) in [(start, 64 << 10), (start + 8, 4000), (start, 0)] {
                memory.fill(start, len - start, 0xff).unwrap();
                memory.give_back(at, count).unwrap();
                let bytes: Vec<u8> = (at..at + count).map(|i| memory.read_u8(i).unwrap()).collect();
                assert!(bytes.iter().all(|&byte| byte == 0));
                let behind = memory.read_u8(at + count);
                assert!(behind.is_none_or(|byte| byte == 0xff), "{at:#x}, {count}");
                memory.write_u32(start, 1).unwrap();
            }
            assert_eq!(memory.give_back(len - 4096, 8192), None);
            assert_eq!(memory.give_back(0, 4096), None);
        }
    }

    #[test]
    fn objects_of_all_sizes_are_copied_whole() {
        let mut memory = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
        let (from, to, end) = (NULL_PAGE, NULL_PAGE + 8192, memory.len());
        (0..1024).for_each(|i| memory.write_u64(from + i * 8, i + 1).unwrap());
        for size in [8u32, 16, 24, 120, 128, 136, 8192] {
            memory.fill(to, 8200, 0).unwrap();
            memory.copy_object(to, from, size).unwrap();
            let words = u64::from(size / 8);
            assert!((0..words).all(|i| memory.read_u64(to + i * 8) == Some(i + 1)), "{size}");
            assert_eq!(memory.read_u64(to + words * 8), Some(0));
            assert_eq!(memory.copy_object(end - u64::from(size) + 8, from, size), None);
            assert_eq!(memory.copy_object(to, end - u64::from(size) + 8, size), None);
        }
    }

    #[test]
    fn growth_stops_at_the_limit_and_updates_the_bound() {
        for &bounds in BOUNDS {
            let mut memory = HeapMemory::new(&options(bounds)).unwrap();
            let old = memory.len();
            assert!(memory.grow(1).unwrap() >= 1);
            assert!(memory.len() > old);
            memory.grow(u64::MAX).unwrap();
            assert_eq!(memory.len(), 1 << 20);
            assert_eq!(memory.data_u64(HeapDataOffsets::BOUND), 1 << 20);
            assert!(matches!(memory.grow(1), Err(HeapError::OutOfMemory { .. })));
        }
    }

    #[test]
    fn reset_zeroes_and_keeps_what_is_mapped() {
        for &bounds in BOUNDS {
            let mut memory = HeapMemory::new(&options(bounds)).unwrap();
            let (base, len) = (memory.base(), memory.len());
            memory.fill(NULL_PAGE, len - NULL_PAGE, 0xff).unwrap();
            memory.set_data_u64(HeapDataOffsets::COLLECTOR, u64::MAX);
            memory.reset();
            assert_eq!((memory.base(), memory.len()), (base, len));
            assert_eq!(memory.read_u64(NULL_PAGE), Some(0));
            assert_eq!(memory.read_u64(len - 8), Some(0));
            assert_eq!(memory.data_u64(HeapDataOffsets::COLLECTOR), 0);
            assert_eq!(memory.data_u64(HeapDataOffsets::BOUND), len);
        }
    }

    #[test]
    fn the_mapping_outlives_the_memory() {
        let memory = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
        let mapping = memory.mapping();
        let base = memory.base();
        drop(memory);
        assert_eq!(mapping.base(), base);
        assert!(mapping.data().addr().is_multiple_of(8));
        // SAFETY: the mapping is alive, and 8 bytes behind the null page are mapped.
        assert_eq!(unsafe { base.add(NULL_PAGE as usize).cast::<u64>().read() }, 0);
    }

    #[test]
    fn options_that_cannot_be_met_are_errors() {
        let too_large = HeapOptions { maximum: (4 << 30) + 1, ..HeapOptions::default() };
        assert!(matches!(HeapMemory::new(&too_large), Err(HeapError::Options { .. })));
        let empty = HeapOptions { maximum: 0, ..options(HeapBounds::Checked) };
        let mut memory = HeapMemory::new(&empty).unwrap();
        assert_eq!(memory.usable(), 0);
        assert!(memory.grow(8).is_err());
        memory.reset();
    }
}
