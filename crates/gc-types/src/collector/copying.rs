//! `copying`: a semispace collector (Cheney 1970) whose spaces are sets of chunks.
//! Emitted code allocates inline between [`NEXT`] and [`LIMIT`].
//!
//! The collector's header word is zero, except in an object that the current collection has moved.
//! There it is a forwarding word.

pub use super::bump::{LIMIT, NEXT};

/// The name under which the collector is registered.
pub const NAME: &str = "copying";
