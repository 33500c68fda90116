//! The constants that both halves of each built-in collector share: header bits, offsets into heap
//! data, slow-path operations. Each collector has a file of its name. Collectors that allocate
//! inline share `bump`, those with a nursery `nursery`.

pub mod bump;
pub mod copying;
pub mod drc;
pub mod generational;
pub mod null;
pub mod nursery;
