//! The pool of chunks that spaces are made of. For each chunk it knows the use, the end of the
//! objects, and the objects that a collection marked in place.
//!
//! The pool is native memory, so a guest that damages the heap cannot make it hand out a chunk
//! twice. Objects never pass the end of their chunk. A large object has its own run of chunks.

use crate::HeapMemory;
use crate::space::Residue;
use gc_types::{NULL_PAGE_SIZE, OBJECT_ALIGN};

/// Bytes of a chunk.
pub const CHUNK_SIZE: u32 = 32 << 10;
const CHUNK_SHIFT: u32 = CHUNK_SIZE.trailing_zeros();
const _: () = assert!(CHUNK_SIZE.is_power_of_two());
const _: () = assert!(NULL_PAGE_SIZE.is_multiple_of(CHUNK_SIZE));
/// The maximum number of objects in a chunk.
const PLACES: usize = (CHUNK_SIZE / OBJECT_ALIGN) as usize;

/// The use of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// Nothing.
    Free,
    /// Objects that stay in place: all objects between collections, and to-space during one.
    Live,
    /// Objects that the collection under way moves.
    From,
    /// Objects that the collection under way marks in place because there is no room for copies.
    Stay,
    /// The first chunk of a large object.
    Large,
    /// The other chunks of a large object.
    LargeTail,
}

/// The objects of a chunk that were marked, and those of them that were scanned since.
#[derive(Clone, Debug)]
struct Marks {
    marked: [u64; PLACES / 64],
    scanned: [u64; PLACES / 64],
}

/// Fields that are seldom read.
#[derive(Clone, Debug)]
struct Details {
    residue: Residue,
    /// For a large object, whether it was reached. For other chunks, whether the chunk waits to be
    /// scanned.
    flag: bool,
    /// Bytes of the objects marked in place.
    live_bytes: u32,
    /// Present in chunks with objects marked in place. Unmarked objects in such a chunk are
    /// garbage.
    marks: Option<Box<Marks>>,
}

/// The pool. Chunks are numbered from the heap's first byte on.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    states: Vec<State>,
    /// Index of the end of each chunk's last object, or of a large object.
    ends: Vec<u32>,
    details: Vec<Details>,
    /// One bit for each free chunk.
    free: Vec<u64>,
    free_count: u32,
    /// No word of `free` before this one has a bit.
    first_free: usize,
    given_back: u32,
}

impl Chunks {
    /// Adds the memory mapped after the pool's last chunk. It must be zero.
    pub(super) fn extend(&mut self, usable: u64) {
        let old = self.states.len();
        let new = (usable / u64::from(CHUNK_SIZE)) as usize;
        let details =
            Details { residue: Residue::Untouched, flag: false, live_bytes: 0, marks: None };
        self.states.resize(new, State::Free);
        self.details.resize(new, details);
        self.free.resize(new.div_ceil(64), 0);
        for chunk in old..new {
            self.ends.push(Chunks::start(chunk));
            self.free[chunk / 64] |= 1 << (chunk % 64);
        }
        self.free_count += (new - old) as u32;
        self.first_free = self.first_free.min(old / 64);
    }

    /// Number of chunks.
    pub(super) fn len(&self) -> u32 {
        self.states.len() as u32
    }

    /// Number of free chunks.
    pub(super) fn free(&self) -> u32 {
        self.free_count
    }

    /// Number of chunks in use.
    pub(super) fn used(&self) -> u32 {
        self.len() - self.free_count
    }

    /// Number of free chunks whose memory was given back to the system.
    pub(super) fn given_back(&self) -> u32 {
        self.given_back
    }

    /// The number of the chunk that contains `index`, which may be any number. The pool has no such
    /// chunk if `index` is outside the heap.
    #[inline]
    pub(super) fn of(index: u32) -> usize {
        (index.wrapping_sub(NULL_PAGE_SIZE) >> CHUNK_SHIFT) as usize
    }

