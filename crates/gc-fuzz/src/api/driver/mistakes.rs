//! Mistakes of the host. Each must be the error or the panic that the documentation promises, and change
//! nothing.

use super::Api;
use crate::api::host::Host;
use crate::api::world::World;
use anyhow::Result;

/// Calls that must fail.
pub(in crate::api) trait Mistakes: Api {
    /// Uses a handle whose scope has ended.
    fn stale(
        _: &mut Self::Context<'_>,
        _: &mut World<Self>,
        _stale: &Self::Ref,
        _how: u8,
    ) -> Result<()> {
        Ok(())
    }
    /// Uses what belongs to another store. `other` is its model, if it is not gone.
    fn foreign(
        cx: &mut Self::Context<'_>,
        host: &mut Host<Self>,
        slot: usize,
        other: Option<&World<Self>>,
        handle: u8,
        how: u8,
    ) -> Result<()>;
    /// Makes a call whose arguments do not fit.
    fn wrong(
        cx: &mut Self::Context<'_>,
        host: &mut Host<Self>,
        slot: usize,
        what: u8,
        index: u8,
        from: u8,
    ) -> Result<()>;
}
