//! Which data segments the functions of a module may drop. The bytes of the others never change, so
//! compiled code can contain them.
//!
//! The bodies are not decoded for this. Every `data.drop` has the bytes of its opcode, so it is enough
//! to look for these. If they are found in another instruction, a segment that is never dropped counts
//! as one that may be.

use std::collections::HashSet;
use wasmparser::BinaryReader;

/// The first byte of the opcode of `data.drop`.
const PREFIX: u8 = 0xfc;
/// The rest of it, a number in LEB128.
const DATA_DROP: u32 = 9;

/// Notes the segments that a function with this body may drop.
pub(super) fn find(body: &[u8], dropped: &mut HashSet<u32>) {
    for (at, _) in body.iter().enumerate().filter(|(_, byte)| **byte == PREFIX) {
        let mut reader = BinaryReader::new(&body[at + 1..], 0);
        if reader.read_var_u32().is_ok_and(|opcode| opcode == DATA_DROP)
            && let Ok(segment) = reader.read_var_u32()
        {
            dropped.insert(segment);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_instruction_is_found() {
        let found = |body: &[u8]| {
            let mut dropped = HashSet::new();
            find(body, &mut dropped);
            let mut dropped: Vec<u32> = dropped.into_iter().collect();
            dropped.sort_unstable();
            dropped
        };
        assert_eq!(found(&[0, 0xfc, 9, 3, 0x0b]), [3]);
        // Numbers may be longer than they need be.
        assert_eq!(found(&[0, 0xfc, 0x89, 0x80, 0, 0x85, 0, 0x0b]), [5]);
        assert_eq!(found(&[0xfc, 9, 200, 1, 0xfc, 9, 1]), [1, 200]);
        // Other instructions, and ends.
        assert_eq!(found(&[0xfc, 8, 3, 0, 0xfc, 10, 0, 0]), []);
        assert_eq!(found(&[0xfc]), []);
        assert_eq!(found(&[0xfc, 9]), []);
        // The prefix is an immediate of another instruction.
        assert_eq!(found(&[0xfc, 0xfc, 9, 7]), [7]);
    }
}
