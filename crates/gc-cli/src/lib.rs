//! The reclaim command: run, test and look into WebAssembly GC programs.
