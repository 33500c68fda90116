//! The number of chunks that may be filled before the next collection.
//!
//! A collection needs free chunks for the copies of survivors. If half of the heap were kept for
//! them, as in two fixed semispaces, a heap in which little survives would be half empty. So the
//! survivors are estimated: objects that survived last time survive again, and new objects survive
//! at the recent rate. An estimate that is too low costs time and memory, not correctness: an
//! object for which there is no room is marked in place. The objects found last (the leaves of
//! trees) can each keep a whole chunk in place, so the estimate has a margin.
//!
//! The plan of the heap's growth policy says how many chunks may be allocated before the next
//! collection. The heap is as large as that needs, and never smaller than at the start. Other
//! chunks are not used, and the memory of most of them is given back.

use super::chunks::{CHUNK_SIZE, Chunks};

/// The minimal number of chunks that should be allocated between two collections: 1 MiB.
const MINIMUM: u32 = (1 << 20) / CHUNK_SIZE;
/// The same in bytes.
pub(super) const LEAST: u64 = MINIMUM as u64 * CHUNK_SIZE as u64;

/// One survivor is added for this many expected ones.
const MARGIN: u32 = 16;

/// The number of usable chunks that are never filled. Without a free chunk, no other chunk could be
/// emptied.
fn reserve(allowed: u32) -> u32 {
    allowed.div_ceil(32).min(allowed / 2)
}

/// The survival rate of everything. Rates are parts of it.
const ONE: u32 = 256;

/// The number of chunks that may be used, by purpose.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// Chunks that the heap had when it was made. This many are always allowed.
    initial: u32,
    /// Chunks that may be used, including those for copies.
    allowed: u32,
    /// Chunks of small objects that survived the last collection.
    survivors: u32,
    /// The part of [`ONE`] new chunk that is expected to survive.
    rate: u32,
    /// Chunks to allocate until the next collection.
    target: u32,
    /// Chunks that may be used although too few may be left for copies.
    tight: u32,
    /// Chunks taken since the last collection, for small objects and for large.
    small: u32,
    large: u32,
}

/// The result of a collection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survival {
    /// Bytes of small objects before the collection that had survived an earlier collection.
    pub(super) old: u64,
    /// Bytes of small objects that were allocated since the earlier collection.
    pub(super) new: u64,
    /// Bytes of small objects after the collection.
    pub(super) survived: u64,
    /// Chunks that copies of these objects need.
    pub(super) chunks: u32,
}

impl Budget {
    /// The budget of a new heap with these chunks.
    pub(super) fn new(chunks: &Chunks) -> Budget {
        Budget {
            initial: chunks.len(),
            allowed: chunks.len(),
            survivors: 0,
            rate: ONE,
            // The first collection measures how much survives, before the heap grows.
            target: MINIMUM.min(chunks.len() / 2),
            tight: 0,
            small: 0,
            large: 0,
        }
    }

    /// The number of chunks of small objects that are expected to survive the next collection, if
    /// `new` chunks will have been filled since the last one.
    fn expected(&self, new: u32) -> u32 {
        let share = (u64::from(new) * u64::from(self.rate)).div_ceil(u64::from(ONE)) as u32;
        let expected = self.survivors.saturating_add(share);
        expected.saturating_add(expected / MARGIN)
    }

    /// The number of chunks of small objects that are expected to survive a collection now.
    pub(super) fn expected_now(&self) -> u32 {
        self.expected(self.small)
    }

    fn admits(&self, chunks: &Chunks, small: u32, large: u32) -> bool {
        let used = u64::from(chunks.used()) + u64::from(small) + u64::from(large);
        let survivors = self.expected(self.small.saturating_add(small));
        let needed = used + u64::from(survivors.max(reserve(self.allowed)));
        needed <= u64::from(self.allowed) || used <= u64::from(self.tight)
    }

    /// Counts one more chunk of small objects, if the budget allows it. Returns whether it does.
    pub(super) fn take_small(&mut self, chunks: &Chunks) -> bool {
        let admitted = self.admits(chunks, 1, 0);
        self.small += u32::from(admitted);
        admitted
    }

    /// Whether a large object may take `count` chunks.
    pub(super) fn admits_large(&self, chunks: &Chunks, count: u32) -> bool {
        self.admits(chunks, 0, count)
    }

    /// Counts the chunks of a large object.
    pub(super) fn count_large(&mut self, count: u32) {
        self.large = self.large.saturating_add(count);
    }

    /// Whether enough was allocated to make a collection worth its cost.
    pub(super) fn is_spent(&self) -> bool {
        let allocated = u64::from(self.small) + u64::from(self.large);
        allocated * 8 >= u64::from(self.target) * 7
    }

    /// The number of chunks needed to allocate the rest of the target and to copy the expected
    /// survivors.
    fn size(&self, chunks: &Chunks) -> u32 {
        let rest = self.target.saturating_sub(self.small.saturating_add(self.large));
        let survivors = self.expected(self.small.saturating_add(rest));
        // A chunk of either kind is seldom full.
        chunks.used().saturating_add(rest).saturating_add(survivors).saturating_add(2)
    }

    /// The number of needed chunks that are not allowed yet.
    pub(super) fn wanted(&self, chunks: &Chunks) -> u32 {
        self.size(chunks).saturating_sub(self.allowed)
    }

    /// Allows up to `count` more of the existing chunks. Returns how many.
    pub(super) fn raise(&mut self, chunks: &Chunks, count: u32) -> u32 {
        let raised = count.min(chunks.len() - self.allowed);
        self.allowed += raised;
        raised
    }

