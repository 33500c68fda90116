//! Changes of a saved module's bytes.
// The functions that `Mutate` derives take an argument for each field.
#![allow(clippy::too_many_arguments)]

use crate::list;
use anyhow::{Context, Result};
use mutatis::Mutate;
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object as _, ObjectSection as _};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A change. `part` and the 16 bits of `at` choose the place.
#[derive(Clone, Copy, Debug, Mutate, Serialize, Deserialize)]
pub(super) enum Edit {
    /// Changes a bit.
    Flip { part: u8, at: [u8; 2], bit: u8 },
    /// Overwrites a byte.
    Set { part: u8, at: [u8; 2], value: u8 },
    /// Overwrites a word of 32 bits by one that is special.
    Word { part: u8, at: [u8; 2], value: u8 },
    /// Adds to a byte.
    Add { part: u8, at: [u8; 2], value: u8 },
    /// Copies bytes to another place in the same part.
    Copy { part: u8, at: [u8; 2], from: [u8; 2], len: u8 },
    /// Swaps two bytes of the same part.
    Swap { part: u8, at: [u8; 2], with: [u8; 2] },
    /// Leaves bytes out.
    Cut { at: [u8; 2], len: u8 },
    /// Repeats bytes.
    Insert { at: [u8; 2], len: u8 },
    /// Leaves out all bytes from here on, but not the trailer.
    Shorten { at: [u8; 2] },
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

/// The parts of a saved module that may be changed although its checksum is made right again: all but
/// the machine code.
pub(super) struct Parts {
    /// The contents of the sections.
    contents: Vec<Range<usize>>,
    /// What says where they are: the names of the sections, and what is between them.
    frame: Vec<Range<usize>>,
}

impl Parts {
    /// The part that a byte chooses. Few changes of the frame leave a file that can be read, so it is
    /// chosen rarely.
    fn choose(&self, byte: u8) -> Range<usize> {
        let parts = if byte >= 0xf8 { &self.frame } else { &self.contents };
        parts[usize::from(byte) % parts.len()].clone()
    }
}

/// The parts of a saved module.
pub(super) fn parts(bytes: &[u8]) -> Result<Parts> {
    let object = &bytes[..bytes.len() - TRAILER];
    let elf: ElfFile64<'_, LittleEndian> = ElfFile64::parse(object)?;
    let mut sections = Vec::new();
    for section in elf.sections() {
        if let Some((start, size)) = section.file_range()
            && size > 0
        {
            let (start, size) = (usize::try_from(start)?, usize::try_from(size)?);
            sections.push((start..start + size, section.name()?.to_owned()));
        }
    }
    sections.sort_by_key(|(range, _)| range.start);
    let mut parts = Parts { contents: Vec::new(), frame: Vec::new() };
    let mut end = 0;
    for (range, name) in sections {
        parts.frame.push(end..range.start);
        end = range.end;
        match &*name {
            ".text" => {}
            ".shstrtab" | ".strtab" => parts.frame.push(range),
            _ => parts.contents.push(range),
        }
    }
    parts.frame.push(end..object.len());
    parts.frame.retain(|part| !part.is_empty());
    parts.frame.first().context("a file has a header")?;
    parts.contents.first().context("a module has sections")?;
    Ok(parts)
}

/// Whether a change that moves all that is behind it is made. With a right checksum, the file can
/// rarely be read afterwards, so most are left out.
fn moves(at: [u8; 2], parts: Option<&Parts>) -> bool {
    parts.is_none() || at[0].is_multiple_of(16)
}

/// The bytes after these changes. With `parts`, only these parts are changed, and the trailer is made
/// right again.
pub(super) fn apply(edits: &[Edit], bytes: &[u8], parts: Option<&Parts>) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let object = bytes.len() - TRAILER;
    for edit in edits {
        let all = 0..changed.len();
        // When bytes were left out, the parts are no longer where they were.
        let parts_here = parts.filter(|_| changed.len() == bytes.len());
        let place = |part: u8, at: [u8; 2]| {
            let part = parts_here.map_or(all.clone(), |parts| parts.choose(part));
            part.start + usize::from(u16::from_le_bytes(at)) % part.len().max(1)
        };
        let anywhere = |at: [u8; 2]| all.start + usize::from(u16::from_le_bytes(at)) % all.len();
        let rest = |at: usize, len: u8| at..changed.len().min(at + usize::from(len));
        match *edit {
            _ if changed.len() < 2 * TRAILER => break,
            Edit::Cut { at, .. } | Edit::Insert { at, .. } | Edit::Shorten { at }
                if !moves(at, parts) => {}
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
            Edit::Cut { at, len } => drop(changed.drain(rest(anywhere(at), len))),
            Edit::Insert { at, len } => {
                let range = rest(anywhere(at), len);
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
