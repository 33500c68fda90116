//! References of different types as internal ones, so that they can be compared.

use anyhow::{Result, bail};
use gc_wasm::{AnyRef, AsContextMut, Rooted, Val};

/// The reference in `value` as an internal one.
pub(super) fn internal(store: impl AsContextMut, value: Val) -> Result<Option<Rooted<AnyRef>>> {
    match value {
        Val::AnyRef(any) => Ok(any),
        Val::ExternRef(Some(external)) => AnyRef::convert_extern(store, external).map(Some),
        Val::ExternRef(None) => Ok(None),
        other => bail!("{other:?} is no reference to an object"),
    }
}
