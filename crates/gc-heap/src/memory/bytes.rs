//! Reading and writing a heap's bytes.
//!
//! Every access takes a byte index from the heap's base as an untrusted number, which may be
//! misaligned, and checks it against the mapped range. So a corrupt reference cannot reach outside.
//! Accesses use raw pointers and never Rust references, because compiled code writes the same bytes
//! without the Rust compiler's knowledge.
#![allow(unsafe_code)]

use super::view::HeapView;
use super::{HeapMemory, NULL_PAGE};

/// Prefetches what is at `pointer`, which may be any number.
#[inline(always)]
pub(crate) fn prefetch(pointer: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 processor has this instruction, and it never faults.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch(pointer.cast(), _MM_HINT_T0);
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = pointer;
}

/// Prefetches what is at `pointer`, which may be any number, because it will be written.
#[inline(always)]
pub(crate) fn prefetch_for_write(pointer: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: it never faults, and a processor that does not know it does nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        _mm_prefetch(pointer.cast(), _MM_HINT_ET0);
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = pointer;
}

/// Which of the words are even and less than `end`: a bit for each of them.
#[inline(always)]
pub(crate) fn even_below(words: &[u32; 16], end: u32) -> u32 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 processor has these instructions.
    unsafe {
        use std::arch::x86_64::{
            _mm_andnot_si128, _mm_castsi128_ps, _mm_cmplt_epi32, _mm_movemask_ps, _mm_set1_epi32,
            _mm_setr_epi32, _mm_slli_epi32, _mm_xor_si128,
        };
        // Numbers are compared with signs.
        let sign = _mm_set1_epi32(i32::MIN);
        let end = _mm_xor_si128(_mm_set1_epi32(end.cast_signed()), sign);
        let mut bits = 0;
        for (n, four) in words.as_chunks::<4>().0.iter().enumerate() {
            let [a, b, c, d] = four.map(u32::cast_signed);
            let four = _mm_setr_epi32(a, b, c, d);
            let below = _mm_cmplt_epi32(_mm_xor_si128(four, sign), end);
            let even = _mm_andnot_si128(_mm_slli_epi32::<31>(four), below);
            bits |= _mm_movemask_ps(_mm_castsi128_ps(even)).cast_unsigned() << (4 * n);
        }
        bits
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    (0..).zip(words).map(|(n, &word)| u32::from(word < end && word & 1 == 0) << n).sum()
}

impl HeapMemory {
    /// The address of index `at`, if `size` bytes from there on are mapped.
    #[inline(always)]
    pub(super) fn pointer(&self, at: u64, size: u64) -> Option<*mut u8> {
        if at >= NULL_PAGE && at <= self.len && size <= self.len - at {
            // SAFETY: `at <= len`, which is inside the reservation.
            Some(unsafe { self.base().add(at as usize) })
        } else {
            None
        }
    }

    #[inline(always)]
    fn read<T: Copy>(&self, at: u64) -> Option<T> {
        let pointer = self.pointer(at, size_of::<T>() as u64)?;
        // SAFETY: the bytes are mapped. `T` is one of the integer types below, for which every bit
        // pattern is valid. Nobody writes while the host holds `&self`.
        Some(unsafe { pointer.cast::<T>().read_unaligned() })
    }

    #[inline(always)]
    #[must_use]
    fn write<T: Copy>(&mut self, at: u64, value: T) -> Option<()> {
        let pointer = self.pointer(at, size_of::<T>() as u64)?;
        // SAFETY: the bytes are mapped for writing, and there are no Rust references to them.
        unsafe { pointer.cast::<T>().write_unaligned(value) };
        Some(())
    }

    /// Prefetches the bytes at index `at`, which may be any number.
    #[inline(always)]
    pub fn prefetch(&self, at: u64) {
        if let Some(pointer) = self.pointer(at, 8) {
            prefetch(pointer);
        }
    }

