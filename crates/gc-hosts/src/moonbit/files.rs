//! Files: functions of `__moonbit_fs_unstable`. [`Files`] is what the context knows about them.
//!
//! A path is one of a directory that the program was given: the one with the longest name with which
//! the path begins. `cap-std` keeps paths inside. Only regular files are read and written, so nothing
//! waits for somebody else.
//!
//! Functions whose names end with `_new` return `-1` if they fail, and keep the message for
//! `get_error_message`. What they read is taken with `get_file_content` and `get_dir_files`. The
//! older functions return what they read, and end the program if they fail.

use super::FS;
use super::context::MoonBitCtx;
use super::remove_tree::remove_tree;
use super::values::{HostRef, Values};
use crate::wait::Waiter;
use anyhow::{Context, Result, bail};
use cap_fs_ext::OpenOptionsSyncExt;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};
use gc_wasm::{Caller, InterruptHandle, Linker, Trap};
use rustix::io::Errno;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Bytes that are read or written between two looks at whether the program was interrupted.
const PART: usize = 1 << 16;

/// The directories of a program, and what it read last.
#[derive(Default)]
pub(super) struct Files {
    /// Directories, and the names that they have for the program.
    dirs: Vec<(PathBuf, Dir)>,
    waiter: Waiter,
    content: Vec<u8>,
    names: Vec<String>,
    error: String,
}

/// Something that is done with a path. What it reads has at most this number of bytes.
type Operation = fn(&mut Files, &str, u64) -> io::Result<i32>;

/// The path without the parts that say nothing.
fn plain(path: &str) -> PathBuf {
    Path::new(path).components().filter(|part| *part != Component::CurDir).collect()
}

/// Fails if so much does not fit in the program's heap.
fn fits(count: usize, most: u64) -> io::Result<()> {
    if count as u64 > most { Err(ErrorKind::OutOfMemory.into()) } else { Ok(()) }
}

impl Files {
    pub(super) fn set_interrupt(&mut self, handle: &InterruptHandle) {
        self.waiter.set_interrupt(handle);
    }

    pub(super) fn preopen(&mut self, host_path: &Path, guest_path: &str) -> Result<()> {
        let dir = Dir::open_ambient_dir(host_path, ambient_authority())
            .with_context(|| format!("opening the directory {}", host_path.display()))?;
        self.dirs.push((plain(guest_path), dir));
        Ok(())
    }

    /// The directory of a path, and the path in it.
    fn find(&self, path: &str) -> io::Result<(&Dir, PathBuf)> {
        let path = plain(path);
        let inside = self.dirs.iter().filter_map(|(name, dir)| {
            let rest = path.strip_prefix(name).ok()?;
            Some((name.components().count(), dir, rest))
        });
        match inside.max_by_key(|(length, ..)| *length) {
            Some((_, dir, rest)) if rest.as_os_str().is_empty() => Ok((dir, PathBuf::from("."))),
            Some((_, dir, rest)) => Ok((dir, rest.to_owned())),
            None => Err(io::Error::new(
                ErrorKind::PermissionDenied,
                "outside of the directories that the program was given",
            )),
        }
    }

