//! MoonBit's host: the functions that its core library, and its packages for files, import to print,
//! to read standard input, arguments, environment and files, to ask for the time and for random
//! numbers, and to end the program.
//!
//! MoonBit passes text and lists as values of the host: it makes a reader or a writer and passes one
//! character at a time. Characters are UTF-16 code units.
//!
//! | functions | file |
//! |---|---|
//! | arguments and the environment | `environment.rs` |
//! | files and directories | `files.rs`, `remove_tree.rs` |
//! | random numbers | `random.rs` |
//! | everything else | this one |
//!
//! The strings and lists themselves are in `values.rs`.

pub(crate) mod context;
mod environment;
mod files;
mod random;
mod remove_tree;
mod values;

pub use context::MoonBitCtx;

use crate::context::HostCtx;
use crate::host::Host;
use crate::wait::failed;
use crate::wasi::I32Exit;
use anyhow::{Result, bail, ensure};
use context::READING;
use gc_wasm::{
    AsContextMut, Caller, ExnRef, ExnRefPre, ExnType, ExternRef, ExternType, FuncType, ImportType,
    Linker, Module, Store, Tag, TagType, Trap,
};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use values::{HostRef, Items, Values};

/// The modules from which programs import.
const CONSOLE: &str = "spectest";
const SYS: &str = "__moonbit_sys_unstable";
const FS: &str = "__moonbit_fs_unstable";
const IO: &str = "__moonbit_io_unstable";
const TIME: &str = "__moonbit_time_unstable";
const EXCEPTION: &str = "exception";

/// The string that follows the last one of a list.
const END_OF_STRINGS: &str = "ffi_end_of_/string_array";

/// MoonBit's host.
pub(crate) const HOST: Host = Host {
    name: "moonbit",
    summary: "MoonBit's runtime: printing, standard input, arguments, files, time",
    claims: |import| match import.module() {
        CONSOLE => matches!(import.name(), "print_char" | "read_char"),
        EXCEPTION => matches!(import.name(), "throw" | "tag"),
        module => module.starts_with("__moonbit_"),
    },
    define: |linker, store, module| {
        add_to_linker(linker, |ctx: &mut HostCtx| &mut ctx.moonbit)?;
        add_exceptions_to_linker(linker, store, module)
    },
    reads_args: true,
};

/// Defines the functions. `get` returns the context from the data of the store.
///
/// # Errors
/// If a name is taken.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut MoonBitCtx + Copy + Send + Sync + 'static,
) -> Result<()> {
    let values = Arc::new(Values::default());
    console(linker, get, &values)?;
    lists(linker, &values)?;
    strings(linker, &values)?;
    environment::add_to_linker(linker, get, &values)?;
    files::add_to_linker(linker, get, &values)?;
    random::add_to_linker(linker)?;
    linker.func_wrap(SYS, "exit", |code: i32| -> Result<()> { Err(I32Exit(code).into()) })?;
    linker.func_wrap(SYS, "is_windows", || 0i32)?;
    linker.func_wrap(TIME, "now", || -> Result<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(now.map_or(0, |now| now.as_millis() as u64))
    })?;
    linker.func_wrap(TIME, "instant_now", |mut caller: Caller<'_, T>| -> Result<HostRef> {
        ExternRef::new(&mut caller, Instant::now()).map(Some)
    })?;
    linker.func_wrap(
        TIME,
        "instant_elapsed_as_secs_f64",
        |caller: Caller<'_, T>, begin: HostRef| -> Result<f64> {
            let begin = begin.map(|begin| begin.data(&caller)).transpose()?.flatten();
            match begin.and_then(|begin| begin.downcast_ref::<Instant>()) {
                Some(begin) => Ok(begin.elapsed().as_secs_f64()),
                None => bail!("MoonBit's host got a value that is no instant"),
            }
        },
    )?;
    Ok(())
}

/// Defines the tag of exceptions, if `module` imports it, for modules in `store`, and the function
/// that throws one.
///
/// # Errors
/// If a name is taken.
pub fn add_exceptions_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    store: &mut Store<T>,
    module: &Module,
) -> Result<()> {
    let is_tag = |import: ImportType<'_>| {
        (import.module(), import.name()) == (EXCEPTION, "tag")
            && matches!(import.ty(), ExternType::Tag(_))
    };
    if !module.imports().any(is_tag) {
        linker.func_wrap(EXCEPTION, "throw", || -> Result<()> {
            bail!("the MoonBit program threw an exception that ends it")
        })?;
        return Ok(());
    }
    let tag = Tag::new(&mut *store, &TagType::new(FuncType::new(linker.engine(), [], [])))?;
    linker.define(&*store, EXCEPTION, "tag", tag)?;
    let ty = ExnType::new(linker.engine(), [])?;
    linker.func_wrap(EXCEPTION, "throw", move |mut caller: Caller<'_, T>| -> Result<()> {
        let allocator = ExnRefPre::new(&mut caller, ty.clone());
        let exception = ExnRef::new(&mut caller, &allocator, &tag, &[])?;
        caller.as_context_mut().throw(exception)
    })?;
    Ok(())
}

