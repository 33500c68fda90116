//! [`HeapView`]: the mapped bytes of a heap as the loops of a collector see them, and the two views.
//!
//! [`HeapBytes`] is *exclusive*: as long as it exists, nobody else accesses the bytes. It reads and writes at any
//! place, and several words at once. [`SharedBytes`] is *shared*: several threads may have one. Every access is a
//! relaxed atomic one of a word of four bytes, and a word is read once, so what was checked is what is used.
//! (Concurrent accesses of different sizes to the same bytes have no meaning in Rust's memory model.) A loop that
//! is generic over the view is compiled for each.
#![allow(unsafe_code)]

use super::{HeapMemory, NULL_PAGE};
use crate::arch::{prefetch, prefetch_for_write};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Fewer bytes than any page has. No access but a copy is larger.
const PAGE: u64 = 512;
/// Bytes of a word.
const WORD: u64 = 4;

/// The mapped bytes of a heap. Every access takes an index in bytes from the heap's base, as an untrusted number,
/// and checks it. A shared view also refuses a place that is not a multiple of 4.
///
/// # Examples
/// A function that works with both views:
///
/// ```
/// use gc_heap::{HeapMemory, HeapOptions, HeapView};
/// use gc_types::NULL_PAGE_SIZE;
///
/// fn increment(view: &mut impl HeapView, at: u64) -> Option<()> {
///     let number = view.read_u32(at)?;
///     view.write_u32(at, number + 1)
/// }
///
/// let mut memory = HeapMemory::new(&HeapOptions::default())?;
/// let at = u64::from(NULL_PAGE_SIZE);
/// increment(&mut memory.bytes().unwrap(), at).unwrap();
/// increment(&mut memory.shared_bytes().unwrap(), at).unwrap();
/// assert_eq!(memory.read_u32(at), Some(2));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
pub trait HeapView {
    /// Reads four bytes at index `at`. Returns `None` unless all are mapped.
    fn read_u32(&self, at: u64) -> Option<u32>;

    /// Reads eight bytes at index `at`. Returns `None` unless all are mapped.
    fn read_u64(&self, at: u64) -> Option<u64>;

    /// Reads `N` numbers of four bytes each from index `at` on. Returns `None` unless all are mapped.
    fn read_words<const N: usize>(&self, at: u64) -> Option<[u32; N]>;

    /// Writes four bytes at index `at`. Returns `None` and writes nothing unless all are mapped.
    #[must_use]
    fn write_u32(&mut self, at: u64, value: u32) -> Option<()>;

    /// Copies an object of `size` bytes. The ranges must not overlap. Returns `None` and writes nothing unless all
    /// are mapped and `size` is a multiple of 8.
    #[must_use]
    fn copy_object(&mut self, to: u64, from: u64, size: u32) -> Option<()>;

    /// The address of index `at`, which may be any number. It is only for prefetching.
    fn address(&self, at: u64) -> *const u8;

    /// Prefetches the bytes at index `at`, which may be any number. Nothing is read, so nothing is checked.
    #[inline(always)]
    fn prefetch(&self, at: u64) {
        prefetch(self.address(at));
    }

    /// Prefetches the first 24 bytes of the object at `index`, which may be any number. They may be on two cache
    /// lines.
    #[inline(always)]
    fn prefetch_object(&self, index: u32) {
        self.prefetch(index.into());
        self.prefetch(u64::from(index) + 16);
    }

    /// Prefetches the bytes at index `at`, which may be any number, because they will be written.
    #[inline(always)]
    fn prefetch_for_write(&self, at: u64) {
        prefetch_for_write(self.address(at));
    }
}

impl HeapMemory {
    /// The mapped bytes, for code that accesses many of them and does not change which are mapped.
    /// `None` if none are.
    #[inline(always)]
    pub fn bytes(&mut self) -> Option<HeapBytes<'_>> {
        self.recall();
        self.mapped().map(HeapBytes)
    }

    /// The mapped bytes, for several threads at once. `None` if none are.
    #[inline(always)]
    pub fn shared_bytes(&mut self) -> Option<SharedBytes<'_>> {
        self.mapped().map(SharedBytes)
    }

    #[inline(always)]
    fn mapped(&mut self) -> Option<Mapped<'_>> {
        let usable = self.usable();
        // All are whole pages.
        (usable >= PAGE).then(|| Mapped { base: self.base(), usable, _memory: PhantomData })
    }
}

