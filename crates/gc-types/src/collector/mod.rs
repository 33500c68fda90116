//! What the two halves of each collector of ours agree on: header bits, offsets
//! into heap data, slow-path operations. One file for each, of the
//! collector's name; `bump` is shared by those that allocate inline.

pub mod bump;
pub mod copying;
pub mod drc;
pub mod generational;
pub mod null;
