//! Cuts long blocks, so that inlining takes time in proportion to their size.
//!
//! For each call that Cranelift inlines, it splits the block after the call, and visits all
//! instructions after the split. So the calls of a block are inlined in time that is quadratic in
//! their number: 160,000 calls in one block took 29 s. In a short block this does not matter. To inline from
//! the end, which moves each instruction once, would need an inliner of our own.

use cranelift_codegen::cursor::{Cursor, FuncCursor};
use cranelift_codegen::ir::{self, Block, Inst, InstBuilder};

/// The most inlined calls of a block.
pub(super) const CALLS: usize = 100;

/// Cuts each block with many calls that are to be inlined. The parts jump to each other.
pub(super) fn cut(func: &mut ir::Function, is_inlined: impl Fn(Inst) -> bool) {
    let blocks: Vec<Block> = func.layout.blocks().collect();
    for block in blocks {
        let insts = func.layout.block_insts(block);
        let calls: Vec<Inst> = insts.filter(|inst| is_inlined(*inst)).collect();
        // From the end, so that each instruction is moved once.
        for first in calls.chunks(CALLS).skip(1).rev().map(|calls| calls[0]) {
            let part = func.dfg.make_block();
            func.layout.split_block(part, first);
            if func.layout.is_cold(block) {
                func.layout.set_cold(part);
            }
            let location = func.srcloc(first);
            let mut cursor = FuncCursor::new(func).at_bottom(block);
            cursor.set_srcloc(location);
            cursor.ins().jump(part, &[]);
        }
    }
}
