//! Reads a record of the section. Its sizes and its checksum are checked first. [`Tables::insert`](crate::Tables::insert)
//! checks its rows and maps.

use crate::arch::MACHINE;
use crate::error::{BadRecord, TableError};
use crate::format::{
    CHECKSUM, FUNCTION_WORDS, HEADER_WORDS, MAGIC, ROW_WORDS, Slot, VERSION, checksum,
};

/// A record whose checksum is right.
#[derive(Debug)]
pub(crate) struct Record {
    functions: Vec<[u32; FUNCTION_WORDS]>,
    rows: Vec<[u32; ROW_WORDS]>,
    /// The words of all maps.
    maps: Vec<u32>,
}

/// A function of a record.
#[derive(Debug)]
pub(crate) struct FunctionRows<'r> {
    /// Where the distance to the function is, from the beginning of the record in bytes.
    pub(crate) place: usize,
    /// From there to the function's code, in bytes.
    pub(crate) distance: i32,
    /// The size of the code in bytes.
    pub(crate) size: u32,
    /// Return addresses, relative to the code, and their maps.
    pub(crate) rows: &'r [[u32; ROW_WORDS]],
}

impl Record {
    /// Reads the record at the beginning of `bytes`. Returns its size too.
    pub(crate) fn read(bytes: &[u8]) -> Result<(Record, usize), TableError> {
        let word = |n: usize| {
            let at = bytes.get(4 * n..4 * n + 4).ok_or(BadRecord::Short)?;
            Ok::<u32, BadRecord>(u32::from_le_bytes(at.try_into().expect("four bytes")))
        };
        if [word(0)?, word(1)?] != MAGIC {
            return Err(BadRecord::Magic.into());
        }
        let version = word(2)? as u16;
        if version != VERSION {
            return Err(BadRecord::Version(version).into());
        }
        let machine = (word(2)? >> 16) as u16;
        if machine != MACHINE {
            return Err(BadRecord::Machine(machine).into());
        }
        let size = word(3)? as usize;
        let [functions, rows] = [word(4)? as usize, word(5)? as usize];
        let bytes = bytes.get(..size).ok_or(BadRecord::Short)?;
        let words: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")))
            .collect();
        if !size.is_multiple_of(8) || words.len() < HEADER_WORDS {
            return Err(BadRecord::Short.into());
        }
        let after_functions = functions
            .checked_mul(FUNCTION_WORDS)
            .and_then(|words| words.checked_add(HEADER_WORDS))
            .filter(|end| *end <= words.len())
            .ok_or(BadRecord::Counts)?;
        let after_rows = rows
            .checked_mul(ROW_WORDS)
            .and_then(|words| words.checked_add(after_functions))
            .filter(|end| *end <= words.len())
            .ok_or(BadRecord::Counts)?;
        let expected = u64::from(words[CHECKSUM]) | u64::from(words[CHECKSUM + 1]) << 32;
        if checksum(&words, functions) != expected {
            return Err(BadRecord::Checksum.into());
        }
        let chunks = words[HEADER_WORDS..after_functions].as_chunks().0.to_vec();
        let rows = words[after_functions..after_rows].as_chunks().0.to_vec();
        let record = Record { functions: chunks, rows, maps: words[after_rows..].to_vec() };
        let counted: usize = record.functions.iter().map(|[.., rows]| *rows as usize).sum();
        if counted != record.rows.len() {
            return Err(BadRecord::Counts.into());
        }
        Ok((record, size))
    }

    /// The functions, each with its rows.
    pub(crate) fn functions(&self) -> impl Iterator<Item = FunctionRows<'_>> {
        let mut rest = &self.rows[..];
        self.functions.iter().enumerate().map(move |(n, &[distance, size, count])| {
            let (rows, after) = rest.split_at(rest.len().min(count as usize));
            rest = after;
            let place = 4 * (HEADER_WORDS + n * FUNCTION_WORDS);
            FunctionRows { place, distance: distance.cast_signed(), size, rows }
        })
    }

    /// The words of the map at this place, if they are a map.
    pub(crate) fn map(&self, place: u32) -> Option<&[u32]> {
        map_at(&self.maps, place)
    }
}

/// The words of the map at this place, if they are a map.
pub(crate) fn map_at(words: &[u32], place: u32) -> Option<&[u32]> {
    let map = words.get(place as usize..)?;
    let [roots, derived] = [*map.first()?, *map.get(1)?];
    let len = (roots as usize).checked_add((derived as usize).checked_mul(2)?)?;
    let map = map.get(..len.checked_add(2)?)?;
    map[2..].iter().all(|word| Slot::is_word(*word)).then_some(map)
}
