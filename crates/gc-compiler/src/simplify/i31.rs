//! Numbers that become `i31`s are computed with their tags.
//!
//! The sum of two `i31`s is `((a >> 1) + (b >> 1)) << 1 | 1`, if each step is done as it is written.
//! It is also `(a | 1) + (b & !1)`, where no step waits for more than one other. In the same way the
//! shift to the left moves through other operations to the `i31`s at which it meets the shift to the
//! right, and to constants. (Tagged arithmetic is as old as Lisp machines: Gudeman, "Representing Type
//! Information in Dynamically Typed Languages", 1993.)

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{
    self, DataFlowGraph, Inst, InstBuilder, InstructionData, Opcode, Type, Value, types,
};
use gc_types::I31;

/// The most operations through which the shift moves, one inside the other.
const DEPTH: u32 = 4;

/// The most operations that are followed to learn of a bit.
const BIT_DEPTH: u32 = 8;

const TAG: i64 = I31::TAG as i64;

/// Computes the `i31`s of `func` with their tags, where this saves operations.
pub(super) fn compute_with_tags(func: &mut ir::Function) {
    let dfg = &func.dfg;
    let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    let found: Vec<(Inst, Value)> =
        insts.filter_map(|inst| Some((inst, tagged(dfg, inst)?))).collect();
    if found.is_empty() {
        return;
    }
    let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for value in dfg.inst_values(inst) {
                uses[dfg.resolve_aliases(value)] += 1;
            }
        }
    }
    for (inst, number) in found {
        let mut shifts = Shifts { saved: 0, uses: &uses };
        shifts.count(&func.dfg, number, DEPTH);
        if shifts.saved <= 0 {
            continue;
        }
        let location = func.srcloc(inst);
        let mut cursor = FuncCursor::new(func).at_inst(inst).with_srcloc(location);
        let value = shifts.with_tag(&mut cursor, number, DEPTH);
        let result = func.dfg.first_result(inst);
        func.dfg.clear_results(inst);
        func.dfg.change_to_alias(result, value);
        func.layout.remove_inst(inst);
    }
}

/// The number whose `i31` is the result of `inst`: `number << 1 | 1`.
fn tagged(dfg: &DataFlowGraph, inst: Inst) -> Option<Value> {
    let InstructionData::Binary { opcode: Opcode::Bor, args } = dfg.insts[inst] else {
        return None;
    };
    let shifted = with_constant(dfg, args, TAG)?;
    let (Opcode::Ishl, [number, one]) = binary(dfg, shifted)? else { return None };
    let is_i31 = dfg.value_type(number) == types::I32 && constant(dfg, one) == Some(1);
    is_i31.then_some(number)
}

/// The argument beside the constant `bits`.
fn with_constant(dfg: &DataFlowGraph, args: [Value; 2], bits: i64) -> Option<Value> {
    let [a, b] = args;
    match (constant(dfg, a), constant(dfg, b)) {
        (_, Some(found)) if found == bits => Some(a),
        (Some(found), _) if found == bits => Some(b),
        _ => None,
    }
}

fn binary(dfg: &DataFlowGraph, value: Value) -> Option<(Opcode, [Value; 2])> {
    match dfg.insts[dfg.value_def(dfg.resolve_aliases(value)).inst()?] {
        InstructionData::Binary { opcode, args } => Some((opcode, args)),
        _ => None,
    }
}

fn constant(dfg: &DataFlowGraph, value: Value) -> Option<i64> {
    match dfg.insts[dfg.value_def(dfg.resolve_aliases(value)).inst()?] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => Some(imm.bits()),
        _ => None,
    }
}

/// The word of the `i31` whose number `value` is.
fn untagged(dfg: &DataFlowGraph, value: Value) -> Option<Value> {
    let (Opcode::Sshr | Opcode::Ushr, [word, one]) = binary(dfg, value)? else { return None };
    (constant(dfg, one) == Some(1)).then_some(word)
}

/// The lowest bit of `value`, if it is the same whatever the program does.
pub(crate) fn lowest_bit(dfg: &DataFlowGraph, value: Value) -> Option<bool> {
    fn bit(dfg: &DataFlowGraph, value: Value, depth: u32) -> Option<bool> {
        if let Some(bits) = constant(dfg, value) {
            return Some(bits & 1 != 0);
        }
        let (opcode, [a, b]) = binary(dfg, value)?;
        let depth = depth.checked_sub(1)?;
        let of = |value| bit(dfg, value, depth);
        match opcode {
            Opcode::Iadd | Opcode::Isub | Opcode::Bxor => Some(of(a)? ^ of(b)?),
            Opcode::Band | Opcode::Imul => match (of(a), of(b)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (a, b) => Some(a? & b?),
            },
            Opcode::Bor => match (of(a), of(b)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (a, b) => Some(a? | b?),
            },
            Opcode::Ishl => match (of(a), constant(dfg, b)) {
                (Some(false), _) => Some(false),
                (a, Some(places)) => {
                    let bits = i64::from(dfg.value_type(value).bits());
                    if places & (bits - 1) == 0 { a } else { Some(false) }
                }
                _ => None,
            },
            _ => None,
        }
    }
    bit(dfg, value, BIT_DEPTH)
}

/// Moves a shift to the left by one through operations.
struct Shifts<'u> {
    /// How many operations are saved. It is negative if there are more than before.
    saved: i32,
    /// How often each value is used.
    uses: &'u SecondaryMap<Value, u32>,
}

