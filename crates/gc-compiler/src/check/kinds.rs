//! Finds what each value may be: a reference, a pointer, an integer, or something that was computed
//! from a reference. It is a forward dataflow analysis. It begins with the known kinds of
//! parameters, results, constants and loads.

use super::types::{Memory, ValueType};
use super::view::{HostCallee, View};
use crate::regions;
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{
    self, Block, BlockArg, InstructionData, Opcode, StackSlot, Type, Value, types,
};
use gc_types::I31;
use std::collections::HashSet;
use std::ops::BitOr;

/// A set of kinds that a value may have. If it is empty, nothing is known yet or the value is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ValueKinds(u8);

impl ValueKinds {
    pub(super) const NONE: ValueKinds = ValueKinds(0);
    /// A reference that must be in a stack map. It is 32 bits wide.
    pub(super) const REF: ValueKinds = ValueKinds(1);
    /// A constant, or a value that is known to be an `i31`. It is 32 bits wide and may be used as a
    /// reference.
    pub(super) const UNBOXED: ValueKinds = ValueKinds(2);
    /// An integer of at most 32 bits.
    pub(super) const INT: ValueKinds = ValueKinds(4);
    /// Any 64-bit value.
    pub(super) const WIDE: ValueKinds = ValueKinds(8);
    /// A native address.
    pub(super) const POINTER: ValueKinds = ValueKinds(16);
    /// The value was also computed from a reference, and is invalid when objects have moved.
    pub(super) const DERIVED: ValueKinds = ValueKinds(32);
    /// A vector of references, which cannot be in a stack map.
    pub(super) const VECTOR_OF_REFS: ValueKinds = ValueKinds(64);
    /// A vector whose lanes are [`UNBOXED`](ValueKinds::UNBOXED).
    pub(super) const VECTOR_OF_UNBOXED: ValueKinds = ValueKinds(128);
    /// Any vector of references.
    const VECTORS: ValueKinds = ValueKinds(64 | 128);
    /// All that is invalid when objects have moved.
    pub(super) const MOVES: ValueKinds = ValueKinds(1 | 32 | 64);

    pub(super) fn has(self, other: ValueKinds) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether it is at most 32 bits wide.
    pub(super) fn is_narrow(self) -> bool {
        !self.has(ValueKinds::WIDE | ValueKinds::POINTER | ValueKinds::VECTORS)
    }

    /// Whether it may be used as a reference.
    pub(super) fn fits_ref(self) -> bool {
        !self.has(
            ValueKinds::WIDE
                | ValueKinds::POINTER
                | ValueKinds::INT
                | ValueKinds::DERIVED
                | ValueKinds::VECTOR_OF_REFS,
        )
    }

    /// Whether all its lanes may be used as references.
    pub(super) fn is_vector_of_refs(self) -> bool {
        self.has(ValueKinds::VECTORS) && self.0 & !ValueKinds::VECTORS.0 == 0
    }

    /// Whether it may be used as a pointer.
    pub(super) fn fits_pointer(self) -> bool {
        !self.has(ValueKinds::WIDE | ValueKinds::INT | ValueKinds::REF | ValueKinds::VECTORS)
    }

    /// [`ValueKinds::DERIVED`] if a value that is computed from it is derived.
    fn taint(self) -> ValueKinds {
        if self.has(ValueKinds::MOVES) { ValueKinds::DERIVED } else { ValueKinds::NONE }
    }
}

impl BitOr for ValueKinds {
    type Output = ValueKinds;

    fn bitor(self, other: ValueKinds) -> ValueKinds {
        ValueKinds(self.0 | other.0)
    }
}

/// The kind of a value of this type.
pub(super) fn of_type(declared: ValueType, ty: Type) -> ValueKinds {
    match declared {
        ValueType::Ref => ValueKinds::REF,
        ValueType::Pointer => ValueKinds::POINTER,
        ValueType::Data => integer(ty),
    }
}

/// Whether this operation with this constant clears or sets the tag of an `i31`.
fn is_tag(opcode: Opcode, bits: i64) -> bool {
    match opcode {
        Opcode::Band => bits as i32 == !(I31::TAG.cast_signed()),
        _ => bits == i64::from(I31::TAG),
    }
}

fn integer(ty: Type) -> ValueKinds {
    if ty.bits() <= 32 { ValueKinds::INT } else { ValueKinds::WIDE }
}

