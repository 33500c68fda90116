//! Bytes are operations; all collectors must come to the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gc_testkit::fuzz::heap_agree(bytes));
