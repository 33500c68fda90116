//! [`NotesTable`]: notes of emitted code about the objects that it allocates.

use crate::memory::KeptWords;
use crate::{HeapError, HeapMemory};
use gc_types::collector::bump::{LIMIT, NEXT};
use gc_types::{SideForm, SideTable};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Notes of emitted code about new objects: it sets a byte for each object that it allocates inline. There are
/// notes for a window of the heap. All that emitted code may allocate lies in the window, because this
/// value owns the words between which it allocates ([`NEXT`] and [`LIMIT`]).
///
/// # Examples
/// ```
/// use gc_heap::{HeapMemory, HeapOptions, NotesTable};
/// use gc_types::{HeapDataOffsets, NULL_PAGE_SIZE, SideTable, collector::bump::NEXT};
///
/// const STARTS: SideTable = SideTable::indexed_new("starts", HeapDataOffsets::COLLECTOR + 8, 3);
/// let memory = HeapMemory::new(&HeapOptions::default())?;
/// let mut notes = NotesTable::new(&memory, STARTS, 32 << 10)?;
/// let window = NULL_PAGE_SIZE;
/// notes.hand_out(&memory, window, window + 64..window + 128);
/// assert_eq!((notes.next(), memory.data_u32(NEXT)), (window + 64, window + 64));
/// // The host allocates 16 bytes. Eight notes are a word.
/// notes.advance(window + 80);
/// notes.note(1, 0);
/// assert_eq!(notes.word(1), 1);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct NotesTable {
    /// Atomic because emitted code writes it through a shared address.
    notes: Box<[AtomicU64]>,
    shift: u32,
    /// Bytes of the window.
    window: u32,
    address: u32,
    kept: KeptWords,
}

impl Drop for NotesTable {
    fn drop(&mut self) {
        self.kept.leave(std::mem::take(&mut self.notes));
    }
}

impl NotesTable {
    /// Makes notes for a window of `window` bytes of the heap in `memory`. Nothing is handed out.
    ///
    /// # Errors
    /// If there are such notes already, or the collector's ABI has others.
    ///
    /// # Panics
    /// If the table was declared in another [form](SideForm::IndexedNew).
    pub fn new(
        memory: &HeapMemory,
        table: SideTable,
        window: u32,
    ) -> Result<NotesTable, HeapError> {
        let SideForm::IndexedNew { shift } = table.form() else { super::other_form(table) };
        let mut kept = KeptWords::new(memory, table)?;
        let words = window.div_ceil(1 << shift).div_ceil(8) as usize;
        let notes: Box<[_]> = std::iter::repeat_with(AtomicU64::default).take(words).collect();
        kept.set_entries(&notes);
        Ok(NotesTable { notes, shift, window, address: table.address(), kept })
    }

    /// Lets emitted code allocate in `run`. The window begins at `start`.
    ///
    /// # Panics
    /// If the run is not in the window, or not in the mapped part of `memory`, or this is not the memory of the
    /// table.
    pub fn hand_out(&mut self, memory: &HeapMemory, start: u32, run: Range<u32>) {
        assert!(self.kept.are_in(memory), "the memory of another heap");
        memory.check_free(run.start, run.end);
        let place = |index: u32| index.checked_sub(start).filter(|place| *place <= self.window);
        assert!(
            place(run.start).is_some()
                && place(run.end).is_some()
                && start.is_multiple_of(1 << self.shift),
            "the notes from {start:#x} on are not for {run:#x?}"
        );
        let notes = super::address(self.notes.as_ptr());
        self.kept.set_u32(LIMIT, 0);
        self.kept.set_u64(self.address, notes.wrapping_sub(u64::from(start >> self.shift)));
        self.kept.set_u32(NEXT, run.start);
        self.kept.set_u32(LIMIT, run.end);
    }

    /// Hands nothing out.
    pub fn take_back(&mut self) {
        self.kept.set_u32(NEXT, 0);
        self.kept.set_u32(LIMIT, 0);
    }

    /// The index of the next object. Zero if nothing is handed out.
    #[inline]
    pub fn next(&self) -> u32 {
        self.kept.u32(NEXT)
    }

    /// The index that no object may pass.
    #[inline]
    pub fn limit(&self) -> u32 {
        self.kept.u32(LIMIT)
    }

    /// Makes `next` the index of the next object, when the host has allocated one.
    ///
    /// # Panics
    /// If it is above the limit, or before the present next object.
    #[inline]
    pub fn advance(&mut self, next: u32) {
        assert!(self.next() <= next && next <= self.limit(), "an object outside the run");
        self.kept.set_u32(NEXT, next);
    }

    /// Sets a note: that at the bit `shift`, a multiple of eight, of the word `word` (in little-endian order).
    ///
    /// # Panics
    /// If there is no such word.
    #[inline]
    pub fn note(&mut self, word: usize, shift: u32) {
        let word = &self.notes[word];
        word.store(word.load(Relaxed) | (1u64 << shift).to_le(), Relaxed);
    }

    /// Eight notes. The first is the lowest byte.
    ///
    /// # Panics
    /// If there is no such word.
    #[inline]
    pub fn word(&self, word: usize) -> u64 {
        u64::from_le(self.notes[word].load(Relaxed))
    }

    /// Removes eight notes.
    ///
    /// # Panics
    /// If there is no such word.
    #[inline]
    pub fn clear_word(&mut self, word: usize) {
        self.notes[word].store(0, Relaxed);
    }

    /// Removes all notes, and hands nothing out.
    pub fn clear(&mut self) {
        self.take_back();
        self.notes.iter().for_each(|note| note.store(0, Relaxed));
    }
}
