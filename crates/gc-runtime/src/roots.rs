//! Roots: where the mutator's references are while it is stopped.
//!
//! A [`GcRootsList`] holds addresses of slots, not references, so that a moving
//! collector can update them in place. It is filled anew for each collection and
//! keeps its memory between them: a collection allocates nothing for its roots
//! once the list has grown as long as it needs to be.
//!
//! This is the one file besides heap memory that dereferences raw pointers. Those
//! who know the slots' addresses (a stack walker, a table) vouch for them when
//! they add them; everything behind that is safe.
#![allow(unsafe_code)]

use gc_types::VMGcRef;
use std::fmt;
use std::marker::PhantomData;

/// Some roots could not be found: a collection must not happen, since it would
/// free what they refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncompleteWalk {
    /// What stopped the search, for the log.
    pub why: String,
}

impl fmt::Display for IncompleteWalk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not all GC roots could be found: {}", self.why)
    }
}

impl std::error::Error for IncompleteWalk {}

/// Names all roots of a mutator.
pub trait TraceRoots {
    /// Adds every root to `roots`. The slots stay where they are for as long as
    /// `self` is borrowed by the collection (see
    /// [`GcRootsList::add_stack_root`]).
    ///
    /// # Errors
    /// If any root could not be found. What was added is then ignored.
    fn trace_roots(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk>;

    /// Gives `drop` the references of handles that the host has dropped since: a
    /// handle that can be dropped without its store is given up only here. Called
    /// before each search for roots.
    fn drop_dead_handles(&mut self, drop: &mut dyn FnMut(VMGcRef)) {
        let _ = drop;
    }
}

/// A mutator that has no roots but the counts the host holds itself; for
/// embedders (and tests) that never run compiled code.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRoots;

impl TraceRoots for NoRoots {
    fn trace_roots(&mut self, _roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        Ok(())
    }
}

/// What a root's slot is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RootKind {
    /// A frame of compiled code.
    Stack,
    /// A table, or a segment that tables are filled from.
    Table,
    /// A global.
    Global,
    /// A handle of the host's.
    Handle,
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RootKind::Stack => "stack slot",
            RootKind::Table => "table",
            RootKind::Global => "global",
            RootKind::Handle => "handle",
        })
    }
}

/// Where one root stands.
#[derive(Clone, Copy, Debug)]
enum RawRoot {
    /// Eight bytes in a frame of compiled code: a zero-extended reference or zero.
    Stack(*mut u64),
    /// Four bytes anywhere else outside the heap: a reference or zero.
    NonStack(*mut u32, RootKind),
}

/// Which roots a collection needs. Those that are not needed may be named all the
/// same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootsWanted {
    /// Those on the stack: references elsewhere are counted.
    Stack,
    /// Those on the stack, every host handle and every constant that is new since a collection
    /// that needed these looked at them, every slot whose writes no
    /// barrier notes, and of all others the [remembered](GcRootsList::add_remembered) ones: no
    /// other refers to a young object. After a collection that was dropped before it had
    /// looked at its roots, a collector needs all.
    Remembered,
    /// All.
    #[default]
    All,
}

/// A set of slots outside stack and heap, which may hold more than was added to it: slots
/// are told apart by some bits of their addresses. Emitted code can add to it by a store.
#[derive(Debug, Default)]
pub struct RememberedSlots {
    /// The card of the slot at address `a` is `(a >> shift) % cards.len()`, zero if no
    /// slot of it is in the set.
    cards: Vec<u8>,
    shift: u32,
}

impl RememberedSlots {
    /// An empty set with `cards` cards, a power of two, each for `1 << shift` bytes.
    pub fn new(cards: u32, shift: u32) -> RememberedSlots {
        debug_assert!(cards.is_power_of_two() && shift >= 2);
        RememberedSlots { cards: vec![0; cards as usize], shift }
    }

    fn card(&self, address: usize) -> usize {
        (address >> self.shift) & (self.cards.len().wrapping_sub(1))
    }

