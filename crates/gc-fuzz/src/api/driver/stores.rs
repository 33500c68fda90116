//! Engines and stores.

use super::Api;
use crate::api::host::Host;
use crate::way::Way;
use anyhow::{Error, Result, bail, ensure};
use gc_testkit::Ledger;

/// The reason for which a call must fail.
#[derive(Clone, Copy, Debug)]
pub(in crate::api) enum Fault {
    /// There is no such element of an array, or no such field of a struct.
    Index { is_array: bool },
    /// There is no such element of a table.
    TableIndex,
    /// There is no such element to read.
    NoElement,
    /// A new table has too many elements.
    TableLimit,
    /// A table cannot have so many elements.
    TableGrowth,
    /// The elements of two tables are of different types.
    TableTypes,
    /// There are no such bytes in a memory.
    MemoryIndex,
    /// A memory cannot have so many pages.
    MemoryGrowth,
    /// Nothing can be attached to null, or to a number.
    Unattachable,
}

/// What a new store has.
pub(in crate::api) struct NewStore<A: Api> {
    pub(in crate::api) store: A::Store,
    pub(in crate::api) own: A::Own,
    /// The numbers of the tokens that live as long as the store.
    pub(in crate::api) tokens: Vec<u32>,
}

/// What is done with engines and stores.
pub(in crate::api) trait Stores: Api {
    fn engine(way: &Way, limited: bool) -> Result<Self::Engine>;
    fn drop_engine(engine: Self::Engine) {
        drop(engine);
    }
    /// Makes a store for this slot.
    fn store(engine: &Self::Engine, slot: usize, ledger: &Ledger) -> Result<NewStore<Self>>;
    /// What calls use, while the store in `slot` is in use.
    fn context(store: &mut Self::Store) -> Self::Cx<'_>;
    /// The same of a store that is in use, if it can be used again.
    fn reenter(_: &Self::Own) -> Option<Self::Cx<'static>> {
        None
    }
    /// Whether the store can make new things.
    fn is_open(_: &Self::Own) -> bool {
        true
    }
    /// Deletes the handle of a store.
    fn delete_store(_: &mut Self::Own) {}
    /// Does some work in a scope of handles.
    fn scoped<R>(cx: &mut Self::Cx<'_>, work: impl FnOnce(&mut Self::Cx<'_>) -> R) -> R;
    /// Gives the host to the functions that run from now on.
    fn lend(cx: &mut Self::Cx<'_>, host: &mut Host<Self>);
    /// Takes the host back.
    fn take_back(cx: &mut Self::Cx<'_>, host: &mut Host<Self>) -> Result<()>;
    /// Forgets the error of another input.
    fn begin() {}
    /// Checks that no error waits to be read.
    fn settled() -> Result<()> {
        Ok(())
    }
    /// Whether this is the error of such a fault.
    fn is_fault(error: &Error, fault: Fault) -> bool;
    /// Collects. The number of objects that live, if it is known.
    fn gc(cx: &mut Self::Cx<'_>, own: &Self::Own) -> Result<Option<u64>>;
    fn set_fuel(cx: &mut Self::Cx<'_>, own: &Self::Own, fuel: u64) -> Result<()>;
    fn fuel(cx: &mut Self::Cx<'_>, own: &Self::Own) -> Result<u64>;
    /// Interrupts a loop of the program, or finds that this is not possible.
    fn interrupt(_: &mut Self::Store, _: &Self::Program, _limited: bool) -> Result<()> {
        Ok(())
    }
}

/// Whether a call has ended rightly. If it is not `possible`, it must fail for this reason.
pub(in crate::api) fn ended<A: Stores, T>(
    result: Result<T>,
    possible: bool,
    fault: Fault,
) -> Result<Option<T>> {
    match (result, possible) {
        (Ok(value), true) => Ok(Some(value)),
        (Err(error), false) => {
            ensure!(A::is_fault(&error, fault), "another error than {fault:?}: {error:#}");
            A::settled()?;
            Ok(None)
        }
        (Ok(_), false) => bail!("no error, although: {fault:?}"),
        (Err(error), true) => Err(error),
    }
}
