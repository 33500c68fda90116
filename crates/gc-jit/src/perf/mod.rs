//! Tells Linux `perf` the names of published code.
//!
//! `perf` attributes a sample in memory without a file to a process, but not to a function. It reads
//! names from one of two files that the process writes:
//!
//! - a map, `/tmp/perf-PID.map`: a line of text for each function, with its address, its size and its
//!   name (`tools/perf/Documentation/jit-interface.txt` of Linux). `perf report` reads it as it is.
//! - a dump, `jit-PID.dump` in the current directory: records with a time, the name, the code itself,
//!   and the source lines (`jitdump-specification.txt`, in the same folder). `perf inject --jit` makes
//!   an object file of each function, so `perf annotate` works too, and an address that is used twice
//!   has the name that it had at the time.
//!
//! A process has one file of each kind. Several engines, and other libraries, may append to it. So each
//! write locks the file. There is no list of what was written: the number of a function in the dump is
//! the place of its record.
//!
//! The crate `wasmtime-internal-jit-debug` writes dumps too. It is not meant for others, writes no source
//! lines, and counts functions from zero in each value that has the file open. So two engines in one process
//! would give one number to two functions. An independent reader, `linux-perf-data`, checks the dumps in
//! tests.

mod dump;

use crate::{CodeMemory, os};
use anyhow::{Context as _, Result};
use dump::Dump;
use gc_types::{FunctionId, FunctionInfo};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The kind of a [`PerfFile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerfFormat {
    /// `/tmp/perf-PID.map`.
    Map,
    /// `jit-PID.dump` in the current directory.
    JitDump,
}

/// Source lines of an image, for debug information in a dump.
pub struct SourceLines<'a> {
    /// The file that has the lines.
    pub file: &'a str,
    /// The line of a source location, counted from 1, if it has one.
    pub line: &'a dyn Fn(u32) -> Option<u32>,
}

/// A file by which `perf` knows the functions of this process.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// # use cranelift_codegen::ir::InstBuilder;
/// # use gc_types::CallSignature;
/// use gc_jit::CodeMemory;
/// use gc_jit::perf::{PerfFile, PerfFormat};
///
/// # fn main() -> anyhow::Result<()> {
/// # let abi = abi();
/// # let image = compile(&abi, &CallSignature::new([], []), |b, _| {
/// #     b.ins().return_(&[]);
/// # })?;
/// // The image has one function, `f`.
/// let code = CodeMemory::publish(image, &abi, &[])?;
/// let perf = PerfFile::open(PerfFormat::Map)?;
/// perf.add(&code, None)?;
///
/// let map = std::fs::read_to_string(perf.path())?;
/// let address = format!("{:x} ", code.function_address(0).unwrap().addr());
/// let line = map.lines().find(|line| line.starts_with(&address)).unwrap();
/// assert!(line.ends_with(" f"));
/// # std::fs::remove_file(perf.path())?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PerfFile {
    path: PathBuf,
    file: Mutex<File>,
    dump: Option<Dump>,
}

impl PerfFile {
    /// Opens the file of this process, and makes it if it does not exist. What another process with the
    /// same number has left there is removed.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(format: PerfFormat) -> Result<PerfFile> {
        let id = std::process::id();
        let path = match format {
            PerfFormat::Map => PathBuf::from(format!("/tmp/perf-{id}.map")),
            PerfFormat::JitDump => {
                let folder = std::env::current_dir().context("finding the current directory")?;
                folder.join(format!("jit-{id}.dump"))
            }
        };
        PerfFile::open_at(path.clone(), format)
            .with_context(|| format!("opening {} for `perf`", path.display()))
    }

    fn open_at(path: PathBuf, format: PerfFormat) -> Result<PerfFile> {
        // Others may make links in the folder for temporary files.
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        file.lock()?;
        if file.metadata()?.modified()? < os::process_start()? {
            file.set_len(0)?;
        }
        let dump = match format {
            PerfFormat::Map => None,
            PerfFormat::JitDump => Some(Dump::begin(&file)?),
        };
        file.unlock()?;
        Ok(PerfFile { path, file: Mutex::new(file), dump })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds all functions of `code`, with the trampolines. Only a dump has source lines. What is added
    /// stays in the file when the code is dropped.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn add(&self, code: &CodeMemory, lines: Option<&SourceLines<'_>>) -> Result<()> {
        self.write(code, lines).with_context(|| format!("writing {}", self.path.display()))
    }

    fn write(&self, code: &CodeMemory, lines: Option<&SourceLines<'_>>) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.lock()?;
        let written = self.append(&mut file, code, lines);
        file.unlock()?;
        written
    }

    /// Appends to the file, which is locked.
    fn append(
        &self,
        file: &mut File,
        code: &CodeMemory,
        lines: Option<&SourceLines<'_>>,
    ) -> Result<()> {
        let bytes = match &self.dump {
            None => map(code).into_bytes(),
            Some(dump) => dump.records(code, lines, file.seek(SeekFrom::End(0))?)?,
        };
        Ok(file.write_all(&bytes)?)
    }
}

/// The lines of a map for the functions of `code`.
fn map(code: &CodeMemory) -> String {
    let mut text = String::new();
    for function in code.image().functions() {
        let address = code.base().addr() + function.offset as usize;
        let _ = writeln!(text, "{address:x} {:x} {}", function.size, name(&function));
    }
    text
}

/// The name of a function in the file: one line. What the compiler added is in brackets, so that it is
/// not taken for a function of the program.
fn name<'a>(function: &FunctionInfo<'a>) -> Cow<'a, str> {
    let name = function.name;
    let name = match name.contains(char::is_control) {
        true => Cow::Owned(name.replace(char::is_control, "_")),
        false => Cow::Borrowed(name),
    };
    match function.id {
        FunctionId::Function(_) => name,
        FunctionId::HostCall(_) | FunctionId::Entry(_) | FunctionId::Exit(_) => {
            Cow::Owned(format!("[{name}]"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_another_process_left_is_removed() -> Result<()> {
        for (format, header) in [(PerfFormat::Map, 0), (PerfFormat::JitDump, 40)] {
            let name = format!("gc-jit-{}-{format:?}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, "what another process wrote, which was longer than a header")?;
            let hour = Duration::from_secs(3600);
            let start = os::process_start()?;
            OpenOptions::new().append(true).open(&path)?.set_modified(start - hour)?;
            let own = PerfFile::open_at(path.clone(), format)?;
            assert_eq!(std::fs::metadata(&path)?.len(), header);
            // What this process wrote stays.
            own.file.lock().unwrap().write_all(b"own")?;
            let again = PerfFile::open_at(path.clone(), format)?;
            assert_eq!(std::fs::metadata(&path)?.len(), header + 3);
            drop((own, again));
            std::fs::remove_file(&path)?;
        }
        Ok(())
    }

    #[test]
    fn a_link_is_not_followed() -> Result<()> {
        let path = std::env::temp_dir().join(format!("gc-jit-{}-link", std::process::id()));
        std::os::unix::fs::symlink("/nowhere", &path)?;
        let error = PerfFile::open_at(path.clone(), PerfFormat::Map);
        std::fs::remove_file(&path)?;
        assert!(error.is_err());
        Ok(())
    }
}
