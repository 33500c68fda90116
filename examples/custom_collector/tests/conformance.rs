//! The tests that the collectors of this project must pass.

// ANCHOR: proof
gc_conformance::conformance!(custom_collector::mark_sweep().expect("its halves fit"));
// ANCHOR_END: proof
