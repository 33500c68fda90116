//! What can be seen of an input: the configuration and the modules that a target made from it.
//!
//! With `RECLAIM_LOG=debug` both are logged, the modules as text. When the input fails, its modules
//! are written to files, as `.wasm` and `.wat`.

use std::cell::RefCell;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The modules of the input that runs on this thread, and the beginning of their files' names.
#[derive(Default)]
struct Modules {
    files: Option<PathBuf>,
    modules: Vec<Vec<u8>>,
}

thread_local! {
    static MODULES: RefCell<Modules> = RefCell::default();
}

/// The modules of the input that began last on any thread.
static LAST: Mutex<Modules> = Mutex::new(Modules { files: None, modules: Vec::new() });

/// Forgets the modules of the last input.
pub(super) fn begin(files: Option<&Path>) {
    let new = || Modules { files: files.map(Path::to_owned), modules: Vec::new() };
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

/// Writes the modules of the input that failed on this thread. Says on standard error which files it
/// wrote.
pub(super) fn write() {
    MODULES.take().write();
}

/// Writes the modules of the input that runs, on whichever thread it runs. For a panic hook of a
/// process that runs one input at a time and ends there: threads that work for the input panic too.
pub fn write_of_any_thread() {
    let last = std::mem::take(&mut *LAST.lock().unwrap_or_else(PoisonError::into_inner));
    let own = MODULES.take();
    if own.modules.is_empty() { last.write() } else { own.write() }
}

impl Modules {
    fn write(&self) {
        let Some(files) = &self.files else { return };
        if let (Some(folder), false) = (files.parent(), self.modules.is_empty()) {
            // Without the folder, the files cannot be written, which is said below.
            let _: std::io::Result<()> = std::fs::create_dir_all(folder);
        }
        for (number, wasm) in self.modules.iter().enumerate() {
            let number = if number == 0 { String::new() } else { format!(".{number}") };
            for (extension, contents) in [("wasm", wasm.clone()), ("wat", text(wasm).into_bytes())]
            {
                let mut name = files.as_os_str().to_owned();
                name.push(format!("{number}.{extension}"));
                match std::fs::write(&name, contents) {
                    Ok(()) => eprintln!("module of the failing input: {}", name.display()),
                    Err(why) => eprintln!("cannot write {}: {why}", name.display()),
                }
            }
        }
    }
}