/// Standard input and output.
fn console<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut MoonBitCtx + Copy + Send + Sync + 'static,
    values: &Arc<Values>,
) -> Result<()> {
    linker.func_wrap(
        CONSOLE,
        "print_char",
        move |mut caller: Caller<'_, T>, unit: u32| -> Result<()> {
            get(caller.data_mut()).stdout().print(unit)
        },
    )?;
    for module in [CONSOLE, IO] {
        linker.func_wrap(module, "read_char", move |mut caller: Caller<'_, T>| -> Result<i32> {
            get(caller.data_mut()).read_char()
        })?;
    }
    linker.func_wrap(
        IO,
        "write_char",
        move |mut caller: Caller<'_, T>, fd: i32, c: u32| -> Result<()> {
            match get(caller.data_mut()).printer(fd) {
                Some(printer) => printer.print(c),
                None => Ok(()),
            }
        },
    )?;
    linker.func_wrap(IO, "flush", move |mut caller: Caller<'_, T>, fd: i32| -> Result<()> {
        match get(caller.data_mut()).printer(fd) {
            Some(printer) => printer.flush(),
            None => Ok(()),
        }
    })?;
    let with = values.clone();
    linker.func_wrap(
        IO,
        "read_bytes_from_stdin",
        move |mut caller: Caller<'_, T>| -> Result<HostRef> {
            let types = with.types(caller.engine())?;
            // More than that does not fit in the heap.
            let most = caller.engine().gc_heap_maximum();
            let stdin = get(caller.data_mut()).stdin();
            let (mut bytes, mut buffer) = (Vec::new(), [0; 1 << 13]);
            loop {
                match stdin.read(&mut buffer).map_err(failed(READING))? {
                    0 => break,
                    count => bytes.extend_from_slice(&buffer[..count]),
                }
                ensure!(bytes.len() as u64 <= most, Trap::OutOfMemory);
            }
            types.new_bytes(&mut caller, &bytes)
        },
    )?;
    Ok(())
}

/// Functions that make, read and write a string or a list of bytes, one number at a time.
struct Numbers {
    items: Items,
    begin_create: &'static str,
    append: &'static str,
    finish_create: &'static str,
    begin_read: &'static str,
    read: &'static str,
    finish_read: &'static str,
}

const NUMBERS: [Numbers; 2] = [
    Numbers {
        items: Items::Units,
        begin_create: "begin_create_string",
        append: "string_append_char",
        finish_create: "finish_create_string",
        begin_read: "begin_read_string",
        read: "string_read_char",
        finish_read: "finish_read_string",
    },
    Numbers {
        items: Items::Bytes,
        begin_create: "begin_create_byte_array",
        append: "byte_array_append_byte",
        finish_create: "finish_create_byte_array",
        begin_read: "begin_read_byte_array",
        read: "byte_array_read_byte",
        finish_read: "finish_read_byte_array",
    },
];

/// Strings and lists of bytes.
fn lists<T: 'static>(linker: &mut Linker<T>, values: &Arc<Values>) -> Result<()> {
    for Numbers { items, begin_create, append, finish_create, begin_read, read, finish_read } in
        NUMBERS
    {
        let with = values.clone();
        linker.func_wrap(
            FS,
            begin_create,
            move |mut caller: Caller<'_, T>| -> Result<HostRef> {
                with.types(caller.engine())?.new_writer(&mut caller, items)
            },
        )?;
        let with = values.clone();
        linker.func_wrap(
            FS,
            append,
            move |mut caller: Caller<'_, T>, writer: HostRef, item: u32| -> Result<()> {
                with.types(caller.engine())?.append(&mut caller, writer, items, item)
            },
        )?;
        let with = values.clone();
        linker.func_wrap(
            FS,
            finish_create,
            move |mut caller: Caller<'_, T>, writer: HostRef| -> Result<HostRef> {
                with.types(caller.engine())?.finish(&mut caller, writer, items)
            },
        )?;
        let with = values.clone();
        linker.func_wrap(
            FS,
            begin_read,
            move |mut caller: Caller<'_, T>, list: HostRef| -> Result<HostRef> {
                with.types(caller.engine())?.new_reader(&mut caller, list, items)
            },
        )?;
        let with = values.clone();
        linker.func_wrap(
            FS,
            read,
            move |mut caller: Caller<'_, T>, reader: HostRef| -> Result<i32> {
                with.types(caller.engine())?.next(&mut caller, reader, items)
            },
        )?;
        linker.func_wrap(FS, finish_read, |_: HostRef| {})?;
    }
    Ok(())
}

/// Strings as values, and lists of them.
fn strings<T: 'static>(linker: &mut Linker<T>, values: &Arc<Values>) -> Result<()> {
    let with = values.clone();
    linker.func_wrap(
        FS,
        "jsvalue_is_string",
        move |caller: Caller<'_, T>, value: HostRef| -> Result<i32> {
            Ok(with.types(caller.engine())?.is(&caller, value, Items::Units)?.into())
        },
    )?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "begin_read_string_array",
        move |mut caller: Caller<'_, T>, list: HostRef| -> Result<HostRef> {
            with.types(caller.engine())?.new_reader(&mut caller, list, Items::Strings)
        },
    )?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "string_array_read_string",
        move |mut caller: Caller<'_, T>, reader: HostRef| -> Result<HostRef> {
            let types = with.types(caller.engine())?;
            match types.next_string(&mut caller, reader)? {
                Some(string) => Ok(string),
                None => types.new_string(&mut caller, END_OF_STRINGS),
            }
        },
    )?;
    linker.func_wrap(FS, "finish_read_string_array", |_: HostRef| {})?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "array_len",
        move |caller: Caller<'_, T>, list: HostRef| -> Result<u32> {
            with.types(caller.engine())?.len(&caller, list, Items::Strings)
        },
    )?;
    let with = values.clone();
    linker.func_wrap(
        FS,
        "array_get",
        move |mut caller: Caller<'_, T>, list: HostRef, index: u32| -> Result<HostRef> {
            with.types(caller.engine())?.string_at(&mut caller, list, index)
        },
    )?;
    Ok(())
}
