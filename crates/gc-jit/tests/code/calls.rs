//! Tests of calls between the host and compiled code: values of all types, many values, and errors
//! and panics through nested activations.

use crate::common::*;
use anyhow::Result;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, types};
use gc_compiler::{ImageLinker, import_function, import_host_call, import_type_word, type_word};
use gc_jit::{CallError, CodeMemory, EntryTrampoline, host_call_guard, lookup_code};
use gc_types::host_calls::Ref;
use gc_types::{HostCall, HostSignature, Machine, Trap, TypeIndex, TypeWord, VMGcKind, ValRaw};
use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[test]
fn values_of_every_type_go_in_and_come_out() {
    let compiler = compiler();
    let all = [types::I32, types::I64, types::F32, types::F64, types::I8X16];
    let signature = signature(&all, &[all[4], all[3], all[2], all[1], all[0]]);
    let reverse = compile(&compiler, signature.clone(), |b, params| {
        let results: Vec<_> = params[1..].iter().rev().copied().collect();
        b.ins().return_(&results);
    });
    let code = publish(vec![reverse], &[]);
    let bytes = std::array::from_fn(|i| 0xf0 | i as u8);
    let args = [
        ValRaw::i32(-7),
        ValRaw::i64(i64::MIN + 3),
        ValRaw::f32(2.5f32.to_bits()),
        ValRaw::f64((-0.0f64).to_bits()),
        ValRaw::v128(u128::from_le_bytes(bytes)),
    ];
    let results = fixture().call(&code, 0, &signature, &args).unwrap();
    assert_eq!(results[0].get_v128(), u128::from_le_bytes(bytes));
    assert_eq!(results[1].get_f64(), (-0.0f64).to_bits());
    assert_eq!(f32::from_bits(results[2].get_f32()), 2.5);
    assert_eq!(results[3].get_i64(), i64::MIN + 3);
    assert_eq!(results[4].get_i32(), -7);
}

/// Calls go to jumps between functions where those are too far away for direct calls of the processor, in both directions.
#[test]
fn calls_reach_functions_that_are_far_away() {
    const FUNCTIONS: u32 = 6;
    let compiler = compiler();
    let signature = signature(&[types::I64], &[types::I64]);
    // Each calls another one with one more, until it is ten.
    let function = |next: u32| {
        compile(&compiler, signature.clone(), |b, params| {
            let [end, go_on] = [b.create_block(), b.create_block()];
            let ends = b.ins().icmp_imm_s(IntCC::Equal, params[1], 10);
            b.ins().brif(ends, end, &[], go_on, &[]);
            b.switch_to_block(end);
            b.ins().return_(&[params[1]]);
            b.switch_to_block(go_on);
            let callee = import_function(b.func, next, signature.clone());
            let more = b.ins().iadd_imm_s(params[1], 1);
            let call = b.ins().call(callee, &[params[0], more]);
            let result = b.inst_results(call)[0];
            let result = b.ins().iadd_imm_s(result, 100);
            b.ins().return_(&[result]);
        })
    };
    let mut sizes = Vec::new();
    for forced in [false, true] {
        let mut linker = ImageLinker::new();
        if forced {
            linker.force_veneers();
        }
        for n in 0..FUNCTIONS {
            linker.define(n, format!("f{n}"), function((n + 4) % FUNCTIONS)).unwrap();
            linker.export(n).unwrap();
        }
        let image = linker.link(&compiler).unwrap();
        sizes.push(image.functions().map(|function| function.offset).max().unwrap());
        let code = CodeMemory::publish(image, &Arc::new(abi(&[])), &[]).unwrap();
        for n in 0..FUNCTIONS {
            let results = fixture().call(&code, n, &signature, &[ValRaw::i64(0)]).unwrap();
            assert_eq!(results[0].get_i64(), 1010);
        }
    }
    // Direct calls of x86-64 reach all code that an image can have.
    let has_jumps = sizes[1] > sizes[0];
    assert_eq!(has_jumps, Machine::host().arch() != "x86_64");
}

