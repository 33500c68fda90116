//! [`Copying`]: a collection of a semispace. It makes one pass or several passes over the reachable objects.
//!
//! A pass follows the roots, scans the objects found, and frees the emptied chunks. If the free chunks suffice for the
//! possible or the expected survivors, one pass moves all small objects. Otherwise, or when the
//! expectation was too low, objects are marked in place. The marks show how much lives in each
//! chunk, and further passes empty the chunks with little in them, as long as that frees enough.

use super::Semispace;
use super::budget::Survival;
use super::chunks::{CHUNK_SIZE, Chunks, GiveBack, State};
use super::pass::{Tracer, Work};
use crate::space::Visit;
use crate::trace::forwarding::{OFFSET, forwarded};
use crate::trace::shapes::Shapes;
use crate::{GcRootsIter, HeapBytes, HeapCore, WeakTracer};
use gc_types::VMGcRef;

/// Number of chunks whose memory is given back to the system between two reads of the clock.
const GIVEN_BACK: u32 = 128;
/// The maximum number of passes that empty chunks.
const COMPACTIONS: u32 = 3;

/// The collection under way.
#[derive(Debug, Default)]
pub(super) struct Collected {
    work: Work,
    /// Passes that emptied chunks so far.
    compactions: u32,
    /// Bytes of small objects from before the last collection, and of those allocated since.
    old: u64,
    new: u64,
    /// The first chunk that was not freed yet, if it is empty.
    next_free: usize,
    /// The chunks that are still to be given back.
    give_back: Option<GiveBack>,
}

/// The parts of a heap that a collection of its semispace needs.
///
/// # Examples
/// A heap without roots:
///
/// ```
/// use gc_heap::space::semispace::{Copying, Semispace};
/// use gc_heap::trace::shapes::Shapes;
/// use gc_heap::{GcRootsList, HeapCore, HeapMemory, HeapOptions};
/// use gc_types::{TypeIndex, VMGcHeader, VMGcKind};
///
/// let mut core = HeapCore::new(HeapMemory::new(&HeapOptions::default())?);
/// let (mut space, shapes) = (Semispace::new(&mut core.memory), Shapes::default());
/// let header = VMGcHeader::new(VMGcKind::ExternRef, TypeIndex::NONE);
/// space.alloc(&mut core, header, 16).unwrap();
///
/// let mut list = GcRootsList::default();
/// let (mut roots, mut budget) = (list.all(), 1000);
/// let mut copying = Copying { core: &mut core, shapes: &shapes, space: &mut space };
/// copying.begin();
/// while !copying.follow_roots(&mut roots, &mut budget) {}
/// while !copying.scan(&mut budget) {}
/// copying.end_pass();
/// while !copying.free(&mut budget) {}
/// assert!(!copying.begin_compaction());
/// assert_eq!(copying.finish(), 0, "no object survived");
/// copying.plan();
/// while !copying.give_back() {}
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug)]
pub struct Copying<'h> {
    /// The heap's core.
    pub core: &'h mut HeapCore,
    /// The shapes of objects.
    pub shapes: &'h Shapes,
    /// The space.
    pub space: &'h mut Semispace,
}

