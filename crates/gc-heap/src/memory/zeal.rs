//! What a heap's memory does under zeal: freed bytes are overwritten, so that whoever uses them is found.

use super::HeapMemory;

impl HeapMemory {
    /// The byte that fills freed memory. It gives neither a valid kind nor a likely index.
    pub const POISON: u8 = 0xa5;

    /// The heap's zeal ([`HeapOptions::zeal`](crate::HeapOptions::zeal)): the store collects at every allocation
    /// with this number, and freed memory is overwritten. 0 without zeal.
    #[inline]
    pub fn zeal(&self) -> u32 {
        self.zeal
    }

    /// Sets the heap's [zeal](HeapMemory::zeal) from now on, for a test that needs it for a part of a heap's life.
    pub fn set_zeal(&mut self, zeal: u32) {
        self.zeal = zeal;
    }

    /// Overwrites `count` freed bytes from index `at` on, under [zeal](HeapMemory::zeal). Does nothing unless all
    /// are mapped.
    ///
    /// # Examples
    /// ```
    /// use gc_heap::{HeapMemory, HeapOptions};
    /// use gc_types::NULL_PAGE_SIZE;
    ///
    /// let mut memory = HeapMemory::new(&HeapOptions { zeal: 1, ..HeapOptions::default() })?;
    /// let at = u64::from(NULL_PAGE_SIZE);
    /// memory.poison(at, 8);
    /// assert_eq!(memory.read_u8(at + 7), Some(HeapMemory::POISON));
    /// assert_eq!(memory.read_u8(at + 8), Some(0));
    /// # Ok::<(), gc_heap::HeapError>(())
    /// ```
    #[inline]
    pub fn poison(&mut self, at: u64, count: u64) {
        if self.zeal != 0 {
            let _mapped = self.fill(at, count, HeapMemory::POISON);
        }
    }
}
