//! The driver of a collection that works in parts: it reads the clock between parts, and ends an increment when
//! the pause has taken its time or the heap is found to be damaged.

use crate::{GcProgress, HeapCore, HeapError};
use std::time::Instant;

/// A collection as [`increment`] drives it.
///
/// # Examples
/// A collection that visits objects in parts:
///
/// ```
/// use gc_runtime::trace::increments::{Parts, increment};
/// use gc_runtime::{GcProgress, HeapCore, HeapMemory, HeapOptions};
///
/// struct Visits {
///     core: HeapCore,
///     left: u32,
/// }
///
/// impl Parts for Visits {
///     fn core(&mut self) -> &mut HeapCore {
///         &mut self.core
///     }
///
///     fn is_complete(&self) -> bool {
///         self.left == 0
///     }
///
///     fn part(&mut self, budget: u32) {
///         self.left = self.left.saturating_sub(budget);
///     }
///
///     fn give_up(&mut self) {
///         self.left = 0;
///     }
/// }
///
/// let core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// let mut visits = Visits { core, left: 1_000_000 };
/// while increment(&mut visits)? == GcProgress::Continue {}
/// assert_eq!(visits.left, 0);
/// # Ok::<(), gc_runtime::HeapError>(())
/// ```
pub trait Parts {
    /// The heap's core, which has the pause target and the damage.
    fn core(&mut self) -> &mut HeapCore;

    /// Whether the collection is over.
    fn is_complete(&self) -> bool;

    /// Does a part of the work, with one unit of `budget` for each object, root, card or similar. It stops when it
    /// finds damage.
    fn part(&mut self, budget: u32);

    /// Ends the collection, because the heap is damaged.
    fn give_up(&mut self);
}

/// The budget of a part. It takes some tens of microseconds.
pub const PART: u32 = 4096;

/// Does parts of the work until the collection is complete, or the pause has taken its
/// [target](HeapCore::pause_target).
///
/// # Errors
/// The damage that was found. The collection is then over.
pub fn increment(collection: &mut impl Parts) -> Result<GcProgress, HeapError> {
    let start = Instant::now();
    let target = collection.core().pause_target;
    // Nothing is done in a heap that was damaged before.
    while !collection.is_complete() && collection.core().damage.is_none() {
        collection.part(PART);
        if start.elapsed() >= target {
            break;
        }
    }
    if let Err(damage) = collection.core().check_damage() {
        if !collection.is_complete() {
            collection.give_up();
        }
        return Err(damage);
    }
    Ok(if collection.is_complete() { GcProgress::Complete } else { GcProgress::Continue })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapMemory, HeapOptions};
    use std::time::Duration;

    struct Steps {
        core: HeapCore,
        done: u32,
        all: u32,
        /// The step that finds damage.
        damage: u32,
    }

    impl Steps {
        fn new(all: u32, damage: u32) -> Steps {
            let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default()).unwrap());
            core.pause_target = Duration::ZERO;
            Steps { core, done: 0, all, damage }
        }
    }

    impl Parts for Steps {
        fn core(&mut self) -> &mut HeapCore {
            &mut self.core
        }

        fn is_complete(&self) -> bool {
            self.done >= self.all
        }

        fn part(&mut self, budget: u32) {
            assert_eq!(budget, PART);
            self.done += 1;
            if self.done == self.damage {
                self.core.note_damage(8, "a test");
            }
        }

        fn give_up(&mut self) {
            self.done = u32::MAX;
        }
    }

    #[test]
    fn an_increment_has_a_part_at_least_and_ends_with_the_target() {
        let mut steps = Steps::new(3, 0);
        assert_eq!(increment(&mut steps), Ok(GcProgress::Continue));
        assert_eq!(steps.done, 1);
        steps.core.pause_target = Duration::from_secs(100);
        assert_eq!(increment(&mut steps), Ok(GcProgress::Complete));
        assert_eq!(increment(&mut steps), Ok(GcProgress::Complete));
        assert_eq!(steps.done, 3);
    }

    #[test]
    fn damage_ends_a_collection() {
        let mut steps = Steps::new(3, 2);
        assert_eq!(increment(&mut steps), Ok(GcProgress::Continue));
        let damage = increment(&mut steps).unwrap_err();
        assert!(matches!(damage, HeapError::Corrupt { at: 8, .. }), "{damage}");
        assert!(steps.is_complete());
        // Another collection does not begin.
        let mut steps = Steps { done: 0, ..steps };
        assert_eq!(increment(&mut steps).unwrap_err(), damage);
        assert_eq!(steps.done, u32::MAX, "it was given up without a step");
    }
}
