//! `null`: bump allocation that never collects. Emitted code allocates inline between [`NEXT`] and
//! [`LIMIT`]. The collector's header bits are all zero.

pub use super::bump::{LIMIT, NEXT};

/// The name under which the collector is registered.
pub const NAME: &str = "null";
