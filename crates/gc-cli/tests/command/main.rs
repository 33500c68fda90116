//! Tests of the command `reclaim`, run as a user runs it. Most are in `tests/command`: what is printed, and the
//! status. Those here measure, read formats, or need a signal.

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod collectors;
mod damaged;
mod explore;
mod explore_page;
mod features;
mod interrupts;
#[cfg(feature = "cross")]
mod machine_code;
mod profile;
mod registry;
mod sessions;
mod stats;
