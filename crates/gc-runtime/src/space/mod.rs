//! Parts of spaces, for any collector: what `generational` is made of. They are native memory
//! beside the heap, which a guest cannot write.
//!
//! * [`blocks`]: who owns which memory: blocks of lines for small objects, runs of pages for large
//!   ones, as in Immix.
//! * [`object_map`]: where objects begin and which are marked, a bit each for eight bytes.
//! * [`shapes`]: where the references of an object are, told from one look at its header.

pub mod blocks;
pub mod object_map;
pub mod shapes;
