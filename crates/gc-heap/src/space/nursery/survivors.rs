//! [`Survivors`]: the young objects that have survived one collection of a nursery.
//!
//! They are in one of two halves at the end of the nursery's addresses. A collection that *ages* moves what survives its
//! first collection into the other half, and what survives its second one to the old generation. Then the halves change
//! roles (Ungar's survivor spaces; the JVM's have the same name). So an object that dies soon after the first
//! collection that it meets is not promoted.
//!
//! Where nearly all survivors survive again, they are only copied twice. Then ageing is off for a while.

use crate::space::Count;
use crate::{HeapCore, HeapError};
use gc_types::collector::nursery::NURSERY_ALIGN;
use std::ops::Range;

/// Each half has at most this part of the nursery's addresses.
const PART: u32 = 4;
/// Of the bytes of survivors, the share that may survive again, in percent. If it is more, ageing is off.
const MOST_AGAIN: u64 = 60;
/// Number of collections for which ageing is off then.
const OFF: u32 = 16;
/// A collection has room to age at least this part of the bytes of new objects, and at most that one. In between, the
/// room is twice what aged in the last collection.
const LEAST_AGED: u32 = 8;
const MOST_AGED: u32 = 2;
/// Of each half, so many bytes may have memory however few survivors there are.
const KEPT: u32 = 128 << 10;
/// From fewer bytes of survivors nothing is learnt.
const LEAST_TELLING: u64 = 32 << 10;

/// Two halves for survivors.
#[derive(Debug)]
pub struct Survivors {
    /// The start of the first half, and the bytes of each.
    start: u32,
    size: u32,
    /// The half with survivors, and the end of the objects there.
    from: u32,
    end: u32,
    count: Count,
    /// During a collection: the place of the next object in the other half, and the end of the part that it may use.
    pub(crate) to: Room,
    /// Bytes of both halves that count as used by the heap: those that have memory, and those that the next collection may
    /// write.
    held: u64,
    /// The end of what has memory in each half, by the index of the half. A multiple of [`NURSERY_ALIGN`].
    touched: [u32; 2],
    /// Number of collections until objects age again.
    off: u32,
}

/// A part of a half in which objects are placed one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Room {
    /// The start of the half.
    pub(crate) start: u32,
    pub(crate) next: u32,
    pub(crate) limit: u32,
    /// Number of objects.
    pub(crate) objects: u32,
}

impl Room {
    /// The place of the next object, if it has `size` bytes and there is room.
    #[inline(always)]
    pub(crate) fn peek(&self, size: u32) -> Option<u32> {
        (size <= self.limit - self.next).then_some(self.next)
    }

    /// Whether `index` is in the part that has objects.
    #[inline(always)]
    pub(crate) fn contains(&self, index: u32) -> bool {
        index.wrapping_sub(self.start) < self.next - self.start
    }
}

impl Survivors {
    /// Empty halves of at most `size` bytes each at the end of the addresses of a nursery, which are in this range. If the
    /// size is 0, no object ages.
    pub fn new(nursery: Range<u32>, size: u32) -> Survivors {
        let size = size.min((nursery.end - nursery.start) / PART) / NURSERY_ALIGN * NURSERY_ALIGN;
        let start = nursery.end - 2 * size;
        Survivors {
            start,
            size,
            from: start,
            end: start,
            count: Count::default(),
            to: Room::default(),
            held: 0,
            touched: [start, start + size],
            off: 0,
        }
    }

    /// The start of both halves. New objects are before it.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// Bytes of each half.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The indices of the survivors.
    pub fn objects(&self) -> Range<u32> {
        self.from..self.end
    }

    /// The survivors.
    pub fn count(&self) -> Count {
        self.count
    }

    /// Whether there are no survivors.
    pub fn is_empty(&self) -> bool {
        self.from == self.end
    }

    /// Bytes that count as used by the heap.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Bytes that have memory.
    pub fn touched(&self) -> u64 {
        u64::from(self.touched[0] - self.start)
            + u64::from(self.touched[1] - self.start - self.size)
    }

    /// The end of the half in which `index` is, if it is in one of them.
    pub(crate) fn half_end(&self, index: u32) -> Option<u32> {
        let half = index.checked_sub(self.start)? / self.size.max(1);
        (half < 2).then(|| self.start + (half + 1) * self.size)
    }

    /// Whether the next collection should age objects.
    pub fn should_age(&self) -> bool {
        self.off == 0 && self.size > 0
    }

    /// Bytes for what ages in the next collection, if there are `new` bytes of new objects. What finds no room there is
    /// promoted.
    pub(crate) fn wanted(&self, new: u64) -> u64 {
        let likely = 2 * self.count.bytes;
        likely.clamp(new / u64::from(LEAST_AGED), new / u64::from(MOST_AGED)).min(self.size.into())
    }

