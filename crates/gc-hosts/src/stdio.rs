//! Standard input and output of programs: those of the process, or any reader and writer.
//!
//! All hosts of a store share one [`Stdio`], so what a program prints through two of them appears
//! in the order in which it was printed.

use crate::wait::Waiter;
use gc_wasm::InterruptHandle;
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place from which programs read. Clones are the same place.
#[derive(Clone)]
pub struct InputStream(Input);

#[derive(Clone)]
enum Input {
    /// The standard input of the process. It is not buffered, so that waiting for it with `poll`
    /// finds all that was not read.
    Process(Waiter),
    Reader(Arc<Mutex<dyn Read + Send>>),
}

/// A place to which programs write. Clones are the same place.
#[derive(Clone)]
pub struct OutputStream(Output);

#[derive(Clone)]
enum Output {
    Stdout(Waiter),
    Stderr(Waiter),
    Writer(Arc<Mutex<dyn Write + Send>>),
}

/// Another thread's panic leaves the stream as it was.
fn lock<T: ?Sized>(stream: &Mutex<T>) -> MutexGuard<'_, T> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}

impl InputStream {
    /// The standard input of the process.
    pub fn inherit() -> InputStream {
        InputStream(Input::Process(Waiter::default()))
    }

    /// An input that is at its end.
    pub fn empty() -> InputStream {
        InputStream::new(io::empty())
    }

    /// What `reader` reads.
    pub fn new(reader: impl Read + Send + 'static) -> InputStream {
        InputStream(Input::Reader(Arc::new(Mutex::new(reader))))
    }

    /// Reads bytes into `buffer` and returns their number. Zero means the end.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Input::Process(waiter) => {
                waiter.readable(rustix::stdio::stdin())?;
                Ok(rustix::io::read(io::stdin(), buffer)?)
            }
            Input::Reader(reader) => lock(reader).read(buffer),
        }
    }

    /// Lets an interrupt of the program end a read that waits. Readers of the host are not ended.
    pub(crate) fn set_interrupt(&self, handle: &InterruptHandle) {
        match &self.0 {
            Input::Process(waiter) => waiter.set_interrupt(handle),
            Input::Reader(_) => {}
        }
    }

    /// The file of the process, if it is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'static>> {
        match &self.0 {
            Input::Process(_) => Some(rustix::stdio::stdin()),
            Input::Reader(_) => None,
        }
    }
}

impl OutputStream {
    /// The standard output of the process.
    pub fn stdout() -> OutputStream {
        OutputStream(Output::Stdout(Waiter::default()))
    }

    /// The standard error output of the process.
    pub fn stderr() -> OutputStream {
        OutputStream(Output::Stderr(Waiter::default()))
    }

    /// An output that loses what is written.
    pub fn sink() -> OutputStream {
        OutputStream::new(io::sink())
    }

    /// An output to `writer`.
    pub fn new(writer: impl Write + Send + 'static) -> OutputStream {
        OutputStream(Output::Writer(Arc::new(Mutex::new(writer))))
    }

    /// Writes from these slices and returns the number of bytes that were written. They are not
    /// buffered.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &self.0 {
            Output::Stdout(waiter) => {
                let mut stdout = io::stdout().lock();
                // What the process itself printed before comes first.
                stdout.flush()?;
                write_file(waiter, stdout.as_fd(), slices)
            }
            Output::Stderr(waiter) => write_file(waiter, io::stderr().lock().as_fd(), slices),
            Output::Writer(writer) => {
                let mut writer = lock(writer);
                let count = writer.write_vectored(slices)?;
                writer.flush()?;
                Ok(count)
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_vectored(&[IoSlice::new(bytes)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Lets an interrupt of the program end a write that waits. Writers of the host are not ended.
    pub(crate) fn set_interrupt(&self, handle: &InterruptHandle) {
        match &self.0 {
            Output::Stdout(waiter) | Output::Stderr(waiter) => waiter.set_interrupt(handle),
            Output::Writer(_) => {}
        }
    }

    /// The file of the process, if it is one.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'static>> {
        match &self.0 {
            Output::Stdout(_) => Some(rustix::stdio::stdout()),
            Output::Stderr(_) => Some(rustix::stdio::stderr()),
            Output::Writer(_) => None,
        }
    }
}

/// Writes as much as the file takes without waiting, after a wait that an interrupt can end.
pub(crate) fn write_file(
    waiter: &Waiter,
    file: BorrowedFd<'_>,
    slices: &[IoSlice<'_>],
) -> io::Result<usize> {
    let all = slices.iter().map(|slice| slice.len()).sum();
    let count = waiter.writable(file, all)?;
    if count == all {
        return Ok(rustix::io::writev(file, slices)?);
    }
    let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
    Ok(rustix::io::write(file, &first[..first.len().min(count)])?)
}

impl fmt::Debug for InputStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputStream").field("process", &self.fd().is_some()).finish()
    }
}

impl fmt::Debug for OutputStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputStream").field("process", &self.fd().is_some()).finish()
    }
}

/// The three standard streams.
#[derive(Clone, Debug)]
pub struct Stdio {
    /// Standard input.
    pub stdin: InputStream,
    /// Standard output.
    pub stdout: OutputStream,
    /// Standard error output.
    pub stderr: OutputStream,
}

impl Stdio {
    /// The streams of the process.
    pub fn inherit() -> Stdio {
        Stdio {
            stdin: InputStream::inherit(),
            stdout: OutputStream::stdout(),
            stderr: OutputStream::stderr(),
        }
    }

    /// Lets an interrupt of the program end reads and writes that wait for the process's streams.
    /// They fail, and the program ends when the host function has returned.
    pub fn set_interrupt(&self, handle: &InterruptHandle) {
        self.stdin.set_interrupt(handle);
        self.stdout.set_interrupt(handle);
        self.stderr.set_interrupt(handle);
    }

    /// An empty input, and outputs that lose what is written.
    pub fn none() -> Stdio {
        Stdio {
            stdin: InputStream::empty(),
            stdout: OutputStream::sink(),
            stderr: OutputStream::sink(),
        }
    }
}

/// Bytes in memory to which programs write. Clones are the same bytes.
#[derive(Clone, Debug, Default)]
pub struct MemoryOutputPipe(Arc<Mutex<Vec<u8>>>);

impl MemoryOutputPipe {
    /// A pipe without bytes.
    pub fn new() -> MemoryOutputPipe {
        MemoryOutputPipe::default()
    }

    /// The bytes that were written.
    pub fn contents(&self) -> Vec<u8> {
        lock(&self.0).clone()
    }
}

impl Write for MemoryOutputPipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        lock(&self.0).write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
