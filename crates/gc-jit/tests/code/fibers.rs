//! Tests of fibers: calls that are suspended in the middle, resumed on other threads, nested, dropped
//! and forgotten.

use crate::common::*;
use anyhow::Result;
use cranelift_codegen::ir::{InstBuilder, Signature, TrapCode, types};
use gc_compiler::{import_function, import_host_call};
use gc_jit::{CallError, Cancelled, CodeMemory, EntryTrampoline, Fiber, FiberStack, FiberStacks};
use gc_runtime::{GcRootsList, TraceRoots};
use gc_types::host_calls::Ref;
use gc_types::{HostCall, Trap, VMGcRef, ValRaw};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

gc_jit::host_calls! {
    /// The call of a store with actions.
    trait Calls;
    /// Its signature.
    const CALLS from HostCall::FIRST_EMBEDDER, named "";

    /// Does the next action.
    ACT: [collects] fn act(argument: Ref) -> Result<()>;
}

type Store = TestStore<Data>;
type Action = Box<dyn FnOnce(&mut Store) -> Result<()> + Send>;

/// The actions of a store's host calls, and what they need.
struct Data {
    actions: VecDeque<Action>,
    stacks: Arc<FiberStacks>,
    code: Arc<CodeMemory>,
    trampoline: EntryTrampoline,
    vmctx: usize,
}

impl Calls for Store {
    fn act(&mut self, _caller: usize, _argument: Ref) -> Result<()> {
        match self.data.actions.pop_front() {
            Some(action) => action(self),
            None => Ok(()),
        }
    }
}

/// `f0(r)` acts and returns `r`. `f1(r)` acts and traps. `f2(r)` calls itself for ever.
fn fixture(actions: Vec<Action>) -> Fixture<Data> {
    let compiler = compiler_for(&abi(CALLS));
    let signature = signature();
    let act = |traps: bool| {
        compile(&compiler, signature.clone(), |b, params| {
            let act = import_host_call(b.func, ACT, &CALLS[0].1);
            b.declare_value_needs_stack_map(params[1]);
            b.ins().call(act, &[params[0], params[1]]);
            match traps {
                true => b.ins().trap(TrapCode::unwrap_user(Trap::UnreachableCodeReached.code())),
                false => b.ins().return_(&[params[1]]),
            };
        })
    };
    let endless = compile(&compiler, signature.clone(), |b, params| {
        let callee = import_function(b.func, 2, signature.clone());
        let call = b.ins().call(callee, &[params[0], params[1]]);
        let result = b.inst_results(call)[0];
        b.ins().return_(&[result]);
    });
    let code = publish(vec![act(false), act(true), endless], CALLS);
    let trampoline = entry_trampoline(&signature);
    let data = Data {
        actions: actions.into(),
        stacks: Arc::new(FiberStacks::new(1 << 20, None)),
        code,
        trampoline,
        vmctx: 0,
    };
    let mut fixture = fixture_of(data, &Store::host_calls(), CALLS);
    fixture.store.data.vmctx = fixture.vmctx().expose_provenance();
    fixture
}

fn signature() -> Signature {
    crate::common::signature(&[types::I64], &[types::I64])
}

/// Calls function `index` with the reference `word`.
fn call(store: &mut Store, index: u32, word: u64) -> Result<u64, CallError> {
    let Data { code, trampoline, vmctx, .. } = &store.data;
    let (code, trampoline, vmctx) = (code.clone(), trampoline.clone(), *vmctx);
    let mut values = [ValRaw::u64(word)];
    let vmctx = std::ptr::with_exposed_provenance_mut(vmctx);
    let function = code.function_address(index).unwrap();
    // SAFETY: the code has the trampoline's signature and the fixture's vmctx.
    unsafe { gc_jit::call(store, &trampoline, function, vmctx, &mut values)? };
    Ok(values[0].get_u64())
}

/// The same on a fiber.
fn fiber(store: &mut Store, index: u32, word: u64) -> Fiber<'_, Store, Result<u64, CallError>> {
    let stacks = store.data.stacks.clone();
    Fiber::new(store, &stacks, move |store| call(store, index, word)).unwrap()
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls the future until it is ready.
fn finish<F: Future + Unpin>(mut future: F) -> F::Output {
    loop {
        if let Poll::Ready(output) = poll(&mut future) {
            return output;
        }
    }
}

fn wait() -> Action {
    Box::new(|store| Ok(store.jit.blocking().expect("it runs on a fiber").yield_now()?))
}

/// Finds the roots on all stacks, adds 100,000 to each, and returns what they were.
fn move_roots(store: &mut Store) -> Vec<u32> {
    let mut list = GcRootsList::default();
    let (_, mut roots) = store.jit.gc_and_stack();
    roots.trace_stack(&mut list).unwrap();
    let mut words = Vec::new();
    for mut root in list.stack() {
        let word = root.get().map_or(0, |r| r.as_raw_u32());
        words.push(word);
        root.set(VMGcRef::from_raw_u32(word + 100_000).unwrap());
    }
    words
}

