//! Which instructions a collector emits, and for what.
//!
//! A [`Marking`] stands between the translation and the collector's compiler. It looks at the
//! instructions that each method of the collector has emitted, and writes into their source location
//! what they are for. A source location goes through inlining, optimization and code generation, so
//! the machine code tells it too. The code is the same as without marks.
//!
//! A collector of somebody else gets marks in the same way. A method that is added to `GcCompiler` and
//! forgotten here would change the code. So the functions are compiled without marks too, and different
//! code is an error.

use cranelift_codegen::ir::{self, Inst, InstructionData, SourceLoc, Value, ValueDef};
use gc_compiler::check::BarrierLaw;
use gc_compiler::regions::{self, Region};
use gc_compiler::{GcCompiler, GcEmitter, RefPlace};
use gc_types::{ArrayLayout, CollectorAbi};
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

/// Marks what another compiler emits.
pub(super) struct Marking<'a>(pub(super) &'a dyn GcCompiler);

impl Marking<'_> {
    /// Marks what `emit` emits as `part`, except what `operator` returns of it.
    fn marked<T>(
        &self,
        e: &mut GcEmitter<'_, '_>,
        part: Part,
        operator: impl FnOnce(&ir::Function, &[Inst]) -> HashSet<Inst>,
        emit: impl FnOnce(&dyn GcCompiler, &mut GcEmitter<'_, '_>) -> T,
    ) -> T {
        let before = e.builder.func.dfg.num_insts() as u32;
        let result = emit(self.0, e);
        let func = &mut *e.builder.func;
        let after = func.dfg.num_insts() as u32;
        let new: Vec<Inst> = (before..after).map(Inst::from_u32).collect();
        let plain = operator(func, &new);
        for inst in new.into_iter().filter(|inst| !plain.contains(inst)) {
            let location = func.srcloc(inst);
            if !location.is_default() {
                func.set_srcloc(inst, part.write(location));
            }
        }
        result
    }
}

impl GcCompiler for Marking<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn abi(&self) -> CollectorAbi {
        self.0.abi()
    }

    fn barrier_laws(&self) -> &'static [BarrierLaw] {
        self.0.barrier_laws()
    }

    fn zeroes_structs(&self) -> bool {
        self.0.zeroes_structs()
    }

    fn alloc_struct(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        size: u32,
    ) -> ir::Value {
        self.marked(
            e,
            Part::Allocation,
            |_, _| HashSet::new(),
            |gc, e| gc.alloc_struct(e, header_word, size),
        )
    }

    fn alloc_array(
        &self,
        e: &mut GcEmitter<'_, '_>,
        header_word: ir::Value,
        layout: &ArrayLayout,
        length: ir::Value,
    ) -> ir::Value {
        self.marked(
            e,
            Part::Allocation,
            |_, _| HashSet::new(),
            |gc, e| gc.alloc_array(e, header_word, layout, length),
        )
    }

    fn read_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace) -> ir::Value {
        let loads = |func: &ir::Function, new: &[Inst]| accesses(func, new, place, false);
        self.marked(e, Part::ReadBarrier, loads, |gc, e| gc.read_ref(e, place))
    }

    fn write_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        let stores = |func: &ir::Function, new: &[Inst]| accesses(func, new, place, true);
        self.marked(e, Part::WriteBarrier, stores, |gc, e| gc.write_ref(e, place, value));
    }

    fn has_plain_elements(
        &self,
        e: &mut GcEmitter<'_, '_>,
        array: ir::Value,
        otherwise: ir::Block,
    ) -> bool {
        self.marked(
            e,
            Part::WriteBarrier,
            |_, _| HashSet::new(),
            |gc, e| gc.has_plain_elements(e, array, otherwise),
        )
    }

    fn init_ref(&self, e: &mut GcEmitter<'_, '_>, place: RefPlace, value: ir::Value) {
        let stores = |func: &ir::Function, new: &[Inst]| accesses(func, new, place, true);
        self.marked(e, Part::WriteBarrier, stores, |gc, e| gc.init_ref(e, place, value));
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
