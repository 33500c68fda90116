//! The context of a program: its arguments, its environment and its descriptors.

use super::descriptor::{Descriptor, DescriptorKind, Directory};
use super::errno::Errno;
use crate::stdio::{InputStream, OutputStream, Stdio};
use crate::wait::Waiter;
use anyhow::{Context, Result};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use gc_wasm::InterruptHandle;
use std::fmt;
use std::path::Path;

/// Strings of a program, each with a zero after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Strings(Vec<Vec<u8>>);

impl Strings {
    fn push(&mut self, text: &str) {
        self.0.push([text.as_bytes(), &[0]].concat());
    }

    /// Number of strings.
    pub(super) fn len(&self) -> Result<u32, Errno> {
        u32::try_from(self.0.len()).map_err(|_| Errno::Overflow)
    }

    /// Number of bytes, with the zeros.
    pub(super) fn size(&self) -> Result<u32, Errno> {
        u32::try_from(self.0.iter().map(Vec::len).sum::<usize>()).map_err(|_| Errno::Overflow)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

/// What a program has of the world: arguments, environment, streams and directories. A store's data
/// contains one for each program; see [`add_to_linker`](super::add_to_linker).
pub struct WasiCtx {
    pub(super) args: Strings,
    pub(super) env: Strings,
    descriptors: Vec<Option<Descriptor>>,
    /// What ends waiting for files.
    pub(super) waiter: Waiter,
}

/// Makes a [`WasiCtx`]. A new builder gives nothing to a program: no arguments, an empty input, and
/// outputs that lose what is written.
#[derive(Debug)]
pub struct WasiCtxBuilder {
    args: Strings,
    env: Strings,
    stdio: Stdio,
    preopens: Vec<(Dir, String)>,
}

impl Default for WasiCtxBuilder {
    fn default() -> WasiCtxBuilder {
        WasiCtxBuilder::new()
    }
}

impl WasiCtxBuilder {
    /// A builder of a context without anything.
    pub fn new() -> WasiCtxBuilder {
        WasiCtxBuilder {
            args: Strings::default(),
            env: Strings::default(),
            stdio: Stdio::none(),
            preopens: Vec::new(),
        }
    }

    /// Adds an argument. The first one is the program's name.
    pub fn arg(&mut self, arg: impl AsRef<str>) -> &mut WasiCtxBuilder {
        self.args.push(arg.as_ref());
        self
    }

    /// Adds arguments.
    pub fn args(&mut self, args: &[impl AsRef<str>]) -> &mut WasiCtxBuilder {
        args.iter().for_each(|arg| self.args.push(arg.as_ref()));
        self
    }

    /// Adds a variable to the environment.
    pub fn env(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> &mut WasiCtxBuilder {
        self.env.push(&format!("{}={}", name.as_ref(), value.as_ref()));
        self
    }

    /// Uses the standard streams of the process.
    pub fn inherit_stdio(&mut self) -> &mut WasiCtxBuilder {
        self.stdio(Stdio::inherit())
    }

    /// Uses these streams.
    pub fn stdio(&mut self, stdio: Stdio) -> &mut WasiCtxBuilder {
        self.stdio = stdio;
        self
    }

    /// Sets the standard input.
    pub fn stdin(&mut self, stream: InputStream) -> &mut WasiCtxBuilder {
        self.stdio.stdin = stream;
        self
    }

    /// Sets the standard output.
    pub fn stdout(&mut self, stream: OutputStream) -> &mut WasiCtxBuilder {
        self.stdio.stdout = stream;
        self
    }

    /// Sets the standard error output.
    pub fn stderr(&mut self, stream: OutputStream) -> &mut WasiCtxBuilder {
        self.stdio.stderr = stream;
        self
    }

    /// Gives the program the directory `host_path`, under the name `guest_path`.
    ///
    /// # Errors
    /// If it cannot be opened, or is not a directory.
    pub fn preopened_dir(
        &mut self,
        host_path: impl AsRef<Path>,
        guest_path: impl AsRef<str>,
    ) -> Result<&mut WasiCtxBuilder> {
        let host_path = host_path.as_ref();
        let dir = Dir::open_ambient_dir(host_path, ambient_authority())
            .with_context(|| format!("opening the directory {}", host_path.display()))?;
        self.preopens.push((dir, guest_path.as_ref().to_owned()));
        Ok(self)
    }

    /// Makes the context. The builder is empty afterwards.
    pub fn build(&mut self) -> WasiCtx {
        let WasiCtxBuilder { args, env, stdio, preopens } = std::mem::take(self);
        let streams = [
            DescriptorKind::Input(stdio.stdin),
            DescriptorKind::Output(stdio.stdout),
            DescriptorKind::Output(stdio.stderr),
        ];
        let streams = streams.into_iter().map(Descriptor::stream);
        let dirs = preopens
            .into_iter()
            .map(|(dir, name)| Descriptor::directory(Directory::preopened(dir, name.into_bytes())));
        WasiCtx {
            args,
            env,
            descriptors: streams.chain(dirs).map(Some).collect(),
            waiter: Waiter::default(),
        }
    }
}

impl WasiCtx {
    /// Lets an interrupt of the program end functions that wait: reads and writes of the process's
    /// streams and of files that are no regular files, and `poll_oneoff`. They fail with `canceled`.
    /// The program ends when the function has returned.
    pub fn set_interrupt(&mut self, handle: &InterruptHandle) {
        self.waiter.set_interrupt(handle);
        for descriptor in self.descriptors.iter().flatten() {
            match &descriptor.kind {
                DescriptorKind::Input(stream) => stream.set_interrupt(handle),
                DescriptorKind::Output(stream) => stream.set_interrupt(handle),
                DescriptorKind::File(_) | DescriptorKind::Directory(_) => {}
            }
        }
    }

    /// The descriptor with this number.
    pub(super) fn descriptor(&self, fd: u32) -> Result<&Descriptor, Errno> {
        self.descriptors.get(fd as usize).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    /// The descriptor with this number, mutable.
    pub(super) fn descriptor_mut(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        self.descriptors.get_mut(fd as usize).and_then(Option::as_mut).ok_or(Errno::Badf)
    }

    /// Gives a descriptor the lowest free number.
    pub(super) fn insert(&mut self, descriptor: Descriptor) -> Result<u32, Errno> {
        let free = self.descriptors.iter().position(Option::is_none);
        let fd = free.unwrap_or(self.descriptors.len());
        let number = i32::try_from(fd).map_err(|_| Errno::Mfile)?;
        match free {
            Some(fd) => self.descriptors[fd] = Some(descriptor),
            None => self.descriptors.push(Some(descriptor)),
        }
        Ok(number as u32)
    }

    /// Takes a descriptor away.
    pub(super) fn remove(&mut self, fd: u32) -> Result<Descriptor, Errno> {
        self.descriptors.get_mut(fd as usize).and_then(Option::take).ok_or(Errno::Badf)
    }

    /// Moves a descriptor to the number `to`, which is in use, and closes what was there.
    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        self.descriptor(from)?;
        self.descriptor(to)?;
        if from != to {
            let moved = self.remove(from)?;
            *self.descriptor_mut(to)? = moved;
        }
        Ok(())
    }
}

impl fmt::Debug for WasiCtx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasiCtx")
            .field("args", &self.args)
            .field("descriptors", &self.descriptors.iter().flatten().count())
            .finish_non_exhaustive()
    }
}
