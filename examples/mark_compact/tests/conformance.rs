//! The proof: everything that this project's own collectors are put to.

gc_conformance::conformance!(mark_compact::mark_compact().expect("its halves fit"));