/// The operations through which a shift moves.
enum Through {
    /// To both operands.
    Both,
    /// To the first operand.
    First,
}

impl Shifts<'_> {
    /// The operation that computes `number`, if the shift moves through it.
    fn through(
        &self,
        dfg: &DataFlowGraph,
        number: Value,
        depth: u32,
    ) -> Option<(Opcode, [Value; 2], Through)> {
        let number = dfg.resolve_aliases(number);
        // Others need the number itself.
        if depth == 0 || self.uses[number] > 1 {
            return None;
        }
        let (opcode, args) = binary(dfg, number)?;
        let through = match opcode {
            Opcode::Iadd | Opcode::Isub | Opcode::Band | Opcode::Bor | Opcode::Bxor => {
                Through::Both
            }
            Opcode::Imul | Opcode::Ishl => Through::First,
            _ => return None,
        };
        Some((opcode, args, through))
    }

    /// Counts what is saved if `number` is computed shifted. The shift to the left is gone, and comes
    /// again for each operand that is neither an `i31` nor a constant. The shift to the right of an
    /// `i31` becomes another operation.
    fn count(&mut self, dfg: &DataFlowGraph, number: Value, depth: u32) {
        self.saved += 1;
        self.count_operand(dfg, number, depth);
    }

    fn count_operand(&mut self, dfg: &DataFlowGraph, number: Value, depth: u32) {
        if constant(dfg, number).is_some() || untagged(dfg, number).is_some() {
            return;
        }
        match self.through(dfg, number, depth) {
            Some((_, [a, b], Through::Both)) => {
                self.count_operand(dfg, a, depth - 1);
                self.count_operand(dfg, b, depth - 1);
            }
            Some((_, [a, _], Through::First)) => self.count_operand(dfg, a, depth - 1),
            None => self.saved -= 1,
        }
    }

    /// `number << 1 | 1`.
    fn with_tag(&self, cursor: &mut FuncCursor<'_>, number: Value, depth: u32) -> Value {
        let dfg = &cursor.func.dfg;
        if let Some(bits) = constant(dfg, number) {
            return word(cursor, bits << 1 | TAG);
        }
        if let Some(word) = untagged(dfg, number) {
            return at_definition(cursor, number, |c| c.ins().bor_imm_u(word, TAG));
        }
        if let Some((opcode, [mut a, mut b], Through::Both)) = self.through(dfg, number, depth) {
            // The operand whose tag costs nothing gets it.
            let is_free =
                |value| constant(dfg, value).or(untagged(dfg, value).map(|_| 0)).is_some();
            if opcode != Opcode::Isub && !is_free(a) && is_free(b) {
                (a, b) = (b, a);
            }
            let a = self.with_tag(cursor, a, depth - 1);
            let b = match opcode {
                Opcode::Band => self.with_tag(cursor, b, depth - 1),
                _ => self.shifted(cursor, b, depth - 1),
            };
            return operation(cursor, opcode, a, b);
        }
        let shifted = self.shifted(cursor, number, depth);
        cursor.ins().bor_imm_u(shifted, TAG)
    }

    /// `number << 1`.
    fn shifted(&self, cursor: &mut FuncCursor<'_>, number: Value, depth: u32) -> Value {
        let dfg = &cursor.func.dfg;
        if let Some(bits) = constant(dfg, number) {
            return word(cursor, bits << 1);
        }
        if let Some(word) = untagged(dfg, number) {
            let payload = i64::from(!I31::TAG);
            return at_definition(cursor, number, |c| c.ins().band_imm_u(word, payload));
        }
        match self.through(dfg, number, depth) {
            Some((opcode, [a, b], through)) => {
                let a = self.shifted(cursor, a, depth - 1);
                let b = match through {
                    Through::Both => self.shifted(cursor, b, depth - 1),
                    Through::First => b,
                };
                operation(cursor, opcode, a, b)
            }
            None => cursor.ins().ishl_imm_u(number, 1),
        }
    }
}

/// Makes a value where `number` is computed. The reference with its number may not be used later,
/// because a call may have moved objects.
fn at_definition(
    cursor: &mut FuncCursor<'_>,
    number: Value,
    make: impl FnOnce(&mut FuncCursor<'_>) -> Value,
) -> Value {
    let position = cursor.position();
    let location = cursor.srcloc();
    let dfg = &cursor.func.dfg;
    let inst = dfg.value_def(dfg.resolve_aliases(number)).inst().expect("a shift");
    cursor.goto_inst(inst);
    cursor.set_srcloc(cursor.func.srcloc(inst));
    let value = make(cursor);
    cursor.set_position(position);
    cursor.set_srcloc(location);
    value
}

fn word(cursor: &mut FuncCursor<'_>, bits: i64) -> Value {
    let ty: Type = types::I32;
    cursor.ins().iconst(ty, bits & 0xffff_ffff)
}

fn operation(cursor: &mut FuncCursor<'_>, opcode: Opcode, a: Value, b: Value) -> Value {
    match opcode {
        Opcode::Iadd => cursor.ins().iadd(a, b),
        Opcode::Isub => cursor.ins().isub(a, b),
        Opcode::Band => cursor.ins().band(a, b),
        Opcode::Bor => cursor.ins().bor(a, b),
        Opcode::Bxor => cursor.ins().bxor(a, b),
        Opcode::Imul => cursor.ins().imul(a, b),
        _ => cursor.ins().ishl(a, b),
    }
}
