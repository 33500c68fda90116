//! Bytes are operations; each collector's heap must agree with its shadow.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gc_testkit::fuzz::heap_ops(bytes));
