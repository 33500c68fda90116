//! References of different types as internal ones, so that they can be compared, and the host values to which
//! they refer.

use anyhow::{Context as _, Result, bail};
use gc_testkit::Token;
use gc_wasm::{AnyRef, AsContext, AsContextMut, ExternRef, Rooted, Val};

/// The reference in `value` as an internal one.
pub(super) fn internal(store: impl AsContextMut, value: Val) -> Result<Option<Rooted<AnyRef>>> {
    match value {
        Val::AnyRef(any) => Ok(any),
        Val::ExternRef(Some(external)) => AnyRef::convert_extern(store, external).map(Some),
        Val::ExternRef(None) => Ok(None),
        other => bail!("{other:?} is no reference to an object"),
    }
}

/// The number of the token that is the host value to which a reference refers. `None` if it refers to something
/// else.
pub(super) fn host_number(store: impl AsContext, value: Rooted<ExternRef>) -> Result<Option<u32>> {
    let Some(data) = value.data(store.as_context())? else { return Ok(None) };
    let token: &Token = data.downcast_ref().context("another host value")?;
    Ok(Some(token.number()))
}