    /// Copies the bytes from index `at` on into `out`. Returns `None` and copies nothing unless all
    /// are mapped.
    pub fn read_bytes(&self, at: u64, out: &mut [u8]) -> Option<()> {
        let pointer = self.pointer(at, out.len() as u64)?;
        // SAFETY: all source bytes are mapped, and `out` cannot overlap them, because there are no
        // Rust references into the heap.
        unsafe { pointer.copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
        Some(())
    }

    /// Copies `bytes` into the heap from index `at` on. Returns `None` and writes nothing unless
    /// all are mapped.
    #[must_use]
    pub fn write_bytes(&mut self, at: u64, bytes: &[u8]) -> Option<()> {
        let pointer = self.pointer(at, bytes.len() as u64)?;
        // SAFETY: as in `read_bytes`.
        unsafe { pointer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Some(())
    }

    /// Copies `count` bytes within the heap; the ranges may overlap. Returns `None` and writes
    /// nothing unless all are mapped.
    #[must_use]
    pub fn copy_within(&mut self, to: u64, from: u64, count: u64) -> Option<()> {
        let (to, from) = (self.pointer(to, count)?, self.pointer(from, count)?);
        // SAFETY: both ranges are mapped.
        unsafe { copy_range(to, from, count as usize) };
        Some(())
    }

    /// Copies an object of `size` bytes, rounded up to a multiple of 8. The ranges must not
    /// overlap. Returns `None` and writes nothing unless all are mapped. This is faster than
    /// [`copy_within`](HeapMemory::copy_within) for the sizes of most objects.
    #[inline(always)]
    #[must_use]
    pub fn copy_object(&mut self, to: u64, from: u64, size: u32) -> Option<()> {
        self.bytes()?.copy_object(to, from, size.checked_next_multiple_of(8)?)
    }

    /// Sets `count` bytes from index `at` on to `byte`. Returns `None` and writes nothing unless
    /// all are mapped.
    #[inline]
    #[must_use]
    pub fn fill(&mut self, at: u64, count: u64, byte: u8) -> Option<()> {
        let pointer = self.pointer(at, count)?;
        // SAFETY: the range is mapped for writing.
        unsafe { pointer.write_bytes(byte, count as usize) };
        Some(())
    }
}

/// Copies `count` bytes. The ranges may overlap.
///
/// The GNU C library copies ranges between some kilobytes and a megabyte with `rep movsb`. On AMD's
/// processors this takes twelve times as long if the lowest 12 bits of `to` are a little above those
/// of `from`, which they often are: both may be arrays that begin a page. A loop over vectors of 32
/// bytes is as fast as `rep movsb` at its best.
///
/// # Safety
/// Both ranges must be valid.
unsafe fn copy_range(to: *mut u8, from: *const u8, count: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        const LEAST: usize = 2 << 10;
        const MOST: usize = 1 << 20;
        let disjoint = to.addr().abs_diff(from.addr()) >= count;
        if (LEAST..MOST).contains(&count) && disjoint && is_x86_feature_detected!("avx") {
            // SAFETY: the ranges are valid and disjoint, and the processor has these instructions.
            return unsafe { copy_with_avx(to, from, count) };
        }
    }
    // SAFETY: the caller's.
    unsafe { from.copy_to(to, count) }
}

/// Copies `count` bytes with aligned stores of 32 bytes.
///
/// No closure is here: it would be a function without these instructions.
///
/// # Safety
/// The ranges must be valid, disjoint and at least 32 bytes long.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx")]
unsafe fn copy_with_avx(to: *mut u8, from: *const u8, count: usize) {
    use std::arch::x86_64::{
        __m256i, _mm256_loadu_si256 as load, _mm256_store_si256 as store, _mm256_storeu_si256,
    };
    const BYTES: usize = size_of::<__m256i>();
    // SAFETY: all places are inside the ranges. After the first store `at` is such that `to` is
    // aligned, and from there on whole vectors are copied while they fit. The last vector has the
    // bytes that are left and some of those before.
    unsafe {
        let last = count - BYTES;
        _mm256_storeu_si256(to.cast(), load(from.cast()));
        let mut at = BYTES - to.addr() % BYTES;
        while at + 4 * BYTES <= count {
            let (source, place) = (from.add(at).cast::<__m256i>(), to.add(at).cast::<__m256i>());
            let vectors =
                [load(source), load(source.add(1)), load(source.add(2)), load(source.add(3))];
            store(place, vectors[0]);
            store(place.add(1), vectors[1]);
            store(place.add(2), vectors[2]);
            store(place.add(3), vectors[3]);
            at += 4 * BYTES;
        }
        while at < last {
            store(to.add(at).cast(), load(from.add(at).cast()));
            at += BYTES;
        }
        _mm256_storeu_si256(to.add(last).cast(), load(from.add(last).cast()));
    }
}

macro_rules! accessors {
    ($($read:ident $write:ident $ty:ident $what:literal;)*) => {
        impl HeapMemory {
            $(
                #[doc = concat!("Reads ", $what, " at index `at`, which need not be aligned. Returns `None` unless all bytes are mapped.")]
                #[inline]
                pub fn $read(&self, at: u64) -> Option<$ty> {
                    self.read(at)
                }

                #[doc = concat!("Writes ", $what, " at index `at`, which need not be aligned. Returns `None` and writes nothing unless all bytes are mapped.")]
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
