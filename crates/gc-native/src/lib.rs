//! The library of executables whose code `gc-engine` has compiled ahead of time.
//!
//! [`Module::emit_object`](gc_engine::native) writes objects, and `Engine::emit_start` one more. A system linker makes
//! an executable of these objects and of the static library `libgc_native.a`:
//!
//! ```sh
//! cc start.o program.o libgc_native.a -lm -o program
//! ```
//!
//! The executable has no compiler. Its `main` makes a heap, loads the code and calls the function that `emit_start`
//! was given. To add host functions in Rust, write a static library that calls [`open`] and [`run_main`], and link it
//! instead.
//!
//! The environment variable `RECLAIM_HEAP_MAX` sets the heap's maximum (`64MiB`).
//!
//! # Security
//! As in a process with a compiler, the checkers verify that compiled code accesses only the heap. They find mistakes;
//! they are no defence against a malicious compiler. C and other code in the same program can write to any memory.
#![allow(unsafe_code)]

mod c;

use anyhow::{Context as _, Result, anyhow, bail};
use gc_engine::native::Objects;
use gc_engine::{Code, Engine, Store, size};
use std::io::Write as _;
use std::panic::{UnwindSafe, catch_unwind};
use std::sync::OnceLock;

unsafe extern "C" {
    /// The hidden symbol of the start object in this executable or library.
    static reclaim_own_start: u8;
}

/// The engine of the executable's objects, and their code.
struct Program {
    engine: Engine,
    codes: Vec<Code>,
}

/// The executable's program. All stores of the process have its code.
fn program() -> Result<&'static Program> {
    static PROGRAM: OnceLock<Result<Program>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let objects = objects()?;
        let engine = engine(&objects)?;
        // SAFETY: it is called once.
        let codes = unsafe { objects.load(&engine)? };
        Ok(Program { engine, codes })
    });
    program.as_ref().map_err(|error| anyhow!("{error:#}"))
}

/// A store with `data` and the code of all objects of this executable. Before the code is loaded, `add` adds functions
/// of the host.
///
/// # Errors
/// If the executable's code does not fit this library or this processor, if its tables are damaged, or if a function has
/// another type than those that import it expect.
pub fn open<T: Send + Sync + 'static>(
    data: T,
    add: impl FnOnce(&mut Store<T>) -> Result<()>,
) -> Result<Store<T>> {
    let Program { engine, codes } = program()?;
    let mut store = Store::new(engine, data)?;
    add(&mut store)?;
    store.load_all(codes).context("loading the objects of the executable")?;
    Ok(store)
}

/// Calls the main function of this executable. Returns the exit code: what the function returns, or 0.
///
/// # Errors
/// If there is no such function, if it has another type, if it traps, or if it throws an exception that nobody catches.
pub fn run_main<T: Send + Sync + 'static>(store: &mut Store<T>) -> Result<i32> {
    let objects = objects()?;
    let main = objects.main().context("the start object names no main function")?;
    let signature = store.signature(main);
    let signature =
        signature.with_context(|| format!("the executable has no function `{main}`"))?;
    match signature.to_string().as_str() {
        "() -> ()" => {
            store.function::<(), ()>(main)?.call(store, ())?;
            Ok(0)
        }
        "() -> (i32)" => store.function::<(), i32>(main)?.call(store, ()),
        other => bail!("the function `{main}` is {other}, but main is () -> () or () -> (i32)"),
    }
}

/// The exit code for a result. Prints an error to the standard error output: its messages in one line, and the functions
/// that were running after it.
pub fn exit_code(result: Result<i32>) -> i32 {
    result.unwrap_or_else(|error| {
        let messages = error.chain().map(ToString::to_string);
        let (traces, messages): (Vec<_>, Vec<_>) = messages.partition(|it| it.contains('\n'));
        let messages = (!messages.is_empty()).then(|| messages.join(": "));
        let text: Vec<_> = messages.into_iter().chain(traces).collect();
        // Nobody may read it.
        let _ = writeln!(std::io::stderr(), "error: {}", text.join("\n"));
        1
    })
}

/// Runs the function of [`main!`]. A panic, which has printed its message, is an exit code.
#[doc(hidden)]
pub fn guarded(main: impl FnOnce() -> i32 + UnwindSafe) -> i32 {
    let code = catch_unwind(main).unwrap_or(101);
    // C's `main` does not do it.
    let _ = std::io::stdout().flush();
    code
}

/// The symbol of the start object in this executable or library.
fn own_start() -> *const u8 {
    &raw const reclaim_own_start
}

fn objects() -> Result<Objects> {
    // SAFETY: a system linker has put the start object into this executable.
    unsafe { Objects::at(own_start()) }
}

/// `main!(symbol, function)` exports `function` under the name `symbol`. The function is a `fn() -> i32` that returns the
/// exit code. The `main` of an executable jumps to the symbol that
/// [`Start::runtime`](gc_engine::native::Start::runtime) names.
///
/// ```ignore
/// fn main() -> i32 {
///     gc_native::exit_code(gc_native::open((), |_| Ok(())).and_then(|mut store| gc_native::run_main(&mut store)))
/// }
///
/// gc_native::main!("my_language_main", main);
/// ```
#[macro_export]
macro_rules! main {
    ($symbol:literal, $main:path) => {
        const _: () = {
            #[allow(unsafe_code)]
            #[unsafe(export_name = $symbol)]
            extern "C" fn exported_main() -> i32 {
                $crate::guarded($main)
            }
        };
    };
}

/// The engine of the objects, with the user's options.
fn engine(objects: &Objects) -> Result<Engine> {
    const MAXIMUM: &str = "RECLAIM_HEAP_MAX";
    const ZEAL: &str = "the code has zeal, for which libgc_native.a needs the feature `gc_zeal`";
    let mut heap = objects.heap();
    let text = std::env::var_os(MAXIMUM);
    if let Some(text) = &text {
        let maximum = size::parse(&text.to_string_lossy());
        heap.maximum = maximum.map_err(anyhow::Error::msg).context(MAXIMUM)?;
    }
    let has_zeal = heap.zeal > 0;
    let engine = objects.engine(heap)?.build();
    match (text.is_some(), has_zeal) {
        (true, _) => engine.context(MAXIMUM),
        (false, true) => engine.context(ZEAL),
        (false, false) => engine,
    }
}

/// The main function of a program without functions of the host.
fn plain_main() -> i32 {
    let run = |store| {
        // The process ends. The system frees all memory at once.
        let mut store = std::mem::ManuallyDrop::new(store);
        run_main(&mut store)
    };
    exit_code(open((), |_| Ok(())).and_then(run))
}

main!("reclaim_main", plain_main);
