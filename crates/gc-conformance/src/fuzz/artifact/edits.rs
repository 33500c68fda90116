//! Changes of a saved module's bytes.
// The functions that `Mutate` derives take an argument for each field.
#![allow(clippy::too_many_arguments)]

use crate::fuzz::list;
use anyhow::{Context, Result};
use mutatis::Mutate;
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSection as _};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::slice;

/// A change. `part` and the 16 bits of `at` choose the place.
#[derive(Clone, Copy, Debug, Mutate, Serialize, Deserialize)]
pub(super) enum Edit {
    Flip {
        part: u8,
        at: [u8; 2],
        bit: u8,
    },
    Set {
        part: u8,
        at: [u8; 2],
        value: u8,
    },
    /// Overwrites a word of 32 bits by one that is special.
    Word {
        part: u8,
        at: [u8; 2],
        value: u8,
    },
    /// Adds to a byte.
    Add {
        part: u8,
        at: [u8; 2],
        value: u8,
    },
    /// Copies bytes to another place in the same part.
    Copy {
        part: u8,
        at: [u8; 2],
        from: [u8; 2],
        len: u8,
    },
    /// Swaps two bytes of the same part.
    Swap {
        part: u8,
        at: [u8; 2],
        with: [u8; 2],
    },
    /// Leaves bytes out.
    Cut {
        at: [u8; 2],
        len: u8,
    },
    /// Repeats bytes.
    Insert {
        at: [u8; 2],
        len: u8,
    },
    /// Leaves out all bytes from here on, but not the trailer.
    Shorten {
        at: [u8; 2],
    },
}

/// The number of kinds of changes.
const KINDS: u8 = 9;
/// The most changes.
const MOST: usize = 12;
/// The bytes of the trailer: a magic, the length and the checksum.
const TRAILER: usize = 28;
const SPECIAL: [u32; 10] =
    [0, 1, 2, 4, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX, 0x1_0000, 0x1000];

pub(super) fn decode(input: &[u8]) -> ([u8; 3], Vec<Edit>) {
    list::decode(input, KINDS, MOST)
}

/// Changes some edits of an input.
pub(super) fn mutate(input: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    list::mutate(decode(input), most, seed)
}

/// The parts of a saved module except the machine code and the trailer: each section, and what is
/// between them.
pub(super) fn parts(bytes: &[u8]) -> Result<Vec<Range<usize>>> {
    let object = &bytes[..bytes.len() - TRAILER];
    let elf: ElfFile64<'_, LittleEndian> = ElfFile64::parse(object)?;
    let mut sections = Vec::new();
    for section in elf.sections() {
        if let Some((start, size)) = section.file_range()
            && size > 0
        {
            let (start, size) = (usize::try_from(start)?, usize::try_from(size)?);
            sections.push((start..start + size, section.name()? == ".text"));
        }
    }
    sections.sort_by_key(|(range, _)| range.start);
    let (mut parts, mut end) = (Vec::new(), 0);
    for (range, is_code) in sections {
        parts.push(end..range.start);
        end = range.end;
        if !is_code {
            parts.push(range);
        }
    }
    parts.push(end..object.len());
    parts.retain(|part| !part.is_empty());
    parts.first().context("a file has a header")?;
    Ok(parts)
}

/// The bytes after these changes. With `parts`, only these parts are changed, and the trailer is made
/// right again.
pub(super) fn apply(edits: &[Edit], bytes: &[u8], parts: Option<&[Range<usize>]>) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let object = bytes.len() - TRAILER;
    for edit in edits {
        let all = 0..changed.len();
        // When bytes were left out, the parts are no longer where they were.
        let whole = parts.filter(|_| changed.len() == bytes.len()).unwrap_or(slice::from_ref(&all));
        let place = |part: u8, at: [u8; 2]| {
            let part = &whole[usize::from(part) % whole.len()];
            part.start + usize::from(u16::from_le_bytes(at)) % part.len().max(1)
        };
        let rest = |at: usize, len: u8| at..changed.len().min(at + usize::from(len));
        match *edit {
            _ if changed.len() < 2 * TRAILER => break,
            Edit::Flip { part, at, bit } => changed[place(part, at)] ^= 1 << (bit % 8),
            Edit::Set { part, at, value } => changed[place(part, at)] = value,
            Edit::Add { part, at, value } => {
                let at = place(part, at);
                changed[at] = changed[at].wrapping_add(value);
            }
            Edit::Word { part, at, value } => {
                let word = SPECIAL[usize::from(value) % SPECIAL.len()].to_le_bytes();
                let range = rest(place(part, at), 4);
                let len = range.len();
                changed[range].copy_from_slice(&word[..len]);
            }
            Edit::Copy { part, at, from, len } => {
                let (at, from) = (place(part, at), place(part, from));
                let len = usize::from(len).min(changed.len() - at.max(from));
                changed.copy_within(from..from + len, at);
            }
            Edit::Swap { part, at, with } => changed.swap(place(part, at), place(part, with)),
            Edit::Cut { at, len } => drop(changed.drain(rest(place(0, at), len))),
            Edit::Insert { at, len } => {
                let range = rest(place(0, at), len);
                let repeated = changed[range.clone()].to_vec();
                changed.splice(range.start..range.start, repeated);
            }
            Edit::Shorten { at } => {
                let at = usize::from(u16::from_le_bytes(at)) % (changed.len() - TRAILER);
                changed.drain(at..changed.len() - TRAILER);
            }
        }
    }
    if parts.is_some() && changed.len() >= TRAILER {
        let trailer = changed.len() - TRAILER;
        changed[trailer..].copy_from_slice(&bytes[object..]);
        let len = changed.len() as u64;
        changed[trailer + 16..trailer + 24].copy_from_slice(&len.to_le_bytes());
        let checksum = crc32fast::hash(&changed[..trailer + 24]);
        changed[trailer + 24..].copy_from_slice(&checksum.to_le_bytes());
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_encoded_as_they_are_decoded() {
        list::check_encoding::<Edit>(KINDS);
    }
}
