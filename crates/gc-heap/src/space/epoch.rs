//! [`Epoch`]: the objects that were allocated since the last collection, and their number.
//!
//! The number of bytes is exact, because it follows from `NEXT`. Objects that the host allocated
//! are counted directly. Objects that emitted code allocated are counted by walking over them. Each
//! object is visited only once, even if the count is read often. Before a collection the walk
//! visits only every [`SAMPLE`]th segment, and the count is computed from the sample's mean size.
//! It is exact if all objects have the same size. A walk over all objects would bring memory into
//! the cache that is not read again. A small heap is one segment, so there not every collection walks.

use super::Count;
use crate::HeapError;
use std::sync::{Mutex, PoisonError};

/// One of this many segments is walked over.
const SAMPLE: usize = 64;
/// The number of objects in this many times the bytes of a sample is estimated from one walk over it.
const FOR_EACH_WALK: u64 = 32;

/// The progress of the walk over all segments.
#[derive(Debug, Default)]
struct Walked {
    /// The segment, by its number.
    segment: usize,
    /// The last object seen in it. The next walk begins there, because an array's length may not
    /// have been written yet.
    last: Option<u32>,
    /// The objects before that one.
    before: Count,
}

/// The objects that were allocated since the last collection.
///
/// # Examples
/// ```
/// use gc_heap::space::{Count, Epoch};
///
/// let mut epoch = Epoch::default();
/// epoch.open(0x10000);
/// epoch.count_host(16);
/// // Emitted code has allocated two more objects of 16 bytes. They are found by a walk.
/// let counted = epoch.count(Some(0x10030), &|start, end, visit| {
///     (start..end).step_by(16).try_for_each(|at| visit(at, 16))
/// });
/// assert_eq!(counted, Count { objects: 3, bytes: 48 });
/// ```
#[derive(Debug, Default)]
pub struct Epoch {
    /// The segments: ranges of adjacent objects, with the indices of begin and end. Only the last
    /// one may be open.
    segments: Vec<(u32, Option<u32>)>,
    /// The objects that the host allocated in the segments.
    host: Count,
    large: Count,
    walked: Mutex<Walked>,
    /// The sample that was walked over last, in this epoch or an earlier one.
    measured: Count,
    /// Bytes of objects whose number was estimated from it.
    estimated: u64,
}

/// A function that is called with the index and the size of an object.
pub type Visit<'a> = &'a mut dyn FnMut(u32, u32) -> Result<(), HeapError>;

/// A function that calls its last argument for each object between two indices.
pub type Walk<'a> = &'a dyn Fn(u32, u32, Visit<'_>) -> Result<(), HeapError>;

impl Epoch {
    /// Opens a segment: objects are allocated from `start` on.
    pub fn open(&mut self, start: u32) {
        self.segments.push((start, None));
    }

    /// Closes the open segment at `at` and opens the next one there, if it has at least `least` bytes.
    pub fn split(&mut self, at: u32, least: u32) {
        if let Some((start, end @ None)) = self.segments.last_mut()
            && at.saturating_sub(*start) >= least
        {
            *end = Some(at);
            self.open(at);
        }
    }

    /// Closes the segment at `end`.
    pub fn close(&mut self, end: u32) {
        if let Some((_, last)) = self.segments.last_mut() {
            last.get_or_insert(end);
        }
    }

    /// Forgets everything but what was learnt about the size of objects, for the next epoch.
    pub fn clear(&mut self) {
        self.segments.clear();
        *self.walked.get_mut().unwrap_or_else(PoisonError::into_inner) = Walked::default();
        (self.host, self.large) = (Count::default(), Count::default());
    }

    /// Counts an object that the host allocated in a segment.
    #[inline]
    pub fn count_host(&mut self, size: u32) {
        self.host.add(size);
    }

    /// Counts an object outside all segments.
    pub fn count_large(&mut self, size: u32) {
        self.large.add(size);
    }

    /// Bytes of all objects in segments. The open segment ends at `now`.
    pub fn small_bytes(&self, now: Option<u32>) -> u64 {
        self.bounds(now).map(|(start, end)| u64::from(end - start)).sum()
    }

    /// Bytes of all objects.
    pub fn bytes(&self, now: Option<u32>) -> u64 {
        self.small_bytes(now) + self.large.bytes
    }

    fn bounds(&self, now: Option<u32>) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.segments.iter().map(move |&(start, end)| {
            let end = end.or(now).unwrap_or(start);
            (start, end.max(start))
        })
    }

    /// Counts all objects by walking over every segment with objects of emitted code.
    pub fn count(&self, now: Option<u32>, walk: Walk<'_>) -> Count {
        self.count_with(now, true, |inline| {
            if inline == 0 { Count::default() } else { self.walk_on(now, walk) }
        })
    }

    /// Estimates the count of all objects by walking over some of the segments, now or in an earlier
    /// epoch.
    pub fn estimate(&mut self, walk: Walk<'_>) -> Count {
        let inline = self.small_bytes(None).saturating_sub(self.host.bytes);
        let mut is_new = false;
        if inline > 0 {
            // It begins with the last one, which is still in a cache.
            let mut bounds: Vec<_> = self.bounds(None).collect();
            bounds.reverse();
            let sample = bounds.into_iter().step_by(SAMPLE);
            let bytes: u64 = sample.clone().map(|(start, end)| u64::from(end - start)).sum();
            if self.measured.objects == 0 || self.estimated / FOR_EACH_WALK >= bytes {
                let mut seen = Count::default();
                for (start, end) in sample {
                    note_damage(walk(start, end, &mut |_, size| {
                        seen.add(size);
                        Ok(())
                    }));
                }
                (self.measured, self.estimated) = (seen, 0);
                is_new = true;
            }
            self.estimated += inline;
        }
        self.count_with(None, is_new, |_| self.measured)
    }

    /// Counts the objects in all segments. Walks only over objects that no earlier walk visited.
    fn walk_on(&self, now: Option<u32>, walk: Walk<'_>) -> Count {
        let mut walked = self.walked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = walked.before;
        for (segment, (start, end)) in self.bounds(now).enumerate().skip(walked.segment) {
            let begin = match walked.last {
                Some(last) if segment == walked.segment => last,
                _ => start,
            };
            (walked.segment, walked.last, walked.before) = (segment, None, seen);
            let result = walk(begin, end, &mut |index, size| {
                (walked.last, walked.before) = (Some(index), seen);
                seen.add(size);
                Ok(())
            });
            if result.is_err() {
                note_damage(result);
                break;
            }
        }
        seen
    }

    /// The count of all objects, from a walk that saw some or all of them if it `is_new`, or else from
    /// one that saw objects of an earlier epoch.
    fn count_with(&self, now: Option<u32>, is_new: bool, seen: impl FnOnce(u64) -> Count) -> Count {
        let bytes = self.small_bytes(now);
        let mut objects = self.host.objects;
        let inline = bytes.saturating_sub(self.host.bytes);
        let seen = seen(inline);
        if is_new && seen.bytes == bytes && inline > 0 {
            objects = seen.objects;
        } else {
            let estimate = u128::from(inline) * u128::from(seen.objects);
            let estimate = estimate.checked_div(u128::from(seen.bytes)).unwrap_or(0);
            objects += u64::try_from(estimate).unwrap_or(u64::MAX);
        }
        Count { objects: objects + self.large.objects, bytes: bytes + self.large.bytes }
    }
}

