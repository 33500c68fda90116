//! Tests of the command `reclaim`, run as a user runs it.

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod cli;
mod collectors;
mod damaged;
mod explore;
mod explore_page;
mod failures;
mod features;
mod hosts;
mod interrupts;
mod profile;
mod registry;
mod wasmtime;