#[test]
fn twenty_parameters_and_twenty_results() {
    let compiler = compiler();
    let tys: Vec<_> =
        (0..20).map(|i| [types::I32, types::F64, types::I64, types::I8X16][i % 4]).collect();
    let signature = signature(&tys, &tys);
    // Calls a function that rotates the values by four, and rotates the results once more.
    let rotate = |params: &[cranelift_codegen::ir::Value]| {
        let mut values = params.to_vec();
        values.rotate_left(4);
        values
    };
    let inner = compile(&compiler, signature.clone(), |b, params| {
        b.ins().return_(&rotate(&params[1..]));
    });
    let outer = compile(&compiler, signature.clone(), |b, params| {
        let inner = import_function(b.func, 0, signature.clone());
        let call = b.ins().call(inner, params);
        let results = b.inst_results(call).to_vec();
        b.ins().return_(&rotate(&results));
    });
    let code = publish(vec![inner, outer], &[]);
    let args: Vec<_> = (0..20).map(|i| ValRaw::i32(i + 1)).collect();
    let results = fixture().call(&code, 1, &signature, &args).unwrap();
    let expected: Vec<_> = (0..20).map(|i| (i + 8) % 20 + 1).collect();
    assert_eq!(i32s(&results), expected);
}

#[test]
fn too_few_slots_is_an_error() {
    let compiler = compiler();
    let signature = signature(&[types::I32, types::I32], &[]);
    let code = publish(
        vec![compile(&compiler, signature.clone(), |b, _| {
            b.ins().return_(&[]);
        })],
        &[],
    );
    let trampoline = entry_trampoline(&signature);
    let mut fixture = fixture();
    let vmctx = fixture.vmctx();
    let address = code.function_address(0).unwrap();
    let mut values = [ValRaw::ZERO];
    // SAFETY: as in `Fixture::call`. The test checks that a missing slot is refused.
    let error =
        unsafe { gc_jit::call(&mut fixture.store, &trampoline, address, vmctx, &mut values) };
    assert!(matches!(error, Err(CallError::Host(_))));
    assert!(code.function_address(1).is_none());
}

#[test]
fn linking_names_what_is_missing() {
    let compiler = compiler();
    let signature = signature(&[], &[]);
    let caller = || {
        compile(&compiler, signature.clone(), |b, params| {
            let callee = import_function(b.func, 7, signature.clone());
            b.ins().call(callee, params);
            b.ins().return_(&[]);
        })
    };
    let mut image = ImageLinker::new();
    image.define(0, "caller".into(), caller()).unwrap();
    assert!(image.define(0, "again".into(), caller()).is_err());
    let error = image.link(&compiler).unwrap_err();
    assert!(error.to_string().contains("caller"), "{error}");

    let call = HostCall::embedder(3);
    let unknown = HostSignature {
        name: "unknown",
        params: &[],
        result: None,
        fallible: false,
        may_collect: false,
    };
    let caller = compile(&compiler, signature, |b, params| {
        let callee = import_host_call(b.func, call, &unknown);
        b.ins().call(callee, params);
        b.ins().return_(&[]);
    });
    let mut image = ImageLinker::new();
    image.define(0, "caller".into(), caller).unwrap();
    assert!(image.link(&compiler).is_err());
}

gc_jit::host_calls! {
    /// Calls of a store without data.
    trait Calls;
    /// Their signatures.
    const CALLS from HostCall::FIRST_EMBEDDER, named "";

    /// Looks at parameters of all types.
    MIX: fn mix(a: u32, b: u64, c: Ref, d: u32, e: u64, f: *mut u8, g: u32) -> Result<u32>;
    /// Returns what a call that may fail would have failed by.
    COUNT: fn count() -> u64;
}

impl Calls for TestStore {
    fn mix(
        &mut self,
        caller: usize,
        a: u32,
        b: u64,
        c: Ref,
        d: u32,
        e: u64,
        f: *mut u8,
        g: u32,
    ) -> Result<u32> {
        assert_eq!((caller, a, b, d), (VMCTX, 0xffff_fffe, u64::MAX, 4));
        assert_eq!(c.map(|c| c.as_raw_u32()), Some(9));
        assert_eq!((e, f.addr(), g), (5, 6, 0x8000_0000));
        Ok(0x8765_4321)
    }

    fn count(&mut self, _caller: usize) -> u64 {
        HostCall::FAILED
    }
}

fn with_calls() -> Fixture {
    fixture_of((), &<TestStore as Calls>::host_calls(), CALLS)
}

