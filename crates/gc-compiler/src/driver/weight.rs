//! The size of a function as the register allocator sees it.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{self, BlockArg, Value};
use cranelift_codegen::packed_option::PackedOption;
use std::collections::HashMap;

/// If this number of parameters pass one value on, their square adds as much as their number.
const PARAMETERS: usize = 32;

/// So many pairs of a block and a parameter add one.
const PAIRS: usize = 2048;

/// The number of a function's instructions, plus the parameters of its blocks and twice the arguments for
/// them, since each of these is a move.
///
/// Two products count too, because the backtracking allocator takes a time in proportion to them. Parameters
/// that pass one value on, for example a local that each of many loops changes, are one bundle, whose live
/// ranges it joins one by one: that is their square. For each block in which a value lives, it looks through
/// parameters of blocks: that is the number of blocks times the number of parameters.
pub(super) fn weight(func: &ir::Function) -> usize {
    let dfg = &func.dfg;
    let mut sets = Sets::default();
    let (mut weight, mut blocks, mut all_params) = (0, 0, 0_usize);
    for block in func.layout.blocks() {
        blocks += 1;
        all_params += dfg.block_params(block).len();
        for inst in func.layout.block_insts(block) {
            weight += 1;
            let calls = &dfg.insts[inst];
            let calls = calls.branch_destination(&dfg.jump_tables, &dfg.exception_tables);
            for call in calls {
                let params = dfg.block_params(call.block(&dfg.value_lists));
                for (arg, param) in call.args(&dfg.value_lists).zip(params) {
                    weight += 2;
                    if let BlockArg::Value(value) = arg {
                        sets.join(dfg.resolve_aliases(value), *param);
                    }
                }
            }
        }
    }
    let params = func.layout.blocks().flat_map(|block| dfg.block_params(block));
    let mut sizes: HashMap<Value, usize> = HashMap::new();
    params.for_each(|param| *sizes.entry(sets.first_of(*param)).or_default() += 1);
    weight += all_params + all_params.saturating_mul(blocks) / PAIRS;
    sizes.values().fold(weight, |weight, size| weight.saturating_add(size * size / PARAMETERS))
}

/// Disjoint sets of values, each a tree (Tarjan, "Efficiency of a Good But Not Linear Set Union
/// Algorithm", 1975).
#[derive(Default)]
struct Sets {
    parents: SecondaryMap<Value, PackedOption<Value>>,
}

impl Sets {
    /// The value that stands for the set of `value`.
    fn first_of(&mut self, mut value: Value) -> Value {
        while let Some(parent) = self.parents[value].expand() {
            // The path becomes half as long.
            if let Some(next) = self.parents[parent].expand() {
                self.parents[value] = next.into();
            }
            value = parent;
        }
        value
    }

    fn join(&mut self, a: Value, b: Value) {
        let (a, b) = (self.first_of(a), self.first_of(b));
        if a != b {
            self.parents[b] = a.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cranelift_codegen::cursor::{Cursor, FuncCursor};
    use cranelift_codegen::ir::{Function, InstBuilder, types};

    /// A chain of `count` blocks with a parameter each: the same value, or a new one for each.
    fn chain(count: usize, same: bool) -> Function {
        let mut func = Function::new();
        let blocks: Vec<_> = (0..=count).map(|_| func.dfg.make_block()).collect();
        let mut cursor = FuncCursor::new(&mut func);
        cursor.insert_block(blocks[0]);
        let mut value = cursor.ins().iconst(types::I64, 1);
        for block in &blocks[1..] {
            cursor.ins().jump(*block, &[value.into()]);
            let param = cursor.func.dfg.append_block_param(*block, types::I64);
            cursor.insert_block(*block);
            value = if same { param } else { cursor.ins().ineg(param) };
        }
        cursor.ins().return_(&[]);
        func
    }

    #[test]
    fn the_square_counts_where_parameters_pass_one_value_on() {
        let count = 3200;
        // A jump, an argument and a parameter for each.
        let pairs = count * (count + 1) / PAIRS;
        assert_eq!(weight(&chain(count, true)), 2 + 4 * count + count * count / PARAMETERS + pairs);
        assert_eq!(weight(&chain(count, false)), 2 + 5 * count + pairs);
    }
}
