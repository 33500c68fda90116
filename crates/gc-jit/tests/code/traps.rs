//! Tests of traps: all kinds, many times, on many threads, and the state that they leave.

use crate::common::*;
use anyhow::Result;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, Signature, SourceLoc, TrapCode, Type, Value, types,
};
use cranelift_frontend::FunctionBuilder;
use gc_compiler::{Compiler, import_function, import_host_call};
use gc_jit::{CallError, CodeMemory, TrapError};
use gc_types::{FunctionId, HostCall, NULL_PAGE_SIZE, Trap, ValRaw};
use std::sync::Arc;

fn trap_code(trap: Trap) -> TrapCode {
    TrapCode::unwrap_user(trap.code())
}

fn expect_trap<T: std::fmt::Debug>(result: Result<T, CallError>) -> TrapError {
    match result {
        Err(CallError::Trap(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Compiles one function, calls it and returns its trap.
fn trap_of(
    params: &[Type],
    returns: &[Type],
    args: &[ValRaw],
    body: impl FnOnce(&mut FunctionBuilder<'_>, &[Value]),
) -> TrapError {
    let compiler = compiler();
    let signature = signature(params, returns);
    let code = publish(vec![compile(&compiler, signature.clone(), body)], &[]);
    let mut fixture = fixture();
    let error = expect_trap(fixture.call(&code, 0, &signature, args));
    assert!(!fixture.store.jit.is_active());
    error
}

fn divide(b: &mut FunctionBuilder<'_>, params: &[Value]) {
    let quotient = b.ins().sdiv(params[1], params[2]);
    b.ins().return_(&[quotient]);
}

#[test]
fn division() {
    let two = [types::I32, types::I32];
    for (x, y, trap) in [(1, 0, Trap::IntegerDivisionByZero), (i32::MIN, -1, Trap::IntegerOverflow)]
    {
        let args = [ValRaw::i32(x), ValRaw::i32(y)];
        assert_eq!(trap_of(&two, &[types::I32], &args, divide).trap, trap);
    }
}

#[test]
fn conversion() {
    let convert = |b: &mut FunctionBuilder<'_>, params: &[Value]| {
        let integer = b.ins().fcvt_to_sint(types::I32, params[1]);
        b.ins().return_(&[integer]);
    };
    for (float, trap) in [(f64::NAN, Trap::BadConversionToInteger), (1e30, Trap::IntegerOverflow)] {
        let args = [ValRaw::f64(float.to_bits())];
        assert_eq!(trap_of(&[types::F64], &[types::I32], &args, convert).trap, trap);
    }
}

#[test]
fn explicit_traps_carry_their_code() {
    for trap in Trap::ALL {
        let error = trap_of(&[], &[], &[], |b, _| {
            b.ins().trap(trap_code(*trap));
        });
        assert_eq!(error.trap, *trap);
        assert!(error.to_string().starts_with(trap.reason()));
    }
}

/// Loads from `args[0]` bytes after the heap's base, as an access to an object does.
fn load_from_heap(b: &mut FunctionBuilder<'_>, params: &[Value]) {
    let base = b.ins().load(
        types::I64,
        MemFlagsData::trusted(),
        params[0],
        OFFSETS.vmctx_heap_base() as i32,
    );
    let address = b.ins().iadd(base, params[1]);
    let flags =
        MemFlagsData::new().with_aligned().with_trap_code(Some(trap_code(Trap::NullReference)));
    let value = b.ins().load(types::I32, flags, address, 8);
    b.ins().return_(&[value]);
}

#[test]
fn a_heap_fault_is_null_or_damage() {
    for (reference, trap) in [
        (0, Trap::NullReference),
        (NULL_PAGE_SIZE - 16, Trap::NullReference),
        (0x8000_0000, Trap::CorruptHeap),
        (u32::MAX, Trap::CorruptHeap),
    ] {
        let args = [ValRaw::u64(reference.into())];
        let error = trap_of(&[types::I64], &[types::I32], &args, load_from_heap);
        assert_eq!(error.trap, trap, "{reference:#x}");
    }
}

#[test]
fn an_embedders_memory_fault_keeps_its_own_code() {
    let guard = region::alloc(1, region::Protection::NONE).unwrap();
    let args = [ValRaw::funcref(guard.as_ptr::<u8>().cast_mut().cast())];
    let error = trap_of(&[types::I64], &[types::I32], &args, |b, params| {
        let flags = MemFlagsData::new().with_trap_code(Some(TrapCode::HEAP_OUT_OF_BOUNDS));
        let value = b.ins().load(types::I32, flags, params[1], 4);
        b.ins().return_(&[value]);
    });
    assert_eq!(error.trap, Trap::MemoryOutOfBounds);
}

/// `f0(n)` calls itself without end, with a frame of `bytes` bytes.
fn recursive(compiler: &Compiler, bytes: u32) -> (Signature, Arc<CodeMemory>) {
    let signature = signature(&[types::I64], &[types::I64]);
    let recursive = compile(compiler, signature.clone(), |b, params| {
        let slot = b.create_sized_stack_slot(cranelift_codegen::ir::StackSlotData::new(
            cranelift_codegen::ir::StackSlotKind::ExplicitSlot,
            bytes,
            3,
        ));
        let address = b.ins().stack_addr(types::I64, slot, 0);
        b.ins().store(MemFlagsData::trusted(), params[1], address, 0);
        let callee = import_function(b.func, 0, signature.clone());
        let next = b.ins().iadd_imm_s(params[1], 1);
        let call = b.ins().call(callee, &[params[0], next]);
        let result = b.inst_results(call)[0];
        let kept = b.ins().load(types::I64, MemFlagsData::trusted(), address, 0);
        let sum = b.ins().iadd(result, kept);
        b.ins().return_(&[sum]);
    });
    let code = publish(vec![recursive], &[]);
    (signature, code)
}

#[test]
fn unbounded_recursion_overflows_cleanly_again_and_again() {
    let compiler = compiler();
    for bytes in [8, 5_000, 100_000, 10 << 20] {
        let (signature, code) = recursive(&compiler, bytes);
        let mut fixture = fixture();
        for _ in 0..20 {
            let args = [ValRaw::i64(0)];
            let error = expect_trap(fixture.call(&code, 0, &signature, &args));
            assert_eq!(error.trap, Trap::StackOverflow);
            if cfg!(feature = "backtrace") && bytes == 8 {
                let trace = &error.backtrace;
                assert_eq!(trace.frames().len(), 64);
                assert!(trace.omitted() > 1000, "{}", trace.omitted());
                assert!(trace.to_string().ends_with("more frames"));
            }
        }
    }
}

#[test]
fn a_limit_larger_than_the_threads_stack_is_cut_down() {
    let run = || {
        let compiler = compiler();
        let (signature, code) = recursive(&compiler, 64);
        let gc = gc_runtime::GcStore::new(
            &gc_runtime::collector::NullCollector,
            &gc_runtime::HeapOptions::default(),
        )
        .unwrap();
        let mut fixture = Fixture::new(gc, abi(&[]), (), &[], 1 << 40);
        let error = expect_trap(fixture.call(&code, 0, &signature, &[ValRaw::i64(0)]));
        assert_eq!(error.trap, Trap::StackOverflow);
    };
    for size in [256 << 10, 1 << 20] {
        std::thread::Builder::new().stack_size(size).spawn(run).unwrap().join().unwrap();
    }
}

#[test]
fn ten_thousand_traps_leave_mask_and_store_as_they_were() {
    let mask = || {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: this only reads the mask.
        unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), set.as_mut_ptr());
            let set = set.assume_init();
            (1..32).map(|signal| libc::sigismember(&set, signal)).collect::<Vec<_>>()
        }
    };
    let compiler = compiler();
    let sig = signature(&[types::I64], &[types::I32]);
    let division = signature(&[types::I32, types::I32], &[types::I32]);
    let code = publish(
        vec![
            compile(&compiler, sig.clone(), load_from_heap),
            compile(&compiler, division.clone(), divide),
        ],
        &[],
    );
    let mut fixture = fixture();
    let load = entry_trampoline(&sig);
    let div = entry_trampoline(&division);
    let before = mask();
    let vmctx = fixture.vmctx();
    for i in 0..10_000 {
        let (trampoline, index, trap) = match i % 2 {
            0 => (&load, 0, Trap::NullReference),
            _ => (&div, 1, Trap::IntegerDivisionByZero),
        };
        let mut values = [ValRaw::ZERO; 2];
        let address = code.function_address(index).unwrap();
        let store = &mut fixture.store;
        // SAFETY: as in `Fixture::call`.
        let result = unsafe { gc_jit::call(store, trampoline, address, vmctx, &mut values) };
        assert_eq!(expect_trap(result).trap, trap);
    }
    assert_eq!(mask(), before);
    let args = [ValRaw::i32(12), ValRaw::i32(4)];
    let quotient = fixture.call(&code, 1, &division, &args).unwrap();
    assert_eq!(quotient[0].get_i32(), 3);
}

#[test]
fn threads_trap_at_once() {
    std::thread::scope(|scope| {
        let compiler = Arc::new(compiler());
        for t in 0..8 {
            let compiler = compiler.clone();
            scope.spawn(move || {
                let signature = signature(&[types::I64], &[types::I32]);
                for i in 0..200u64 {
                    // Code is published and dropped while other threads trap.
                    let code =
                        publish(vec![compile(&compiler, signature.clone(), load_from_heap)], &[]);
                    let mut fixture = fixture();
                    let args = [ValRaw::u64((t + i) % 2 * 0x8000_0000)];
                    let error = expect_trap(fixture.call(&code, 0, &signature, &args));
                    let expected = [Trap::NullReference, Trap::CorruptHeap][((t + i) % 2) as usize];
                    assert_eq!(error.trap, expected);
                }
            });
        }
    });
}

gc_jit::host_calls! {
    /// The call of a store with an [`Inner`].
    trait Calls;
    /// Its signature.
    const CALLS from HostCall::FIRST_EMBEDDER, named "";

    /// Calls the trapping code from inside an activation.
    AGAIN: fn again() -> Result<()>;
}

/// The data for the inner call of [`again`].
struct Inner {
    trampoline: gc_jit::EntryTrampoline,
    code: *const u8,
    vmctx: *mut u8,
    rethrow: bool,
}

impl Calls for TestStore<Inner> {
    fn again(&mut self, _caller: usize) -> Result<()> {
        let (trampoline, code) = (self.data.trampoline.clone(), self.data.code);
        let vmctx = self.data.vmctx;
        let mut values = [ValRaw::ZERO; 2];
        // SAFETY: the code has the trampoline's signature and the fixture's vmctx.
        let result = unsafe { gc_jit::call(self, &trampoline, code, vmctx, &mut values) };
        assert_eq!(result.as_ref().unwrap_err().trap(), Some(Trap::IntegerDivisionByZero));
        if self.data.rethrow {
            result?;
        }
        Ok(())
    }
}

fn nested_trap(rethrow: bool) -> Result<Vec<ValRaw>, CallError> {
    let compiler = compiler();
    let division = signature(&[types::I32, types::I32], &[types::I32]);
    let outer_signature = signature(&[], &[types::I32]);
    let inner = compile(&compiler, division.clone(), |b, params| {
        b.set_srcloc(SourceLoc::new(0x123));
        divide(b, params);
    });
    let outer = compile(&compiler, outer_signature.clone(), |b, params| {
        let again = import_host_call(b.func, AGAIN, &CALLS[0].1);
        b.set_srcloc(SourceLoc::new(0x77));
        b.ins().call(again, &[params[0]]);
        b.set_srcloc(SourceLoc::new(0x78));
        let answer = b.ins().iconst(types::I32, 42);
        b.ins().return_(&[answer]);
    });
    let code = publish(vec![inner, outer], CALLS);
    let inner = Inner {
        trampoline: entry_trampoline(&division),
        code: code.function_address(0).unwrap(),
        vmctx: std::ptr::null_mut(),
        rethrow,
    };
    let mut fixture = fixture_of(inner, &TestStore::<Inner>::host_calls(), CALLS);
    fixture.store.data.vmctx = fixture.vmctx();
    fixture.call(&code, 1, &outer_signature, &[])
}

#[test]
fn an_outer_activation_goes_on_after_an_inner_one_trapped() {
    assert_eq!(nested_trap(false).unwrap()[0].get_i32(), 42);
}

#[test]
fn a_trap_seen_through_two_activations_keeps_its_backtrace() {
    let error = expect_trap(nested_trap(true));
    assert_eq!(error.trap, Trap::IntegerDivisionByZero);
    if !cfg!(feature = "backtrace") {
        assert!(error.backtrace.is_empty());
        return;
    }
    let frames: Vec<_> =
        error.backtrace.frames().iter().map(|f| (f.name.as_str(), f.function, f.srcloc)).collect();
    assert_eq!(
        frames,
        [("f0", FunctionId::Function(0), Some(0x123)), ("f1", FunctionId::Function(1), Some(0x77))]
    );
    assert_eq!(
        error.to_string(),
        "integer divide by zero\n   0: f0\n        at 0x123\n   1: f1\n        at 0x77"
    );
}

#[test]
fn a_trap_reaches_the_entry_through_many_frames() {
    let compiler = compiler();
    let signature = signature(&[types::I32], &[types::I32]);
    let function = compile(&compiler, signature.clone(), |b, params| {
        let callee = import_function(b.func, 0, signature.clone());
        let (deeper, bottom) = (b.create_block(), b.create_block());
        let more = b.ins().icmp_imm_s(IntCC::NotEqual, params[1], 0);
        b.ins().brif(more, deeper, &[], bottom, &[]);
        b.switch_to_block(deeper);
        let less = b.ins().iadd_imm_s(params[1], -1);
        let call = b.ins().call(callee, &[params[0], less]);
        let result = b.inst_results(call)[0];
        let result = b.ins().iadd_imm_s(result, 1);
        b.ins().return_(&[result]);
        b.switch_to_block(bottom);
        b.ins().trap(trap_code(Trap::UnreachableCodeReached));
    });
    let code = publish(vec![function], &[]);
    let args = [ValRaw::i32(100)];
    let error = expect_trap(fixture().call(&code, 0, &signature, &args));
    assert_eq!(error.trap, Trap::UnreachableCodeReached);
    if cfg!(feature = "backtrace") {
        let trace = error.backtrace;
        assert_eq!(trace.frames().len() + trace.omitted(), 101);
        assert!(trace.frames().iter().all(|f| f.name == "f0"));
        assert!(trace.frames()[0].code_offset != trace.frames()[1].code_offset);
    }
}
