//! [`Catches`]: which exceptions a handler catches.

/// Which exceptions a handler of a call catches.
///
/// # Examples
/// ```
/// use gc_types::Catches;
///
/// for catches in [Catches::All, Catches::Tag(3), Catches::LikeCall(0x40)] {
///     assert_eq!(Catches::from_word(catches.to_word()), catches);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Catches {
    /// All exceptions.
    All,
    /// Exceptions with this tag, which is at most [`Catches::MAX_TAG`].
    Tag(u32),
    /// The exceptions that a handler of another call of the same frame catches: the call with this return
    /// address, in bytes from the code's start, at most [`Catches::MAX_CALL`]. The handler throws the
    /// exception again with this call.
    LikeCall(u32),
}

impl Catches {
    /// The largest tag.
    pub const MAX_TAG: u32 = LIKE_CALL - 1;
    /// The largest return address of a call whose handlers another handler stands for.
    pub const MAX_CALL: u32 = LIKE_CALL - 2;

    /// This as the word that images contain.
    pub fn to_word(self) -> u32 {
        match self {
            Catches::All => ALL,
            Catches::Tag(tag) => tag & Catches::MAX_TAG,
            Catches::LikeCall(ret_addr) => ret_addr | LIKE_CALL,
        }
    }

    /// What a word of an image means.
    pub fn from_word(word: u32) -> Catches {
        match word {
            ALL => Catches::All,
            word if word & LIKE_CALL != 0 => Catches::LikeCall(word & !LIKE_CALL),
            tag => Catches::Tag(tag),
        }
    }

    /// The same handler in code that begins `distance` bytes later.
    #[must_use]
    pub fn moved(self, distance: u32) -> Catches {
        match self {
            Catches::LikeCall(ret_addr) => Catches::LikeCall(ret_addr + distance),
            other => other,
        }
    }
}

/// The word of a handler that catches everything.
const ALL: u32 = u32::MAX;

/// The bit of words that have a return address.
const LIKE_CALL: u32 = 1 << 31;
