//! The proof: everything that this project's own collectors are put to.

// ANCHOR: proof
gc_cli::conformance!(custom_collector::mark_sweep().expect("its halves fit"));
// ANCHOR_END: proof