    /// Index of the chunk's first byte.
    #[inline]
    pub(super) fn start(chunk: usize) -> u32 {
        NULL_PAGE_SIZE + ((chunk as u32) << CHUNK_SHIFT)
    }

    /// Index of the byte after the chunk's last byte.
    #[inline]
    pub(super) fn limit(chunk: usize) -> u32 {
        Chunks::start(chunk) + CHUNK_SIZE
    }

    /// The chunk's state. `None` if the pool has no such chunk.
    #[inline]
    pub(super) fn state(&self, chunk: usize) -> Option<State> {
        self.states.get(chunk).copied()
    }

    /// The end of the chunk's last object, or of its large object.
    #[inline]
    pub(super) fn end(&self, chunk: usize) -> u32 {
        self.ends[chunk]
    }

    /// Records the end of the chunk's last object.
    pub(super) fn set_end(&mut self, chunk: usize, end: u32) {
        debug_assert!(end >= Chunks::start(chunk) && end <= Chunks::limit(chunk));
        self.ends[chunk] = end;
    }

    /// All chunks with their states, in address order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, State)> + '_ {
        self.states.iter().copied().enumerate()
    }

    // ---- taking and freeing ------------------------------------------------

    /// Takes the lowest free chunk for small objects, because recently freed memory may still be in
    /// a cache. Returns the chunk, and whether its bytes are zero.
    pub(super) fn take(&mut self) -> Option<(usize, bool)> {
        let words = self.free.get(self.first_free..)?;
        let Some(skipped) = words.iter().position(|&word| word != 0) else {
            self.first_free = self.free.len();
            return None;
        };
        self.first_free += skipped;
        let bit = self.free[self.first_free].trailing_zeros() as usize;
        let chunk = self.first_free * 64 + bit;
        let zero = self.use_as(chunk, State::Live);
        self.ends[chunk] = Chunks::start(chunk);
        Some((chunk, zero))
    }

    /// Takes `count` adjacent chunks for a large object of `size` bytes and zeroes its bytes.
    /// Returns the first chunk.
    pub(super) fn take_run(
        &mut self,
        memory: &mut HeapMemory,
        count: u32,
        size: u32,
    ) -> Option<usize> {
        let head = self.find_run(count)?;
        let end = Chunks::start(head) + size;
        let run = head..head + count as usize;
        let mut chunk = head;
        let is_zero = |details: &Details| details.residue.is_zero();
        for alike in self.details[run.clone()].chunk_by(|a, b| is_zero(a) == is_zero(b)) {
            let start = Chunks::start(chunk);
            chunk += alike.len();
            if !is_zero(&alike[0]) {
                // Chunks are mapped.
                let limit = Chunks::limit(chunk - 1).min(end);
                memory.zero(start.into(), (limit - start).into())?;
            }
        }
        for chunk in run {
            self.use_as(chunk, if chunk == head { State::Large } else { State::LargeTail });
        }
        self.ends[head] = end;
        self.details[head].flag = false;
        Some(head)
    }

    /// The first of `count` adjacent free chunks.
    fn find_run(&self, count: u32) -> Option<usize> {
        let mut found = 0;
        let mut chunk = self.first_free * 64;
        while chunk < self.states.len() {
            let word = self.free[chunk / 64];
            if chunk.is_multiple_of(64) && word == 0 {
                (found, chunk) = (0, chunk + 64);
                continue;
            }
            found = if word >> (chunk % 64) & 1 != 0 { found + 1 } else { 0 };
            chunk += 1;
            if found == count {
                return Some(chunk - count as usize);
            }
        }
        None
    }

    /// Takes a free chunk. Returns whether its bytes are zero.
    fn use_as(&mut self, chunk: usize, state: State) -> bool {
        debug_assert_eq!(self.states[chunk], State::Free);
        self.states[chunk] = state;
        self.free[chunk / 64] &= !(1 << (chunk % 64));
        self.free_count -= 1;
        let residue = std::mem::replace(&mut self.details[chunk].residue, Residue::Dirty);
        self.given_back -= u32::from(residue == Residue::GivenBack);
        residue != Residue::Dirty
    }

    /// Frees a chunk.
    pub(super) fn release(&mut self, chunk: usize) {
        debug_assert_ne!(self.states[chunk], State::Free);
        self.states[chunk] = State::Free;
        self.ends[chunk] = Chunks::start(chunk);
        self.free[chunk / 64] |= 1 << (chunk % 64);
        self.free_count += 1;
        self.first_free = self.first_free.min(chunk / 64);
        let details = &mut self.details[chunk];
        (details.marks, details.live_bytes, details.flag) = (None, 0, false);
    }

    /// Gives the memory of at most `most` free chunks back to the system, and advances `from`.
    /// Returns whether there may be more.
    pub(super) fn give_back(
        &mut self,
        memory: &mut HeapMemory,
        from: &mut GiveBack,
        most: u32,
    ) -> bool {
        let mut left = most;
        while left > 0 {
            let is_ours = |(state, details): (&State, &Details)| {
                *state == State::Free && details.residue != Residue::GivenBack
            };
            for chunk in self.states[from.next..].iter().zip(&self.details[from.next..]) {
                if is_ours(chunk) {
                    if from.keep == 0 {
                        break;
                    }
                    from.keep -= 1;
                }
                from.next += 1;
            }
            if from.next == self.states.len() {
                return false;
            }
            // A run of chunks.
            let first = from.next;
            let run = self.states[first..].iter().zip(&mut self.details[first..]);
            for (state, detail) in run.take(left as usize) {
                if !is_ours((state, detail)) {
                    break;
                }
                detail.residue = Residue::GivenBack;
                self.given_back += 1;
                from.next += 1;
                left -= 1;
            }
            let bytes = (from.next - first) as u64 * u64::from(CHUNK_SIZE);
            let _mapped = memory.give_back(Chunks::start(first).into(), bytes);
            debug_assert!(_mapped.is_some());
        }
        true
    }

    // ---- during a collection ------------------------------------------------

    /// Begins a pass. The pass moves the small objects of a chunk, or marks them in place if
    /// `moves` returns false. No large object counts as reached yet.
    pub(super) fn begin_pass(&mut self, moves: impl Fn(usize) -> bool) {
        for chunk in 0..self.states.len() {
            if self.states[chunk] == State::Live {
                self.states[chunk] = if moves(chunk) { State::From } else { State::Stay };
                let details = &mut self.details[chunk];
                (details.marks, details.live_bytes) = (None, 0);
            }
            self.details[chunk].flag = false;
        }
    }

    /// Ends a pass for one chunk. The chunk is freed if no object in it was reached. Returns the
    /// range of freed bytes.
    #[inline]
    pub(super) fn end_pass(&mut self, chunk: usize) -> Option<(u32, u32)> {
        match self.states[chunk] {
            State::From | State::Stay => {
                if let Some(marks) = &mut self.details[chunk].marks {
                    debug_assert_eq!(marks.marked, marks.scanned);
                    marks.scanned = [0; PLACES / 64];
                    self.details[chunk].flag = false;
                    self.states[chunk] = State::Live;
                    return None;
                }
                let end = self.ends[chunk];
                self.release(chunk);
                Some((Chunks::start(chunk), end))
            }
            State::Large if !self.details[chunk].flag => {
                let end = self.ends[chunk];
                self.release(chunk);
                let mut tail = chunk + 1;
                while self.states.get(tail) == Some(&State::LargeTail) {
                    self.release(tail);
                    tail += 1;
                }
                Some((Chunks::start(chunk), end))
            }
            State::Large | State::LargeTail | State::Live | State::Free => None,
        }
    }

    /// Records that a large object was reached. Returns whether it was not reached before.
    pub(super) fn reach_large(&mut self, chunk: usize) -> bool {
        !std::mem::replace(&mut self.details[chunk].flag, true)
    }

    /// Whether a large object was reached.
    pub(super) fn is_reached(&self, chunk: usize) -> bool {
        self.details[chunk].flag
    }

    fn place(index: u32) -> (usize, u64) {
        let place = index % CHUNK_SIZE / OBJECT_ALIGN;
        (place as usize / 64, 1 << (place % 64))
    }

    /// Whether the object at `index`, in a chunk of the pool, was marked in place.
    pub(super) fn is_marked(&self, chunk: usize, index: u32) -> bool {
        let (word, bit) = Chunks::place(index);
        self.details[chunk].marks.as_ref().is_some_and(|marks| marks.marked[word] & bit != 0)
    }

    /// Marks the object of `size` bytes at `index`, a multiple of 8. Returns whether it was the
    /// first one since the chunk was last scanned; then the chunk must be scanned again.
    pub(super) fn mark(&mut self, chunk: usize, index: u32, size: u32) -> bool {
        let (word, bit) = Chunks::place(index);
        let details = &mut self.details[chunk];
        let marks = details.marks.get_or_insert_with(|| {
            Box::new(Marks { marked: [0; PLACES / 64], scanned: [0; PLACES / 64] })
        });
        if marks.marked[word] & bit != 0 {
            return false;
        }
        marks.marked[word] |= bit;
        details.live_bytes = details.live_bytes.saturating_add(size);
        !std::mem::replace(&mut details.flag, true)
    }

    /// Takes an object of the chunk that was marked and not scanned. It counts as scanned now.
    /// `None` if there is none; then the next [`mark`](Chunks::mark) returns true again.
    pub(super) fn next_to_scan(&mut self, chunk: usize) -> Option<u32> {
        let details = &mut self.details[chunk];
        let found = details.marks.as_mut().and_then(|marks| {
            let pairs = marks.marked.iter().zip(&mut marks.scanned).enumerate();
            let mut left =
                pairs.map(|(word, (marked, scanned))| (word, *marked & !*scanned, scanned));
            let (word, bits, scanned) = left.find(|(_, bits, _)| *bits != 0)?;
            *scanned |= bits & bits.wrapping_neg();
            Some((word * 64) as u32 + bits.trailing_zeros())
        });
        details.flag = found.is_some();
        found.map(|place| Chunks::start(chunk) + place * OBJECT_ALIGN)
    }

    /// Whether only the marked objects of the chunk are valid objects.
    pub(super) fn is_retained(&self, chunk: usize) -> bool {
        self.details[chunk].marks.is_some()
    }

    /// Indices of the objects of a chunk that were marked in place, ascending.
    pub(super) fn marked(&self, chunk: usize) -> impl Iterator<Item = u32> + '_ {
        let words = self.details[chunk].marks.as_ref().map_or(&[][..], |marks| &marks.marked[..]);
        words.iter().enumerate().flat_map(move |(word, &bits)| {
            let mut bits = bits;
            std::iter::from_fn(move || {
                let place = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(Chunks::start(chunk) + ((word * 64) as u32 + place) * OBJECT_ALIGN)
            })
        })
    }

    /// Bytes of the chunk's objects that may be alive.
    pub(super) fn live_bytes(&self, chunk: usize) -> u32 {
        let details = &self.details[chunk];
        match details.marks {
            Some(_) => details.live_bytes,
            None => self.ends[chunk] - Chunks::start(chunk),
        }
    }

    /// The number of chunks needed to copy all small objects that may be alive. It counts every
    /// chunk that holds them. For a chunk with marks it counts only the marked bytes.
    pub(super) fn needed_for_copies(&self) -> u32 {
        let live = self.iter().filter(|(_, state)| *state == State::Live);
        let (mut whole, mut bytes) = (0, 0);
        for (chunk, _) in live {
            match self.is_retained(chunk) {
                true => bytes += u64::from(self.live_bytes(chunk)),
                false => whole += 1,
            }
        }
        // Copies of large objects do not fill their chunks.
        whole + bytes.div_ceil(u64::from(CHUNK_SIZE / 8 * 7)) as u32
    }

    // ---- checks ---------------------------------------------------------------

    /// Checks the pool. An error has the place and a description.
    pub(super) fn check(&self) -> Result<(), (u32, &'static str)> {
        let (mut free, mut given_back, mut in_large) = (0, 0, false);
        for (chunk, state) in self.iter() {
            let (start, limit, end) =
                (Chunks::start(chunk), Chunks::limit(chunk), self.ends[chunk]);
            let is_free = self.free[chunk / 64] >> (chunk % 64) & 1 != 0;
            if is_free != (state == State::Free) {
                return Err((start, "a chunk is both free and in use"));
            }
            if is_free && chunk / 64 < self.first_free {
                return Err((start, "a free chunk is not found"));
            }
            free += u32::from(is_free);
            let details = &self.details[chunk];
            given_back += u32::from(is_free && details.residue == Residue::GivenBack);
            if !is_free && details.residue != Residue::Dirty {
                return Err((start, "a chunk in use counts as zero"));
            }
            match state {
                State::Free if end != start => return Err((start, "a free chunk has objects")),
                State::Live if end < start || end > limit || end % OBJECT_ALIGN != 0 => {
                    return Err((start, "a chunk's last object does not end in it"));
                }
                State::From | State::Stay => {
                    return Err((start, "a chunk has the state of a finished collection"));
                }
                State::LargeTail if !in_large => {
                    return Err((start, "the end of a large object without its start"));
                }
                State::Large if end <= start => return Err((start, "a large object without size")),
                State::Free | State::Live | State::Large | State::LargeTail => {}
            }
            in_large = matches!(state, State::Large | State::LargeTail);
        }
        if (free, given_back) != (self.free_count, self.given_back) {
            return Err((0, "free chunks are miscounted"));
        }
        Ok(())
    }
}

