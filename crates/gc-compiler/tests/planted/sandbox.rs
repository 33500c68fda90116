//! Errors in addresses.

use super::*;
use cranelift_codegen::ir::Opcode;
use cranelift_codegen::ir::condcodes::IntCC;
use gc_types::HEAP_GUARD_SIZE;
use gc_types::collector::generational;

const NO_REGION: &str = "an access without an alias region";
const MOVES: &str = "a heap load that may move";
const NO_TRAP: &str = "a heap load without a trap code";
const ALIGNED: &str = "an untrusted heap access that is assumed to be aligned";
const NO_SUM: &str = "a heap address that is not a sum";
const NOT_BASE: &str = "a heap address that is not relative to the heap's base";
const WIDE: &str = "a heap index that may be wider than 32 bits";
const OUTSIDE: &str = "a heap access outside the guard without a comparison";
const NOT_FRESH: &str = "a heap store without a trap code to an object that is not fresh";
const BEYOND: &str = "a heap store beyond a fresh object";
const NOT_WORD: &str = "a reference in memory that is not accessed in 32 bits";
const NOT_NATIVE: &str = "a native address that is not computed from a native pointer";
const UNBOUNDED: &str = "a native address with an unbounded offset";
const AS_NATIVE: &str = "memory of the heap is accessed as if it were native";
const OWNED: &str = "a store to a word that belongs to a side table";
const VARIABLE: &str = "a place in the heap data that is not constant";
const ESCAPES: &str = "the address of a side table is not only accessed";
const PASSED: &str = "a reference that may be wider than 32 bits is passed";

fn is_heap(f: &Function, i: Inst) -> bool {
    region(f, i).is_some_and(regions::is_heap)
}

fn is_load(f: &Function, i: Inst) -> bool {
    f.dfg.insts[i].opcode().can_load()
}

fn has_trap(f: &Function, i: Inst) -> bool {
    f.dfg.insts[i].memflags_data(&f.dfg).is_some_and(|flags| flags.trap_code().is_some())
}

fn is_access(f: &Function, i: Inst) -> bool {
    f.dfg.insts[i].memflags_data(&f.dfg).is_some()
}

/// A native access with its own address.
fn is_native(f: &Function, i: Inst) -> bool {
    is_access(f, i) && !is_heap(f, i) && !is_spill(f, i)
}

