//! What depends on the processor: the instructions of the functions through which compiled code is entered and left. Each
//! processor has one file, and all files define the same names.

#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
mod aarch64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86_64;

#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
pub(crate) use aarch64::{activation, section, without_signature};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use x86_64::{activation, section, without_signature};

#[cfg(not(all(any(target_arch = "aarch64", target_arch = "x86_64"), target_os = "linux")))]
compile_error!("stack-roots-walk works on x86-64 and aarch64 Linux only");

/// The number of this program's processor in ELF files.
pub(crate) const MACHINE: u16 =
    if cfg!(target_arch = "x86_64") { crate::format::X86_64 } else { crate::format::AARCH64 };
