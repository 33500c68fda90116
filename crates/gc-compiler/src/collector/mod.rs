//! The emitted half of each built-in collector. Each has a file of its name.

pub mod bump;
pub mod copying;
pub mod drc;
pub mod generational;
pub mod null;
