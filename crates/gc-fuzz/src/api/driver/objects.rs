//! Handles and objects.

use super::Api;
use crate::value::Referent;
use anyhow::Result;
use gc_testkit::Token;

/// What a reference is, as the API says.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum Seen {
    I31(u32),
    Host,
    /// A struct with this number in its first field.
    Struct(i32),
    /// An array of this length.
    Array(u32),
    /// What is not in the heap.
    Thing,
}

/// What is done with handles and objects.
pub(in crate::api) trait Objects: Api {
    fn same(cx: &mut Self::Cx<'_>, a: Option<&Self::Ref>, b: Option<&Self::Ref>) -> Result<bool>;
    fn inspect(cx: &mut Self::Cx<'_>, handle: &Self::Ref) -> Result<Seen>;
    fn attached(cx: &mut Self::Cx<'_>, handle: &Self::Ref) -> Result<Option<Self::Attachment>>;
    /// Attaches a token.
    fn attach(_: Option<&Self::Ref>, _: Token) -> Result<Option<Self::Attachment>> {
        Ok(None)
    }
    /// Another handle, in the scope that is open.
    fn copy(cx: &mut Self::Cx<'_>, handle: &Self::Ref) -> Result<Self::Ref>;
    fn delete(handle: Option<Self::Ref>) {
        drop(handle);
    }
    fn own(cx: &mut Self::Cx<'_>, handle: &Self::Ref) -> Result<Self::Owned>;
    fn unown(cx: &mut Self::Cx<'_>, owned: &Self::Owned) -> Result<Self::Ref>;
    fn same_owned(cx: &mut Self::Cx<'_>, a: &Self::Owned, b: &Self::Owned) -> Result<bool>;
    fn downgrade(_: &mut Self::Cx<'_>, _: &Self::Ref) -> Result<Option<Self::Weak>> {
        Ok(None)
    }
    fn upgrade(_: &mut Self::Cx<'_>, _: &Self::Weak) -> Result<Option<Self::Ref>> {
        Ok(None)
    }
    fn add_finalizer(_: &mut Self::Cx<'_>, _: &Self::Ref, _: Token) -> Result<()> {
        Ok(())
    }
    /// An object that was found dead, and the number of its finalizer's token.
    fn next_finalizable(_: &mut Self::Cx<'_>) -> Result<Option<(Self::Ref, u32)>> {
        Ok(None)
    }
    /// Makes a value of the host, with a token. Without one if nothing is attached to it.
    fn host(
        cx: &mut Self::Cx<'_>,
        own: &Self::Own,
        token: Option<Token>,
    ) -> Result<(Self::Ref, Option<Self::Attachment>)>;
    fn i31(cx: &mut Self::Cx<'_>, own: &Self::Own, value: u32) -> Result<Self::Ref>;
    /// Makes a struct: a number, an external reference and an internal one.
    fn new_struct(
        cx: &mut Self::Cx<'_>,
        own: &Self::Own,
        number: i32,
        external: Option<&Self::Ref>,
        any: Option<&Self::Ref>,
    ) -> Result<Self::Ref>;
    /// Makes an array of one value, or of a list of values.
    fn new_array(
        cx: &mut Self::Cx<'_>,
        own: &Self::Own,
        element: Option<&Self::Ref>,
        len: u32,
        listed: bool,
    ) -> Result<Self::Ref>;
    /// Reads an element, or a field after the number.
    fn read(
        cx: &mut Self::Cx<'_>,
        object: &Self::Ref,
        is_array: bool,
        index: usize,
    ) -> Result<Option<Self::Ref>>;
    fn write(
        cx: &mut Self::Cx<'_>,
        object: &Self::Ref,
        is_array: bool,
        index: usize,
        value: Option<&Self::Ref>,
    ) -> Result<()>;
}

/// Whether a reference that the API describes so can be the value. What an object is, is known by its number.
pub(in crate::api) fn fits(
    seen: Option<Seen>,
    value: Referent,
    object: impl Fn(usize) -> (bool, usize),
) -> bool {
    match (value, seen) {
        (Referent::Null, None) | (Referent::Host(_), Some(Seen::Host)) => true,
        (Referent::Thing(_), Some(Seen::Thing)) => true,
        (Referent::I31(n), Some(Seen::I31(i31))) => n == i31,
        (Referent::Object(n), Some(Seen::Struct(number))) => !object(n).0 && number as usize == n,
        (Referent::Object(n), Some(Seen::Array(len))) => object(n) == (true, len as usize),
        _ => false,
    }
}
