//! Tests of the hosts: those of toolchains, and WASI.

#[path = "../common/mod.rs"]
mod common;

mod assemblyscript;
mod files;
mod hoot;
mod j2cl;
mod js_string;
mod moonbit;
mod moonbit_files;
mod open_flags;
mod paths;
mod wasi;