#[test]
fn a_host_call_takes_integers_widened_and_clobbers_nothing() {
    let compiler = compiler();
    let signature = signature(&[types::I32; 8], &[types::I64, types::I64]);
    let caller = compile(&compiler, signature.clone(), |b, params| {
        let mix = import_host_call(b.func, MIX, &CALLS[0].1);
        let args = [
            b.ins().iconst(types::I32, -2),
            b.ins().iconst(types::I64, -1),
            b.ins().iconst(types::I64, 9),
            b.ins().iconst(types::I32, 4),
            b.ins().iconst(types::I64, 5),
            b.ins().iconst(types::I64, 6),
            b.ins().iconst(types::I32, i64::from(i32::MIN)),
        ];
        let args: Vec<_> = std::iter::once(params[0]).chain(args).collect();
        b.ins().call(mix, &args);
        let context = b.ins().load(
            types::I64,
            MemFlagsData::trusted(),
            params[0],
            OFFSETS.vmctx_store_context() as i32,
        );
        let result = b.ins().load(
            types::I64,
            MemFlagsData::trusted(),
            context,
            OFFSETS.store_host_result() as i32,
        );
        let mut sum = b.ins().iconst(types::I64, 0);
        for (i, param) in params[1..].iter().enumerate() {
            let param = b.ins().uextend(types::I64, *param);
            let term = b.ins().imul_imm_u(param, 10i64.pow(i as u32));
            sum = b.ins().iadd(sum, term);
        }
        b.ins().return_(&[result, sum]);
    });
    let code = publish(vec![caller], CALLS);
    let args: Vec<_> = (1..9).map(ValRaw::i32).collect();
    let results = with_calls().call(&code, 0, &signature, &args).unwrap();
    assert_eq!(results[0].get_u64(), 0x8765_4321);
    assert_eq!(results[1].get_u64(), 87654321);
}

/// The host function `(i32 a, i64 b) -> (i64, i32)`, called by an exit trampoline. It swaps its
/// arguments.
extern "C" fn swap(context: *mut u8, values: *mut ValRaw) -> u64 {
    // SAFETY: called by an exit trampoline with two slots.
    unsafe {
        host_call_guard(context, |_: &mut TestStore| {
            values.swap(values.add(1));
            Ok(0)
        })
    }
}

#[test]
fn a_host_function_is_called_like_a_compiled_one() {
    let compiler = compiler();
    let host_signature = signature(&[types::I32, types::I64], &[types::I64, types::I32]);
    let caller_signature =
        signature(&[types::I64, types::I64, types::I32, types::I64], &[types::I64, types::I32]);
    let exit = exit_trampoline(&host_signature);
    let caller = compile(&compiler, caller_signature.clone(), |b, params| {
        let &[_, code, host, x, y] = params else { unreachable!() };
        let host_signature = b.import_signature(host_signature.clone());
        let call = b.ins().call_indirect(host_signature, code, &[host, x, y]);
        let results = b.inst_results(call).to_vec();
        b.ins().return_(&results);
    });
    let code = publish(vec![caller], &[]);
    let mut fixture = fixture();
    let mut host = host_context(&fixture.store, swap);
    let args = [
        ValRaw::funcref(exit.0.cast_mut().cast()),
        ValRaw::funcref((&raw mut *host).cast()),
        ValRaw::i32(-3),
        ValRaw::i64(1 << 40),
    ];
    let results = fixture.call(&code, 0, &caller_signature, &args).unwrap();
    assert_eq!((results[0].get_i64(), results[1].get_i32()), (1 << 40, -3));

    // The host may call it too, without a compiled function in between.
    let trampoline = entry_trampoline(&host_signature);
    let mut values = [ValRaw::i32(5), ValRaw::i64(6)];
    let (store, host) = (&mut fixture.store, (&raw mut *host).cast());
    // SAFETY: the exit trampoline has the signature of the entry trampoline.
    unsafe { gc_jit::call(store, &trampoline, exit.0, host, &mut values).unwrap() };
    assert_eq!((values[0].get_i64(), values[1].get_i32()), (6, 5));
}

/// The action of the nested host call at depth zero.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Ending {
    Fine,
    Error,
    Panic,
    Trap,
    TrapInContext,
}

/// The data that a nested call needs. It is part of the embedder's data.
struct Nest {
    trampoline: EntryTrampoline,
    code: *const u8,
    vmctx: *mut u8,
    ending: Ending,
    /// The result or error of each level, innermost first.
    seen: Vec<String>,
    /// A level at which the host handles the failure.
    catch_at: Option<u32>,
}

gc_jit::host_calls! {
    /// The call of a store with a [`Nest`].
    trait NestCalls;
    /// Its signature.
    const NEST_CALLS from HostCall::FIRST_EMBEDDER, named "";

    /// Calls function 0 again with `depth` minus one, or ends.
    NEST: fn nest(depth: u32) -> Result<u32>;
}

