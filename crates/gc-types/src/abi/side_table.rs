//! [`SideTable`]: a native table beside the heap that emitted code writes.
//!
//! A collector's barriers note what they saw in tables outside the heap: cards, logs, lists. Emitted code
//! finds a table by its address, which is in the heap data. It computes the place in the table in one of
//! few forms, so that no place is outside. The form is a part of the [`CollectorAbi`](crate::CollectorAbi),
//! so that both halves agree, and that a checker can compare emitted code with it. The address is known
//! only to the value that owns the table.

use crate::HeapDataOffsets;
use crate::collector::bump::{LIMIT, NEXT};
use std::fmt;

/// How emitted code computes a place in a [`SideTable`]. Sizes and places are in bytes; words are offsets in
/// the heap data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SideForm {
    /// A byte for each `1 << shift` bytes of the heap. The byte for the heap index `i` is at `i >> shift`. The
    /// code has accessed the heap at `i`, or before it in the same object, so `i` is not above the heap's maximum.
    Indexed {
        /// log2 of the bytes of heap for each byte of the table.
        shift: u32,
    },
    /// As [`Indexed`](SideForm::Indexed), but only for an object that is being allocated, at `i`. The heap
    /// needs bytes only for the memory that it has handed out, and gives an address from which those
    /// of the heap before it would be counted.
    IndexedNew {
        /// log2 of the bytes of heap for each byte of the table.
        shift: u32,
    },
    /// A power of two of entries. The number of an entry is masked.
    Masked {
        /// log2 of the bytes of an entry.
        entry: u32,
        /// The number of entries.
        len: u32,
        /// A word (u32) that is not zero if the code should use the table. Otherwise it has no memory. The word after it
        /// is the table's, too.
        switch: Option<u32>,
    },
    /// A list of references, four bytes each, to which the code appends. The number of an entry was compared with
    /// the capacity. The host may move the list in any call.
    Appended {
        /// The word (u32) of the number of entries.
        len: u32,
        /// The word (u32) of the number of entries for which there is memory.
        capacity: u32,
    },
}

/// A native table beside the heap: its name, the word (u64) of its address in the heap data, and its form.
///
/// # Examples
/// ```
/// use gc_types::{CollectorAbi, HeapDataOffsets, SideTable};
///
/// const CARDS: SideTable = SideTable::indexed("cards", HeapDataOffsets::COLLECTOR + 8, 9);
/// let abi = CollectorAbi::new("mine").with_table(CARDS);
/// assert_eq!(abi.tables().collect::<Vec<_>>(), [CARDS]);
/// assert_eq!(CARDS.to_string(), "at the address in 24: a byte for each 512 bytes of heap");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SideTable {
    name: &'static str,
    address: u32,
    form: SideForm,
}

/// The bits of the `size` bytes at `offset`, which must be words of a collector that are used for nothing else
/// than tables.
const fn bits(offset: u32, size: u32) -> u32 {
    assert!(offset > LIMIT, "the word belongs to every heap, or bounds allocation");
    assert!(offset.is_multiple_of(size), "the word is not aligned");
    assert!(offset + size <= HeapDataOffsets::SIZE, "the word is outside the heap data");
    ((1 << (size / 4)) - 1) << (offset / 4)
}

/// All of these bits, of which none may be set twice.
const fn disjoint(a: u32, b: u32) -> u32 {
    assert!(a & b == 0, "a word has two uses");
    a | b
}

impl SideTable {
    const fn new(name: &'static str, address: u32, form: SideForm) -> SideTable {
        let table = SideTable { name, address, form };
        let _words = table.words();
        table
    }

    /// A table of the form [`Indexed`](SideForm::Indexed), whose address is in the word `address`.
    ///
    /// # Panics
    /// If the word is not one of a collector's, not aligned, or one between which emitted code allocates.
    pub const fn indexed(name: &'static str, address: u32, shift: u32) -> SideTable {
        assert!(shift < 32, "a shift of an index");
        SideTable::new(name, address, SideForm::Indexed { shift })
    }

    /// A table of the form [`IndexedNew`](SideForm::IndexedNew), whose address is in the word `address`.
    ///
    /// # Panics
    /// If the word is not one of a collector's, not aligned, or one between which emitted code allocates.
    pub const fn indexed_new(name: &'static str, address: u32, shift: u32) -> SideTable {
        assert!(shift < 32, "a shift of an index");
        SideTable::new(name, address, SideForm::IndexedNew { shift })
    }

    /// A table of the form [`Masked`](SideForm::Masked) with `len` entries of `1 << entry` bytes, whose address
    /// is in the word `address`.
    ///
    /// # Panics
    /// If the word is not one of a collector's, or not aligned, or `len` is not a power of two.
    pub const fn masked(name: &'static str, address: u32, entry: u32, len: u32) -> SideTable {
        assert!(len.is_power_of_two() && entry <= 3, "a power of two of entries of 1 to 8 bytes");
        SideTable::new(name, address, SideForm::Masked { entry, len, switch: None })
    }

