//! What depends on the processor: the functions through which compiled code is entered and left.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub(super) use x86_64::{activation, section};

#[cfg(not(target_arch = "x86_64"))]
compile_error!("the feature `walk` of stack-roots works on x86-64 only");
