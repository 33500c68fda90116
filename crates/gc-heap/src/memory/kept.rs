//! [`KeptWords`]: data words that only the owner of a side table writes.
#![allow(unsafe_code)]

use super::data::halves;
use super::{HeapMapping, HeapMemory};
use crate::HeapError;
use gc_types::{SideForm, SideTable};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::{ptr, slice};

/// Data words with which emitted code addresses a [native table](crate::side), or
/// on which such an address depends. Only this value writes them:
/// [`HeapMemory::set_data_u32`] refuses to, and [`HeapMemory::reset`] leaves them.
///
/// A table has this value. So it writes the same words even if somebody replaces the [`HeapMemory`] of its
/// collector.
#[derive(Debug)]
pub(crate) struct KeptWords {
    mapping: Arc<HeapMapping>,
    /// A bit for each word.
    words: u32,
}

impl KeptWords {
    /// Keeps the words of `table` in `memory`. They become zero.
    ///
    /// # Errors
    /// If another table keeps one of them, if the collector's ABI has another table there, or if there is no memory.
    pub(crate) fn new(memory: &HeapMemory, table: SideTable) -> Result<KeptWords, HeapError> {
        let (mapping, words, name) = (memory.mapping(), table.owned_words(), table.name());
        let refused = |what| Err(HeapError::Options { what });
        if mapping.declared.get().is_some_and(|tables| !tables.contains(&table)) {
            return refused(format!("the collector's ABI has no side table `{name}` {table}"));
        }
        // Held until the words are ours, and zero: the next owner may be on another thread.
        let mut extents = mapping.extents.lock().unwrap_or_else(PoisonError::into_inner);
        let ownerless = mapping.ownerless.load(Relaxed);
        if mapping.kept.load(Relaxed) & words & !ownerless != 0 {
            return refused(format!(
                "the memory is that of another heap, or it has a side table `{name}` already"
            ));
        }
        mapping.kept.fetch_or(words, Relaxed);
        mapping.ownerless.fetch_and(!words, Relaxed);
        extents.remove(&words);
        let ours = |n: &usize| words & 1 << n != 0;
        (0..u32::BITS as usize).filter(ours).for_each(|n| mapping.data.0[n].store(0, Relaxed));
        drop(extents);
        Ok(KeptWords { mapping, words })
    }

    /// Whether these are words of `memory`.
    pub(crate) fn are_in(&self, memory: &HeapMemory) -> bool {
        memory.is_in(&self.mapping)
    }

    /// Says where the entries of the table are now, for [`HeapMemory::table_bytes`].
    pub(crate) fn set_entries<T>(&mut self, entries: &[T]) {
        let extent = (entries.as_ptr().expose_provenance(), size_of_val(entries));
        let extents = self.mapping.extents.lock();
        extents.unwrap_or_else(PoisonError::into_inner).insert(self.words, extent);
    }

    /// Gives `table`, whose address is in the words, to the mapping. The owner of the table is dropped, but
    /// emitted code may still run. So words and table stay as long as the mapping, or until a heap that is made
    /// in the same memory makes such a table. The old one stays even then.
    pub(crate) fn leave(&mut self, table: impl Send + 'static) {
        // With the lock of `new`, so that what this owner has written comes before what the next one writes.
        let extents = self.mapping.extents.lock();
        self.mapping.ownerless.fetch_or(self.words, Relaxed);
        drop(extents);
        let left = self.mapping.left.lock();
        left.unwrap_or_else(PoisonError::into_inner).push(Box::new(table));
    }

    /// The word at byte `offset`.
    #[inline]
    pub(crate) fn u32(&self, offset: u32) -> u32 {
        self.mapping.data_word(offset).load(Relaxed)
    }

    /// Writes the word at byte `offset`.
    #[inline]
    pub(crate) fn set_u32(&mut self, offset: u32, value: u32) {
        debug_assert!(self.words & 1 << (offset / 4) != 0, "the word at {offset} is not kept");
        self.mapping.data_word(offset).store(value, Relaxed);
    }

    /// Writes the two words at byte `offset` as one number.
    pub(crate) fn set_u64(&mut self, offset: u32, value: u64) {
        let [first, second] = halves(value);
        self.set_u32(offset, first);
        self.set_u32(offset + 4, second);
    }
}

impl HeapMemory {
    /// A copy of what is in `table`, for a test. `None` if there is no such table, or if it has no memory yet. Of a
    /// [list](gc_types::SideForm::Appended) these are the entries, and of all others the whole table.
    ///
    /// # Safety
    /// The owner of the table does not write it meanwhile. So the heap with this memory should be borrowed.
    pub unsafe fn table_bytes(&self, table: SideTable) -> Option<Vec<u8>> {
        let mapping = self.mapping();
        let extents = mapping.extents.lock().unwrap_or_else(PoisonError::into_inner);
        let &(address, size) = extents.get(&table.owned_words())?;
        let used = match table.form() {
            SideForm::Appended { len, .. } => size.min(self.data_u32(len) as usize * 4),
            _ => size,
        };
        let bytes = ptr::with_exposed_provenance::<u8>(address);
        // SAFETY: the table has so many bytes, all initialized, and stays as long as the mapping. No one writes them.
        Some(unsafe { slice::from_raw_parts(bytes, used) }.to_vec())
    }
}
