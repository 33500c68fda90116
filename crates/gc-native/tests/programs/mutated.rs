//! Programs whose tables are mutated after linking. Each ends with an error or does what it did before. It neither
//! crashes nor hangs, and its result is never wrong.

use crate::common::{Folder, is_thorough, objects, program};
use anyhow::{Context as _, Result, ensure};
use gc_engine::{Collector, Engine};
use gc_types::Section;
use object::{Object as _, ObjectSection as _, ObjectSegment as _};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Output};

/// The bytes of a record before the references to needed symbols.
const RECORD: usize = 88;

/// A program's first object.
#[derive(Debug)]
struct Parts {
    record: usize,
    tables: Range<usize>,
    /// What it exports and imports, its types, its constants. It is a part of the tables.
    declarations: Range<usize>,
}

fn word(bytes: &[u8], at: usize) -> Result<u32> {
    Ok(u32::from_le_bytes(bytes.get(at..at + 4).context("a word")?.try_into()?))
}

fn double_word(bytes: &[u8], at: usize) -> Result<u64> {
    Ok(u64::from_le_bytes(bytes.get(at..at + 8).context("a double word")?.try_into()?))
}

/// Finds the parts of the first object in the file of a program.
fn parts(program: &[u8]) -> Result<Parts> {
    let file = object::File::parse(program)?;
    let records = file.section_by_name("reclaim_objects").context("the records")?;
    let (record, size) = records.file_range().context("the records have no bytes")?;
    ensure!(size as usize >= RECORD, "the records have {size} bytes");
    let record = record as usize;
    let distance = double_word(program, record + 48)?;
    let address = (records.address() + 48).wrapping_add(distance);
    let place = file.segments().find_map(|segment| {
        let (start, _) = segment.file_range();
        let inside = address.checked_sub(segment.address())?;
        (inside < segment.size()).then_some((start + inside) as usize)
    });
    let tables = place.context("no segment has the tables")?;
    let size = double_word(program, record + 56)? as usize;
    let [start, end] = [0, 4].map(|n| word(program, tables + 8 * Section::COUNT + n));
    let declarations = tables + start? as usize..tables + end? as usize;
    Ok(Parts { record, tables: tables..tables + size, declarations })
}

/// The checksum of a record's numbers and its tables.
fn checksum(program: &[u8], parts: &Parts) -> Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&program[parts.tables.clone()]);
    hasher.update(&program[parts.record + 16..parts.record + 32]);
    for at in [40, 56, 72] {
        hasher.update(&double_word(program, parts.record + at)?.to_le_bytes());
    }
    for at in [0, 12] {
        hasher.update(&u64::from(word(program, parts.record + at)?).to_le_bytes());
    }
    Ok(hasher.finalize())
}

/// A sequence of numbers that has no order (xorshift64, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// Changes between one and four bytes of a range.
    fn mutate(&mut self, bytes: &mut [u8], range: &Range<usize>) {
        for _ in 0..=self.below(4) {
            let at = range.start + self.below(range.len());
            bytes[at] = match self.below(4) {
                0 => bytes[at] ^ (1 << self.below(8)),
                1 => bytes[at].wrapping_add(1),
                2 => bytes[range.start + self.below(range.len())],
                _ => [0, 0x7f, 0x80, 0xff][self.below(4)],
            };
        }
    }
}

fn run(program: &Path) -> Result<Output> {
    Command::new("timeout").arg("20").arg(program).output().context("the command `timeout`")
}

#[test]
fn mutations_end_in_errors() -> Result<()> {
    let turns = if is_thorough() { 2000 } else { 40 };
    let folder = Folder::new("mutated")?;
    let engine = Engine::builder(Collector::generational()).zeal(101).build()?;
    let program = program(&folder, &objects(&folder, &engine)?, &["-z", "noseparate-code"])?;
    let bytes = std::fs::read(&program)?;
    let parts = parts(&bytes)?;
    let sum = checksum(&bytes, &parts)?;
    ensure!(sum == word(&bytes, parts.record + 8)?, "the checksum is another");
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut refused, mut same) = (0, 0);
    for turn in 0..turns {
        let mut mutated = bytes.clone();
        // Every second time the checksum fits what is mutated, so that the decoders see it.
        let fits = turn % 2 == 1;
        let range = if fits { &parts.declarations } else { &parts.tables };
        numbers.mutate(&mut mutated, range);
        if fits {
            let sum = checksum(&mutated, &parts)?;
            mutated[parts.record + 8..parts.record + 12].copy_from_slice(&sum.to_le_bytes());
        }
        let file = File::options().write(true).open(&program)?;
        for range in [&(parts.record..parts.record + RECORD), &parts.tables] {
            file.write_all_at(&mutated[range.clone()], range.start as u64)?;
        }
        drop(file);
        let output = run(&program)?;
        let error = String::from_utf8_lossy(&output.stderr);
        let what = || {
            let different = |&at: &usize| mutated[at] != bytes[at];
            let places: Vec<_> = parts.tables.clone().filter(different).collect();
            format!("turn {turn}, {places:?} of {parts:?}: {}, {error}", output.status)
        };
        match output.status.code() {
            Some(1) if !error.is_empty() && !error.contains("panicked") => refused += 1,
            Some(42) if fits || mutated == bytes => same += 1,
            _ => anyhow::bail!(what()),
        }
    }
    println!("{refused} programs were refused, {same} did what they did before");
    ensure!(refused >= turns / 2 - 1, "only {refused} were refused");
    Ok(())
}
