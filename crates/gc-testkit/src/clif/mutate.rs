//! Small changes of a function's CLIF, to test what must notice each of them.
//!
//! The changed function need not be valid.

use super::Operations;
use arbitrary::{Result, Unstructured};
use cranelift_codegen::ir::condcodes::{CondCode, IntCC};
use cranelift_codegen::ir::{
    self, Block, Inst, InstructionData, SourceLoc, TrapCode, UserExternalName, types,
};

/// Changes one thing in `func` that the bytes in `u` choose. An instruction becomes only one of those
/// that are among `operations`. Returns what was changed, or `None` if there is no such thing.
///
/// # Errors
/// If `u` has only an empty set to choose from.
pub fn mutate(
    func: &mut ir::Function,
    operations: &Operations,
    u: &mut Unstructured<'_>,
) -> Result<Option<&'static str>> {
    let insts: Vec<(Block, Inst)> = func
        .layout
        .blocks()
        .flat_map(|block| func.layout.block_insts(block).map(move |inst| (block, inst)))
        .collect();
    let Some(&(block, first)) = insts.get(usize::from(u.arbitrary::<u16>()?) % insts.len().max(1))
    else {
        return Ok(None);
    };
    let at = insts.iter().position(|(_, inst)| *inst == first).unwrap_or(0);
    let from_there = || insts[at..].iter().chain(&insts[..at]).map(|(_, inst)| *inst);
    let byte: u8 = u.arbitrary()?;
    let what = u.int_in_range(0..=13)?;
    let find = |func: &ir::Function, fits: fn(&InstructionData) -> bool| {
        from_there().find(|inst| fits(&func.dfg.insts[*inst]))
    };
    Ok(match what {
        0 | 1 => find(func, |data| matches!(data, InstructionData::UnaryImm { .. })).map(|inst| {
            let ty = func.dfg.value_type(func.dfg.first_result(inst));
            if let InstructionData::UnaryImm { imm, .. } = &mut func.dfg.insts[inst] {
                let bits = imm.bits() ^ (1 << (byte % 16));
                let mask = if ty == types::I64 { -1 } else { (1 << ty.bits()) - 1 };
                *imm = (bits & mask).into();
            }
            "a constant"
        }),
        2 => {
            let opcodes = operations.binary();
            let other = usize::from(byte).checked_rem(opcodes.len()).map(|number| opcodes[number]);
            let found = find(func, |data| matches!(data, InstructionData::Binary { .. }));
            found.zip(other).map(|(inst, other)| {
                if let InstructionData::Binary { opcode, .. } = &mut func.dfg.insts[inst] {
                    *opcode = other;
                }
                "an opcode"
            })
        }
        3 => find(func, |data| matches!(data, InstructionData::IntCompare { .. })).map(|inst| {
            if let InstructionData::IntCompare { cond, .. } = &mut func.dfg.insts[inst] {
                *cond = match byte % 3 {
                    0 => cond.complement(),
                    1 => IntCC::SignedLessThan,
                    _ => IntCC::UnsignedLessThan,
                };
            }
            "a comparison"
        }),
        4 => find(func, |data| matches!(data, InstructionData::Binary { .. })).map(|inst| {
            if let InstructionData::Binary { args, .. } = &mut func.dfg.insts[inst] {
                args.swap(0, 1);
            }
            "the order of operands"
        }),
        5 => {
            let count = func.dfg.inst_args(first).len();
            let values = func.dfg.num_values();
            let other = ir::Value::from_u32(u.int_in_range(0..=values.saturating_sub(1) as u32)?);
            let arg = usize::from(byte).checked_rem(count);
            let fits = arg.filter(|arg| {
                let old = func.dfg.inst_args(first)[*arg];
                func.dfg.value_type(other) == func.dfg.value_type(old)
            });
            fits.map(|arg| {
                func.dfg.inst_args_mut(first)[arg] = other;
                "an operand"
            })
        }
        6 => find(func, |data| matches!(data, InstructionData::Brif { .. })).map(|inst| {
            if let InstructionData::Brif { blocks, .. } = &mut func.dfg.insts[inst] {
                blocks.swap(0, 1);
            }
            "the order of targets"
        }),
        7 => {
            let entry = func.layout.entry_block();
            let last = func.layout.last_block().filter(|last| *last != block);
            last.filter(|_| Some(block) != entry).map(|last| {
                let insts: Vec<Inst> = func.layout.block_insts(block).collect();
                insts.iter().for_each(|inst| func.layout.remove_inst(*inst));
                func.layout.remove_block(block);
                func.layout.insert_block_after(block, last);
                insts.iter().for_each(|inst| func.layout.append_inst(*inst, block));
                "the order of blocks"
            })
        }
        8 => {
            func.set_srcloc(first, SourceLoc::new(u32::from(byte) + 1));
            Some("a source location")
        }
        9 => {
            for (n, (_, inst)) in insts.iter().enumerate() {
                func.set_srcloc(*inst, SourceLoc::new(n as u32 * 4 + u32::from(byte)));
            }
            Some("all source locations")
        }
        10 => {
            let names: Vec<_> = func.params.user_named_funcs().keys().collect();
            names.get(usize::from(byte).checked_rem(names.len()).unwrap_or(0)).map(|name| {
                let UserExternalName { namespace, index } = func.params.user_named_funcs()[*name];
                let index = index ^ (1 << (byte % 3));
                func.params.reset_user_func_name(*name, UserExternalName { namespace, index });
                "the name of a callee"
            })
        }
        11 => {
            let traps = |data: &InstructionData| {
                matches!(data, InstructionData::CondTrap { .. } | InstructionData::Trap { .. })
            };
            find(func, traps).map(|inst| {
                let other = TrapCode::user(byte % 16 + 1).expect("a small code");
                if let InstructionData::CondTrap { code, .. } | InstructionData::Trap { code, .. } =
                    &mut func.dfg.insts[inst]
                {
                    *code = other;
                }
                "a trap code"
            })
        }
        12 => {
            let memory = |data: &InstructionData| {
                matches!(data, InstructionData::Load { .. } | InstructionData::Store { .. })
            };
            find(func, memory).map(|inst| {
                if let InstructionData::Load { offset, .. }
                | InstructionData::Store { offset, .. } = &mut func.dfg.insts[inst]
                {
                    *offset = (i32::from(*offset) + 8).into();
                }
                "an offset"
            })
        }
        _ => {
            let mapped = |inst: &Inst| func.dfg.user_stack_map_entries(*inst).is_some();
            from_there().find(mapped).map(|inst| {
                let entries = func.dfg.user_stack_map_entries(inst).unwrap_or_default();
                let entry = entries[usize::from(byte) % entries.len()].clone();
                let (slot, ty) = (entry.slot, entry.ty);
                func.sized_stack_slots[slot].size += 8;
                let entry = ir::UserStackMapEntry { ty, slot, offset: entry.offset + 8 };
                func.dfg.append_user_stack_map_entry(inst, entry);
                "a stack map"
            })
        }
    })
}
