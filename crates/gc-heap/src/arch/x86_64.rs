//! x86-64: prefetches, comparisons of vectors, and copies.

/// Prefetches what is at `pointer`, which may be any number.
#[inline(always)]
pub(crate) fn prefetch(pointer: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: every x86-64 processor has this instruction, and it never faults.
    unsafe { _mm_prefetch(pointer.cast(), _MM_HINT_T0) };
}

/// Prefetches what is at `pointer`, which may be any number, because it will be written.
#[inline(always)]
pub(crate) fn prefetch_for_write(pointer: *const u8) {
    use std::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
    // SAFETY: it never faults, and a processor that does not know it does nothing.
    unsafe { _mm_prefetch(pointer.cast(), _MM_HINT_ET0) };
}

/// Which of the words are even and less than `end`: a bit for each of them.
#[inline(always)]
pub(crate) fn even_below(words: &[u32; 16], end: u32) -> u32 {
    use std::arch::x86_64::{
        _mm_andnot_si128, _mm_castsi128_ps, _mm_cmplt_epi32, _mm_movemask_ps, _mm_set1_epi32,
        _mm_setr_epi32, _mm_slli_epi32, _mm_xor_si128,
    };
    // SAFETY: every x86-64 processor has these instructions.
    unsafe {
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
pub(crate) unsafe fn copy_range(to: *mut u8, from: *const u8, count: usize) {
    const LEAST: usize = 2 << 10;
    const MOST: usize = 1 << 20;
    let disjoint = to.addr().abs_diff(from.addr()) >= count;
    if (LEAST..MOST).contains(&count) && disjoint && is_x86_feature_detected!("avx") {
        // SAFETY: the ranges are valid and disjoint, and the processor has these instructions.
        return unsafe { copy_with_avx(to, from, count) };
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
