//! [`ValueKinds`]: what each value may be: a reference, a pointer, an integer, or something that was computed
//! from a reference. It is a forward dataflow analysis. It begins with the known kinds of
//! parameters, results, constants and loads.

use super::facts::Facts;
use super::types::{Definition, ValueType};
use cranelift_codegen::entity::EntitySet;
use cranelift_codegen::ir::{self, Block, BlockArg, Inst, InstructionData, Opcode, Type};
use std::ops::BitOr;

/// A set of kinds that a value may have. If it is empty, nothing is known yet or the value is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ValueKinds(u8);

impl ValueKinds {
    /// No kind.
    pub const NONE: ValueKinds = ValueKinds(0);
    /// A reference that must be in a stack map.
    pub const REF: ValueKinds = ValueKinds(1);
    /// A value that is no reference and may be where one is expected, for example a tagged integer.
    pub const UNBOXED: ValueKinds = ValueKinds(2);
    /// An integer of at most 32 bits.
    pub const INT: ValueKinds = ValueKinds(4);
    /// Any 64-bit value.
    pub const WIDE: ValueKinds = ValueKinds(8);
    /// A native address.
    pub const POINTER: ValueKinds = ValueKinds(16);
    /// The value was also computed from a reference, and is invalid when objects have moved.
    pub const DERIVED: ValueKinds = ValueKinds(32);
    /// A vector of references, which cannot be in a stack map.
    pub const VECTOR_OF_REFS: ValueKinds = ValueKinds(64);
    /// A vector whose lanes are [`UNBOXED`](ValueKinds::UNBOXED).
    pub const VECTOR_OF_UNBOXED: ValueKinds = ValueKinds(128);
    /// Any vector of references.
    const VECTORS: ValueKinds = ValueKinds(64 | 128);
    /// All that is invalid when objects have moved.
    pub const MOVES: ValueKinds = ValueKinds(1 | 32 | 64);

    /// Whether it has one of the kinds of `other`.
    pub fn has(self, other: ValueKinds) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it is at most 32 bits wide, if references are.
    pub fn is_narrow(self) -> bool {
        !self.has(ValueKinds::WIDE | ValueKinds::POINTER | ValueKinds::VECTORS)
    }

    /// Whether it may be used as a reference.
    pub fn fits_ref(self) -> bool {
        !self.has(
            ValueKinds::WIDE
                | ValueKinds::POINTER
                | ValueKinds::INT
                | ValueKinds::DERIVED
                | ValueKinds::VECTOR_OF_REFS,
        )
    }

    /// Whether all its lanes may be used as references.
    pub fn is_vector_of_refs(self) -> bool {
        self.has(ValueKinds::VECTORS) && self.0 & !ValueKinds::VECTORS.0 == 0
    }

    /// Whether it may be used as a pointer.
    pub fn fits_pointer(self) -> bool {
        !self.has(ValueKinds::WIDE | ValueKinds::INT | ValueKinds::REF | ValueKinds::VECTORS)
    }

    /// The kind of a value of this type.
    pub fn of_type(declared: ValueType, ty: Type) -> ValueKinds {
        match declared {
            ValueType::Ref => ValueKinds::REF,
            ValueType::Pointer => ValueKinds::POINTER,
            ValueType::Data => ValueKinds::integer(ty),
        }
    }

    /// The kind of an integer of this type, and of any other value that is no reference.
    pub fn integer(ty: Type) -> ValueKinds {
        if ty.bits() <= 32 { ValueKinds::INT } else { ValueKinds::WIDE }
    }

    /// [`ValueKinds::DERIVED`] if a value that is computed from it is derived.
    pub fn taint(self) -> ValueKinds {
        if self.has(ValueKinds::MOVES) { ValueKinds::DERIVED } else { ValueKinds::NONE }
    }
}

impl BitOr for ValueKinds {
    type Output = ValueKinds;

    fn bitor(self, other: ValueKinds) -> ValueKinds {
        ValueKinds(self.0 | other.0)
    }
}

/// Finds the kinds of all values that are defined in reachable blocks.
pub(super) fn compute(facts: &mut Facts<'_>) {
    let func = facts.func;
    if let Some(entry) = func.layout.entry_block() {
        for (n, param) in func.dfg.block_params(entry).iter().enumerate() {
            let ty = func.dfg.value_type(*param);
            let declared = facts.language.own().params.get(n).copied();
            facts.kinds[*param] = ValueKinds::of_type(declared.unwrap_or(ValueType::Data), ty);
        }
    }
    // A block comes after its predecessors, except at the ends of loops.
    while pass(facts) {}
}

/// Visits all blocks. Returns whether the end of a loop has changed its beginning.
fn pass(facts: &mut Facts<'_>) -> bool {
    let func = facts.func;
    let mut again = false;
    let mut done: EntitySet<Block> = EntitySet::new();
    for n in 0..facts.rpo.len() {
        let block = facts.rpo[n];
        done.insert(block);
        let mut last_call = returned_from(facts, block);
        for inst in func.layout.block_insts(block) {
            if func.dfg.insts[inst].opcode().is_call() {
                last_call = Some(inst);
            }
            for (index, &value) in func.dfg.inst_results(inst).iter().enumerate() {
                let definition = Definition { inst, index, value, last_call };
                facts.kinds[value] = result(facts, definition);
            }
            for call in facts.destinations(inst) {
                let target = call.block(&func.dfg.value_lists);
                let params = func.dfg.block_params(target);
                for (arg, &param) in call.args(&func.dfg.value_lists).zip(params) {
                    let kind = block_arg(facts, inst, arg, func.dfg.value_type(param));
                    let joined = facts.kinds[param] | kind;
                    if joined != facts.kinds[param] {
                        facts.kinds[param] = joined;
                        again |= done.contains(target);
                    }
                }
            }
        }
    }
    again
}

