//! Parts that spaces of old objects are made of, whatever collector manages them:
//! all of them are native memory beside the heap, which nothing a guest writes can
//! reach.

pub(crate) mod blocks;
pub(crate) mod object_map;
pub(crate) mod shapes;
