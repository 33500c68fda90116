//! The calls of the C interface.
// The functions that `Mutate` derives take an argument for each field.
#![allow(clippy::too_many_arguments)]

use crate::list;
use mutatis::Mutate;
use serde::{Deserialize, Serialize};

/// A call. Its fields are bytes that may have any value. `from` and `object` are handles, the last
/// one first.
#[derive(Clone, Copy, Debug, Mutate, Serialize, Deserialize)]
pub(super) enum Op {
    /// The calls up to `End` use the store in this slot, which is made if there is none.
    Enter {
        slot: u8,
    },
    End,
    /// Deletes the handle of a store. What belongs to the store keeps it alive.
    DeleteStore {
        slot: u8,
    },
    /// Deletes all handles of a store that runs no code.
    Drop {
        slot: u8,
        order: u8,
    },
    /// Deletes an engine and makes another for the next stores.
    NewEngine {
        engine: u8,
        collector: u8,
        heap: u8,
    },
    /// Makes a foreign object.
    Foreign {
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
    Copy {
        from: u8,
    },
    Delete {
        from: u8,
    },
    /// Attaches something to what a handle refers to.
    Attach {
        from: u8,
    },
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
    Gc,
    /// Calls a function of the module. It calls a function of C, which makes the calls up to `End`.
    Call {
        from: u8,
        external: u8,
        how: u8,
    },
    /// Reads the global in which the module keeps a reference.
    Kept,
    /// Makes a function of C, calls it, and keeps a handle.
    Func {
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
    /// Makes another instance of the module, which was saved and loaded or shared.
    Again {
        how: u8,
    },
    /// Makes a call that cannot succeed.
    Mistake {
        what: u8,
        slot: u8,
        from: u8,
    },
    MemoryGrow {
        pages: u8,
    },
}

/// The number of kinds of calls.
pub(super) const KINDS: u8 = 31;
/// The most calls.
const MOST: usize = 200;

/// The configurations of two engines, and the calls.
pub(super) fn decode(bytes: &[u8]) -> ([u8; 4], Vec<Op>) {
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
