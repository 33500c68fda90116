//! Errors in the vectors of references by which arrays are copied.

use super::*;

const NOWHERE: &str = "a reference is stored where the collector does not look for references";
const NO_REF: &str = "a value that is not a reference is stored where references are";
const NO_MAP: &str = "a reference is stored in a slot that is in no stack map";
const NOT_WORD: &str = "a reference in memory that is not accessed in 32 bits";

fn copies(e: &mut GcEmitter<'_, '_>, a: Args) -> Option<ir::Value> {
    e.array_copy(&REFS_ARRAY, (a.a, a.x), (a.b, a.y), a.z);
    None
}

/// The vector that `inst` loads or stores.
fn vector(func: &Function, inst: Inst) -> Option<ir::Value> {
    let dfg = &func.dfg;
    let value = match dfg.insts[inst] {
        InstructionData::Load { .. } => dfg.first_result(inst),
        InstructionData::Store { args, .. } => args[0],
        _ => return None,
    };
    (dfg.value_type(value) == types::I32X4).then_some(value)
}

fn is_load(func: &Function, inst: Inst) -> bool {
    func.dfg.insts[inst].opcode().can_load()
}

/// Makes the access one of elements that are not references.
fn as_data(func: &mut Function, inst: Inst) {
    let data = regions::intern(func, regions::ARRAY_ELEMENT);
    set_flags(func, inst, |flags| flags.with_alias_region(Some(data)));
}

#[test]
fn errors_in_vectors_of_references_are_found() {
    let options = guarded();
    let plant = |name, checker, law, change| {
        let collectors = &["copying", "generational", "null"];
        plant_in(&copies, name, checker, collectors, &options, &[law], change);
    };
    plant("numbers are stored", Checker::Barriers, NO_REF, |f, i| {
        vector(f, i).is_some() && is_load(f, i) && {
            as_data(f, i);
            true
        }
    });
    plant("references are stored as numbers", Checker::Barriers, NOWHERE, |f, i| {
        vector(f, i).is_some() && !is_load(f, i) && {
            as_data(f, i);
            true
        }
    });
    plant("references are kept on the stack", Checker::Roots, NO_MAP, |f, i| {
        let Some(value) = vector(f, i).filter(|_| !is_load(f, i)) else { return false };
        let kind = ir::StackSlotKind::ExplicitSlot;
        let slot = f.create_sized_stack_slot(ir::StackSlotData::new(kind, 16, 4));
        FuncCursor::new(f).at_inst(i).ins().stack_store(types::I64, value, slot, 0);
        true
    });
    plant("lanes of 64 bits", Checker::Sandbox, NOT_WORD, |f, i| {
        let InstructionData::Load { arg, flags, offset, .. } = f.dfg.insts[i] else { return false };
        vector(f, i).is_some() && {
            let flags = f.dfg.mem_flags[flags];
            FuncCursor::new(f).at_inst(i).ins().load(types::I64X2, flags, arg, offset);
            true
        }
    });
    // Without the branch on whether the array is young, and on whether objects are marked.
    let laws = [
        "a young reference is stored in an object whose card may be clean",
        "the bundle of a dirty card may be clean",
    ];
    plant_in(
        &copies,
        "the array may be old",
        Checker::Barriers,
        &["generational"],
        &options,
        &laws,
        |f, i| {
            let InstructionData::Brif { arg, blocks: [yes, _], .. } = f.dfg.insts[i] else {
                return false;
            };
            let Some(test) = f.dfg.value_def(f.dfg.resolve_aliases(arg)).inst() else {
                return false;
            };
            let nursery = guarded().option(gc_types::collector::nursery::NURSERY);
            let compares = f.dfg.inst_args(test).get(1).and_then(|limit| {
                match f.dfg.insts[f.dfg.value_def(*limit).inst()?] {
                    InstructionData::UnaryImm { imm, .. } => Some(imm.bits()),
                    _ => None,
                }
            });
            compares == Some(nursery.cast_signed()) && {
                let block = yes.block(&f.dfg.value_lists);
                f.replace(i).jump(block, &[]);
                true
            }
        },
    );
}
