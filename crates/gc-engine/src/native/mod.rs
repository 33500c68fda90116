//! Objects: code that a system linker puts into executables and libraries.
//!
//! [`Module::emit_object`](crate::Module::emit_object) writes an object with the code of a module, and
//! [`Engine::emit_start`](crate::Engine::emit_start) the one that all others need. The crate `gc-native` has the
//! static library that runs them.
//!
//! # The format
//! An object has these sections. All distances are relative to their own place, so nothing is relocated when a
//! program is loaded.
//!
//! | section | contents |
//! |---|---|
//! | `.text.reclaim` | the code |
//! | `.rodata.reclaim` | the tables of the image, and what a store needs to know besides |
//! | `reclaim_words` | room for the words of types, which are written when the program starts |
//! | `reclaim_objects` | one record, which says where the others are |
//!
//! With [`CodeOptions::unwind_tables`](crate::CodeOptions::unwind_tables) there is `.eh_frame` too, and the sections of
//! DWARF for lines if the module [names its source file](crate::Module::source_file).
//!
//! The code of each object ends with its checksum, so that no linker takes the code of two objects for the same.
//!
//! A linker merges the sections of all objects, and `__start_reclaim_objects` and `__stop_reclaim_objects` are the
//! bounds of the records.
//!
//! Mismatches are link errors, because the names of symbols encode what must agree:
//!
//! - `reclaim.abi.COLLECTOR.HASH` (`COLLECTOR.zeal.HASH` with zeal) is in the start object. Each record refers to it. So objects for another collector, with
//!   other options or of another version are not linked.
//! - `reclaim.type.NAME.HASH` stands for a type and its layout. It is in a group (COMDAT) with the name of the type, of
//!   which a linker keeps one. So an object with another layout refers to a symbol that is not there.
//! - `reclaim.function.NAME` is in the object that defines a function, and those that import it refer to it. So a function
//!   that is missing, or is defined twice, is an error, and a linker finds objects in archives.
//! - `reclaim.host_call.NAME` are the trampolines of the start object.

#[cfg(feature = "compiler")]
mod arch;
#[cfg(feature = "compiler")]
mod dwarf;
#[cfg(feature = "compiler")]
mod frames;
#[cfg(feature = "compiler")]
mod lines;
mod load;
#[cfg(feature = "compiler")]
mod write;

pub use load::Objects;

use serde::{Deserialize, Serialize};

/// The version of the format.
const VERSION: u32 = 5;

/// What the start object of an executable or a library says ([`Engine::emit_start`](crate::Engine::emit_start)).
///
/// # Examples
/// ```
/// # #[cfg(feature = "compiler")] {
/// use gc_engine::native::Start;
/// use gc_engine::{Collector, Engine};
///
/// let engine = Engine::new(Collector::copying())?;
/// let start = Start { host_functions: vec!["print".into()], ..Start::main("run") };
/// let object = engine.emit_start(&start)?;
/// # }
/// # anyhow::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Start {
    /// The function that the executable's `main` runs. Without one there is no symbol `main`. It has no parameters, and
    /// no result or an `I32`: the exit code.
    pub main: Option<String>,
    /// Further functions that the host calls, so that a linker takes the objects that define them from archives.
    pub roots: Vec<String>,
    /// The functions of the host that objects import. Other imports must be in objects.
    pub host_functions: Vec<String>,
    /// The symbol to which `main` jumps. `gc-native` has `reclaim_main`.
    pub runtime: String,
}

impl Start {
    /// An executable that runs this function.
    pub fn main(name: &str) -> Start {
        Start { main: Some(name.into()), ..Start::default() }
    }
}

impl Default for Start {
    /// A library, or an executable with a `main` of its own.
    fn default() -> Start {
        Start {
            main: None,
            roots: Vec::new(),
            host_functions: Vec::new(),
            runtime: "reclaim_main".into(),
        }
    }
}

/// The description of one object's code, in the section `reclaim_objects`. References to the symbols that the object
/// needs follow it: `needs` distances of 32 bits.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Record {
    /// Its bytes, with those references.
    size: u32,
    version: u32,
    /// CRC-32 of the record's numbers ([`Record::checksum`]).
    checksum: u32,
    needs: u32,
    /// The fingerprint of the ABI for which the code was compiled.
    fingerprint: [u8; 16],
    /// The distance from this field to the code, and the size of the code in bytes.
    code: [i64; 2],
    tables: [i64; 2],
    /// The distance to the words of types, and their number.
    words: [i64; 2],
    /// The distance to the symbol of the ABI.
    abi: i64,
    /// CRC-32 of the tables.
    tables_checksum: u32,
    reserved: u32,
}

impl Record {
    /// The size in bytes of a record with this number of needed symbols.
    fn size_with(needs: u32) -> usize {
        (size_of::<Record>() + 4 * needs as usize).next_multiple_of(8)
    }

    /// The checksum of its numbers, which say how much is read. The checksum of the tables is one of them. The code and
    /// the distances are not in it: a linker writes them.
    fn checksum(&self) -> u32 {
        let mut bytes = [0; 56];
        bytes[..16].copy_from_slice(&self.fingerprint);
        let sizes = [self.code[1], self.tables[1], self.words[1]];
        for (bytes, size) in bytes[16..40].chunks_exact_mut(8).zip(sizes) {
            bytes.copy_from_slice(&size.to_le_bytes());
        }
        let numbers = [self.size, self.needs, self.tables_checksum, self.reserved];
        for (bytes, number) in bytes[40..].chunks_exact_mut(4).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        crc32fast::hash(&bytes)
    }
}

/// The start object's description of all, at the symbols `reclaim_start` and `reclaim_own_start`. The second is hidden, so
/// that code in a program or library finds its own.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct Header {
    version: u32,
    /// CRC-32 of the header's numbers ([`Header::checksum`]).
    checksum: u32,
    /// CRC-32 of the text of the ABI and the options.
    contents: u32,
    reserved: u32,
    /// The distance from this field to the text of the ABI, and its size in bytes.
    abi: [i64; 2],
    /// The distance to the encoded [`Options`], and the size.
    options: [i64; 2],
    /// The distances from each field to the first record and to the end of the records.
    records: [i64; 2],
    /// The same for the words of types.
    words: [i64; 2],
}

impl Header {
    /// The checksum of its numbers, which say how much is read. A linker writes the distances.
    fn checksum(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        [self.abi[1], self.options[1]].iter().for_each(|size| hasher.update(&size.to_le_bytes()));
        hasher.update(&self.contents.to_le_bytes());
        hasher.finalize()
    }
}

/// How an executable makes its engine, unless its user says otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Options {
    /// The collector with its options, as on a command line.
    collector: String,
    /// The heap's maximum in bytes.
    heap_maximum: u64,
    /// How code stays inside the heap: whether the bounds are guarded.
    guarded: bool,
    /// Which allocations collect. Zero for no zeal.
    zeal: u32,
    max_stack: u64,
    interruptible: bool,
    /// The function that `main` calls.
    main: Option<String>,
}
