//! The functions of a store, by name.
//!
//! A name has a slot, whose address never changes: compiled code has it. In the slot is a reference to
//! the function that the name stands for now.
#![allow(unsafe_code)]

use super::host::PlacedHost;
use super::piece::PieceId;
use super::reference::Reference;
use crate::Signature;
use anyhow::{Result, ensure};
use gc_types::CallSignature;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::ptr::null;
use std::sync::Arc;

/// The number of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId(usize);

/// A function that a name stands for.
pub(super) enum Target {
    /// A compiled function.
    Compiled {
        piece: PieceId,
        address: *const u8,
        vmctx: *mut u8,
        /// The function's number among those of the code.
        function: u32,
    },
    /// A host function.
    Host(PlacedHost),
    /// Nothing but an error: the name is declared.
    Missing(PlacedHost),
}

/// A name with its function.
pub(super) struct Slot {
    name: Arc<str>,
    pub(super) target: Target,
    reference: Reference,
}

// SAFETY: a target points to what belongs to the same store and moves with it.
unsafe impl Send for Target {}
// SAFETY: shared access to a store does not read it.
unsafe impl Sync for Target {}

/// The functions of a store.
#[derive(Default)]
pub(crate) struct Functions {
    names: FxHashMap<Arc<str>, SlotId>,
    slots: Vec<Slot>,
    /// The trampolines by which compiled code calls host functions, by signature.
    exits: BTreeMap<CallSignature, Exit>,
    /// The signatures of host functions for which no code of the store has an exit trampoline.
    without_exit: BTreeSet<CallSignature>,
}

/// An exit trampoline of a piece of code that the store keeps.
struct Exit(*const u8);

// SAFETY: as for `Target`.
unsafe impl Send for Exit {}
// SAFETY: as for `Target`.
unsafe impl Sync for Exit {}

impl Functions {
    /// Makes room for further names.
    pub(super) fn reserve(&mut self, count: usize) {
        self.names.reserve(count);
        self.slots.reserve(count);
    }

    /// The slot of a name.
    pub(super) fn find(&self, name: &str) -> Option<SlotId> {
        self.names.get(name).copied()
    }

    pub(super) fn slot(&self, id: SlotId) -> &Slot {
        &self.slots[id.0]
    }

    /// The names and types, in alphabetical order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Signature)> {
        let mut sorted: Vec<_> = self.slots.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        sorted.into_iter().map(|slot| (&*slot.name, slot.signature()))
    }

    /// Adds a name.
    pub(super) fn add(&mut self, name: Arc<str>, target: Target, reference: Reference) {
        let id = SlotId(self.slots.len());
        self.slots.push(Slot { name: name.clone(), target, reference });
        self.names.insert(name, id);
        self.refer(id);
    }

    /// Makes a name stand for another function. Returns what it stood for.
    pub(super) fn set(&mut self, id: SlotId, target: Target) -> Target {
        let before = std::mem::replace(&mut self.slots[id.0].target, target);
        self.refer(id);
        before
    }

    /// Writes what compiled code reads of a function.
    fn refer(&mut self, id: SlotId) {
        let slot = &self.slots[id.0];
        let Slot { target, reference, .. } = slot;
        let (code, vmctx) = match target {
            Target::Compiled { address, vmctx, .. } => (*address, *vmctx),
            // Without a trampoline there is no code that could call it.
            Target::Host(host) | Target::Missing(host) => {
                let exit = self.exits.get(slot.signature().call_signature());
                (exit.map_or(null(), |exit| exit.0), host.vmctx())
            }
        };
        reference.set(code, vmctx);
    }

    /// The address of a function's reference, for compiled code.
    pub(super) fn reference(&self, id: SlotId) -> usize {
        self.slot(id).reference.address()
    }

    /// Whether nobody has looked yet for an exit trampoline for host functions of this signature.
    pub(super) fn needs_exit(&self, signature: &CallSignature) -> bool {
        !self.exits.contains_key(signature) && !self.without_exit.contains(signature)
    }

    /// No code of the store has an exit trampoline for host functions of this signature.
    pub(super) fn has_no_exit(&mut self, signature: &CallSignature) {
        self.without_exit.insert(signature.clone());
    }

    /// The signatures of host functions that have no exit trampoline.
    pub(super) fn without_exit(&self) -> impl Iterator<Item = &CallSignature> {
        self.without_exit.iter()
    }

    /// Gives the host functions of this signature an exit trampoline, whose code the store keeps.
    pub(super) fn add_exit(&mut self, signature: CallSignature, address: *const u8) {
        let waiting = |slot: &Slot| {
            !matches!(slot.target, Target::Compiled { .. })
                && *slot.signature().call_signature() == signature
        };
        let waiting: Vec<_> =
            (0..self.slots.len()).filter(|id| waiting(&self.slots[*id])).collect();
        self.without_exit.remove(&signature);
        self.exits.insert(signature, Exit(address));
        waiting.into_iter().for_each(|id| self.refer(SlotId(id)));
    }
}

impl Slot {
    /// Checks that the function has this type.
    pub(super) fn expect(&self, asked: &Signature) -> Result<()> {
        expect(&self.name, self.signature(), asked)
    }

    pub(super) fn signature(&self) -> &Signature {
        self.reference.signature()
    }
}

/// Checks that the function with this name and this type is of the type that was asked for.
pub(super) fn expect(name: &str, signature: &Signature, asked: &Signature) -> Result<()> {
    ensure!(signature == asked, "the function `{name}` is of type {signature}, not {asked}");
    Ok(())
}
