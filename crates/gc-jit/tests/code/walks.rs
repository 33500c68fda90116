//! Tests of stack walks: they find and update frames and references in nested activations, and
//! refuse frames that cannot be trusted.

use crate::common::*;
use anyhow::Result;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Signature, Value, types};
use cranelift_frontend::FunctionBuilder;
use gc_compiler::{Compiler, import_function, import_host_call};
use gc_jit::{CodeMemory, EntryTrampoline, Frame, host_call_guard};
use gc_runtime::{GcRootsList, TraceRoots};
use gc_types::host_calls::Ref;
use gc_types::{HostCall, VMGcRef, ValRaw};

gc_jit::host_calls! {
    /// The call of a store with an [`Observer`].
    trait Calls;
    /// Its signature.
    const CALLS from HostCall::FIRST_EMBEDDER, named "";

    /// Goes one activation deeper, or examines the whole stack.
    OBSERVE: [collects] fn observe(argument: Ref) -> Result<()>;
}

/// The data that [`observe`] uses, and its findings.
struct Observer {
    /// If present, the host calls function 0 at this address once more, with this reference.
    nested: Option<(EntryTrampoline, usize, u64)>,
    /// The vmctx that it passes.
    vmctx: usize,
    /// Whether another thread makes that call.
    on_a_thread: bool,
    /// The words of the stack roots.
    words: Vec<u32>,
    /// The functions in whose frames these are.
    owners: Vec<String>,
    /// Each frame's function and the address of its vmctx.
    frames: Vec<(String, Option<usize>)>,
    caller: Option<usize>,
    /// The outer activation's frames after the inner one has ended. `None` if the walk fails.
    outer: Option<Vec<String>>,
    error: Option<String>,
    /// Added to every root that is found.
    moved_by: u32,
}

impl Observer {
    fn new() -> Observer {
        Observer {
            nested: None,
            vmctx: 0,
            on_a_thread: false,
            words: Vec::new(),
            owners: Vec::new(),
            frames: Vec::new(),
            caller: None,
            outer: Some(vec!["f1".to_owned(), "f0".to_owned()]),
            error: None,
            moved_by: 0,
        }
    }
}

fn name_and_vmctx(frame: &Frame<'_>) -> (String, Option<usize>) {
    (frame.info().unwrap().name, frame.vmctx().map(|vmctx| vmctx.addr()))
}

impl Calls for TestStore<Observer> {
    fn observe(&mut self, caller: usize, argument: Ref) -> Result<()> {
        let on_a_thread = self.data.on_a_thread;
        if let Some((trampoline, code, word)) = self.data.nested.take() {
            let mut values = [ValRaw::u64(word)];
            let vmctx = self.data.vmctx;
            let mut call = || {
                let code = std::ptr::with_exposed_provenance(code);
                let vmctx = std::ptr::with_exposed_provenance_mut(vmctx);
                // SAFETY: the code has the trampoline's signature and the fixture's vmctx.
                unsafe { gc_jit::call(self, &trampoline, code, vmctx, &mut values) }
            };
            if on_a_thread {
                std::thread::scope(|scope| scope.spawn(call).join().unwrap())?;
            } else {
                call()?;
            }
            // The inner activation's frames are gone. The outer activation's frames are not.
            let outer: Option<Vec<_>> =
                self.jit.stack_walk().map(|f| Some(f.ok()?.info()?.name)).collect();
            assert_eq!(outer, self.data.outer);
            return Ok(());
        }
        assert!(argument.is_some_and(|argument| !argument.is_i31()));
        assert_eq!(caller, VMCTX);
        let TestStore { jit, data: observer } = self;
        observer.caller = jit.caller();
        for frame in jit.stack_walk() {
            match frame {
                Ok(frame) => observer.frames.push(name_and_vmctx(&frame)),
                Err(error) => observer.error = Some(error.why),
            }
        }
        let mut list = GcRootsList::default();
        let (_, mut roots) = jit.gc_and_stack();
        match roots.trace_stack(&mut list) {
            Ok(()) => {
                for mut root in list.stack() {
                    assert!(root.is_on_stack());
                    let frame = roots.frame_of(root.address()).unwrap();
                    observer.owners.push(frame.function);
                    let word = root.get().map_or(0, |r| r.as_raw_u32());
                    observer.words.push(word);
                    root.set(VMGcRef::from_raw_u32(word + observer.moved_by).unwrap());
                }
            }
            Err(error) => assert_eq!(observer.error.as_ref(), Some(&error.why)),
        }
        Ok(())
    }
}

