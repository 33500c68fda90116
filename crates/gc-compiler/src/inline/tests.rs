//! Inlined functions have the references, the locations and the handlers that they need.

use super::order::inline_into_candidates;
use super::{Candidate, CodeLocation, InlineLimits, Inlining, cut, inline_calls};
use crate::annotations::{AllocationSite, Annotations};
use crate::collector::copying::CopyingCompiler;
use crate::finish::BuiltFunction;
use crate::safepoints::{References, place_safepoints};
use crate::{
    CompileOptions, CompiledFunction, Compiler, GcCompiler, import_function, import_host_call,
    imported_host_call, trap_code,
};
use cranelift_codegen::Context;
use cranelift_codegen::ir::{
    self, AbiParam, ArgumentPurpose, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem,
    Inst, InstBuilder, InstructionData, Opcode, Signature, SourceLoc, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_types::{Abi, HostCall, InlinedCall, Trap};
use std::collections::{BTreeMap, HashSet};

/// The signature of all functions: a reference and a number, and a reference.
fn signature() -> Signature {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
    signature.params.extend([AbiParam::new(types::I64), AbiParam::new(types::I32)]);
    signature.returns.push(AbiParam::new(types::I64));
    signature
}

/// A function that is being built. Its parameters are the vmctx, a reference and a number.
struct Build<'a, 'b> {
    b: FunctionBuilder<'a>,
    references: &'b mut References,
    params: Vec<Value>,
}

impl Build<'_, '_> {
    /// Calls function `index` with `args`. The result is a reference.
    fn call(&mut self, index: u32, args: &[Value]) -> Value {
        let callee = import_function(self.b.func, index, signature());
        let call = self.b.ins().call(callee, args);
        let result = self.b.inst_results(call)[0];
        self.references.mark(result);
        result
    }

    /// Calls the host, which may collect.
    fn collect(&mut self) {
        let call = HostCall::ALLOC_STRUCT;
        let callee = import_host_call(self.b.func, call, call.gc_signature().unwrap());
        let zero = self.b.ins().iconst(types::I32, 0);
        let vmctx = self.params[0];
        self.b.ins().call(callee, &[vmctx, zero]);
    }

    fn throw(&mut self, exn: Value) {
        let call = HostCall::THROW;
        let callee = import_host_call(self.b.func, call, call.gc_signature().unwrap());
        let vmctx = self.params[0];
        self.b.ins().call(callee, &[vmctx, exn]);
    }

    fn at(&mut self, location: u32) {
        self.b.set_srcloc(SourceLoc::new(location));
    }
}

fn function(build: impl FnOnce(&mut Build<'_, '_>)) -> (ir::Function, Annotations) {
    let mut func = ir::Function::with_name_signature(Default::default(), signature());
    let mut references = References::default();
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut func, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    let params = b.block_params(entry).to_vec();
    references.mark(params[1]);
    let mut building = Build { b, references: &mut references, params };
    build(&mut building);
    building.b.seal_all_blocks();
    building.b.finalize(compiler().isa().frontend_config());
    (func, Annotations { references, ..Annotations::default() })
}

fn compiler() -> Compiler {
    let options = CompileOptions { verifier: true, ..CompileOptions::default() };
    Compiler::new(&CopyingCompiler, &Abi::new(CopyingCompiler.abi()), &options).unwrap()
}

/// Compiles a function into which calls were inlined.
fn compile(compiler: &Compiler, func: ir::Function, annotations: Annotations) -> CompiledFunction {
    let (function, compilation) =
        (BuiltFunction::with_calls_inlined(func, annotations), compiler.begin());
    let finished = compiler.finish(function, &Inlining::none(), &compilation).unwrap();
    compiler.compile(&mut Context::new(), finished, &compilation).unwrap()
}

fn candidates<const N: usize>(
    functions: [(u32, (ir::Function, Annotations)); N],
) -> BTreeMap<u32, Candidate> {
    let candidate = |(index, (func, annotations))| (index, Candidate::new(func, annotations));
    let mut candidates: BTreeMap<u32, Candidate> = functions.into_iter().map(candidate).collect();
    inline_into_candidates(&mut candidates, &InlineLimits::default()).unwrap();
    candidates
}

/// Inlines into the function, and returns the functions whose calls were inlined.
fn inline(
    (func, annotations): &mut (ir::Function, Annotations),
    candidates: &BTreeMap<u32, Candidate>,
) -> Vec<u32> {
    let limits = InlineLimits::default();
    inline_calls(func, annotations, &|index| candidates.get(&index), &limits, None).unwrap()
}

/// The number of references in the map of each call, when safepoints are placed.
fn maps((func, annotations): &(ir::Function, Annotations)) -> Vec<usize> {
    let mut func = func.clone();
    let abi = Abi::new(CopyingCompiler.abi());
    let may_collect = |func: &ir::Function, callee| {
        imported_host_call(func, callee).is_none_or(|call| abi.may_collect(call))
    };
    place_safepoints(&mut func, &annotations.references, &may_collect).unwrap();
    let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    let calls = insts.filter(|inst| func.dfg.insts[*inst].opcode().is_call());
    calls.map(|inst| func.dfg.user_stack_map_entries(inst).map_or(0, <[_]>::len)).collect()
}

fn opcodes(func: &ir::Function, opcode: Opcode) -> usize {
    let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
    insts.filter(|inst| func.dfg.insts[*inst].opcode() == opcode).count()
}

/// A function that collects and returns its reference.
fn collecting() -> (ir::Function, Annotations) {
    function(|f| {
        f.collect();
        let reference = f.params[1];
        f.b.ins().return_(&[reference]);
    })
}

#[test]
fn references_of_caller_and_callee_are_in_one_stack_map() {
    let candidates = candidates([(1, collecting())]);
    let mut caller = function(|f| {
        let params = f.params.clone();
        let first = f.call(1, &params);
        let second = f.call(1, &[params[0], first, params[2]]);
        let third = f.call(1, &[params[0], params[1], params[2]]);
        let same = f.b.ins().icmp(ir::condcodes::IntCC::Equal, first, second);
        let result = f.b.ins().select(same, second, third);
        f.b.ins().return_(&[result]);
    });
    assert_eq!(inline(&mut caller, &candidates), [1]);
    // All three are the parameter. Without inlining the maps have 1, 2 and 2 references.
    assert_eq!(maps(&caller), [1, 1, 1], "{}", caller.0.display());
    compile(&compiler(), caller.0, caller.1);
}

#[test]
fn references_that_the_callee_makes_are_marked() {
    // It returns what function 9 returns, which stays a call, after another collection.
    let callee = function(|f| {
        let params = f.params.clone();
        let result = f.call(9, &params);
        f.collect();
        f.b.ins().return_(&[result]);
    });
    let candidates = candidates([(1, callee)]);
    let mut caller = function(|f| {
        let params = f.params.clone();
        let result = f.call(1, &params);
        f.collect();
        f.b.ins().return_(&[result]);
    });
    assert_eq!(inline(&mut caller, &candidates), [1]);
    assert_eq!(maps(&caller), [0, 1, 1], "{}", caller.0.display());
}

#[test]
fn allocations_of_the_callee_are_recorded_in_each_copy() {
    let mut callee = function(|f| {
        let [body, fast, slow] = [(); 3].map(|()| f.b.create_block());
        // A parameter that becomes an alias.
        let size = f.b.append_block_param(body, types::I64);
        let passed = f.b.ins().iconst(types::I64, 1);
        f.b.ins().jump(body, &[passed.into()]);
        f.b.switch_to_block(body);
        let [next, limit] = [7, 9].map(|n| f.b.ins().iconst(types::I64, n));
        let fits = f.b.ins().icmp(ir::condcodes::IntCC::Equal, next, limit);
        f.b.ins().brif(fits, fast, &[], slow, &[]);
        f.b.switch_to_block(fast);
        f.b.ins().store(ir::MemFlagsData::trusted(), size, next, 0);
        f.b.ins().jump(slow, &[]);
        f.b.switch_to_block(slow);
        let reference = f.params[1];
        f.b.ins().return_(&[reference]);
    });
    let found = |func: &ir::Function, opcode| -> Vec<Inst> {
        let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
        insts.filter(|inst| func.dfg.insts[*inst].opcode() == opcode).collect()
    };
    let branch = found(&callee.0, Opcode::Brif)[0];
    let moves_cursor = found(&callee.0, Opcode::Store)[0];
    let InstructionData::Store { args: [size, next], .. } = callee.0.dfg.insts[moves_cursor] else {
        unreachable!()
    };
    let limit = callee.0.dfg.first_result(found(&callee.0, Opcode::Iconst)[2]);
    callee.1.allocations.record(AllocationSite {
        branch,
        moves_cursor,
        next,
        limit,
        size,
        countdown: None,
    });
    let candidates = candidates([(1, callee)]);
    let mut caller = function(|f| {
        let params = f.params.clone();
        let first = f.call(1, &params);
        let second = f.call(1, &[params[0], first, params[2]]);
        f.b.ins().return_(&[second]);
    });
    assert_eq!(inline(&mut caller, &candidates), [1]);
    let (func, annotations) = caller;
    let branches = found(&func, Opcode::Brif);
    let stores = found(&func, Opcode::Store);
    assert_eq!((branches.len(), annotations.allocations.len()), (2, 2));
    for branch in branches {
        let site = annotations.allocations.at(branch).expect("it is recorded");
        assert!(stores.contains(&site.moves_cursor));
        let InstructionData::Store { args, .. } = func.dfg.insts[site.moves_cursor] else {
            unreachable!()
        };
        assert_eq!(args, [site.size, site.next]);
        assert!(func.dfg.value_is_real(site.size) && func.dfg.value_is_real(site.limit));
    }
}

#[test]
fn every_instruction_knows_the_calls_that_led_to_it() {
    let trap = |f: &mut Build<'_, '_>| {
        let number = f.params[2];
        f.b.ins().trapz(number, trap_code(Trap::UnreachableCodeReached));
    };
    let inner = function(|f| {
        f.at(300);
        trap(f);
        let reference = f.params[1];
        f.b.ins().return_(&[reference]);
    });
    let outer = function(|f| {
        f.at(200);
        let params = f.params.clone();
        let result = f.call(3, &params);
        f.at(205);
        trap(f);
        f.at(210);
        f.call(3, &params);
        f.b.ins().return_(&[result]);
    });
    let candidates = candidates([(2, outer), (3, inner)]);
    let mut caller = function(|f| {
        f.at(100);
        let params = f.params.clone();
        let one = f.b.ins().iconst(types::I32, 1);
        f.call(3, &[params[0], params[1], one]);
        f.at(105);
        let result = f.call(2, &params);
        f.b.ins().return_(&[result]);
    });
    assert_eq!(inline(&mut caller, &candidates), [2, 3]);
    let (func, annotations) = caller;
    let call = |function, location, caller| InlinedCall {
        function,
        location: Some(location),
        caller,
        tail: false,
    };
    let calls = annotations.inlined.calls();
    let expected =
        [call(3, 100, None), call(2, 105, None), call(3, 200, Some(1)), call(3, 210, Some(1))];
    assert_eq!(calls, expected);

    let options = CompileOptions { opt_level: crate::OptLevel::None, ..CompileOptions::default() };
    let abi = Abi::new(CopyingCompiler.abi());
    let compiler = Compiler::new(&CopyingCompiler, &abi, &options).unwrap();
    let code = compile(&compiler, func, annotations);
    let source = |at: u32| {
        let of = |range: &&CodeLocation| range.first <= at && at < range.end;
        code.locations().iter().find(of).map(|range| (range.location, range.call)).unwrap()
    };
    let sources: Vec<_> = code.traps().iter().map(|(at, _)| source(*at)).collect();
    let traps = [(300, Some(0)), (300, Some(2)), (205, Some(1)), (300, Some(3))];
    assert_eq!(sources, traps.map(|(location, call)| (Some(location), call)));
}

#[test]
fn only_what_can_throw_gets_the_handlers_of_the_call() {
    let callee = function(|f| {
        let params = f.params.clone();
        f.collect();
        let result = f.call(9, &params);
        f.throw(result);
        f.b.ins().trap(trap_code(Trap::UnreachableCodeReached));
    });
    let candidates = candidates([(1, callee)]);
    let mut caller = function(|f| {
        let params = f.params.clone();
        let callee = import_function(f.b.func, 1, signature());
        let signature = f.b.func.dfg.ext_funcs[callee].signature;
        let [returned, caught] = [(); 2].map(|()| f.b.create_block());
        let result = f.b.append_block_param(returned, types::I64);
        let exn = f.b.append_block_param(caught, types::I64);
        let pool = &mut f.b.func.dfg.value_lists;
        let normal = BlockCall::new(returned, [BlockArg::TryCallRet(0)], pool);
        let handler = BlockCall::new(caught, [BlockArg::TryCallExn(0)], pool);
        let items = [ExceptionTableItem::Default(handler)];
        let table = ExceptionTableData::new(signature, normal, items);
        let table = f.b.func.dfg.exception_tables.push(table);
        f.b.ins().try_call(callee, &params, table);
        f.b.switch_to_block(returned);
        f.b.ins().return_(&[result]);
        f.b.switch_to_block(caught);
        f.collect();
        f.b.ins().return_(&[exn]);
        f.references.mark(result);
        f.references.mark(exn);
    });
    assert_eq!(inline(&mut caller, &candidates), [1]);
    let func = &caller.0;
    // The allocation and the one in the handler are calls. The function and the throw have handlers.
    assert_eq!((opcodes(func, Opcode::Call), opcodes(func, Opcode::TryCall)), (2, 2));
    assert_eq!(maps(&caller), [1, 0, 0, 1], "{}", caller.0.display());
    let code = compile(&compiler(), caller.0, caller.1);
    assert_eq!(code.handlers().len(), 2);
}

#[test]
fn a_cycle_of_calls_has_an_end() {
    let calls = |index: u32| {
        function(|f| {
            let params = f.params.clone();
            let result = f.call(index, &params);
            f.b.ins().return_(&[result]);
        })
    };
    // 1 calls itself, and 2 and 3 each other.
    let candidates = candidates([(1, calls(1)), (2, calls(3)), (3, calls(2))]);
    for (index, calls) in [(1, 1), (2, 1), (3, 1)] {
        assert_eq!(opcodes(&candidates[&index].func, Opcode::Call), calls);
    }
    // 3 is inlined into 2, which calls itself then. 2 is not inlined into 3.
    let inlined = |index: u32| candidates[&index].annotations.inlined.calls().len();
    assert_eq!([1, 2, 3].map(inlined), [0, 1, 0]);
}

/// A function of `count` additions that calls function `index` at location 200.
fn adding(count: usize, index: u32) -> (ir::Function, Annotations) {
    function(|f| {
        let mut sum = f.params[2];
        for _ in 0..count {
            sum = f.b.ins().iadd(sum, sum);
        }
        f.at(200);
        let (vmctx, reference) = (f.params[0], f.params[1]);
        let result = f.call(index, &[vmctx, reference, sum]);
        f.b.ins().return_(&[result]);
    })
}

#[test]
fn larger_functions_that_call_each_other_are_inlined() {
    let calls = |callee_in_cycle| {
        // 1 calls 2, which calls 3. These call each other.
        let functions = [(1, adding(50, 2)), (2, adding(50, 3)), (3, adding(50, 2))];
        let candidate = |(index, (func, annotations))| (index, Candidate::new(func, annotations));
        let mut candidates: BTreeMap<u32, Candidate> =
            functions.into_iter().map(candidate).collect();
        let limits = InlineLimits { callee_in_cycle, ..InlineLimits::default() };
        inline_into_candidates(&mut candidates, &limits).unwrap();
        [1, 2, 3].map(|index| candidates[&index].annotations.inlined.calls().len())
    };
    assert_eq!(calls(InlineLimits::default().callee_in_cycle), [0, 0, 0]);
    assert_eq!(calls(100), [0, 1, 0]);
}

/// Recursion that seldom comes to a function with a large frame must not need that frame each time.
#[test]
fn functions_that_keep_much_are_not_inlined_into_those_that_they_call() {
    let keeping = |count: usize, index: u32| {
        function(|f| {
            let (vmctx, number) = (f.params[0], f.params[2]);
            let mut kept = vec![f.b.ins().uextend(types::I64, number)];
            for _ in 1..count {
                kept.push(f.b.ins().imul(kept[0], kept[kept.len() - 1]));
            }
            let result = f.call(index, &f.params.clone());
            let sum = kept.into_iter().reduce(|sum, value| f.b.ins().iadd(sum, value)).unwrap();
            let truncated = f.b.ins().ireduce(types::I32, sum);
            let result = f.call(index, &[vmctx, result, truncated]);
            f.b.ins().return_(&[result]);
        })
    };
    for (count, inlined) in [(10, 1), (20, 0)] {
        let functions = [(1, adding(5, 2)), (2, keeping(count, 1))];
        let candidate = |(index, (func, annotations))| (index, Candidate::new(func, annotations));
        let mut candidates: BTreeMap<u32, Candidate> =
            functions.into_iter().map(candidate).collect();
        let limits = InlineLimits { callee: 200, ..InlineLimits::default() };
        inline_into_candidates(&mut candidates, &limits).unwrap();
        assert_eq!(candidates[&1].annotations.inlined.calls().len(), inlined, "{count}");
    }
}

#[test]
fn calls_in_loops_are_inlined_again() {
    let candidates = candidates([(1, adding(5, 1))]);
    for (again_in_loops, left) in [(false, 0), (true, 1)] {
        let (mut func, mut annotations) = function(|f| {
            let params = f.params.clone();
            let [head, exit] = [(); 2].map(|()| f.b.create_block());
            f.at(90);
            f.call(1, &params);
            f.b.ins().jump(head, &[]);
            f.b.switch_to_block(head);
            f.at(100);
            f.call(1, &params);
            f.b.ins().brif(params[2], head, &[], exit, &[]);
            f.b.switch_to_block(exit);
            f.b.ins().return_(&[params[1]]);
        });
        let limits = InlineLimits { again_in_loops, ..InlineLimits::default() };
        let find = |index| candidates.get(&index);
        assert_eq!(inline_calls(&mut func, &mut annotations, &find, &limits, None).unwrap(), [1]);
        assert_eq!(opcodes(&func, Opcode::Call), 2);
        let calls = annotations.inlined.calls();
        let in_loop = calls.iter().position(|call| call.location == Some(100)).unwrap() as u32;
        let again: Vec<_> = calls.iter().filter(|call| call.caller.is_some()).collect();
        assert_eq!((calls.len(), again.len()), (2 + left, left));
        for call in again {
            assert_eq!((call.location, call.caller), (Some(200), Some(in_loop)));
        }
        let call =
            func.layout.blocks().flat_map(|block| func.layout.block_insts(block)).find(|inst| {
                func.dfg.insts[*inst].opcode() == Opcode::Call
                    && annotations.inlined.place_of(&func, *inst).1.is_some_and(|call| call >= 2)
            });
        assert_eq!(call.is_some(), again_in_loops);
    }
}

#[test]
fn a_long_chain_of_calls_needs_no_stack() {
    let functions = (0..50_000).map(|index| {
        let (func, annotations) = function(|f| {
            let params = f.params.clone();
            let result = f.call(index + 1, &params);
            f.b.ins().return_(&[result]);
        });
        (index, Candidate::new(func, annotations))
    });
    let mut candidates: BTreeMap<u32, Candidate> = functions.collect();
    inline_into_candidates(&mut candidates, &InlineLimits::default()).unwrap();
    // An inlined call counts like an instruction, so the chain is inlined in pieces.
    let calls = |index| candidates[&index].annotations.inlined.calls().len();
    let longest = (0..50_000).map(calls).max().unwrap();
    assert!((5..=100).contains(&longest), "{longest}");
}

#[test]
fn calls_in_loops_come_first() {
    // A callee of 26 instructions. Fifteen of them fit into a small function.
    let callee = |index: u32| {
        let body = function(|f| {
            let mut sum = f.params[1];
            for _ in 0..25 {
                sum = f.b.ins().iadd(sum, sum);
            }
            f.b.ins().return_(&[sum]);
        });
        (index, body)
    };
    let candidates = candidates([callee(1), callee(2)]);
    let mut caller = function(|f| {
        let params = f.params.clone();
        for _ in 0..20 {
            f.call(1, &params);
        }
        let [head, exit] = [(); 2].map(|()| f.b.create_block());
        f.b.ins().jump(head, &[]);
        f.b.switch_to_block(head);
        f.call(2, &params);
        f.b.ins().brif(params[2], head, &[], exit, &[]);
        f.b.switch_to_block(exit);
        f.b.ins().return_(&[params[1]]);
    });
    inline(&mut caller, &candidates);
    let calls = caller.1.inlined.calls();
    assert_eq!(calls.iter().filter(|call| call.function == 2).count(), 1);
    assert!((10..20).contains(&calls.len()), "{}", calls.len());
}

/// A block with many calls is cut into parts with some, in the same order.
#[test]
fn blocks_with_many_calls_are_cut() {
    let calls = |count: usize| {
        function(|f| {
            let params = f.params.clone();
            let mut result = params[1];
            for _ in 0..count {
                result = f.call(1, &[params[0], result, params[2]]);
            }
            f.b.ins().return_(&[result]);
        })
    };
    let insts = |func: &ir::Function| -> Vec<ir::Inst> {
        let insts = func.layout.blocks().flat_map(|block| func.layout.block_insts(block));
        insts.filter(|inst| func.dfg.insts[*inst].opcode() != Opcode::Jump).collect()
    };
    for (count, parts) in [(1, 1), (cut::CALLS, 1), (cut::CALLS + 1, 2), (10 * cut::CALLS, 10)] {
        let (mut func, _) = calls(count);
        let before = insts(&func);
        let is_call = |func: &ir::Function, inst| func.dfg.insts[inst].opcode().is_call();
        let all: HashSet<ir::Inst> =
            before.iter().copied().filter(|inst| is_call(&func, *inst)).collect();
        cut::cut(&mut func, |inst| all.contains(&inst));
        assert_eq!(func.layout.blocks().count(), parts, "{count}");
        assert_eq!(insts(&func), before);
        for block in func.layout.blocks() {
            let calls = func.layout.block_insts(block).filter(|inst| all.contains(inst)).count();
            assert!((1..=cut::CALLS).contains(&calls), "{count}");
        }
        // Cut or not, all calls are inlined, and the code is valid.
        let candidates = candidates([(1, adding(1, 2))]);
        let mut caller = calls(count);
        let find = |index| candidates.get(&index);
        let limits = InlineLimits { growth: 1 << 20, ..InlineLimits::default() };
        inline_calls(&mut caller.0, &mut caller.1, &find, &limits, None).unwrap();
        assert_eq!(caller.1.inlined.calls().len(), count);
        maps(&caller);
        compile(&compiler(), caller.0, caller.1);
    }
}

#[test]
fn nothing_is_inlined_into_very_large_functions() {
    let candidates = candidates([(1, adding(5, 2))]);
    let find = |index| candidates.get(&index);
    let inlined = |largest_caller| {
        let (mut func, mut annotations) = adding(100, 1);
        let limits = InlineLimits { largest_caller, ..InlineLimits::default() };
        inline_calls(&mut func, &mut annotations, &find, &limits, None).unwrap().len()
    };
    assert_eq!([50, 102, 120].map(inlined), [0, 0, 1]);
}
