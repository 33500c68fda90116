//! Parts of spaces, for any collector. `generational` consists of them. They are native memory
//! beside the heap, which a guest cannot write.
//!
//! * [`blocks`]: the owners of memory: blocks of lines for small objects, and runs of pages for
//!   large ones, as in Immix.
//! * [`object_map`]: the starts of objects and their marks, with one bit of each kind for eight
//!   bytes.
//! * [`shapes`]: the places of an object's references, found with one look at its header.

pub mod blocks;
pub mod object_map;
pub mod shapes;