    fn open(&self, path: &str, options: &mut OpenOptions) -> io::Result<File> {
        let (dir, path) = self.find(path)?;
        // To open a pipe without the flag would wait for its other end.
        let file = dir.open_with(path, options.nonblock(true))?;
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("no regular file")) }
    }

    fn read(&mut self, path: &str, most: u64) -> io::Result<i32> {
        let mut file = self.open(path, OpenOptions::new().read(true))?;
        let (mut content, mut buffer) = (Vec::new(), vec![0; PART]);
        loop {
            self.waiter.check()?;
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => content.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            fits(content.len(), most)?;
        }
        self.content = content;
        Ok(0)
    }

    fn write(&self, path: &str, content: &[u8]) -> io::Result<i32> {
        let mut file = self.open(path, OpenOptions::new().write(true).create(true))?;
        file.set_len(0)?;
        for part in content.chunks(PART) {
            self.waiter.check()?;
            file.write_all(part)?;
        }
        Ok(0)
    }

    fn list(&mut self, path: &str, most: u64) -> io::Result<i32> {
        let (dir, path) = self.find(path)?;
        let (mut names, mut size) = (Vec::new(), 0);
        for entry in dir.read_dir(path)? {
            self.waiter.check()?;
            // Programs cannot name other entries.
            if let Ok(name) = entry?.file_name().into_string() {
                size += name.len();
                fits(size, most)?;
                names.push(name);
            }
        }
        names.sort_unstable();
        self.names = names;
        Ok(0)
    }

    fn exists(&mut self, path: &str, _most: u64) -> io::Result<i32> {
        let (dir, path) = self.find(path)?;
        dir.try_exists(path).map(i32::from)
    }

    fn is_file(&mut self, path: &str, _most: u64) -> io::Result<i32> {
        let (dir, path) = self.find(path)?;
        Ok(dir.metadata(path)?.is_file().into())
    }

    fn is_dir(&mut self, path: &str, _most: u64) -> io::Result<i32> {
        let (dir, path) = self.find(path)?;
        Ok(dir.metadata(path)?.is_dir().into())
    }

    /// Makes a directory, and those above it.
    fn create_dir(&mut self, path: &str, _most: u64) -> io::Result<i32> {
        let (dir, path) = self.find(path)?;
        dir.create_dir_all(path).map(|()| 0)
    }

    fn remove_file(&mut self, path: &str, _most: u64) -> io::Result<i32> {
        let (dir, path) = self.find(path)?;
        dir.remove_file(path).map(|()| 0)
    }

    /// Removes a directory, and everything in it.
    fn remove_dir(&mut self, path: &str, _most: u64) -> io::Result<i32> {
        let (dir, path) = self.find(path)?;
        remove_tree(dir, &path, &self.waiter).map(|()| 0)
    }

    /// What an older function returns.
    fn result(&self, path: &str, result: io::Result<i32>) -> Result<i32> {
        result.or_else(|error| Err(fatal(error)?).with_context(|| path.to_owned()))
    }

    /// What a function returns whose name ends with `_new`.
    fn status(&mut self, path: &str, result: io::Result<i32>) -> Result<i32> {
        result.or_else(|error| {
            self.error = format!("{path}: {}", fatal(error)?);
            Ok(-1)
        })
    }
}

/// The error, unless it ends the program in any case.
fn fatal(error: io::Error) -> Result<io::Error> {
    if Errno::from_io_error(&error) == Some(Errno::CANCELED) {
        bail!(Trap::Interrupt);
    }
    if error.kind() == ErrorKind::OutOfMemory {
        bail!(Trap::OutOfMemory);
    }
    Ok(error)
}

/// Functions of a path, which return a status, or a number that is not negative.
const STATUS: [(&str, Operation); 7] = [
    ("read_file_to_bytes_new", Files::read),
    ("read_dir_new", Files::list),
    ("is_file_new", Files::is_file),
    ("is_dir_new", Files::is_dir),
    ("create_dir_new", Files::create_dir),
    ("remove_file_new", Files::remove_file),
    ("remove_dir_new", Files::remove_dir),
];

/// Functions of a path, which say whether something is so. If that is not known, it is not.
const QUESTIONS: [(&str, Operation); 3] =
    [("path_exists", Files::exists), ("is_file", Files::is_file), ("is_dir", Files::is_dir)];

/// Functions of a path, which return nothing.
const ACTIONS: [(&str, Operation); 3] = [
    ("create_dir", Files::create_dir),
    ("remove_file", Files::remove_file),
    ("remove_dir", Files::remove_dir),
];

/// Defines the functions.
pub(super) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut MoonBitCtx + Copy + Send + Sync + 'static,
    values: &Arc<Values>,
) -> Result<()> {
    for (name, operation) in STATUS {
        let with = values.clone();
        linker.func_wrap(
            FS,
            name,
            move |mut caller: Caller<'_, T>, path: HostRef| -> Result<i32> {
                let path = with.types(caller.engine())?.text(&caller, path)?;
                let most = caller.engine().gc_heap_maximum();
                let files = get(caller.data_mut()).files();
                let result = operation(files, &path, most);
                files.status(&path, result)
            },
        )?;
    }
    for (name, operation) in QUESTIONS {
        let with = values.clone();
        linker.func_wrap(
            FS,
            name,
            move |mut caller: Caller<'_, T>, path: HostRef| -> Result<i32> {
                let path = with.types(caller.engine())?.text(&caller, path)?;
                Ok(operation(get(caller.data_mut()).files(), &path, 0).unwrap_or(0))
            },
        )?;
    }
    for (name, operation) in ACTIONS {
        let with = values.clone();
        linker.func_wrap(
            FS,
            name,
            move |mut caller: Caller<'_, T>, path: HostRef| -> Result<()> {
                let path = with.types(caller.engine())?.text(&caller, path)?;
                let files = get(caller.data_mut()).files();
                let result = operation(files, &path, 0);
                files.result(&path, result).map(drop)
            },
        )?;
    }
    results(linker, get, values)?;
    reading(linker, get, values)?;
    writing(linker, get, values)
}