#[test]
fn a_call_is_suspended_and_resumed() {
    let mut fixture = fixture(vec![wait(), wait()]);
    let mut call = fiber(&mut fixture.store, 0, 200);
    assert!(poll(&mut call).is_pending());
    let Poll::Ready(result) = poll(&mut call) else { panic!("it waits once") };
    assert_eq!(result.unwrap(), 200);
    drop(call);
    assert_eq!(finish(fiber(&mut fixture.store, 0, 300)).unwrap(), 300);
    assert_eq!(fixture.store.data.stacks.in_use(), 0);
    // And without a fiber.
    assert_eq!(call_now(&mut fixture.store, 0), 400);
}

fn call_now(store: &mut Store, index: u32) -> u64 {
    call(store, index, 400).unwrap()
}

/// The outermost call is on the thread's stack, and each of the others on a fiber. The innermost is
/// suspended, its fiber too, and then all roots are moved.
#[test]
fn roots_are_found_on_all_stacks_and_updated() {
    let outer: Action = Box::new(|store| {
        let result = finish(fiber(store, 0, 300))?;
        assert_eq!(result, 100_300);
        Ok(())
    });
    let middle: Action = Box::new(|store| {
        let blocking = store.jit.blocking().unwrap();
        let inner = fiber(store, 0, 400);
        // It is not sent to another thread.
        struct Here<F>(F);
        // SAFETY: see above.
        unsafe impl<F> Send for Here<F> {}
        let mut inner = Here(inner);
        let result = blocking.block_on(std::future::poll_fn(move |context| {
            let inner = &mut inner;
            pin!(&mut inner.0).poll(context)
        }))??;
        assert_eq!(result, 100_400);
        Ok(())
    });
    let inner: Action = Box::new(|store| {
        store.jit.blocking().unwrap().yield_now()?;
        let frames: Vec<_> =
            store.jit.stack_walk().map(|f| f.unwrap().info().unwrap().name).collect();
        assert_eq!(frames, ["f0", "f0", "f0"]);
        assert_eq!(move_roots(store), [400, 300, 200]);
        Ok(())
    });
    let mut fixture = fixture(vec![outer, middle, inner]);
    assert_eq!(call(&mut fixture.store, 0, 200).unwrap(), 100_200);
    assert!(fixture.store.data.actions.is_empty());
    assert_eq!(fixture.store.data.stacks.in_use(), 0);
}

#[test]
fn a_fiber_goes_on_and_traps_on_another_thread() {
    let mut fixture = fixture(vec![wait(), wait()]);
    struct Sent<'a>(Fiber<'a, Store, Result<u64, CallError>>);
    // SAFETY: what is on its stack is this test's.
    unsafe impl Send for Sent<'_> {}
    for (index, expected) in [(1, Some(Trap::UnreachableCodeReached)), (0, None)] {
        let mut call = Sent(fiber(&mut fixture.store, index, 200));
        assert!(poll(&mut call.0).is_pending());
        let result = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let mut call = call;
                let Poll::Ready(result) = poll(&mut call.0) else { panic!("it waits once") };
                result
            });
            thread.join().unwrap()
        });
        assert_eq!(result.err().and_then(|error| error.trap()), expected);
    }
    let trap = call(&mut fixture.store, 1, 200).unwrap_err();
    assert_eq!(trap.trap(), Some(Trap::UnreachableCodeReached));
}

#[test]
fn each_fiber_has_its_own_stack_limit() {
    let overflow = |store: &mut Store| {
        let error = finish(fiber(store, 2, 200)).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::StackOverflow));
    };
    let nested: Action = Box::new(move |store| {
        overflow(store);
        // A call on the same stack.
        assert_eq!(call(store, 2, 200).unwrap_err().trap(), Some(Trap::StackOverflow));
        // Another store does not know of the fiber.
        let mut other = self::fixture(vec![]);
        assert_eq!(call(&mut other.store, 0, 200).unwrap(), 200);
        let error = call(&mut other.store, 2, 200).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::StackOverflow));
        Ok(())
    });
    let mut fixture = fixture(vec![nested]);
    overflow(&mut fixture.store);
    assert_eq!(finish(fiber(&mut fixture.store, 0, 200)).unwrap(), 200);
    assert!(fixture.store.data.actions.is_empty());
}

/// Counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_fiber_that_is_dropped_drops_what_is_on_its_stack() {
    let drops = Arc::new(AtomicUsize::new(0));
    let counted = Counted(drops.clone());
    let waits: Action = Box::new(move |store| {
        let _counted = counted;
        let blocking = store.jit.blocking().unwrap();
        assert_eq!(blocking.yield_now(), Err(Cancelled));
        // It cannot wait again.
        assert_eq!(blocking.yield_now(), Err(Cancelled));
        assert_eq!(blocking.block_on(std::future::pending::<()>()), Err(Cancelled));
        let again = store.jit.blocking().unwrap();
        Ok(again.yield_now()?)
    });
    let unused = Counted(drops.clone());
    let mut fixture = fixture(vec![waits]);
    let stacks = fixture.store.data.stacks.clone();
    // Not started.
    drop(Fiber::new(&mut fixture.store, &stacks, move |_| drop(unused)).unwrap());
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    // In the middle.
    let ended = AtomicUsize::new(0);
    let mut call = Fiber::new(&mut fixture.store, &stacks, |store| {
        let error = call(store, 0, 200).unwrap_err();
        let CallError::Host(error) = error else { panic!("{error}") };
        assert!(error.is::<Cancelled>());
        ended.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    assert!(poll(&mut call).is_pending());
    drop(call);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    assert_eq!(ended.load(Ordering::Relaxed), 1);
    assert_eq!(stacks.in_use(), 0);
    assert_eq!(call_now(&mut fixture.store, 0), 400);
}

#[test]
fn a_forgotten_fiber_is_never_resumed() {
    let mut fixture = fixture(vec![wait()]);
    let mut call = fiber(&mut fixture.store, 0, 200);
    assert!(poll(&mut call).is_pending());
    std::mem::forget(call);
    assert!(!fixture.store.jit.is_active());
    assert_eq!(fixture.store.jit.stack_walk().count(), 0);
    assert_eq!(move_roots(&mut fixture.store), []);
    assert_eq!(finish(fiber(&mut fixture.store, 0, 300)).unwrap(), 300);
    assert_eq!(fixture.store.data.stacks.in_use(), 1);
}

#[test]
fn only_the_outermost_call_of_a_fiber_may_wait() {
    fn cannot_wait() -> Action {
        Box::new(|store| {
            assert!(store.jit.blocking().is_none());
            Ok(())
        })
    }
    let nested: Action = Box::new(|store| {
        let blocking = store.jit.blocking().unwrap();
        store.data.actions.push_front(cannot_wait());
        call_now(store, 0);
        // On another thread.
        store.data.actions.push_front(cannot_wait());
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                assert!(store.jit.blocking().is_none());
                call_now(store, 0);
            });
            thread.join().unwrap();
        });
        // While it waits already.
        blocking.block_on(std::future::poll_fn(|_| {
            assert!(store.jit.blocking().is_none());
            Poll::Ready(())
        }))?;
        assert!(store.jit.blocking().is_some());
        // Of another fiber.
        let stacks = store.data.stacks.clone();
        let mut inner = Fiber::new(store, &stacks, move |_| {
            let used = catch_unwind(AssertUnwindSafe(|| blocking.yield_now()));
            assert!(used.is_err());
        })?;
        assert!(poll(&mut inner).is_ready());
        Ok(())
    });
    let mut fixture = fixture(vec![cannot_wait(), nested]);
    assert!(fixture.store.jit.blocking().is_none());
    call_now(&mut fixture.store, 0);
    finish(fiber(&mut fixture.store, 0, 200)).unwrap();
    assert!(fixture.store.jit.blocking().is_none());
    assert!(fixture.store.data.actions.is_empty());
}

#[test]
fn panics_reach_the_poll_and_the_drop() {
    let mut fixture = fixture(vec![]);
    let store = &mut fixture.store;
    let panics: Action = Box::new(|_| panic!("in a host function"));
    store.data.actions.push_back(panics);
    let mut call = fiber(store, 0, 200);
    let panic = catch_unwind(AssertUnwindSafe(|| poll(&mut call).is_ready())).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"in a host function"));
    drop(call);

    let panics: Action = Box::new(|store| {
        let cancelled = store.jit.blocking().unwrap().yield_now();
        panic!("{}", cancelled.unwrap_err())
    });
    store.data.actions.push_back(panics);
    let mut call = fiber(store, 0, 200);
    assert!(poll(&mut call).is_pending());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(call))).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "the future of this call was dropped");
    assert_eq!(store.data.stacks.in_use(), 0);
    assert_eq!(call_now(store, 0), 400);
}

#[test]
fn stacks_have_a_size() {
    let least = FiberStack::MIN_SIZE;
    assert!(FiberStacks::new(least, None).take().is_ok());
    let error = FiberStacks::new(least - 1, None).take().unwrap_err();
    assert_eq!(error.to_string(), "a stack of 131071 bytes: it must have at least 131072");
    let error = FiberStacks::new(usize::MAX, None).take().unwrap_err();
    assert_eq!(error.to_string(), "a stack of more bytes than there are addresses");
    assert!(FiberStacks::new(1 << 60, None).take().is_err());
}
