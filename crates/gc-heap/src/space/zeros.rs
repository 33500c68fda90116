//! Tables that use no memory until they are written.
//!
//! With a few bytes of code, a guest can ask for an array of gigabytes that it never touches. The
//! tables beside it must not cost more than the array does. So the memory of a large table comes from
//! the system as zeroes, and address space is reserved for the largest heap that there may be: to copy the table
//! of a gibibyte into a longer one would stop the program for 10 ms.
//!
//! A `Vec` would not do. When the C library's allocator has freed a block of up to 32 MiB, it takes the next ones of that
//! size from a heap of its own, and writes zeroes into all of them. Then each heap in a process had 17 MiB of such zeroes.

use crate::{MemoryPurpose, MemorySource, OnDemand, Zeroable, ZeroedVec};
use std::alloc::{Layout, handle_alloc_error};
use std::sync::Arc;

/// Bytes that are not written if all of them are zero.
const PART: usize = 4 << 10;

/// A table without entries.
pub(super) fn empty<T: Zeroable>() -> ZeroedVec<T> {
    let source: Arc<dyn MemorySource> = Arc::new(OnDemand::default());
    ZeroedVec::new(&source, MemoryPurpose::CollectorTable)
}

/// Makes `table` at least `len` entries long. The new ones are zero. It never has more than `most`.
pub(super) fn extend<T: Zeroable>(table: &mut ZeroedVec<T>, len: usize, most: usize) {
    if len > table.len()
        && let Err(error) = table.grow(len, most)
    {
        log::error!("a table of the heap cannot grow to {len} entries: {error}");
        handle_alloc_error(Layout::array::<T>(len).unwrap_or(Layout::new::<T>()));
    }
}

/// Makes all entries of `table` zero. Entries that are zero are not written.
pub(super) fn clear<T: Zeroable + PartialEq>(table: &mut [T]) {
    for part in table.chunks_mut(PART / size_of::<T>()) {
        if part.iter().any(|entry| *entry != T::ZERO) {
            part.fill(T::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_is_not_copied() {
        let (mut table, most) = (empty::<u8>(), 10 << 20);
        extend(&mut table, 1 << 20, most);
        let place = table.as_ptr();
        extend(&mut table, most, most);
        assert_eq!((table.as_ptr(), table.len()), (place, most));
    }

    #[test]
    fn growth_keeps_entries_and_adds_zeroes() {
        let mut table = empty::<[u64; 2]>();
        let mut expected = Vec::new();
        for len in [1, 3, 4096, 4097, 5000, 9000, 9001, 100_000] {
            extend(&mut table, len, 100_000);
            expected.resize(len, [0; 2]);
            assert!(table[..] == expected[..], "{len}");
            table[len - 1] = [len as u64, 1];
            expected[len - 1] = table[len - 1];
        }
        extend(&mut table, 5, 100_000);
        assert_eq!(table[..], expected);
        clear(&mut table);
        assert!(table.iter().all(|entry| *entry == [0; 2]));
    }

    /// The C library's allocator zeroes a block of this size, if it has freed one before.
    #[test]
    #[cfg(target_os = "linux")]
    #[cfg_attr(miri, ignore = "it has no pages")]
    fn a_table_has_no_memory_before_it_is_written_also_after_another_one() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/thread-self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
        };
        drop(vec![0_u8; 16 << 20]);
        let before = resident();
        let tables: Vec<_> = (0..40)
            .map(|_| {
                let mut table = empty::<u8>();
                extend(&mut table, 16 << 20, 16 << 20);
                table
            })
            .collect();
        let more = resident().saturating_sub(before);
        assert!(more < 320 << 20, "{more} bytes");
        assert!(tables.iter().all(|table| table[7] == 0));
    }
}
