//! Joins a target of gc-conformance with libFuzzer: [`target!`] is all that a binary needs.

use gc_conformance::{fuzz, heap};
use libfuzzer_sys::fuzzer_mutate;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

#[doc(hidden)]
pub use libfuzzer_sys;

/// Defines the binary of the target with this name.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        use $crate::libfuzzer_sys;
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $crate::run($name, input));
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

/// The target of this process, with the panic hook and the log that it needs.
static TARGET: LazyLock<Box<dyn Fn(&str) -> fuzz::Target + Send + Sync>> = LazyLock::new(|| {
    env_logger::Builder::from_env("RECLAIM_LOG")
        .filter_module("cranelift_codegen", log::LevelFilter::Warn)
        .init();
    // The hook of libfuzzer-sys ends the process. Before that, the modules of the input are written.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !heap::is_panic_expected() {
            fuzz::report::write();
            usual(panic);
        }
    }));
    Box::new(|name| fuzz::find(name).unwrap_or_else(|| panic!("there is no target {name}")))
});

/// Runs an input.
///
/// # Panics
/// If it shows a fault.
pub fn run(name: &str, input: &[u8]) {
    fuzz::run(&TARGET(name), input, Some(&beside(input)));
}

/// Where the modules of an input are written if it fails: beside the file that is run again, or
/// beside the file that libFuzzer will write.
fn beside(input: &[u8]) -> PathBuf {
    static ARGUMENTS: LazyLock<(Option<PathBuf>, OsString)> = LazyLock::new(|| {
        let arguments: Vec<_> = std::env::args_os().skip(1).collect();
        let file = arguments.iter().map(PathBuf::from).find(|path| path.is_file());
        let prefix = arguments.iter().filter_map(|argument| argument.to_str());
        let prefix = prefix.filter_map(|text| text.strip_prefix("-artifact_prefix=")).next_back();
        (file, prefix.unwrap_or("./").into())
    });
    let (file, prefix) = &*ARGUMENTS;
    file.clone().unwrap_or_else(|| {
        let mut name = prefix.clone();
        name.push(format!("crash-{}", sha1_smol::Sha1::from(input).digest()));
        name.into()
    })
}

/// Changes an input in place, by the target's own mutator or as libFuzzer does. Returns the new
/// size.
pub fn mutate(name: &str, input: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let target = TARGET(name);
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
