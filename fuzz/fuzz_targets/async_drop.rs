//! The fuzz target `async_drop` under libFuzzer. The book's page "Fuzzing" says what it tests.
#![no_main]

reclaim_fuzz::target!("async_drop");