impl NestCalls for TestStore<Nest> {
    fn nest(&mut self, _caller: usize, depth: u32) -> Result<u32> {
        if depth == 0 {
            return match self.data.ending {
                Ending::Fine => Ok(100),
                Ending::Error => Err(anyhow::anyhow!("no more")),
                Ending::Panic => panic!("host panic"),
                Ending::Trap => Err(Trap::CastFailure.into()),
                Ending::TrapInContext => {
                    Err(anyhow::Error::from(Trap::CastFailure).context("while casting"))
                }
            };
        }
        let mut values = [ValRaw::i32(depth as i32 - 1)];
        let (trampoline, code) = (self.data.trampoline.clone(), self.data.code);
        let vmctx = self.data.vmctx;
        // SAFETY: the function is the caller, called as it was.
        let result = unsafe { gc_jit::call(self, &trampoline, code, vmctx, &mut values) };
        let seen = match &result {
            Ok(()) => format!("{}", values[0].get_i32()),
            Err(error) => error.to_string().lines().next().unwrap().to_owned(),
        };
        self.data.seen.push(seen);
        if self.data.catch_at == Some(depth) {
            return Ok(1000);
        }
        result?;
        Ok(values[0].get_u32())
    }
}

fn run_nested(
    ending: Ending,
    depth: i32,
    catch_at: Option<u32>,
) -> (Vec<String>, Result<i32, CallError>) {
    let compiler = compiler();
    let signature = signature(&[types::I32], &[types::I32]);
    let caller = compile(&compiler, signature.clone(), |b, params| {
        let nest = import_host_call(b.func, NEST, &NEST_CALLS[0].1);
        b.ins().call(nest, &[params[0], params[1]]);
        let context = b.ins().load(
            types::I64,
            MemFlagsData::trusted(),
            params[0],
            OFFSETS.vmctx_store_context() as i32,
        );
        let result = b.ins().load(
            types::I32,
            MemFlagsData::trusted(),
            context,
            OFFSETS.store_host_result() as i32,
        );
        let result = b.ins().iadd_imm_u(result, 1);
        b.ins().return_(&[result]);
    });
    let code = publish(vec![caller], NEST_CALLS);
    let data = Nest {
        trampoline: entry_trampoline(&signature),
        code: code.function_address(0).unwrap(),
        vmctx: std::ptr::null_mut(),
        ending,
        seen: Vec::new(),
        catch_at,
    };
    let mut fixture = fixture_of(data, &TestStore::<Nest>::host_calls(), NEST_CALLS);
    fixture.store.data.vmctx = fixture.vmctx();
    let result = fixture.call(&code, 0, &signature, &[ValRaw::i32(depth)]);
    assert!(!fixture.store.jit.is_active());
    assert_eq!(fixture.store.jit.stack_walk().count(), 0);
    (fixture.store.data.seen, result.map(|values| values[0].get_i32()))
}

#[test]
fn nested_calls_return() {
    let (seen, result) = run_nested(Ending::Fine, 3, None);
    assert_eq!(result.unwrap(), 104);
    assert_eq!(seen, ["101", "102", "103"]);
}

#[test]
fn a_host_error_travels_through_nested_activations() {
    let (seen, result) = run_nested(Ending::Error, 2, None);
    let Err(CallError::Host(error)) = result else { panic!("{result:?}") };
    assert_eq!(error.to_string(), "no more");
    assert_eq!(seen, ["no more", "no more"]);
}

#[test]
fn a_host_error_can_be_handled_between_activations() {
    let (seen, result) = run_nested(Ending::Error, 3, Some(2));
    assert_eq!(result.unwrap(), 1002);
    assert_eq!(seen, ["no more", "no more", "1001"]);
}

#[test]
fn a_host_panic_is_resumed_behind_the_compiled_frames() {
    let payload =
        catch_unwind(AssertUnwindSafe(|| run_nested(Ending::Panic, 2, None))).unwrap_err();
    assert_eq!(*payload.downcast_ref::<&str>().unwrap(), "host panic");
}

#[test]
fn a_trap_from_the_host_is_a_trap_unless_it_says_more() {
    let (_, result) = run_nested(Ending::Trap, 1, None);
    let Err(CallError::Trap(error)) = result else { panic!("{result:?}") };
    assert_eq!(error.trap, Trap::CastFailure);
    assert_eq!(error.backtrace.frames().len(), if cfg!(feature = "backtrace") { 2 } else { 0 });

    let (_, result) = run_nested(Ending::TrapInContext, 1, None);
    let Err(CallError::Host(error)) = result else { panic!("{result:?}") };
    assert_eq!(error.to_string(), "while casting");
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::CastFailure));
}

#[test]
fn recursion_between_host_and_compiled_code_ends_in_a_stack_overflow() {
    let (seen, result) = run_nested(Ending::Fine, i32::MAX, None);
    let Err(CallError::Trap(error)) = result else { panic!("{result:?}") };
    assert_eq!(error.trap, Trap::StackOverflow);
    assert!(seen.len() > 50, "{}", seen.len());
}

