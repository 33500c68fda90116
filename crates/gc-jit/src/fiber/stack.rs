//! [`FiberStack`]: the memory of a fiber's native stack, with a guard page below it, and
//! [`FiberStacks`], which keeps stacks for the next fibers.
#![allow(unsafe_code)]

use crate::stack_bounds;
use anyhow::{Context as _, Result, ensure};
use corosensei::stack::{STACK_ALIGNMENT, Stack, StackPointer};
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};
use rustix::mm::{madvise, mmap_anonymous, mprotect, munmap};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The size of a page of memory in bytes.
fn page_size() -> usize {
    region::page::size()
}

/// The memory of a native stack on which a [`Fiber`](crate::Fiber) runs. Below it is a guard page:
/// an overflow of the host's frames ends the process and does not overwrite other memory. (Compiled
/// code checks its limit itself and never gets there.)
#[derive(Debug)]
pub struct FiberStack {
    /// The guard page.
    mapping: NonNull<u8>,
    /// With the guard page, in bytes.
    size: usize,
}

// SAFETY: it owns its memory.
unsafe impl Send for FiberStack {}
// SAFETY: nothing can be done with a shared reference but to read the addresses.
unsafe impl Sync for FiberStack {}

impl FiberStack {
    /// The smallest size: 128 KiB. A quarter of it is left to the host's frames. That is enough for a
    /// panic whose message has a backtrace.
    pub const MIN_SIZE: usize = 128 << 10;

    /// Maps a stack of `size` bytes, rounded up to pages. The system gives it memory when it is used.
    ///
    /// # Errors
    /// If it is smaller than [`MIN_SIZE`](FiberStack::MIN_SIZE) or the system refuses.
    ///
    /// # Examples
    /// ```
    /// use gc_jit::FiberStack;
    ///
    /// let stack = FiberStack::new(1 << 20)?;
    /// assert_eq!(stack.size(), 1 << 20);
    /// # anyhow::Ok(())
    /// ```
    pub fn new(size: usize) -> Result<FiberStack> {
        let least = FiberStack::MIN_SIZE;
        ensure!(size >= least, "a stack of {size} bytes: it must have at least {least}");
        let with_guard = size.checked_next_multiple_of(page_size());
        let with_guard = with_guard.and_then(|size| size.checked_add(page_size()));
        let size = with_guard.context("a stack of more bytes than there are addresses")?;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::STACK;
        // SAFETY: a new mapping that nobody knows.
        let mapping = unsafe { mmap_anonymous(null_mut(), size, ProtFlags::empty(), flags) };
        let mapping = mapping.with_context(|| format!("reserving a stack of {size} bytes"))?;
        let mapping = NonNull::new(mapping.cast::<u8>()).context("a mapping has an address")?;
        let stack = FiberStack { mapping, size };
        let usable = MprotectFlags::READ | MprotectFlags::WRITE;
        // SAFETY: this is the mapping's part above the guard page. Nobody uses it yet.
        unsafe { mprotect(stack.bottom().cast(), stack.size(), usable) }
            .context("making a stack usable")?;
        Ok(stack)
    }

    /// Its size in bytes, without the guard page.
    pub fn size(&self) -> usize {
        self.size - page_size()
    }

    /// The lowest address that is not in the guard page.
    fn bottom(&self) -> *mut u8 {
        self.mapping.as_ptr().wrapping_add(page_size())
    }

    /// The lowest address that compiled code's stack pointer may have.
    pub(super) fn lowest_for_compiled_code(&self) -> usize {
        stack_bounds::lowest_on(self.bottom().addr(), self.size())
    }

    /// Makes all bytes zero. The uppermost `keep` bytes, rounded up to pages, keep their memory. The
    /// others are given back to the system.
    fn clear(&mut self, keep: usize) {
        let keep = keep.min(self.size()).next_multiple_of(page_size());
        let given_back = self.size() - keep;
        // SAFETY: no fiber uses the stack, because this is borrowed exclusively.
        unsafe {
            self.bottom().add(given_back).write_bytes(0, keep);
            if let Err(error) = madvise(self.bottom().cast(), given_back, Advice::LinuxDontNeed) {
                log::warn!("the memory of a stack was not given back: {error}");
                self.bottom().write_bytes(0, given_back);
            }
        }
    }
}

