//! What can be seen of an input: the configuration and the modules that a target made from it.
//!
//! With `RECLAIM_LOG=debug` both are logged, the modules as text. When the input fails, its modules
//! are written to files beside it, as `.wasm` and `.wat`.

use std::cell::RefCell;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The modules of the input that runs on this thread, and the beginning of their files' names.
#[derive(Default)]
struct Modules {
    beside: Option<PathBuf>,
    modules: Vec<Vec<u8>>,
}

thread_local! {
    static MODULES: RefCell<Modules> = RefCell::default();
}

/// The same as [`MODULES`] for threads that run no input, but work for one. Only the fuzzing engine
/// needs it, which runs one input at a time.
static LAST: Mutex<Modules> = Mutex::new(Modules { beside: None, modules: Vec::new() });

/// Forgets the modules of the last input.
pub(super) fn begin(beside: Option<&Path>) {
    let new = || Modules { beside: beside.map(Path::to_owned), modules: Vec::new() };
    MODULES.set(new());
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = new();
}

/// A target calls this with how it is going to run its input, before it does.
pub fn configuration(configuration: &dyn Debug) {
    log::debug!("{configuration:?}");
}

/// A target calls this with each module that it makes from its input, before it runs it. The bytes
/// need not be a valid module.
pub fn module(wasm: &[u8]) {
    log::debug!("{}", text(wasm));
    MODULES.with_borrow_mut(|modules| modules.modules.push(wasm.to_vec()));
    LAST.lock().unwrap_or_else(PoisonError::into_inner).modules.push(wasm.to_vec());
}

/// The module with this text. As [`module`] does, it shows it.
pub(super) fn text_module(text: &str) -> anyhow::Result<Vec<u8>> {
    let wasm = encode(text)?;
    module(&wasm);
    Ok(wasm)
}

/// The module with this text.
pub(super) fn encode(text: &str) -> anyhow::Result<Vec<u8>> {
    let buffer = wast::parser::ParseBuffer::new(text)?;
    let mut module: wast::Wat<'_> = wast::parser::parse(&buffer)?;
    Ok(module.encode()?)
}

/// The text of a module, or the reason why it has none.
fn text(wasm: &[u8]) -> String {
    match wasmprinter::print_bytes(wasm) {
        Ok(text) => text,
        Err(why) => format!(";; {} bytes that have no text: {why:#}", wasm.len()),
    }
}

/// Writes the modules of the input that failed. Says on standard error which files it wrote.
pub fn write() {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let mut own = MODULES.take();
    if own.modules.is_empty() {
        own = std::mem::take(&mut *last);
    }
    let Some(beside) = own.beside else { return };
    for (number, wasm) in own.modules.iter().enumerate() {
        let number = if number == 0 { String::new() } else { format!(".{number}") };
        for (extension, contents) in [("wasm", wasm.clone()), ("wat", text(wasm).into_bytes())] {
            let mut name = beside.as_os_str().to_owned();
            name.push(format!("{number}.{extension}"));
            match std::fs::write(&name, contents) {
                Ok(()) => eprintln!("module of the failing input: {}", name.display()),
                Err(why) => eprintln!("cannot write {}: {why}", name.display()),
            }
        }
    }
}
