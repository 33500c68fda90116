//! Random functions behave the same with safepoints, under a collector that moves everything, as
//! without. And no more references are stored and reloaded than necessary.

mod machine;
mod program;

use super::{LIMITS, Limits, References, place};
use cranelift_codegen::ir::{self, Function, Opcode};
use machine::{callee, run};
use program::{Build, Program, function};

/// Places safepoints in a copy of `original`. References are kept in registers at any cost, or
/// never.
fn placed(original: &Function, references: &References, at_any_cost: bool) -> Function {
    let mut func = original.clone();
    let may_collect = |_: &Function, callee: ir::FuncRef| callee::may_collect(callee.as_u32());
    let added: fn(usize) -> usize = if at_any_cost { |_| usize::MAX } else { |_| 0 };
    place(&mut func, references, &may_collect, &Limits { added, ..LIMITS })
        .expect("not too many references");
    let flags = cranelift_codegen::settings::Flags::new(cranelift_codegen::settings::builder());
    if let Err(errors) = cranelift_codegen::verify_function(&func, &flags) {
        panic!("{errors}\n{}", func.display());
    }
    func
}

#[test]
fn random_functions_do_the_same_while_everything_moves() {
    let (mut moved, mut kept) = (0, 0);
    arbtest::arbtest(|u| {
        let program: Program = u.arbitrary()?;
        let choices: [u8; 16] = u.arbitrary()?;
        let (original, references) = program.build();
        let blocks = original.dfg.num_blocks();
        let wanted = run(&original, &choices, false, blocks).expect("runs as it is");
        for at_any_cost in [true, false] {
            let func = placed(&original, &references, at_any_cost);
            let got = run(&func, &choices, true, blocks);
            assert_eq!(
                got.as_ref(),
                Ok(&wanted),
                "\n{}\nbecame\n{}",
                original.display(),
                func.display()
            );
            match at_any_cost {
                true => moved += count(&func, Opcode::Load),
                false => kept += count(&func, Opcode::Load),
            }
        }
        Ok(())
    })
    .budget_ms(2_000)
    .size_min(256)
    .size_max(2_048);
    assert!(moved > 1_000 && kept > 1_000, "only {moved} and {kept} reloads were tried");
}