/// The progress of [`Chunks::give_back`].
#[derive(Clone, Copy, Debug)]
pub(super) struct GiveBack {
    next: usize,
    keep: u32,
}

impl GiveBack {
    /// Begins to give memory back. `keep` free chunks stay as they are.
    pub(super) fn new(keep: u32) -> GiveBack {
        GiveBack { next: 0, keep }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeapBounds, HeapOptions};

    fn pool(count: u64) -> (Chunks, HeapMemory) {
        let usable = count * u64::from(CHUNK_SIZE);
        let size = usable + u64::from(NULL_PAGE_SIZE);
        let memory = HeapMemory::new(&HeapOptions {
            initial: size,
            maximum: size,
            bounds: HeapBounds::Checked,
            ..HeapOptions::default()
        });
        let mut chunks = Chunks::default();
        // In two steps. The first step is not a whole number of chunks.
        chunks.extend(usable / 2 + 5);
        chunks.extend(usable);
        (chunks, memory.unwrap())
    }

    #[test]
    fn any_number_may_be_asked_for() {
        let (mut chunks, _memory) = pool(70);
        chunks.take().unwrap();
        for index in [0, 8, NULL_PAGE_SIZE - 1, Chunks::start(70), u32::MAX, u32::MAX - 7] {
            assert_eq!(chunks.state(Chunks::of(index)), None, "{index:#x}");
        }
        for index in [NULL_PAGE_SIZE, NULL_PAGE_SIZE + CHUNK_SIZE - 1] {
            assert_eq!(chunks.state(Chunks::of(index)), Some(State::Live));
        }
        assert_eq!(chunks.state(Chunks::of(NULL_PAGE_SIZE + CHUNK_SIZE)), Some(State::Free));
    }

