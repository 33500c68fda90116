//! What depends on the processor: prefetches and copies. Each processor has one file, and all files define the same names.
//! Processors without a file have the portable ones.
#![allow(unsafe_code)]

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod aarch64;
#[cfg(any(not(target_arch = "x86_64"), miri))]
mod portable;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod x86_64;

#[cfg(all(target_arch = "aarch64", not(miri)))]
pub(crate) use aarch64::*;
#[cfg(any(not(target_arch = "x86_64"), miri))]
pub(crate) use portable::*;
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) use x86_64::*;

#[cfg(any(not(any(target_arch = "aarch64", target_arch = "x86_64")), miri))]
mod no_prefetches {
    /// Prefetches nothing.
    #[inline(always)]
    pub(crate) fn prefetch(_pointer: *const u8) {}

    /// Prefetches nothing.
    #[inline(always)]
    pub(crate) fn prefetch_for_write(_pointer: *const u8) {}
}
#[cfg(any(not(any(target_arch = "aarch64", target_arch = "x86_64")), miri))]
pub(crate) use no_prefetches::*;