    /// Allows all existing chunks.
    pub(super) fn allow_all(&mut self, chunks: &Chunks) {
        self.allowed = chunks.len();
    }

    /// Sizes the heap from what a collection found and from `room`, the bytes that may be allocated
    /// until the next one.
    pub(super) fn adapt(&mut self, chunks: &Chunks, survival: Survival, room: u64) {
        let Survival { old, new, survived, .. } = survival;
        let added = survived.saturating_sub(old).saturating_mul(u64::from(ONE));
        // Without new objects the rate stays.
        let observed = added.checked_div(new).map_or(self.rate, |rate| rate as u32);
        // The rate rises at once and falls slowly.
        self.rate = observed.max(self.rate / 2).min(ONE);
        self.survivors = survival.chunks;
        let used = u64::from(chunks.used());
        let target = room.div_ceil(u64::from(CHUNK_SIZE)).max(1);
        self.target = u32::try_from(target).unwrap_or(u32::MAX);
        (self.small, self.large) = (0, 0);
        self.allowed = self.size(chunks).max(self.initial).min(chunks.len());
        let allowed = u64::from(self.allowed);
        let left = allowed.saturating_sub(used + u64::from(self.survivors));
        let is_tight = left * u64::from(ONE) < target / 8 * u64::from(ONE + self.rate);
        let usable = allowed.saturating_sub(used + u64::from(reserve(self.allowed)));
        // If collections of a full heap free next to nothing, each would be followed by another one
        // after half of the room. So the program gets all of it, and then there is no more.
        let is_futile = self.tight > 0 && observed >= ONE - ONE / 32;
        let room = if is_futile { usable } else { usable.div_ceil(2) };
        self.tight = if is_tight { (used + room) as u32 } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: u32) -> Chunks {
        let mut chunks = Chunks::default();
        chunks.extend(u64::from(count) * u64::from(CHUNK_SIZE));
        chunks
    }

    /// Takes chunks until the budget says no.
    fn fill(budget: &mut Budget, chunks: &mut Chunks) -> u32 {
        let mut taken = 0;
        while budget.take_small(chunks) {
            chunks.take().unwrap();
            taken += 1;
        }
        taken
    }

    fn survival(old: u64, new: u64, survived: u64, chunks: u32) -> Survival {
        Survival { old, new, survived, chunks }
    }

    #[test]
    fn a_heap_in_which_nothing_survives_is_used_almost_whole() {
        let mut chunks = pool(30);
        let mut budget = Budget::new(&chunks);
        assert_eq!(fill(&mut budget, &mut chunks), 15, "nothing is known yet");
        assert!(budget.is_spent());
        let mut taken = 0;
        for _ in 0..8 {
            (0..chunks.used()).for_each(|chunk| chunks.release(chunk as usize));
            budget.adapt(&chunks, survival(0, 1 << 20, 0, 0), LEAST);
            taken = fill(&mut budget, &mut chunks);
        }
        assert_eq!(taken, 29);
    }

    #[test]
    fn where_all_survives_there_is_room_to_copy_it() {
        let mut chunks = pool(100);
        let mut budget = Budget::new(&chunks);
        let first = fill(&mut budget, &mut chunks);
        assert_eq!(first, 48, "three are the margin");
        budget.adapt(&chunks, survival(0, 48, 48, 48), 75 * u64::from(CHUNK_SIZE));
        // Without growth no more are allowed, except a few chunks.
        assert_eq!(fill(&mut budget, &mut chunks), 24);
        assert!(!budget.is_spent(), "growth comes first");
        chunks.extend(400 * u64::from(CHUNK_SIZE));
        budget.allow_all(&chunks);
        let more = fill(&mut budget, &mut chunks);
        let next = budget.expected(budget.small + 1);
        assert!(chunks.used() + budget.expected_now() <= 400, "{more}");
        assert!(chunks.used() + 1 + next > 400, "{more}");
        assert!(budget.is_spent());
    }

    #[test]
    fn a_full_heap_in_which_all_survives_is_soon_out_of_memory() {
        let mut chunks = pool(1000);
        let mut budget = Budget::new(&chunks);
        let (mut tight, mut live) = (0, 0);
        loop {
            let taken = fill(&mut budget, &mut chunks);
            if taken == 0 && budget.raise(&chunks, u32::MAX) == 0 {
                break;
            }
            let old = u64::from(live);
            live += taken;
            let room = LEAST.max(u64::from(live) * u64::from(CHUNK_SIZE));
            budget.adapt(&chunks, survival(old, u64::from(taken), u64::from(live), live), room);
            tight += u32::from(budget.tight > 0);
        }
        assert!((2..=3).contains(&tight), "{tight}");
        assert!(live > 950, "{live}");
    }

    #[test]
    fn a_heap_shrinks_after_a_spike() {
        let mut budget = Budget::new(&pool(32));
        let mut chunks = pool(10_000);
        budget.allow_all(&chunks);
        budget.adapt(&chunks, survival(0, 1000, 0, 0), LEAST);
        assert!(budget.allowed < 100, "{}", budget.allowed);
        assert_eq!(budget.wanted(&chunks), 0);
        let taken = fill(&mut budget, &mut chunks);
        assert!((MINIMUM..MINIMUM + 20).contains(&taken) && budget.is_spent());
        assert_eq!(budget.raise(&chunks, 50), 50);
        assert!(fill(&mut budget, &mut chunks) > 20);
        let left = 10_000 - budget.allowed;
        assert_eq!((budget.raise(&chunks, u32::MAX), budget.raise(&chunks, 1)), (left, 0));
    }
}
