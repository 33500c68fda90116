//! `null`: bump allocation that never collects. Emitted code allocates inline
//! between [`NEXT`] and [`LIMIT`]; header bits are all zero.

pub use super::bump::{LIMIT, NEXT};

/// The name under which the collector is registered.
pub const NAME: &str = "null";
