//! Collectors to try the test kit on: one from outside that moves objects, and one
//! that can be told to be wrong.

pub(crate) mod faulty;
pub(crate) mod semispace;
