//! [`TracedPcs`]: where a signal handler notes the compiled functions on the stack.

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

    pub(crate) fn new() -> TracedPcs {
        TracedPcs {
            pcs: [const { AtomicUsize::new(0) }; TracedPcs::CAPACITY],
            frames: AtomicUsize::new(0),
        }
    }

    /// Notes the frames at `pcs`, innermost first. The addresses noted are of instructions:
    /// of the calls, not of what comes after; `exact` says that the first already is.
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

    /// The addresses that were kept, and how many more frames there were.
    pub(crate) fn kept(&self) -> (impl Iterator<Item = usize>, usize) {
        let frames = self.frames.load(Ordering::Relaxed);
        let kept = &self.pcs[..frames.min(self.pcs.len())];
        (kept.iter().map(|pc| pc.load(Ordering::Relaxed)), frames - kept.len())
    }
}
