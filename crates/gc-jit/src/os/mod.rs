//! The code that depends on the system. Each system has one file, and all files define the same names.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
pub(crate) use {linux::*, process::process_start};

#[cfg(not(target_os = "linux"))]
compile_error!("gc-jit runs on Linux; for another system, add a file to src/os/");