/// The kinds of all values that are defined in reachable blocks.
pub(super) fn compute(view: &View<'_>) -> SecondaryMap<Value, ValueKinds> {
    let mut solver = Solver { view, kinds: SecondaryMap::new() };
    let func = view.func;
    if let Some(entry) = func.layout.entry_block() {
        let own = &view.cx.types.own().params;
        for (n, param) in func.dfg.block_params(entry).iter().enumerate() {
            let ty = func.dfg.value_type(*param);
            let declared = own.get(n).copied().unwrap_or(ValueType::Data);
            solver.kinds[*param] = of_type(declared, ty);
        }
    }
    // A block comes after its predecessors, except at the ends of loops.
    while solver.pass() {}
    solver.kinds
}

struct Solver<'v, 'a> {
    view: &'v View<'a>,
    kinds: SecondaryMap<Value, ValueKinds>,
}

impl Solver<'_, '_> {
    /// Visits all blocks. Returns whether the end of a loop has changed its beginning.
    fn pass(&mut self) -> bool {
        let func = self.view.func;
        let mut again = false;
        let mut done: cranelift_codegen::entity::EntitySet<Block> = Default::default();
        for &block in &self.view.rpo {
            done.insert(block);
            let mut host_result = self.returned_from(block);
            for inst in func.layout.block_insts(block) {
                if func.dfg.insts[inst].opcode().is_call() {
                    host_result = self.view.host_call(inst);
                }
                for (n, &result) in func.dfg.inst_results(inst).iter().enumerate() {
                    self.kinds[result] = self.result(inst, n, result, host_result);
                }
                for call in self.view.destinations(inst) {
                    let target = call.block(&func.dfg.value_lists);
                    let params = func.dfg.block_params(target);
                    for (arg, &param) in call.args(&func.dfg.value_lists).zip(params) {
                        let kind = self.block_arg(inst, arg, func.dfg.value_type(param));
                        let joined = self.kinds[param] | kind;
                        if joined != self.kinds[param] {
                            self.kinds[param] = joined;
                            again |= done.contains(target);
                        }
                    }
                }
            }
        }
        again
    }

    /// The host call whose return is the only way into `block`, because the call has handlers of exceptions.
    fn returned_from(&self, block: Block) -> Option<HostCallee> {
        let mut into = self.view.cfg.pred_iter(block);
        let (Some(call), None) = (into.next(), into.next()) else { return None };
        let dfg = &self.view.func.dfg;
        let InstructionData::TryCall { exception, .. } = dfg.insts[call.inst] else { return None };
        let returns = dfg.exception_tables[exception].normal_return();
        let returns = returns.block(&dfg.value_lists) == block;
        self.view.host_call(call.inst).filter(|_| returns)
    }

    fn kind(&self, value: Value) -> ValueKinds {
        self.kinds[self.view.func.dfg.resolve_aliases(value)]
    }

    fn block_arg(&self, inst: ir::Inst, arg: BlockArg, ty: Type) -> ValueKinds {
        match arg {
            BlockArg::Value(value) => self.kind(value),
            BlockArg::TryCallRet(n) => self.call_result(inst, n as usize, ty),
            // A handler gets the exception in the first register, and nothing in the second one.
            BlockArg::TryCallExn(0) => ValueKinds::REF,
            BlockArg::TryCallExn(_) => ValueKinds::WIDE,
        }
    }

    fn call_result(&self, inst: ir::Inst, n: usize, ty: Type) -> ValueKinds {
        let declared = self.view.signature_types(inst).and_then(|types| types.results.get(n));
        of_type(declared.copied().unwrap_or(ValueType::Data), ty)
    }

