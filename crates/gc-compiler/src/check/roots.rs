//! The roots' law: references survive a call that may collect in the slots of its stack
//! map, and nowhere else.
//!
//! 1. No reference, and nothing computed from one, is used in a later [epoch](super::epochs)
//!    than it was defined in. So whatever is live across a call that may collect is reloaded
//!    behind it. A reference that nobody marked, and a call that has no map, are found by
//!    this.
//! 2. A slot that a stack map names is good where a call's map names it, and where it is
//!    reloaded: on each path there it was stored a reference, and the maps of all calls since
//!    then that may collect name it.
//! 3. Nothing but whole references, current ones, is stored in such a slot, and its address
//!    is used for nothing else.
//! 4. The entries of a stack map are words inside their slots that do not overlap.
//! 5. What is passed, returned or stored as a reference is one, or null, or an `i31`: the
//!    types say of no integer that it is a reference, or the other way round.

use super::Broken;
use super::kinds::Kind;
use super::types::ValueType;
use super::view::View;
use cranelift_codegen::ir::{Block, Inst, InstructionData, Opcode, StackSlot, Value, types};
use std::collections::HashSet;

type Slot = (StackSlot, u32);

pub(super) fn check(view: &View<'_>) -> Result<(), Broken> {
    let roots = Roots { view };
    for &block in &view.rpo {
        for inst in view.func.layout.block_insts(block) {
            roots.inst(inst).map_err(|law| Broken { law, inst })?;
        }
    }
    roots.slots_are_good()
}

struct Roots<'v, 'a> {
    view: &'v View<'a>,
}

/// A slot that must be good at the beginning of a block, for the use of it at an instruction.
type Wanted = (Block, Slot, Inst);

