//! Makes the code of modules known to `perf`, if [`Config::profiler`](crate::Config::profiler) says so.

use crate::config::ProfilingStrategy;
use anyhow::Result;
use gc_jit::CodeMemory;
use gc_jit::perf::{PerfFile, PerfFormat};

/// Where the modules of an engine are made known.
pub(crate) struct Profiler {
    file: PerfFile,
    /// Whether the file has source lines.
    #[cfg_attr(not(feature = "profiling"), expect(dead_code))]
    has_lines: bool,
}

impl Profiler {
    /// The profiler of a strategy, if it has one.
    ///
    /// # Errors
    /// If its file cannot be opened.
    pub(crate) fn new(strategy: ProfilingStrategy) -> Result<Option<Profiler>> {
        let format = match strategy {
            ProfilingStrategy::PerfMap => PerfFormat::Map,
            ProfilingStrategy::JitDump => PerfFormat::JitDump,
            // VTune was refused.
            ProfilingStrategy::None | ProfilingStrategy::VTune => return Ok(None),
        };
        let has_lines = format == PerfFormat::JitDump;
        Ok(Some(Profiler { file: PerfFile::open(format)?, has_lines }))
    }

    /// Adds the code of a module, in the binary format `binary` if it is known.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn add(&self, code: &CodeMemory, binary: Option<&[u8]>) -> Result<()> {
        #[cfg(feature = "profiling")]
        if let Some(binary) = binary.filter(|_| self.has_lines) {
            let text = lines::Text::print(binary)?;
            let path = text.write(self.file.path())?;
            let line = |offset| text.line(offset);
            let lines = gc_jit::perf::SourceLines { file: &path, line: &line };
            return self.file.add(code, Some(&lines));
        }
        #[cfg(not(feature = "profiling"))]
        let _ = binary;
        self.file.add(code, None)
    }
}

#[cfg(feature = "profiling")]
mod lines {
    //! The text of a module as a source file of its machine code.

    use anyhow::{Context as _, Result};
    use std::fs::File;
    use std::io::{ErrorKind, Write as _};
    use std::path::Path;

    /// A module as text.
    pub(super) struct Text {
        text: String,
        /// The offset in the module of what begins each line, ascending, and the line's number.
        lines: Vec<(u32, u32)>,
    }

    impl Text {
        /// The text of a module.
        pub(super) fn print(binary: &[u8]) -> Result<Text> {
            let mut storage = String::new();
            let printer = wasmprinter::Config::new();
            let printed = printer.offsets_and_lines(binary, &mut storage);
            let printed = printed.context("printing the module for a profiler")?;
            let mut text = String::new();
            let mut lines = Vec::new();
            for (number, (offset, line)) in (1..).zip(printed) {
                text.push_str(line.trim_end_matches('\n'));
                text.push('\n');
                lines.extend(offset.and_then(|at| u32::try_from(at).ok()).map(|at| (at, number)));
            }
            lines.sort_unstable();
            Ok(Text { text, lines })
        }

        /// The line of the operator at an offset in the module.
        pub(super) fn line(&self, offset: u32) -> Option<u32> {
            let at = self.lines.partition_point(|(first, _)| *first <= offset).checked_sub(1)?;
            Some(self.lines[at].1)
        }

        /// Writes it to a new file beside the dump, and returns the path.
        pub(super) fn write(&self, dump: &Path) -> Result<String> {
            let dump = dump.with_extension("");
            let mut number = 1;
            loop {
                let path = format!("{}-{number}.wat", dump.display());
                match File::create_new(&path) {
                    Ok(mut file) => {
                        let written = file.write_all(self.text.as_bytes());
                        written.with_context(|| format!("writing {path}"))?;
                        return Ok(path);
                    }
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                    Err(error) => return Err(error).with_context(|| format!("making {path}")),
                }
            }
        }
    }
}
