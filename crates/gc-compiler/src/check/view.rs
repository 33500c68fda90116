//! The checkers' view of a function: which calls may collect, what each value may be, and the forms
//! of addresses.

use super::CheckContext;
use super::epochs::Epochs;
use super::kinds::{self, ValueKinds};
use super::linear::Linear;
use super::types::{SignatureTypes, ValueType, value_type};
use crate::driver::imported_host_call;
use crate::regions::{self, Region};
use cranelift_codegen::dominator_tree::DominatorTree;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::flowgraph::ControlFlowGraph;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, Block, BlockCall, Function, Inst, InstructionData, MemFlagsData, Opcode, SigRef,
    StackSlot, Type, Value, types,
};
use gc_types::HostCall;
use gc_types::collector::bump;
use std::collections::{HashMap, HashSet};

/// A function, with the facts that all checkers need.
pub(super) struct View<'a> {
    pub(super) func: &'a Function,
    pub(super) cx: &'a CheckContext<'a>,
    pub(super) cfg: ControlFlowGraph,
    /// The reachable blocks, each after its dominators.
    pub(super) rpo: Vec<Block>,
    reachable: DominatorTree,
    pub(super) epochs: Epochs,
    pub(super) kinds: SecondaryMap<Value, ValueKinds>,
    /// The types of host calls, by their signatures.
    host_calls: HashMap<SigRef, SignatureTypes>,
    /// The slots in stack maps, with their offsets.
    pub(super) root_slots: HashSet<(StackSlot, u32)>,
    /// The stack slots that contain them.
    pub(super) root_frames: HashSet<StackSlot>,
    /// The upper bounds of the widths of 64-bit sums, in bits. Zero if nothing is known.
    widths: SecondaryMap<Value, u8>,
    /// For each value, the representative of the values that are known to be equal to it.
    numbers: SecondaryMap<Value, Option<Value>>,
}

/// A host call that an instruction makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostCallee {
    pub(super) call: HostCall,
    pub(super) result: Option<ValueType>,
}

/// A load or store with an explicit size.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryAccess {
    pub(super) address: Value,
    pub(super) offset: i32,
    /// Bytes.
    pub(super) size: u32,
    /// The stored value. `None` for a load.
    pub(super) stored: Option<Value>,
    pub(super) flags: MemFlagsData,
}

/// The address of an access to the heap: the heap's base plus `index` plus `offset`.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeapAddress {
    /// The sum of base and index.
    pub(super) sum: Value,
    pub(super) index: Value,
    pub(super) offset: u64,
}

/// The key by which two instructions are known to compute the same value.
#[derive(PartialEq, Eq, Hash)]
enum Expression {
    Pure(Opcode, Type, Option<IntCC>, i64, Vec<Value>),
    /// A word of the vmctx's prefix, which never changes.
    Prefix(Value, i32),
    /// A slot of a stack map in one epoch.
    Slot(StackSlot, u32, u32),
}

