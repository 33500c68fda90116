//! Damage to objects of code that a linker has put into a program: to an object's record, and to its tables.
//!
//! A record has a checksum of its numbers and one of its tables. Most damage here makes both right again, so that what
//! is behind the checksums is reached. What may then be done with the code depends on the kind of [`Damage`].

use crate::choices::Choices;
use anyhow::{Context as _, Result, ensure};
use gc_types::Section;
use std::ops::Range;

/// The bytes of a record before the references to the symbols that its object needs.
pub const RECORD: usize = 96;

/// The fields of a record that a linker does not write: the numbers and the fingerprint, the three sizes, and the
/// checksum of the tables.
const NUMBERS: [Range<usize>; 5] = [0..32, 40..48, 56..64, 72..80, 88..96];
/// The fields in a record.
const CHECKSUM: usize = 8;
const TABLES_SIZE: usize = 56;
const TABLES_CHECKSUM: usize = 88;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Bytes of the record or the tables are others, and the checksums are not made right. It must be found when the
    /// object is loaded.
    Found,
    /// A stack map is missing, or has another return address. The code may run, because each call that may collect has
    /// a map: a collection that finds none is an error, and changes nothing.
    Maps,
    /// What the code declares is other bytes. It may be loaded.
    Declarations,
    /// Any table is other bytes. It may be loaded, but not run: code and tables with right checksums are trusted.
    Tables,
}

impl Damage {
    /// All kinds.
    pub const ALL: [Damage; 4] =
        [Damage::Found, Damage::Maps, Damage::Declarations, Damage::Tables];
}

/// A copy of the record and the tables of an object. The sizes never change, so that they can be written back.
///
/// # Examples
/// ```
/// use gc_testkit::objects::{Damage, NativeObject, RECORD};
///
/// // The record is not one of an object.
/// assert!(NativeObject::new(&[0; RECORD], &[0; 400]).is_err());
/// assert_eq!(Damage::ALL.len(), 4);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeObject {
    /// The record, without the references to symbols.
    pub record: Vec<u8>,
    /// The tables, at whose beginning are the places of all.
    pub tables: Vec<u8>,
}

/// The word of 32 bits at a place.
fn word(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(bytes.get(at..at + 4).context("a word is missing")?.try_into()?))
}

fn set_word(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

impl NativeObject {
    /// The object with this record and these tables.
    ///
    /// # Errors
    /// If they are not of this version of the format, or are damaged.
    pub fn new(record: &[u8], tables: &[u8]) -> Result<NativeObject> {
        let record = record.get(..RECORD).context("a record is too short")?;
        let object = NativeObject { record: record.to_vec(), tables: tables.to_vec() };
        let mut right = object.clone();
        right.fix_checksums();
        ensure!(right == object, "the checksums are others than those of the format");
        ensure!(
            word(record, TABLES_SIZE)? as usize == tables.len(),
            "the tables have another size"
        );
        object.place(Section::COUNT)?;
        Ok(object)
    }

    /// The places of a section's bytes in the tables, by its number. After the sections come the declarations.
    fn place(&self, number: usize) -> Result<Range<usize>> {
        let end = |number| Ok::<_, anyhow::Error>(word(&self.tables, 4 * number)? as usize);
        let range = match number {
            // It is in the code.
            0 => 0..0,
            1 => 4 * Section::COUNT..end(1)?,
            Section::COUNT => end(number - 1)?..self.tables.len(),
            _ => end(number - 1)?.next_multiple_of(4)..end(number)?,
        };
        self.tables.get(range.clone()).context("a section is outside of the tables")?;
        Ok(range)
    }

    /// Makes the checksums right.
    pub fn fix_checksums(&mut self) {
        let tables = crc32fast::hash(&self.tables);
        set_word(&mut self.record, TABLES_CHECKSUM, tables);
        let mut hasher = crc32fast::Hasher::new();
        for range in [16..32, 40..48, 56..64, 72..80, 0..4, 12..16, 88..96] {
            hasher.update(&self.record[range]);
        }
        set_word(&mut self.record, CHECKSUM, hasher.finalize());
    }

    /// Damages it in this way. It may be the same afterwards.
    ///
    /// # Errors
    /// If it was damaged before.
    pub fn damage(&mut self, damage: Damage, choices: &mut Choices) -> Result<()> {
        match damage {
            Damage::Found if choices.chance(30) => {
                let range = choices.pick(&NUMBERS);
                change(&mut self.record, &range, choices);
            }
            Damage::Found => {
                let all = 0..self.tables.len();
                change(&mut self.tables, &all, choices);
            }
            Damage::Maps => self.change_map(choices)?,
            Damage::Declarations => {
                let range = self.place(Section::COUNT)?;
                change(&mut self.tables, &range, choices);
            }
            Damage::Tables => {
                // First those of the places, then those of sections.
                let places = 0..4 * Section::COUNT;
                let mut ranges = vec![places];
                // The range of the code is not one of the tables.
                for section in Section::ALL.into_iter().filter(|it| *it != Section::Text) {
                    ranges.push(self.place(section as usize)?);
                }
                ranges.push(self.place(Section::COUNT)?);
                ranges.retain(|range| !range.is_empty());
                for _ in 0..=choices.below(3) {
                    let range = choices.pick(&ranges);
                    change(&mut self.tables, &range, choices);
                }
            }
        }
        if damage != Damage::Found {
            self.fix_checksums();
        }
        Ok(())
    }

    /// Leaves a stack map out, or moves its return address.
    fn change_map(&mut self, choices: &mut Choices) -> Result<()> {
        let [maps, frames] = [Section::StackMaps, Section::StackMapFrames].map(|it| it as usize);
        let offsets = self.place(maps)?;
        let count = offsets.len() / 4;
        if count == 0 {
            return Ok(());
        }
        let number = choices.below(count);
        if choices.chance(50) {
            let at = offsets.start + 4 * number;
            let distance = choices.pick(&[1, 2, 3, 5, 8, -1_i32, -2, -4, -7]);
            let moved = word(&self.tables, at)?.wrapping_add_signed(distance);
            set_word(&mut self.tables, at, moved);
            return Ok(());
        }
        for (section, row) in [(maps, 4), (frames, 12)] {
            let range = self.place(section)?;
            let at = range.start + row * number;
            self.tables.copy_within(at + row..range.end, at);
            set_word(&mut self.tables, 8 * section + 4, u32::try_from(range.end - row)?);
        }
        Ok(())
    }
}

/// Changes between one and four bytes of a range, or a word.
pub fn change(bytes: &mut [u8], range: &Range<usize>, choices: &mut Choices) {
    if range.is_empty() {
        return;
    }
    for _ in 0..=choices.below(4) {
        let at = range.start + choices.below(range.len());
        match choices.below(6) {
            0 => bytes[at] ^= 1 << choices.below(8),
            1 => bytes[at] = bytes[at].wrapping_add(1),
            2 => bytes[at] = bytes[at].wrapping_sub(1),
            3 => bytes[at] = bytes[range.start + choices.below(range.len())],
            4 => bytes[at] = choices.pick(&[0, 1, 0x7f, 0x80, 0xff]),
            _ => {
                let word: u32 = choices.pick(&[0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x1000]);
                let word = word.to_le_bytes();
                let end = range.end.min(at / 4 * 4 + 4);
                let start = range.start.max(at / 4 * 4);
                bytes[start..end].copy_from_slice(&word[..end - start]);
            }
        }
    }
}
