//! Forwarding: while a collection moves objects, the collector's word in an object's old header has its new
//! place.
//!
//! An object is copied once, whatever number of references there are (C. J. Cheney, "A Nonrecursive List Compacting
//! Algorithm", 1970). The word is zero in every other object, and in every object between collections. A guest may
//! have changed it, so a collector uses a new place only if it put an object there.

use gc_types::VMGcHeader;

/// The offset, in bytes, of the word in an object.
pub const OFFSET: u64 = VMGcHeader::COLLECTOR_OFFSET as u64;

/// The bit of a word that has a new place. An index is a multiple of 8.
const FORWARDED: u32 = 1;

/// The word of an object that was moved to `new`.
///
/// # Examples
/// ```
/// use gc_heap::trace::forwarding::{forwarded, forwarding};
///
/// assert_eq!(forwarded(forwarding(0x10008)), Some(0x10008));
/// assert_eq!(forwarded(0), None);
/// ```
#[inline(always)]
#[must_use]
pub const fn forwarding(new: u32) -> u32 {
    new | FORWARDED
}

/// The new place, if `word` has one. A guest may have written any word.
#[inline(always)]
#[must_use]
pub const fn forwarded(word: u32) -> Option<u32> {
    if word & FORWARDED != 0 { Some(word & !FORWARDED) } else { None }
}
