//! The store's data for a tag of exceptions.

use crate::types::registered::RegisteredType;

/// A tag of a store.
#[derive(Debug)]
pub(crate) struct TagData {
    /// Its function type.
    pub(crate) ty: RegisteredType,
    /// The type of its exceptions.
    pub(crate) exn: RegisteredType,
    /// The two words by which exceptions name it.
    pub(crate) id: TagId,
}

/// The words by which exceptions name a tag: where it was defined. They are also in the vmctx of
/// each instance that has the tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TagId {
    /// The number of the instance that defines it, or [`TagId::HOST`].
    pub(crate) instance: u32,
    /// Its index in the instance's module, or among the store's tags if the host made it.
    pub(crate) index: u32,
}

impl TagId {
    /// The instance of a tag that the host made.
    pub(crate) const HOST: u32 = u32::MAX;

    /// Both words as one. The instance is in the lower half.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.instance)
    }

    /// The words in `bits`.
    pub(crate) fn from_bits(bits: u64) -> TagId {
        TagId { instance: bits as u32, index: (bits >> 32) as u32 }
    }
}
