//! What differs from processor to processor: one file for each, with the same
//! names in it.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86_64;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use x86_64::*;

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("gc-jit runs on x86-64 Linux; another machine needs its file in src/arch/");
