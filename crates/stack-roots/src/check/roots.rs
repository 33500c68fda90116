//! The law of roots: references survive a call that may collect only in the slots of its stack map.
//!
//! 1. No reference, and no value that was computed from a reference, is used in a later
//!    [epoch](super::epochs) than the one in which it was defined. So every reference that is live
//!    across a call that may collect is reloaded after it. This finds references that the emitter
//!    did not mark and calls without a stack map. The same is true of vectors of references.
//! 2. Where a stack map names a slot, and where code reloads it, the slot holds a current
//!    reference: on each path a reference was stored in it before, and the maps of all later calls
//!    that may collect name it.
//! 3. Only whole, current references are stored in such a slot, and its address is not used for
//!    anything else.
//! 4. The entries of a stack map are words inside their slots that do not overlap.
//! 5. A value that is passed, returned or stored as a reference is a reference, null or an unboxed value.
//!    So the types never call an integer a reference, or a reference an integer. Each value has a type.
//! 6. No load through a reference, or from a slot of a stack map, is both `readonly` and `can_move`: Cranelift may do it
//!    after a call at which the object moves.
//! 7. A call that may collect is not marked as [quiet](crate::calls).
//!
//! A [derived pointer](crate::derived) is in a slot that is current as long as the maps name its base.

use super::BrokenLaw;
use super::facts::{self, Facts, Slot};
use super::kinds::ValueKinds;
use super::types::ValueType;
use crate::calls;
use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::ir::{
    Block, ExceptionTableItem, Inst, InstructionData, Opcode, StackSlot, Value,
};
use std::collections::HashSet;

pub(super) const STALE: &str = "a reference is used after a call that may have moved its object";
pub(super) const STALE_ADDRESS: &str =
    "a value that was computed from a reference is used after a call that may collect";
pub(super) const NOT_PASSED: &str = "a value that is not a reference is passed as one";
pub(super) const NOT_DECLARED: &str = "a call whose types are not declared";

pub(super) fn check(facts: &Facts<'_>) -> Result<(), BrokenLaw> {
    let roots = Roots { facts, frame_addresses: frame_addresses(facts) };
    for &block in &facts.rpo {
        for inst in facts.func.layout.block_insts(block) {
            roots.inst(inst).map_err(|law| BrokenLaw { law, inst })?;
        }
    }
    roots.slots_are_good()
}

struct Roots<'v, 'a> {
    facts: &'v Facts<'a>,
    /// Addresses of stack slots, and what was computed from them.
    frame_addresses: EntitySet<Value>,
}

/// A slot that must hold a current reference at the beginning of a block, because an instruction
/// uses it.
type Wanted = (Block, Slot, Inst);

