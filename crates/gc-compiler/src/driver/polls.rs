//! Polls in loops, by which the host interrupts running code.
//!
//! A poll is a load from the [poll page](VMOffsets::POLL_PAGE_SIZE) whose result nobody uses. It is
//! one instruction without a branch. To interrupt the code, the host makes the page inaccessible,
//! and the load traps. (HotSpot's polls of safepoints; Agesen, "GC Points in a Threaded
//! Environment", 1998, compares it with a word that is tested.)
//!
//! A poll stands at the head of its loop, or on the way back to it. A loop that is left at its first
//! test then has no poll to execute.
//!
//! Each loop reads another byte of the page. Otherwise Cranelift would remove the poll of an inner
//! loop, because its outer loop has just loaded the same byte. So the offsets are given here, after
//! the embedder has inlined what it wants.

use crate::{regions, trap_code};
use anyhow::{Context as _, Result};
use cranelift_codegen::cursor::{Cursor, CursorPosition, FuncCursor};
use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{self, ArgumentPurpose, Block, InstBuilder, MemFlagsData, types};
use cranelift_codegen::traversals::Dfs;
use gc_types::{Trap, VMOffsets};

/// Inserts a poll in each loop of `func`. Returns whether each reads another byte: no function is
/// optimised in which some do not.
///
/// # Errors
/// If the function has a loop but no vmctx.
pub(super) fn insert(func: &mut ir::Function, offsets: &VMOffsets) -> Result<bool> {
    let positions = positions(func);
    let (Some(entry), false) = (func.layout.entry_block(), positions.is_empty()) else {
        return Ok(true);
    };
    let differ = positions.len() <= VMOffsets::POLL_PAGE_SIZE as usize;
    let vmctx = func
        .special_param(ArgumentPurpose::VMContext)
        .context("loops are polled, which needs a vmctx parameter")?;
    let region = |func: &mut ir::Function, flags: MemFlagsData, region| {
        flags.with_alias_region(Some(regions::intern(func, region)))
    };
    // This word is constant, so Cranelift may load it anywhere.
    let constant = MemFlagsData::trusted().with_readonly().with_can_move();
    let constant = region(func, constant, regions::VMCTX);
    let poll = MemFlagsData::new().with_trap_code(Some(trap_code(Trap::Interrupt)));
    let poll = region(func, poll, regions::POLL_PAGE);

    let mut cursor = FuncCursor::new(func).at_first_insertion_point(entry);
    let page = offsets.vmctx_poll_page().cast_signed();
    let page = cursor.ins().load(types::I64, constant, vmctx, page);
    let places = (0..VMOffsets::POLL_PAGE_SIZE.cast_signed()).cycle();
    for (position, place) in positions.into_iter().zip(places) {
        cursor.set_position(position);
        if let Some(next) = cursor.current_inst() {
            let location = cursor.func.srcloc(next);
            cursor.set_srcloc(location);
        }
        cursor.ins().load(types::I8, poll, page, place);
    }
    Ok(differ)
}

