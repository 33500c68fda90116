//! Where the blocks of a heap begin, and which of them are live: two bits for
//! each eight bytes of the heap, in native memory.
//!
//! The map tiles the heap: a block reaches from its start bit to the next one.
//! It is the only authority on what is an object and how large it is, so that
//! nothing a guest writes into the heap can make the allocator hand memory out
//! twice. (Bitmaps beside the heap are as old as mark-sweep; see Jones, Hosking
//! and Moss, "The Garbage Collection Handbook", 2012, section 2.4.)

/// Bytes that one bit stands for.
pub(super) const GRANULE: u32 = 8;
/// log2 of the bytes of heap that one pair of words covers.
const WORD_SHIFT: u32 = 9;

/// Start and live bits of 512 bytes of heap.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    starts: u64,
    live: u64,
}

/// The map. Indices are in bytes from the heap's base.
#[derive(Debug, Default)]
pub(super) struct BlockMap {
    pairs: Vec<Pair>,
    /// Where the last block ends.
    end: u32,
}

impl BlockMap {
    /// The end of the last block.
    pub(super) fn end(&self) -> u32 {
        self.end
    }

    /// Moves the end up to `end`, a multiple of [`GRANULE`]; what is new belongs
    /// to the last block until another start is set.
    pub(super) fn extend(&mut self, end: u32) {
        debug_assert!(end >= self.end && end.is_multiple_of(GRANULE));
        self.pairs.resize((end as usize).div_ceil(1 << WORD_SHIFT), Pair::default());
        self.end = end;
    }

    /// Forgets all blocks.
    pub(super) fn clear(&mut self) {
        self.pairs.clear();
        self.end = 0;
    }

    #[inline]
    fn place(index: u32) -> (usize, u64) {
        ((index >> WORD_SHIFT) as usize, 1 << (index / GRANULE % 64))
    }

    /// Whether a live block starts at `index`, which may be any number.
    #[inline]
    pub(super) fn is_live(&self, index: u32) -> bool {
        let (word, bit) = BlockMap::place(index);
        index.is_multiple_of(GRANULE)
            && self.pairs.get(word).is_some_and(|pair| pair.live & bit != 0)
    }

    /// Whether a block starts at `index`, a multiple of [`GRANULE`].
    pub(super) fn is_start(&self, index: u32) -> bool {
        let (word, bit) = BlockMap::place(index);
        self.pairs.get(word).is_some_and(|pair| pair.starts & bit != 0)
    }

    /// Starts a block at `index`, below the end.
    #[inline]
    pub(super) fn set_start(&mut self, index: u32) {
        let (word, bit) = BlockMap::place(index);
        self.pairs[word].starts |= bit;
    }

    /// Makes the block at `index`, which is not live, part of the one before it.
    #[inline]
    pub(super) fn clear_start(&mut self, index: u32) {
        let (word, bit) = BlockMap::place(index);
        self.pairs[word].starts &= !bit;
    }

    /// Makes the block that starts at `index` live, or free.
    #[inline]
    pub(super) fn set_live(&mut self, index: u32, live: bool) {
        let (word, bit) = BlockMap::place(index);
        let pair = &mut self.pairs[word];
        debug_assert!(pair.starts & bit != 0);
        if live {
            pair.live |= bit;
        } else {
            pair.live &= !bit;
        }
    }

    /// Bytes of the block that starts at `index`.
    #[inline]
    pub(super) fn size(&self, index: u32) -> u32 {
        self.next_start(index) - index
    }

    /// Where the block behind the one at `index` starts, or the end.
    #[inline]
    pub(super) fn next_start(&self, index: u32) -> u32 {
        let (mut word, bit) = BlockMap::place(index);
        // Bits above this block's own.
        let mut bits = self.pairs[word].starts & !(bit | (bit - 1));
        loop {
            if bits != 0 {
                return ((word as u32) << WORD_SHIFT) + bits.trailing_zeros() * GRANULE;
            }
            word += 1;
            match self.pairs.get(word) {
                Some(pair) => bits = pair.starts,
                None => return self.end,
            }
        }
    }

    /// The starts of all live blocks, ascending.
    pub(super) fn live_blocks(&self) -> impl Iterator<Item = u32> {
        self.pairs.iter().enumerate().flat_map(|(word, pair)| {
            let mut live = pair.live;
            std::iter::from_fn(move || {
                let bit = (live != 0).then(|| live.trailing_zeros())?;
                live &= live - 1;
                Some(((word as u32) << WORD_SHIFT) + bit * GRANULE)
            })
        })
    }

    /// The live bits of each 512 bytes of heap.
    pub(super) fn live_words(&self) -> impl Iterator<Item = u64> {
        self.pairs.iter().map(|pair| pair.live)
    }

    /// Which word of [`live_words`](BlockMap::live_words) has `index`'s bit, and
    /// the bits below it.
    pub(super) fn live_place(index: u32) -> (usize, u64) {
        let (word, bit) = BlockMap::place(index);
        (word, bit - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_tile_the_heap() {
        let mut map = BlockMap::default();
        map.extend(8192);
        let starts = [64, 72, 504, 512, 1024, 4096, 8184];
        starts.iter().for_each(|&at| map.set_start(at));
        map.set_live(72, true);
        map.set_live(8184, true);
        for pair in starts.windows(2) {
            assert_eq!(map.next_start(pair[0]), pair[1]);
        }
        assert_eq!(map.size(8184), 8);
        assert_eq!(map.live_blocks().collect::<Vec<_>>(), [72, 8184]);
        map.clear_start(512);
        assert_eq!(map.size(504), 1024 - 504);
        map.extend(10240);
        assert_eq!(map.size(8184), 10240 - 8184);
    }

    #[test]
    fn any_number_may_be_asked_for() {
        let mut map = BlockMap::default();
        map.extend(1024);
        map.set_start(64);
        map.set_live(64, true);
        for index in [0, 1, 63, 65, 68, 72, 1024, 4096, u32::MAX, u32::MAX - 7] {
            assert!(!map.is_live(index), "{index}");
        }
        assert!(map.is_live(64));
        map.set_live(64, false);
        assert!(!map.is_live(64));
    }
}