impl Roots<'_, '_> {
    fn inst(&self, inst: Inst) -> Result<(), &'static str> {
        self.stack_map(inst)?;
        self.uses_are_current(inst)?;
        self.slot_access(inst)?;
        self.types(inst)
    }

    fn stack_map(&self, inst: Inst) -> Result<(), &'static str> {
        if self.facts.is_safepoint(inst) && calls::is_quiet(self.facts.func, inst) {
            return Err("a call that may collect is marked as quiet");
        }
        let entries = self.facts.func.dfg.user_stack_map_entries(inst).unwrap_or_default();
        let mut taken: HashSet<(StackSlot, u32)> = HashSet::new();
        let reference = self.facts.language.reference();
        for entry in entries {
            let slot = self.facts.func.sized_stack_slots.get(entry.slot);
            let slot = slot.ok_or("a stack map entry in a slot that is not declared")?;
            if entry.ty != reference {
                return Err("a stack map entry that is not as wide as a reference");
            }
            let end = entry.offset.checked_add(entry.ty.bytes());
            if end.is_none_or(|end| end > slot.size) {
                return Err("a stack map entry outside its slot");
            }
            if self.facts.derived_slots.contains_key(&(entry.slot, entry.offset)) {
                return Err("a stack map entry for a derived pointer");
            }
            let bytes = reference.bytes();
            let mut covered = (0..bytes).map(|byte| (entry.slot, entry.offset + byte));
            // What is stored for an entry of another map may overwrite a part of this one.
            let mut others = (entry.offset.saturating_sub(bytes - 1)..entry.offset + bytes)
                .filter(|at| *at != entry.offset)
                .map(|at| (entry.slot, at));
            if !covered.all(|byte| taken.insert(byte))
                || !entry.offset.is_multiple_of(bytes)
                    && others.any(|slot| self.facts.root_slots.contains(&slot))
            {
                return Err("stack map entries that overlap");
            }
        }
        Ok(())
    }

    fn uses_are_current(&self, inst: Inst) -> Result<(), &'static str> {
        let func = self.facts.func;
        let is_current = |value: Value, epoch: u32| {
            let value = func.dfg.resolve_aliases(value);
            let kind = self.facts.kind(value);
            if !kind.has(ValueKinds::MOVES) || self.facts.epochs.of(func, value) == epoch {
                return Ok(());
            }
            Err(match kind.has(ValueKinds::DERIVED | ValueKinds::VECTOR_OF_REFS) {
                false => STALE,
                true => STALE_ADDRESS,
            })
        };
        let before = self.facts.epochs.before(inst);
        func.dfg.inst_args(inst).iter().try_for_each(|arg| is_current(*arg, before))?;
        let after = self.facts.epochs.after(inst);
        for call in self.facts.destinations(inst) {
            for arg in call.args(&func.dfg.value_lists).filter_map(|arg| arg.as_value()) {
                is_current(arg, after)?;
            }
        }
        // A context is in the frame during the call, and in no stack map.
        let table = func.dfg.insts[inst].exception_table();
        for item in table.into_iter().flat_map(|table| func.dfg.exception_tables[table].items()) {
            if let ExceptionTableItem::Context(context) = item {
                is_current(context, after)?;
            }
        }
        Ok(())
    }

    /// Checks the accesses to slots of stack maps.
    fn slot_access(&self, inst: Inst) -> Result<(), &'static str> {
        let dfg = &self.facts.func.dfg;
        let address_in = |value: Value| match self.facts.definition(value) {
            Some((_, InstructionData::StackAddr { stack_slot, .. })) => {
                self.facts.root_frames.contains(&stack_slot)
            }
            _ => false,
        };
        if let InstructionData::StoreNoOffset { args, .. } = dfg.insts[inst]
            && self.frame_addresses.contains(dfg.resolve_aliases(args[1]))
            && self.facts.kind(args[0]).has(ValueKinds::MOVES)
        {
            return Err("a reference is stored in a slot that is in no stack map");
        }
        let Some(access) = self.facts.access(inst) else {
            let passed = self.facts.destinations(inst).iter();
            let passed = passed.flat_map(|call| call.args(&dfg.value_lists));
            let passed = passed.filter_map(|arg| arg.as_value());
            if dfg.inst_args(inst).iter().copied().chain(passed).any(address_in) {
                return Err("the address of a slot of a stack map escapes");
            }
            return Ok(());
        };
        let floats = access.flags.readonly() && access.flags.can_move();
        if access.stored.is_none()
            && floats
            && (self.facts.kind(access.address).has(ValueKinds::MOVES)
                || address_in(access.address))
        {
            return Err("a load that Cranelift may move after a call that may collect");
        }
        if access.stored.is_some_and(address_in) {
            return Err("the address of a slot of a stack map escapes");
        }
        let in_frame = match self.facts.slot(inst) {
            Some(slot) => !self.facts.is_root_slot(slot),
            None => self.frame_addresses.contains(access.address),
        };
        if in_frame
            && access.stored.is_some_and(|value| self.facts.kind(value).has(ValueKinds::MOVES))
        {
            return Err("a reference is stored in a slot that is in no stack map");
        }
        if !address_in(access.address) {
            return Ok(());
        }
        let Some((slot, offset)) = self.facts.slot(inst) else {
            return Err("an access outside a slot of a stack map");
        };
        let touched = offset..offset.saturating_add(access.size);
        let data = self.facts.func.sized_stack_slots.get(slot);
        if data.is_none_or(|data| touched.end > data.size) {
            return Err("an access outside a slot of a stack map");
        }
        let bytes = self.facts.language.reference().bytes();
        let whole = access.size == bytes && self.facts.is_root_slot((slot, offset));
        let touches = || {
            (touched.start.saturating_sub(bytes - 1)..touched.end)
                .any(|at| self.facts.is_root_slot((slot, at)))
        };
        if !whole {
            return match touches() {
                true => Err("a slot of a stack map is not accessed as a whole"),
                false => Ok(()),
            };
        }
        if self.facts.derived_slots.contains_key(&(slot, offset)) {
            return match access.stored.map(|value| self.facts.kind(value)) {
                Some(kind) if !kind.has(ValueKinds::MOVES) => Err(
                    "a value that was not computed from a reference is stored as a derived pointer",
                ),
                _ => Ok(()),
            };
        }
        match access.stored {
            Some(value) if !self.facts.language.fits(self.facts.kind(value)) => {
                Err("a value that is not a reference is stored in a slot of a stack map")
            }
            _ => Ok(()),
        }
    }

    /// Checks that values that leave the function as references are references.
    fn types(&self, inst: Inst) -> Result<(), &'static str> {
        let dfg = &self.facts.func.dfg;
        let opcode = dfg.insts[inst].opcode();
        let args = dfg.inst_args(inst);
        let func = self.facts.func;
        let own = self.facts.language.own();
        let (said, signature) = if opcode == Opcode::Return {
            (own, &func.signature)
        } else if opcode.is_call() {
            let types = self.facts.language.call(func, inst);
            let signature = facts::signature(func, inst).map(|called| &dfg.signatures[called]);
            types.zip(signature).ok_or(NOT_DECLARED)?
        } else {
            return Ok(());
        };
        if said.params.len() != signature.params.len()
            || said.results.len() != signature.returns.len()
        {
            return Err("a signature that has another number of values than of types");
        }
        if opcode.is_call() && opcode.is_return() && said.results != own.results {
            return Err("a tail call of a function that returns other results");
        }
        let types = if opcode == Opcode::Return { &said.results } else { &said.params };
        // The address of an indirect call comes first.
        let values = &args[args.len().saturating_sub(types.len())..];
        for (&value, ty) in values.iter().zip(types) {
            let kind = self.facts.kind(value);
            match ty {
                ValueType::Ref if !self.facts.language.fits(kind) => {
                    return Err(NOT_PASSED);
                }
                ValueType::Pointer if kind.has(ValueKinds::REF) => {
                    return Err("a reference is passed as a value that is not a reference");
                }
                ValueType::Data if !self.facts.language.fits_data(kind) => {
                    return Err("a reference is passed as a value that is not a reference");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Law 2: goes back from each use of a slot to the stores that made it current.
    fn slots_are_good(&self) -> Result<(), BrokenLaw> {
        let mut good_at_end: HashSet<(Block, Slot)> = HashSet::new();
        let mut lost_at_end: HashSet<(Block, Slot)> = HashSet::new();
        let mut collects: HashSet<Block> = HashSet::new();
        let mut work: Vec<Wanted> = Vec::new();
        for &block in &self.facts.rpo {
            let (mut good, mut lost) = (HashSet::new(), HashSet::new());
            if self.slots_in(block, &mut good, &mut lost, &mut work)? {
                collects.insert(block);
            }
            good_at_end.extend(good.into_iter().map(|slot| (block, slot)));
            lost_at_end.extend(lost.into_iter().map(|slot| (block, slot)));
        }
        let mut wanted: HashSet<(Block, Slot)> = HashSet::new();
        work.retain(|(block, slot, _)| wanted.insert((*block, *slot)));
        let entry = self.facts.func.layout.entry_block();
        while let Some((block, slot, inst)) = work.pop() {
            if Some(block) == entry {
                return Err(self.bad(inst));
            }
            for pred in self.facts.cfg.pred_iter(block) {
                let place = (pred.block, slot);
                if !self.facts.is_reachable(pred.block) || good_at_end.contains(&place) {
                    continue;
                }
                if collects.contains(&pred.block) || lost_at_end.contains(&place) {
                    return Err(self.bad(inst));
                }
                if wanted.insert(place) {
                    work.push((pred.block, slot, inst));
                }
            }
        }
        Ok(())
    }

    /// Adds to `good` the slots that `block` makes current at its end, to `lost` the slots of derived pointers
    /// whose base it overwrites, and to `wanted` the slots that it uses as they were at its beginning. Returns
    /// whether a call in it may collect.
    fn slots_in(
        &self,
        block: Block,
        good: &mut HashSet<Slot>,
        lost: &mut HashSet<Slot>,
        wanted: &mut Vec<Wanted>,
    ) -> Result<bool, BrokenLaw> {
        let func = self.facts.func;
        let mut collected = false;
        for inst in func.layout.block_insts(block) {
            let mut want = |slot: Slot, good: &HashSet<Slot>, lost: &HashSet<Slot>| {
                if good.contains(&slot) {
                    return Ok(());
                }
                if collected || lost.contains(&slot) {
                    return Err(self.bad(inst));
                }
                wanted.push((block, slot, inst));
                Ok(())
            };
            if self.facts.is_safepoint(inst) {
                let kept = self.facts.kept(inst);
                for &slot in &kept {
                    want(slot, good, lost)?;
                }
                *good = kept;
                collected = true;
            } else if let Some(slot) = self.facts.slot(inst)
                && self.facts.is_root_slot(slot)
                && let Some(access) = self.facts.access(inst)
            {
                match access.stored {
                    Some(_) => {
                        let derived = self.facts.derived_slots.iter();
                        for (derived, _) in derived.filter(|(_, base)| **base == slot) {
                            good.remove(derived);
                            lost.insert(*derived);
                        }
                        lost.remove(&slot);
                        good.insert(slot);
                    }
                    None => want(slot, good, lost)?,
                }
            }
        }
        Ok(collected)
    }

    fn bad(&self, inst: Inst) -> BrokenLaw {
        let law = match self.facts.is_safepoint(inst) {
            true => "a stack map names a slot that may not hold a current reference",
            false => "a reference is reloaded from a slot that may not hold a current one",
        };
        BrokenLaw { law, inst }
    }
}

/// The addresses of stack slots, and all that may have been computed from them.
fn frame_addresses(facts: &Facts<'_>) -> EntitySet<Value> {
    let func = facts.func;
    let mut found = EntitySet::new();
    loop {
        let mut again = false;
        for inst in facts.rpo.iter().flat_map(|block| func.layout.block_insts(*block)) {
            let data = func.dfg.insts[inst];
            let opcode = data.opcode();
            let is_new = matches!(data, InstructionData::StackAddr { .. });
            let computes = !opcode.can_load() && !opcode.is_call() && !opcode.is_terminator();
            let args = func.dfg.inst_args(inst);
            let is_from = |arg: &Value| found.contains(func.dfg.resolve_aliases(*arg));
            if is_new || computes && args.iter().any(is_from) {
                for result in func.dfg.inst_results(inst) {
                    again |= found.insert(*result);
                }
            }
            for call in facts.destinations(inst) {
                let params = func.dfg.block_params(call.block(&func.dfg.value_lists));
                for (arg, param) in call.args(&func.dfg.value_lists).zip(params) {
                    if arg
                        .as_value()
                        .is_some_and(|arg| found.contains(func.dfg.resolve_aliases(arg)))
                    {
                        again |= found.insert(*param);
                    }
                }
            }
        }
        if !again {
            return found;
        }
    }
}