/// The call whose return is the only way into `block`, because the call has handlers of exceptions.
fn returned_from(facts: &Facts<'_>, block: Block) -> Option<Inst> {
    let mut into = facts.cfg.pred_iter(block);
    let (Some(call), None) = (into.next(), into.next()) else { return None };
    let dfg = &facts.func.dfg;
    let InstructionData::TryCall { exception, .. } = dfg.insts[call.inst] else { return None };
    let returns = dfg.exception_tables[exception].normal_return();
    (returns.block(&dfg.value_lists) == block).then_some(call.inst)
}

fn block_arg(facts: &Facts<'_>, inst: Inst, arg: BlockArg, ty: Type) -> ValueKinds {
    match arg {
        BlockArg::Value(value) => facts.kind(value),
        BlockArg::TryCallRet(n) => call_result(facts, inst, n as usize, ty),
        BlockArg::TryCallExn(n) => match facts.language.exception(n) {
            ValueType::Data => ValueKinds::WIDE,
            other => ValueKinds::of_type(other, ty),
        },
    }
}

fn call_result(facts: &Facts<'_>, inst: Inst, n: usize, ty: Type) -> ValueKinds {
    let types = facts.language.call(facts.func, inst);
    let declared = types.and_then(|types| types.results.get(n)).copied();
    ValueKinds::of_type(declared.unwrap_or(ValueType::Data), ty)
}

fn result(facts: &Facts<'_>, definition: Definition) -> ValueKinds {
    if let Some(kind) = facts.language.kind(facts, definition) {
        return kind;
    }
    let Definition { inst, index, value, .. } = definition;
    let dfg: &ir::DataFlowGraph = &facts.func.dfg;
    let ty = dfg.value_type(value);
    let args = dfg.inst_args(inst);
    let kind = |n: usize| facts.kind(args[n]);
    let constant = |n: usize| facts.iconst(args[n]);
    let taint = args.iter().fold(ValueKinds::NONE, |taint, arg| taint | facts.kind(*arg).taint());
    let opcode = dfg.insts[inst].opcode();
    let is_call = opcode.is_call();
    if opcode.can_load()
        && !is_call
        && ty == facts.language.reference()
        && let Some(kind) = facts.root_slot_kind(inst)
    {
        return kind;
    }
    if !ty.is_int() {
        let taint = match facts.root_slot_kind(inst) {
            Some(kind) if opcode.can_load() => kind.taint(),
            _ if is_call || opcode.can_load() => ValueKinds::NONE,
            _ => taint,
        };
        return ValueKinds::WIDE | taint;
    }
    match dfg.insts[inst] {
        InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => match imm.bits() {
            0 => ValueKinds::NONE,
            _ => ValueKinds::integer(ty),
        },
        InstructionData::StackAddr { .. } => ValueKinds::POINTER,
        _ => match opcode {
            _ if is_call => call_result(facts, inst, index, ty),
            Opcode::Uload8 | Opcode::Uload16 | Opcode::Uload32 => ValueKinds::INT,
            _ if opcode.can_load() => ValueKinds::integer(ty),
            Opcode::SymbolValue | Opcode::FuncAddr => ValueKinds::POINTER,
            Opcode::Select | Opcode::SelectSpectreGuard => kind(1) | kind(2),
            Opcode::Uextend => {
                let kind = kind(0);
                if kind.has(ValueKinds::UNBOXED) && !kind.has(ValueKinds::INT) {
                    ValueKinds::UNBOXED | kind.taint()
                } else {
                    ValueKinds::INT | kind.taint()
                }
            }
            // This is the test of a tag. It is allowed for every value.
            Opcode::Band if constant(1) == Some(1) || constant(0) == Some(1) => ValueKinds::INT,
            Opcode::Band => {
                let narrow = ty.bits() <= 32 || (0..2).any(|n| kind(n).is_narrow());
                taint | if narrow { ValueKinds::INT } else { ValueKinds::WIDE }
            }
            Opcode::Ushr if ty.bits() <= 32 || constant(1).is_some_and(|bits| bits >= 32) => {
                taint | ValueKinds::INT
            }
            Opcode::Ushr if kind(0).is_narrow() => taint | ValueKinds::INT,
            Opcode::Iadd | Opcode::Isub if ty.bits() == 64 => {
                let pointer = (0..2).any(|n| kind(n).has(ValueKinds::POINTER));
                taint | if pointer { ValueKinds::POINTER } else { ValueKinds::WIDE }
            }
            Opcode::Icmp | Opcode::Fcmp => ValueKinds::INT,
            _ => taint | ValueKinds::integer(ty),
        },
    }
}
