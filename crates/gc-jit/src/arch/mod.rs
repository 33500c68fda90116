//! The code that depends on the processor. Each processor has one file, and all files define the
//! same names.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use x86_64::*;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("gc-jit runs on x86-64 Linux; for another machine, add a file to src/arch/");
