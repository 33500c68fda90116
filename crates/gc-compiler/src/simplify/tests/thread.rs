//! Blocks are joined, and tests whose outcome a predecessor knows are skipped, in the shape that inlined
//! functions leave.

use super::{simplified, zero};
use crate::GcEmitter;
use cranelift_codegen::ir::{self, Block, InstBuilder, Opcode, Value, types};

fn count(func: &ir::Function, opcode: Opcode) -> usize {
    let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    insts.filter(|inst| func.dfg.insts[*inst].opcode() == opcode).count()
}

/// A block with one parameter.
fn gathering(e: &mut GcEmitter<'_, '_>) -> (Block, Value) {
    let block = e.builder.create_block();
    let param = e.builder.append_block_param(block, types::I32);
    (block, param)
}

/// Gathers 1 or 0 in a block, depending on `on`, passes it on through `between` blocks, and branches on
/// it in a block of its own. Returns 10 or 20. `used_later` is whether what was gathered is used again.
fn truth(e: &mut GcEmitter<'_, '_>, on: Value, between: usize, used_later: bool) -> Value {
    let [yes, no, test, ten, twenty] = [(); 5].map(|()| e.builder.create_block());
    let chain: Vec<(Block, Value)> = (0..=between).map(|_| gathering(e)).collect();
    e.builder.ins().brif(on, yes, &[], no, &[]);
    for (block, outcome) in [(yes, 1), (no, 0)] {
        e.builder.switch_to_block(block);
        let outcome = e.builder.ins().iconst(types::I32, outcome);
        e.builder.ins().jump(chain[0].0, &[outcome.into()]);
    }
    for step in chain.windows(2) {
        e.builder.switch_to_block(step[0].0);
        e.builder.ins().jump(step[1].0, &[step[0].1.into()]);
    }
    let (last, gathered) = chain[between];
    e.builder.switch_to_block(last);
    e.builder.ins().jump(test, &[]);
    e.builder.switch_to_block(test);
    e.builder.ins().brif(gathered, ten, &[], twenty, &[]);
    let (end, result) = gathering(e);
    for (block, outcome) in [(ten, 10), (twenty, 20)] {
        e.builder.switch_to_block(block);
        let outcome = e.builder.ins().iconst(types::I32, outcome);
        e.builder.ins().jump(end, &[outcome.into()]);
    }
    e.builder.switch_to_block(end);
    if used_later { e.builder.ins().iadd(result, gathered) } else { result }
}

#[test]
fn what_an_inlined_function_returns_is_tested_once() {
    for between in 0..3 {
        let func = simplified(|e, params| truth(e, params[2], between, false));
        assert_eq!(count(&func, Opcode::Brif), 1, "{between}: {}", func.display());
    }
}

#[test]
fn an_outcome_that_is_used_again_is_tested() {
    let func = simplified(|e, params| truth(e, params[2], 0, true));
    assert_eq!(count(&func, Opcode::Brif), 2, "{}", func.display());
}

#[test]
fn blocks_in_a_row_are_one() {
    let func = simplified(|e, params| {
        let blocks = [(); 5].map(|()| e.builder.create_block());
        let mut sum = params[2];
        for block in blocks {
            e.builder.ins().jump(block, &[]);
            e.builder.switch_to_block(block);
            sum = e.builder.ins().iadd(sum, sum);
        }
        sum
    });
    assert_eq!(func.layout.blocks().count(), 1, "{}", func.display());
    assert_eq!(count(&func, Opcode::Iadd), 5, "{}", func.display());
}

#[test]
fn cold_blocks_stay_apart() {
    let func = simplified(|e, _| {
        let [cold, hot] = [(); 2].map(|()| e.builder.create_block());
        e.builder.set_cold_block(cold);
        for block in [cold, hot] {
            e.builder.ins().jump(block, &[]);
            e.builder.switch_to_block(block);
        }
        zero(e)
    });
    assert_eq!(func.layout.blocks().count(), 3, "{}", func.display());
}

#[test]
fn the_head_of_a_loop_is_not_skipped() {
    // The head tests what it is passed: 1 first, and then what is left of a number.
    let func = simplified(|e, params| {
        let (passed, first) = gathering(e);
        let (head, left) = gathering(e);
        let [body, end] = [(); 2].map(|()| e.builder.create_block());
        let one = e.builder.ins().iconst(types::I32, 1);
        e.builder.ins().brif(params[2], passed, &[one.into()], passed, &[params[2].into()]);
        e.builder.switch_to_block(passed);
        e.builder.ins().jump(head, &[first.into()]);
        e.builder.switch_to_block(head);
        e.builder.ins().brif(left, body, &[], end, &[]);
        e.builder.switch_to_block(body);
        let less = e.builder.ins().isub(params[2], one);
        e.builder.ins().jump(head, &[less.into()]);
        e.builder.switch_to_block(end);
        zero(e)
    });
    assert_eq!(func.layout.blocks().count(), 5, "{}", func.display());
    assert_eq!(count(&func, Opcode::Brif), 2, "{}", func.display());
}