    /// Adds the slot at this address.
    #[inline]
    pub fn insert(&mut self, address: usize) {
        let card = self.card(address);
        if let Some(card) = self.cards.get_mut(card) {
            *card = 1;
        }
    }

    /// Whether the slot at this address may have been added.
    #[inline]
    pub fn contains(&self, address: usize) -> bool {
        self.cards.get(self.card(address)).is_some_and(|&card| card != 0)
    }

    /// How many slots from the one at this address on are in the set if it is, and are
    /// not if it is not.
    fn slots_from(&self, address: usize) -> usize {
        let bytes = (1 << self.shift) - (address & ((1 << self.shift) - 1));
        (bytes / size_of::<u32>()).max(1)
    }

    /// Removes all slots.
    pub fn clear(&mut self) {
        self.cards.fill(0);
    }

    /// The cards, which emitted code may write; they never move.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.cards.as_mut_ptr()
    }
}

impl Clone for RememberedSlots {
    fn clone(&self) -> RememberedSlots {
        RememberedSlots { cards: self.cards.clone(), shift: self.shift }
    }

    fn clone_from(&mut self, other: &RememberedSlots) {
        self.cards.clone_from(&other.cards);
        self.shift = other.shift;
    }
}

/// A reusable list of the places roots stand in.
#[derive(Debug, Default)]
pub struct GcRootsList {
    roots: Vec<RawRoot>,
    wanted: RootsWanted,
    remembered: Option<RememberedSlots>,
}

// SAFETY: whoever adds a root promises that its slot may be accessed from
// whatever thread holds the list.
unsafe impl Send for GcRootsList {}
// SAFETY: a shared list gives access to no slot.
unsafe impl Sync for GcRootsList {}

impl GcRootsList {
    /// Adds a slot of a stack frame, as stack maps describe it: eight bytes that
    /// hold a zero-extended reference, or zero for null.
    ///
    /// # Safety
    /// Until the list is cleared, or the borrow of the
    /// [`TraceRoots`] that added the slot ends, `slot` must be
    /// valid for reads and writes from any thread, aligned, initialized, and
    /// accessed by nobody but the list.
    pub unsafe fn add_stack_root(&mut self, slot: *mut u64) {
        self.roots.push(RawRoot::Stack(slot));
    }

    /// Adds a slot outside stack and heap, of a table, a global or a host handle as
    /// `kind` says: four bytes that hold a reference, or zero for null.
    ///
    /// # Safety
    /// As [`add_stack_root`](GcRootsList::add_stack_root).
    pub unsafe fn add_non_stack_root(&mut self, slot: *mut u32, kind: RootKind) {
        self.roots.push(RawRoot::NonStack(slot, kind));
    }

    /// Which roots the collection needs. A large table whose slots need not be
    /// named costs it nothing.
    pub fn wanted(&self) -> RootsWanted {
        self.wanted
    }

    /// Says which roots are needed.
    pub fn set_wanted(&mut self, wanted: RootsWanted) {
        self.wanted = wanted;
    }

    /// Says which slots are remembered.
    pub fn set_remembered(&mut self, slots: &RememberedSlots) {
        self.remembered.get_or_insert_with(RememberedSlots::default).clone_from(slots);
    }

    /// Adds those of `count` slots of a table that hold a reference and are remembered. For
    /// [`RootsWanted::Remembered`].
    ///
    /// # Safety
    /// As [`add_non_stack_root`](GcRootsList::add_non_stack_root), for each of them.
    pub unsafe fn add_remembered(&mut self, first: *mut u32, count: usize) {
        let Some(remembered) = &self.remembered else { return };
        let mut n = 0;
        while n < count {
            // SAFETY: in bounds, as the caller promised.
            let slot = unsafe { first.add(n) };
            let end = n.saturating_add(remembered.slots_from(slot.addr())).min(count);
            if remembered.contains(slot.addr()) {
                for n in n..end {
                    // SAFETY: as above; the slot may be read until it is in the list.
                    let (slot, word) = unsafe { (first.add(n), first.add(n).read()) };
                    if word != 0 {
                        self.roots.push(RawRoot::NonStack(slot, RootKind::Table));
                    }
                }
            }
            n = end;
        }
    }

