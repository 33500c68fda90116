//! Touches memory before it is used, on a thread of its own.
//!
//! The system provides a page when it is first written, and zeroes it then. A collection that copies
//! into memory that was never used spends much of its pause on this. So a heap may say which
//! memory it uses next ([`HeapMemory::touch_ahead`](super::HeapMemory::touch_ahead)), and a thread
//! of its engine touches it meanwhile. The JVM's `AlwaysPreTouch` does the
//! same once and for all memory. The thread takes between a sixth and nine tenths of the time that it saves the
//! program's thread.
//!
//! It changes no byte, and nothing waits for it, except that memory is given back only when the
//! thread has left it. There is no thread until a heap asks, and none where threads do not run in
//! parallel or the system cannot touch pages.
#![allow(unsafe_code)]

use super::reservation::Base;
use crate::lend::{GcExecutor, GcWork};
use crate::os;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Bytes that are touched at a time.
const STEP: usize = 256 << 10;
/// The ranges that can wait. Further ones are ignored.
const MOST: usize = 4;

/// The ranges of one mapping that are still to be touched.
#[derive(Debug)]
pub(super) struct Ahead(Arc<Shared>, Arc<dyn GcExecutor>);

#[derive(Debug)]
struct Shared {
    base: Base,
    wanted: Mutex<Wanted>,
    /// Locked while a page is touched.
    touching: Mutex<()>,
}

#[derive(Debug, Default)]
struct Wanted {
    /// In bytes from the base, of whole pages.
    ranges: VecDeque<Range<usize>>,
    /// Whether a thread knows that there are ranges.
    known: bool,
    /// Whether the system cannot touch pages.
    refused: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Touches what is wanted of a mapping, a step at a time, so that other work of the thread waits no longer.
struct Touch(Arc<Shared>, Weak<dyn GcExecutor>);

impl GcWork for Touch {
    fn run(&self) {
        match self.0.touch_step() {
            None => {}
            // The system cannot do it at all.
            Some(false) => lock(&self.0.wanted).refused = true,
            Some(true) => match self.1.upgrade() {
                Some(threads) => threads.execute(Arc::new(Touch(self.0.clone(), self.1.clone()))),
                None => lock(&self.0.wanted).known = false,
            },
        }
    }
}

impl Shared {
    /// Touches the first pages that are wanted. `None` if there are none, and otherwise whether
    /// the system can touch pages.
    fn touch_step(&self) -> Option<bool> {
        let _touching = lock(&self.touching);
        let step = {
            let mut wanted = lock(&self.wanted);
            let Some(range) = wanted.ranges.front_mut() else {
                wanted.known = false;
                return None;
            };
            let step = range.start..range.end.min(range.start + STEP);
            range.start = step.end;
            if step.end == range.end {
                wanted.ranges.pop_front();
            }
            step
        };
        // SAFETY: the pages are part of the mapping (`want`), which is not released before `stop`
        // has returned, and that waits for `touching`.
        Some(unsafe { os::touch(self.base.0.as_ptr().add(step.start), step.len()) })
    }
}

impl Ahead {
    /// Nothing is wanted of the mapping at `base`. `threads` touch what will be.
    pub(super) fn new(base: Base, threads: Arc<dyn GcExecutor>) -> Ahead {
        let (wanted, touching) = Default::default();
        Ahead(Arc::new(Shared { base, wanted, touching }), threads)
    }

    /// Asks for the pages of `range`, in bytes from the base.
    ///
    /// # Safety
    /// The range is page-aligned and accessible. The mapping exists until [`stop`](Ahead::stop) is
    /// called.
    pub(super) unsafe fn want(&self, range: Range<usize>) {
        let mut wanted = lock(&self.0.wanted);
        if !os::CAN_TOUCH || !self.1.is_parallel() || wanted.refused {
            return;
        }
        let count = wanted.ranges.len();
        match wanted.ranges.back_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if count < MOST => wanted.ranges.push_back(range),
            _ => return,
        }
        if !std::mem::replace(&mut wanted.known, true) {
            drop(wanted);
            let touch = Touch(self.0.clone(), Arc::downgrade(&self.1));
            self.1.execute(Arc::new(touch));
        }
    }

