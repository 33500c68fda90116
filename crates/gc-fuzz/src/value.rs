//! What a reference refers to, as a model knows it.

/// What a reference refers to. External references and the internal ones that are made of them are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Referent {
    Null,
    I31(u32),
    /// The host's value with this number.
    Host(u32),
    /// An object by its number.
    Object(usize),
    /// A function or something else that is not in the heap, by its number.
    Thing(usize),
}