    /// A [masked](SideTable::masked) table that code uses only if the word (u32) `switch` is not zero. The heap may keep
    /// something else that depends on the switch in the word after it.
    ///
    /// # Panics
    /// If this table is not masked, or the word is not one of a collector's, or that of the address.
    #[must_use]
    pub const fn with_switch(self, switch: u32) -> SideTable {
        let SideForm::Masked { entry, len, .. } = self.form else {
            panic!("only a masked table has a switch")
        };
        SideTable::new(
            self.name,
            self.address,
            SideForm::Masked { entry, len, switch: Some(switch) },
        )
    }

    /// A list of the form [`Appended`](SideForm::Appended), whose address is in the word `address`, its length in
    /// the word `len`, and its capacity in the word `capacity`.
    ///
    /// # Panics
    /// If a word is not one of a collector's, not aligned, or used twice.
    pub const fn appended(name: &'static str, address: u32, len: u32, capacity: u32) -> SideTable {
        SideTable::new(name, address, SideForm::Appended { len, capacity })
    }

    /// The table's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The offset in the heap data of the table's address (u64).
    pub const fn address(&self) -> u32 {
        self.address
    }

    /// How emitted code computes a place in the table.
    pub const fn form(&self) -> SideForm {
        self.form
    }

    /// The log2 of the bytes of heap for each byte of an indexed table.
    ///
    /// # Panics
    /// If the table is not indexed.
    pub const fn shift(&self) -> u32 {
        match self.form {
            SideForm::Indexed { shift } | SideForm::IndexedNew { shift } => shift,
            _ => panic!("the table is not indexed"),
        }
    }

    /// The number of entries of a masked table.
    ///
    /// # Panics
    /// If the table is not masked.
    pub const fn len_masked(&self) -> u32 {
        match self.form {
            SideForm::Masked { len, .. } => len,
            _ => panic!("the table is not masked"),
        }
    }

    /// The words that only the owner of the table writes: a bit for each four bytes of the heap data. Of
    /// the words between which emitted code allocates, which the owner of [`SideForm::IndexedNew`] has, the
    /// code itself writes [`NEXT`].
    pub const fn owned_words(&self) -> u32 {
        match self.form {
            SideForm::Appended { len, .. } => self.words() & !bits(len, 4),
            _ => self.words(),
        }
    }

    /// All words that the table uses.
    pub(super) const fn words(&self) -> u32 {
        let others = match self.form {
            SideForm::Indexed { .. } | SideForm::Masked { switch: None, .. } => 0,
            SideForm::IndexedNew { .. } => 1 << (NEXT / 4) | 1 << (LIMIT / 4),
            SideForm::Masked { switch: Some(switch), .. } => bits(switch, 8),
            SideForm::Appended { len, capacity } => disjoint(bits(len, 4), bits(capacity, 4)),
        };
        disjoint(bits(self.address, 8), others)
    }
}

impl fmt::Display for SideTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at the address in {}: ", self.address)?;
        match self.form {
            SideForm::Indexed { shift } => {
                write!(f, "a byte for each {} bytes of heap", 1u64 << shift)
            }
            SideForm::IndexedNew { shift } => {
                write!(f, "a byte for each {} bytes of new objects", 1u64 << shift)
            }
            SideForm::Masked { entry, len, switch } => {
                write!(f, "{len} entries of {} bytes", 1 << entry)?;
                switch.map_or(Ok(()), |switch| write!(f, ", if {switch} is not zero"))
            }
            SideForm::Appended { len, capacity } => {
                write!(f, "a list, its length in {len}, its capacity in {capacity}")
            }
        }
    }
}

const _: () = assert!(HeapDataOffsets::SIZE / 4 <= u32::BITS);

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: u32 = HeapDataOffsets::COLLECTOR + 8;

    #[test]
    fn a_table_owns_its_address_and_what_bounds_it() {
        let words = |table: SideTable| (0..32).filter(move |n| table.owned_words() & 1 << n != 0);
        let first = WORD / 4;
        let address = [first, first + 1];
        assert!(words(SideTable::indexed("a", WORD, 7)).eq(address));
        let masked = SideTable::masked("b", WORD, 3, 16);
        assert!(words(masked).eq(address));
        assert!(words(masked.with_switch(WORD + 8)).eq(first..first + 4));
        // The program changes the length.
        let list = SideTable::appended("c", WORD, WORD + 8, WORD + 12);
        assert!(words(list).eq([first, first + 1, first + 3]));
        let notes = SideTable::indexed_new("d", LIMIT + 4, 3);
        assert!(words(notes).eq([NEXT / 4, LIMIT / 4, LIMIT / 4 + 1, LIMIT / 4 + 2]));
    }

    #[test]
    fn the_words_are_a_collectors() {
        for make in [
            || SideTable::indexed("a", 0, 7),
            || SideTable::indexed("a", NEXT, 7),
            || SideTable::masked("a", WORD, 0, 16).with_switch(WORD),
            || SideTable::appended("a", WORD, WORD + 8, WORD + 4),
            || SideTable::appended("a", WORD, WORD + 8, WORD + 8),
            || SideTable::indexed("a", WORD + 4, 7),
            || SideTable::indexed("a", HeapDataOffsets::SIZE, 7),
            || SideTable::masked("a", WORD, 0, 3),
            || SideTable::indexed("a", WORD, 7).with_switch(WORD + 8),
            || SideTable::appended("a", WORD, WORD + 8, HeapDataOffsets::BOUND),
        ] {
            assert!(std::panic::catch_unwind(make).is_err());
        }
    }
}
