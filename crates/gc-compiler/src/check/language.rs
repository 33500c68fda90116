//! [`Emitted`]: what the checker of roots must know of the code of this crate: which calls are host calls and
//! which of those may collect, what is loaded from each alias region, and the forms of an `i31`.

use super::CheckContext;
use super::types::{Memory, SignatureTypes, ValueType, host_call_types, value_type};
use crate::driver::imported_host_call;
use crate::regions;
use cranelift_codegen::ir::{Function, Inst, InstructionData, Opcode, SigRef, Type, Value, types};
use gc_types::collector::bump;
use gc_types::{HostCall, I31};
use stack_roots::check::{Definition, Facts, Language, ValueKinds, signature};
use std::collections::HashMap;

/// The language of emitted functions.
pub(super) struct Emitted<'a> {
    cx: &'a CheckContext<'a>,
    /// The types of host calls, by their signatures.
    host_calls: HashMap<SigRef, SignatureTypes>,
}

impl<'a> Emitted<'a> {
    pub(super) fn new(func: &Function, cx: &'a CheckContext<'a>) -> Emitted<'a> {
        let types = func.dfg.ext_funcs.iter().filter_map(|(callee, data)| {
            let signature = cx.abi.host_call(imported_host_call(func, callee)?)?;
            Some((data.signature, host_call_types(signature)))
        });
        Emitted { cx, host_calls: types.collect() }
    }

    /// The kind of a loaded value.
    fn loaded(&self, facts: &Facts<'_>, definition: Definition, ty: Type) -> ValueKinds {
        let inst = definition.inst;
        let opcode = facts.func.dfg.insts[inst].opcode();
        let whole = opcode == Opcode::Load && ty == types::I64;
        let word = opcode == Opcode::Uload32 && ty == types::I64;
        let integer = match opcode {
            Opcode::Uload8 | Opcode::Uload16 | Opcode::Uload32 => ValueKinds::INT,
            _ => ValueKinds::integer(ty),
        };
        if whole && facts.is_root_slot_access(inst) {
            return ValueKinds::REF;
        }
        let Some(region) = facts.region(inst) else { return integer };
        match region {
            regions::STRUCT_REF_FIELD | regions::ARRAY_REF_ELEMENT if word => ValueKinds::REF,
            region if regions::is_heap(region) => integer,
            // The place of the next object. It becomes a reference when the object is allocated.
            regions::HEAP_CURSOR if word && self.is_next(facts, inst) => ValueKinds::REF,
            regions::HOST_RESULT if self.is_host_result(facts, inst) => {
                let call = definition.last_call.and_then(|call| host_call(facts.func, call));
                let result = call.and_then(|call| self.cx.abi.host_call(call)?.result);
                result.map_or(integer, |result| ValueKinds::of_type(value_type(result), ty))
            }
            _ => match self.cx.types.memory(region) {
                Memory::Refs(_) | Memory::Stack if word => ValueKinds::REF,
                Memory::Stack if whole => ValueKinds::REF,
                Memory::Native if whole => ValueKinds::POINTER,
                _ => integer,
            },
        }
    }

    /// Whether a load is of the result of the last host call.
    fn is_host_result(&self, facts: &Facts<'_>, inst: Inst) -> bool {
        let offsets = self.cx.abi.offsets();
        is_prefix_load(facts, inst, offsets.vmctx_store_context(), offsets.store_host_result())
    }

    /// Whether a load is of the place of the next object.
    fn is_next(&self, facts: &Facts<'_>, inst: Inst) -> bool {
        is_prefix_load(facts, inst, self.cx.abi.offsets().vmctx_heap_data(), bump::NEXT)
    }
}

