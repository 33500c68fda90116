//! Tables that are read in place: rows of little-endian 32-bit words.

/// A row of `N` words, as bytes of a table.
pub(crate) type Row<const N: usize> = [[u8; 4]; N];

/// The words of a row.
pub(crate) trait Words<const N: usize> {
    /// Word `i`.
    fn word(&self, i: usize) -> u32;

    /// All words.
    fn words(&self) -> [u32; N];
}

impl<const N: usize> Words<N> for Row<N> {
    #[inline]
    fn word(&self, i: usize) -> u32 {
        u32::from_le_bytes(self[i])
    }

    #[inline]
    fn words(&self) -> [u32; N] {
        self.map(u32::from_le_bytes)
    }
}

/// The rows in `bytes`. An incomplete row at the end is ignored.
#[inline]
pub(crate) fn rows<const N: usize>(bytes: &[u8]) -> &[Row<N>] {
    bytes.as_chunks::<4>().0.as_chunks::<N>().0
}

/// Appends a row.
pub(crate) fn push<const N: usize>(table: &mut Vec<u8>, row: [u32; N]) {
    table.extend(row.into_iter().flat_map(u32::to_le_bytes));
}
