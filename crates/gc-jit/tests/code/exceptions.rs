//! Tests of exceptions: the handler is found by return address and tag, in the frame's own stack
//! layout, and only in the innermost activation.

use crate::common::*;
use anyhow::Result;
use cranelift_codegen::ir::{
    self, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, ExceptionTag, InstBuilder,
    Signature, Type, Value, types,
};
use cranelift_frontend::FunctionBuilder;
use gc_compiler::{Compiler, import_function, import_host_call};
use gc_jit::{
    CallError, CodeMemory, HostCallTable, JitState, JitStore, ThrownException, VMContextPrefix,
    call,
};
use gc_runtime::collector::NullCollector;
use gc_runtime::{GcStore, HeapOptions, NoStack};
use gc_types::{
    CallSignature, ExnLayout, GcLayout, HostCall, StorageType, Trap, TypeIndex, VMGcRef, ValRaw,
    ValueType,
};
use std::sync::Arc;

const EXN: TypeIndex = TypeIndex::new(3).unwrap();

/// A store in which handler tag `n` of vmctx `v` catches exceptions of instance `v` and tag `n`.
struct Store {
    jit: JitState<Store>,
    /// What [`Calls::enter`] calls.
    inner: Option<(Arc<CodeMemory>, u32, usize)>,
    /// Whether it catches.
    catches: bool,
}

gc_jit::host_calls! {
    /// The call of a [`Store`].
    trait Calls;
    /// Its signature.
    const CALLS from HostCall::FIRST_EMBEDDER, named "";

    /// Calls compiled code, with an exception.
    ENTER: [collects] fn enter(exception: gc_types::host_calls::Ref) -> Result<()>;
}

