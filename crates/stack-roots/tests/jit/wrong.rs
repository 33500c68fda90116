//! What is left out or wrong ends in an error, and no root is visited.

use crate::machine::*;
use cranelift_codegen::ir::{self, InstBuilder, types};
use cranelift_module::Module as _;
use stack_roots::calls::mark_quiet_calls;
use stack_roots::walk::{TableError, WalkError};
use stack_roots::write::MapError;

/// A function that calls `callee` twice, the first time before it has a pair.
fn calls(
    machine: &mut Machine,
    callee: cranelift_module::FuncId,
    quiet: bool,
) -> cranelift_module::FuncId {
    let id = machine.declare("calls", 1, 1);
    machine.define(
        id,
        |code| {
            code.call(callee, &[]);
            let own = code.param(0);
            code.call(callee, &[]);
            code.builder.ins().return_(&[own]);
        },
        |func| {
            let mut n = 0;
            mark_quiet_calls(func, |_, _| {
                n += 1;
                !(quiet && n == 2)
            });
        },
    );
    id
}

#[test]
fn a_collection_in_a_quiet_call_is_an_error() {
    let mut machine = Machine::new(&[]);
    let collect = machine.collect;
    let id = calls(&mut machine, collect, true);
    assert_eq!(machine.maps.get(id).unwrap().rows().len(), 1);
    let code = machine.finish(id);
    // SAFETY: it is a compiled function with one parameter.
    assert_eq!(unsafe { enter(code, 8) }, 8);
    RUNTIME.with_borrow(|runtime| {
        assert_eq!(runtime.heap.collections, 1);
        let [error @ WalkError::NoStackMap { function, frame: 0, .. }] = &runtime.heap.errors[..]
        else {
            panic!("{:?}", runtime.heap.errors)
        };
        assert_eq!(*function, Some(code.addr()));
        assert!(error.to_string().contains("the call was marked"), "{error}");
    });
}

#[test]
fn a_function_that_was_removed_is_an_error() {
    let mut machine = Machine::new(&[]);
    let collect = machine.collect;
    let id = calls(&mut machine, collect, false);
    let code = machine.finish(id);
    // SAFETY: it is a compiled function with one parameter.
    unsafe { enter(code, 8) };
    RUNTIME.with_borrow_mut(|runtime| {
        assert_eq!(runtime.heap.errors, []);
        assert_eq!(runtime.tables.len(), 1);
        assert!(runtime.tables.remove(code));
        assert!(!runtime.tables.remove(code));
        assert!(runtime.tables.is_empty());
    });
    // SAFETY: it is a compiled function with one parameter, which is still there.
    unsafe { enter(code, 8) };
    RUNTIME.with_borrow(|runtime| {
        let [WalkError::NoStackMap { function: None, .. }, _] = runtime.heap.errors[..] else {
            panic!("{:?}", runtime.heap.errors)
        };
    });
}

#[test]
fn code_that_calls_the_runtime_without_an_exit_is_an_error() {
    let mut machine = Machine::new(&[("direct", collect as *const u8)]);
    let direct = machine.import("direct", 0, 0);
    let id = calls(&mut machine, direct, false);
    let code = machine.finish(id);
    // SAFETY: it is a compiled function with one parameter.
    unsafe { enter(code, 8) };
    RUNTIME.with_borrow(|runtime| {
        assert_eq!(runtime.heap.errors, [WalkError::NoExit, WalkError::NoExit]);
        assert_eq!(runtime.heap.collections, 0);
    });
}

extern "C" fn nested() {
    // The frame of this function is not one of compiled code.
    rt_collect();
    // The exit of the compiled code is still known.
    collect();
}

stack_roots::exit! {
    extern "C" fn rt_nested() = nested;
}