    /// Forgets all roots and remembered slots, keeps the memory they stood in. All
    /// roots are wanted.
    pub fn clear(&mut self) {
        self.roots.clear();
        if let Some(remembered) = &mut self.remembered {
            remembered.clear();
        }
        self.wanted = RootsWanted::All;
    }

    /// Number of roots.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether there are no roots.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Number of roots there is room for without allocating.
    pub fn capacity(&self) -> usize {
        self.roots.capacity()
    }

    /// The roots, in the order they were added.
    pub fn iter(&mut self) -> GcRootsIter<'_> {
        GcRootsIter { roots: self.roots.iter(), all: &self.roots }
    }
}

/// Iterates over roots.
#[derive(Debug)]
pub struct GcRootsIter<'a> {
    roots: std::slice::Iter<'a, RawRoot>,
    all: &'a [RawRoot],
}

impl GcRootsIter<'_> {
    /// Begins again with the first root, for collectors that look at them twice.
    pub fn restart(&mut self) {
        self.roots = self.all.iter();
    }
}

// SAFETY: made from an exclusively borrowed `GcRootsList`, which may itself be sent.
unsafe impl Send for GcRootsIter<'_> {}
// SAFETY: a shared iterator gives access to no slot.
unsafe impl Sync for GcRootsIter<'_> {}

impl<'a> Iterator for GcRootsIter<'a> {
    type Item = GcRoot<'a>;

    #[inline]
    fn next(&mut self) -> Option<GcRoot<'a>> {
        self.roots.next().map(|&raw| GcRoot { raw, _list: PhantomData })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.roots.size_hint()
    }
}

impl ExactSizeIterator for GcRootsIter<'_> {}

/// One root: a slot that can be read and, by a moving collector, overwritten.
#[derive(Debug)]
pub struct GcRoot<'a> {
    raw: RawRoot,
    _list: PhantomData<&'a mut GcRootsList>,
}

