//! The fuzz target `heap_ops` under libFuzzer. The book's page "Fuzzing" says what it tests.
#![no_main]

reclaim_fuzz::target!("heap_ops");
