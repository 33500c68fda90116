//! The code that depends on the processor. Each processor has one file, and all files define the
//! same names.

use gc_types::Processor;
use object::Architecture;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("gc-jit runs on x86-64 and aarch64; for another processor, add a file to src/arch/");

/// The processor of a saved image in ELF, if there is one. Images for other processors than this one can be saved.
pub(crate) fn of_elf(processor: &Processor) -> Option<Architecture> {
    Some(match processor.name() {
        "aarch64" => Architecture::Aarch64,
        "x86_64" => Architecture::X86_64,
        _ => return None,
    })
}