/// Where polls are inserted: every cycle of the control flow has at least one of these positions.
///
/// An edge closes a cycle if it leads to a block that a depth-first search leaves after the edge's
/// own block, or to that block itself. This also finds the cycles that have several entries. If one
/// edge closes all cycles through a block, and nothing else leaves the edge's own block, the poll is
/// at the end of that block. Otherwise it is at the beginning of the block to which the edges lead.
fn positions(func: &ir::Function) -> Vec<CursorPosition> {
    let mut number: SecondaryMap<Block, u32> = SecondaryMap::new();
    let blocks: Vec<Block> = Dfs::new().post_order_iter(func).collect();
    for (n, block) in blocks.iter().enumerate() {
        number[*block] = n as u32;
    }
    let mut edges: Vec<(Block, Block)> = Vec::new();
    for &from in &blocks {
        let closing = func.block_successors(from).filter(|to| number[*to] >= number[from]);
        edges.extend(closing.map(|head| (head, from)));
    }
    edges.sort_unstable();
    edges
        .chunk_by(|(head, _), (other, _)| head == other)
        .map(|edges| {
            let (head, from) = edges[0];
            let only = edges.len() == 1 && func.block_successors(from).count() == 1;
            let (block, inst) = match only {
                true => (from, func.layout.last_inst(from)),
                false => (head, func.layout.first_inst(head)),
            };
            inst.map_or(CursorPosition::After(block), CursorPosition::At)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::copying::CopyingCompiler;
    use crate::inline::Inlining;
    use crate::{BuiltFunction, CompileOptions, Compiler, GcCompiler, OptLevel};
    use cranelift_codegen::Context;
    use cranelift_codegen::ir::{AbiParam, InstructionData, Signature};
    use cranelift_codegen::isa::CallConv;
    use gc_types::Abi;

    /// A function with a vmctx and a condition, whose block `n` branches to these blocks, or returns
    /// if there are none.
    fn function(blocks: &[&[usize]]) -> ir::Function {
        let mut signature = Signature::new(CallConv::Tail);
        signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
        signature.params.push(AbiParam::new(types::I32));
        let mut func = ir::Function::with_name_signature(Default::default(), signature);
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
        let abi = Abi::new(CopyingCompiler.abi()).with_polls(true);
        let compiler = Compiler::new(&CopyingCompiler, &abi, &options).unwrap();
        let function = BuiltFunction::new(function(blocks), Default::default());
        let finished = compiler.finish(function, &Inlining::none(), &compiler.begin()).unwrap();
        let mut context = Context::new();
        let compiled = compiler.compile(&mut context, finished, &compiler.begin()).unwrap();
        let traps = compiled.traps().iter().filter(|(_, trap)| *trap == Trap::Interrupt).count();
        assert_eq!(traps, polls(&context.func).len(), "a poll is one instruction");
        context.func
    }

    /// An endless loop, a loop in a loop, two loops in a row, a loop with two entries, a loop that is
    /// left at its head, and one that also goes on from two places.
    const LOOPS: [(&[&[usize]], &[usize]); 6] = [
        (&[&[1], &[1]], &[1]),
        (&[&[1], &[2], &[2, 3], &[1, 4], &[]], &[1, 2]),
        (&[&[1], &[1, 2], &[2, 3], &[]], &[1, 2]),
        (&[&[1, 2], &[2], &[1, 3], &[]], &[1]),
        (&[&[1], &[2, 3], &[1], &[]], &[2]),
        (&[&[1], &[2, 4], &[1, 3], &[1], &[]], &[1]),
    ];

    #[test]
    fn every_loop_has_a_poll_of_its_own() {
        for (blocks, polled) in LOOPS {
            for (opt_level, huge) in
                [(OptLevel::Speed, usize::MAX), (OptLevel::None, usize::MAX), (OptLevel::Speed, 0)]
            {
                let found = polls(&compiled(blocks, opt_level, huge));
                // A loop with two entries has its poll at either of them.
                if blocks != LOOPS[3].0 {
                    let blocks: Vec<usize> = found.iter().map(|(block, _)| *block).collect();
                    assert_eq!(blocks, polled);
                }
                assert_eq!(found.len(), polled.len());
                let mut places: Vec<i32> = found.iter().map(|(_, place)| *place).collect();
                places.dedup();
                assert_eq!(places.len(), found.len(), "{found:?}");
            }
        }
    }

    #[test]
    fn more_loops_than_places_keep_their_polls() {
        // The last loop has the place of the first one, which it is in.
        let loops = VMOffsets::POLL_PAGE_SIZE as usize + 1;
        let mut edges: Vec<[usize; 2]> = (1..=loops).map(|block| [block, block + 1]).collect();
        edges.push([1, loops + 2]);
        let mut blocks: Vec<&[usize]> = vec![&[1]];
        blocks.extend(edges.iter().map(|to| &to[..]));
        blocks.push(&[]);
        assert_eq!(polls(&compiled(&blocks, OptLevel::Speed, usize::MAX)).len(), loops);
    }

    #[test]
    fn what_has_no_loop_has_no_poll() {
        assert!(polls(&compiled(&[&[1, 2], &[3], &[3], &[]], OptLevel::None, 0)).is_empty());
    }
}
