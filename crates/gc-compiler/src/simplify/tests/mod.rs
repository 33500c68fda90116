//! Tests with a known outcome are removed, and no others.

mod fold;
mod hoist;
mod i31;
mod loads;
mod thread;

use super::simplify;
use crate::safepoints::{Known, KnownType};
use crate::{
    Annotations, CompileOptions, Compiler, GcEmitter, GcFuncEnv, RefTest, TestTarget,
    import_host_call,
};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, ArgumentPurpose, InstBuilder, Opcode, Signature, Value, types,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use gc_types::{Abi, CollectorAbi, HostCall, StructLayout, Trap};

use crate::collector::copying::CopyingCompiler;

struct Env {
    abi: Abi,
    vmctx: Value,
    annotations: Annotations,
}

impl GcFuncEnv for Env {
    fn abi(&self) -> &Abi {
        &self.abi
    }

    fn vmctx(&mut self, _: &mut ir::Function) -> Value {
        self.vmctx
    }

    fn host_call(&mut self, func: &mut ir::Function, call: HostCall) -> ir::FuncRef {
        import_host_call(func, call, self.abi.host_call(call).unwrap())
    }

    fn annotations(&mut self) -> &mut Annotations {
        &mut self.annotations
    }
}

const FINAL: i64 = 77;

fn is_final(e: &mut GcEmitter<'_, '_>, ty: i64) -> TestTarget {
    let word = e.builder.ins().iconst(types::I32, ty);
    TestTarget::Concrete { type_index: word, header_word: word, depth: 1, is_final: true }
}

fn with_subtypes(e: &mut GcEmitter<'_, '_>, ty: i64) -> TestTarget {
    let word = e.builder.ins().iconst(types::I32, ty);
    TestTarget::Concrete { type_index: word, header_word: word, depth: 1, is_final: false }
}

/// A simplified function of two references and a number, with one result.
fn simplified(build: impl FnOnce(&mut GcEmitter<'_, '_>, &[Value]) -> Value) -> ir::Function {
    simplified_for(Abi::new(CollectorAbi::new("copying")), build)
}

fn simplified_for(
    abi: Abi,
    build: impl FnOnce(&mut GcEmitter<'_, '_>, &[Value]) -> Value,
) -> ir::Function {
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::special(types::I64, ArgumentPurpose::VMContext));
    signature.params.extend([types::I64, types::I64, types::I32].map(AbiParam::new));
    signature.returns.push(AbiParam::new(types::I32));
    let mut func = ir::Function::with_name_signature(Default::default(), signature);
    let mut context = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut func, &mut context);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let params = b.block_params(entry).to_vec();
    let compiler = Compiler::new(&CopyingCompiler, &abi, &CompileOptions::default()).unwrap();
    let mut env = Env { abi, vmctx: params[0], annotations: Annotations::default() };
    env.annotations.references.mark(params[1]);
    env.annotations.references.mark(params[2]);
    let mut e = GcEmitter::new(&mut b, &mut env, &CopyingCompiler);
    let result = build(&mut e, &params[1..]);
    e.builder.ins().return_(&[result]);
    b.seal_all_blocks();
    b.finalize(compiler.isa().frontend_config());
    simplify(&mut func, &mut env.annotations);
    cranelift_codegen::verify_function(&func, compiler.isa())
        .unwrap_or_else(|errors| panic!("{errors}\n{}", func.display()));
    func
}

/// The tests that are left: branches and conditional traps, and reads of headers.
fn tests(func: &ir::Function) -> (usize, usize) {
    let (mut branches, mut reads) = (0, 0);
    for block in func.layout.blocks() {
        for inst in func.layout.block_insts(block) {
            match func.dfg.insts[inst].opcode() {
                Opcode::Brif | Opcode::Trapz | Opcode::Trapnz => branches += 1,
                Opcode::Load => {
                    let flags = func.dfg.insts[inst].memflags().unwrap();
                    let region = func.dfg.mem_flags[flags].alias_region().unwrap();
                    let region = func.dfg.alias_regions[region].user_id;
                    reads += usize::from(region == crate::regions::HEADER);
                }
                _ => {}
            }
        }
    }
    (branches, reads)
}

fn zero(e: &mut GcEmitter<'_, '_>) -> Value {
    e.builder.ins().iconst(types::I32, 0)
}

#[test]
fn a_second_cast_is_free() {
    for known in [is_final, with_subtypes] {
        let once = |e: &mut GcEmitter<'_, '_>, params: &[Value]| {
            let test = RefTest::new(false, known(e, FINAL));
            e.ref_cast(params[0], &test);
        };
        let first = simplified(|e, params| {
            once(e, params);
            zero(e)
        });
        let twice = simplified(|e, params| {
            once(e, params);
            once(e, params);
            zero(e)
        });
        assert_eq!(tests(&twice), tests(&first), "{}", twice.display());
    }
}

#[test]
fn a_test_and_then_a_cast_are_one_test() {
    type Target = fn(&mut GcEmitter<'_, '_>, i64) -> TestTarget;
    // A test of null or `i31`, of the header, and of the display if there are subtypes.
    for (known, expected) in [(is_final as Target, 2), (with_subtypes, 3)] {
        let build = |casts: bool| {
            simplified(|e, params| {
                let test = RefTest::new(false, known(e, FINAL));
                let passes = e.ref_test(params[0], &test);
                let passes = e.builder.ins().uextend(types::I32, passes);
                let [yes, no] = [(); 2].map(|()| e.builder.create_block());
                e.builder.ins().brif(passes, yes, &[], no, &[]);
                e.continue_in(yes);
                if casts {
                    e.ref_cast(params[0], &test);
                }
                e.builder.ins().return_(&[params[2]]);
                e.continue_in(no);
                zero(e)
            })
        };
        let (with, without) = (build(true), build(false));
        assert_eq!(tests(&with), tests(&without), "{}", with.display());
        // The outcome is not gathered and tested again.
        assert_eq!(tests(&without).0, expected, "{}", without.display());
    }
}

