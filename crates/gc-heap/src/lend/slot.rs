//! [`Slot`]: a value is lent to another thread, and recalled.
//!
//! The owner of the value *lends* it: it is put into the slot, and a thread is asked to work on it. The thread takes
//! it, works, and puts it back, when there is nothing more to do or when it is *recalled*. It looks for that between
//! two pieces of its work, so a recall waits for one piece. If no thread has begun, the owner has the value at
//! once. A thread that comes late finds nothing.
//!
//! No piece of the value is shared: it is in the slot, with the thread, or with its owner. So whoever works on it needs no
//! atomic accesses. If the work panics, the value is lost, and its owner is told.

use super::sync::{
    Acquire, AtomicBool, AtomicU8, Condvar, Mutex, MutexGuard, PoisonError, Relaxed, Release,
    SPINS, spin_loop,
};

/// Where the value is.
#[derive(Debug)]
enum State<T> {
    /// With its owner.
    Home,
    /// In the slot, for a thread.
    Lent(T),
    /// With a thread.
    Working,
    /// In the slot, for its owner.
    Back(T),
    /// Nowhere: the work panicked.
    Lost,
}

/// [`State::Working`] and [`State::Lent`], for a look without the lock.
const AWAY: u8 = 0;
const BACK: u8 = 1;

/// The value was lost, because the work on it panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// A place through which a value goes to another thread and comes back.
///
/// # Examples
/// ```
/// use gc_heap::lend::Slot;
/// use std::sync::Arc;
///
/// let slot = Arc::new(Slot::default());
/// slot.lend(vec![1, 2]);
/// let other = Arc::clone(&slot);
/// let thread = std::thread::spawn(move || other.work(|numbers, _recall| numbers.push(3)));
/// thread.join().unwrap();
/// assert!(slot.is_back());
/// assert_eq!(slot.take(), Some(Ok(vec![1, 2, 3])));
/// assert_eq!(slot.take(), None);
/// ```
#[derive(Debug)]
pub struct Slot<T> {
    state: Mutex<State<T>>,
    came_back: Condvar,
    recalled: AtomicBool,
    /// [`AWAY`] or [`BACK`].
    place: AtomicU8,
}

impl<T> Default for Slot<T> {
    fn default() -> Slot<T> {
        Slot {
            state: Mutex::new(State::Home),
            came_back: Condvar::new(),
            recalled: AtomicBool::new(false),
            place: AtomicU8::new(BACK),
        }
    }
}

/// Says whether a value was recalled.
#[derive(Clone, Copy, Debug)]
pub struct Recall<'s>(&'s AtomicBool);

impl Recall<'_> {
    /// Whether the value should go back now.
    #[inline(always)]
    pub fn is_asked(self) -> bool {
        self.0.load(Relaxed)
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a value into the slot, for a thread that [works](Slot::work).
    ///
    /// # Panics
    /// If one was lent and not [taken](Slot::take) back.
    pub fn lend(&self, value: T) {
        let mut state = self.lock();
        assert!(matches!(*state, State::Home), "a value is lent, and another one is lent already");
        self.recalled.store(false, Relaxed);
        self.place.store(AWAY, Relaxed);
        *state = State::Lent(value);
    }

    /// Takes the value, calls `work` with it, and puts it back. Does nothing if no value is lent, or a thread has it.
    pub fn work(&self, work: impl FnOnce(&mut T, Recall<'_>)) {
        let mut state = self.lock();
        let value = match std::mem::replace(&mut *state, State::Working) {
            State::Lent(value) => value,
            other => {
                *state = other;
                return;
            }
        };
        drop(state);
        let mut worker = Worker { slot: self, value: Some(value), done: false };
        if let Some(value) = &mut worker.value {
            work(value, Recall(&self.recalled));
        }
        worker.done = true;
    }

    /// Whether the value is in the slot for its owner, or with it, or lost. Then [`take`](Slot::take) does not wait.
    #[inline]
    pub fn is_back(&self) -> bool {
        self.place.load(Acquire) == BACK
    }

    /// Recalls the value, and waits until no thread has it. It stays in the slot, and no thread takes it any more.
    pub fn stop(&self) {
        self.recalled.store(true, Relaxed);
        let mut state = self.lock();
        let mut spins = SPINS;
        loop {
            match std::mem::replace(&mut *state, State::Home) {
                State::Working => *state = State::Working,
                State::Lent(value) => {
                    *state = State::Back(value);
                    self.place.store(BACK, Release);
                    return;
                }
                other => {
                    *state = other;
                    return;
                }
            }
            if spins > 0 {
                // To sleep and to wake up takes longer than a piece of work.
                drop(state);
                while spins > 0 && !self.is_back() {
                    spin_loop();
                    spins -= 1;
                }
                state = self.lock();
                continue;
            }
            state = self.came_back.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Recalls the value and takes it. `None` if none was lent.
    pub fn take(&self) -> Option<Result<T, Lost>> {
        self.stop();
        match std::mem::replace(&mut *self.lock(), State::Home) {
            State::Back(value) => Some(Ok(value)),
            State::Lost => Some(Err(Lost)),
            _ => None,
        }
    }
}

/// A thread with a value. Its drop gives the value back, also if the work panics.
struct Worker<'s, T> {
    slot: &'s Slot<T>,
    value: Option<T>,
    done: bool,
}

impl<T> Drop for Worker<'_, T> {
    fn drop(&mut self) {
        let value = self.value.take().filter(|_| self.done);
        let mut state = self.slot.lock();
        *state = value.map_or(State::Lost, State::Back);
        self.slot.place.store(BACK, Release);
        drop(state);
        self.slot.came_back.notify_all();
    }
}