impl<'a> View<'a> {
    pub(super) fn new(func: &'a Function, cx: &'a CheckContext<'a>) -> View<'a> {
        let cfg = ControlFlowGraph::with_function(func);
        let tree = DominatorTree::with_function(func, &cfg);
        let rpo: Vec<Block> = tree.cfg_rpo().copied().collect();
        let is_safepoint = |inst| is_safepoint(func, cx, inst);
        let epochs = Epochs::new(func, &cfg, &tree, &rpo, &is_safepoint);
        let root_slots = kinds::root_slots(func);
        let mut view = View {
            func,
            cx,
            cfg,
            rpo,
            reachable: tree,
            epochs,
            kinds: SecondaryMap::new(),
            host_calls: host_call_types(func, cx),
            root_frames: root_slots.iter().map(|(slot, _)| *slot).collect(),
            root_slots,
            widths: SecondaryMap::new(),
            numbers: SecondaryMap::new(),
        };
        view.kinds = kinds::compute(&view);
        view.measure();
        view.number();
        view
    }

    pub(super) fn is_reachable(&self, block: Block) -> bool {
        self.reachable.is_reachable(block)
    }

    /// Whether every path to `b` has executed `a` before.
    pub(super) fn dominates(&self, a: Inst, b: Inst) -> bool {
        a != b && self.reachable.dominates(a, b, &self.func.layout)
    }

    /// Whether `inst` is a call that may collect and that returns.
    pub(super) fn is_safepoint(&self, inst: Inst) -> bool {
        is_safepoint(self.func, self.cx, inst)
    }

    /// The host call that `inst` makes.
    pub(super) fn host_call(&self, inst: Inst) -> Option<HostCallee> {
        let call = host_call(self.func, inst)?;
        let signature = self.cx.abi.host_call(call)?;
        Some(HostCallee { call, result: signature.result.map(value_type) })
    }

    /// The signature of a call of any kind.
    pub(super) fn signature(&self, inst: Inst) -> Option<SigRef> {
        let dfg = &self.func.dfg;
        match dfg.insts[inst] {
            InstructionData::Call { func_ref, .. } | InstructionData::TryCall { func_ref, .. } => {
                Some(dfg.ext_funcs[func_ref].signature)
            }
            InstructionData::CallIndirect { sig_ref, .. } => Some(sig_ref),
            InstructionData::TryCallIndirect { exception, .. } => {
                Some(dfg.exception_tables[exception].signature())
            }
            _ => None,
        }
    }

    /// The types of a call's parameters and results, if they are known.
    pub(super) fn signature_types(&self, inst: Inst) -> Option<&SignatureTypes> {
        let signature = self.signature(inst)?;
        match host_call(self.func, inst) {
            Some(_) => self.host_calls.get(&signature),
            None => self.cx.types.signature(signature),
        }
    }

    /// The possible destinations of a terminator.
    pub(super) fn destinations(&self, inst: Inst) -> &'a [BlockCall] {
        let dfg = &self.func.dfg;
        dfg.insts[inst].branch_destination(&dfg.jump_tables, &dfg.exception_tables)
    }

    /// What `value` may be.
    pub(super) fn kind(&self, value: Value) -> ValueKinds {
        self.kinds[self.func.dfg.resolve_aliases(value)]
    }

    /// The upper bound of the bits of an integer.
    pub(super) fn width(&self, value: Value) -> u8 {
        if self.kind(value).is_narrow() {
            return 32;
        }
        match self.widths[self.func.dfg.resolve_aliases(value)] {
            0 => 64,
            width => width,
        }
    }

    /// Finds the widths of sums of narrow values that are shifted by constants.
    fn measure(&mut self) {
        for block in self.rpo.clone() {
            for inst in self.func.layout.block_insts(block) {
                let InstructionData::Binary { opcode, args } = self.func.dfg.insts[inst] else {
                    continue;
                };
                let [a, b] = args.map(|arg| self.width(arg));
                let width = match opcode {
                    Opcode::Iadd => a.max(b) + 1,
                    Opcode::Ushr => a,
                    Opcode::Ishl => match self.iconst(args[1]) {
                        Some(shift @ 0..=63) => a + shift as u8,
                        _ => 64,
                    },
                    _ => 64,
                };
                self.widths[self.func.dfg.inst_results(inst)[0]] = width.min(64);
            }
        }
    }

    /// The representative of the values that are known to be equal to `value`.
    pub(super) fn same(&self, value: Value) -> Value {
        let value = self.func.dfg.resolve_aliases(value);
        self.numbers[value].unwrap_or(value)
    }

    /// The instruction whose result is `value`.
    pub(super) fn definition(&self, value: Value) -> Option<(Inst, InstructionData)> {
        let dfg = &self.func.dfg;
        let inst = dfg.value_def(dfg.resolve_aliases(value)).inst()?;
        Some((inst, dfg.insts[inst]))
    }

