//! Tests of the properties of heap memory that the rest of the crate relies on.
#![allow(unsafe_code)]

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
fn even_words_below_an_end_are_found() {
    let ends = [0, 1, 2, 3, 1 << 20, i32::MAX as u32, 1 << 31, (1 << 31) + 1, u32::MAX];
    let edges = ends.map(|end| [end.wrapping_sub(2), end.wrapping_sub(1), end, end | 1]);
    for end in ends {
        for words in edges.as_flattened().windows(16) {
            let bit = |n: usize| u32::from(words[n] < end && words[n].is_multiple_of(2)) << n;
            let bits = (0..16).map(bit).sum();
            assert_eq!(
                crate::arch::even_below(words.try_into().unwrap(), end),
                bits,
                "{words:x?} {end:#x}"
            );
        }
    }
}

#[test]
fn the_bytes_of_a_memory_refuse_what_it_refuses() {
    for &bounds in BOUNDS {
        let mut memory = HeapMemory::new(&options(bounds)).unwrap();
        let len = memory.len();
        let mut bytes = memory.bytes().unwrap();
        for at in [0, NULL_PAGE - 1, len - 3, len, u64::MAX - 3, u64::MAX] {
            assert_eq!(bytes.read_u32(at), None, "{at:#x}");
            assert_eq!(bytes.write_u32(at, 1), None, "{at:#x}");
            assert_eq!(bytes.read_u64(at), None, "{at:#x}");
            assert_eq!(bytes.read_words::<16>(at), None, "{at:#x}");
            assert_eq!(bytes.copy_object(NULL_PAGE, at, 8), None, "{at:#x}");
            assert_eq!(bytes.copy_object(at, NULL_PAGE, 8), None, "{at:#x}");
            bytes.prefetch(at);
            bytes.prefetch_for_write(at);
        }
        assert_eq!(bytes.copy_object(NULL_PAGE, NULL_PAGE + 64, 12), None);
        assert_eq!(bytes.read_words::<16>(len - 63), None);
        assert_eq!(bytes.read_words::<16>(len - 64), Some([0; 16]));
        bytes.write_u32(len - 4, 7).unwrap();
        assert_eq!(bytes.read_u64(len - 8), Some(7 << 32));
        bytes.copy_object(NULL_PAGE, len - 8, 8).unwrap();
        assert_eq!(bytes.read_u32(NULL_PAGE + 4), Some(7));
    }
}