    /// The most bytes of new objects for which there is room in `left` bytes, beside these survivors and
    /// [those](Survivors::wanted) that will age.
    pub(crate) fn most_beside(&self, left: u64) -> u64 {
        let left = left.saturating_sub(self.count.bytes);
        let part = |n: u32| left / u64::from(n + 1) * u64::from(n);
        let least = part(MOST_AGED).max(left.saturating_sub(self.size.into()));
        left.saturating_sub(2 * self.count.bytes).clamp(least, part(LEAST_AGED).max(least))
    }

    /// Holds memory for the next collection, in which some of `new` bytes of new objects may age. If the heap may not use so
    /// much, no object ages for a while.
    pub(crate) fn reserve(&mut self, core: &mut HeapCore, new: u32) {
        let touched = self.touched[self.half(self.other())] - self.other();
        let wanted = self.wanted(new.into()).next_multiple_of(NURSERY_ALIGN.into());
        let more = wanted.saturating_sub(touched.into());
        let more = (self.touched() + more).saturating_sub(self.held);
        match core.use_set_aside(more) {
            Ok(()) => self.held += more,
            Err(_) => self.off = OFF,
        }
    }

    /// Lets no object age in the next collection.
    pub(crate) fn rest(&mut self) {
        self.off = self.off.max(1);
    }

    /// The start of the half without survivors.
    fn other(&self) -> u32 {
        if self.from == self.start { self.start + self.size } else { self.start }
    }

    /// Begins a collection that ages new objects, which have `new` bytes, as far as there is [room](Survivors::reserve).
    pub(crate) fn begin(&mut self, core: &mut HeapCore, new: u32) {
        self.reserve(core, new);
        let start = self.other();
        let held = self.held.saturating_sub(self.touched()) as u32;
        let room = (self.touched[self.half(start)] - start + held).min(self.size) / 8 * 8;
        self.to = Room { start, next: start, limit: start + room.min(new), objects: 0 };
    }

    /// Gives up what is held for the next collection. Returns how much that was.
    pub(crate) fn release(&mut self, core: &mut HeapCore) -> u64 {
        let before = self.held;
        // A collection may be using it.
        if self.to.start == 0 {
            self.hold_touched(core);
        }
        before - self.held
    }

    /// Begins a collection that ages none. What is not used of the halves is left to the old generation, unless objects may
    /// be retained there.
    pub(crate) fn begin_without(&mut self, core: &mut HeapCore, retains: bool) {
        self.to = Room::default();
        if !retains {
            self.give_back(core, 0);
            self.hold_touched(core);
        }
    }

    /// Bytes of objects that were placed in the other half.
    pub(crate) fn placed(&self) -> u64 {
        (self.to.next - self.to.start).into()
    }

    /// Ends a collection that has emptied this half. `again` bytes of its objects lived. The objects in the other half are
    /// the survivors now.
    pub(crate) fn end(&mut self, core: &mut HeapCore, again: u64) {
        let aged = self.to.limit > self.to.start;
        if aged && self.count.bytes >= LEAST_TELLING && again > self.count.bytes * MOST_AGAIN / 100
        {
            self.off = OFF;
        } else if !aged {
            self.off = self.off.saturating_sub(1);
        }
        let Room { start, next, objects, .. } = self.to;
        (self.from, self.end) = if start == 0 { (self.start, self.start) } else { (start, next) };
        self.count = Count { objects: objects.into(), bytes: u64::from(self.end - self.from) };
        self.to = Room::default();
        let half = self.half(self.from);
        self.touched[half] = self.touched[half].max(self.end.next_multiple_of(NURSERY_ALIGN));
        let used = self.end - self.from;
        let most = if core.side.asked { 0 } else { used.saturating_mul(4).max(KEPT) };
        self.give_back(core, most);
        self.hold_touched(core);
    }

    /// Sets aside what is held and has no memory.
    fn hold_touched(&mut self, core: &mut HeapCore) {
        core.set_aside(self.held.saturating_sub(self.touched()));
        self.held = self.held.min(self.touched());
    }

    /// Ends a collection after which objects in both halves are retained in place, which the caller remembers. They keep
    /// the memory that is held.
    pub(crate) fn retain(&mut self) {
        if self.to.next > self.to.start {
            let half = self.half(self.to.start);
            self.touched[half] =
                self.touched[half].max(self.to.next.next_multiple_of(NURSERY_ALIGN));
        }
        (self.from, self.end) = (self.start, self.start);
        self.count = Count::default();
        self.to = Room::default();
    }

