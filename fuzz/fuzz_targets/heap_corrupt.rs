//! Bytes are operations and damage; the damage must stay inside the heap.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gc_testkit::fuzz::heap_corrupt(bytes));
