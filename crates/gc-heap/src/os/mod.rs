//! What depends on the system: pages, the sizes of caches, and clocks. Each system has one file, and all files define the same
//! names.
#![allow(unsafe_code)]

#[cfg(all(target_os = "linux", not(miri)))]
mod cache;
#[cfg(all(target_os = "linux", not(miri)))]
mod linux;
#[cfg(miri)]
mod miri;

#[cfg(miri)]
pub(crate) use miri::*;
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) use {cache::last_level_cache, linux::*};

#[cfg(not(any(target_os = "linux", miri)))]
compile_error!("gc-heap runs on Linux; for another system, add a file to src/os/");
