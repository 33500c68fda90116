//! Which instructions a collector emits, and for what.
//!
//! The emitter tells which instructions the collector has emitted and for what. [`MARKS`] writes this into
//! their source locations. A source location goes through inlining, optimization and code generation, so
//! the machine code tells it too. The code is the same as without marks, and a collector of somebody else
//! gets marks in the same way.

use crate::compile::LocationMarks;
use cranelift_codegen::ir::{self, Inst, InstructionData, SourceLoc, Value, ValueDef};
use gc_compiler::regions::{self, Region};
use gc_compiler::{CollectorCode, RefPlace};
use std::collections::HashSet;

/// What an instruction is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The operator itself.
    #[default]
    Operator,
    /// Allocation of an object.
    Allocation,
    /// The collector's read barrier, beside the load of the reference.
    ReadBarrier,
    /// The collector's write barrier, beside the store of the reference.
    WriteBarrier,
}

/// The bits of a source location that say what an instruction is for. The others are the offset of the
/// operator.
pub(super) const BITS: u32 = 2;

/// The largest module whose offsets fit beside the bits, in bytes: locations have 30 bits.
pub(super) const MAX_MODULE: usize = 1 << (30 - BITS);

impl Part {
    const ALL: [Part; 1 << BITS] =
        [Part::Operator, Part::Allocation, Part::ReadBarrier, Part::WriteBarrier];

    /// The offset of the operator, and what the instruction is for.
    pub(super) fn read(location: u32) -> (u32, Part) {
        (location >> BITS, Part::ALL[(location % (1 << BITS)) as usize])
    }

    fn write(self, location: SourceLoc) -> SourceLoc {
        let offset = location.bits() >> BITS << BITS;
        SourceLoc::new(offset | self as u32)
    }
}

/// Marks what the collector emits.
pub(super) const MARKS: LocationMarks = LocationMarks { bits: BITS, mark };

/// Marks the instructions of `func` from the number `first` on, except the access itself.
fn mark(func: &mut ir::Function, code: CollectorCode, first: usize) {
    let new: Vec<Inst> =
        (first..func.dfg.num_insts()).map(|number| Inst::from_u32(number as u32)).collect();
    let (part, plain) = match code {
        CollectorCode::Allocation => (Part::Allocation, HashSet::new()),
        CollectorCode::Read(place) => (Part::ReadBarrier, accesses(func, &new, place, false)),
        CollectorCode::Write(place) => (Part::WriteBarrier, accesses(func, &new, place, true)),
        CollectorCode::PlainElements => (Part::WriteBarrier, HashSet::new()),
    };
    for inst in new.into_iter().filter(|inst| !plain.contains(inst)) {
        let location = func.srcloc(inst);
        if !location.is_default() {
            func.set_srcloc(inst, part.write(location));
        }
    }
}

/// The instructions of `new` that load or store the reference at `place`, and those that compute what
/// they need: what a collector without barriers emits. A load that a barrier adds to a store is not
/// among them.
fn accesses(func: &ir::Function, new: &[Inst], place: RefPlace, stores: bool) -> HashSet<Inst> {
    let wanted = match place {
        RefPlace::Field { .. } => regions::STRUCT_REF_FIELD,
        RefPlace::Element { .. } => regions::ARRAY_REF_ELEMENT,
        RefPlace::Native { region, .. } => region,
    };
    let access = |inst: &Inst| match func.dfg.insts[*inst] {
        InstructionData::Load { .. } => !stores,
        InstructionData::Store { .. } => stores,
        _ => false,
    };
    let found = new.iter().copied().filter(access);
    let mut pending: Vec<Inst> =
        found.filter(|inst| region_of(func, *inst) == Some(wanted)).collect();
    let mut found = HashSet::new();
    let mut widened = HashSet::new();
    while let Some(inst) = pending.pop() {
        if !found.insert(inst) {
            continue;
        }
        let args = func.dfg.inst_args(inst).iter();
        let makers = args.filter_map(|value| maker(func, *value));
        pending.extend(makers.filter(|maker| new.contains(maker)));
        widened.extend(func.dfg.inst_results(inst).iter().copied());
    }
    // A reference is loaded in 32 bits and then widened.
    for inst in new {
        let widens = func.dfg.insts[*inst].opcode() == ir::Opcode::Uextend;
        if !stores && widens && func.dfg.inst_args(*inst).iter().any(|arg| widened.contains(arg)) {
            found.insert(*inst);
        }
    }
    found
}

/// The instruction that makes a value, if one does.
fn maker(func: &ir::Function, value: Value) -> Option<Inst> {
    match func.dfg.value_def(func.dfg.resolve_aliases(value)) {
        ValueDef::Result(inst, _) => Some(inst),
        _ => None,
    }
}

/// The region of memory that an instruction accesses.
pub(super) fn region_of(func: &ir::Function, inst: Inst) -> Option<Region> {
    let flags = func.dfg.insts[inst].memflags()?;
    let region = func.dfg.mem_flags[flags].alias_region()?;
    Some(func.dfg.alias_regions[region].user_id)
}
