//! A checker: re-derives from a built function alone that it keeps this crate's
//! laws, in the manner of regalloc2's. It trusts nothing the emitters know, only
//! alias regions, which say what memory an access is meant for. For debug builds,
//! tests and fuzzing; run it on the function as it was built, before Cranelift
//! optimises it.
//!
//! The laws:
//! 1. Every load and store has an alias region.
//! 2. No load from the heap is one that Cranelift may move freely; none is believed
//!    aligned; each has a trap code.
//! 3. Every heap address has the sandbox's form: the heap's base plus a value that
//!    is known to be 32 bits wide, at an offset inside the guard. Accesses further in,
//!    and all of them when the heap is not guarded, stand behind a comparison of
//!    their end, unless they cannot trap (an object just allocated).
//! 4. The entries of a stack map are words inside their slots that do not overlap.

use crate::{regions, trap_code};
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, BlockArg, InstructionData, MemFlagsData, Opcode, ValueDef, types,
};
use gc_types::{Abi, HEAP_GUARD_SIZE, Trap};
use std::collections::HashSet;
use std::fmt;

/// A law that a function breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckError {
    /// What is wrong.
    pub law: &'static str,
    /// The instruction, as CLIF.
    pub instruction: String,
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law, self.instruction)
    }
}

impl std::error::Error for CheckError {}

/// Checks `func`, which was built for `abi`.
///
/// # Errors
/// The first instruction that breaks a law.
pub fn check_function(func: &ir::Function, abi: &Abi) -> Result<(), CheckError> {
    let checker = Checker { func, abi, cfg: ControlFlowGraph::with_function(func) };
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            checker.inst(inst).map_err(|law| CheckError {
                law,
                instruction: func.dfg.display_inst(inst).to_string(),
            })?;
        }
    }
    Ok(())
}

struct Checker<'a> {
    func: &'a ir::Function,
    abi: &'a Abi,
    cfg: ControlFlowGraph,
}

type Law = Result<(), &'static str>;

