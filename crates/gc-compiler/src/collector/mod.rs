//! The emitted half of each collector of ours. One file for each, of the
//! collector's name.

pub mod bump;
pub mod copying;
pub mod drc;
pub mod generational;
pub mod null;