pub(super) fn with_address(
    f: &mut Function,
    i: Inst,
    address: impl FnOnce(&mut FuncCursor<'_>, ir::Value) -> ir::Value,
) -> bool {
    let n = f.dfg.inst_args(i).len() - 1;
    let old = f.dfg.inst_args(i)[n];
    let new = address(&mut FuncCursor::new(f).at_inst(i), old);
    f.dfg.inst_args_mut(i)[n] = new;
    true
}

/// Base and index of a heap address.
fn parts(f: &Function, i: Inst) -> [ir::Value; 2] {
    let address = *f.dfg.inst_args(i).last().unwrap();
    let args = f.dfg.inst_args(f.dfg.value_def(address).unwrap_inst());
    [args[0], args[1]]
}

pub(super) fn set_offset(f: &mut Function, i: Inst, change: impl FnOnce(i32) -> i32) -> bool {
    match &mut f.dfg.insts[i] {
        InstructionData::Load { offset, .. } | InstructionData::Store { offset, .. } => {
            *offset = change(i32::from(*offset)).into();
            true
        }
        _ => false,
    }
}

#[test]
fn errors_in_addresses_are_found() {
    let options = guarded();
    let plant = |name, laws: &[&str], change| {
        (name, plant(name, Checker::Sandbox, &[], &options, laws, change))
    };
    let found = [
        plant("no region", &[NO_REGION], |f, i| {
            is_access(f, i) && {
                set_flags(f, i, |flags| flags.with_alias_region(None));
                true
            }
        }),
        plant("a load that is read only", &[MOVES], |f, i| {
            is_heap(f, i) && is_load(f, i) && {
                set_flags(f, i, MemFlagsData::with_readonly);
                true
            }
        }),
        plant("a load that can move", &[MOVES], |f, i| {
            is_heap(f, i) && is_load(f, i) && {
                set_flags(f, i, MemFlagsData::with_can_move);
                true
            }
        }),
        plant("a load without a trap", &[NO_TRAP], |f, i| {
            is_heap(f, i) && is_load(f, i) && {
                set_flags(f, i, MemFlagsData::with_notrap);
                true
            }
        }),
        plant("an aligned access", &[ALIGNED], |f, i| {
            is_heap(f, i) && has_trap(f, i) && {
                set_flags(f, i, MemFlagsData::with_aligned);
                true
            }
        }),
        plant("a store that believes its object fresh", &[NOT_FRESH], |f, i| {
            // The header of a fresh object counts like that of any other object.
            is_heap(f, i)
                && region(f, i) != Some(regions::HEADER)
                && !is_load(f, i)
                && has_trap(f, i)
                && {
                    set_flags(f, i, MemFlagsData::with_notrap);
                    true
                }
        }),
        plant("a store beyond its fresh object", &[BEYOND], |f, i| {
            is_heap(f, i) && !has_trap(f, i) && set_offset(f, i, |offset| offset + 64)
        }),
        plant("an offset behind the guard", &[OUTSIDE], |f, i| {
            is_heap(f, i) && has_trap(f, i) && set_offset(f, i, |_| HEAP_GUARD_SIZE as i32 - 1)
        }),
        plant("a negative offset", &["a negative offset"], |f, i| {
            is_heap(f, i) && set_offset(f, i, |_| -8)
        }),
        plant("a wide index", &[WIDE], |f, i| {
            is_heap(f, i) && {
                let [base, index] = parts(f, i);
                with_address(f, i, |c, _| {
                    let wide = c.ins().imul(index, index);
                    c.ins().iadd(base, wide)
                })
            }
        }),
        plant("an index that was in a vector", &[WIDE], |f, i| {
            is_heap(f, i) && {
                let [base, index] = parts(f, i);
                with_address(f, i, |c, _| {
                    let vector = c.ins().splat(types::I64X2, index);
                    let lane = c.ins().extractlane(vector, 1);
                    c.ins().iadd(base, lane)
                })
            }
        }),
        plant("an address that was in a vector", &[NO_SUM], |f, i| {
            is_heap(f, i)
                && with_address(f, i, |c, address| {
                    let vector = c.ins().scalar_to_vector(types::I64X2, address);
                    c.ins().extractlane(vector, 0)
                })
        }),
        plant("a vector beyond its fresh object", &[BEYOND], |f, i| {
            let is_last = is_store(f, i, regions::STRUCT_FIELD) && !has_trap(f, i);
            is_last && {
                let bytes = f.dfg.constants.insert([0; 16].as_slice().into());
                let vector = FuncCursor::new(f).at_inst(i).ins().vconst(types::I8X16, bytes);
                f.dfg.inst_args_mut(i)[0] = vector;
                true
            }
        }),
        plant("an index that is not cut to 32 bits", &[WIDE], |f, i| {
            is_heap(f, i) && has_trap(f, i) && {
                let [base, index] = parts(f, i);
                with_address(f, i, |c, _| {
                    let wide = c.ins().ishl_imm_u(index, 2);
                    c.ins().iadd(base, wide)
                })
            }
        }),
        plant("a reference as an address", &[NO_SUM, NOT_BASE], |f, i| {
            is_heap(f, i) && {
                let [_, index] = parts(f, i);
                with_address(f, i, |_, _| index)
            }
        }),
        plant("another base", &[NOT_BASE], |f, i| {
            is_heap(f, i) && {
                let [_, index] = parts(f, i);
                let vmctx = f.dfg.block_params(f.layout.entry_block().unwrap())[0];
                with_address(f, i, |c, _| c.ins().iadd(vmctx, index))
            }
        }),
        plant("a reference of 64 bits", &[NOT_WORD], |f, i| {
            let is_ref = [regions::STRUCT_REF_FIELD, regions::ARRAY_REF_ELEMENT, SLOTS]
                .contains(&region(f, i).unwrap_or(u32::MAX));
            is_ref
                && match &mut f.dfg.insts[i] {
                    InstructionData::Load { opcode, .. } => {
                        *opcode = Opcode::Load;
                        true
                    }
                    InstructionData::Store { opcode: opcode @ Opcode::Istore32, .. } => {
                        *opcode = Opcode::Store;
                        true
                    }
                    _ => false,
                }
        }),
        plant("a native address that is a number", &[NOT_NATIVE, ESCAPES], |f, i| {
            is_native(f, i) && with_address(f, i, |c, address| c.ins().imul(address, address))
        }),
        plant("a native address out of a reference", &[NOT_NATIVE], |f, i| {
            is_native(f, i) && {
                let entry = insts(f).into_iter().find(|inst| region(f, *inst) == Some(REFS));
                let reference = f.dfg.first_result(entry.unwrap());
                i != entry.unwrap()
                    && dominates(f, entry.unwrap(), i)
                    && with_address(f, i, |_, _| reference)
            }
        }),
        plant("a native address and any number", &[UNBOUNDED, ESCAPES, VARIABLE], |f, i| {
            is_native(f, i)
                && with_address(f, i, |c, address| {
                    let wide = c.ins().imul(address, address);
                    c.ins().iadd(address, wide)
                })
        }),
        plant("heap memory under a native region", &[AS_NATIVE], |f, i| {
            is_heap(f, i) && is_load(f, i) && {
                let types = regions::intern(f, regions::TYPES);
                set_flags(f, i, |flags| flags.with_alias_region(Some(types)));
                true
            }
        }),
        plant("a wide reference is passed", &[PASSED], |f, i| {
            let InstructionData::Call { func_ref, .. } = f.dfg.insts[i] else { return false };
            host_call(f, func_ref) == gc_types::HostCall::COLLECTOR && {
                let value = f.dfg.inst_args(i)[2];
                let wide = FuncCursor::new(f).at_inst(i).ins().imul(value, value);
                f.dfg.inst_args_mut(i)[2] = wide;
                true
            }
        }),
        plant("room that is not looked for", &[NOT_FRESH, OWNED], |f, i| {
            let block = f.layout.inst_block(i).unwrap();
            let ends_block = f.layout.last_inst(block).unwrap();
            // The barrier has such a comparison, too.
            let is_bound = f.dfg.inst_args(i).iter().any(|&arg| {
                let loaded = f.dfg.value_def(arg).inst();
                loaded.is_some_and(|inst| is_word(f, inst, generational::YOUNG_LAST))
            });
            match &mut f.dfg.insts[i] {
                InstructionData::IntCompare { cond, .. }
                    if *cond == IntCC::UnsignedLessThanOrEqual && !is_bound =>
                {
                    *cond = IntCC::UnsignedGreaterThan;
                    f.dfg.insts[ends_block].opcode() == Opcode::Brif
                }
                _ => false,
            }
        }),
        plant("room for one of two objects in a row", &[NOT_FRESH, OWNED], |f, i| {
            // A struct and an array of 24 bytes each, with one test for both.
            match &mut f.dfg.insts[i] {
                InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } if imm.bits() == 48 => {
                    *imm = 40.into();
                    true
                }
                _ => false,
            }
        }),
        plant("the cursor stays where it is", &[NOT_FRESH], |f, i| {
            is_store(f, i, regions::HEAP_CURSOR) && f.dfg.insts[i].opcode() == Opcode::Istore32 && {
                f.layout.remove_inst(i);
                true
            }
        }),
    ];
    report(&found);
}

