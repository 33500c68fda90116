//! Polls in loops, by which the host interrupts running code.
//!
//! A poll is a load from the [poll page](VMOffsets::POLL_PAGE_SIZE) whose result nobody uses. It is
//! one instruction without a branch. To interrupt the code, the host makes the page inaccessible,
//! and the load traps. (HotSpot's polls of safepoints; Agesen, "GC Points in a Threaded
//! Environment", 1998, compares it with a word that is tested.)
//!
//! Each loop reads another byte of the page. Otherwise Cranelift would remove the poll of an inner
//! loop, because its outer loop has just loaded the same byte. So the offsets are given here, after
//! the embedder has inlined what it wants.

use crate::{regions, trap_code};
use anyhow::{Context as _, Result};
use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{self, ArgumentPurpose, Block, InstBuilder, MemFlagsData, types};
use cranelift_codegen::traversals::Dfs;
use gc_types::{Trap, VMOffsets};

/// Inserts a poll in each loop of `func`.
///
/// # Errors
/// If the function has a loop but no vmctx.
pub(super) fn insert(func: &mut ir::Function, offsets: &VMOffsets) -> Result<()> {
    let heads = heads(func);
    let (Some(entry), false) = (func.layout.entry_block(), heads.is_empty()) else {
        return Ok(());
    };
    let vmctx = func
        .special_param(ArgumentPurpose::VMContext)
        .context("loops are polled, which needs a vmctx parameter")?;
    let region = |func: &mut ir::Function, flags: MemFlagsData, region| {
        flags.with_alias_region(Some(regions::intern(func, region)))
    };
    // These words are constant, so Cranelift may load them anywhere.
    let constant = MemFlagsData::trusted().with_readonly().with_can_move();
    let of_vmctx = region(func, constant, regions::VMCTX);
    let of_store = region(func, constant, regions::STORE_CONTEXT);
    let poll = MemFlagsData::new().with_trap_code(Some(trap_code(Trap::Interrupt)));
    let poll = region(func, poll, regions::POLL_PAGE);

    let mut cursor = FuncCursor::new(func).at_first_insertion_point(entry);
    let store = offsets.vmctx_store_context().cast_signed();
    let store = cursor.ins().load(types::I64, of_vmctx, vmctx, store);
    let page = offsets.store_poll_page().cast_signed();
    let page = cursor.ins().load(types::I64, of_store, store, page);
    let places = (0..VMOffsets::POLL_PAGE_SIZE.cast_signed()).cycle();
    for (head, place) in heads.into_iter().zip(places) {
        cursor.goto_first_insertion_point(head);
        if let Some(first) = cursor.current_inst() {
            let location = cursor.func.srcloc(first);
            cursor.set_srcloc(location);
        }
        cursor.ins().load(types::I8, poll, page, place);
    }
    Ok(())
}

