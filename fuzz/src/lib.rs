//! Joins a target of gc-fuzz with libFuzzer: [`target!`] is all that a binary needs.

use gc_testkit::panics::is_panic_expected;
use libfuzzer_sys::fuzzer_mutate;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

#[doc(hidden)]
pub use libfuzzer_sys;

/// Defines the binary of the target with this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        use $crate::libfuzzer_sys;
        libfuzzer_sys::fuzz_target!(init: $crate::start(), |input: &[u8]| $crate::run($name, input));
        libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, most: usize, seed: u32| {
            $crate::mutate($name, input, size, most, seed)
        });
    };
}

/// AddressSanitizer asks for its options. It can keep the variables of functions that have returned, to
/// find uses of them, on a stack of its own for each stack of the program. It would never free those of
/// asynchronous calls that are dropped.
// SAFETY: nothing else has this name. The sanitizer calls it, and reads the text as a C string.
#[unsafe(no_mangle)]
pub extern "C" fn __asan_default_options() -> *const std::ffi::c_char {
    c"detect_stack_use_after_return=0".as_ptr()
}

/// Makes the log and the panic hook. Ends the process if a variable that restricts the targets is
/// wrong.
pub fn start() {
    env_logger::Builder::from_env("RECLAIM_LOG")
        .filter_module("cranelift_codegen", log::LevelFilter::Warn)
        .init();
    // The hook of libfuzzer-sys ends the process. Before that, the modules of the input are written.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_panic_expected() {
            gc_fuzz::report::write_of_any_thread();
            usual(panic);
        }
    }));
    if let Err(why) = gc_fuzz::check_variables() {
        eprintln!("{why:#}");
        std::process::exit(1);
    }
}

/// The target of this process.
fn target(name: &str) -> &'static gc_fuzz::Target {
    static TARGET: OnceLock<gc_fuzz::Target> = OnceLock::new();
    TARGET
        .get_or_init(|| gc_fuzz::find(name).unwrap_or_else(|| panic!("there is no target {name}")))
}

/// Runs an input.
///
/// # Panics
/// If it shows a fault.
pub fn run(name: &str, input: &[u8]) {
    gc_fuzz::run(target(name), input, Some(&modules(input)));
}

/// The files for the modules of an input that fails: in the folder `modules` beside the file that
/// libFuzzer writes, with its name or that of the file that is run again. cargo-fuzz takes each new
/// file that is in the folder of failing inputs itself for such an input.
fn modules(input: &[u8]) -> PathBuf {
    static ARGUMENTS: LazyLock<(Option<OsString>, String)> = LazyLock::new(|| {
        let arguments: Vec<_> = std::env::args_os().skip(1).collect();
        let file = arguments.iter().map(Path::new).find(|path| path.is_file());
        let prefix = arguments.iter().filter_map(|argument| argument.to_str());
        let prefix = prefix.filter_map(|text| text.strip_prefix("-artifact_prefix=")).next_back();
        (file.and_then(Path::file_name).map(Into::into), prefix.unwrap_or("./").into())
    });
    let (file, prefix) = &*ARGUMENTS;
    let failing = || format!("crash-{}", sha1_smol::Sha1::from(input).digest()).into();
    PathBuf::from(format!("{prefix}modules")).join(file.clone().unwrap_or_else(failing))
}

/// Changes an input in place, by the target's own mutator or as libFuzzer does. Returns the new
/// size.
pub fn mutate(name: &str, input: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let target = target(name);
    let most = most.min(target.length.max(size));
    // The bytes as such are mutated too: the target must also stand what its mutator never makes.
    let own = target.mutate.filter(|_| !seed.is_multiple_of(8));
    match own.and_then(|mutate| mutate(&input[..size], most, seed)) {
        Some(other) if other.len() <= most => {
            input[..other.len()].copy_from_slice(&other);
            other.len()
        }
        _ => fuzzer_mutate(input, size, most),
    }
}
