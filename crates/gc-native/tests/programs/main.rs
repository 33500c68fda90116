//! Executables: objects are linked with the system's linker and run.

mod c;
mod common;
mod lines;
mod linkers;
mod many;
mod mutated;
mod options;
mod refused;
mod unwind;
