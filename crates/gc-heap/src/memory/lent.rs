//! [`LentBytes`]: a part of a heap's bytes that another thread reads while the program writes it.
//!
//! The memory knows who has it. Before it changes many bytes of that part at once, or lets somebody have an exclusive view,
//! it waits until they are back. The host's single writes go word by word, atomically, as the other thread's reads do.
//! What compiled code writes is outside of Rust's memory model: its stores of references are aligned words too. The
//! other thread changes only bytes of which the tables that it has say that nobody uses them ([`FreeMemory`]).
#![allow(unsafe_code)]

use super::view::{Mapped, SharedBytes};
use super::{HeapMapping, HeapMemory};
use crate::lend::Slot;
use crate::os;
use gc_types::NULL_PAGE_SIZE;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Has [`LentBytes`].
pub(crate) trait Borrower: Send + Sync {
    /// Waits until no other thread uses them.
    fn stop(&self);
}

impl<T: Send> Borrower for Slot<T> {
    fn stop(&self) {
        Slot::stop(self);
    }
}

/// Who has a part of a heap's bytes.
pub(super) struct Lent {
    /// Where the part begins. It has all that was mapped then.
    from: u64,
    borrower: Arc<dyn Borrower>,
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").field("from", &self.from).finish_non_exhaustive()
    }
}

/// The bytes that were mapped when they were lent. They stay mapped as long as this value exists.
#[derive(Debug)]
pub(crate) struct LentBytes {
    mapping: Arc<HeapMapping>,
    from: u64,
    usable: u64,
    poisons: bool,
}

// SAFETY: the mapping's address is constant, and the mapping is kept alive. Accesses are atomic, except that pages may be
// given back to the system, which nobody else uses.
unsafe impl Send for LentBytes {}

/// What may be done with bytes that a sweep has freed, by whoever has the tables that say so.
pub trait FreeMemory {
    /// Whether freed bytes are overwritten, because the heap has zeal.
    fn is_poisoned(&self) -> bool;

    /// Overwrites `count` bytes from index `at` on, if that [is done](FreeMemory::is_poisoned). Nobody uses them.
    fn poison(&mut self, at: u64, count: u64);

    /// Gives `count` bytes from index `at` on back to the system. They are whole pages, and nobody uses them.
    fn give_back(&mut self, at: u64, count: u64);
}

impl FreeMemory for HeapMemory {
    fn is_poisoned(&self) -> bool {
        self.zeal() != 0
    }

    fn poison(&mut self, at: u64, count: u64) {
        HeapMemory::poison(self, at, count);
    }

    fn give_back(&mut self, at: u64, count: u64) {
        let _mapped = HeapMemory::give_back(self, at, count);
        debug_assert!(_mapped.is_some(), "blocks are mapped");
    }
}

impl LentBytes {
    /// Where `count` bytes from index `at` on are, if all of them were lent.
    fn pointer(&self, at: u64, count: u64) -> Option<*mut u8> {
        // The null page is mapped before the bytes that can be used.
        let end = self.usable + u64::from(NULL_PAGE_SIZE);
        let lent = at >= self.from && at.checked_add(count)? <= end;
        // The offset is within the mapping.
        lent.then(|| self.mapping.base().wrapping_add(at as usize))
    }

    /// Overwrites the words from index `at` on, which nobody uses.
    fn fill(&mut self, at: u64, count: u64, byte: u8) {
        debug_assert!(self.pointer(at, count).is_some(), "lines and blocks are mapped");
        for word in 0..count / 4 {
            let Some(place) = self.pointer(at + 4 * word, 4) else { return };
            // SAFETY: the word is mapped, and aligned as objects are. All other accesses of this moment are atomic.
            let word = unsafe { AtomicU32::from_ptr(place.cast()) };
            word.store(u32::from_ne_bytes([byte; 4]), Relaxed);
        }
    }
}

impl FreeMemory for LentBytes {
    fn is_poisoned(&self) -> bool {
        self.poisons
    }

    fn poison(&mut self, at: u64, count: u64) {
        if self.poisons {
            self.fill(at, count, HeapMemory::POISON);
        }
    }

    fn give_back(&mut self, at: u64, count: u64) {
        let page = os::page_size() as u64;
        if !at.is_multiple_of(page) || !count.is_multiple_of(page) {
            return self.fill(at, count, 0);
        }
        let pointer = self.pointer(at, count);
        debug_assert!(pointer.is_some(), "blocks are mapped");
        if let Some(pointer) = pointer.filter(|_| count > 0) {
            self.mapping.ahead.get().inspect(|ahead| ahead.cancel());
            // SAFETY: the pages are mapped for reading and writing, and nobody uses them.
            unsafe { os::zero(pointer, count as usize) };
        }
    }
}

