//! Roots that a test has in words of its own: [`Stack`], and slots outside the stack ([`add_slots`]).
//!
//! The list of roots keeps addresses. So a test keeps its words where they are, and reads and writes them only
//! between collections, as long as the list has them. The mock mutator ([`Mutator`](crate::mutator::Mutator)) does
//! this by itself.
#![allow(unsafe_code)]

use gc_heap::{GcRootsList, IncompleteWalk, SlotsId, TraceRoots};
use gc_types::{RootKind, VMGcRef};
use std::ptr::NonNull;

/// A mutator whose stack has any number of slots.
///
/// # Examples
/// ```
/// use gc_heap::{GcStore, HeapOptions, toy::ToyCollector};
/// use gc_testkit::roots::Stack;
///
/// let mut store = GcStore::new(&ToyCollector, &HeapOptions::default())?;
/// let mut stack = Stack::default();
/// let kept = store.alloc_externref(&mut stack, Box::new(7)).map_err(|(error, _)| error)?;
/// stack.push(&kept);
/// store.gc(&mut stack)?;
/// assert_eq!(store.host_data().len(), 1);
/// stack.0[0] = 0;
/// store.gc(&mut stack)?;
/// assert_eq!(store.host_data().len(), 0);
/// # Ok::<(), gc_heap::HeapError>(())
/// ```
#[derive(Debug, Default)]
pub struct Stack(
    /// The words of the slots, as compiled code writes them: references that are zero-extended.
    pub Vec<u64>,
);

impl Stack {
    /// Adds a slot with this reference.
    pub fn push(&mut self, object: &VMGcRef) {
        self.0.push(u64::from(object.as_raw_u32()));
    }

    /// The word of a slot, as the heap has it.
    pub fn word(&self, slot: usize) -> u32 {
        self.0[slot] as u32
    }

    /// The reference in a slot.
    pub fn get(&self, slot: usize) -> Option<VMGcRef> {
        VMGcRef::from_raw_u32(self.word(slot))
    }

    /// Writes a reference to a slot, without any barrier.
    pub fn set(&mut self, slot: usize, object: &VMGcRef) {
        self.0[slot] = u64::from(object.as_raw_u32());
    }
}

impl TraceRoots for Stack {
    fn trace_stack(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        add_stack(&mut self.0, roots);
        Ok(())
    }
}

/// Adds `slots` as slots on the stack.
pub fn add_stack(slots: &mut [u64], roots: &mut GcRootsList) {
    let first = slots.as_mut_ptr();
    for i in 0..slots.len() {
        // SAFETY: in bounds; a test keeps its words as long as the list has them.
        unsafe { roots.add_stack_root(first.add(i)) };
    }
}

/// Registers `slots`, at least one, as slots outside the stack, which have this number.
pub fn add_slots(
    slots: &mut [u32],
    kind: RootKind,
    number: u32,
    roots: &mut GcRootsList,
) -> SlotsId {
    let (first, len) = (NonNull::from(&mut slots[0]), slots.len());
    // SAFETY: these are words of a slice; a test keeps them as long as the list has them.
    unsafe { roots.add_slots(kind, number, first, len) }
}