/// Copies of several pieces, which overlap in both directions.
#[test]
fn long_ranges_may_overlap_when_they_are_copied() {
    let mut memory = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
    for count in [2048_usize, 2049, 4095, 4096, 10_000] {
        for (to, from) in [(0, 1), (1, 0), (0, 2048), (2048, 0), (3000, 1), (1, 3000), (5, 5)] {
            let mut expected: Vec<u8> = (0..16_384_u32).map(|n| (n % 251) as u8).collect();
            memory.write_bytes(NULL_PAGE, &expected).unwrap();
            let (at, of) = (NULL_PAGE + to as u64, NULL_PAGE + from as u64);
            memory.copy_within(at, of, count as u64).unwrap();
            expected.copy_within(from..from + count, to);
            let mut found = vec![0; expected.len()];
            memory.read_bytes(NULL_PAGE, &mut found).unwrap();
            assert!(found == expected, "{count} bytes from {from} to {to}");
        }
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
        assert_eq!(memory.copy_object(to, from, u32::MAX), None);
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

/// Emitted code would access memory outside the heap if the bound were larger.
#[test]
fn only_the_memory_writes_its_bound() {
    let mut memory = HeapMemory::new(&options(HeapBounds::Checked)).unwrap();
    let bound = memory.len();
    for offset in [HeapDataOffsets::BOUND, HeapDataOffsets::BOUND + 4] {
        let set_u32 = |memory: &mut HeapMemory| memory.set_data_u32(offset, u32::MAX);
        let set_u64 = |memory: &mut HeapMemory| memory.set_data_u64(offset, u64::MAX);
        for set in [&set_u32 as &dyn Fn(&mut HeapMemory), &set_u64] {
            let attempt = catch_unwind(AssertUnwindSafe(|| set(&mut memory)));
            let panic = attempt.unwrap_err();
            let message = panic.downcast_ref::<&str>().expect("a message");
            assert_eq!(*message, "only the heap's memory writes its bound");
            assert_eq!(memory.data_u64(HeapDataOffsets::BOUND), bound);
        }
    }
}

#[test]
fn reset_zeroes_and_keeps_what_is_mapped() {
    for &bounds in BOUNDS {
        let mut memory = HeapMemory::new(&options(bounds)).unwrap();
        let (base, len) = (memory.base(), memory.len());
        memory.fill(NULL_PAGE, len - NULL_PAGE, 0xff).unwrap();
        memory.set_data_u64(HeapDataOffsets::COLLECTOR + 8, u64::MAX);
        memory.reset();
        assert_eq!((memory.base(), memory.len()), (base, len));
        assert_eq!(memory.read_u64(NULL_PAGE), Some(0));
        assert_eq!(memory.read_u64(len - 8), Some(0));
        assert_eq!(memory.data_u64(HeapDataOffsets::COLLECTOR + 8), 0);
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

/// The bytes of a range become zero, whatever its pages have, and no other byte changes.
#[test]
#[cfg(not(miri))]
fn ranges_are_zeroed_and_nothing_else() {
    let options =
        HeapOptions { initial: 4 << 20, maximum: 4 << 20, ..options(HeapBounds::Checked) };
    let mut memory = HeapMemory::new(&options).unwrap();
    let end = memory.len();
    let ranges = [
        (NULL_PAGE, 8),
        (NULL_PAGE + 24, 300 << 10),
        (NULL_PAGE + 4000, (1 << 20) + 5000),
        (NULL_PAGE + 4096, 2 << 20),
        (NULL_PAGE, end - NULL_PAGE),
        (end - 8, 8),
        (end - (700 << 10) - 8, 700 << 10),
    ];
    // All is written, every other 512 KiB, a byte in each of them, or nothing.
    for written in [1, 512 << 10, (512 << 10) - 1, u64::MAX] {
        for (at, count) in ranges {
            memory.give_back(NULL_PAGE, end - NULL_PAGE).unwrap();
            let mut expected = vec![0; end as usize];
            for n in NULL_PAGE..end {
                let is_written = match written {
                    1 => true,
                    u64::MAX => false,
                    part if part.is_power_of_two() => n / part % 2 == 1,
                    part => n % part == 0,
                };
                if is_written {
                    memory.write_u8(n, 7).unwrap();
                    expected[n as usize] = 7;
                }
            }
            memory.zero(at, count).unwrap();
            expected[at as usize..(at + count) as usize].fill(0);
            let mut bytes = vec![0; (end - NULL_PAGE) as usize];
            memory.read_bytes(NULL_PAGE, &mut bytes).unwrap();
            assert!(bytes == expected[NULL_PAGE as usize..], "{written}: {count} from {at:#x}");
        }
    }
    assert_eq!(memory.zero(end - 8, 16), None);
    assert_eq!(memory.zero(u64::MAX, 1), None);
}

/// A range of which little is in memory stays so, however its pages lie to those that are.
#[test]
#[cfg(not(miri))]
fn what_is_zeroed_does_not_come_into_memory() {
    let size = 64 << 20;
    let options = HeapOptions { initial: size, maximum: size, ..options(HeapBounds::Checked) };
    for shift in [0, 4 << 10, 128 << 10, 132 << 10] {
        let mut memory = HeapMemory::new(&options).unwrap();
        let (at, end) = ((8 << 20) + shift, memory.len() - (1 << 20));
        // With huge pages, each of them is one.
        for n in [0, 20 << 20, 40 << 20] {
            memory.write_u8(at + n, 1).unwrap();
        }
        memory.zero(at, end - at).unwrap();
        let mut pages = vec![0; memory.usable() as usize / 4096];
        let first = memory.pointer(NULL_PAGE, memory.usable()).unwrap();
        // SAFETY: it is the mapped memory, and there is an entry for each page.
        assert!(unsafe { os::resident(first, memory.usable() as usize, &mut pages) });
        let resident: usize = pages.iter().map(|page| usize::from(page & 1)).sum();
        assert!(resident <= 3 * 512, "{resident} pages after {shift}");
    }
}