#[test]
fn an_infallible_call_may_return_any_word() {
    let compiler = compiler();
    let signature = signature(&[], &[types::I64]);
    let caller = compile(&compiler, signature.clone(), |b, params| {
        let count = import_host_call(b.func, COUNT, &CALLS[1].1);
        b.ins().call(count, &[params[0]]);
        let context = b.ins().load(
            types::I64,
            MemFlagsData::trusted(),
            params[0],
            OFFSETS.vmctx_store_context() as i32,
        );
        let offset = OFFSETS.store_host_result() as i32;
        let result = b.ins().load(types::I64, MemFlagsData::trusted(), context, offset);
        b.ins().return_(&[result]);
    });
    let code = publish(vec![caller], CALLS);
    let results = with_calls().call(&code, 0, &signature, &[]).unwrap();
    assert_eq!(results[0].get_u64(), u64::MAX);
}

#[test]
fn dropped_code_is_unregistered() {
    let compiler = compiler();
    let signature = signature(&[], &[]);
    let ret = || {
        compile(&compiler, signature.clone(), |b, _| {
            b.ins().return_(&[]);
        })
    };
    let image = link(vec![ret(), ret()], &[]);
    let first = gc_jit::CodeMemory::publish(image.clone(), &Arc::new(abi(&[])), &[]).unwrap();
    let second = gc_jit::CodeMemory::publish(image, &Arc::new(abi(&[])), &[]).unwrap();
    let (a, b) = (first.base().addr(), second.base().addr());
    let at = first.function_address(1).unwrap().addr();
    let found = lookup_code(at).unwrap();
    assert!(std::sync::Arc::ptr_eq(&found, &first));
    assert_eq!(found.lookup(at).next().unwrap().name, "f1");
    drop(found);
    drop(first);
    assert!(lookup_code(a).is_none() || lookup_code(a).unwrap().base().addr() != a);
    assert!(lookup_code(b).is_some());
    assert!(lookup_code(0).is_none() && lookup_code(usize::MAX).is_none());
}

#[test]
fn functions_compile_on_many_threads() {
    let compiler = compiler();
    let signature = signature(&[types::I64], &[types::I64]);
    let functions: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..16)
            .map(|i| {
                let (compiler, signature) = (&compiler, signature.clone());
                scope.spawn(move || {
                    compile(compiler, signature, |b, params| {
                        let sum = b.ins().iadd_imm_s(params[1], i);
                        b.ins().return_(&[sum]);
                    })
                })
            })
            .collect();
        workers.into_iter().map(|w| w.join().unwrap()).collect()
    });
    let code = publish(functions, &[]);
    let mut fixture = fixture();
    for i in 0..16 {
        let args = [ValRaw::i64(100)];
        let results = fixture.call(&code, i, &signature, &args).unwrap();
        assert_eq!(results[0].get_i64(), 100 + i64::from(i));
    }
}

#[test]
fn one_image_is_published_for_engines_with_other_type_indices() {
    let [array, function] = [0, 1].map(|n| TypeIndex::new(n).unwrap());
    let words = [TypeWord::header(array, VMGcKind::ArrayRef), TypeWord::index(function)];
    let signature = signature(&[], &[types::I32, types::I32, types::I64]);
    let function = compile(&compiler(), signature.clone(), |b, _| {
        let words = words.map(|word| import_type_word(b.func, word));
        let [header, index] = words.map(|word| type_word(b, word));
        let wide = b.ins().uextend(types::I64, header);
        b.ins().return_(&[header, index, wide]);
    });
    let image = link(vec![function], &[]);
    assert_eq!(image.type_words().collect::<HashSet<_>>(), HashSet::from(words));
    for indices in [[5, 9], [70_000, 0]] {
        let indices = indices.map(|n| TypeIndex::new(n).unwrap());
        let code =
            gc_jit::CodeMemory::publish(image.clone(), &Arc::new(abi(&[])), &indices).unwrap();
        let results = fixture().call(&code, 0, &signature, &[]).unwrap();
        let header = indices[0].header_word(VMGcKind::ArrayRef);
        assert_eq!(results[0].get_u32(), header);
        assert_eq!(results[1].get_u32(), indices[1].as_u32());
        assert_eq!(results[2].get_u64(), u64::from(header));
    }
    let error = gc_jit::CodeMemory::publish(image, &Arc::new(abi(&[])), &[]).unwrap_err();
    assert!(error.to_string().starts_with("the code uses type "), "{error}");
}