impl Copying<'_> {
    /// Begins a collection. Returns the bytes that were allocated since the last one. The shapes must be up to date.
    pub fn begin(&mut self) -> u64 {
        let space = &mut *self.space;
        space.retire(self.core);
        let grown = space.epoch.bytes(None);
        space.collected.compactions = 0;
        space.collected.old = space.small_bytes;
        space.collected.new = space.epoch.small_bytes(None);
        self.settle();
        let chunks = &mut self.space.chunks;
        let from = chunks.iter().filter(|(_, state)| *state == State::Live).count();
        let free = chunks.free();
        let moves_all = free as usize >= from || self.space.budget.expected_now() <= free;
        self.begin_pass(|_| moves_all);
        grown
    }

    /// Counts what was allocated since the last collection, before the epoch is cleared.
    fn settle(&mut self) {
        let (space, core) = (&mut *self.space, &*self.core);
        let walk = |at, end, visit: Visit<'_>| core.walk(at, end, visit);
        let exact = core.memory.zeal() != 0;
        let new = if exact { space.epoch.count(None, &walk) } else { space.epoch.estimate(&walk) };
        space.epoch.clear();
        space.allocated.add_all(new);
        // The collection corrects this later.
        space.survivors.add_all(new);
    }

    fn begin_pass(&mut self, moves: impl Fn(usize) -> bool) {
        self.space.chunks.begin_pass(moves);
        self.space.collected.work.begin();
        self.space.collected.next_free = 0;
    }

    /// The parts that the loop needs. `None` if there is no memory, and no object.
    #[inline]
    fn tracer(&mut self) -> Option<Tracer<'_, HeapBytes<'_>>> {
        Some(Tracer {
            bytes: self.core.memory.bytes()?,
            shapes: self.shapes,
            chunks: &mut self.space.chunks,
            damage: &mut self.core.damage,
            work: &mut self.space.collected.work,
        })
    }

    /// The word that replaces the reference `raw`. Copies the object, or marks it in place.
    pub fn follow(&mut self, raw: u32) -> u32 {
        self.tracer().map_or(raw, |mut tracer| tracer.follow(raw))
    }

    /// Follows roots, as far as `budget` allows. Returns whether there are no more.
    pub fn follow_roots(&mut self, roots: &mut GcRootsIter<'_>, budget: &mut u32) -> bool {
        while *budget > 0 {
            *budget -= 1;
            let Some(mut root) = roots.next() else { return true };
            let Some(old) = root.get().map(|old| old.as_raw_u32()) else { continue };
            let new = self.follow(old);
            if new != old
                && let Some(new) = VMGcRef::from_raw_u32(new)
            {
                root.set(new);
            }
        }
        false
    }

    /// Scans the objects that were found, with one unit of `budget` for each object and each reference.
    /// Returns whether nothing is left to scan.
    pub fn scan(&mut self, budget: &mut u32) -> bool {
        self.tracer().is_none_or(|mut tracer| tracer.scan(budget))
    }

    /// Ends the tracing of a pass. Weak references and host values were processed.
    pub fn end_pass(&mut self) {
        if let Some((chunk, end)) = self.space.collected.work.last_chunk() {
            self.space.chunks.set_end(chunk, end);
        }
    }

    /// Frees emptied chunks, with one unit of `budget` for each chunk. Returns whether no more are left.
    pub fn free(&mut self, budget: &mut u32) -> bool {
        let Semispace { chunks, collected, .. } = &mut *self.space;
        let len = chunks.len() as usize;
        let end = len.min(collected.next_free.saturating_add(*budget as usize));
        for chunk in collected.next_free..end {
            if let Some((start, end)) = chunks.end_pass(chunk) {
                self.core.memory.poison(start.into(), u64::from(end - start));
            }
        }
        *budget -= (end - collected.next_free) as u32;
        collected.next_free = end;
        end == len
    }

    /// Begins another pass, which empties chunks with little in them, if that is worth its cost. Returns
    /// whether it does. Then the roots must be followed again.
    pub fn begin_compaction(&mut self) -> bool {
        let chunks = &mut self.space.chunks;
        let compactions = self.space.collected.compactions;
        if compactions == COMPACTIONS || chunks.free() > chunks.len() / 8 {
            return false;
        }
        let retained = chunks.iter().filter(|&(chunk, _)| chunks.is_retained(chunk));
        let mut sparse: Vec<(u32, usize)> = retained
            .map(|(chunk, _)| (chunks.live_bytes(chunk), chunk))
            .filter(|&(live, _)| live <= CHUNK_SIZE / 4 * 3)
            .collect();
        sparse.sort_unstable();
        // Copies of large objects do not fill their chunks.
        let room = u64::from(chunks.free()) * u64::from(CHUNK_SIZE / 8 * 7);
        let mut moved = 0;
        let fitting = sparse.iter().take_while(|(live, _)| {
            moved += u64::from(*live);
            moved <= room
        });
        let count = fitting.count();
        sparse.truncate(count);
        let live: u64 = sparse.iter().map(|(live, _)| u64::from(*live)).sum();
        if live.div_ceil(u64::from(CHUNK_SIZE / 8 * 7)) >= count as u64 {
            return false;
        }
        let mut empties = vec![false; chunks.len() as usize];
        sparse.iter().for_each(|&(_, chunk)| empties[chunk] = true);
        self.begin_pass(|chunk| empties[chunk]);
        self.space.collected.compactions += 1;
        true
    }

    /// Ends the moving of objects: all have their final place. Returns the bytes of the live ones. The caller plans
    /// with them, and then calls [`plan`](Copying::plan).
    pub fn finish(&mut self) -> u64 {
        let space = &mut *self.space;
        if let Some((chunk, next)) = space.collected.work.last_chunk() {
            space.fill_from(&mut self.core.memory, chunk, next, next);
        }
        let survivors = space.collected.work.survivors;
        (space.survivors, space.small_bytes) = (survivors.all(), survivors.small_bytes);
        space.survivors.bytes
    }

    /// Sizes the space by the core's plan, and begins to give chunks back.
    pub fn plan(&mut self) {
        let plan = self.core.plan;
        let Semispace { chunks, budget, survivors, small_bytes, collected, .. } = &mut *self.space;
        let survived = *small_bytes;
        let (old, new) = (collected.old, collected.new);
        let survival = Survival { old, new, survived, chunks: chunks.needed_for_copies() };
        budget.adapt(chunks, survival, plan.goal.saturating_sub(survivors.bytes));
        let spare = plan.spare.div_ceil(u64::from(CHUNK_SIZE));
        collected.give_back = Some(GiveBack::new(u32::try_from(spare).unwrap_or(u32::MAX)));
    }

    /// Gives some of the chunks back to the system. Returns whether no more are left.
    pub fn give_back(&mut self) -> bool {
        let Semispace { chunks, collected, .. } = &mut *self.space;
        if let Some(mut from) = collected.give_back {
            let more = chunks.give_back(&mut self.core.memory, &mut from, GIVEN_BACK);
            collected.give_back = more.then_some(from);
        }
        collected.give_back.is_none()
    }
}

impl WeakTracer for Copying<'_> {
    fn core(&self) -> &HeapCore {
        self.core
    }

    fn survivor(&self, object: &VMGcRef) -> Option<VMGcRef> {
        let (index, chunks) = (object.as_raw_u32(), &self.space.chunks);
        let chunk = Chunks::of(index);
        let found = match chunks.state(chunk)? {
            State::From | State::Stay if chunks.is_marked(chunk, index) => true,
            State::From => {
                let word = self.core.memory.read_u32(u64::from(index) + OFFSET)?;
                return forwarded(word).and_then(VMGcRef::from_heap_index);
            }
            State::Large => chunks.is_reached(chunk),
            State::Live => true,
            State::Stay | State::LargeTail | State::Free => false,
        };
        found.then(|| object.unchecked_copy())
    }

    fn keep(&mut self, object: &VMGcRef) -> VMGcRef {
        let new = self.follow(object.as_raw_u32());
        VMGcRef::from_raw_u32(new).unwrap_or_else(|| object.unchecked_copy())
    }
}