impl Roots<'_, '_> {
    fn inst(&self, inst: Inst) -> Result<(), &'static str> {
        self.stack_map(inst)?;
        self.uses_are_current(inst)?;
        self.slot_access(inst)?;
        self.types(inst)
    }

    fn stack_map(&self, inst: Inst) -> Result<(), &'static str> {
        let entries = self.view.func.dfg.user_stack_map_entries(inst).unwrap_or_default();
        let mut taken: HashSet<(StackSlot, u32)> = HashSet::new();
        for entry in entries {
            let slot = self.view.func.sized_stack_slots.get(entry.slot);
            let slot = slot.ok_or("a stack map entry in a slot that is not declared")?;
            if entry.ty != types::I64 {
                return Err("a stack map entry that is not as wide as a reference");
            }
            let end = entry.offset.checked_add(entry.ty.bytes());
            if end.is_none_or(|end| end > slot.size) {
                return Err("a stack map entry outside its slot");
            }
            if !(0..8).all(|byte| taken.insert((entry.slot, entry.offset + byte))) {
                return Err("stack map entries that overlap");
            }
        }
        Ok(())
    }

    fn uses_are_current(&self, inst: Inst) -> Result<(), &'static str> {
        let func = self.view.func;
        let is_current = |value: Value, epoch: u32| {
            let value = func.dfg.resolve_aliases(value);
            let kind = self.view.kinds[value];
            if !kind.has(Kind::REF | Kind::DERIVED) || self.view.epochs.of(func, value) == epoch {
                return Ok(());
            }
            Err(match kind.has(Kind::DERIVED) {
                false => "a reference is used behind a call that may have moved its object",
                true => "what was computed from a reference is used behind a call that may collect",
            })
        };
        let before = self.view.epochs.before(inst);
        func.dfg.inst_args(inst).iter().try_for_each(|arg| is_current(*arg, before))?;
        let after = self.view.epochs.after(inst);
        for call in self.view.destinations(inst) {
            for arg in call.args(&func.dfg.value_lists).filter_map(|arg| arg.as_value()) {
                is_current(arg, after)?;
            }
        }
        Ok(())
    }

    /// Accesses to slots of stack maps.
    fn slot_access(&self, inst: Inst) -> Result<(), &'static str> {
        let dfg = &self.view.func.dfg;
        let address_in = |value: Value| match self.view.definition(value) {
            Some((_, InstructionData::StackAddr { stack_slot, .. })) => {
                self.view.root_frames.contains(&stack_slot)
            }
            _ => false,
        };
        let Some(access) = self.view.access(inst) else {
            let passed = self.view.destinations(inst).iter();
            let passed = passed.flat_map(|call| call.args(&dfg.value_lists));
            let passed = passed.filter_map(|arg| arg.as_value());
            if dfg.inst_args(inst).iter().copied().chain(passed).any(address_in) {
                return Err("the address of a slot of a stack map escapes");
            }
            return Ok(());
        };
        if access.stored.is_some_and(address_in) {
            return Err("the address of a slot of a stack map escapes");
        }
        if !address_in(access.address) {
            return Ok(());
        }
        let Some((slot, offset)) = self.view.slot(inst) else {
            return Err("an access outside a slot of a stack map");
        };
        let touched = offset..offset.saturating_add(access.size);
        let whole = access.size == 8 && self.view.root_slots.contains(&(slot, offset));
        let touches = || {
            (touched.start.saturating_sub(7)..touched.end)
                .any(|at| self.view.root_slots.contains(&(slot, at)))
        };
        if !whole {
            return match touches() {
                true => Err("a slot of a stack map is not accessed as a whole"),
                false => Ok(()),
            };
        }
        match access.stored {
            Some(value) if !self.view.kind(value).fits_ref() => {
                Err("what is no reference is stored in a slot of a stack map")
            }
            _ => Ok(()),
        }
    }

    /// What leaves the function as a reference is one.
    fn types(&self, inst: Inst) -> Result<(), &'static str> {
        let dfg = &self.view.func.dfg;
        let opcode = dfg.insts[inst].opcode();
        let args = dfg.inst_args(inst);
        let (values, types) = if opcode == Opcode::Return {
            (args, &self.view.cx.types.own().results)
        } else if opcode.is_call() {
            let types = self.view.signature_types(inst);
            let types = types.ok_or("a call of whose types nothing is known")?;
            (&args[args.len().saturating_sub(types.params.len())..], &types.params)
        } else {
            return Ok(());
        };
        for (&value, ty) in values.iter().zip(types) {
            let kind = self.view.kind(value);
            match ty {
                ValueType::Ref if !kind.fits_ref() => {
                    return Err("what is no reference is passed on as one");
                }
                ValueType::Pointer if kind.has(Kind::REF) => {
                    return Err("a reference is passed on as what no stack map names");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Law 2: goes back from each use of a slot to what made it good.
    fn slots_are_good(&self) -> Result<(), Broken> {
        let mut good_at_end: HashSet<(Block, Slot)> = HashSet::new();
        let mut collects: HashSet<Block> = HashSet::new();
        let mut work: Vec<Wanted> = Vec::new();
        for &block in &self.view.rpo {
            let mut good = HashSet::new();
            if self.slots_in(block, &mut good, &mut work)? {
                collects.insert(block);
            }
            good_at_end.extend(good.into_iter().map(|slot| (block, slot)));
        }
        let mut wanted: HashSet<(Block, Slot)> = HashSet::new();
        work.retain(|(block, slot, _)| wanted.insert((*block, *slot)));
        let entry = self.view.func.layout.entry_block();
        while let Some((block, slot, inst)) = work.pop() {
            if Some(block) == entry {
                return Err(self.bad(inst));
            }
            for pred in self.view.cfg.pred_iter(block) {
                let place = (pred.block, slot);
                if !self.view.is_reachable(pred.block) || good_at_end.contains(&place) {
                    continue;
                }
                if collects.contains(&pred.block) {
                    return Err(self.bad(inst));
                }
                if wanted.insert(place) {
                    work.push((pred.block, slot, inst));
                }
            }
        }
        Ok(())
    }

    /// Adds to `good` the slots that are good at the end of `block` for what it did, and to
    /// `wanted` those that it uses as they were at its beginning; tells whether some call in
    /// it may collect.
    fn slots_in(
        &self,
        block: Block,
        good: &mut HashSet<Slot>,
        wanted: &mut Vec<Wanted>,
    ) -> Result<bool, Broken> {
        let func = self.view.func;
        let mut collected = false;
        for inst in func.layout.block_insts(block) {
            let mut want = |slot: Slot, good: &HashSet<Slot>| {
                if good.contains(&slot) {
                    return Ok(());
                }
                if collected {
                    return Err(self.bad(inst));
                }
                wanted.push((block, slot, inst));
                Ok(())
            };
            if self.view.is_safepoint(inst) {
                let entries = func.dfg.user_stack_map_entries(inst).unwrap_or_default();
                for entry in entries {
                    want((entry.slot, entry.offset), good)?;
                }
                *good = entries.iter().map(|entry| (entry.slot, entry.offset)).collect();
                collected = true;
            } else if let Some(slot) = self.view.slot(inst)
                && self.view.root_slots.contains(&slot)
                && let Some(access) = self.view.access(inst)
            {
                match access.stored {
                    Some(_) => {
                        good.insert(slot);
                    }
                    None => want(slot, good)?,
                }
            }
        }
        Ok(collected)
    }

    fn bad(&self, inst: Inst) -> Broken {
        let law = match self.view.is_safepoint(inst) {
            true => "a stack map names a slot that need not hold a current reference",
            false => "a reference is reloaded from a slot that need not hold a current one",
        };
        Broken { law, inst }
    }
}