impl LentBytes {
    /// The bytes.
    #[inline]
    pub(crate) fn view(&self) -> SharedBytes<'_> {
        let base = self.mapping.base();
        SharedBytes::new(Mapped { base, usable: self.usable, _memory: PhantomData })
    }
}

impl HeapMemory {
    /// Lends all that is mapped to `borrower`, who uses nothing before index `from`. `None` if nothing is mapped. The
    /// borrower must have dropped the bytes, or not use them any more, when its [`stop`](Borrower::stop) returns.
    pub(crate) fn lend(&mut self, from: u64, borrower: Arc<dyn Borrower>) -> Option<LentBytes> {
        self.recall();
        let bytes = self.bytes()?;
        let usable = bytes.usable();
        self.lent = Some(Lent { from, borrower });
        Some(LentBytes { mapping: self.mapping(), from, usable, poisons: self.zeal != 0 })
    }

    /// Waits until nobody else reads the bytes.
    #[inline(always)]
    pub fn recall(&mut self) {
        if self.lent.is_some() {
            self.recall_lent();
        }
    }

    #[cold]
    #[inline(never)]
    fn recall_lent(&mut self) {
        if let Some(lent) = self.lent.take() {
            lent.borrower.stop();
        }
    }

    /// Waits until nobody else reads the `count` bytes from index `at` on.
    #[inline(always)]
    pub(super) fn recall_range(&mut self, at: u64, count: u64) {
        if let Some(lent) = &self.lent
            && at.saturating_add(count) > lent.from
        {
            self.recall_lent();
        }
    }

    /// Whether the byte at index `at` is lent.
    #[inline(always)]
    pub(super) fn is_lent(&self, at: u64) -> bool {
        self.lent.as_ref().is_some_and(|lent| at.saturating_add(16) > lent.from)
    }