    /// Forgets what was wanted. The thread may still touch a few pages.
    pub(super) fn cancel(&self) {
        lock(&self.0.wanted).ranges.clear();
    }

    /// Forgets what was wanted, and waits until the thread does not touch any page. Further pages
    /// are touched only if they are wanted again.
    pub(super) fn stop(&self) {
        self.cancel();
        drop(lock(&self.0.touching));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapMemory, HeapOptions};
    use gc_types::NULL_PAGE_SIZE;

    const FIRST: u64 = NULL_PAGE_SIZE as u64;
    const MIB: u64 = 1 << 20;

    fn memory() -> HeapMemory {
        let (initial, maximum, bounds) = (8 * MIB, 8 * MIB, HeapBounds::Checked);
        let options = HeapOptions { initial, maximum, bounds, ..HeapOptions::default() };
        HeapMemory::new(&options).unwrap()
    }

    /// Threads that never begin, or none.
    #[derive(Debug)]
    struct Never(bool);

    impl GcExecutor for Never {
        fn execute(&self, _work: Arc<dyn GcWork>) {}

        fn is_parallel(&self) -> bool {
            self.0
        }
    }

    /// Touches here what the thread would touch.
    fn touch(ahead: &Ahead) -> Vec<Range<usize>> {
        let all = lock(&ahead.0.wanted).ranges.iter().cloned().collect();
        while ahead.0.touch_step().is_some() {}
        all
    }

    /// Asks without the thread.
    fn want(ahead: &Ahead, range: Range<usize>) {
        lock(&ahead.0.wanted).known = true;
        // SAFETY: the tests ask for what is mapped, and their memory lives longer.
        unsafe { ahead.want(range) }
    }

    #[test]
    fn ranges_are_joined_touched_and_forgotten() {
        let memory = memory();
        let ahead = Ahead::new(memory.base, Arc::new(Never(os::CAN_TOUCH)));
        assert!(touch(&ahead).is_empty());
        let first = FIRST as usize;
        if !os::CAN_TOUCH {
            want(&ahead, first..first + 4096);
            assert!(touch(&ahead).is_empty());
            return;
        }
        want(&ahead, first..first + 4096);
        want(&ahead, first + 4096..first + 3 * STEP);
        want(&ahead, first + 4 * STEP..first + 5 * STEP);
        assert_eq!(lock(&ahead.0.wanted).ranges.len(), 2);
        let touched = touch(&ahead);
        assert_eq!(touched, [first..first + 3 * STEP, first + 4 * STEP..first + 5 * STEP]);
        assert_eq!(memory.read_u32(FIRST), Some(0));
        assert!(touch(&ahead).is_empty());

        want(&ahead, first..first + STEP);
        ahead.stop();
        assert!(touch(&ahead).is_empty());
        (0..2 * MOST).for_each(|n| want(&ahead, first + 2 * n * STEP..first + (2 * n + 1) * STEP));
        assert_eq!(touch(&ahead).len(), MOST);
    }

    #[test]
    fn contents_stay_and_memory_can_be_dropped_at_any_time() {
        for n in 0..20 {
            let mut memory = memory();
            memory.write_u32(FIRST + MIB, 7 + n).unwrap();
            memory.touch_ahead(FIRST, 7 * MIB);
            memory.write_u32(FIRST + 2 * MIB, 8).unwrap();
            memory.touch_ahead(u64::MAX, 1);
            memory.touch_ahead(0, u64::MAX);
            if n % 4 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            assert_eq!(memory.read_u32(FIRST + MIB), Some(7 + n));
            assert_eq!(memory.read_u32(FIRST + 2 * MIB), Some(8));
            if n % 2 == 0 {
                memory.reset();
                assert_eq!(memory.read_u32(FIRST + MIB), Some(0));
            }
        }
    }
}
