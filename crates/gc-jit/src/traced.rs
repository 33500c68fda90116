//! [`TracedPcs`]: the record in which a signal handler notes the compiled functions on the stack.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Program counters that were recorded while the frames were still on the stack. It is allocated in
/// advance, because a signal handler fills it and must not allocate.
#[derive(Debug)]
pub(crate) struct TracedPcs {
    pcs: [AtomicUsize; TracedPcs::CAPACITY],
    /// The number of frames. The innermost of them are in `pcs`.
    frames: AtomicUsize,
}

impl TracedPcs {
    /// The number of frames that are recorded. Further frames are only counted.
    const CAPACITY: usize = if cfg!(feature = "backtrace") { 64 } else { 0 };

    #[inline(always)]
    pub(crate) fn new() -> TracedPcs {
        TracedPcs {
            pcs: [const { AtomicUsize::new(0) }; TracedPcs::CAPACITY],
            frames: AtomicUsize::new(0),
        }
    }

    /// Records the frames at `pcs`, innermost first. It records the addresses of instructions, so
    /// it converts return addresses to addresses in the calls. If `exact` is set, the first of
    /// `pcs` already is the address of an instruction.
    pub(crate) fn note(&self, pcs: impl Iterator<Item = usize>, exact: bool) {
        if !cfg!(feature = "backtrace") {
            return;
        }
        let (mut count, mut back) = (0, usize::from(!exact));
        for pc in pcs {
            if let Some(place) = self.pcs.get(count) {
                place.store(pc - back, Ordering::Relaxed);
            }
            count += 1;
            back = 1;
        }
        self.frames.store(count, Ordering::Relaxed);
    }

    /// The recorded addresses, and the number of further frames.
    pub(crate) fn kept(&self) -> (impl Iterator<Item = usize>, usize) {
        let frames = self.frames.load(Ordering::Relaxed);
        let kept = &self.pcs[..frames.min(self.pcs.len())];
        (kept.iter().map(|pc| pc.load(Ordering::Relaxed)), frames - kept.len())
    }

    /// Whether the outer frames of these are those of `outer`, as far as both are recorded. Then these
    /// frames are the ones of `outer`, and of further functions that were called by them.
    pub(crate) fn contains(&self, outer: &TracedPcs) -> bool {
        let [count, outer_count] = [self, outer].map(|one| one.frames.load(Ordering::Relaxed));
        let Some(further) = count.checked_sub(outer_count) else { return false };
        let (kept, _) = self.kept();
        let (outer, _) = outer.kept();
        kept.skip(further).zip(outer).all(|(a, b)| a == b)
    }
}

#[cfg(all(test, feature = "backtrace"))]
mod tests {
    use super::*;

    fn traced(pcs: impl IntoIterator<Item = usize>) -> TracedPcs {
        let traced = TracedPcs::new();
        traced.note(pcs.into_iter(), false);
        traced
    }

    #[test]
    fn frames_contain_their_outer_ones() {
        let all = traced([50, 40, 30]);
        assert!(all.contains(&all));
        assert!(all.contains(&traced([40, 30])) && all.contains(&traced([])));
        assert!(!all.contains(&traced([40, 31])) && !all.contains(&traced([60, 50, 40, 30])));
        // More frames than are recorded.
        let deep = traced((1..201).rev());
        assert!(deep.contains(&traced((1..151).rev())) && deep.contains(&traced((1..4).rev())));
        assert!(!deep.contains(&traced((2..152).rev())));
    }
}
