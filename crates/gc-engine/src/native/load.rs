//! Finds the objects of an executable or a library in memory, and makes [`Code`] of them.
#![allow(unsafe_code)]

use super::{Header, Options, Record, VERSION};
use crate::declarations::Loader;
use crate::{Code, Collector, Engine, EngineBuilder, HeapOptions, RunOptions};
use anyhow::{Context as _, Result, ensure};
use gc_jit::CodeMemory;
use gc_types::{Abi, CodeImage, Fingerprint, HeapBounds};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The objects of an executable or a library that is in memory.
#[derive(Debug)]
pub struct Objects {
    start: &'static Header,
    options: Options,
}

/// The address to which the distance at `field` leads.
fn target(field: *const i64) -> *const u8 {
    // SAFETY: all fields of records that are read here are in memory.
    field.cast::<u8>().wrapping_offset(unsafe { field.read() } as isize)
}

/// The bytes at the distance in the first of two fields. The second is their number.
///
/// # Safety
/// They are in memory as long as the program, and do not change.
unsafe fn bytes(fields: &'static [i64; 2]) -> &'static [u8] {
    // SAFETY: passed on.
    unsafe { std::slice::from_raw_parts(target(&raw const fields[0]), fields[1] as usize) }
}

/// The sizes in bytes that parts of objects can have.
const SIZES: RangeInclusive<i64> = 0..=i32::MAX as i64;

impl Objects {
    /// Those of the executable or the library that has this symbol `reclaim_start`.
    ///
    /// # Errors
    /// If they are of another version of the format.
    ///
    /// # Safety
    /// It is the address of this symbol, in an object that [`Engine::emit_start`](Engine::emit_start) has written. The
    /// executable or library stays in memory as long as the process.
    pub unsafe fn at(start: *const u8) -> Result<Objects> {
        // SAFETY: the symbol is there, as the caller promises.
        let start: &'static Header = unsafe { &*start.cast::<Header>() };
        ensure!(
            start.version == VERSION,
            "the objects are of version {} of the format, but the library is of version {VERSION}",
            start.version
        );
        // What it says of sizes is checked before so much is read.
        ensure!(
            start.checksum() == start.checksum,
            "the start object is damaged: its checksum is wrong"
        );
        ensure!(
            [start.abi[1], start.options[1]].iter().all(|size| SIZES.contains(size)),
            "the start object is damaged: a size is out of range"
        );
        // SAFETY: the start object has them.
        let [text, options] = unsafe { [bytes(&start.abi), bytes(&start.options)] };
        let mut contents = crc32fast::Hasher::new();
        [text, options].iter().for_each(|bytes| contents.update(bytes));
        ensure!(
            contents.finalize() == start.contents,
            "the start object is damaged: the checksum of its options is wrong"
        );
        let options = postcard::from_bytes(options).context("the options of the start object")?;
        Ok(Objects { start, options })
    }

    /// The function that `main` calls.
    pub fn main(&self) -> Option<&str> {
        self.options.main.as_deref()
    }

    /// The options of heaps that the objects were made with.
    pub fn heap(&self) -> HeapOptions {
        let options = &self.options;
        let bounds = if options.guarded { HeapBounds::Guarded } else { HeapBounds::Checked };
        let (maximum, zeal) = (options.heap_maximum, options.zeal);
        HeapOptions { maximum, bounds, zeal, ..HeapOptions::default() }
    }

    /// An engine for the code, with these options of heaps and the other options that the objects were made with.
    ///
    /// # Errors
    /// If this program has no such collector.
    pub fn engine(&self, heap: HeapOptions) -> Result<EngineBuilder> {
        let options = &self.options;
        let collector: Collector = options.collector.parse()?;
        let max_stack = usize::try_from(options.max_stack)?;
        let run = RunOptions { max_stack, interruptible: options.interruptible };
        Ok(Engine::builder(collector).heap(heap).run(run))
    }

    /// Checks that an engine's heaps and this machine fit the code. Returns the text of the code's ABI.
    ///
    /// # Errors
    /// The difference.
    pub fn check(&self, engine: &Engine) -> Result<&'static str> {
        // SAFETY: the start object has it.
        let text = unsafe { bytes(&self.start.abi) };
        let text = std::str::from_utf8(text).context("the ABI of the start object")?;
        engine.abi().check(text).context(
            "the executable's code does not fit its engine (here: the engine; there: the code)",
        )?;
        Ok(text)
    }

    /// The code of all objects, for this engine. The engine's stores can load it.
    ///
    /// # Errors
    /// If an object was compiled for another kind of heap, for a processor with more features, or for another start
    /// object, or if its tables are damaged.
    ///
    /// # Safety
    /// This is the only call in the process for these objects.
    pub unsafe fn load(&self, engine: &Engine) -> Result<Vec<Code>> {
        let text = self.check(engine)?;
        let fingerprint = Fingerprint::of(text).to_bytes();
        let [mut at, end] = [0, 1].map(|n| target(&raw const self.start.records[n]));
        let mut codes = Vec::new();
        let mut loader = Loader::new(engine);
        while at < end {
            ensure!(
                end.addr() - at.addr() >= size_of::<Record>(),
                "the records of the objects are damaged"
            );
            // SAFETY: the linker has put the records between these symbols.
            let record: &'static Record = unsafe { &*at.cast::<Record>() };
            let named = || format!("object {} of the executable", codes.len());
            ensure!(
                record.version == VERSION,
                "{} is of version {} of the format, but the library is of version {VERSION}",
                named(),
                record.version
            );
            let size = record.size as usize;
            let sizes = [record.code[1], record.tables[1], record.words[1]];
            ensure!(
                size == Record::size_with(record.needs)
                    && size <= end.addr() - at.addr()
                    && sizes.iter().all(|size| SIZES.contains(size)),
                "the record of {} is damaged",
                named()
            );
            ensure!(
                record.fingerprint == fingerprint,
                "{} was compiled for another kind of heap than the start object",
                named()
            );
            // SAFETY: the record is one of an object whose code was compiled for this ABI.
            let code = unsafe { load(record, engine.abi(), &mut loader) }.with_context(named)?;
            codes.push(code);
            at = at.wrapping_add(size);
        }
        let mut bases: Vec<_> = codes.iter().map(|code: &Code| code.memory().base()).collect();
        bases.sort_unstable();
        ensure!(
            bases.is_sorted_by(|before, after| before < after),
            "two of the objects have the same code: a linker has merged them"
        );
        self.protect_words()?;
        Ok(codes)
    }

    /// Protects the pages of the words of types. Other data may be in the last page.
    fn protect_words(&self) -> Result<()> {
        let [start, end] = [0, 1].map(|n| target(&raw const self.start.words[n]));
        let page = CodeImage::PAGE_SIZE as usize;
        let size = (end.addr() / page * page).saturating_sub(start.addr());
        ensure!(start.addr().is_multiple_of(page), "the words of types do not begin with a page");
        if size > 0 {
            // SAFETY: these pages have only words of types, which were written.
            unsafe { gc_jit::protect_read_only(start, size)? };
        }
        Ok(())
    }
}