fn note_damage(walked: Result<(), HeapError>) {
    if let Err(damage) = walked {
        log::warn!("allocations are counted only up to the damage: {damage}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks over objects of `size` bytes.
    fn walk_sized(size: u32) -> impl Fn(u32, u32, Visit<'_>) -> Result<(), HeapError> {
        move |start, end, visit| {
            (start..end).step_by(size as usize).try_for_each(|at| visit(at, size))
        }
    }

    #[test]
    fn what_the_host_allocates_is_counted_without_a_walk() {
        let mut epoch = Epoch::default();
        epoch.open(64);
        (0..4).for_each(|_| epoch.count_host(16));
        epoch.count_large(1000);
        let never = |_: u32, _: u32, _: Visit<'_>| panic!();
        assert_eq!(epoch.count(Some(128), &never), Count { objects: 5, bytes: 1064 });
        epoch.close(128);
        assert_eq!(epoch.estimate(&never), Count { objects: 5, bytes: 1064 });
    }

    #[test]
    fn objects_of_one_size_are_counted_exactly_by_a_sample() {
        let mut epoch = Epoch::default();
        for segment in 0..1000 {
            epoch.open(segment * 4096);
            epoch.count_host(24);
            epoch.close(segment * 4096 + 24 * (segment % 100 + 1));
        }
        let objects = 10 * (1..=100).sum::<u64>();
        let all = Count { objects, bytes: 24 * objects };
        assert_eq!(epoch.estimate(&walk_sized(24)), all);
        assert_eq!(epoch.count(None, &walk_sized(24)), all);
    }

    #[test]
    fn a_segment_is_split_when_it_is_long_enough() {
        let mut epoch = Epoch::default();
        epoch.split(64, 0);
        epoch.open(64);
        for at in [64, 100, 163, 164, 200, 500] {
            epoch.split(at, 100);
        }
        assert_eq!(epoch.segments, [(64, Some(164)), (164, Some(500)), (500, None)]);
        assert_eq!(epoch.bytes(Some(600)), 600 - 64);
    }

    #[test]
    fn a_small_heap_is_not_walked_over_in_each_epoch() {
        let mut epoch = Epoch::default();
        let steps = std::cell::Cell::new(0);
        let walk = |start, end, visit: Visit<'_>| {
            steps.set(steps.get() + 1);
            walk_sized(32)(start, end, visit)
        };
        for _ in 0..2 * FOR_EACH_WALK + 1 {
            epoch.open(64);
            epoch.close(64 + 3200);
            assert_eq!(epoch.estimate(&walk), Count { objects: 100, bytes: 3200 });
            epoch.clear();
        }
        assert_eq!(steps.get(), 3);
        // As many bytes as in the sample, half of them of the host's objects.
        epoch.open(64);
        (0..100).for_each(|_| epoch.count_host(16));
        epoch.close(64 + 3200);
        assert_eq!(epoch.estimate(&walk), Count { objects: 150, bytes: 3200 });
    }

    #[test]
    fn no_object_is_walked_over_twice_but_the_last() {
        let mut epoch = Epoch::default();
        let steps = std::cell::Cell::new(0);
        let walk = |start, end, visit: Visit<'_>| {
            walk_sized(16)(start, end, &mut |index, size| {
                steps.set(steps.get() + 1);
                visit(index, size)
            })
        };
        for segment in 0..10u32 {
            let start = segment * 4096;
            epoch.open(start);
            for n in 1..=100u32 {
                let objects = u64::from(segment * 100 + n);
                let counted = epoch.count(Some(start + 16 * n), &walk);
                assert_eq!(counted, Count { objects, bytes: 16 * objects });
            }
            epoch.close(start + 1600);
        }
        assert!(steps.get() <= 2 * 1000, "{}", steps.get());
        epoch.clear();
        assert_eq!(epoch.count(Some(0), &walk), Count::default());
    }
}
