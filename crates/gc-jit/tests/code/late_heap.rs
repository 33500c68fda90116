//! Stores that begin without a heap: their code traps and calls the host as any other, and can
//! reach no memory by a reference.

use crate::common::*;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, TrapCode, Value, types};
use cranelift_frontend::FunctionBuilder;
use gc_compiler::import_host_call;
use gc_jit::{CallError, HostCallTable, JitState, JitStore};
use gc_runtime::collector::NullCollector;
use gc_runtime::{GcRuntime, GcStore, HeapFactory, HeapMemory, HeapOptions, NoStack};
use gc_types::{
    GcLayout, HostCall, StorageType, StructLayout, Trap, TypeIndex, VMGcHeader, VMGcKind, ValRaw,
};
use std::sync::Arc;

/// A fixture whose store has no heap, and so has its vmctx.
fn without_heap(runtime: impl GcRuntime + 'static) -> Fixture {
    let options = HeapOptions::default();
    let abi = Arc::new(options.abi(&runtime));
    let factory = HeapFactory::new(Arc::new(runtime), &options).unwrap();
    let gc = GcStore::lazy(&Arc::new(factory));
    let jit = JitState::new(gc, &HostCallTable::new(&abi, &[]).unwrap(), MAX_STACK).unwrap();
    let prefix = jit.vmctx_prefix_without_heap(VMCTX);
    let vmctx = Box::new(Vmctx { prefix, words: [0; 16] });
    Fixture { store: TestStore { jit, data: () }, vmctx }
}

fn has_heap(fixture: &Fixture) -> bool {
    fixture.store.jit().gc().has_heap()
}

/// Loads from `args[0]` bytes after the heap's base, as an access to an object does.
fn load_from_heap(b: &mut FunctionBuilder<'_>, params: &[Value]) {
    let offset = OFFSETS.vmctx_heap_base() as i32;
    let base = b.ins().load(types::I64, MemFlagsData::trusted(), params[0], offset);
    let address = b.ins().iadd(base, params[1]);
    let trap = TrapCode::unwrap_user(Trap::NullReference.code());
    let flags = MemFlagsData::new().with_aligned().with_trap_code(Some(trap));
    let value = b.ins().load(types::I32, flags, address, 8);
    b.ins().return_(&[value]);
}

fn trap_of(result: Result<Vec<ValRaw>, CallError>) -> Trap {
    result.unwrap_err().trap().expect("a trap")
}

#[test]
fn traps_need_no_heap() {
    let signature = signature(&[types::I32], &[types::I32]);
    let compiler = compiler();
    let divide = compile(&compiler, signature.clone(), |b, params| {
        let is_zero = b.ins().icmp_imm_s(IntCC::Equal, params[1], 0);
        b.ins().trapnz(is_zero, TrapCode::unwrap_user(Trap::UnreachableCodeReached.code()));
        let hundred = b.ins().iconst(types::I32, 100);
        let quotient = b.ins().sdiv(hundred, params[1]);
        b.ins().return_(&[quotient]);
    });
    let code = publish(vec![divide], &[]);
    let mut fixture = without_heap(NullCollector);
    let result = fixture.call(&code, 0, &signature, &[ValRaw::i32(7)]);
    assert_eq!(i32s(&result.unwrap()), [14]);
    let result = fixture.call(&code, 0, &signature, &[ValRaw::i32(0)]);
    assert_eq!(trap_of(result), Trap::UnreachableCodeReached);
    assert!(!has_heap(&fixture));
}

/// What is not an `i31` or null is no reference of such a store. If one gets there all the same,
/// it is an index into memory that is not mapped, before and after the store gets a heap.
#[test]
fn a_reference_without_a_heap_reaches_nothing() {
    let signature = signature(&[types::I64], &[types::I32]);
    let code = publish(vec![compile(&compiler(), signature.clone(), load_from_heap)], &[]);
    let mut fixture = without_heap(NullCollector);
    for heap in [false, true] {
        if heap {
            let prefix = fixture.store.jit_mut().vmctx_prefix(VMCTX).unwrap();
            assert_ne!(prefix.heap_base, fixture.vmctx.prefix.heap_base);
            assert_eq!(prefix.store_context, fixture.vmctx.prefix.store_context);
        }
        assert_eq!(has_heap(&fixture), heap);
        for (reference, trap) in [
            (0, Trap::NullReference),
            (0x1_0000, Trap::CorruptHeap),
            (0x8000_0000, Trap::CorruptHeap),
            (u32::MAX, Trap::CorruptHeap),
        ] {
            let result = fixture.call(&code, 0, &signature, &[ValRaw::u64(reference.into())]);
            assert_eq!(trap_of(result), trap, "{reference:#x}");
        }
    }
}