/// The code of a record.
///
/// # Safety
/// The record is one of an object that this version has written, for the ABI of the engine.
unsafe fn load(record: &'static Record, abi: &Arc<Abi>, loader: &mut Loader<'_>) -> Result<Code> {
    // What the record says of sizes is checked before so much is read.
    let checksum = record.checksum();
    ensure!(
        checksum == record.checksum,
        "its record is damaged: the checksum is {checksum:08x} and should be {:08x}",
        record.checksum
    );
    // SAFETY: the object has its code and its tables.
    let (code, tables) = unsafe { (bytes(&record.code), bytes(&record.tables)) };
    let checksum = crc32fast::hash(tables);
    ensure!(
        checksum == record.tables_checksum,
        "its tables are damaged: their checksum is {checksum:08x} and should be {:08x}",
        record.tables_checksum
    );
    let image = CodeImage::with_code_apart(code, tables)?;
    let declared = tables.get(image.end_of_tables()..).context("its tables are too short")?;
    ensure!(image.type_words().len() as i64 == record.words[1], "it has another number of words");
    let words = target(&raw const record.words[0]).cast_mut().cast::<u64>();
    loader.load(declared, |indices| {
        // SAFETY: as the caller promises. The linker has made room for the words.
        unsafe { CodeMemory::publish_in_place(image, abi, indices, words) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_the_start_object_are_checked() {
        for size in [-1, i64::MIN, i64::from(i32::MAX) + 1] {
            let mut header = Header {
                version: VERSION,
                checksum: 0,
                contents: 0,
                reserved: 0,
                abi: [0, size],
                options: [0; 2],
                records: [0; 2],
                words: [0; 2],
            };
            header.checksum = header.checksum();
            // SAFETY: the header is in memory to the end of the process, and says nothing of other memory that is read.
            let error = unsafe { Objects::at((&raw const *Box::leak(Box::new(header))).cast()) };
            let error = error.unwrap_err().to_string();
            assert_eq!(error, "the start object is damaged: a size is out of range");
        }
    }
}
