//! Allocations in a row test the limit once, and no others do.

use super::{FINAL, simplified, simplified_for, zero};
use crate::{ArrayInit, GcEmitter};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, InstructionData, Opcode, Value, types};
use gc_types::{Abi, ArrayLayout, CollectorAbi, HostCall, StorageType, StructLayout};

/// The tests of a limit and the calls of the host, in blocks that are hot and in those that are cold.
#[derive(Debug, PartialEq)]
struct Count {
    hot: [usize; 2],
    cold: [usize; 2],
}

fn count(func: &ir::Function) -> Count {
    let mut count = Count { hot: [0; 2], cold: [0; 2] };
    for block in func.layout.blocks() {
        let counts = if func.layout.is_cold(block) { &mut count.cold } else { &mut count.hot };
        for inst in func.layout.block_insts(block) {
            match func.dfg.insts[inst] {
                InstructionData::Brif { .. } => counts[0] += 1,
                data if data.opcode().is_call() => counts[1] += 1,
                _ => {}
            }
        }
    }
    count
}

/// Makes an object with a number and a reference.
fn cell(e: &mut GcEmitter<'_, '_>, number: Value, next: Value) -> Value {
    let word = e.builder.ins().iconst(types::I32, FINAL);
    let layout = StructLayout::new([StorageType::I32, StorageType::Ref]).unwrap();
    e.struct_new(word, &layout, &[number, next])
}

/// Makes an array of numbers.
fn array(e: &mut GcEmitter<'_, '_>, length: Value) -> Value {
    let word = e.builder.ins().iconst(types::I32, FINAL);
    e.array_new(word, &ArrayLayout::new(StorageType::I32), ArrayInit::Default(length))
}

#[test]
fn objects_in_a_row_need_one_test() {
    let func = simplified(|e, params| {
        let first = cell(e, params[2], params[0]);
        let second = cell(e, params[2], first);
        let length = e.builder.ins().iconst(types::I32, 3);
        array(e, length);
        let third = cell(e, params[2], second);
        // All of them are used afterwards, and so is what was computed in between.
        cell(e, params[2], third);
        let layout = StructLayout::new([StorageType::I32, StorageType::Ref]).unwrap();
        let sum = [first, second, third].map(|object| e.struct_get(object, &layout, 0, None));
        sum.into_iter().fold(length, |sum, number| e.builder.ins().iadd(sum, number))
    });
    assert_eq!(count(&func), Count { hot: [1, 0], cold: [5, 5] }, "{}", func.display());
    let text = func.display().to_string();
    // Four cells of 16 bytes, and an array with three elements.
    assert!(text.contains("iconst.i64 88"), "{text}");
}

#[test]
fn a_trap_in_between_does_not_matter_and_a_call_does() {
    let both = |between: fn(&mut GcEmitter<'_, '_>, &[Value])| {
        let func = simplified(|e, params| {
            let first = cell(e, params[2], params[0]);
            between(e, params);
            cell(e, params[2], first);
            zero(e)
        });
        count(&func)
    };
    let folded = Count { hot: [1, 0], cold: [2, 2] };
    assert_eq!(both(|e, params| e.trap_if_null(params[1])), folded);
    let apart = Count { hot: [2, 0], cold: [0, 2] };
    let call = |e: &mut GcEmitter<'_, '_>, params: &[Value]| {
        let operation = e.builder.ins().iconst(types::I32, 0);
        let operand = e.builder.ins().iconst(types::I64, 0);
        e.call_host(HostCall::COLLECTOR, &[operation, params[1], operand]);
    };
    assert_eq!(both(call), Count { hot: [2, 1], ..apart });
    // A branch: only one of its sides allocates.
    let branch = |e: &mut GcEmitter<'_, '_>, params: &[Value]| {
        let [yes, done] = [(); 2].map(|()| e.builder.create_block());
        e.builder.ins().brif(params[2], yes, &[], done, &[]);
        e.continue_in(yes);
        e.builder.ins().jump(done, &[]);
        e.continue_in(done);
    };
    assert_eq!(both(branch).cold, [0, 2]);
}

#[test]
fn large_objects_and_arrays_of_any_length_are_tested_alone() {
    for (length, folds) in [(Some(3), true), (Some(1000), false), (None, false)] {
        let func = simplified(|e, params| {
            let length = match length {
                Some(length) => e.builder.ins().iconst(types::I32, length),
                None => params[2],
            };
            let first = cell(e, params[2], params[0]);
            array(e, length);
            cell(e, params[2], first);
            zero(e)
        });
        let expected = if folds {
            Count { hot: [1, 0], cold: [3, 3] }
        } else {
            Count { hot: [3, 0], cold: [0, 3] }
        };
        assert_eq!(count(&func), expected, "{length:?}: {}", func.display());
    }
}

#[test]
fn a_loop_is_folded_in_its_body() {
    let func = simplified(|e, params| {
        let [head, done] = [(); 2].map(|()| e.builder.create_block());
        let list = e.builder.append_block_param(head, types::I64);
        let left = e.builder.append_block_param(head, types::I32);
        e.builder.ins().jump(head, &[params[0].into(), params[2].into()]);
        e.builder.switch_to_block(head);
        let first = cell(e, left, list);
        let second = cell(e, left, first);
        let left = e.builder.ins().iadd_imm_s(left, -1);
        e.builder.ins().brif(left, head, &[second.into(), left.into()], done, &[]);
        e.builder.seal_block(head);
        e.continue_in(done);
        zero(e)
    });
    assert_eq!(count(&func), Count { hot: [2, 0], cold: [2, 2] }, "{}", func.display());
}

#[test]
fn zeal_collects_at_none_of_them() {
    let abi = Abi::new(CollectorAbi::new("copying")).with_zeal(true);
    let func = simplified_for(abi, |e, params| {
        let first = cell(e, params[2], params[0]);
        let second = cell(e, params[2], first);
        cell(e, params[2], second);
        zero(e)
    });
    assert_eq!(count(&func), Count { hot: [1, 0], cold: [3, 3] }, "{}", func.display());
    // The countdown must be above the number of allocations.
    let counts: Vec<(bool, i64)> = func
        .layout
        .blocks()
        .flat_map(|block| func.layout.block_insts(block).map(move |inst| (block, inst)))
        .filter_map(|(block, inst)| match func.dfg.insts[inst] {
            InstructionData::IntCompare {
                cond: IntCC::UnsignedGreaterThan,
                args: [_, least],
                ..
            } => match func.dfg.insts[func.dfg.value_def(least).unwrap_inst()] {
                InstructionData::UnaryImm { opcode: Opcode::Iconst, imm } => {
                    Some((func.layout.is_cold(block), imm.bits()))
                }
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert!(counts.contains(&(false, 3)), "{counts:?}: {}", func.display());
}