    fn result(
        &self,
        inst: ir::Inst,
        n: usize,
        result: Value,
        host_result: Option<HostCallee>,
    ) -> ValueKinds {
        let dfg = &self.view.func.dfg;
        let ty = dfg.value_type(result);
        let args = dfg.inst_args(inst);
        let kind = |n: usize| self.kind(args[n]);
        let constant = |n: usize| self.view.iconst(args[n]);
        let taint =
            args.iter().fold(ValueKinds::NONE, |taint, arg| taint | self.kind(*arg).taint());
        let opcode = dfg.insts[inst].opcode();
        if let Some(kind) = self.vector(inst, ty) {
            return kind;
        }
        if !ty.is_int() {
            return if opcode.is_call() || opcode.can_load() {
                ValueKinds::WIDE
            } else {
                ValueKinds::WIDE | taint
            };
        }
        match dfg.insts[inst] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => match imm.bits() {
                0 => ValueKinds::NONE,
                bits if ty.bits() <= 32 || u32::try_from(bits).is_ok() => ValueKinds::UNBOXED,
                _ => ValueKinds::WIDE,
            },
            InstructionData::StackAddr { .. } => ValueKinds::POINTER,
            _ => match opcode {
                opcode if opcode.is_call() => self.call_result(inst, n, ty),
                opcode if opcode.can_load() => self.loaded(inst, opcode, ty, host_result),
                Opcode::Select | Opcode::SelectSpectreGuard => kind(1) | kind(2),
                Opcode::Uextend => {
                    let kind = kind(0);
                    if kind.has(ValueKinds::UNBOXED) && !kind.has(ValueKinds::INT) {
                        ValueKinds::UNBOXED | kind.taint()
                    } else {
                        ValueKinds::INT | kind.taint()
                    }
                }
                // The payload of an `i31`, shifted to the left.
                Opcode::Band | Opcode::Bor
                    if ty == types::I32
                        && (0..2).any(|n| constant(n).is_some_and(|bits| is_tag(opcode, bits)))
                        && (0..2).any(|n| self.view.is_word_of_ref(args[n], &self.kinds)) =>
                {
                    if opcode == Opcode::Bor {
                        ValueKinds::UNBOXED
                    } else {
                        ValueKinds::INT
                    }
                }
                _ if ty.bits() <= 32 && self.view.is_odd(result) => taint | ValueKinds::UNBOXED,
                // This is the test of the tag of an `i31`. It is allowed for every value.
                Opcode::Band if constant(1) == Some(1) || constant(0) == Some(1) => ValueKinds::INT,
                Opcode::Band => {
                    let narrow = ty.bits() <= 32 || (0..2).any(|n| kind(n).is_narrow());
                    taint | if narrow { ValueKinds::INT } else { ValueKinds::WIDE }
                }
                Opcode::Sshr | Opcode::Ushr
                    if constant(1) == Some(1) && self.view.is_word_of_ref(args[0], &self.kinds) =>
                {
                    ValueKinds::INT
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
                _ => taint | integer(ty),
            },
        }
    }

    /// The kind of a vector whose lanes may be used as references: `inst` loads it from elements of an
    /// array, or copies one reference to each lane.
    fn vector(&self, inst: ir::Inst, ty: Type) -> Option<ValueKinds> {
        if ty != types::I32X4 {
            return None;
        }
        let dfg = &self.view.func.dfg;
        match dfg.insts[inst].opcode() {
            Opcode::Load => (self.view.region(inst) == Some(regions::ARRAY_REF_ELEMENT))
                .then_some(ValueKinds::VECTOR_OF_REFS),
            Opcode::Splat => {
                let lane = dfg.inst_args(inst)[0];
                let word = self.view.unary(Opcode::Ireduce, lane).unwrap_or(lane);
                let kind = self.kind(word);
                let of_ref = kind.has(ValueKinds::REF) && dfg.value_type(word) == types::I64;
                match (kind.fits_ref(), of_ref) {
                    (false, _) => None,
                    (true, true) => Some(ValueKinds::VECTOR_OF_REFS),
                    (true, false) => Some(ValueKinds::VECTOR_OF_UNBOXED),
                }
            }
            _ => None,
        }
    }

    fn loaded(
        &self,
        inst: ir::Inst,
        opcode: Opcode,
        ty: Type,
        host_result: Option<HostCallee>,
    ) -> ValueKinds {
        let whole = opcode == Opcode::Load && ty == types::I64;
        let word = opcode == Opcode::Uload32 && ty == types::I64;
        let integer = match opcode {
            Opcode::Uload8 | Opcode::Uload16 | Opcode::Uload32 => ValueKinds::INT,
            _ => integer(ty),
        };
        if whole && self.view.is_root_slot_access(inst) {
            return ValueKinds::REF;
        }
        let Some(region) = self.view.region(inst) else { return integer };
        match region {
            regions::STRUCT_REF_FIELD | regions::ARRAY_REF_ELEMENT if word => ValueKinds::REF,
            region if regions::is_heap(region) => integer,
            // The place of the next object. It becomes a reference when the object is allocated.
            regions::HEAP_CURSOR if word && self.view.is_next(inst) => ValueKinds::REF,
            regions::HOST_RESULT if self.view.is_host_result(inst) => {
                let result = host_result.and_then(|callee| callee.result);
                result.map_or(integer, |result| of_type(result, ty))
            }
            _ => match self.view.cx.types.memory(region) {
                Memory::Refs(_) | Memory::Stack if word => ValueKinds::REF,
                Memory::Stack if whole => ValueKinds::REF,
                Memory::Native if whole => ValueKinds::POINTER,
                _ => integer,
            },
        }
    }
}

/// The slots in stack maps, with offsets in bytes.
pub(super) fn root_slots(func: &ir::Function) -> HashSet<(StackSlot, u32)> {
    let mut slots = HashSet::new();
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            for entry in func.dfg.user_stack_map_entries(inst).unwrap_or_default() {
                slots.insert((entry.slot, entry.offset));
            }
        }
    }
    slots
}
