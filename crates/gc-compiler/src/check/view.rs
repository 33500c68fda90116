//! The checkers' view of a function: which calls may collect, what each value may be, and the forms
//! of addresses.

use super::CheckContext;
use super::language::{Emitted, host_call, is_vmctx, prefix_word};
use super::linear::Linear;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, Block, Function, Inst, InstructionData, Opcode, StackSlot, Type, Value, types,
};
use gc_types::HostCall;
use stack_roots::check::{Facts, MemoryAccess};
use std::collections::HashMap;
use std::ops::Deref;

/// A function, with the facts that all checkers need.
pub(super) struct View<'a> {
    facts: Facts<'a>,
    pub(super) cx: &'a CheckContext<'a>,
    /// The upper bounds of the widths of 64-bit sums, in bits. Zero if nothing is known.
    widths: SecondaryMap<Value, u8>,
    /// For each value, the representative of the values that are known to be equal to it.
    numbers: SecondaryMap<Value, Option<Value>>,
}

impl<'a> Deref for View<'a> {
    type Target = Facts<'a>;

    fn deref(&self) -> &Facts<'a> {
        &self.facts
    }
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
    pub(super) fn new(
        func: &'a Function,
        cx: &'a CheckContext<'a>,
        language: &'a Emitted<'a>,
    ) -> View<'a> {
        let facts = Facts::new(func, language);
        let mut view =
            View { facts, cx, widths: SecondaryMap::new(), numbers: SecondaryMap::new() };
        view.measure();
        view.number();
        view
    }

    /// The facts of the function.
    pub(super) fn facts(&self) -> &Facts<'a> {
        &self.facts
    }

    /// The host call that `inst` makes.
    pub(super) fn host_call(&self, inst: Inst) -> Option<HostCall> {
        host_call(self.func, inst).filter(|call| self.cx.abi.host_call(*call).is_some())
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
                let result = self.func.dfg.inst_results(inst)[0];
                self.widths[result] = width.min(64);
            }
        }
    }

    /// The representative of the values that are known to be equal to `value`.
    pub(super) fn same(&self, value: Value) -> Value {
        let value = self.func.dfg.resolve_aliases(value);
        self.numbers[value].unwrap_or(value)
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

    /// Whether `value` is the heap's base address, loaded from the vmctx.
    pub(super) fn is_heap_base(&self, value: Value) -> bool {
        let expected = i32::try_from(self.cx.abi.offsets().vmctx_heap_base());
        self.prefix_word(value).map(Ok) == Some(expected)
    }

    /// The offset in the vmctx from which `value` was loaded.
    pub(super) fn prefix_word(&self, value: Value) -> Option<i32> {
        prefix_word(&self.facts, value)
    }

    /// Whether `value` is the function's vmctx, which is its first parameter.
    pub(super) fn is_vmctx(&self, value: Value) -> bool {
        is_vmctx(&self.facts, value)
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
