//! The size of a function as the register allocator sees it.

use cranelift_codegen::entity::SecondaryMap;
use cranelift_codegen::ir::{self, BlockArg, Value};
use cranelift_codegen::packed_option::PackedOption;
use std::collections::HashMap;

/// If this number of parameters pass one value on, their square adds as much as their number.
const PARAMETERS: usize = 32;

/// So many pairs of an argument and a block in which a value lives add one. It is many, because the
/// allocator often begins in the middle: with half of it, a function of Hoot with 60,000 instructions
/// would be huge, although it compiles quickly.
const PAIRS: usize = 4096;

/// The number of a function's instructions, plus the parameters of its blocks and twice the arguments for
/// them, since each of these is a move. A call counts twice, and so does each of its arguments.
///
/// Two products count too, because the backtracking allocator takes a time in proportion to them. Parameters
/// that pass one value on, for example a local that each of many loops changes, are one bundle, whose live
/// ranges it joins one by one: that is their square. For each block in which a value lives, it looks through
/// the arguments for parameters of blocks: that is their number times the number of such blocks. A value is
/// taken to live from the block that makes it to the last one that uses it, in the order of the layout.
pub(super) fn weight(func: &ir::Function) -> usize {
    let dfg = &func.dfg;
    let mut sets = Sets::default();
    let (mut made, mut used) =
        (SecondaryMap::<Value, u32>::new(), SecondaryMap::<Value, u32>::new());
    let (mut weight, mut blocks, mut all_args) = (0, 0, 0_usize);
    for block in func.layout.blocks() {
        for param in dfg.block_params(block) {
            weight += 1;
            made[*param] = blocks;
        }
        for inst in func.layout.block_insts(block) {
            let data = &dfg.insts[inst];
            weight += if data.opcode().is_call() { 2 + dfg.inst_args(inst).len() } else { 1 };
            dfg.inst_results(inst).iter().for_each(|result| made[*result] = blocks);
            dfg.inst_values(inst).for_each(|value| used[dfg.resolve_aliases(value)] = blocks);
            for call in data.branch_destination(&dfg.jump_tables, &dfg.exception_tables) {
                let params = dfg.block_params(call.block(&dfg.value_lists));
                for (arg, param) in call.args(&dfg.value_lists).zip(params) {
                    all_args += 1;
                    if let BlockArg::Value(value) = arg {
                        sets.join(dfg.resolve_aliases(value), *param);
                    }
                }
            }
        }
        blocks += 1;
    }
    let lives = used.iter().map(|(value, used)| used.saturating_sub(made[value]) as usize);
    let lives = blocks as usize + lives.sum::<usize>();
    let params = func.layout.blocks().flat_map(|block| dfg.block_params(block));
    let mut sizes: HashMap<Value, usize> = HashMap::new();
    params.for_each(|param| *sizes.entry(sets.first_of(*param)).or_default() += 1);
    weight += 2 * all_args + all_args.saturating_mul(lives) / PAIRS;
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
    use cranelift_codegen::ir::{AbiParam, Function, InstBuilder, types};

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

    #[test]
    fn a_call_counts_as_two_and_its_arguments_count() {
        let mut func = Function::new();
        let mut signature = func.signature.clone();
        signature.params.push(AbiParam::new(types::I64));
        let signature = func.import_signature(signature);
        let block = func.dfg.make_block();
        let mut cursor = FuncCursor::new(&mut func);
        cursor.insert_block(block);
        let value = cursor.ins().iconst(types::I64, 1);
        cursor.ins().call_indirect(signature, value, &[value]);
        cursor.ins().return_(&[]);
        // The address that is called is an argument of the instruction too.
        assert_eq!(weight(&func), 1 + 4 + 1);
    }

    #[test]
    fn a_value_counts_for_each_block_in_which_it_lives() {
        let count = 3200;
        let mut func = chain(count, false);
        let before = weight(&func);
        // Some values live to the end.
        let params: Vec<_> =
            func.layout.blocks().flat_map(|block| func.dfg.block_params(block)).collect();
        let params: Vec<_> = params.into_iter().copied().take(20).collect();
        let last = func.layout.last_block().expect("there are blocks");
        let mut cursor = FuncCursor::new(&mut func).at_first_insertion_point(last);
        for param in params {
            cursor.ins().ineg(param);
        }
        let lives: usize = (0..20).map(|param| count - 1 - param).sum();
        let pairs = count * (count + 1 + lives) / PAIRS - count * (count + 1) / PAIRS;
        assert_eq!(weight(&func), before + 20 + pairs);
    }
}