#[test]
fn an_exit_function_that_the_runtime_calls_is_an_error() {
    let mut machine = Machine::new(&[("nested", rt_nested as *const u8)]);
    let nested = machine.import("nested", 0, 0);
    let id = calls(&mut machine, nested, false);
    let code = machine.finish(id);
    // SAFETY: it is a compiled function with one parameter.
    unsafe { enter(code, 8) };
    RUNTIME.with_borrow(|runtime| {
        assert_eq!(runtime.heap.errors.len(), 2, "{:?}", runtime.heap.errors);
        assert_eq!(runtime.heap.frames, [1, 1]);
    });
}

#[test]
fn code_that_is_called_without_an_entry_is_an_error() {
    let mut machine = Machine::new(&[]);
    let collect = machine.collect;
    let id = calls(&mut machine, collect, false);
    let code = machine.finish(id);
    // SAFETY: it is a compiled function with one parameter.
    let code: extern "C" fn(u64) -> u64 = unsafe { std::mem::transmute(code) };
    assert_eq!(code(8), 8);
    RUNTIME.with_borrow(|runtime| {
        assert_eq!(runtime.heap.errors, [WalkError::NoEntry, WalkError::NoEntry]);
        assert_eq!(runtime.heap.collections, 0);
    });
}

#[test]
fn code_without_frame_pointers_has_no_maps() {
    let flags = cranelift_codegen::settings::Flags::new(cranelift_codegen::settings::builder());
    let isa = cranelift_native::builder().unwrap().finish(flags).unwrap();
    let error = stack_roots::write::Maps::new(&*isa).unwrap_err();
    assert_eq!(error, MapError::NoFramePointers);
    assert!(error.to_string().contains("preserve_frame_pointers"));
}

#[test]
fn maps_are_added_once_and_of_compiled_code() {
    let mut machine = Machine::new(&[]);
    let id = machine.declare("function", 1, 1);
    let context = machine.module.make_context();
    assert_eq!(machine.maps.add(id, &context), Err(MapError::NotCompiled(id)));
    let body = |code: &mut Code<'_, '_>| {
        let own = code.param(0);
        code.builder.ins().return_(&[own]);
    };
    let context = machine.compile(id, body, |_| {});
    machine.maps.add(id, &context).unwrap();
    assert_eq!(machine.maps.add(id, &context), Err(MapError::Twice(id)));
    // The first maps stay.
    let collect = machine.collect;
    let other = calls(&mut machine, collect, false);
    let map = machine.maps.get(other).unwrap().clone();
    assert_eq!(machine.maps.insert(id, map), Err(MapError::Twice(id)));
    assert_eq!(machine.maps.get(id).unwrap().rows(), []);
    assert_eq!(machine.maps.leave_out(id), Err(MapError::Twice(id)));
    let code = machine.finish(id);
    RUNTIME.with_borrow_mut(|runtime| {
        // The same function again is no error, because a linker may take two for one.
        let address = |id| machine.module.get_finalized_function(id);
        machine.maps.register(&mut runtime.tables, address).unwrap();
        assert_eq!(runtime.tables.len(), 2);
        let shifted = |_| code.wrapping_add(1);
        let overlap = machine.maps.register(&mut runtime.tables, shifted);
        assert_eq!(overlap, Err(TableError::Overlap { address: code.addr() + 1 }));
    });
}

#[test]
fn values_that_are_no_references_are_refused() {
    let mut machine = Machine::new(&[]);
    let collect = machine.collect;
    let id = machine.declare("function", 1, 1);
    let body = |code: &mut Code<'_, '_>| {
        let own = code.param(0);
        let float = code.builder.ins().bitcast(types::F64, ir::MemFlagsData::new(), own);
        code.builder.declare_value_needs_stack_map(float);
        code.call(collect, &[]);
        let own = code.builder.ins().bitcast(types::I64, ir::MemFlagsData::new(), float);
        code.builder.ins().return_(&[own]);
    };
    let context = machine.compile(id, body, |_| {});
    assert_eq!(machine.maps.add(id, &context), Err(MapError::Type(types::F64)));
}