fn declared(b: &mut FunctionBuilder<'_>, value: Value) -> Value {
    b.declare_value_needs_stack_map(value);
    value
}

/// `f0(r)` keeps `r` and `r + 2` during a call of `f1(r + 4)` and returns the sum of the two and of
/// the result. `f1(r)` keeps `r` during a host call and returns it.
fn functions(compiler: &Compiler) -> (Signature, Vec<gc_compiler::CompiledFunction>) {
    let signature = signature(&[types::I64], &[types::I64]);
    let outer = compile(compiler, signature.clone(), |b, params| {
        let callee = import_function(b.func, 1, signature.clone());
        let a = declared(b, params[1]);
        let c = b.ins().iadd_imm_s(a, 2);
        let c = declared(b, c);
        let argument = b.ins().iadd_imm_s(a, 4);
        let argument = declared(b, argument);
        let call = b.ins().call(callee, &[params[0], argument]);
        let result = b.inst_results(call)[0];
        let result = declared(b, result);
        let sum = b.ins().iadd(a, c);
        let sum = b.ins().iadd(sum, result);
        b.ins().return_(&[sum]);
    });
    let inner = compile(compiler, signature.clone(), |b, params| {
        let observe = import_host_call(b.func, OBSERVE, &CALLS[0].1);
        let r = declared(b, params[1]);
        b.ins().call(observe, &[params[0], r]);
        b.ins().return_(&[r]);
    });
    (signature, vec![outer, inner])
}

fn observed(observer: Observer) -> Fixture<Observer> {
    let mut fixture = fixture_of(observer, &TestStore::<Observer>::host_calls(), CALLS);
    fixture.store.data.vmctx = fixture.vmctx().expose_provenance();
    fixture
}

#[test]
fn roots_are_found_through_nested_activations_and_updated() {
    nested_roots(false);
}

/// The host may pass its store to another thread. Then the walk finds the frames of both stacks,
/// whichever has the higher address.
#[test]
fn roots_are_found_on_the_stacks_of_two_threads_and_updated() {
    nested_roots(true);
    // Now the other stack has the higher address.
    std::thread::spawn(|| nested_roots(true)).join().unwrap();
}

fn nested_roots(on_a_thread: bool) {
    let compiler = compiler();
    let (signature, functions) = functions(&compiler);
    let code = publish(functions, CALLS);
    let trampoline = entry_trampoline(&signature);
    let mut observer = Observer::new();
    observer.nested =
        Some((trampoline, code.function_address(0).unwrap().expose_provenance(), 1000));
    observer.moved_by = 100_000;
    observer.on_a_thread = on_a_thread;
    let mut fixture = observed(observer);
    let vmctx = fixture.vmctx();
    let result = fixture.call(&code, 0, &signature, &[ValRaw::u64(200)]).unwrap();

    let observer = &fixture.store.data;
    let names: Vec<_> = observer.frames.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["f1", "f0", "f1", "f0"]);
    assert!(observer.frames.iter().all(|(_, found)| *found == Some(vmctx.addr())));
    assert_eq!(observer.caller, Some(VMCTX));
    let mut words = observer.words.clone();
    words.sort_unstable();
    assert_eq!(words, [200, 202, 204, 1000, 1002, 1004]);
    // Every reference was moved while it was on the stack and is used afterwards.
    assert_eq!(result[0].get_u64(), 200 + 202 + 204 + 3 * 100_000);
    assert_eq!(observer.owners, ["f1", "f0", "f0", "f1", "f0", "f0"]);
    assert_eq!(observer.error, None);
}