/// A function made by hand, with safepoints.
fn with_safepoints(params: usize, body: impl FnOnce(&mut Build<'_>)) -> Function {
    let (original, references) = function(params, body);
    placed(&original, &references, true)
}

fn count(func: &Function, opcode: Opcode) -> usize {
    func.layout.blocks().map(|block| count_in(func, block, opcode)).sum()
}

fn count_in(func: &Function, block: ir::Block, opcode: Opcode) -> usize {
    func.layout.block_insts(block).filter(|inst| func.dfg.insts[*inst].opcode() == opcode).count()
}

/// References in the stack maps of the calls, in order of the calls.
fn maps(func: &Function) -> Vec<usize> {
    let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    insts
        .filter(|inst| func.dfg.insts[*inst].opcode().is_call())
        .filter_map(|inst| func.dfg.user_stack_map_entries(inst).map(<[_]>::len))
        .collect()
}

fn frame_bytes(func: &Function) -> u32 {
    func.sized_stack_slots.values().map(|slot| slot.size).sum()
}

#[test]
fn what_is_not_used_again_is_not_stored() {
    let func = with_safepoints(1, |b| {
        let param = b.entry()[0];
        b.look(param);
        b.collect(param);
        b.new_object();
        let last = b.new_object();
        b.finish(last);
    });
    assert_eq!((count(&func, Opcode::Store), maps(&func)), (0, vec![]), "{}", func.display());
}

#[test]
fn a_reference_is_stored_once_and_reloaded_once_after_calls_in_a_row() {
    let func = with_safepoints(1, |b| {
        let param = b.entry()[0];
        for _ in 0..3 {
            b.collect(param);
        }
        for _ in 0..3 {
            b.look(param);
        }
        b.finish(param);
    });
    // The second and the third call take it as an argument.
    assert_eq!(count(&func, Opcode::Store), 1, "{}", func.display());
    assert_eq!(count(&func, Opcode::Load), 3, "{}", func.display());
    assert_eq!(maps(&func), [1, 1, 1]);
}

#[test]
fn references_that_are_never_live_at_once_share_a_slot() {
    let func = with_safepoints(0, |b| {
        for _ in 0..10 {
            let object = b.new_object();
            b.new_object();
            b.look(object);
        }
        let last = b.new_object();
        b.finish(last);
    });
    assert_eq!((frame_bytes(&func), maps(&func)), (8, vec![1; 10]), "{}", func.display());
}

#[test]
fn null_needs_no_slot() {
    let func = with_safepoints(0, |b| {
        let null = b.null();
        b.collect(null);
        b.finish(null);
    });
    assert_eq!(maps(&func), [], "{}", func.display());
}

/// `while choose() { if choose() { collect } look(param) }`. Returns the loop's head, the cold
/// block that collects, the join after it, and the end.
fn a_loop_with_a_cold_collection() -> (Function, [ir::Block; 4]) {
    let mut blocks = None;
    let func = with_safepoints(1, |b| {
        let param = b.entry()[0];
        let [head, cold, join, exit] = *blocks.insert(std::array::from_fn(|_| b.block()));
        let null = b.null();
        b.jump(head);
        b.switch_to(head);
        b.branch(cold, join);
        b.switch_to(cold);
        b.collect(null);
        b.jump(join);
        b.switch_to(join);
        b.look(param);
        b.branch(head, exit);
        b.switch_to(exit);
        b.finish(param);
    });
    (func, blocks.expect("were made"))
}

#[test]
fn the_path_without_a_collection_pays_nothing() {
    let (func, [head, cold, join, exit]) = a_loop_with_a_cold_collection();
    for hot in [head, join, exit] {
        let touched = [Opcode::Load, Opcode::Store].map(|opcode| count_in(&func, hot, opcode));
        assert_eq!(touched, [0, 0], "{hot}: {}", func.display());
    }
    assert_eq!(count_in(&func, cold, Opcode::Load), 1, "{}", func.display());
    assert_eq!(count_in(&func, cold, Opcode::Store), 1, "{}", func.display());
}

#[test]
fn a_reference_found_through_a_select_or_a_parameter_is_in_the_map() {
    let func = with_safepoints(2, |b| {
        let entry = b.entry();
        let chosen = b.select(entry[0], entry[1]);
        let (join, param) = b.block_with_parameter();
        b.jump_with(join, chosen);
        b.switch_to(join);
        b.new_object();
        b.finish(param);
    });
    assert_eq!(maps(&func), [1], "{}", func.display());
    run(&func, &[1], true, usize::MAX).expect("the parameter was reloaded");
}

/// `n` references, live across `n` diamonds with a collection on one side.
fn diamonds(n: usize) -> (Function, References) {
    function(0, |b| {
        let objects: Vec<_> = (0..n).map(|_| b.new_quietly()).collect();
        let null = b.null();
        for _ in 0..n {
            let [cold, join] = std::array::from_fn(|_| b.block());
            b.branch(cold, join);
            b.switch_to(cold);
            b.collect(null);
            b.jump(join);
            b.switch_to(join);
        }
        for object in &objects {
            b.look(*object);
        }
        b.finish(objects[0]);
    })
}

#[test]
fn a_function_does_not_grow_with_the_square_of_its_length() {
    let may_collect = |_: &Function, callee: ir::FuncRef| callee::may_collect(callee.as_u32());
    let size = |n| {
        let (mut func, references) = diamonds(n);
        let before = func.dfg.num_insts();
        place(&mut func, &references, &may_collect, &LIMITS).expect("not too many");
        let params: usize =
            func.layout.blocks().map(|block| func.dfg.block_params(block).len()).sum();
        (func.dfg.num_insts() + params) as f64 / before as f64
    };
    let (small, large) = (size(100), size(1_000));
    assert!(small < 10.0 && large < 10.0, "grew {small:.1} and {large:.1} times");
}

#[test]
fn stack_maps_have_a_limit() {
    let (mut func, references) = diamonds(100);
    let limits = Limits { entries: 9_999, ..LIMITS };
    let error = place(&mut func, &references, &|_, _| true, &limits).expect_err("100 by 100");
    assert_eq!(
        error.to_string(),
        "function too large: 10000 references live at its calls and blocks, of at most 9999"
    );
}

/// A block that ends with a collecting `try_call`, its normal successor, and its handler.
fn a_try_call(
    body: impl FnOnce(&mut Build<'_>, ir::Value, [ir::Block; 2]),
) -> (Function, [ir::Block; 2]) {
    let mut blocks = None;
    let func = with_safepoints(1, |b| {
        let param = b.entry()[0];
        let [normal, handler] = *blocks.insert(std::array::from_fn(|_| b.block()));
        body(b, param, [normal, handler]);
    });
    (func, blocks.expect("were made"))
}

#[test]
fn references_are_reloaded_in_each_successor_of_a_try_call() {
    let (func, blocks) = a_try_call(|b, param, [normal, handler]| {
        b.try_collect(param, (normal, &[]), (handler, &[]));
        for block in [normal, handler] {
            b.switch_to(block);
            b.look(param);
            b.finish(param);
        }
    });
    for block in blocks {
        assert_eq!(count_in(&func, block, Opcode::Load), 1, "{block}: {}", func.display());
    }
    assert_eq!((count(&func, Opcode::Store), maps(&func)), (1, vec![1]), "{}", func.display());
    for choice in [0, 1] {
        run(&func, &[choice], true, usize::MAX).expect("the parameter was reloaded");
    }
}

#[test]
fn edges_of_a_try_call_are_split_where_references_are_passed_or_paths_join() {
    let (func, _) = a_try_call(|b, param, [normal, handler]| {
        let merged = b.param(normal);
        let caught = b.param(handler);
        b.try_collect(param, (normal, &[param]), (handler, &[param]));
        b.switch_to(handler);
        b.look(caught);
        b.jump_with(normal, caught);
        b.switch_to(normal);
        b.look(merged);
        b.finish(param);
    });
    assert_eq!(func.layout.blocks().count(), 5, "{}", func.display());
    for choice in [0, 1] {
        run(&func, &[choice], true, usize::MAX).expect("each edge passes what was reloaded");
    }
}

#[test]
fn a_try_call_that_cannot_collect_is_left_alone() {
    let (func, _) = a_try_call(|b, param, [normal, handler]| {
        b.try_look(param, (normal, &[]), (handler, &[]));
        for block in [normal, handler] {
            b.switch_to(block);
            b.finish(param);
        }
    });
    assert_eq!((count(&func, Opcode::Store), maps(&func)), (0, vec![]), "{}", func.display());
}

/// `calls` calls with one handler, to which another path leads too, or not.
fn calls_of_one_handler(calls: usize, is_joined: bool) -> Function {
    with_safepoints(1, |b| {
        let param = b.entry()[0];
        let handler = b.block();
        let (first, other) = (b.block(), b.block());
        b.branch(first, other);
        b.switch_to(other);
        match is_joined {
            true => b.jump(handler),
            false => b.finish(param),
        }
        b.switch_to(first);
        for _ in 0..calls {
            let next = b.block();
            b.try_collect(param, (next, &[]), (handler, &[]));
            b.switch_to(next);
        }
        b.finish(param);
        b.switch_to(handler);
        b.look(param);
        b.finish(param);
    })
}

/// The edges are not split, or they share one block.
#[test]
fn calls_of_one_handler_add_no_blocks() {
    for is_joined in [false, true] {
        let blocks = |calls| calls_of_one_handler(calls, is_joined).layout.blocks().count();
        assert_eq!(blocks(9) - blocks(4), 5, "joined: {is_joined}");
        let func = calls_of_one_handler(4, is_joined);
        for choices in [&[0, 0, 0, 1][..], &[0, 1], &[1], &[0, 0, 0, 0, 0]] {
            run(&func, choices, true, usize::MAX).expect("the parameter was reloaded");
        }
    }
}
