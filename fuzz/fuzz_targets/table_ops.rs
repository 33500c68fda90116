//! The fuzz target `table_ops` under libFuzzer. The book's page "Fuzzing" says what it tests.
#![no_main]

reclaim_fuzz::target!("table_ops");
