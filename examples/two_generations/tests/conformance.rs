//! The tests that the collectors of this project must pass.

gc_conformance::conformance!(two_generations::two_generations().expect("its halves fit"));
