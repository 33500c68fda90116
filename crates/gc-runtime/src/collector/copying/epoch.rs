//! What was allocated since the last collection.
//!
//! Bytes are known to the byte from how far `NEXT` came. Objects are known if the
//! host allocated them. Those that emitted code allocated are counted by walking over
//! them: all of them while they are still there, but when a collection is about to
//! forget them only those of every [`SAMPLE`]th segment, and for the rest the sample's
//! mean size is taken (which is no estimate where objects are of one size). Walking
//! over all would bring back to the cache what nobody will ever look at again.

use crate::HeapError;

/// Of so many segments one is walked over.
const SAMPLE: usize = 64;

/// Objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

impl Count {
    fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// What was allocated since the last collection.
#[derive(Debug, Default)]
pub(super) struct Epoch {
    /// Where objects were allocated in a row: indices of begin and end, all closed
    /// but perhaps the last.
    segments: Vec<(u32, Option<u32>)>,
    /// What the host allocated in the segments.
    host: Count,
    large: Count,
}

/// Is called with the index and the size of an object.
pub(super) type Visit<'a> = &'a mut dyn FnMut(u32, u32) -> Result<(), HeapError>;

/// Calls its last argument for each object between two indices.
pub(super) type Walk<'a> = &'a dyn Fn(u32, u32, Visit<'_>) -> Result<(), HeapError>;

impl Epoch {
    /// Objects are allocated from `start` on.
    pub(super) fn open(&mut self, start: u32) {
        self.segments.push((start, None));
    }

    /// They end at `end`.
    pub(super) fn close(&mut self, end: u32) {
        if let Some((_, last)) = self.segments.last_mut() {
            last.get_or_insert(end);
        }
    }

    /// Forgets everything, for the next epoch.
    pub(super) fn clear(&mut self) {
        self.segments.clear();
        (self.host, self.large) = (Count::default(), Count::default());
    }

    /// Counts an object the host allocated in a segment.
    #[inline]
    pub(super) fn count_host(&mut self, size: u32) {
        self.host.add(size.into());
    }

    /// Counts an object outside all segments.
    pub(super) fn count_large(&mut self, size: u32) {
        self.large.add(size.into());
    }

    /// Bytes of all objects in segments, the open one ending at `now`.
    pub(super) fn small_bytes(&self, now: Option<u32>) -> u64 {
        self.bounds(now).map(|(start, end)| u64::from(end - start)).sum()
    }

    /// Bytes of all objects.
    pub(super) fn bytes(&self, now: Option<u32>) -> u64 {
        self.small_bytes(now) + self.large.bytes
    }

    fn bounds(&self, now: Option<u32>) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.segments.iter().map(move |&(start, end)| {
            let end = end.or(now).unwrap_or(start);
            (start, end.max(start))
        })
    }

    /// All there was, walking over every segment with objects of emitted code.
    pub(super) fn count(&self, now: Option<u32>, walk: Walk<'_>) -> Count {
        self.count_with(now, walk, 1)
    }

    /// All there was, walking over some of the segments.
    pub(super) fn estimate(&self, walk: Walk<'_>) -> Count {
        self.count_with(None, walk, SAMPLE)
    }

    fn count_with(&self, now: Option<u32>, walk: Walk<'_>, step: usize) -> Count {
        let bytes = self.small_bytes(now);
        let mut small = Count { bytes, ..self.host };
        let inline = bytes.saturating_sub(self.host.bytes);
        if inline > 0 {
            let mut seen = Count::default();
            // From the last one on, which is still in a cache.
            let mut bounds: Vec<_> = self.bounds(now).collect();
            bounds.reverse();
            for (start, end) in bounds.into_iter().step_by(step) {
                let walked = walk(start, end, &mut |_, size| {
                    seen.add(size.into());
                    Ok(())
                });
                if let Err(damage) = walked {
                    log::warn!("allocations counted only up to the damage: {damage}");
                }
            }
            small.objects = if seen.bytes == bytes {
                seen.objects
            } else {
                let objects = u128::from(inline) * u128::from(seen.objects);
                let estimate = objects.checked_div(u128::from(seen.bytes)).unwrap_or(0);
                small.objects + u64::try_from(estimate).unwrap_or(u64::MAX)
            };
        }
        Count { objects: small.objects + self.large.objects, bytes: bytes + self.large.bytes }
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
}