impl Calls for Store {
    fn enter(&mut self, _caller: usize, exception: gc_types::host_calls::Ref) -> Result<()> {
        let (code, index, vmctx) = self.inner.clone().expect("set by the test");
        let word = exception.map_or(0, |exception| exception.as_raw_u32());
        let vmctx = std::ptr::with_exposed_provenance_mut(vmctx);
        match enter(self, &code, index, vmctx, word) {
            Err(error) if !self.catches => Err(error.into_anyhow()),
            Err(_) => {
                assert!(self.jit.take_pending_exception().is_some());
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }
}

impl JitStore for Store {
    fn jit(&self) -> &JitState<Store> {
        &self.jit
    }

    fn jit_mut(&mut self) -> &mut JitState<Store> {
        &mut self.jit
    }

    fn catches(&self, vmctx: usize, tag: u32, exception: &VMGcRef) -> bool {
        let word = |at| self.jit.gc().read_field(exception, at, StorageType::I32).unwrap();
        (word(ExnLayout::TAG_INSTANCE_OFFSET), word(ExnLayout::TAG_INDEX_OFFSET))
            == (vmctx as u128, tag.into())
    }
}

/// The offset in bytes of the word of a vmctx that has the address of a function.
const ADDRESS: usize = size_of::<VMContextPrefix>();

/// The words of a vmctx.
fn prefix_words(prefix: &VMContextPrefix) -> Vec<usize> {
    let VMContextPrefix { heap_base, heap_data, store_context, number, poll_page } = *prefix;
    let mut words = vec![0; ADDRESS / 8];
    words[..5].copy_from_slice(&[
        heap_base.expose_provenance(),
        heap_data.expose_provenance(),
        store_context.expose_provenance(),
        number,
        poll_page.expose_provenance(),
    ]);
    words
}

/// The signature of all functions: from a reference to a number.
fn own() -> Signature {
    signature(&[types::I64], &[types::I64])
}

/// Calls function `index` with a reference.
fn enter(
    store: &mut Store,
    code: &Arc<CodeMemory>,
    index: u32,
    vmctx: *mut u8,
    word: u32,
) -> Result<u64, CallError> {
    let signature = CallSignature::new([ValueType::I64], [ValueType::I64]);
    let trampoline = code.entry_trampoline(&signature).unwrap();
    let mut values = [ValRaw::u64(word.into())];
    let address = code.function_address(index).unwrap();
    // SAFETY: the functions have this signature and a stack limit, and the test keeps the code
    // alive. The vmctx is one of the store.
    unsafe { call(store, &trampoline, address, vmctx, &mut values)? };
    Ok(values[0].get_u64())
}

/// A handler: its tag, or everything, and the number that it returns.
type Handler = (Option<u32>, i64);

/// Returns what `emit` calls with these handlers returns, or the number of the handler, if the
/// handler gets the reference `expected`.
fn with_handlers(
    b: &mut FunctionBuilder<'_>,
    signature: ir::SigRef,
    results: &[Type],
    handlers: &[Handler],
    expected: Value,
    emit: impl FnOnce(&mut FunctionBuilder<'_>, ir::ExceptionTable),
) {
    let returned = b.create_block();
    results.iter().for_each(|ty| {
        b.append_block_param(returned, *ty);
    });
    let blocks: Vec<ir::Block> = handlers.iter().map(|_| b.create_block()).collect();
    blocks.iter().for_each(|block| {
        b.append_block_param(*block, types::I64);
    });
    let pool = &mut b.func.dfg.value_lists;
    let normal =
        BlockCall::new(returned, (0..results.len() as u32).map(BlockArg::TryCallRet), pool);
    let items: Vec<_> = handlers
        .iter()
        .zip(&blocks)
        .map(|((tag, _), block)| {
            let call = BlockCall::new(*block, [BlockArg::TryCallExn(0)], pool);
            match tag {
                Some(tag) => ExceptionTableItem::Tag(ExceptionTag::from_u32(*tag), call),
                None => ExceptionTableItem::Default(call),
            }
        })
        .collect();
    let table = ExceptionTableData::new(signature, normal, items);
    let table = b.func.dfg.exception_tables.push(table);
    emit(b, table);
    for ((_, number), block) in handlers.iter().zip(blocks) {
        b.switch_to_block(block);
        let exn = b.block_params(block)[0];
        let other = b.ins().bxor(exn, expected);
        let number = b.ins().iadd_imm_s(other, *number);
        b.ins().return_(&[number]);
    }
    b.switch_to_block(returned);
}

/// `f0` throws. `f1` calls `f0` in `f2`, with as many arguments as do not fit into registers, and
/// has these handlers. `f2` calls the host, and has the last handler.
fn code(compiler: &Compiler, handlers: &[Handler]) -> Arc<CodeMemory> {
    let wide = signature(&[types::I64; 12], &[types::I64]);
    let throw = compile(compiler, wide.clone(), |b, params| {
        let throw = HostCall::THROW;
        let callee = import_host_call(b.func, throw, throw.gc_signature().unwrap());
        b.ins().call(callee, &[params[0], params[12]]);
        b.ins().trap(gc_compiler::trap_code(Trap::UnreachableCodeReached));
    });
    let catch = compile(compiler, own(), |b, params| {
        let callee = import_function(b.func, 0, wide.clone());
        let signature = b.func.dfg.ext_funcs[callee].signature;
        let mut args = vec![params[0]];
        args.resize(13, params[1]);
        with_handlers(b, signature, &[types::I64], handlers, params[1], |b, table| {
            b.ins().try_call(callee, &args, table);
        });
        let zero = b.ins().iconst(types::I64, 0);
        b.ins().return_(&[zero]);
    });
    let through = compile(compiler, own(), |b, params| {
        let callee = import_host_call(b.func, ENTER, &CALLS[0].1);
        let signature = b.func.dfg.ext_funcs[callee].signature;
        let handlers = [(None, 500)];
        with_handlers(b, signature, &[], &handlers, params[1], |b, table| {
            b.ins().try_call(callee, &[params[0], params[1]], table);
        });
        let number = b.ins().iconst(types::I64, 400);
        b.ins().return_(&[number]);
    });
    publish_for(abi(CALLS), vec![throw, catch, through])
}

/// A compiler, and a store with an exception: its reference.
fn store_with_exception() -> (Compiler, Store, u32) {
    let abi = Arc::new(abi(CALLS));
    let compiler = compiler_for(&abi);
    let gc = GcStore::new(&NullCollector, &HeapOptions::default()).unwrap();
    let table = HostCallTable::new(&abi, &Store::host_calls()).unwrap();
    let jit = JitState::new(gc, &table, MAX_STACK).unwrap();
    let mut store = Store { jit, inner: None, catches: false };
    let layout = Arc::new(GcLayout::Exn(ExnLayout::new([]).unwrap()));
    store.jit.gc_mut().ensure_layout(EXN, &layout).unwrap();
    let exn = store.jit.gc_mut().alloc_exn(&mut NoStack, EXN, 7, 3).unwrap();
    (compiler, store, exn.as_raw_u32())
}

#[test]
fn handlers_are_found_by_tag_and_activation() {
    let (compiler, mut store, word) = store_with_exception();
    let mut prefix: Box<VMContextPrefix> = Box::new(store.jit.vmctx_prefix(7).unwrap());
    let vmctx: *mut u8 = (&raw mut *prefix).cast();

    let cases: [(&[Handler], Option<u64>); 5] = [
        (&[(Some(3), 30)], Some(30)),
        (&[(Some(2), 20), (Some(3), 30), (None, 40)], Some(30)),
        (&[(Some(2), 20), (None, 40)], Some(40)),
        (&[(None, 40), (Some(3), 30)], Some(40)),
        (&[(Some(2), 20), (Some(4), 40)], None),
    ];
    for (handlers, expected) in cases {
        let code = code(&compiler, handlers);
        let sites = code.image().handlers().filter(|site| site.handlers.len() == handlers.len());
        for site in sites {
            let found = code.image().handlers_of(site.ret_addr).unwrap();
            assert_eq!(found.frame_offset(), site.frame_offset);
            assert!(found.iter().eq(site.handlers));
            assert!(code.image().handlers_of(site.ret_addr + 1).is_none());
        }
        let result = enter(&mut store, &code, 1, vmctx, word);
        match (&result, expected) {
            (Ok(number), Some(expected)) => assert_eq!(*number, expected),
            (Err(CallError::Host(error)), None) => assert!(error.is::<ThrownException>()),
            _ => panic!("{handlers:?}: {result:?}"),
        }
        assert_eq!(store.jit.has_pending_exception(), expected.is_none());
        let pending = store.jit.take_pending_exception().map(|exn| exn.as_raw_u32());
        assert_eq!(pending, expected.is_none().then_some(word));

        // Through an activation of the host, which passes it on or catches it.
        store.inner = Some((code.clone(), 1, vmctx.expose_provenance()));
        for catches in [false, true] {
            store.catches = catches;
            let outer = if expected.is_none() && !catches { 500 } else { 400 };
            assert_eq!(enter(&mut store, &code, 2, vmctx, word).unwrap(), outer);
            assert!(!store.jit.has_pending_exception());
        }
    }

    // Null is a trap, which no handler catches.
    let code = code(&compiler, &[(None, 40)]);
    let error = enter(&mut store, &code, 1, vmctx, 0).unwrap_err();
    assert_eq!(error.trap(), Some(Trap::NullReference));
    // So is something that is no exception.
    let error = enter(&mut store, &code, 1, vmctx, 5).unwrap_err();
    assert_eq!(error.trap(), Some(Trap::CorruptHeap));
}

/// The sum of numbers, each times its place, so that the sum tells which number is where.
fn weighted(b: &mut FunctionBuilder<'_>, numbers: &[Value]) -> Value {
    let zero = b.ins().iconst(types::I64, 0);
    (1..).zip(numbers).fold(zero, |sum, (place, number)| {
        let product = b.ins().imul_imm_s(*number, place);
        b.ins().iadd(sum, product)
    })
}

/// Different numbers that are made from one.
fn numbers(b: &mut FunctionBuilder<'_>, from: Value, count: i64) -> Vec<Value> {
    let number = |n| {
        let product = b.ins().imul_imm_s(from, n + 3);
        b.ins().iadd_imm_s(product, n)
    };
    (0..count).map(number).collect()
}

/// A call with handlers passes as many integers and floats as there are registers for, and gets results in them, and the
/// values that live across it are the same afterwards, whether the callee returns or throws. Every function on the way uses
/// all callee-saved registers.
#[test]
fn calls_with_handlers_use_every_register() {
    const LIVE: i64 = 14;
    let (compiler, mut store, word) = store_with_exception();
    let mut prefix: Box<VMContextPrefix> = Box::new(store.jit.vmctx_prefix(7).unwrap());
    let vmctx: *mut u8 = (&raw mut *prefix).cast();
    for (ints, floats, results) in [(5, 8, [1, 2]), (5, 8, [6, 8]), (6, 8, [1, 2]), (5, 9, [1, 2])]
    {
        let params = [vec![types::I64; ints], vec![types::F64; floats]].concat();
        let returns = [vec![types::I64; results[0]], vec![types::F64; results[1]]].concat();
        let many = signature(&params, &returns);
        let none = signature(&[], &[]);
        let nothing = compile(&compiler, none.clone(), |b, _| {
            b.ins().return_(&[]);
        });
        // Throws its first parameter, if it is not null. Otherwise returns numbers that tell its parameters.
        let callee = compile(&compiler, many.clone(), |b, params| {
            let (ints, floats) = params[1..].split_at(ints);
            let kept = numbers(b, ints[1], LIVE);
            let nothing = import_function(b.func, 0, none.clone());
            b.ins().call(nothing, &params[..1]);
            let kept = weighted(b, &kept);
            let [throws, returns] = [b.create_block(), b.create_block()];
            b.ins().brif(ints[0], throws, &[], returns, &[]);
            b.switch_to_block(throws);
            let throw = HostCall::THROW;
            let throw = import_host_call(b.func, throw, throw.gc_signature().unwrap());
            b.ins().call(throw, &[params[0], ints[0]]);
            b.ins().trap(gc_compiler::trap_code(Trap::UnreachableCodeReached));
            b.switch_to_block(returns);
            let floats: Vec<_> =
                floats.iter().map(|float| b.ins().fcvt_to_sint_sat(types::I64, *float)).collect();
            let all = weighted(b, &[ints, &floats].concat());
            let all = b.ins().iadd(all, kept);
            let of_ints =
                (0..results[0] as i64).map(|n| b.ins().iadd_imm_s(all, n)).collect::<Vec<_>>();
            let of_floats = (0..results[1] as i64).map(|n| {
                let number = b.ins().iadd_imm_s(all, 100 * n);
                b.ins().fcvt_from_sint(types::F64, number)
            });
            let values = [of_ints, of_floats.collect()].concat();
            b.ins().return_(&values);
        });
        for indirect in [false, true] {
            let caller = compile(&compiler, own(), |b, own| {
                let callee = import_function(b.func, 1, many.clone());
                let signature = b.func.dfg.ext_funcs[callee].signature;
                let base = b.ins().iconst(types::I64, 5);
                let kept = numbers(b, base, LIVE);
                let mut args = vec![own[0], own[1]];
                args.extend((1..ints as i64).map(|n| b.ins().iconst(types::I64, 10 * n)));
                args.extend((0..floats).map(|n| b.ins().f64const(1000.0 * (n + 1) as f64)));
                let address = indirect.then(|| {
                    b.ins().load(types::I64, ir::MemFlagsData::trusted(), own[0], ADDRESS as i32)
                });
                let returned = b.create_block();
                let thrown = b.create_block();
                let values: Vec<_> =
                    returns.iter().map(|ty| b.append_block_param(returned, *ty)).collect();
                let exn = b.append_block_param(thrown, types::I64);
                let pool = &mut b.func.dfg.value_lists;
                let count = 0..returns.len() as u32;
                let normal = BlockCall::new(returned, count.map(BlockArg::TryCallRet), pool);
                let handler = BlockCall::new(thrown, [BlockArg::TryCallExn(0)], pool);
                let items = [ExceptionTableItem::Default(handler)];
                let table = ExceptionTableData::new(signature, normal, items);
                let table = b.func.dfg.exception_tables.push(table);
                match address {
                    Some(address) => b.ins().try_call_indirect(address, &args, table),
                    None => b.ins().try_call(callee, &args, table),
                };
                b.switch_to_block(thrown);
                let sum = weighted(b, &kept);
                let sum = b.ins().iadd(sum, exn);
                b.ins().return_(&[sum]);
                b.switch_to_block(returned);
                let numbers: Vec<_> = values
                    .iter()
                    .map(|value| match b.func.dfg.value_type(*value) {
                        types::I64 => *value,
                        _ => b.ins().fcvt_to_sint_sat(types::I64, *value),
                    })
                    .collect();
                let kept = weighted(b, &kept);
                let sum = weighted(b, &numbers);
                let sum = b.ins().iadd(sum, kept);
                b.ins().return_(&[sum]);
            });
            let code = publish_for(abi(CALLS), vec![nothing.clone(), callee.clone(), caller]);
            let mut words = [prefix_words(&prefix), vec![0; 2]].concat();
            words[ADDRESS / 8] = code.function_address(1).unwrap().expose_provenance();
            let vmctx = if indirect { words.as_mut_ptr().cast() } else { vmctx };

            let weigh = |numbers: &[i64]| (1..).zip(numbers).map(|(n, it)| n * it).sum::<i64>();
            let made = |from: i64| (0..LIVE).map(|n| from * (n + 3) + n).collect::<Vec<_>>();
            let kept = weigh(&made(5));
            let thrown = enter(&mut store, &code, 2, vmctx, word).unwrap();
            assert_eq!(thrown as i64, kept + i64::from(word), "{ints} {floats} {indirect}");
            let passed: Vec<i64> = (0..ints as i64)
                .map(|n| 10 * n)
                .chain((0..floats as i64).map(|n| 1000 * (n + 1)))
                .collect();
            let all = weigh(&passed) + weigh(&made(10));
            let results: Vec<i64> = (0..results[0] as i64)
                .map(|n| all + n)
                .chain((0..results[1] as i64).map(|n| all + 100 * n))
                .collect();
            let returned = enter(&mut store, &code, 2, vmctx, 0).unwrap();
            assert_eq!(returned as i64, weigh(&results) + kept, "{ints} {floats} {indirect}");
        }
    }
}
