//! Tables that use no memory until they are written.
//!
//! With a few bytes of code, a guest can ask for an array of gigabytes that it never touches. The
//! tables beside it must not cost more than the array does. So the memory of a large table comes from
//! the system as zeroes, and only what is not zero is copied when the table grows.

/// Up to this number of bytes, a table is as long as it needs to be.
const SMALL: usize = 64 << 10;
/// Bytes that are copied unless all of them are zero.
const PART: usize = 4 << 10;

/// Makes `table` at least `len` entries long. The new ones are zero. A large table becomes longer than
/// that, so that it rarely grows.
pub(super) fn extend<T: Copy + Default + PartialEq>(table: &mut Vec<T>, len: usize) {
    if len <= table.len() {
        return;
    }
    if len <= SMALL / size_of::<T>() {
        table.resize(len, T::default());
        return;
    }
    // The system provides its pages when they are written.
    let mut longer = vec![T::default(); len.max(2 * table.len())];
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
    fn growth_keeps_entries_and_adds_zeroes() {
        let mut table: Vec<[u64; 2]> = Vec::new();
        let mut expected = Vec::new();
        for len in [1, 3, 4096, 4097, 5000, 9000, 9001, 100_000] {
            extend(&mut table, len);
            expected.resize(len, [0; 2]);
            assert!(table.len() >= len && table[..len] == expected[..], "{len}");
            assert!(table[len..].iter().all(|entry| *entry == [0; 2]), "{len}");
            table[len - 1] = [len as u64, 1];
            expected[len - 1] = table[len - 1];
        }
        extend(&mut table, 5);
        assert_eq!(table[..100_000], expected);
        clear(&mut table);
        assert!(table.iter().all(|entry| *entry == [0; 2]));
    }
}