    /// The bits of an integer constant.
    pub(super) fn iconst(&self, value: Value) -> Option<i64> {
        match self.definition(value)?.1 {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
            _ => None,
        }
    }

    /// The value of a constant, or of arithmetic with constants, if it is not negative.
    pub(super) fn evaluate(&self, value: Value) -> Option<u64> {
        self.evaluate_to(value, 8)
    }

    fn evaluate_to(&self, value: Value, depth: u32) -> Option<u64> {
        let depth = depth.checked_sub(1)?;
        let bits = self.func.dfg.value_type(value).bits();
        let result = match self.definition(value)?.1 {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                u64::try_from(imm.bits()).ok()
            }
            InstructionData::Unary { opcode: Opcode::Uextend, arg } => self.evaluate_to(arg, depth),
            InstructionData::Binary { opcode, args: [a, b] } => {
                let a = self.evaluate_to(a, depth)?;
                match opcode {
                    Opcode::Iadd => a.checked_add(self.evaluate_to(b, depth)?),
                    Opcode::Ishl => {
                        let by = u32::try_from(self.evaluate_to(b, depth)?).ok()?;
                        a.checked_mul(1_u64.checked_shl(by)?)
                    }
                    // The mask may be negative, because it rounds.
                    Opcode::Band => Some(a & self.iconst(b)?.cast_unsigned()),
                    _ => None,
                }
            }
            _ => None,
        };
        // Results that wrapped are not known.
        result.filter(|result| result.checked_shr(bits).is_none_or(|above| above == 0))
    }

    /// The operands of `value`, if it is the result of this operation.
    pub(super) fn binary(&self, wanted: Opcode, value: Value) -> Option<[Value; 2]> {
        match self.definition(value)?.1 {
            InstructionData::Binary { opcode, args } if opcode == wanted => {
                Some(args.map(|arg| self.func.dfg.resolve_aliases(arg)))
            }
            _ => None,
        }
    }

    /// The operand of `value`, if it is the result of this operation.
    pub(super) fn unary(&self, wanted: Opcode, value: Value) -> Option<Value> {
        match self.definition(value)?.1 {
            InstructionData::Unary { opcode, arg } if opcode == wanted => {
                Some(self.func.dfg.resolve_aliases(arg))
            }
            _ => None,
        }
    }

    /// Whether `value` is the low half of a reference.
    pub(super) fn is_word_of_ref(
        &self,
        value: Value,
        kinds: &SecondaryMap<Value, ValueKinds>,
    ) -> bool {
        self.unary(Opcode::Ireduce, value).is_some_and(|of| kinds[of].has(ValueKinds::REF))
    }

    /// Whether the lowest bit of `value` is set, whatever the program does.
    pub(super) fn is_odd(&self, value: Value) -> bool {
        crate::simplify::lowest_bit(&self.func.dfg, value) == Some(true)
    }

    /// The number of the alias region of an access.
    pub(super) fn region(&self, inst: Inst) -> Option<Region> {
        let flags = self.func.dfg.insts[inst].memflags_data(&self.func.dfg)?;
        flags.alias_region().map(|region| self.func.dfg.alias_regions[region].user_id)
    }

    /// The memory access of `inst`, if it is a load or store.
    pub(super) fn access(&self, inst: Inst) -> Option<MemoryAccess> {
        let dfg = &self.func.dfg;
        let data = dfg.insts[inst];
        let flags = data.memflags_data(dfg)?;
        let (address, offset, stored, opcode, ty) = match data {
            InstructionData::Load { arg, offset, opcode, .. } => {
                (arg, offset, None, opcode, dfg.value_type(dfg.inst_results(inst)[0]))
            }
            InstructionData::Store { args, offset, opcode, .. } => {
                (args[1], offset, Some(args[0]), opcode, dfg.value_type(args[0]))
            }
            _ => return None,
        };
        let size = match opcode {
            Opcode::Uload8 | Opcode::Sload8 | Opcode::Istore8 => 1,
            Opcode::Uload16 | Opcode::Sload16 | Opcode::Istore16 => 2,
            Opcode::Uload32 | Opcode::Sload32 | Opcode::Istore32 => 4,
            // They widen eight bytes to a vector.
            Opcode::Uload8x8 | Opcode::Sload8x8 => 8,
            Opcode::Uload16x4 | Opcode::Sload16x4 => 8,
            Opcode::Uload32x2 | Opcode::Sload32x2 => 8,
            _ => ty.bytes(),
        };
        let address = dfg.resolve_aliases(address);
        let stored = stored.map(|value| dfg.resolve_aliases(value));
        Some(MemoryAccess { address, offset: offset.into(), size, stored, flags })
    }

    /// The stack slot of an access, and the offset in it.
    pub(super) fn slot(&self, inst: Inst) -> Option<(StackSlot, u32)> {
        let access = self.access(inst)?;
        match self.definition(access.address)?.1 {
            InstructionData::StackAddr { stack_slot, offset, .. } => {
                let offset = i32::from(offset).checked_add(access.offset)?;
                Some((stack_slot, u32::try_from(offset).ok()?))
            }
            _ => None,
        }
    }

    /// The address of an access without the constants that are added to it, and their sum.
    pub(super) fn constant_offset(&self, access: &MemoryAccess) -> (Value, i64) {
        let (mut base, mut offset) = (access.address, i64::from(access.offset));
        while let Some([a, b]) = self.binary(Opcode::Iadd, base) {
            let (next, constant) = match (self.iconst(a), self.iconst(b)) {
                (_, Some(constant)) => (a, constant),
                (Some(constant), _) => (b, constant),
                _ => break,
            };
            (base, offset) = (next, offset.wrapping_add(constant));
        }
        (base, offset)
    }

    /// Whether an access is to a slot in a stack map.
    pub(super) fn is_root_slot_access(&self, inst: Inst) -> bool {
        self.slot(inst).is_some_and(|slot| self.root_slots.contains(&slot))
    }

    /// Whether `value` is the heap's base address, loaded from the vmctx.
    pub(super) fn is_heap_base(&self, value: Value) -> bool {
        let expected = i32::try_from(self.cx.abi.offsets().vmctx_heap_base());
        self.prefix_word(value).map(Ok) == Some(expected)
    }

    /// The offset in the vmctx from which `value` was loaded.
    pub(super) fn prefix_word(&self, value: Value) -> Option<i32> {
        let (inst, data) = self.definition(value)?;
        let InstructionData::Load { opcode: Opcode::Load, arg, offset, .. } = data else {
            return None;
        };
        (self.region(inst) == Some(regions::VMCTX) && self.is_vmctx(arg)).then_some(offset.into())
    }

    /// Whether a load is of the result of the last host call.
    pub(super) fn is_host_result(&self, inst: Inst) -> bool {
        let offsets = self.cx.abi.offsets();
        self.is_prefix_load(inst, offsets.vmctx_store_context(), offsets.store_host_result())
    }

    /// Whether a load is of the place of the next object.
    pub(super) fn is_next(&self, inst: Inst) -> bool {
        self.is_prefix_load(inst, self.cx.abi.offsets().vmctx_heap_data(), bump::NEXT)
    }

    /// Whether a load is at `offset` in the memory to which the vmctx points at `pointer`.
    fn is_prefix_load(&self, inst: Inst, pointer: u32, offset: u32) -> bool {
        self.access(inst).is_some_and(|access| {
            u32::try_from(access.offset) == Ok(offset)
                && self.prefix_word(access.address).map(u32::try_from) == Some(Ok(pointer))
        })
    }

    /// Whether `value` is the function's vmctx, which is its first parameter.
    pub(super) fn is_vmctx(&self, value: Value) -> bool {
        let entry = self.func.layout.entry_block();
        let params = entry.map_or(&[][..], |entry| self.func.dfg.block_params(entry));
        params.first() == Some(&self.func.dfg.resolve_aliases(value))
    }

    /// The form of a heap address.
    ///
    /// # Errors
    /// The law that the address breaks.
    pub(super) fn heap_address(&self, access: &MemoryAccess) -> Result<HeapAddress, &'static str> {
        let mut sum = access.address;
        let mut offset = u64::try_from(access.offset).map_err(|_| "a negative offset")?;
        // A constant that is too large for the access's own offset.
        if let Some([inner, constant]) = self.binary(Opcode::Iadd, sum)
            && let Some(constant) = self.iconst(constant).and_then(|bits| u64::try_from(bits).ok())
            && self.binary(Opcode::Iadd, inner).is_some()
        {
            (sum, offset) = (inner, offset.saturating_add(constant));
        }
        let [base, index] =
            self.binary(Opcode::Iadd, sum).ok_or("a heap address that is not a sum")?;
        if !self.is_heap_base(base) {
            return Err("a heap address that is not relative to the heap's base");
        }
        Ok(HeapAddress { sum, index, offset })
    }

    /// `value` as a sum.
    pub(super) fn linear(&self, value: Value) -> Linear {
        let mut sum = Linear { terms: Vec::new(), constant: 0 };
        self.add_to(&mut sum, value, 1, 16);
        sum.finish()
    }

    fn add_to(&self, sum: &mut Linear, value: Value, factor: u32, depth: u32) {
        let value = self.same(value);
        if let (Some((_, data)), true) = (self.definition(value), depth > 0) {
            let depth = depth - 1;
            match data {
                InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                    let bits = imm.bits() as u32;
                    sum.constant = sum.constant.wrapping_add(bits.wrapping_mul(factor));
                    return;
                }
                InstructionData::Unary { opcode: Opcode::Uextend | Opcode::Ireduce, arg }
                    if self.func.dfg.value_type(arg).bits() >= 32
                        && self.func.dfg.value_type(value).bits() >= 32 =>
                {
                    return self.add_to(sum, arg, factor, depth);
                }
                InstructionData::Binary { opcode: Opcode::Iadd, args: [a, b] } => {
                    self.add_to(sum, a, factor, depth);
                    return self.add_to(sum, b, factor, depth);
                }
                InstructionData::Binary { opcode: Opcode::Ishl, args: [a, b] } => {
                    if let Some(shift @ 0..=31) = self.iconst(b) {
                        return self.add_to(sum, a, factor.wrapping_shl(shift as u32), depth);
                    }
                }
                _ => {}
            }
        }
        sum.add(value, factor);
    }

    /// Finds equal values (Alpern, Wegman and Zadeck, "Detecting Equality of Variables in
    /// Programs", 1988, without its optimism).
    fn number(&mut self) {
        let mut known: HashMap<Expression, Value> = HashMap::new();
        for block in self.rpo.clone() {
            for (param, only) in self.only_arguments(block) {
                self.numbers[param] = only;
            }
            for inst in self.func.layout.block_insts(block) {
                let &[result] = self.func.dfg.inst_results(inst) else { continue };
                if let Some(expression) = self.expression(inst, result) {
                    let same = *known.entry(expression).or_insert(result);
                    self.numbers[result] = Some(same);
                }
            }
        }
    }

    /// The parameters of `block` for which every branch to it passes the same value. The safepoint
    /// pass makes such parameters. The ends of loops are assumed to pass other values.
    fn only_arguments(&self, block: Block) -> Vec<(Value, Option<Value>)> {
        let pool = &self.func.dfg.value_lists;
        let mut only: Option<Vec<Option<Value>>> = None;
        for pred in self.cfg.pred_iter(block).filter(|pred| self.is_reachable(pred.block)) {
            for call in self.destinations(pred.inst).iter().filter(|c| c.block(pool) == block) {
                let args = call.args(pool).map(|arg| Some(self.same(arg.as_value()?)));
                match &mut only {
                    None => only = Some(args.collect()),
                    Some(only) => {
                        for (only, arg) in only.iter_mut().zip(args) {
                            *only = only.filter(|only| Some(*only) == arg);
                        }
                    }
                }
            }
        }
        let params = self.func.dfg.block_params(block).iter().copied();
        params.zip(only.unwrap_or_default()).filter(|(_, only)| only.is_some()).collect()
    }

    fn expression(&self, inst: Inst, result: Value) -> Option<Expression> {
        let dfg = &self.func.dfg;
        let ty = dfg.value_type(result);
        let args = || dfg.inst_args(inst).iter().map(|arg| self.same(*arg)).collect();
        Some(match dfg.insts[inst] {
            InstructionData::UnaryImm { opcode, imm } => {
                Expression::Pure(opcode, ty, None, imm.bits(), Vec::new())
            }
            InstructionData::IntCompare { opcode, cond, .. } => {
                Expression::Pure(opcode, ty, Some(cond), 0, args())
            }
            InstructionData::Unary { opcode, .. }
            | InstructionData::Binary { opcode, .. }
            | InstructionData::Ternary { opcode, .. }
                if !opcode.can_trap() && !opcode.other_side_effects() =>
            {
                Expression::Pure(opcode, ty, None, 0, args())
            }
            InstructionData::Load { opcode: Opcode::Load, arg, offset, .. } => {
                if self.prefix_word(result).is_some() && ty == types::I64 {
                    Expression::Prefix(self.same(arg), offset.into())
                } else if self.is_root_slot_access(inst) {
                    let (slot, offset) = self.slot(inst)?;
                    Expression::Slot(slot, offset, self.epochs.before(inst))
                } else {
                    return None;
                }
            }
            _ => return None,
        })
    }
}

