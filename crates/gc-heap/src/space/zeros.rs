//! Tables that use no memory until they are written.
//!
//! With a few bytes of code, a guest can ask for an array of gigabytes that it never touches. The
//! tables beside it must not cost more than the array does. So the memory of a large table comes from
//! the system as zeroes. It comes all at once, for the largest heap that there may be: to copy the table
//! of a gibibyte into a longer one would stop the program for 10 ms.

/// Up to this number of bytes, a table is as long as it needs to be.
const SMALL: usize = 64 << 10;
/// Bytes that are copied unless all of them are zero.
const PART: usize = 4 << 10;

/// Makes `table` at least `len` entries long. The new ones are zero. A large table gets `most` entries, if
/// that is more, or else becomes longer than `len`, so that it rarely grows. Whoever goes over all entries
/// should know how many are in use: to read one that was never written takes the system some time.
pub(super) fn extend<T: Copy + Default + PartialEq>(table: &mut Vec<T>, len: usize, most: usize) {
    if len <= table.len() {
        return;
    }
    if len <= SMALL / size_of::<T>() {
        table.resize(len, T::default());
        return;
    }
    // The system provides its pages when they are written.
    let mut longer = vec![T::default(); len.max(2 * table.len()).max(most)];
    let part = PART / size_of::<T>();
    for (new, old) in longer.chunks_mut(part).zip(table.chunks(part)) {
        if old.iter().any(|entry| *entry != T::default()) {
            new[..old.len()].copy_from_slice(old);
        }
    }
    *table = longer;
}

/// Makes all entries of `table` zero. Entries that are zero are not written.
pub(super) fn clear<T: Copy + Default + PartialEq>(table: &mut [T]) {
    for part in table.chunks_mut(PART / size_of::<T>()) {
        if part.iter().any(|entry| *entry != T::default()) {
            part.fill(T::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_whose_end_is_known_is_not_copied_again() {
        let (mut table, most): (Vec<u8>, _) = (Vec::new(), 10 << 20);
        extend(&mut table, SMALL, most);
        assert_eq!(table.len(), SMALL);
        extend(&mut table, SMALL + 1, most);
        let place = table.as_ptr();
        assert_eq!(table.len(), most);
        extend(&mut table, most, most);
        assert_eq!(table.as_ptr(), place);
    }

    #[test]
    fn growth_keeps_entries_and_adds_zeroes() {
        let mut table: Vec<[u64; 2]> = Vec::new();
        let mut expected = Vec::new();
        for len in [1, 3, 4096, 4097, 5000, 9000, 9001, 100_000] {
            extend(&mut table, len, 0);
            expected.resize(len, [0; 2]);
            assert!(table.len() >= len && table[..len] == expected[..], "{len}");
            assert!(table[len..].iter().all(|entry| *entry == [0; 2]), "{len}");
            table[len - 1] = [len as u64, 1];
            expected[len - 1] = table[len - 1];
        }
        extend(&mut table, 5, 0);
        assert_eq!(table[..100_000], expected);
        clear(&mut table);
        assert!(table.iter().all(|entry| *entry == [0; 2]));
    }
}
