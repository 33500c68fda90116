//! Giving the memory of empty blocks back to the system.

use super::{BLOCK, GapSpace};
use crate::HeapMemory;

impl GapSpace {
    /// Bytes of free blocks whose memory was given back to the system.
    pub fn given_back(&self) -> u64 {
        u64::from(self.given_back_count) * u64::from(BLOCK)
    }

    /// Gives the memory of wholly free blocks back to the system, except the first `spare` bytes.
    /// Must not be called during a collection.
    pub fn give_blocks_back(&mut self, memory: &mut HeapMemory, mut spare: u64) {
        let mut block = 0;
        while block < self.free.len() {
            let first = block;
            while self.free.get(block) == Some(&BLOCK) && !self.given_back[block] {
                if spare > 0 {
                    spare = spare.saturating_sub(BLOCK.into());
                    break;
                }
                self.given_back[block] = true;
                block += 1;
            }
            let count = (block - first) as u32;
            if count > 0 {
                self.given_back_count += count;
                let bytes = u64::from(count) * u64::from(BLOCK);
                let _mapped = memory.give_back(self.block(first).start.into(), bytes);
                debug_assert!(_mapped.is_some(), "blocks are mapped");
            } else {
                block += 1;
            }
        }
    }
}
