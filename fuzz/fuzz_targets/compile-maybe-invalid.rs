//! The fuzz target `compile-maybe-invalid` under libFuzzer. The book's page "Fuzzing" says what it tests.
#![no_main]

reclaim_fuzz::target!("compile-maybe-invalid");
