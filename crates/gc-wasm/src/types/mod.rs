//! WebAssembly types: canonical across an engine, and as users of the embedding
//! API see them.

pub(crate) mod convert;
pub(crate) mod display;
pub(crate) mod matching;
pub(crate) mod registry;
