//! What write barriers record, for any collector. Each type owns its [tables](crate::side), and is the host's
//! half of a barrier that emitted code runs inline.
//!
//! * [`Cards`]: the parts of the heap that may refer to young objects, with bundles for large heaps.
//! * [`RememberedSlots`]: slots outside stack and heap that were written.
//! * [`OverwrittenLog`]: the references that were overwritten while marking is under way.

mod cards;
mod log;
mod ranges;
mod slots;

pub use cards::Cards;
pub use log::OverwrittenLog;
pub use slots::RememberedSlots;
