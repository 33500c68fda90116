//! The driver of a collection that works in parts: it reads the clock between parts, and ends an increment when
//! the pause has taken its time or the heap is found to be damaged.

use crate::{GarbageCollection, GcProgress, HeapCore, HeapError, PauseKind};
use std::time::Instant;

/// A collection that works in parts. [`InParts`] makes a [`GarbageCollection`] of it.
///
/// # Examples
/// A collection that visits objects in parts:
///
/// ```
/// use gc_heap::trace::increments::{InParts, Parts};
/// use gc_heap::{GarbageCollection, HeapCore, HeapMemory, HeapOptions};
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
/// let mut visits = InParts(Visits { core, left: 1_000_000 });
/// visits.collect()?;
/// assert_eq!(visits.0.left, 0);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
pub trait Parts {
    /// The heap's core, which has the pause target and the damage.
    fn core(&mut self) -> &mut HeapCore;

    /// Whether the collection is over.
    fn is_complete(&self) -> bool;

    /// The kind of its pauses. By default it looks at the whole heap.
    fn kind(&self) -> PauseKind {
        PauseKind::Full
    }

    /// Does a part of the work, with one unit of `budget` for each object, root, card or similar. It stops when it
    /// finds damage.
    fn part(&mut self, budget: u32);

    /// Whether the heap is not consistent now, between two parts. Then a collection that is abandoned goes on, until
    /// this is false. By default it goes on to its end.
    fn must_finish(&self) -> bool {
        true
    }

    /// Ends the collection between two parts, because it is abandoned or the heap is damaged.
    fn give_up(&mut self);

    /// Called before the first part of an increment.
    fn begin_increment(&mut self) {}

    /// Called after the last part of an increment.
    fn end_increment(&mut self) {}
}

/// A [`GarbageCollection`] whose increments are as many parts as fit into the time of a pause.
pub struct InParts<P: Parts>(pub P);

impl<'a, P: Parts + Send + Sync> GarbageCollection<'a> for InParts<P> {
    fn kind(&self) -> PauseKind {
        self.0.kind()
    }

    fn collect_increment(&mut self) -> Result<GcProgress, HeapError> {
        self.0.begin_increment();
        let progress = increment(&mut self.0);
        self.0.end_increment();
        progress
    }

    /// Makes the heap consistent.
    fn abandon(&mut self) {
        let parts = &mut self.0;
        while !parts.is_complete() && parts.must_finish() && parts.core().damage.is_none() {
            parts.part(u32::MAX);
        }
        if !parts.is_complete() {
            parts.give_up();
        }
    }
}

impl<P: Parts> Drop for InParts<P> {
    fn drop(&mut self) {
        let over = self.0.is_complete();
        self.0.core().check_over(over);
    }
}

/// The budget of a part. It takes some tens of microseconds.
pub const PART: u32 = 4096;

/// Does parts of the work until the collection is complete, or the pause has taken its
/// [target](StoreSide::pause_target).
///
/// # Errors
/// The damage that was found. The collection is then over.
fn increment(collection: &mut impl Parts) -> Result<GcProgress, HeapError> {
    let start = Instant::now();
    let target = collection.core().side.pause_target;
    // Nothing is done in a heap that was damaged before.
    while !collection.is_complete() && collection.core().damage.is_none() {
        collection.part(PART);
        if !collection.is_complete() && start.elapsed() >= target {
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
        /// The step after which the heap is consistent.
        consistent_at: u32,
        given_up_at: Option<u32>,
    }

    impl Steps {
        fn new(all: u32, damage: u32) -> Steps {
            let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default()).unwrap());
            core.side.pause_target = Duration::ZERO;
            Steps { core, done: 0, all, damage, consistent_at: 0, given_up_at: None }
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
            assert!(budget == PART || self.consistent_at > self.done);
            self.done += 1;
            if self.done == self.damage {
                self.core.note_damage(8, "a test");
            }
        }

        fn must_finish(&self) -> bool {
            self.done < self.consistent_at
        }

        fn give_up(&mut self) {
            (self.given_up_at, self.done) = (Some(self.done), u32::MAX);
        }
    }

    #[test]
    fn an_increment_has_a_part_at_least_and_ends_with_the_target() {
        let mut steps = InParts(Steps::new(3, 0));
        assert_eq!(steps.collect_increment(), Ok(GcProgress::Continue));
        assert_eq!(steps.0.done, 1);
        steps.0.core.side.pause_target = Duration::from_secs(100);
        assert_eq!(steps.collect_increment(), Ok(GcProgress::Complete));
        assert_eq!(steps.collect_increment(), Ok(GcProgress::Complete));
        assert_eq!(steps.0.done, 3);
    }

    #[test]
    fn damage_ends_a_collection() {
        let mut steps = InParts(Steps::new(3, 2));
        assert_eq!(steps.collect_increment(), Ok(GcProgress::Continue));
        let damage = steps.collect_increment().unwrap_err();
        assert!(matches!(damage, HeapError::Corrupt { at: 8, .. }), "{damage}");
        assert_eq!(steps.0.done, u32::MAX);
        // Another collection does not begin.
        steps.0.done = 0;
        assert_eq!(steps.collect_increment().unwrap_err(), damage);
        assert_eq!(steps.0.done, u32::MAX, "it was given up without a step");
    }

    #[test]
    fn a_collection_that_is_abandoned_goes_on_until_the_heap_is_consistent() {
        for (consistent_at, parts) in [(0, 1), (1, 1), (2, 2), (9, 9)] {
            let mut steps = InParts(Steps { consistent_at, ..Steps::new(10, 0) });
            steps.collect_increment().unwrap();
            steps.abandon();
            assert_eq!(steps.0.given_up_at, Some(parts));
        }
        // Damage ends it, too.
        let mut steps = InParts(Steps { consistent_at: 9, ..Steps::new(10, 4) });
        steps.abandon();
        assert!(steps.0.core.damage.is_some() && steps.0.is_complete());
    }
}
