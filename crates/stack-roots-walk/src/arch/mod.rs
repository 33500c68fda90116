//! What depends on the processor: the functions through which compiled code is entered and left.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod x86_64;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) use x86_64::{activation, section};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("stack-roots-walk works on x86-64 Linux only");