/// The types of the host calls that `func` imports and the ABI has.
fn host_call_types(func: &Function, cx: &CheckContext<'_>) -> HashMap<SigRef, SignatureTypes> {
    let types = func.dfg.ext_funcs.iter().filter_map(|(callee, data)| {
        let signature = cx.abi.host_call(imported_host_call(func, callee)?)?;
        Some((data.signature, SignatureTypes::of_host_call(signature)))
    });
    types.collect()
}

fn host_call(func: &Function, inst: Inst) -> Option<HostCall> {
    match func.dfg.insts[inst] {
        InstructionData::Call { func_ref, .. } | InstructionData::TryCall { func_ref, .. } => {
            imported_host_call(func, func_ref)
        }
        _ => None,
    }
}

fn is_safepoint(func: &Function, cx: &CheckContext<'_>, inst: Inst) -> bool {
    let opcode = func.dfg.insts[inst].opcode();
    opcode.is_call()
        && !opcode.is_return()
        && host_call(func, inst).is_none_or(|call| cx.abi.may_collect(call))
}

/// The destinations of a branch, each with the value of its condition if that is known.
pub(super) fn edges(
    func: &Function,
    inst: Inst,
) -> impl Iterator<Item = (Block, Option<(Value, bool)>)> {
    let dfg = &func.dfg;
    let condition = match dfg.insts[inst] {
        InstructionData::Brif { arg, .. } => Some(dfg.resolve_aliases(arg)),
        _ => None,
    };
    dfg.insts[inst]
        .branch_destination(&dfg.jump_tables, &dfg.exception_tables)
        .iter()
        .enumerate()
        .map(move |(n, call)| {
            (call.block(&dfg.value_lists), condition.map(|condition| (condition, n == 0)))
        })
}

/// The condition and the trap code of `inst`, if it traps conditionally. The flag is true if it
/// traps when the condition is not zero, and false if it traps when the condition is zero.
pub(super) fn trap_condition(func: &Function, inst: Inst) -> Option<(Value, ir::TrapCode, bool)> {
    match func.dfg.insts[inst] {
        InstructionData::CondTrap { opcode, arg, code } => {
            Some((func.dfg.resolve_aliases(arg), code, opcode == Opcode::Trapnz))
        }
        _ => None,
    }
}