    #[test]
    fn the_lowest_free_chunk_is_taken_and_runs_are_contiguous() {
        let (mut chunks, mut memory) = pool(200);
        for chunk in 0..130 {
            assert_eq!(chunks.take(), Some((chunk, true)));
        }
        for chunk in [3, 64, 65, 66, 129] {
            chunks.release(chunk);
        }
        chunks.check().unwrap();
        memory.fill(Chunks::start(64).into(), 100_000, 0xff).unwrap();
        let size = 2 * CHUNK_SIZE + 8;
        assert_eq!(chunks.take_run(&mut memory, 3, size), Some(64));
        assert_eq!(memory.read_u8((Chunks::start(64) + size - 1).into()), Some(0));
        assert_eq!(memory.read_u8((Chunks::start(64) + size).into()), Some(0xff));
        assert_eq!(chunks.take(), Some((3, false)), "it was used before");
        assert_eq!(chunks.take_run(&mut memory, 71, 71 * CHUNK_SIZE), Some(129));
        assert_eq!(chunks.take(), None);
        assert_eq!((chunks.free(), chunks.used()), (0, 200));
        chunks.begin_pass(|_| true);
        assert!(chunks.reach_large(129) && !chunks.reach_large(129));
        for chunk in 0..200 {
            chunks.end_pass(chunk);
        }
        chunks.check().unwrap();
        assert_eq!((chunks.used(), chunks.state(64)), (71, Some(State::Free)));
        assert_eq!(chunks.find_run(130), None);
        assert_eq!(chunks.find_run(129), Some(0));
    }