#[test]
fn a_store_that_runs_nothing_has_no_frames() {
    let mut fixture = fixture();
    assert_eq!(fixture.store.jit.stack_walk().count(), 0);
    assert_eq!(fixture.store.jit.caller(), None);
    let mut list = GcRootsList::default();
    fixture.store.jit.gc_and_stack().1.trace_stack(&mut list).unwrap();
    assert_eq!(list.stack_len(), 0);
}

/// A copy of the code that is not in the registry.
struct Unregistered(region::Allocation);

impl Unregistered {
    fn copy_of(code: &CodeMemory) -> Unregistered {
        let image = code.image();
        let mut copy = region::alloc(image.code().len(), region::Protection::READ_WRITE).unwrap();
        // SAFETY: the mapping is new and has that size. It is made executable before it runs.
        unsafe {
            copy.as_mut_ptr::<u8>().copy_from(image.code().as_ptr(), image.code().len());
            region::protect(copy.as_ptr::<u8>(), copy.len(), region::Protection::READ_EXECUTE)
                .unwrap();
        }
        Unregistered(copy)
    }
}

#[test]
fn a_frame_of_unknown_code_means_that_roots_are_missing() {
    let compiler = compiler();
    let (signature, functions) = functions(&compiler);
    let known = publish(functions, CALLS);
    // The image is position-independent and runs at any address.
    let copy = Unregistered::copy_of(&known);
    let mut fixture = observed(Observer::new());
    let trampoline = entry_trampoline(&signature);
    let address: *const u8 =
        copy.0.as_ptr::<u8>().wrapping_add(known.image().function_offset(0).unwrap() as usize);
    let vmctx = fixture.vmctx();
    let mut values = [ValRaw::u64(64)];
    // SAFETY: the copy is the same code.
    unsafe {
        gc_jit::call(&mut fixture.store, &trampoline, address, vmctx, &mut values).unwrap();
    }
    let observer = fixture.store.data;
    assert!(observer.frames.is_empty() && observer.words.is_empty());
    assert!(observer.error.unwrap().contains("not in published code"));
    assert_eq!(values[0].get_u64(), 64 + 66 + 68);

    // The same, with the copy one activation further out: the walk finds the inner frames, but not
    // all.
    let mut observer = Observer::new();
    observer.nested =
        Some((trampoline.clone(), known.function_address(0).unwrap().expose_provenance(), 500));
    observer.outer = None;
    let mut fixture = observed(observer);
    let vmctx = fixture.vmctx();
    // SAFETY: as above.
    unsafe {
        gc_jit::call(&mut fixture.store, &trampoline, address, vmctx, &mut values).unwrap();
    }
    let observer = &fixture.store.data;
    let names: Vec<_> = observer.frames.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["f1", "f0"]);
    assert!(observer.error.is_some() && observer.words.is_empty());
}

gc_jit::host_calls! {
    /// The call of a store with a vector.
    trait DeepCalls;
    /// Its signature.
    const DEEP_CALLS from HostCall::FIRST_EMBEDDER, named "";

    /// Adds the words of all roots to the vector.
    DEEP: [collects] fn deep() -> Result<()>;
}

impl DeepCalls for TestStore<Vec<u32>> {
    fn deep(&mut self, _caller: usize) -> Result<()> {
        let mut list = GcRootsList::default();
        self.jit.gc_and_stack().1.trace_stack(&mut list)?;
        self.data.extend(list.stack().map(|root| root.get().unwrap().as_raw_u32()));
        Ok(())
    }
}