impl Drop for FiberStack {
    fn drop(&mut self) {
        // SAFETY: it was mapped by `new`, and no fiber uses it any more.
        if let Err(error) = unsafe { munmap(self.mapping.as_ptr().cast(), self.size) } {
            log::error!("a stack was not unmapped: {error}");
        }
    }
}

// SAFETY: it is memory of this size with a guard page at its lower end, which belongs to this value.
// Pages are aligned to more than a stack is.
unsafe impl Stack for FiberStack {
    fn base(&self) -> StackPointer {
        let top = self.mapping.as_ptr().expose_provenance() + self.size;
        debug_assert!(top.is_multiple_of(STACK_ALIGNMENT));
        StackPointer::new(top).expect("a mapping does not end at address zero")
    }

    fn limit(&self) -> StackPointer {
        self.mapping.addr()
    }
}

/// Stacks of one size for fibers. A stack that a fiber has left is kept for the next one.
///
/// # Examples
/// ```
/// use gc_jit::FiberStacks;
///
/// // At most one is kept. Stacks are not cleared between fibers.
/// let stacks = FiberStacks::new(1 << 20, None).keeping(1);
/// let (first, second) = (stacks.take()?, stacks.take()?);
/// assert_eq!(stacks.in_use(), 2);
/// stacks.give_back(first);
/// stacks.give_back(second);
/// assert_eq!((stacks.in_use(), stacks.kept()), (0, 1));
/// # anyhow::Ok(())
/// ```
#[derive(Debug)]
pub struct FiberStacks {
    size: usize,
    cleared: Option<usize>,
    /// The most stacks that are kept.
    most: usize,
    in_use: AtomicUsize,
    kept: Mutex<Vec<FiberStack>>,
}

impl FiberStacks {
    /// The number of stacks that are kept otherwise than by [`keeping`](FiberStacks::keeping).
    pub const KEPT: usize = 64;

    /// Makes no stack yet. Each will have `size` bytes. If `cleared` is a number, stacks are made
    /// zero between fibers, and keep that many bytes of their memory.
    pub fn new(size: usize, cleared: Option<usize>) -> FiberStacks {
        let (most, in_use) = (FiberStacks::KEPT, AtomicUsize::new(0));
        FiberStacks { size, cleared, most, in_use, kept: Mutex::default() }
    }

    /// The same, of which at most `most` are kept for the next fibers.
    #[must_use]
    pub fn keeping(self, most: usize) -> FiberStacks {
        FiberStacks { most, ..self }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<FiberStack>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stack for a fiber. [`give_back`](FiberStacks::give_back) takes it.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn take(&self) -> Result<FiberStack> {
        let kept = self.lock().pop();
        let stack = kept.map_or_else(|| FiberStack::new(self.size), Ok)?;
        self.in_use.fetch_add(1, Ordering::Relaxed);
        Ok(stack)
    }

    /// Takes back a stack from [`take`](FiberStacks::take).
    pub fn give_back(&self, mut stack: FiberStack) {
        self.in_use.fetch_sub(1, Ordering::Relaxed);
        if let Some(keep) = self.cleared {
            stack.clear(keep);
        }
        let mut kept = self.lock();
        if kept.len() < self.most {
            kept.push(stack);
        } else {
            // It is unmapped without the lock.
            drop(kept);
        }
    }

    /// The number of stacks that fibers use.
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }

    /// The number of stacks that wait for fibers.
    pub fn kept(&self) -> usize {
        self.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stacks_are_cleared_if_asked() {
        for (cleared, expected) in [(None, 1), (Some(0), 0), (Some(8 << 10), 0), (Some(1 << 30), 0)]
        {
            let stacks = FiberStacks::new(1 << 20, cleared).keeping(1);
            let stack = stacks.take().unwrap();
            let (bottom, size) = (stack.bottom(), stack.size());
            assert_eq!(size, 1 << 20);
            let places =
                [0, size / 2, size - (4 << 10), size - 1].map(|place| bottom.wrapping_add(place));
            // SAFETY: the bytes are those of the stack, which no fiber uses.
            places.into_iter().for_each(|place| unsafe { place.write(1) });
            stacks.give_back(stack);
            let stack = stacks.take().unwrap();
            assert_eq!(stack.bottom(), bottom);
            // SAFETY: as above.
            assert_eq!(places.map(|place| unsafe { place.read() }), [expected; 4]);
        }
    }
}
