//! Parts of spaces for old objects, for any collector. They are native memory beside the heap,
//! which a guest cannot write.

pub(crate) mod blocks;
pub(crate) mod object_map;
pub(crate) mod shapes;
