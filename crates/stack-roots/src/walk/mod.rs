//! Finds the references on the stack at run time.
//!
//! [`Tables`] has the stack maps of all compiled code, by return address. [`exit!`](crate::exit) and
//! [`entry!`](crate::entry) declare the functions through which compiled code is left and entered; they record an
//! [`Activation`]. [`Tables::walk`] goes from the last exit to the last entry, and on to the activation before. It returns
//! [`Frames`], whose references a collector [visits](Frames::visit).
//!
//! A walk that meets a frame without a stack map is an error ([`WalkError`]), and no root is visited before the walk has
//! reached the first entry. So a collector never misses a frame.
//!
//! # Threads and stacks
//! Each thread has its activation. A collector that stops threads walks each one's stack: a thread that waits publishes
//! [`Activation::current`] before it does, and the collecting thread passes it to [`Tables::walk`]. Coroutines keep
//! their activation when they are suspended, see [`Activation::replace`].

mod arch;
mod error;
mod record;
mod stack;
mod tables;

pub use error::{BadRecord, TableError, WalkError};
pub use stack::{Activation, Frame, Frames};
pub use tables::Tables;
