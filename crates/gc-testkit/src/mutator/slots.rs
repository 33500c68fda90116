//! The slots of a mock mutator's references: stack slots of eight bytes, and table elements,
//! globals and host handles of four. They are native words at fixed addresses, like those of
//! compiled code, between guard words that must not be written. Only this file uses addresses of
//! slots.
#![allow(unsafe_code)]

use crate::place::{RootSlot, SLOTS};
use anyhow::{Result, ensure};
use gc_heap::{FrameSlot, GcRootsList, IncompleteWalk, TraceRoots};
use gc_types::{RootKind, VMGcRef};
use std::ptr::NonNull;

/// The guard word before and after the slots.
const GUARD: u64 = 0x5afe_c0de_5afe_c0de;

/// All slots of one mutator.
#[derive(Debug)]
pub struct Slots {
    /// Stack slots, between two guard words.
    stack: Vec<u64>,
    /// The other slots, also between guard words.
    others: Vec<u32>,
    /// Whether the next walk fails.
    lost: bool,
}

impl Default for Slots {
    fn default() -> Self {
        let mut stack = [0; SLOTS + 2];
        (stack[0], stack[SLOTS + 1]) = (GUARD, GUARD);
        let mut others = [0; 3 * SLOTS + 2];
        (others[0], others[3 * SLOTS + 1]) = (GUARD as u32, GUARD as u32);
        Slots { stack: stack.into(), others: others.into(), lost: false }
    }
}

impl Slots {
    /// The word at `place`.
    pub fn word(&self, place: RootSlot) -> u32 {
        match place {
            RootSlot::Stack(_) => self.stack[1 + place.number()] as u32,
            _ => self.others[1 + place.number() - SLOTS],
        }
    }

    /// Writes the word at `place`, without any barrier.
    pub fn set_word(&mut self, place: RootSlot, word: u32) {
        match place {
            RootSlot::Stack(_) => self.stack[1 + place.number()] = u64::from(word),
            _ => self.others[1 + place.number() - SLOTS] = word,
        }
    }

    /// The slot at `place`, unless that is on the stack.
    pub(crate) fn other_mut(&mut self, place: RootSlot) -> Option<&mut u32> {
        match place {
            RootSlot::Stack(_) => None,
            _ => Some(&mut self.others[1 + place.number() - SLOTS]),
        }
    }

    /// The reference at `place`, without a barrier. It is valid until the next collection.
    pub fn get(&self, place: RootSlot) -> Option<VMGcRef> {
        VMGcRef::from_raw_u32(self.word(place))
    }

    /// Empties all slots, without any barrier.
    pub fn forget(&mut self) {
        RootSlot::all().for_each(|place| self.set_word(place, 0));
    }

    /// Sets whether walks fail from now on.
    pub fn set_lost(&mut self, lost: bool) {
        self.lost = lost;
    }

    /// Checks the guard words, and that stack slots are zero-extended.
    ///
    /// # Errors
    /// If a collector wrote where it must not write.
    pub fn check(&self) -> Result<()> {
        let stack = [self.stack[0], self.stack[SLOTS + 1]];
        let others = [self.others[0], self.others[3 * SLOTS + 1]];
        ensure!(
            stack == [GUARD; 2] && others == [GUARD as u32; 2],
            "a word beside the mutator's slots was overwritten"
        );
        let extended = self.stack[1..=SLOTS].iter().all(|&word| word >> 32 == 0);
        ensure!(extended, "a stack slot is not zero-extended");
        Ok(())
    }
}

impl Slots {
    /// Registers the slots that are not on the stack. Their numbers are their positions among the
    /// slots of their kind.
    pub fn register(&mut self, roots: &mut GcRootsList) {
        let first = NonNull::from(&mut self.others[1]);
        for (i, kind) in [RootKind::Table, RootKind::Global, RootKind::Handle].iter().enumerate() {
            // SAFETY: the slots are in bounds of a vector that does not move or change its length
            // as long as `self` lives. `self` lives as long as the list.
            unsafe { roots.add_slots(*kind, 0, first.add(i * SLOTS), SLOTS) };
        }
    }
}

impl TraceRoots for Slots {
    fn trace_stack(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        if self.lost {
            return Err(IncompleteWalk { why: "the mock mutator's walk was told to fail".into() });
        }
        let stack = self.stack[1..=SLOTS].as_mut_ptr();
        for i in 0..SLOTS {
            // SAFETY: the slot is in bounds of a vector that `self` owns. So only the list can
            // access the slot while `self` is borrowed.
            unsafe { roots.add_stack_root(stack.add(i)) };
        }
        Ok(())
    }

    fn frame_of(&self, slot: usize) -> Option<FrameSlot> {
        let offset = slot.checked_sub(self.stack.as_ptr().addr())?;
        let is_inside = offset < size_of_val(&self.stack[..]);
        let function = "the mock mutator".to_owned();
        is_inside.then_some(FrameSlot { function, offset: offset as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_a_root_of_its_own() {
        let (mut slots, mut roots) = (Slots::default(), GcRootsList::default());
        slots.register(&mut roots);
        for (i, place) in RootSlot::all().enumerate() {
            assert_eq!(place.number(), i);
            slots.set_word(place, 16 + 8 * i as u32);
        }
        slots.trace_stack(&mut roots).unwrap();
        let mut seen: Vec<_> = roots
            .all()
            .map(|root| (root.get().unwrap().as_raw_u32(), root.kind(), root.owner().to_string()))
            .collect();
        seen.sort_by_key(|root| root.0);
        let expected = RootSlot::all().map(|place| {
            let word = 16 + 8 * place.number() as u32;
            let (kind, owner) = match place {
                RootSlot::Stack(_) => (RootKind::Stack, "stack slot".to_owned()),
                RootSlot::Table(n) => (RootKind::Table, format!("element {n} of table 0")),
                RootSlot::Global(n) => (RootKind::Global, format!("global {n}")),
                RootSlot::Handle(n) => (RootKind::Handle, format!("handle {n}")),
            };
            (word, kind, owner)
        });
        assert_eq!(seen, expected.collect::<Vec<_>>());
        let first = roots.stack().next().unwrap();
        let frame = slots.frame_of(first.address()).unwrap();
        assert_eq!(frame.to_string(), "stack slot +8 of the mock mutator");
        assert_eq!(slots.frame_of((&raw const slots.others[1]).addr()), None);
        for mut root in roots.all() {
            root.set(VMGcRef::from_heap_index(1 << 20).unwrap());
        }
        assert!(RootSlot::all().all(|place| slots.word(place) == 1 << 20));
        slots.check().unwrap();
        slots.set_lost(true);
        assert!(slots.trace_stack(&mut roots).is_err());
    }

    #[test]
    fn every_byte_names_a_place() {
        let named: std::collections::HashSet<_> = (0..=255).map(RootSlot::from_byte).collect();
        assert_eq!(named.len(), 4 * SLOTS);
        assert!(RootSlot::all().all(|place| named.contains(&place)));
    }

    #[test]
    fn overwritten_guards_are_noticed() {
        let mut slots = Slots::default();
        slots.others[0] = 1;
        assert!(slots.check().is_err());
        let mut slots = Slots::default();
        slots.stack[3] = 1 << 40;
        assert!(slots.check().is_err());
    }
}
