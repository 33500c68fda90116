//! The fuzz target `api_calls` under libFuzzer. The book's page "Fuzzing" says what it tests.
#![no_main]

reclaim_fuzz::target!("api_calls");