#[test]
fn ten_thousand_frames_with_a_root_each() {
    let compiler = compiler();
    let signature = signature(&[types::I64], &[types::I64]);
    // f0(n): n == 0 ? deep() : keep n over f0(n - 2), return the sum
    let function = compile(&compiler, signature.clone(), |b, params| {
        let callee = import_function(b.func, 0, signature.clone());
        let deep = import_host_call(b.func, DEEP, &DEEP_CALLS[0].1);
        let (deeper, bottom) = (b.create_block(), b.create_block());
        b.ins().brif(params[1], deeper, &[], bottom, &[]);
        b.switch_to_block(deeper);
        let n = declared(b, params[1]);
        let less = b.ins().iadd_imm_s(n, -2);
        let call = b.ins().call(callee, &[params[0], less]);
        let result = b.inst_results(call)[0];
        let sum = b.ins().iadd(result, n);
        b.ins().return_(&[sum]);
        b.switch_to_block(bottom);
        b.ins().call(deep, &[params[0]]);
        let zero = b.ins().iconst(types::I64, 0);
        b.ins().return_(&[zero]);
    });
    let code = publish(vec![function], DEEP_CALLS);
    let run = move || {
        let gc = gc_runtime::GcStore::new(
            &gc_runtime::collector::NullCollector,
            &gc_runtime::HeapOptions::default(),
        )
        .unwrap();
        let words: Vec<u32> = Vec::new();
        let mut fixture = Fixture::new(
            gc,
            abi(DEEP_CALLS),
            words,
            &TestStore::<Vec<u32>>::host_calls(),
            16 << 20,
        );
        let args = [ValRaw::u64(20_000)];
        let result = fixture.call(&code, 0, &signature, &args).unwrap();
        assert_eq!(result[0].get_u64(), (1..=10_000u64).map(|n| 2 * n).sum::<u64>());
        assert_eq!(fixture.store.data, (1..=10_000).map(|n| 2 * n).collect::<Vec<u32>>());
    };
    std::thread::Builder::new().stack_size(32 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn two_stores_on_one_thread_do_not_see_each_others_frames() {
    // `f0` of store A calls the host, which runs store B's code. B's walk finds only B's frames.
    gc_jit::host_calls! {
        /// The call of a store that has another one.
        trait SwitchCalls;
        /// Its signature.
        const SWITCH_CALLS from HostCall::FIRST_EMBEDDER, named "";

        /// Runs the other store's code.
        SWITCH: [collects] fn switch() -> Result<()>;
    }
    struct Other {
        fixture: Fixture<Observer>,
        trampoline: EntryTrampoline,
        code: *const u8,
        trap: Option<gc_types::Trap>,
    }
    impl SwitchCalls for TestStore<Other> {
        fn switch(&mut self, _caller: usize) -> Result<()> {
            assert_eq!(self.jit.stack_walk().count(), 1);
            let Other { fixture, trampoline, code, trap } = &mut self.data;
            let mut call = || {
                let vmctx = fixture.vmctx();
                let mut values = [ValRaw::u64(64)];
                // SAFETY: the code has the trampoline's signature and this vmctx.
                unsafe { gc_jit::call(&mut fixture.store, trampoline, *code, vmctx, &mut values) }
            };
            call()?;
            // A fault in the other store. Then execution continues here.
            fixture.vmctx.words[0] = 1;
            let vmctx = fixture.vmctx();
            let mut values = [ValRaw::u64(64)];
            // SAFETY: as above.
            let result =
                unsafe { gc_jit::call(&mut fixture.store, trampoline, *code, vmctx, &mut values) };
            *trap = result.unwrap_err().trap();
            Ok(())
        }
    }
    let compiler = compiler();
    let sig = signature(&[types::I64], &[types::I64]);
    let outer = compile(&compiler, sig.clone(), |b, params| {
        let switch = import_host_call(b.func, SWITCH, &SWITCH_CALLS[0].1);
        b.ins().call(switch, &[params[0]]);
        b.ins().return_(&[params[1]]);
    });
    let (_, mut functions) = functions(&compiler);
    let fault = compile(&compiler, sig.clone(), |b, params| {
        let callee = import_function(b.func, 1, sig.clone());
        let offset = std::mem::offset_of!(Vmctx, words) as i32;
        let flag = b.ins().load(types::I64, MemFlagsData::trusted(), params[0], offset);
        b.ins().trapnz(
            flag,
            cranelift_codegen::ir::TrapCode::unwrap_user(
                gc_types::Trap::UnreachableCodeReached.code(),
            ),
        );
        let call = b.ins().call(callee, params);
        let result = b.inst_results(call)[0];
        b.ins().return_(&[result]);
    });
    functions[0] = fault;
    let code_a = publish(vec![outer], SWITCH_CALLS);
    let code_b = publish(functions, CALLS);

    let other = Other {
        fixture: observed(Observer::new()),
        trampoline: entry_trampoline(&sig),
        code: code_b.function_address(0).unwrap(),
        trap: None,
    };
    let mut a = fixture_of(other, &TestStore::<Other>::host_calls(), SWITCH_CALLS);
    let result = a.call(&code_a, 0, &sig, &[ValRaw::u64(7)]).unwrap();
    assert_eq!(result[0].get_u64(), 7);
    assert_eq!(a.store.data.trap, Some(gc_types::Trap::UnreachableCodeReached));
    let observer = &a.store.data.fixture.store.data;
    let names: Vec<_> = observer.frames.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["f1", "f0"]);
}

/// Like [`observe`], but called like a compiled function.
extern "C" fn observe_by_reference(context: *mut u8, _values: *mut ValRaw) -> u64 {
    // SAFETY: called by an exit trampoline, for a store with an `Observer`.
    unsafe {
        host_call_guard(context, |store: &mut TestStore<Observer>| {
            let TestStore { jit, data: observer } = store;
            observer.caller = jit.caller();
            for frame in jit.stack_walk() {
                let frame = frame?;
                observer.words.extend(frame.roots().iter().map(|(_, word)| *word as u32));
                observer.frames.push(name_and_vmctx(&frame));
            }
            Ok(0)
        })
    }
}

#[test]
fn tail_calls_and_exits_by_reference_keep_the_chain() {
    let compiler = compiler();
    let sig = signature(&[types::I64, types::I64, types::I64], &[types::I64]);
    // Thirteen parameters: some of them on the stack.
    let wide = signature(&[types::I64; 12], &[types::I64]);
    let host = signature(&[], &[]);
    let exit = exit_trampoline(&host);

    // f0(code, context, r): keeps r over f1(code, context, r + 2)
    let keeper = compile(&compiler, sig.clone(), |b, params| {
        let callee = import_function(b.func, 1, sig.clone());
        let r = declared(b, params[3]);
        let other = b.ins().iadd_imm_s(r, 2);
        let other = declared(b, other);
        let call = b.ins().call(callee, &[params[0], params[1], params[2], other]);
        let result = b.inst_results(call)[0];
        let sum = b.ins().iadd(result, r);
        b.ins().return_(&[sum]);
    });
    // f1: tail-calls f2 with more parameters than it has itself
    let jumper = compile(&compiler, sig.clone(), |b, params| {
        let callee = import_function(b.func, 2, wide.clone());
        let mut args = params.to_vec();
        args.resize(13, params[3]);
        b.ins().return_call(callee, &args);
    });
    // f2: keeps its last parameter over the call of the host function
    let wide_function = compile(&compiler, wide.clone(), |b, params| {
        let last = declared(b, params[12]);
        let host = b.import_signature(host.clone());
        b.ins().call_indirect(host, params[1], &[params[2]]);
        b.ins().return_(&[last]);
    });
    let code = publish(vec![keeper, jumper, wide_function], &[]);
    let mut fixture = observed(Observer::new());
    let mut context = host_context(&fixture.store, observe_by_reference);
    let args = [
        ValRaw::funcref(exit.0.cast_mut().cast()),
        ValRaw::funcref((&raw mut *context).cast()),
        ValRaw::u64(1000),
    ];
    let result = fixture.call(&code, 0, &sig, &args).unwrap();
    assert_eq!(result[0].get_u64(), 2002);
    let observer = &fixture.store.data;
    let names: Vec<_> = observer.frames.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["f2", "f0"], "the frame of f1 is gone");
    assert_eq!(observer.words, [1002, 1000]);
    assert_eq!(observer.caller, Some(VMCTX));

    // If the host itself calls it, there is no compiled caller.
    let mut fixture = observed(Observer::new());
    let mut context = host_context(&fixture.store, observe_by_reference);
    let trampoline = entry_trampoline(&host);
    // SAFETY: the exit trampoline was made for this signature.
    unsafe {
        let context = (&raw mut *context).cast();
        gc_jit::call(&mut fixture.store, &trampoline, exit.0, context, &mut []).unwrap();
    }
    let observer = fixture.store.data;
    assert_eq!((observer.frames.len(), observer.caller), (0, None));
}
