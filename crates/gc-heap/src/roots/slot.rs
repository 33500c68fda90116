//! [`GcRoot`]: one slot that holds a reference, by its address.
//!
//! This is the only file, besides those of heap memory, that dereferences raw pointers. The code
//! that knows the slots' addresses (a stack walker, a table) guarantees that they are valid when it
//! adds or registers them. All other code is safe.
#![allow(unsafe_code)]

use super::{GcRootsList, RootOwner};
use crate::remember::RememberedSlots;
use gc_types::{RootKind, VMGcRef};
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

/// Consecutive slots outside the stack and the heap. Each has four bytes and holds a reference or
/// zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    first: *mut u32,
    len: u32,
    /// The owner of the first slot.
    owner: Group,
    /// The number of the first slot in its group.
    index: u32,
}

/// A group of slots that were registered or are kept together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group {
    Slots(RootKind, u32),
    Handles { owned: bool },
}

impl Words {
    /// The slots that are registered at this address.
    pub(super) fn new(first: NonNull<u32>, len: u32, kind: RootKind, number: u32) -> Words {
        Words { first: first.as_ptr(), len, owner: Group::Slots(kind, number), index: 0 }
    }

    /// Slots that belong to code in this crate. That code does not access them while the
    /// [`GcRootsList`] for which they are made is borrowed.
    pub(super) fn of(slots: &mut [Option<VMGcRef>], owner: Group) -> Words {
        // An `Option<VMGcRef>` is a word, and null is zero.
        const _: () = assert!(size_of::<Option<VMGcRef>>() == 4);
        let len = u32::try_from(slots.len()).expect("fewer than 2^32 slots");
        Words { first: slots.as_mut_ptr().cast(), len, owner, index: 0 }
    }

    /// Changes the address of the slots. Returns whether existing slots have moved.
    pub(super) fn moved(&mut self, first: NonNull<u32>, len: u32) -> bool {
        let moved = self.len > 0 && self.first != first.as_ptr();
        (self.first, self.len) = (first.as_ptr(), len);
        moved
    }

    /// Number of slots.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// The `len` slots that begin with number `from`.
    pub(super) fn part(&self, from: u32, len: u32) -> Words {
        debug_assert!(u64::from(from) + u64::from(len) <= u64::from(self.len));
        let first = self.first.wrapping_add(from as usize);
        Words { first, len, index: self.index + from, ..*self }
    }

    /// Calls `visit` with the remembered slots, one row after the other.
    pub(super) fn remembered(&self, slots: &RememberedSlots, mut visit: impl FnMut(Words)) {
        let mut at = 0;
        while at < self.len {
            let address = self.first.wrapping_add(at as usize).addr();
            let left = self.len - at;
            let count = u32::try_from(slots.slots_from(address)).unwrap_or(left).min(left);
            if slots.contains(address) {
                visit(self.part(at, count));
            }
            at += count;
        }
    }

    /// Calls `visit` with rows of slots, among them all that refer to objects in `range`.
    pub(super) fn referring_to(&self, range: &Range<u32>, mut visit: impl FnMut(Words)) {
        const ROW: u32 = 64;
        let len = range.end - range.start;
        for at in (0..self.len).step_by(ROW as usize) {
            let row = self.part(at, ROW.min(self.len - at));
            let refers = |n: u32| {
                // SAFETY: the index is in bounds. The code that registered the slots promised that they
                // can be read as long as the list is borrowed.
                let word = unsafe { row.first.add(n as usize).read() };
                word.wrapping_sub(range.start) < len
            };
            // Written so that the compiler tests many at once.
            if (0..row.len).fold(false, |any, n| any | refers(n)) {
                visit(row);
            }
        }
    }

    /// Whether a slot has a word for which `is` returns true.
    pub(super) fn any(&self, is: &impl Fn(u32) -> bool) -> bool {
        let mut next = 0;
        // SAFETY: `next` returns a slot that can be read.
        std::iter::from_fn(|| self.next(&mut next)).any(|slot| is(unsafe { slot.read() }))
    }

    /// The first slot that is not null, from number `next` on. Sets `next` to the number after it.
    #[inline]
    pub(super) fn next(&self, next: &mut u32) -> Option<*mut u32> {
        while *next < self.len {
            // SAFETY: the index is in bounds. The code that registered the slots promised that they
            // can be read as long as the list is borrowed.
            let (slot, word) = unsafe {
                let slot = self.first.add(*next as usize);
                (slot, slot.read())
            };
            *next += 1;
            if word != 0 {
                return Some(slot);
            }
        }
        None
    }
}