    /// Writes bytes that are lent, as a part of each word that they are in. `None` unless all are mapped.
    #[cold]
    #[inline(never)]
    pub(super) fn write_lent(&mut self, at: u64, bytes: &[u8]) -> Option<()> {
        let end = at + bytes.len() as u64;
        self.pointer(at, end - at)?;
        let mut next = at;
        while next < end {
            let first = next / 4 * 4;
            let place = self.pointer(first, 4)?;
            // SAFETY: the word is mapped, and aligned because the base is. All other accesses of this moment are atomic
            // reads of words.
            let word = unsafe { AtomicU32::from_ptr(place.cast()) };
            let mut new = word.load(Relaxed).to_ne_bytes();
            // All bytes of a word at once: a reader must not find a reference that is half of one and half of another.
            while next < end && next < first + 4 {
                new[(next % 4) as usize] = bytes[(next - at) as usize];
                next += 1;
            }
            word.store(u32::from_ne_bytes(new), Relaxed);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapOptions, HeapView};
    use gc_types::NULL_PAGE_SIZE;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    const START: u64 = NULL_PAGE_SIZE as u64;
    const LENT: u64 = START + (64 << 10);

    /// Counts how often it is stopped.
    #[derive(Default)]
    struct Stops(AtomicU32);

    impl Borrower for Stops {
        fn stop(&self) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// Memory of which all from [`LENT`] on is lent.
    fn lent() -> (HeapMemory, Arc<Stops>, LentBytes) {
        let (initial, bounds) = (1 << 20, HeapBounds::Checked);
        let options = HeapOptions { initial, bounds, ..HeapOptions::default() };
        let mut memory = HeapMemory::new(&options).unwrap();
        let stops = Arc::<Stops>::default();
        let bytes = memory.lend(LENT, stops.clone()).unwrap();
        (memory, stops, bytes)
    }

    /// Changes many bytes from an index on.
    type Change = fn(&mut HeapMemory, u64);

    /// A use of the memory, and its name.
    type Case = (&'static str, fn(&mut HeapMemory));

    #[test]
    fn whoever_changes_many_lent_bytes_recalls_them_once() {
        let changes: [(&str, Change); 7] = [
            ("fill", |memory, at| memory.fill(at, 64, 1).unwrap()),
            ("zero", |memory, at| memory.zero(at, 64).unwrap()),
            ("write_bytes", |memory, at| memory.write_bytes(at, &[1; 64]).unwrap()),
            ("copy_within", |memory, at| memory.copy_within(at, START, 64).unwrap()),
            ("give_back", |memory, at| memory.give_back(at / 4096 * 4096, 4096).unwrap()),
            ("the end of a range", |memory, at| memory.fill(at - 60, 64, 1).unwrap()),
            ("a part of a page", |memory, at| memory.give_back(at, 8).unwrap()),
        ];
        for (what, change) in changes {
            let (mut memory, stops, _bytes) = lent();
            change(&mut memory, START + 4096);
            assert_eq!(stops.0.load(Relaxed), 0, "{what} of bytes that are not lent");
            change(&mut memory, LENT);
            change(&mut memory, LENT + 4096);
            assert_eq!(stops.0.load(Relaxed), 1, "{what}");
        }
        let whole: [Case; 4] = [
            ("an exclusive view", |memory| assert!(memory.bytes().is_some())),
            ("a copy of an object", |memory| memory.copy_object(START, LENT, 64).unwrap()),
            ("a reset", HeapMemory::reset),
            ("another loan", |memory| {
                let _bytes = memory.lend(LENT, Arc::<Stops>::default()).unwrap();
            }),
        ];
        for (what, change) in whole {
            let (mut memory, stops, _bytes) = lent();
            change(&mut memory);
            assert_eq!(stops.0.load(Relaxed), 1, "{what}");
        }
    }

    #[test]
    fn single_writes_recall_nothing_and_change_only_their_bytes() {
        let (mut memory, stops, bytes) = lent();
        for (at, byte) in (LENT - 8..LENT + 64).zip(1..) {
            memory.write_u8(at, byte).unwrap();
        }
        memory.write_u16(LENT + 3, u16::from_ne_bytes([101, 102])).unwrap();
        memory.write_u32(LENT + 8, u32::from_ne_bytes([103; 4])).unwrap();
        memory.write_u64(LENT + 17, u64::from_ne_bytes([104; 8])).unwrap();
        memory.write_u128(LENT + 30, u128::from_ne_bytes([105; 16])).unwrap();
        let expected: Vec<u8> = (0..72)
            .map(|n: u8| match i32::from(n) - 8 {
                3 => 101,
                4 => 102,
                8..12 => 103,
                17..25 => 104,
                30..46 => 105,
                _ => n + 1,
            })
            .collect();
        let mut read = vec![0; 72];
        memory.read_bytes(LENT - 8, &mut read).unwrap();
        assert_eq!(read, expected);
        assert_eq!(bytes.view().read_u32(LENT + 8), Some(u32::from_ne_bytes([103; 4])));
        assert_eq!(stops.0.load(Relaxed), 0);
        let end = memory.len();
        assert_eq!((memory.write_u64(end - 4, 1), memory.write_u8(end, 1)), (None, None));
    }

    #[test]
    fn lent_bytes_stay_mapped_when_the_memory_is_gone() {
        let (memory, _stops, bytes) = lent();
        let end = memory.len();
        drop(memory);
        assert_eq!(bytes.view().read_u32(end - 4), Some(0));
        assert_eq!(bytes.view().read_u32(end), None);
    }

    #[test]
    fn a_reader_finds_only_words_that_were_written() {
        let (mut memory, _stops, bytes) = lent();
        let both = [0x0011_2233_u32, 0x0044_5566];
        memory.write_u32(LENT, both[0]).unwrap();
        let done = AtomicBool::new(false);
        let others = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let bytes = bytes;
                let mut others = 0;
                while !done.load(Relaxed) {
                    others += u32::from(!both.contains(&bytes.view().read_u32(LENT).unwrap()));
                }
                others
            });
            (0..1_000_000).for_each(|n| memory.write_u32(LENT, both[n % 2]).unwrap());
            done.store(true, Relaxed);
            reader.join().unwrap()
        });
        assert_eq!(others, 0);
    }

    #[test]
    fn the_last_bytes_are_given_back_and_overwritten_too() {
        let (mut memory, _stops, mut bytes) = lent();
        let (end, page) = (memory.len(), os::page_size() as u64);
        for at in [end - 4, end - page, LENT] {
            memory.write_u32(at, 7).unwrap();
        }
        FreeMemory::give_back(&mut bytes, end - page, page);
        assert_eq!((memory.read_u32(end - 4), memory.read_u32(end - page)), (Some(0), Some(0)));
        // Parts of pages become zero as well.
        FreeMemory::give_back(&mut bytes, LENT, 8);
        assert_eq!(memory.read_u32(LENT), Some(0));
        bytes.poisons = true;
        bytes.poison(end - 8, 8);
        assert_eq!(memory.read_u8(end - 1), Some(HeapMemory::POISON));
    }
}