    /// The index of the half in which `index` is.
    fn half(&self, index: u32) -> usize {
        usize::from(index >= self.start + self.size)
    }

    /// Gives memory that is not used back to the system, of each half in which more than `most` bytes have memory.
    fn give_back(&mut self, core: &mut HeapCore, most: u32) {
        for half in 0..2 {
            let start = self.start + half as u32 * self.size;
            let used = if start == self.from { self.end } else { start };
            let kept = used.next_multiple_of(NURSERY_ALIGN);
            let unused = self.touched[half].saturating_sub(kept);
            if unused > most {
                let _mapped = core.memory.give_back(kept.into(), unused.into());
                self.touched[half] = kept;
            }
        }
    }

    /// Checks that the halves and the counts agree.
    ///
    /// # Errors
    /// If they do not.
    pub(crate) fn check(&self, bytes: u64) -> Result<(), HeapError> {
        let what = match () {
            () if bytes != self.count.bytes => "the survivors are miscounted",
            () if self.held < self.touched() => "survivors use memory that is not held",
            () if self.half_end(self.from).is_none_or(|end| self.end > end) && self.size > 0 => {
                "survivors are outside their half"
            }
            () => return Ok(()),
        };
        Err(HeapError::Corrupt { at: self.from, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapMemory, HeapOptions};
    use gc_types::collector::nursery::NURSERY_START;

    const HALF: u32 = 64 << 10;

    fn survivors() -> (Survivors, HeapCore) {
        let nursery = NURSERY_START..NURSERY_START + 4 * HALF;
        let memory = HeapMemory::with_apart(&HeapOptions::default(), 4 * HALF).unwrap();
        let mut core = HeapCore::new(memory);
        core.set_aside(core.in_use());
        (Survivors::new(nursery, HALF), core)
    }

    /// A collection in which `bytes` of `new` bytes age.
    fn collect(survivors: &mut Survivors, core: &mut HeapCore, new: u32, bytes: u32) {
        survivors.begin(core, new);
        survivors.to.next += bytes;
        assert!(survivors.to.next <= survivors.to.limit);
        survivors.end(core, 0);
        assert_eq!((survivors.count().bytes, core.in_use()), (bytes.into(), survivors.held()));
        survivors.check(bytes.into()).unwrap();
    }

    #[test]
    fn no_more_is_held_than_both_halves_have() {
        let (mut survivors, mut core) = survivors();
        for bytes in [HALF - 40, HALF - 5000, 64, 6000, HALF - 8, HALF] {
            survivors.reserve(&mut core, 16 * HALF);
            assert!(survivors.held() <= (2 * HALF).into() && core.in_use() == survivors.held());
            collect(&mut survivors, &mut core, 16 * HALF, bytes);
        }
        // What has memory stays, and the rest can be used for something else.
        survivors.begin_without(&mut core, false);
        survivors.end(&mut core, 0);
        assert_eq!((core.in_use(), survivors.is_empty()), (survivors.held(), true));
    }

    #[test]
    fn memory_is_held_for_twice_what_aged() {
        let (mut survivors, mut core) = survivors();
        let wanted = |survivors: &Survivors| [32 << 10, 256 << 10].map(|new| survivors.wanted(new));
        assert_eq!(wanted(&survivors), [4 << 10, 32 << 10]);
        collect(&mut survivors, &mut core, 32 << 10, 4000);
        assert_eq!(wanted(&survivors), [8000, 32 << 10]);
        survivors.reserve(&mut core, 128 << 10);
        collect(&mut survivors, &mut core, 128 << 10, 16_000);
        assert_eq!(wanted(&survivors), [16 << 10, 32 << 10]);
        // New objects, what ages, and these survivors fit.
        for left in [20_000, 40_000, 100_000, 1 << 20] {
            let new = survivors.most_beside(left);
            let beside = survivors.count().bytes;
            assert!(new + survivors.wanted(new) + beside <= left + 8, "{left}: {new}");
            assert!(new > 0 || left < 2 * beside, "{left}");
        }
    }

    #[test]
    fn memory_goes_back_whole_pages_at_a_time() {
        let (mut survivors, mut core) = survivors();
        survivors.reserve(&mut core, 4 * HALF);
        collect(&mut survivors, &mut core, 4 * HALF, 1000);
        assert!(survivors.touched().is_multiple_of(NURSERY_ALIGN.into()));
        core.side.asked = true;
        collect(&mut survivors, &mut core, 4 * HALF, 5000);
        assert_eq!((survivors.touched(), survivors.held()), (8 << 10, 8 << 10));
        // The policy is asked about whole pages.
        survivors.reserve(&mut core, 4 * HALF);
        assert!(survivors.held().is_multiple_of(NURSERY_ALIGN.into()));
    }
}
