//! [`MoonBitCtx`]: arguments, environment, streams and directories of a program.

use super::files::Files;
use crate::stdio::{InputStream, OutputStream, Stdio};
use crate::wait::failed;
use anyhow::{Result, ensure};
use gc_wasm::InterruptHandle;
use std::fmt;
use std::path::Path;

/// What a function does that reads.
pub(super) const READING: &str = "reading standard input";

/// Bytes of the largest environment that a program can make for itself. It is not in its heap.
const LARGEST_ENVIRONMENT: usize = 1 << 20;

/// What MoonBit's host knows about a program.
pub struct MoonBitCtx {
    args: Vec<String>,
    env: Vec<(String, String)>,
    stdio: Stdio,
    stdout: Printer,
    stderr: Printer,
    files: Files,
}

impl MoonBitCtx {
    /// A context with these arguments, of which the first one is the program's name, environment,
    /// and streams.
    pub fn new(args: &[String], env: &[(String, String)], stdio: Stdio) -> MoonBitCtx {
        MoonBitCtx {
            args: args.to_vec(),
            env: env.to_vec(),
            stdout: Printer::new(stdio.stdout.clone()),
            stderr: Printer::new(stdio.stderr.clone()),
            stdio,
            files: Files::default(),
        }
    }

    /// Gives the program the directory `host_path`, under the name `guest_path`. Relative paths are
    /// those of a directory with the name `.`.
    ///
    /// # Errors
    /// If it cannot be opened, or is not a directory.
    pub fn preopened_dir(
        &mut self,
        host_path: impl AsRef<Path>,
        guest_path: impl AsRef<str>,
    ) -> Result<()> {
        self.files.preopen(host_path.as_ref(), guest_path.as_ref())
    }

    /// Lets an interrupt of the program end reads and writes that wait for the process's streams,
    /// and those of large files.
    pub fn set_interrupt(&mut self, handle: &InterruptHandle) {
        self.stdio.set_interrupt(handle);
        self.files.set_interrupt(handle);
    }

    /// Writes what was printed and is not written yet, because its line has not ended.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.stdout.flush()?;
        self.stderr.flush()
    }

    /// The arguments.
    pub(super) fn args(&self) -> &[String] {
        &self.args
    }

    /// The environment: names and values.
    pub(super) fn variables(&self) -> &[(String, String)] {
        &self.env
    }

    /// The value of a variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Gives a variable of the environment a value, also one that is not there yet.
    pub(super) fn set_variable(&mut self, name: &str, value: &str) -> Result<()> {
        self.unset_variable(name);
        let size: usize = self.env.iter().map(|(name, value)| name.len() + value.len()).sum();
        ensure!(
            size + name.len() + value.len() <= LARGEST_ENVIRONMENT,
            "the program's environment would have more than {LARGEST_ENVIRONMENT} bytes"
        );
        self.env.push((name.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Takes a variable out of the environment.
    pub(super) fn unset_variable(&mut self, name: &str) {
        self.env.retain(|(other, _)| other != name);
    }

    /// The files.
    pub(super) fn files(&mut self) -> &mut Files {
        &mut self.files
    }

    /// Standard input.
    pub(super) fn stdin(&self) -> &InputStream {
        &self.stdio.stdin
    }

    /// Standard output.
    pub(super) fn stdout(&mut self) -> &mut Printer {
        &mut self.stdout
    }

    /// The stream with this number, if it can be written.
    pub(super) fn printer(&mut self, fd: i32) -> Option<&mut Printer> {
        match fd {
            1 => Some(&mut self.stdout),
            2 => Some(&mut self.stderr),
            _ => None,
        }
    }

    /// Reads a character of UTF-8 from standard input. `-1` means the end, or what is no UTF-8.
    pub(super) fn read_char(&mut self) -> Result<i32> {
        // Somebody may wait for a question.
        self.stdout.flush()?;
        let mut bytes = [0; 4];
        for end in 1..=bytes.len() {
            if self.stdio.stdin.read(&mut bytes[end - 1..end]).map_err(failed(READING))? == 0 {
                break;
            }
            if let Ok(text) = std::str::from_utf8(&bytes[..end]) {
                return Ok(text.chars().next().map_or(-1, |c| c as i32));
            }
        }
        Ok(-1)
    }
}

impl fmt::Debug for MoonBitCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MoonBitCtx").field("args", &self.args.len()).finish_non_exhaustive()
    }
}

/// Prints characters one by one. They are written at the end of a line, and at the end.
pub(super) struct Printer {
    stream: OutputStream,
    bytes: Vec<u8>,
    /// The first half of a character of two code units.
    high: Option<u16>,
}

impl Printer {
    fn new(stream: OutputStream) -> Printer {
        Printer { stream, bytes: Vec::new(), high: None }
    }

    fn push(&mut self, c: char) {
        self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }

    /// Prints a code unit of UTF-16, or a whole character.
    pub(super) fn print(&mut self, unit: u32) -> Result<()> {
        if let Some(high) = self.high.take() {
            let low = u16::try_from(unit).unwrap_or(0);
            let c = char::decode_utf16([high, low]).next().and_then(Result::ok);
            match c {
                Some(c) if (0xdc00..0xe000).contains(&unit) => return self.end(c),
                _ => self.push(char::REPLACEMENT_CHARACTER),
            }
        }
        if (0xd800..0xdc00).contains(&unit) {
            self.high = Some(unit as u16);
            return Ok(());
        }
        self.end(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn end(&mut self, c: char) -> Result<()> {
        self.push(c);
        if c == '\n' || self.bytes.len() >= 1 << 13 { self.flush() } else { Ok(()) }
    }

    /// Writes what was printed.
    pub(super) fn flush(&mut self) -> Result<()> {
        let written = self.stream.write_all(&self.bytes).map_err(failed("printing"));
        // What cannot be written is not written twice.
        self.bytes.clear();
        written
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        if self.high.take().is_some() {
            self.push(char::REPLACEMENT_CHARACTER);
        }
        // There is nobody left to tell.
        let _ = self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stdio::MemoryOutputPipe;

    fn printed(units: &[u32]) -> String {
        let pipe = MemoryOutputPipe::new();
        let mut printer = Printer::new(OutputStream::new(pipe.clone()));
        units.iter().for_each(|unit| printer.print(*unit).unwrap());
        drop(printer);
        String::from_utf8(pipe.contents()).unwrap()
    }

    #[test]
    fn characters_of_two_units_are_one() {
        assert_eq!(printed(&[0x61, 0xd83d, 0xde00, 0x0a]), "a😀\n");
        assert_eq!(printed(&[0x1f600]), "😀");
        assert_eq!(printed(&[0xd83d, 0x61]), "\u{fffd}a");
        assert_eq!(printed(&[0xd83d, 0xd83d, 0xde00]), "\u{fffd}😀");
        assert_eq!(printed(&[0xde00, 0xd83d]), "\u{fffd}\u{fffd}");
        assert_eq!(printed(&[0x110000]), "\u{fffd}");
    }
}
