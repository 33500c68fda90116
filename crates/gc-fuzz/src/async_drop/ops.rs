//! What asynchronous calls and the host functions inside them do.
// The functions that `Mutate` derives take an argument for each field.
#![allow(clippy::too_many_arguments)]

use crate::list;
use mutatis::Mutate;
use serde::{Deserialize, Serialize};

/// A step of the script. `Begin` is for the host. The others are for the host function that runs.
#[derive(Clone, Copy, Debug, Mutate, Serialize, Deserialize)]
pub(super) enum Op {
    /// Begins a call, and drops its future after some polls unless it is ready.
    Begin {
        polls: u8,
        depth: u8,
        spin: u8,
        own: u8,
    },
    /// The host function returns.
    End,
    /// Is pending some times.
    Wait {
        times: u8,
    },
    Gc,
    GcAsync,
    /// Makes host values without a handle.
    Garbage {
        count: u8,
    },
    /// Makes a host value, which waits if the heap is full.
    New {
        count: u8,
    },
    /// Calls the function that called the host, and drops the future after some polls unless it is
    /// ready.
    Recurse {
        polls: u8,
        depth: u8,
        spin: u8,
    },
    /// Puts the argument into a global.
    Keep {
        global: u8,
    },
    /// Reads a global.
    Kept {
        global: u8,
    },
    Own,
    DropOwned {
        owned: u8,
    },
    /// The host function fails.
    Fail,
    /// The host function returns, and the code traps then.
    Trap,
    /// Begins a new epoch, so that code yields.
    Tick,
    /// Makes a call that is not asynchronous.
    Refused,
}

/// The number of kinds of steps.
const KINDS: u8 = 16;
/// The most steps.
const MOST: usize = 120;

/// The configuration, and the script.
pub(super) fn decode(bytes: &[u8]) -> ([u8; 4], Vec<Op>) {
    list::decode(bytes, KINDS, MOST)
}

/// Changes some steps of an input.
pub(super) fn mutate(input: &[u8], most: usize, seed: u32) -> Option<Vec<u8>> {
    list::mutate(decode(input), most, seed)
}

/// The number of polls after which a future is dropped. `None` if it may become ready.
pub(super) fn polls(byte: u8) -> Option<u32> {
    match byte {
        0xa0.. => None,
        _ => Some(u32::from(byte % 32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_encoded_as_they_are_decoded() {
        list::check_encoding::<Op>(KINDS);
    }
}
