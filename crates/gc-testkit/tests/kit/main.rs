//! The test kit on this project's collectors, on one from outside that moves objects,
//! and on ones that are wrong.

mod conformance;
mod copying;
mod faults;
mod faulty;
mod random;
mod replay;
mod semispace;