/// The address and the number of the mapped bytes of a heap that is borrowed mutably.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mapped<'m> {
    pub(super) base: *mut u8,
    /// The number of bytes that are mapped, from the end of the null page on. At least [`PAGE`].
    pub(super) usable: u64,
    pub(super) _memory: PhantomData<&'m mut HeapMemory>,
}

impl Mapped<'_> {
    /// The address of a `T` at index `at`, if its bytes are mapped.
    #[inline(always)]
    fn place<T>(&self, at: u64) -> Option<*mut u8> {
        const { assert!(size_of::<T>() as u64 <= PAGE) };
        if at.wrapping_sub(NULL_PAGE) <= self.usable - size_of::<T>() as u64 {
            // SAFETY: `at` is not below the null page's end, because the difference would have
            // wrapped around to more than any heap has. So the bytes are mapped.
            Some(unsafe { self.base.add(at as usize) })
        } else {
            None
        }
    }

    /// The address of index `at`, if `size` bytes from there on are mapped.
    #[inline(always)]
    fn range(&self, at: u64, size: u64) -> Option<*mut u8> {
        let from = at.wrapping_sub(NULL_PAGE);
        if from <= self.usable && size <= self.usable - from {
            // SAFETY: as in `place`. It may be the end.
            Some(unsafe { self.base.add(at as usize) })
        } else {
            None
        }
    }
}

/// The mapped bytes of a heap, which nobody else accesses. Their address and their number are in this value and
/// not behind a pointer, so a loop keeps them in registers, and each access compares once.
///
/// # Examples
/// ```
/// use gc_heap::{HeapMemory, HeapOptions, HeapView};
/// use gc_types::NULL_PAGE_SIZE;
///
/// let mut memory = HeapMemory::new(&HeapOptions::default())?;
/// let end = memory.len();
/// let mut bytes = memory.bytes().unwrap();
/// bytes.write_u32(u64::from(NULL_PAGE_SIZE), 42).unwrap();
/// assert_eq!(bytes.read_u64(u64::from(NULL_PAGE_SIZE)), Some(42));
/// assert_eq!((bytes.read_u64(0), bytes.read_u64(end - 7)), (None, None));
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct HeapBytes<'m>(Mapped<'m>);

impl HeapBytes<'_> {
    /// The number of bytes, from the end of the null page on.
    pub(super) fn usable(&self) -> u64 {
        self.0.usable
    }
}

impl HeapView for HeapBytes<'_> {
    #[inline(always)]
    fn read_u32(&self, at: u64) -> Option<u32> {
        // SAFETY: the bytes are mapped, and nobody writes while the memory is borrowed.
        self.0.place::<u32>(at).map(|place| unsafe { place.cast::<u32>().read_unaligned() })
    }

    #[inline(always)]
    fn read_u64(&self, at: u64) -> Option<u64> {
        // SAFETY: as in `read_u32`.
        self.0.place::<u64>(at).map(|place| unsafe { place.cast::<u64>().read_unaligned() })
    }

    #[inline(always)]
    fn read_words<const N: usize>(&self, at: u64) -> Option<[u32; N]> {
        let place = self.0.place::<[u32; N]>(at);
        // SAFETY: as in `read_u32`. An array of integers may have any bits.
        place.map(|place| unsafe { place.cast::<[u32; N]>().read_unaligned() })
    }

    #[inline(always)]
    fn write_u32(&mut self, at: u64, value: u32) -> Option<()> {
        let place = self.0.place::<u32>(at)?;
        // SAFETY: the bytes are mapped for writing, and there are no Rust references to them.
        unsafe { place.cast::<u32>().write_unaligned(value) };
        Some(())
    }

    #[inline(always)]
    fn copy_object(&mut self, to: u64, from: u64, size: u32) -> Option<()> {
        if !size.is_multiple_of(8) {
            return None;
        }
        let (to, from) = (self.0.range(to, size.into())?, self.0.range(from, size.into())?);
        let size = size as usize;
        // SAFETY: both ranges have `size` bytes and are mapped. The size is between that of the type
        // and twice as much.
        unsafe {
            match size {
                0 => {}
                1..16 => copy_ends::<u64>(to, from, size),
                16..=32 => copy_ends::<u128>(to, from, size),
                33..=64 => copy_ends::<[u128; 2]>(to, from, size),
                65..=128 => copy_ends::<[u128; 4]>(to, from, size),
                _ => from.copy_to(to, size),
            }
        }
        Some(())
    }

    #[inline(always)]
    fn address(&self, at: u64) -> *const u8 {
        self.0.base.wrapping_add(at as usize)
    }
}

