//! The calls of an embedding API. What an API does not have is no call.
// The functions that `Mutate` derives take an argument for each field.
#![allow(clippy::too_many_arguments)]

use crate::list;
use mutatis::Mutate;
use serde::{Deserialize, Serialize};

/// A call. Its fields are bytes that may have any value. `from` and `object` are handles, the last
/// one first.
#[derive(Clone, Copy, Debug, Mutate, Serialize, Deserialize)]
pub(super) enum Op {
    /// Makes a store, unless there is one in this slot.
    New {
        slot: u8,
        engine: u8,
    },
    /// Drops a store that is not in use, and all its handles.
    Drop {
        slot: u8,
        order: u8,
    },
    /// The calls up to `End` use the store in this slot, unless it is in use.
    Enter {
        slot: u8,
    },
    /// The calls up to `End` are in a scope of handles.
    Scope,
    End,
    /// Makes a value of the host.
    Host {
        attached: u8,
    },
    I31 {
        value: u8,
    },
    Struct {
        external: u8,
        from: u8,
    },
    Array {
        len: u8,
        from: u8,
    },
    /// Reads a field or an element.
    Get {
        object: u8,
        index: u8,
    },
    Set {
        object: u8,
        index: u8,
        from: u8,
    },
    /// Compares two handles.
    Equal {
        a: u8,
        b: u8,
    },
    Own {
        from: u8,
    },
    Unown {
        owned: u8,
    },
    CloneOwned {
        owned: u8,
    },
    DropOwned {
        owned: u8,
    },
    Downgrade {
        from: u8,
    },
    Upgrade {
        weak: u8,
    },
    AddFinalizer {
        from: u8,
    },
    NextFinalizable,
    NewGlobal {
        from: u8,
        external: u8,
    },
    GlobalGet {
        global: u8,
    },
    GlobalSet {
        global: u8,
        from: u8,
    },
    NewTable {
        len: u8,
        from: u8,
        external: u8,
    },
    TableGet {
        table: u8,
        index: u8,
    },
    TableSet {
        table: u8,
        index: u8,
        from: u8,
    },
    TableGrow {
        table: u8,
        delta: u8,
        from: u8,
    },
    TableFill {
        table: u8,
        at: u8,
        len: u8,
        from: u8,
    },
    TableCopy {
        to: u8,
        from: u8,
        at: u8,
        start: u8,
        len: u8,
    },
    Gc,
    /// Calls a function of the module. It calls the host, which makes the calls up to `End`.
    Call {
        from: u8,
        external: u8,
        how: u8,
    },
    /// Reads the global in which the module keeps a reference.
    Kept,
    /// Makes a function of the host, and calls it.
    Func {
        from: u8,
    },
    /// Uses a handle whose scope has ended.
    Stale {
        handle: u8,
        how: u8,
    },
    /// Uses a handle of another store, which may be gone.
    Foreign {
        slot: u8,
        handle: u8,
        how: u8,
    },
    /// Runs a loop with this much fuel.
    Burn {
        fuel: u8,
    },
    /// Interrupts a loop in a store that is not in use.
    Interrupt {
        slot: u8,
    },
    MemoryGrow {
        pages: u8,
    },
    MemoryWrite {
        at: u8,
        value: u8,
    },
    MemoryRead {
        at: u8,
    },
    /// Makes a call whose arguments do not fit.
    Wrong {
        what: u8,
        index: u8,
        from: u8,
    },
    /// Deletes the handle of a store. What belongs to the store keeps it alive.
    DeleteStore {
        slot: u8,
    },
    /// Drops an engine, and makes another for the next stores.
    NewEngine {
        engine: u8,
        collector: u8,
        heap: u8,
    },
    Copy {
        from: u8,
    },
    Delete {
        from: u8,
    },
    /// Attaches a value of the host to what a handle refers to.
    Attach {
        from: u8,
    },
    /// A handle to something that is not in the heap.
    Thing {
        what: u8,
    },
    /// The module throws an exception that nothing catches.
    Throw {
        from: u8,
    },
    /// Makes another instance of the module, which may be saved and loaded before.
    Again {
        how: u8,
    },
    /// As `Call`, with raw values.
    RawCall {
        from: u8,
        external: u8,
        how: u8,
    },
    /// As `Func`. The function gets raw values, and is called with such.
    RawFunc {
        from: u8,
    },
}

/// The number of kinds of calls.
pub(super) const KINDS: u8 = 51;
/// The most calls.
const MOST: usize = 200;

/// The configurations of two engines, and the calls.
pub(super) fn decode(bytes: &[u8]) -> ([u8; 6], Vec<Op>) {
    list::decode(bytes, KINDS, MOST)
}

/// Changes some calls of an input.
pub(super) fn mutate(input: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    list::mutate(decode(input), most, seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_encoded_as_they_are_decoded() {
        list::check_encoding::<Op>(KINDS);
    }
}