impl GcRoot<'_> {
    /// Whether it stands in a frame of compiled code.
    pub fn is_on_stack(&self) -> bool {
        matches!(self.raw, RawRoot::Stack(_))
    }

    /// What its slot is part of.
    pub fn kind(&self) -> RootKind {
        match self.raw {
            RawRoot::Stack(_) => RootKind::Stack,
            RawRoot::NonStack(_, kind) => kind,
        }
    }

    /// The address of its slot.
    pub fn address(&self) -> usize {
        match self.raw {
            RawRoot::Stack(slot) => slot.addr(),
            RawRoot::NonStack(slot, _) => slot.addr(),
        }
    }

    /// The reference that stands there now, without a barrier; it may be an `i31`.
    #[inline]
    pub fn get(&self) -> Option<VMGcRef> {
        VMGcRef::from_raw_u32(match self.raw {
            // SAFETY: whoever added the slot promised it is valid while the list
            // is borrowed, and no Rust reference to it is made here.
            RawRoot::Stack(slot) => unsafe { slot.read() as u32 },
            // SAFETY: as above.
            RawRoot::NonStack(slot, _) => unsafe { slot.read() },
        })
    }

    /// Puts another reference there, without a barrier.
    #[inline]
    pub fn set(&mut self, new: VMGcRef) {
        match self.raw {
            // SAFETY: as in `get`.
            RawRoot::Stack(slot) => unsafe { slot.write(u64::from(new.as_raw_u32())) },
            // SAFETY: as in `get`.
            RawRoot::NonStack(slot, _) => unsafe { slot.write(new.as_raw_u32()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_slots_in_a_row_those_on_remembered_cards_are_added() {
        let mut slots: Vec<u32> = (0..4096).map(|n| if n % 3 == 0 { 0 } else { 64 }).collect();
        let (first, len) = (slots.as_mut_ptr(), slots.len());
        let mut set = RememberedSlots::new(64, 8);
        let mut list = GcRootsList::default();
        // SAFETY: the slots live, and are not touched, until the list is cleared.
        unsafe { list.add_remembered(first, len) };
        assert!(list.is_empty(), "no set was given");
        list.set_remembered(&set);
        // SAFETY: as above.
        unsafe { list.add_remembered(first, len) };
        assert!(list.is_empty(), "the set is empty");
        let remembered = [0, 1000, 1001, 4095].map(|n| first.wrapping_add(n).addr());
        remembered.iter().for_each(|&slot| set.insert(slot));
        list.set_remembered(&set);
        // SAFETY: as above.
        unsafe { list.add_remembered(first, len) };
        let added: Vec<usize> = list
            .roots
            .iter()
            .map(|root| match root {
                RawRoot::NonStack(slot, _) => slot.addr(),
                RawRoot::Stack(_) => panic!("not on the stack"),
            })
            .collect();
        let (all, card) = (0..len, |slot: usize| (slot >> 8) % 64);
        let expected: Vec<usize> = all
            .filter(|n| n % 3 != 0)
            .map(|n| first.wrapping_add(n).addr())
            .filter(|&slot| remembered.iter().any(|&other| card(other) == card(slot)))
            .collect();
        assert_eq!(added, expected);
        assert!(added.len() > 40 && added.len() < 2000, "{}", added.len());
        list.clear();
        // SAFETY: as above.
        unsafe { list.add_remembered(first, len) };
        assert!(list.is_empty());
    }

    #[test]
    fn roots_are_read_and_overwritten_in_place() {
        let mut stack = [64u64, 0, 3];
        let mut other = [128u32, 0];
        let mut list = GcRootsList::default();
        // SAFETY: the slots live, and are not touched, until the list is cleared.
        unsafe {
            for i in 0..stack.len() {
                list.add_stack_root((&raw mut stack).cast::<u64>().add(i));
            }
            for i in 0..other.len() {
                let slot = (&raw mut other).cast::<u32>().add(i);
                list.add_non_stack_root(slot, RootKind::Global);
            }
        }
        let seen: Vec<_> =
            list.iter().map(|r| (r.is_on_stack(), r.get().map(|r| r.as_raw_u32()))).collect();
        assert_eq!(
            seen,
            [(true, Some(64)), (true, None), (true, Some(3)), (false, Some(128)), (false, None)]
        );
        let last = list.iter().last().unwrap();
        assert_eq!((last.kind(), last.address()), (RootKind::Global, (&raw mut other[1]).addr()));
        for mut root in list.iter() {
            if root.get().is_some_and(|r| !r.is_i31()) {
                root.set(VMGcRef::from_heap_index(256).unwrap());
            }
        }
        let mut again = list.iter();
        let first = again.next().and_then(|root| root.get());
        again.restart();
        assert_eq!((again.len(), again.next().and_then(|root| root.get())), (5, first));
        list.clear();
        assert_eq!((stack, other), ([256, 0, 3], [256, 0]));
    }

    #[test]
    fn a_second_use_allocates_nothing() {
        let mut slots = [8u32; 1000];
        let mut list = GcRootsList::default();
        let mut capacity = None;
        for _ in 0..3 {
            list.clear();
            let first = (&raw mut slots).cast::<u32>();
            for i in 0..1000 {
                // SAFETY: in bounds, and `slots` outlives the list's use of it.
                unsafe { list.add_non_stack_root(first.add(i), RootKind::Table) };
            }
            assert_eq!(list.iter().len(), 1000);
            assert_eq!(*capacity.get_or_insert(list.capacity()), list.capacity());
        }
    }

    #[test]
    fn lists_and_iterators_can_be_sent() {
        fn send<T: Send>() {}
        send::<GcRootsList>();
        send::<GcRootsIter<'_>>();
    }
}