/// The vmctx with a heap has the heap that the host allocates in, whichever was first.
#[test]
fn the_heap_is_the_same_for_host_and_code() {
    let signature = signature(&[types::I64], &[types::I32]);
    let code = publish(vec![compile(&compiler(), signature.clone(), load_from_heap)], &[]);
    for host_first in [false, true] {
        let mut fixture = without_heap(NullCollector);
        let mut prefix = None;
        if !host_first {
            prefix = Some(fixture.store.jit_mut().vmctx_prefix(VMCTX).unwrap());
        }
        let gc = fixture.store.jit_mut().gc_mut();
        let value = gc.alloc_externref(&mut NoStack, Box::new(5)).map_err(|(e, _)| e).unwrap();
        let prefix = match prefix {
            Some(prefix) => prefix,
            None => fixture.store.jit_mut().vmctx_prefix(VMCTX).unwrap(),
        };
        fixture.vmctx.prefix = prefix;
        // The id of a host value stands behind the header of its box.
        let args = [ValRaw::u64(value.as_raw_u32().into())];
        let id = fixture.call(&code, 0, &signature, &args).unwrap();
        assert_eq!(i32s(&id), [1]);
    }
}

#[test]
fn code_without_a_heap_cannot_allocate() {
    let signature = signature(&[], &[types::I64]);
    let allocate = compile(&compiler(), signature.clone(), |b, params| {
        let (call, host) = (HostCall::ALLOC_STRUCT, HostCall::ALLOC_STRUCT.gc_signature().unwrap());
        let alloc = import_host_call(b.func, call, host);
        let word = VMGcHeader::new(VMGcKind::StructRef, TypeIndex::new(0).unwrap()).word();
        let word = b.ins().iconst(types::I32, i64::from(word));
        b.ins().call(alloc, &[params[0], word]);
        let offset = OFFSETS.vmctx_store_context() as i32;
        let context = b.ins().load(types::I64, MemFlagsData::trusted(), params[0], offset);
        let offset = OFFSETS.store_host_result() as i32;
        let object = b.ins().load(types::I64, MemFlagsData::trusted(), context, offset);
        b.ins().return_(&[object]);
    });
    let code = publish(vec![allocate], &[]);
    let mut fixture = without_heap(NullCollector);
    let layout = StructLayout::new([StorageType::I64]).unwrap();
    let layout = Arc::new(GcLayout::Struct(layout));
    let gc = fixture.store.jit_mut().gc_mut();
    gc.ensure_layout(TypeIndex::new(0).unwrap(), &layout).unwrap();
    for heap in [false, true] {
        if heap {
            fixture.store.jit_mut().gc_mut().ensure_heap().unwrap();
        }
        let error = fixture.call(&code, 0, &signature, &[]).unwrap_err();
        assert!(error.to_string().contains("a vmctx without the store's heap"), "{error}");
        assert_eq!(has_heap(&fixture), heap);
    }
    fixture.vmctx.prefix = fixture.store.jit_mut().vmctx_prefix(VMCTX).unwrap();
    assert!(fixture.call(&code, 0, &signature, &[]).is_ok());
    // Nor can code whose heap was put into other memory.
    let other = HeapMemory::new(&HeapOptions::default()).unwrap();
    fixture.store.jit_mut().gc_mut().heap_mut().unwrap().core_mut().memory = other;
    let error = fixture.call(&code, 0, &signature, &[]).unwrap_err();
    assert!(error.to_string().contains("a vmctx without the store's heap"), "{error}");
}
