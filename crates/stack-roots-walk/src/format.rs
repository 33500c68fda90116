//! The format of the tables, which `stack-roots` writes and this crate reads.
//!
//! A record describes functions of one object. A linker joins the records of all objects in the section
//! `stack_roots`. All numbers are little-endian words of 32 bits, if nothing else is said.
//!
//! | part | words |
//! |---|---|
//! | header | magic (two words); version and ELF number of the processor (16 bits each); size in bytes; number of functions; number of rows; checksum (64 bits) |
//! | each function | distance from this word to the function's code; size of the code in bytes; number of its rows |
//! | each row | return address, relative to the function's code; place of its map among the words of maps |
//! | maps | for each different map: number of roots, number of derived pointers; the slots of the roots; for each derived pointer the slot of its base, and then its own |
//!
//! A slot is its offset from the frame pointer in bytes, with the logarithm of its size in words in the two
//! lowest bits. The distances are relative, so nothing is relocated when a program is loaded. The checksum is
//! over all words but the distances, which the linker fills in. It is FNV-1a (Fowler, Noll and Vo), which a
//! change of one byte always changes.

/// The name of the section. The linker defines `__start_stack_roots` and `__stop_stack_roots`.
pub const SECTION: &str = "stack_roots";

/// The first two words of a record.
pub const MAGIC: [u32; 2] = [0x6b63_7473, 0x746f_6f72];

/// The version of the format.
pub const VERSION: u16 = 1;

/// The number of x86-64 in ELF files.
pub const X86_64: u16 = 62;

/// The number of aarch64 in ELF files.
pub const AARCH64: u16 = 183;

/// The words of a record's header.
pub const HEADER_WORDS: usize = 8;
/// The words of a function in a record.
pub const FUNCTION_WORDS: usize = 3;
/// The words of a row.
pub const ROW_WORDS: usize = 2;

/// The word of the header with the checksum's lower half.
pub const CHECKSUM: usize = 6;

/// A place in a frame that holds a reference, or a pointer that was derived from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Its place relative to the frame pointer, in bytes. It is a negative multiple of four.
    pub offset: i32,
    /// Its size in bytes: 4, 8 or 16.
    pub bytes: u32,
}

impl Slot {
    /// The word of the slot, if its place and size can be in a table.
    pub fn word(self) -> Option<u32> {
        let size = match self.bytes {
            4 => 0,
            8 => 1,
            16 => 2,
            _ => return None,
        };
        let is_place = self.offset < 0
            && self.offset % 4 == 0
            && i64::from(self.offset) + i64::from(self.bytes) <= 0;
        is_place.then_some(self.offset.cast_unsigned() | size)
    }

    /// The slot of a word of a map that was checked.
    pub(crate) fn in_map(word: u32) -> Slot {
        Slot { offset: (word & !3).cast_signed(), bytes: 4 << (word & 3) }
    }

    /// Whether a word is that of a slot.
    pub(crate) fn is_word(word: u32) -> bool {
        Slot::in_map(word).word() == Some(word)
    }
}

/// The checksum of a record.
pub fn checksum(words: &[u32], functions: usize) -> u64 {
    let is_distance = |n: usize| {
        n.checked_sub(HEADER_WORDS)
            .is_some_and(|n| n < functions * FUNCTION_WORDS && n % FUNCTION_WORDS == 0)
    };
    let is_hashed = |n: usize| !is_distance(n) && n != CHECKSUM && n != CHECKSUM + 1;
    let hashed = words.iter().enumerate().filter(|(n, _)| is_hashed(*n));
    hashed.flat_map(|(_, word)| word.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