#[test]
fn the_other_side_of_a_test_is_not_known() {
    let func = simplified(|e, params| {
        let is_null = e.ref_is_null(params[0]);
        let [null, not_null] = [(); 2].map(|()| e.builder.create_block());
        e.builder.ins().brif(is_null, null, &[], not_null, &[]);
        e.continue_in(null);
        // This always traps.
        e.trap_if_null(params[0]);
        e.builder.ins().return_(&[params[2]]);
        e.continue_in(not_null);
        e.trap_if_null(params[0]);
        e.trap_if_null(params[1]);
        zero(e)
    });
    // The branch, the trap of null, and that of the other reference.
    assert_eq!(tests(&func).0, 3, "{}", func.display());
}

#[test]
fn what_all_predecessors_know_is_known_at_a_join() {
    let func = |both: bool| {
        simplified(|e, params| {
            let [left, right, join] = [(); 3].map(|()| e.builder.create_block());
            let chosen = e.builder.append_block_param(join, types::I64);
            e.builder.ins().brif(params[2], left, &[], right, &[]);
            e.continue_in(left);
            e.trap_if_null(params[0]);
            e.builder.ins().jump(join, &[params[0].into()]);
            e.continue_in(right);
            if both {
                e.trap_if_null(params[0]);
            }
            e.trap_if_null(params[1]);
            e.builder.ins().jump(join, &[params[1].into()]);
            e.continue_in(join);
            e.trap_if_null(chosen);
            e.trap_if_null(params[0]);
            zero(e)
        })
    };
    assert_eq!(tests(&func(true)).0, 4, "{}", func(true).display());
    assert_eq!(tests(&func(false)).0, 4, "{}", func(false).display());
}

#[test]
fn a_loop_keeps_what_was_known_before_it() {
    let func = simplified(|e, params| {
        e.trap_if_null(params[0]);
        let [head, exit] = [(); 2].map(|()| e.builder.create_block());
        let [a, b] = [(); 2].map(|()| e.builder.append_block_param(head, types::I64));
        e.builder.ins().jump(head, &[params[0].into(), params[0].into()]);
        e.builder.switch_to_block(head);
        e.trap_if_null(params[0]);
        // `a` stays as it is, and `b` changes.
        e.trap_if_null(a);
        e.trap_if_null(b);
        let args = [a.into(), params[1].into()];
        e.builder.ins().brif(params[2], head, &args, exit, &[]);
        e.builder.seal_block(head);
        e.continue_in(exit);
        zero(e)
    });
    // The first trap, that of `b`, and the branch.
    assert_eq!(tests(&func).0, 3, "{}", func.display());
}

#[test]
fn new_objects_and_unboxed_integers_are_known() {
    let func = simplified(|e, params| {
        let layout = StructLayout::new([]).unwrap();
        let word = e.builder.ins().iconst(types::I32, FINAL);
        let object = e.struct_new(word, &layout, &[]);
        let test = RefTest::new(false, is_final(e, FINAL));
        e.ref_cast(object, &test);
        let other = RefTest::new(true, is_final(e, FINAL + 1));
        let passes = e.ref_test(object, &other);
        let unboxed = e.ref_i31(params[2]);
        let test = RefTest::new(false, TestTarget::I31);
        e.ref_cast(unboxed, &test);
        let number = e.i31_get_s(unboxed);
        let passes = e.builder.ins().uextend(types::I32, passes);
        e.builder.ins().iadd(number, passes)
    });
    // The branch of the allocation is left.
    assert_eq!(tests(&func), (1, 0), "{}", func.display());
}

#[test]
fn what_types_say_is_known() {
    let known = Known {
        non_null: true,
        not_i31: true,
        ty: Some(KnownType::of_engine(FINAL as u32)),
        exact: false,
    };
    let func = simplified(|e, params| {
        e.env.annotations().references.mark_known(params[0], known);
        let test = RefTest::new(false, with_subtypes(e, FINAL));
        e.ref_cast(params[0], &test);
        e.trap_if_null(params[0]);
        zero(e)
    });
    assert_eq!(tests(&func), (0, 0), "{}", func.display());
    // Objects of a subtype have another header.
    let func = simplified(|e, params| {
        e.env.annotations().references.mark_known(params[0], known);
        let test = RefTest::new(false, is_final(e, FINAL));
        e.ref_cast(params[0], &test);
        zero(e)
    });
    assert_eq!(tests(&func), (1, 1), "{}", func.display());
}

#[test]
fn the_same_code_for_numbers_is_no_test() {
    // A number whose lower half is zero is not zero. The rotation sees the lower half only.
    let func = simplified(|e, params| {
        let number = e.builder.ins().imul(params[0], params[0]);
        e.builder.ins().trapz(number, crate::trap_code(Trap::NullReference));
        let tag = e.builder.ins().band_imm_u(number, 1);
        e.builder.ins().trapnz(tag, crate::trap_code(Trap::CastFailure));
        let word = e.builder.ins().ireduce(types::I32, number);
        let rotated = e.builder.ins().rotr_imm_u(word, 1);
        let positive = e.builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, rotated, 0);
        e.builder.ins().uextend(types::I32, positive)
    });
    let opcodes: Vec<Opcode> = func
        .layout
        .blocks()
        .flat_map(|block| func.layout.block_insts(block))
        .map(|inst| func.dfg.insts[inst].opcode())
        .collect();
    assert!(opcodes.contains(&Opcode::Rotr) && opcodes.contains(&Opcode::Icmp), "{opcodes:?}");
}
