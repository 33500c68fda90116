//! Which data segments the functions of a module may drop. The bytes of the others never change, so
//! compiled code can contain them.
//!
//! The bodies are not decoded for this ([`opcodes`]). If the opcode is found in another instruction, a
//! segment that is never dropped counts as one that may be.

use super::opcodes;
use std::collections::HashSet;

/// The number of `data.drop`.
const DATA_DROP: u32 = 9;

/// Notes the segments that a function with this body may drop.
pub(super) fn find(body: &[u8], dropped: &mut HashSet<u32>) {
    let segments = opcodes::find(body, DATA_DROP).map(|mut reader| reader.read_var_u32());
    dropped.extend(segments.flatten());
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
