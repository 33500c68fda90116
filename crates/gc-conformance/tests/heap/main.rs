//! The checks of heaps, on this project's collectors, on one from outside that moves
//! objects, and on ones that are wrong.

mod faults;
mod faulty;
mod moving;
mod ours;
mod semispace;