/// Functions that return what was read, and why something failed.
fn results<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut MoonBitCtx + Copy + Send + Sync + 'static,
    values: &Arc<Values>,
) -> Result<()> {
    let with = values.clone();
    linker.func_wrap(
        FS,
        "get_file_content",
        move |mut caller: Caller<'_, T>| -> Result<HostRef> {
            let types = with.types(caller.engine())?;
            let content = std::mem::take(&mut get(caller.data_mut()).files().content);
            types.new_bytes(&mut caller, &content)
        },
    )?;
    let with = values.clone();
    linker.func_wrap(FS, "get_dir_files", move |mut caller: Caller<'_, T>| -> Result<HostRef> {
        let types = with.types(caller.engine())?;
        let names = std::mem::take(&mut get(caller.data_mut()).files().names);
        types.new_strings(&mut caller, &names)
    })?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "get_error_message",
        move |mut caller: Caller<'_, T>| -> Result<HostRef> {
            let types = with.types(caller.engine())?;
            let error = get(caller.data_mut()).files().error.clone();
            types.new_string(&mut caller, &error)
        },
    )?;
    Ok(())
}

/// Older functions that read.
fn reading<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut MoonBitCtx + Copy + Send + Sync + 'static,
    values: &Arc<Values>,
) -> Result<()> {
    let with = values.clone();
    linker.func_wrap(
        FS,
        "read_file_to_string",
        move |mut caller: Caller<'_, T>, path: HostRef| -> Result<HostRef> {
            let types = with.types(caller.engine())?;
            let path = types.text(&caller, path)?;
            let most = caller.engine().gc_heap_maximum();
            let files = get(caller.data_mut()).files();
            let result = files.read(&path, most);
            files.result(&path, result)?;
            let text = String::from_utf8(std::mem::take(&mut files.content)).context(path)?;
            types.new_string(&mut caller, &text)
        },
    )?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "read_dir",
        move |mut caller: Caller<'_, T>, path: HostRef| -> Result<HostRef> {
            let types = with.types(caller.engine())?;
            let path = types.text(&caller, path)?;
            let most = caller.engine().gc_heap_maximum();
            let files = get(caller.data_mut()).files();
            let result = files.list(&path, most);
            files.result(&path, result)?;
            let names = std::mem::take(&mut files.names);
            types.new_strings(&mut caller, &names)
        },
    )?;
    Ok(())
}

/// Functions that write.
fn writing<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut MoonBitCtx + Copy + Send + Sync + 'static,
    values: &Arc<Values>,
) -> Result<()> {
    let with = values.clone();
    linker.func_wrap(
        FS,
        "write_bytes_to_file_new",
        move |mut caller: Caller<'_, T>, path: HostRef, bytes: HostRef| -> Result<i32> {
            let types = with.types(caller.engine())?;
            let (path, bytes) = (types.text(&caller, path)?, types.bytes(&caller, bytes)?);
            let files = get(caller.data_mut()).files();
            let result = files.write(&path, &bytes);
            files.status(&path, result)
        },
    )?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "write_bytes_to_file",
        move |mut caller: Caller<'_, T>, path: HostRef, bytes: HostRef| -> Result<()> {
            let types = with.types(caller.engine())?;
            let (path, bytes) = (types.text(&caller, path)?, types.bytes(&caller, bytes)?);
            let files = get(caller.data_mut()).files();
            files.result(&path, files.write(&path, &bytes)).map(drop)
        },
    )?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "write_string_to_file",
        move |mut caller: Caller<'_, T>, path: HostRef, text: HostRef| -> Result<()> {
            let types = with.types(caller.engine())?;
            let (path, text) = (types.text(&caller, path)?, types.text(&caller, text)?);
            let files = get(caller.data_mut()).files();
            files.result(&path, files.write(&path, text.as_bytes())).map(drop)
        },
    )?;
    Ok(())
}
