//! The proof: everything that this project's own collectors are put to.

// ANCHOR: proof
gc_conformance::conformance!(custom_collector::mark_sweep().expect("its halves fit"));
// ANCHOR_END: proof