/// The blocks in which loops begin: every cycle of the control flow has at least one of them.
///
/// An edge closes a cycle if it leads to a block that a depth-first search leaves after the edge's
/// own block, or to that block itself. This also finds the cycles that have several entries.
fn heads(func: &ir::Function) -> Vec<Block> {
    let mut number: SecondaryMap<Block, u32> = SecondaryMap::new();
    let blocks: Vec<Block> = Dfs::new().post_order_iter(func).collect();
    for (n, block) in blocks.iter().enumerate() {
        number[*block] = n as u32;
    }
    let mut heads: Vec<Block> = Vec::new();
    for &block in &blocks {
        heads.extend(func.block_successors(block).filter(|to| number[*to] >= number[block]));
    }
    heads.sort_unstable();
    heads.dedup();
    heads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CompileOptions, Compiler, OptLevel, set_stack_limit};
    use cranelift_codegen::Context;
    use cranelift_codegen::ir::{AbiParam, InstructionData, Signature};
    use cranelift_codegen::isa::CallConv;
    use gc_types::{Abi, CollectorAbi};

    /// A function with a vmctx and a condition, whose block `n` branches to these blocks, or returns
    /// if there are none.
    fn function(blocks: &[&[usize]]) -> ir::Function {
        let mut signature = Signature::new(CallConv::Tail);
        signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
        signature.params.push(AbiParam::new(types::I32));
        let mut func = ir::Function::with_name_signature(Default::default(), signature);
        set_stack_limit(&mut func, &VMOffsets::HOST).unwrap();
        let all: Vec<Block> = blocks.iter().map(|_| func.dfg.make_block()).collect();
        func.dfg.append_block_param(all[0], types::I64);
        let condition = func.dfg.append_block_param(all[0], types::I32);
        let mut cursor = FuncCursor::new(&mut func);
        for (block, to) in all.iter().zip(blocks) {
            cursor.insert_block(*block);
            match to {
                [] => cursor.ins().return_(&[]),
                [to] => cursor.ins().jump(all[*to], &[]),
                [yes, no] => cursor.ins().brif(condition, all[*yes], &[], all[*no], &[]),
                _ => unreachable!(),
            };
        }
        func
    }

    /// The blocks with polls, and the places that they read.
    fn polls(func: &ir::Function) -> Vec<(usize, i32)> {
        let mut found = Vec::new();
        for block in func.layout.blocks() {
            for inst in func.layout.block_insts(block) {
                let InstructionData::Load { flags, offset, .. } = func.dfg.insts[inst] else {
                    continue;
                };
                if func.dfg.mem_flags[flags].trap_code() == Some(trap_code(Trap::Interrupt)) {
                    found.push((block.as_u32() as usize, offset.into()));
                }
            }
        }
        found
    }

    fn compiled(blocks: &[&[usize]], opt_level: OptLevel, huge_function: usize) -> ir::Function {
        let options = CompileOptions { opt_level, huge_function, ..CompileOptions::default() };
        let abi = Abi::new(CollectorAbi::new("copying")).with_polls(true);
        let mut context = Context::for_function(function(blocks));
        let compiled = Compiler::new(&abi, &options).unwrap().compile(&mut context).unwrap();
        let traps = compiled.traps().iter().filter(|(_, trap)| *trap == Trap::Interrupt).count();
        assert_eq!(traps, polls(&context.func).len(), "a poll is one instruction");
        context.func
    }

    /// An endless loop, a loop in a loop, two loops in a row, a loop with two entries.
    const LOOPS: [(&[&[usize]], &[usize]); 4] = [
        (&[&[1], &[1]], &[1]),
        (&[&[1], &[2], &[2, 3], &[1, 4], &[]], &[1, 2]),
        (&[&[1], &[1, 2], &[2, 3], &[]], &[1, 2]),
        (&[&[1, 2], &[2], &[1, 3], &[]], &[1]),
    ];

    #[test]
    fn every_loop_has_a_poll_of_its_own() {
        for (blocks, heads) in LOOPS {
            for (opt_level, huge) in
                [(OptLevel::Speed, usize::MAX), (OptLevel::None, usize::MAX), (OptLevel::Speed, 0)]
            {
                let found = polls(&compiled(blocks, opt_level, huge));
                // A loop with two entries has its poll at either of them.
                if blocks != LOOPS[3].0 {
                    let blocks: Vec<usize> = found.iter().map(|(block, _)| *block).collect();
                    assert_eq!(blocks, heads);
                }
                assert_eq!(found.len(), heads.len());
                let mut places: Vec<i32> = found.iter().map(|(_, place)| *place).collect();
                places.dedup();
                assert_eq!(places.len(), found.len(), "{found:?}");
            }
        }
    }

    #[test]
    fn what_has_no_loop_has_no_poll() {
        assert!(polls(&compiled(&[&[1, 2], &[3], &[3], &[]], OptLevel::None, 0)).is_empty());
    }
}