#[test]
fn errors_in_comparisons_are_found() {
    let options = guarded().with_bounds(gc_types::HeapBounds::Checked);
    let plant = |name, laws: &[&str], change| {
        (name, plant(name, Checker::Sandbox, &[], &options, laws, change))
    };
    fn is_check(f: &Function, i: Inst) -> bool {
        matches!(f.dfg.insts[i], InstructionData::CondTrap { opcode: Opcode::Trapnz, code, .. }
            if code == gc_compiler::trap_code(gc_types::Trap::CorruptHeap))
    }
    /// Changes all comparisons of a block, because one may also be enough for another access.
    fn change_checks(
        f: &mut Function,
        i: Inst,
        change: impl Fn(&mut IntCC, &mut [ir::Value; 2]),
    ) -> bool {
        let block = f.layout.inst_block(i).unwrap();
        for inst in f.layout.block_insts(block).collect::<Vec<_>>() {
            if is_check(f, inst) {
                let compared = f.dfg.value_def(f.dfg.inst_args(inst)[0]).unwrap_inst();
                if let InstructionData::IntCompare { cond, args, .. } = &mut f.dfg.insts[compared] {
                    change(cond, args);
                }
            }
        }
        true
    }
    let found = [
        plant("no comparison", &[OUTSIDE], |f, i| {
            is_check(f, i) && {
                // All comparisons of a block, because one may also be enough for another access.
                let block = f.layout.inst_block(i).unwrap();
                for inst in f.layout.block_insts(block).collect::<Vec<_>>() {
                    if is_check(f, inst) {
                        f.layout.remove_inst(inst);
                    }
                }
                true
            }
        }),
        plant("the other way round", &[OUTSIDE], |f, i| {
            is_check(f, i) && change_checks(f, i, |cond, _| *cond = IntCC::UnsignedLessThanOrEqual)
        }),
        plant("another bound", &[OUTSIDE], |f, i| {
            is_check(f, i) && change_checks(f, i, |_, args| args[1] = args[0])
        }),
        plant("further in than was compared", &[OUTSIDE], |f, i| {
            is_heap(f, i) && has_trap(f, i) && set_offset(f, i, |offset| offset + 64)
        }),
    ];
    report(&found);
}
