//! `copying`: a semispace collector (Cheney 1970) whose spaces are sets of chunks.
//! Emitted code allocates inline between [`NEXT`] and [`LIMIT`].
//!
//! The collector's header word is zero, except in an object that the current collection has moved.
//! There it is a forwarding word.

pub use super::bump::{LIMIT, NEXT};

/// The name under which the collector is registered.
pub const NAME: &str = "copying";

/// Bytes of a chunk, the unit of spaces.
pub const CHUNK_SIZE: u32 = 32 << 10;

const _: () = assert!(CHUNK_SIZE.is_power_of_two());
const _: () = assert!(crate::NULL_PAGE_SIZE.is_multiple_of(CHUNK_SIZE));