    #[test]
    fn marked_objects_keep_their_chunk_and_are_scanned_once() {
        let (mut chunks, _memory) = pool(4);
        let (a, _) = chunks.take().unwrap();
        let (b, _) = chunks.take().unwrap();
        chunks.begin_pass(|chunk| chunk == b);
        let at = |place: u32| Chunks::start(a) + place * 8;
        assert!(chunks.mark(a, at(700), 16));
        assert!(!chunks.mark(a, at(3), 24) && !chunks.mark(a, at(3), 24));
        assert_eq!(chunks.next_to_scan(a), Some(at(3)));
        assert!(!chunks.mark(a, at(1), 8));
        assert_eq!(chunks.next_to_scan(a), Some(at(1)));
        assert_eq!(chunks.next_to_scan(a), Some(at(700)));
        assert_eq!(chunks.next_to_scan(a), None);
        assert!(chunks.mark(a, at(2), 8), "its scan was over");
        assert_eq!(chunks.next_to_scan(a), Some(at(2)));
        assert_eq!(chunks.next_to_scan(a), None);
        assert_eq!(chunks.marked(a).collect::<Vec<_>>(), [at(1), at(2), at(3), at(700)]);
        assert_eq!(
            (chunks.end_pass(a), chunks.end_pass(b)),
            (None, Some((Chunks::start(b), Chunks::start(b))))
        );
        assert_eq!((chunks.live_bytes(a), chunks.is_retained(a)), (56, true));
        assert_eq!(chunks.state(a), Some(State::Live));
        chunks.check().unwrap();
    }

    #[test]
    fn memory_above_what_is_kept_goes_back() {
        let (mut chunks, mut memory) = pool(100);
        for _ in 0..50 {
            chunks.take();
        }
        memory.fill(NULL_PAGE_SIZE.into(), 50 * u64::from(CHUNK_SIZE), 0xff).unwrap();
        (10..50).for_each(|chunk| chunks.release(chunk));
        let mut from = GiveBack::new(5);
        let mut rounds = 0;
        while chunks.give_back(&mut memory, &mut from, 8) {
            rounds += 1;
            assert!(rounds < 20);
        }
        // Chunks that were never used count, too.
        assert_eq!(chunks.given_back(), 85);
        chunks.check().unwrap();
        let taken: Vec<_> = std::iter::from_fn(|| chunks.take()).collect();
        assert!(taken.iter().all(|&(chunk, zero)| zero == (chunk >= 15)));
        assert_eq!(memory.read_u8(Chunks::start(14).into()), Some(0xff));
        assert_eq!(memory.read_u8(Chunks::start(15).into()), Some(0));
        assert_eq!(chunks.given_back(), 0);
    }
}