impl Checker<'_> {
    fn inst(&self, inst: ir::Inst) -> Law {
        let data = &self.func.dfg.insts[inst];
        let opcode = data.opcode();
        if let Some(flags) = data.memflags_data(&self.func.dfg)
            && (opcode.can_load() || opcode.can_store())
        {
            let region = self.region(flags).ok_or("an access without an alias region")?;
            if in_heap(region) {
                self.heap_access(inst, flags)?;
            }
        }
        self.stack_map(inst)
    }

    /// The number of the alias region of an access.
    fn region(&self, flags: MemFlagsData) -> Option<regions::Region> {
        flags.alias_region().map(|region| self.func.dfg.alias_regions[region].user_id)
    }

    fn heap_access(&self, inst: ir::Inst, flags: MemFlagsData) -> Law {
        let (address, offset, size) = match self.func.dfg.insts[inst] {
            InstructionData::Load { arg, offset, opcode, .. } => {
                if flags.readonly() || flags.can_move() {
                    return Err("a heap load that may move");
                }
                if flags.trap_code().is_none() {
                    return Err("a heap load that is believed not to trap");
                }
                let ty = self.func.dfg.value_type(self.func.dfg.inst_results(inst)[0]);
                (arg, offset, access_size(opcode, ty))
            }
            InstructionData::Store { args, offset, opcode, .. } => {
                (args[1], offset, access_size(opcode, self.func.dfg.value_type(args[0])))
            }
            _ => return Err("a heap access that is neither a load nor a store"),
        };
        if flags.aligned() && flags.trap_code().is_some() {
            return Err("an untrusted heap access that is believed to be aligned");
        }
        let fresh = flags.trap_code().is_none();
        let mut address = self.func.dfg.resolve_aliases(address);
        let mut offset = u64::try_from(i32::from(offset)).map_err(|_| "a negative offset")?;
        // A constant too large for the access's own offset.
        if let Some([inner, constant]) = self.binary(Opcode::Iadd, address)
            && let Some(constant) = self.constant(constant)
            && self.binary(Opcode::Iadd, inner).is_some()
        {
            (address, offset) = (inner, offset.saturating_add(constant));
        }
        let [base, index] =
            self.binary(Opcode::Iadd, address).ok_or("a heap address that is not a sum")?;
        if !self.is_heap_base(base) {
            return Err("a heap address that is not relative to the heap's base");
        }
        let end = offset.saturating_add(u64::from(size));
        let unchecked = self.abi.guarded() && end <= HEAP_GUARD_SIZE;
        if !self.is_narrow(index, !unchecked && !fresh, &mut HashSet::new()) {
            return Err("a heap index that may be wider than 32 bits");
        }
        if !(unchecked || fresh || self.is_compared(address, index, end)) {
            return Err("a heap access outside the guard without a comparison");
        }
        Ok(())
    }

    fn is_heap_base(&self, value: ir::Value) -> bool {
        let expected = i32::try_from(self.abi.offsets().vmctx_heap_base());
        match self.definition(value) {
            Some((inst, InstructionData::Load { opcode: Opcode::Load, offset, .. })) => {
                let flags = self.func.dfg.insts[inst].memflags_data(&self.func.dfg);
                flags.and_then(|flags| self.region(flags)) == Some(regions::VMCTX)
                    && Ok(i32::from(offset)) == expected
            }
            _ => false,
        }
    }

    /// Whether `value` is at most 32 bits wide, or, if `scaled`, a sum of such values,
    /// shifted a little: what a 64-bit comparison cannot overflow on. `visited` are
    /// the values that are so unless another one is not.
    fn is_narrow(&self, value: ir::Value, scaled: bool, visited: &mut HashSet<ir::Value>) -> bool {
        let value = self.func.dfg.resolve_aliases(value);
        if !visited.insert(value) {
            return true;
        }
        let inst = match self.func.dfg.value_def(value) {
            ValueDef::Result(inst, _) => inst,
            ValueDef::Param(block, n) => return self.param_is_narrow(block, n, scaled, visited),
            ValueDef::Union(..) => return false,
        };
        match self.func.dfg.insts[inst] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                u32::try_from(imm.bits()).is_ok()
            }
            InstructionData::Unary { opcode: Opcode::Uextend, .. } => true,
            InstructionData::Load { opcode, flags, .. } => match opcode {
                Opcode::Uload8 | Opcode::Uload16 | Opcode::Uload32 => true,
                // What the host or the embedder keeps as a reference; never bytes of
                // the heap.
                Opcode::Load => {
                    let region = self.region(self.func.dfg.mem_flags[flags]);
                    region.is_some_and(|region| !in_heap(region))
                }
                _ => false,
            },
            InstructionData::Call { .. }
            | InstructionData::CallIndirect { .. }
            | InstructionData::TryCall { .. }
            | InstructionData::TryCallIndirect { .. } => true,
            InstructionData::Ternary { opcode: Opcode::Select, args } => {
                self.is_narrow(args[1], scaled, visited) && self.is_narrow(args[2], scaled, visited)
            }
            InstructionData::Binary { opcode: Opcode::Iadd, args } if scaled => {
                args.iter().all(|&arg| self.is_narrow(arg, true, visited))
            }
            InstructionData::Binary { opcode: Opcode::Ishl, args } if scaled => {
                self.constant(args[1]).is_some_and(|shift| shift <= 4)
                    && self.is_narrow(args[0], false, visited)
            }
            _ => false,
        }
    }

    fn param_is_narrow(
        &self,
        block: ir::Block,
        n: usize,
        scaled: bool,
        visited: &mut HashSet<ir::Value>,
    ) -> bool {
        // The function's own parameters are what its signature says they are.
        let dfg = &self.func.dfg;
        self.cfg.pred_iter(block).all(|pred| {
            dfg.insts[pred.inst]
                .branch_destination(&dfg.jump_tables, &dfg.exception_tables)
                .iter()
                .filter(|call| call.block(&dfg.value_lists) == block)
                .all(|call| match call.args(&dfg.value_lists).nth(n) {
                    Some(BlockArg::Value(value)) => self.is_narrow(value, scaled, visited),
                    Some(_) => true,
                    None => false,
                })
        })
    }

    /// Whether, before `address` is computed, its block traps unless `index` plus at
    /// least `end` is inside a bound.
    fn is_compared(&self, address: ir::Value, index: ir::Value, end: u64) -> bool {
        let Some(inst) = self.func.dfg.value_def(address).inst() else { return false };
        let Some(block) = self.func.layout.inst_block(inst) else { return false };
        let mut compared = false;
        for other in self.func.layout.block_insts(block).take_while(|&other| other != inst) {
            if self.changes_slots(other) {
                compared = false;
            } else if let Some((sum, constant)) = self.compared_sum(other) {
                compared |= constant >= end && self.is_same(sum, index);
            }
        }
        compared
    }

    /// `(value, constant)` if `inst` traps unless their sum is inside a bound.
    fn compared_sum(&self, inst: ir::Inst) -> Option<(ir::Value, u64)> {
        let InstructionData::CondTrap { opcode: Opcode::Trapnz, arg, code } =
            self.func.dfg.insts[inst]
        else {
            return None;
        };
        let InstructionData::IntCompare { cond, args, .. } = self.definition(arg)?.1 else {
            return None;
        };
        if code != trap_code(Trap::CorruptHeap) || cond != IntCC::UnsignedGreaterThan {
            return None;
        }
        let [sum, constant] = self.binary(Opcode::Iadd, args[0])?;
        Some((sum, self.constant(constant)?))
    }

    /// Whether two values are one, or the same spilled one, reloaded twice.
    fn is_same(&self, a: ir::Value, b: ir::Value) -> bool {
        let (a, b) = (self.func.dfg.resolve_aliases(a), self.func.dfg.resolve_aliases(b));
        a == b || self.slot(a).is_some_and(|slot| self.slot(b) == Some(slot))
    }

    /// The stack slot and the offset in it that `value` was loaded from.
    fn slot(&self, value: ir::Value) -> Option<(ir::StackSlot, i32)> {
        let InstructionData::Load { opcode: Opcode::Load, arg, offset, .. } =
            self.definition(value)?.1
        else {
            return None;
        };
        match self.definition(arg)?.1 {
            InstructionData::StackAddr { stack_slot, offset: start, .. } => {
                Some((stack_slot, i32::from(start).checked_add(offset.into())?))
            }
            _ => None,
        }
    }

    /// Whether a slot that was loaded from before `inst` may hold another value
    /// behind it.
    fn changes_slots(&self, inst: ir::Inst) -> bool {
        let data = &self.func.dfg.insts[inst];
        let spills = || {
            let flags = data.memflags_data(&self.func.dfg);
            let region = flags.and_then(|flags| self.region(flags));
            region.is_none_or(|region| region >= regions::STACK_MAP_SPILL)
        };
        data.opcode().is_call() || data.opcode().can_store() && spills()
    }

    fn stack_map(&self, inst: ir::Inst) -> Law {
        let entries = self.func.dfg.user_stack_map_entries(inst).unwrap_or_default();
        for (i, entry) in entries.iter().enumerate() {
            let slot = self.func.sized_stack_slots.get(entry.slot);
            let slot = slot.ok_or("a stack map entry in a slot that is not declared")?;
            if entry.ty != types::I64 {
                return Err("a stack map entry that is not as wide as a reference");
            }
            let end = entry.offset.checked_add(entry.ty.bytes());
            if end.is_none_or(|end| end > slot.size) {
                return Err("a stack map entry outside its slot");
            }
            let overlaps = entries[..i].iter().any(|other| {
                other.slot == entry.slot && other.offset.abs_diff(entry.offset) < entry.ty.bytes()
            });
            if overlaps {
                return Err("stack map entries that overlap");
            }
        }
        Ok(())
    }

    fn definition(&self, value: ir::Value) -> Option<(ir::Inst, InstructionData)> {
        let dfg = &self.func.dfg;
        let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
        Some((inst, dfg.insts[inst]))
    }

    /// The operands of `value` if it is the result of this operation.
    fn binary(&self, wanted: Opcode, value: ir::Value) -> Option<[ir::Value; 2]> {
        match self.definition(value)?.1 {
            InstructionData::Binary { opcode, args } if opcode == wanted => {
                Some(args.map(|arg| self.func.dfg.resolve_aliases(arg)))
            }
            _ => None,
        }
    }

    /// The value of an integer constant, if it is not negative.
    fn constant(&self, value: ir::Value) -> Option<u64> {
        match self.definition(value)?.1 {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                u64::try_from(imm.bits()).ok()
            }
            _ => None,
        }
    }
}

/// Whether this region is memory of the heap.
fn in_heap(region: regions::Region) -> bool {
    matches!(
        region,
        regions::HEADER | regions::STRUCT_FIELD | regions::ARRAY_LENGTH | regions::ARRAY_ELEMENT
    )
}

/// Bytes that an access by `opcode` of a value of type `ty` touches.
fn access_size(opcode: Opcode, ty: ir::Type) -> u32 {
    match opcode {
        Opcode::Uload8 | Opcode::Sload8 | Opcode::Istore8 => 1,
        Opcode::Uload16 | Opcode::Sload16 | Opcode::Istore16 => 2,
        Opcode::Uload32 | Opcode::Sload32 | Opcode::Istore32 => 4,
        _ => ty.bytes(),
    }
}