/// Copies `size` bytes as two `T`s: the first and the last ones, which may have some in common.
///
/// # Safety
/// Both ranges must be valid for `size` bytes, at least those of one `T` and at most those of two.
#[inline(always)]
unsafe fn copy_ends<T: Copy>(to: *mut u8, from: *const u8, size: usize) {
    let last = size - size_of::<T>();
    // SAFETY: the caller promises that both places have the bytes of a `T`.
    unsafe {
        let (first, end) =
            (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
        to.cast::<T>().write_unaligned(first);
        to.add(last).cast::<T>().write_unaligned(end);
    }
}

/// The mapped bytes of a heap, for several threads. An access fails unless its place is a multiple of 4. What is
/// read of several words may be of different times.
///
/// # Examples
/// ```
/// use gc_heap::{HeapMemory, HeapOptions, HeapView};
/// use gc_types::NULL_PAGE_SIZE;
///
/// let mut memory = HeapMemory::new(&HeapOptions::default())?;
/// let at = u64::from(NULL_PAGE_SIZE);
/// let shared = memory.shared_bytes().unwrap();
/// std::thread::scope(|scope| {
///     for n in 0..4 {
///         let mut shared = shared;
///         scope.spawn(move || shared.write_u32(at + 4 * n, 7).unwrap());
///     }
/// });
/// assert_eq!(shared.read_words(at), Some([7; 4]));
/// assert_eq!(shared.read_u32(at + 2), None);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SharedBytes<'m>(Mapped<'m>);

// SAFETY: the memory is borrowed mutably, so all accesses are those of this type, which are atomic, and of
// compiled code.
unsafe impl Send for SharedBytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedBytes<'_> {}

impl<'m> SharedBytes<'m> {
    /// Bytes of which at least [`PAGE`] are mapped.
    pub(super) fn new(mapped: Mapped<'m>) -> SharedBytes<'m> {
        SharedBytes(mapped)
    }

    /// The word at index `at`, a multiple of 4, if it is mapped.
    #[inline(always)]
    fn word(&self, at: u64) -> Option<&AtomicU32> {
        let place = self.0.place::<u32>(at).filter(|_| at.is_multiple_of(WORD))?;
        // SAFETY: it is mapped for reading and writing as long as the memory is borrowed, and aligned, because the
        // base is.
        Some(unsafe { AtomicU32::from_ptr(place.cast()) })
    }
}

impl HeapView for SharedBytes<'_> {
    #[inline(always)]
    fn read_u32(&self, at: u64) -> Option<u32> {
        self.word(at).map(|word| word.load(Relaxed))
    }

    #[inline(always)]
    fn read_u64(&self, at: u64) -> Option<u64> {
        let [first, second] = self.read_words(at)?;
        let (first, second) = (first.to_ne_bytes(), second.to_ne_bytes());
        let mut both = [0; 8];
        both[..4].copy_from_slice(&first);
        both[4..].copy_from_slice(&second);
        Some(u64::from_ne_bytes(both))
    }

    #[inline(always)]
    fn read_words<const N: usize>(&self, at: u64) -> Option<[u32; N]> {
        self.0.place::<[u32; N]>(at).filter(|_| at.is_multiple_of(WORD))?;
        let mut words = [0; N];
        for (n, word) in (0..).zip(&mut words) {
            *word = self.read_u32(at + WORD * n)?;
        }
        Some(words)
    }

    #[inline(always)]
    fn write_u32(&mut self, at: u64, value: u32) -> Option<()> {
        self.word(at).map(|word| word.store(value, Relaxed))
    }

    #[inline(always)]
    fn copy_object(&mut self, to: u64, from: u64, size: u32) -> Option<()> {
        if !size.is_multiple_of(8) || !to.is_multiple_of(WORD) || !from.is_multiple_of(WORD) {
            return None;
        }
        self.0.range(to, size.into())?;
        self.0.range(from, size.into())?;
        for n in (0..u64::from(size)).step_by(WORD as usize) {
            self.write_u32(to + n, self.read_u32(from + n)?)?;
        }
        Some(())
    }

    #[inline(always)]
    fn address(&self, at: u64) -> *const u8 {
        self.0.base.wrapping_add(at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapOptions};

    const START: u64 = NULL_PAGE;

    fn memory() -> HeapMemory {
        let options =
            HeapOptions { bounds: HeapBounds::Checked, initial: 4 << 20, ..HeapOptions::default() };
        HeapMemory::new(&options).unwrap()
    }

    /// Writes, copies and reads at aligned places, inside and outside. Returns what was read, and which accesses
    /// were refused.
    fn accesses(view: &mut impl HeapView, end: u64) -> (Vec<Option<u64>>, Vec<bool>) {
        for n in 0..64 {
            view.write_u32(START + 4 * n, n as u32 + 1).unwrap();
        }
        let copy = |size: u32| START + 1024 + 256 * u64::from(size / 8);
        for size in (0..=200).step_by(8) {
            view.copy_object(copy(size), START, size).unwrap();
        }
        let mut read = Vec::new();
        for at in (START..copy(208)).step_by(4) {
            let words = view.read_words::<3>(at).unwrap();
            assert_eq!(words[0], view.read_u32(at).unwrap());
            read.extend([view.read_u64(at), Some(words[2].into())]);
        }
        let mut refused = vec![view.copy_object(START, START + 64, 12).is_none()];
        for at in [0, START - 4, START, end - 12, end - 8, end - 4, end, u64::MAX - 3] {
            view.prefetch(at);
            view.prefetch_for_write(at);
            refused.extend([
                view.read_u32(at).is_none(),
                view.read_u64(at).is_none(),
                view.read_words::<3>(at).is_none(),
                view.write_u32(at, 7).is_none(),
                view.copy_object(at, START + 256, 8).is_none(),
                view.copy_object(START + 256, at, 8).is_none(),
            ]);
        }
        (read, refused)
    }

    #[test]
    fn both_views_do_the_same() {
        let [mut first, mut second] = [memory(), memory()];
        let end = first.len();
        let exclusive = accesses(&mut first.bytes().unwrap(), end);
        let shared = accesses(&mut second.shared_bytes().unwrap(), end);
        assert_eq!(exclusive, shared);
        assert!(exclusive.1.iter().any(|&refused| refused));
        for at in (START..START + 8192).step_by(8) {
            assert_eq!(first.read_u64(at), second.read_u64(at));
        }
    }

    #[test]
    fn only_the_exclusive_view_reads_at_any_place() {
        let mut memory = memory();
        memory.write_u64(START, 0x0807_0605_0403_0201).unwrap();
        let bytes = memory.bytes().unwrap();
        assert_eq!(bytes.read_u32(START + 1), Some(0x0504_0302));
        let mut shared = memory.shared_bytes().unwrap();
        assert_eq!((shared.read_u32(START + 1), shared.read_u64(START + 2)), (None, None));
        assert_eq!(
            (shared.read_words::<2>(START + 2), shared.write_u32(START + 2, 1)),
            (None, None)
        );
        assert_eq!(shared.copy_object(START + 64, START + 2, 8), None);
    }
}
