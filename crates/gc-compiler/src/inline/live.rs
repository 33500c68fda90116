//! How many values a function keeps across its calls.
//!
//! They are in its frame. If a body is inlined into a function of a cycle of calls, each level of the
//! recursion has room for them, even where the body does not run. So such a body must keep few.

use super::choose::is_call;
use cranelift_codegen::ir::{self, Value, ValueDef};
use std::collections::HashMap;

/// The most words of eight bytes that are live across a call of `func`, roughly: a value is taken to
/// live from its definition to its last use in the order of the code.
pub(super) fn across_calls(func: &ir::Function) -> usize {
    let mut lives: HashMap<Value, (usize, usize)> = HashMap::new();
    let mut calls = Vec::new();
    let mut at = 0;
    for block in func.layout.blocks() {
        for param in func.dfg.block_params(block) {
            lives.insert(*param, (at, at));
        }
        for inst in func.layout.block_insts(block) {
            at += 1;
            for value in func.dfg.inst_values(inst) {
                let value = func.dfg.resolve_aliases(value);
                lives.entry(value).or_insert((at, at)).1 = at;
            }
            if is_call(func, inst) {
                calls.push(at);
            }
            for value in func.dfg.inst_results(inst) {
                lives.insert(*value, (at, at));
            }
        }
    }
    // What begins and ends to be live at each call.
    let mut changes = vec![0_isize; calls.len() + 1];
    for (value, (from, to)) in lives {
        if is_constant(func, value) {
            continue;
        }
        let first = calls.partition_point(|call| *call <= from);
        let end = calls.partition_point(|call| *call < to);
        if first < end {
            let words = func.dfg.value_type(value).bytes().div_ceil(8) as isize;
            changes[first] += words;
            changes[end] -= words;
        }
    }
    let mut live = 0;
    let lives = changes.into_iter().map(|change| {
        live += change;
        live
    });
    lives.max().unwrap_or(0).unsigned_abs()
}

/// Whether a value is made again where it is needed.
fn is_constant(func: &ir::Function, value: Value) -> bool {
    let ValueDef::Result(inst, _) = func.dfg.value_def(value) else { return false };
    func.dfg.insts[inst].opcode() == ir::Opcode::Iconst
}
