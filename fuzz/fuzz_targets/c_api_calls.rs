//! The fuzz target `c_api_calls` under libFuzzer. The book's page "Fuzzing" says what it tests.
#![no_main]

reclaim_fuzz::target!("c_api_calls");
