//! Mistakes of the host. Each must be the error or the panic that the documentation promises, and change
//! nothing.

use super::Api;
use crate::api::host::Host;
use crate::api::world::World;
use anyhow::Result;

/// A call whose arguments do not fit: three bytes that choose it.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) struct Wrong {
    pub(in crate::api) what: u8,
    pub(in crate::api) index: u8,
    /// A handle.
    pub(in crate::api) from: u8,
}

/// Calls that must fail.
pub(in crate::api) trait Mistakes: Api {
    /// Uses a handle whose scope has ended.
    fn stale(
        _: &mut Self::Cx<'_>,
        _: &mut World<Self>,
        _stale: &Self::Ref,
        _how: u8,
    ) -> Result<()> {
        Ok(())
    }
    /// Uses what belongs to another store. `other` is its model, if it is not gone. `how` says which handle,
    /// and what is done with it.
    fn foreign(
        cx: &mut Self::Cx<'_>,
        host: &mut Host<Self>,
        slot: usize,
        other: Option<&World<Self>>,
        how: [u8; 2],
    ) -> Result<()>;
    /// Makes a call whose arguments do not fit.
    fn wrong(cx: &mut Self::Cx<'_>, host: &mut Host<Self>, slot: usize, call: Wrong) -> Result<()>;
}
