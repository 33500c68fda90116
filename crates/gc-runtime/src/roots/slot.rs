//! [`GcRoot`]: one slot that holds a reference, by its address.
//!
//! This is the one file besides heap memory that dereferences raw pointers. Those who know
//! the slots' addresses (a stack walker, a table) vouch for them when they add or register
//! them; everything behind that is safe.
#![allow(unsafe_code)]

use super::{GcRootsList, RememberedSlots, RootOwner};
use gc_types::{RootKind, VMGcRef};
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Slots in a row outside stack and heap: four bytes each, a reference or zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    first: *mut u32,
    len: u32,
    /// What the first is part of, of its kind.
    owner: Group,
    /// Which slot of that the first is.
    index: u32,
}

/// What slots were registered or kept together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Group {
    Slots(RootKind, u32),
    Handles { owned: bool },
}

impl Words {
    /// The slots that were registered at this address.
    pub(super) fn new(first: NonNull<u32>, len: u32, kind: RootKind, number: u32) -> Words {
        Words { first: first.as_ptr(), len, owner: Group::Slots(kind, number), index: 0 }
    }

    /// Slots that somebody in this crate has, and leaves alone for as long as the
    /// [`GcRootsList`] is borrowed that these are made for.
    pub(super) fn of(slots: &mut [Option<VMGcRef>], owner: Group) -> Words {
        // An `Option<VMGcRef>` is a word, and null is zero.
        const _: () = assert!(size_of::<Option<VMGcRef>>() == 4);
        let len = u32::try_from(slots.len()).expect("fewer than 2^32 slots");
        Words { first: slots.as_mut_ptr().cast(), len, owner, index: 0 }
    }

    /// Says where the slots are now; whether any there were are elsewhere.
    pub(super) fn moved(&mut self, first: NonNull<u32>, len: u32) -> bool {
        let moved = self.len > 0 && self.first != first.as_ptr();
        (self.first, self.len) = (first.as_ptr(), len);
        moved
    }

    /// Number of slots.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// `len` of the slots, from the one numbered `from` on, which are some of these.
    pub(super) fn part(&self, from: u32, len: u32) -> Words {
        debug_assert!(u64::from(from) + u64::from(len) <= u64::from(self.len));
        let first = self.first.wrapping_add(from as usize);
        Words { first, len, index: self.index + from, ..*self }
    }

    /// Calls `visit` with those of the slots that are remembered, row by row.
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

    /// The next slot from number `next` on that is not null; `next` is the number behind.
    #[inline]
    pub(super) fn next(&self, next: &mut u32) -> Option<*mut u32> {
        while *next < self.len {
            // SAFETY: in bounds. Whoever registered the slots promised that they can be read
            // as long as the list is borrowed.
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

/// Where one root stands.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot<'a> {
    /// Eight bytes in a frame of compiled code: a zero-extended reference or zero.
    Stack(*mut u64),
    /// Four bytes anywhere else outside the heap: a reference or zero.
    Word(*mut u32, &'a Words),
}

/// One root: a slot that can be read and, by a moving collector, overwritten.
#[derive(Debug)]
pub struct GcRoot<'a> {
    slot: Slot<'a>,
    _list: PhantomData<&'a mut GcRootsList>,
}

impl<'a> GcRoot<'a> {
    /// The root in this slot, of a list that is borrowed for `'a`.
    #[inline]
    pub(super) fn new(slot: Slot<'a>) -> GcRoot<'a> {
        GcRoot { slot, _list: PhantomData }
    }

    /// Whether it stands in a frame of compiled code.
    #[inline]
    pub fn is_on_stack(&self) -> bool {
        matches!(self.slot, Slot::Stack(_))
    }

    /// What its slot is part of.
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

    /// What kind of root it is.
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

    /// The reference that stands there now, without a barrier; it may be an `i31`.
    #[inline]
    pub fn get(&self) -> Option<VMGcRef> {
        VMGcRef::from_raw_u32(match self.slot {
            // SAFETY: whoever added the slot promised it is valid while the list
            // is borrowed, and no Rust reference to it is made here.
            Slot::Stack(slot) => unsafe { slot.read() as u32 },
            // SAFETY: as above.
            Slot::Word(slot, _) => unsafe { slot.read() },
        })
    }

    /// Puts another reference there, without a barrier.
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

/// A word of the host's as the slot that it is.
pub(crate) fn as_slot(word: &mut u32) -> &mut Option<VMGcRef> {
    // SAFETY: an `Option<VMGcRef>` is four bytes aligned as a `u32` is: a transparent
    // non-zero number, or zero. So each is valid as the other.
    unsafe { NonNull::from(word).cast::<Option<VMGcRef>>().as_mut() }
}
