//! Tracing, for any collector: what an object is and where its references are, and the objects that wait
//! to be scanned.
//!
//! * [`shapes`]: the size of an object and the places of its references, found with one look at its header.
//! * [`forwarding`]: the new places of objects that a collection has moved.
//! * [`marking`]: marks the objects of a mark region.
//! * [`scavenge`]: moves the reachable objects of a nursery to the old generation.
//! * [`grey`]: objects that were reached and are to be scanned, large arrays in pieces.
//! * [`increments`]: the driver of a collection that works in parts, and its clock.

pub mod forwarding;
pub mod grey;
pub mod increments;
pub mod marking;
pub mod scavenge;
pub mod shapes;
