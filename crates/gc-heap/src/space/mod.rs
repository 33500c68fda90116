//! Spaces, for any collector: what objects are allocated in. Their tables are native memory beside the heap,
//! which a guest cannot write.
//!
//! * [`BumpSpace`]: objects one after the other, and nothing is freed.
//! * [`Nursery`]: where objects are allocated one after the other, and how much of it is used.
//! * [`mark_region`]: blocks of lines for small objects, and runs of pages for large ones, as in Immix. It is
//!   marked, swept in parts, and can be evacuated.
//! * [`Generations`]: a nursery in front of a mark region.
//! * [`gaps`]: objects that stay in place, and new ones in the gaps between them.
//! * [`semispace`]: chunks whose live objects are copied to free ones.
//! * [`Epoch`]: the objects that were allocated since the last collection, and their number.
//! * [`object_map`]: the starts of objects and their marks, with one bit of each kind for eight
//!   bytes.

mod bump;
mod check;
mod count;
mod epoch;
pub mod gaps;
pub mod generations;
pub mod mark_region;
pub mod nursery;
pub mod object_map;
pub mod semispace;
mod zeros;

pub use bump::BumpSpace;
pub use count::Count;
pub use epoch::{Epoch, Visit, Walk};
pub use generations::Generations;
pub use nursery::Nursery;

/// The contents of free memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residue {
    /// Zero, because the memory was never used. The system has not provided any for it.
    Untouched,
    /// Zero, because the memory was given back to the system.
    GivenBack,
    /// Anything.
    Dirty,
}

impl Residue {
    /// Whether all bytes are zero.
    pub(crate) fn is_zero(self) -> bool {
        self != Residue::Dirty
    }
}
