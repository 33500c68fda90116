//! Words that stay the same in a loop are loaded before it.

use super::loads::{loads, repeat};
use super::{simplified, zero};
use crate::GcEmitter;
use crate::regions::{self, Region};
use cranelift_codegen::ir::{self, Block, InstBuilder, InstructionData, Value, types};
use gc_types::{HostCall, StorageType, StructLayout};

/// The loads of a region in `block`.
fn loads_in(func: &ir::Function, block: Block, region: Region) -> usize {
    let is_load = |inst: &ir::Inst| {
        let InstructionData::Load { flags, .. } = func.dfg.insts[*inst] else { return false };
        let loaded = func.dfg.mem_flags[flags].alias_region();
        loaded.is_some_and(|loaded| func.dfg.alias_regions[loaded].user_id == region)
    };
    func.layout.block_insts(block).filter(is_load).count()
}

/// Writes to an object, which needs the heap's base, and reads a word of the heap data.
fn body(e: &mut GcEmitter<'_, '_>, object: Value, count: Value) -> Value {
    let layout = StructLayout::new([StorageType::I32]).unwrap();
    e.struct_set(object, &layout, 0, count);
    let data = e.heap_data();
    let word = e.load_native(types::I32, regions::HEAP_DATA, data, 0);
    e.builder.ins().isub(count, word)
}

fn collector_call(e: &mut GcEmitter<'_, '_>) {
    let operation = e.builder.ins().iconst(types::I32, 0);
    let operand = e.builder.ins().iconst(types::I64, 0);
    e.call_host(HostCall::COLLECTOR, &[operation, operand, operand]);
}

#[test]
fn a_loop_without_calls_does_not_load_the_base() {
    let mut head = None;
    let func = simplified(|e, params| {
        head = Some(repeat(e, |e| body(e, params[0], params[2])));
        zero(e)
    });
    let head = head.unwrap();
    assert_eq!(loads_in(&func, head, regions::VMCTX), 0, "{}", func.display());
    assert_eq!(loads_in(&func, head, regions::HEAP_DATA), 0, "{}", func.display());
    // The base and the address of the heap data.
    assert_eq!(loads(&func, regions::VMCTX), 2, "{}", func.display());
    assert_eq!(loads(&func, regions::HEAP_DATA), 1, "{}", func.display());
}

#[test]
fn a_loop_with_a_call_loads_them_again() {
    let mut head = None;
    let func = simplified(|e, params| {
        head = Some(repeat(e, |e| {
            let result = body(e, params[0], params[2]);
            collector_call(e);
            result
        }));
        zero(e)
    });
    let head = head.unwrap();
    assert_eq!(loads_in(&func, head, regions::VMCTX), 2, "{}", func.display());
    assert_eq!(loads_in(&func, head, regions::HEAP_DATA), 1, "{}", func.display());
    assert_eq!(loads(&func, regions::VMCTX), 2, "{}", func.display());
}

/// A store to the word in the loop.
#[test]
fn a_word_that_the_loop_changes_is_loaded_in_it() {
    let mut head = None;
    let func = simplified(|e, params| {
        head = Some(repeat(e, |e| {
            let result = body(e, params[0], params[2]);
            let data = e.heap_data();
            let flags = e.native_flags(regions::HEAP_DATA);
            e.builder.ins().store(flags, result, data, 0);
            result
        }));
        zero(e)
    });
    let head = head.unwrap();
    assert_eq!(loads_in(&func, head, regions::VMCTX), 0, "{}", func.display());
    assert_eq!(loads_in(&func, head, regions::HEAP_DATA), 1, "{}", func.display());
}

/// Words for which the code has to find out first that they are there stay where they are.
#[test]
fn what_may_not_be_there_is_not_loaded_early() {
    let mut head = None;
    let func = simplified(|e, params| {
        head = Some(repeat(e, |e| {
            let data = e.heap_data();
            let table = e.load_native(types::I64, regions::HEAP_DATA, data, 8);
            e.builder.ins().trapz(table, crate::trap_code(gc_types::Trap::NullReference));
            e.load_native(types::I32, regions::SIDE_TABLE, table, 0)
        }));
        let _ = params;
        zero(e)
    });
    let head = head.unwrap();
    assert_eq!(loads_in(&func, head, regions::HEAP_DATA), 0, "{}", func.display());
    assert_eq!(loads_in(&func, head, regions::SIDE_TABLE), 1, "{}", func.display());
}
