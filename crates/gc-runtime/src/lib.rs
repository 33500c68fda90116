//! The collectors: `null`, `drc`, `copying` and `generational`. All of gc-heap is exported again.
//!
//! A [`GcRuntime`] makes [`GcHeap`]s, and a [`GcStore`] has one of them, with its roots and its side tables.
//! Each collector is a plan in a folder of its own, over the spaces, the loops and the tables of gc-heap:
//! when to collect what. [`collector`] lists them. A collector of another crate stands beside them: it implements the
//! same traits with the same parts.
//!
//! # Laws
//! * There is no `unsafe`, and nothing private of gc-heap. What these collectors use, any crate can use.
//! * This crate knows neither Cranelift nor WebAssembly.
//!
//! # Features
//! * `null`, `drc`, `copying`, `generational`: these collectors. All are on by default. A build has no code of the
//!   others.
//! * `async` and `gc_zeal`: those of gc-heap.
#![forbid(unsafe_code)]

pub mod collector;

#[cfg(feature = "copying")]
mod copying;
#[cfg(feature = "drc")]
mod drc;
#[cfg(feature = "generational")]
mod generational;
#[cfg(feature = "null")]
mod null;

pub use gc_heap::*;
