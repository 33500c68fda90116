//! The tests that the collectors of this project must pass.

gc_conformance::conformance!(mark_compact::mark_compact().expect("its halves fit"));