/// The place of one root.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot<'a> {
    /// Eight bytes in a frame of compiled code, with a zero-extended reference or zero.
    Stack(*mut u64),
    /// Four bytes at another place outside the heap, with a reference or zero.
    Word(*mut u32, &'a Words),
}

/// One root: a slot that can be read. A moving collector can also overwrite it.
///
/// # Examples
/// ```
/// use gc_heap::GcRootsList;
/// use gc_types::VMGcRef;
///
/// let mut roots = GcRootsList::default();
/// let segment = roots.add_segment(0, vec![VMGcRef::from_heap_index(0x10000)]);
/// for mut root in roots.all() {
///     assert_eq!(root.get(), VMGcRef::from_heap_index(0x10000));
///     // A moving collector writes the object's new place.
///     root.set(VMGcRef::from_heap_index(0x20000).unwrap());
/// }
/// assert_eq!(roots.segment(segment), [VMGcRef::from_heap_index(0x20000)]);
/// ```
#[derive(Debug)]
pub struct GcRoot<'a> {
    slot: Slot<'a>,
    _list: PhantomData<&'a mut GcRootsList>,
}

impl<'a> GcRoot<'a> {
    /// The root in this slot of a list that is borrowed for `'a`.
    #[inline]
    pub(super) fn new(slot: Slot<'a>) -> GcRoot<'a> {
        GcRoot { slot, _list: PhantomData }
    }

    /// Whether it is in a frame of compiled code.
    #[inline]
    pub fn is_on_stack(&self) -> bool {
        matches!(self.slot, Slot::Stack(_))
    }

    /// Whether its reference is one that the heap has handed out
    /// ([`clone_gc_ref`](crate::GcHeap::clone_gc_ref)). Those on the stack and those of scoped
    /// handles are not.
    #[inline]
    pub fn is_counted(&self) -> bool {
        match self.slot {
            Slot::Stack(_) => false,
            Slot::Word(_, words) => !matches!(words.owner, Group::Handles { owned: false }),
        }
    }

    /// The owner of its slot.
    pub fn owner(&self) -> RootOwner {
        match self.slot {
            Slot::Stack(slot) => RootOwner::Frame { slot: slot.addr() },
            Slot::Word(slot, words) => {
                let nth = (slot.addr() - words.first.addr()) / size_of::<u32>();
                let index = words.index + nth as u32;
                match words.owner {
                    Group::Slots(kind, number) => RootOwner::registered(kind, number, index),
                    Group::Handles { owned } => RootOwner::Handle { index, owned },
                }
            }
        }
    }

    /// The kind of the root.
    pub fn kind(&self) -> RootKind {
        match self.slot {
            Slot::Stack(_) => RootKind::Stack,
            Slot::Word(_, Words { owner: Group::Slots(kind, _), .. }) => *kind,
            Slot::Word(_, Words { owner: Group::Handles { .. }, .. }) => RootKind::Handle,
        }
    }

    /// The address of its slot.
    pub fn address(&self) -> usize {
        match self.slot {
            Slot::Stack(slot) => slot.addr(),
            Slot::Word(slot, _) => slot.addr(),
        }
    }

    /// The current reference in the slot, read without a barrier. It may be an `i31`.
    #[inline]
    pub fn get(&self) -> Option<VMGcRef> {
        VMGcRef::from_raw_u32(match self.slot {
            // SAFETY: the code that added the slot promised that it is valid while the list is
            // borrowed. No Rust reference to it is made here.
            Slot::Stack(slot) => unsafe { slot.read() as u32 },
            // SAFETY: as above.
            Slot::Word(slot, _) => unsafe { slot.read() },
        })
    }

    /// Overwrites the reference in the slot, without a barrier.
    #[inline]
    pub fn set(&mut self, new: VMGcRef) {
        match self.slot {
            // SAFETY: as in `get`.
            Slot::Stack(slot) => unsafe { slot.write(u64::from(new.as_raw_u32())) },
            // SAFETY: as in `get`.
            Slot::Word(slot, _) => unsafe { slot.write(new.as_raw_u32()) },
        }
    }
}

/// A word of the host as a slot.
pub(crate) fn as_slot(word: &mut u32) -> &mut Option<VMGcRef> {
    // SAFETY: an `Option<VMGcRef>` has the size and alignment of a `u32`. It is a transparent
    // non-zero number, or zero. So each is valid as the other.
    unsafe { NonNull::from(word).cast::<Option<VMGcRef>>().as_mut() }
}