impl Language for Emitted<'_> {
    fn own(&self) -> &SignatureTypes {
        self.cx.types.own()
    }

    fn call(&self, func: &Function, inst: Inst) -> Option<&SignatureTypes> {
        let signature = signature(func, inst)?;
        match host_call(func, inst) {
            Some(_) => self.host_calls.get(&signature),
            None => self.cx.types.signature(signature),
        }
    }

    fn may_collect(&self, func: &Function, inst: Inst) -> bool {
        host_call(func, inst).is_none_or(|call| self.cx.abi.may_collect(call))
    }

    fn kind(&self, facts: &Facts<'_>, definition: Definition) -> Option<ValueKinds> {
        let Definition { inst, value, .. } = definition;
        let dfg = &facts.func.dfg;
        let ty = dfg.value_type(value);
        let args = dfg.inst_args(inst);
        let constant = |n: usize| facts.iconst(args[n]);
        let opcode = dfg.insts[inst].opcode();
        if let Some(kind) = vector(facts, inst, ty) {
            return Some(kind);
        }
        if !ty.is_int() {
            return None;
        }
        match dfg.insts[inst] {
            InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => match imm.bits() {
                0 => None,
                bits if ty.bits() <= 32 || u32::try_from(bits).is_ok() => Some(ValueKinds::UNBOXED),
                _ => Some(ValueKinds::WIDE),
            },
            _ => match opcode {
                opcode if opcode.is_call() => None,
                opcode if opcode.can_load() => Some(self.loaded(facts, definition, ty)),
                // Code has no addresses of functions or data.
                Opcode::FuncAddr | Opcode::SymbolValue => Some(ValueKinds::integer(ty)),
                Opcode::Select | Opcode::SelectSpectreGuard | Opcode::Uextend => None,
                // The payload of an `i31`, shifted to the left.
                Opcode::Band | Opcode::Bor
                    if ty == types::I32
                        && (0..2).any(|n| constant(n).is_some_and(|bits| is_tag(opcode, bits)))
                        && (0..2).any(|n| is_word_of_ref(facts, args[n])) =>
                {
                    Some(match opcode {
                        Opcode::Bor => ValueKinds::UNBOXED,
                        _ => ValueKinds::INT,
                    })
                }
                _ if ty.bits() <= 32 && is_odd(facts, value) => {
                    let taint = args
                        .iter()
                        .fold(ValueKinds::NONE, |taint, arg| taint | facts.kind(*arg).taint());
                    Some(taint | ValueKinds::UNBOXED)
                }
                Opcode::Sshr | Opcode::Ushr
                    if constant(1) == Some(1) && is_word_of_ref(facts, args[0]) =>
                {
                    Some(ValueKinds::INT)
                }
                _ => None,
            },
        }
    }

    fn exception(&self, index: u32) -> ValueType {
        // A handler gets the exception in the first register, and nothing in the second one.
        if index == 0 { ValueType::Ref } else { ValueType::Data }
    }
}

/// The kind of a vector whose lanes may be used as references: `inst` loads it from elements of an
/// array, or copies one reference to each lane.
fn vector(facts: &Facts<'_>, inst: Inst, ty: Type) -> Option<ValueKinds> {
    if ty != types::I32X4 {
        return None;
    }
    let dfg = &facts.func.dfg;
    match dfg.insts[inst].opcode() {
        Opcode::Load => (facts.region(inst) == Some(regions::ARRAY_REF_ELEMENT))
            .then_some(ValueKinds::VECTOR_OF_REFS),
        Opcode::Splat => {
            let lane = dfg.inst_args(inst)[0];
            let word = facts.unary(Opcode::Ireduce, lane).unwrap_or(lane);
            let kind = facts.kind(word);
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

/// Whether this operation with this constant clears or sets the tag of an `i31`.
fn is_tag(opcode: Opcode, bits: i64) -> bool {
    match opcode {
        Opcode::Band => bits as i32 == !(I31::TAG.cast_signed()),
        _ => bits == i64::from(I31::TAG),
    }
}

/// Whether `value` is the low half of a reference.
fn is_word_of_ref(facts: &Facts<'_>, value: Value) -> bool {
    facts.unary(Opcode::Ireduce, value).is_some_and(|of| facts.kind(of).has(ValueKinds::REF))
}

/// Whether the lowest bit of `value` is set, whatever the program does.
fn is_odd(facts: &Facts<'_>, value: Value) -> bool {
    crate::simplify::lowest_bit(&facts.func.dfg, value) == Some(true)
}

/// The host call that an instruction makes.
pub(super) fn host_call(func: &Function, inst: Inst) -> Option<HostCall> {
    match func.dfg.insts[inst] {
        InstructionData::Call { func_ref, .. } | InstructionData::TryCall { func_ref, .. } => {
            imported_host_call(func, func_ref)
        }
        _ => None,
    }
}

/// The offset in the vmctx from which `value` was loaded.
pub(super) fn prefix_word(facts: &Facts<'_>, value: Value) -> Option<i32> {
    let (inst, data) = facts.definition(value)?;
    let InstructionData::Load { opcode: Opcode::Load, arg, offset, .. } = data else {
        return None;
    };
    (facts.region(inst) == Some(regions::VMCTX) && is_vmctx(facts, arg)).then_some(offset.into())
}

/// Whether a load is at `offset` in the memory to which the vmctx points at `pointer`.
fn is_prefix_load(facts: &Facts<'_>, inst: Inst, pointer: u32, offset: u32) -> bool {
    facts.access(inst).is_some_and(|access| {
        u32::try_from(access.offset) == Ok(offset)
            && prefix_word(facts, access.address).map(u32::try_from) == Some(Ok(pointer))
    })
}

/// Whether `value` is the function's vmctx, which is its first parameter.
pub(super) fn is_vmctx(facts: &Facts<'_>, value: Value) -> bool {
    let func = facts.func;
    let entry = func.layout.entry_block();
    let params = entry.map_or(&[][..], |entry| func.dfg.block_params(entry));
    params.first() == Some(&func.dfg.resolve_aliases(value))
}
