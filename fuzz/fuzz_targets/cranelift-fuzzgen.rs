//! The fuzz target `cranelift-fuzzgen` under libFuzzer. The book's page "Fuzzing" says what it tests.
#![no_main]

reclaim_fuzz::target!("cranelift-fuzzgen");
