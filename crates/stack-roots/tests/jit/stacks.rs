//! Several activations, threads and stacks.

use crate::machine::*;
use cranelift_codegen::ir::InstBuilder;
use stack_roots::walk::Activation;
use std::sync::mpsc;

/// A function that keeps a pair in its frame, calls `callee`, and returns the number in the pair.
fn keeper(
    machine: &mut Machine,
    name: &str,
    callee: cranelift_module::FuncId,
) -> cranelift_module::FuncId {
    let pair = machine.pair;
    let id = machine.declare(name, 1, 1);
    machine.define(
        id,
        |code| {
            let number = code.param(0);
            let nil = code.constant(0);
            let kept = code.call_ref(pair, &[number, nil]);
            code.call(callee, &[]);
            let number = code.load(cranelift_codegen::ir::types::I64, kept, 0);
            code.builder.ins().return_(&[number]);
        },
        |_| {},
    );
    id
}

thread_local! {
    static INNER: std::cell::Cell<*const u8> = const { std::cell::Cell::new(std::ptr::null()) };
}

extern "C" fn reenter() {
    let code = INNER.get();
    // SAFETY: it is a compiled function with one parameter.
    let inner = unsafe { enter(code, 33) };
    assert_eq!(inner, 33);
    // The exit is still that of the outer code.
    collect();
}

stack_roots::exit! {
    extern "C" fn rt_reenter() = reenter;
}

#[test]
fn frames_of_the_runtime_are_between_two_activations() {
    let mut machine = Machine::new(&[("reenter", rt_reenter as *const u8)]);
    let collect = machine.collect;
    let reenter = machine.import("reenter", 0, 0);
    let inner = keeper(&mut machine, "inner", collect);
    let outer = keeper(&mut machine, "outer", reenter);
    let outer = machine.finish(outer);
    INNER.set(machine.module.get_finalized_function(inner));
    assert_eq!(Activation::current(), Activation::NONE);
    // SAFETY: it is a compiled function with one parameter.
    assert_eq!(unsafe { enter(outer, 11) }, 11);
    assert_eq!(Activation::current(), Activation::NONE);
    RUNTIME.with_borrow(|runtime| {
        assert_eq!(runtime.heap.errors, []);
        // A pair in `outer`, one in `inner`, the collection in `inner` and the one after it.
        assert_eq!(runtime.heap.frames, [1, 2, 2, 1]);
    });
}

thread_local! {
    static PARK: std::cell::RefCell<Option<(mpsc::Sender<Activation>, mpsc::Receiver<()>)>> =
        const { std::cell::RefCell::new(None) };
}

extern "C" fn park() {
    PARK.with_borrow(|park| {
        let (parked, resume) = park.as_ref().unwrap();
        parked.send(Activation::current()).unwrap();
        resume.recv().unwrap();
    });
}

stack_roots::exit! {
    extern "C" fn rt_park() = park;
}

#[test]
fn a_thread_walks_the_stack_of_one_that_waits() {
    let mut machine = Machine::new(&[("park", rt_park as *const u8)]);
    let park = machine.import("park", 0, 0);
    let code = keeper(&mut machine, "keeper", park);
    let code = machine.finish(code).expose_provenance();
    let (parked, is_parked) = mpsc::channel();
    let (resume, is_resumed) = mpsc::channel();
    let mut tables = stack_roots::walk::Tables::new();
    let address = |id| machine.module.get_finalized_function(id);
    machine.maps.register(&mut tables, address).unwrap();
    let thread = std::thread::spawn(move || {
        // The first pair needs a walk of this thread's own tables.
        RUNTIME.with_borrow_mut(|runtime| runtime.tables = tables);
        PARK.set(Some((parked, is_resumed)));
        // SAFETY: it is a compiled function with one parameter.
        unsafe { enter(std::ptr::with_exposed_provenance(code), 5) }
    });
    let activation = is_parked.recv().unwrap();
    let mut moved = Box::new([9_u64, 0]);
    let new = (&raw mut *moved).expose_provenance() as u64;
    RUNTIME.with_borrow(|runtime| {
        // SAFETY: the thread waits until it is resumed.
        let mut frames = unsafe { runtime.tables.walk(activation) }.unwrap();
        let mut seen = 0;
        frames.visit(|_| {
            seen += 1;
            new
        });
        assert_eq!((frames.len(), seen), (1, 1));
        let frame = frames.iter().next().unwrap();
        assert!(frame.return_address() > code && frame.frame_pointer() != 0);
        assert_eq!((frame.roots().count(), frame.derived().count()), (1, 0));
    });
    resume.send(()).unwrap();
    // It reads the pair that was put into its frame.
    assert_eq!(thread.join().unwrap(), 9);
}

#[test]
fn coroutines_keep_their_activation() {
    use corosensei::{Coroutine, CoroutineResult};

    thread_local! {
        static YIELDER: std::cell::Cell<*const corosensei::Yielder<(), ()>> =
            const { std::cell::Cell::new(std::ptr::null()) };
    }

    extern "C" fn suspend() {
        let yielder = YIELDER.get();
        let own = Activation::current();
        // SAFETY: the coroutine is suspended here, and its stack is used again below.
        unsafe { (*yielder).suspend(()) };
        assert_eq!(Activation::current(), own);
    }

    stack_roots::exit! {
        extern "C" fn rt_suspend() = suspend;
    }

    let mut machine = Machine::new(&[("suspend", rt_suspend as *const u8)]);
    let collect = machine.collect;
    let suspend = machine.import("suspend", 0, 0);
    let [inside, outside] =
        [keeper(&mut machine, "inside", suspend), keeper(&mut machine, "outside", collect)];
    let outside = machine.finish(outside);
    let inside = machine.module.get_finalized_function(inside);
    let mut coroutine = Coroutine::new(move |yielder, ()| {
        YIELDER.set(yielder);
        // SAFETY: it is a compiled function with one parameter.
        unsafe { enter(inside, 21) }
    });
    // SAFETY: the coroutine begins on a stack without frames.
    let before = unsafe { Activation::NONE.replace() };
    let CoroutineResult::Yield(()) = coroutine.resume(()) else { panic!("it is suspended") };
    // SAFETY: the thread is on its own stack again.
    let suspended = unsafe { before.replace() };
    RUNTIME.with_borrow(|runtime| {
        // SAFETY: the coroutine is suspended.
        assert_eq!(unsafe { runtime.tables.walk(suspended) }.unwrap().len(), 1);
    });
    // Only the roots of this stack move, so the coroutine's pair must not be collected: it is passed as a root.
    RUNTIME.with_borrow_mut(|Runtime { heap, tables }| {
        // SAFETY: the coroutine is suspended.
        let mut frames = unsafe { tables.walk(suspended) }.unwrap();
        heap.collect(|forward| frames.visit(&mut *forward));
    });
    // SAFETY: the thread is on the coroutine's stack again.
    let before = unsafe { suspended.replace() };
    let CoroutineResult::Return(number) = coroutine.resume(()) else { panic!("it returns") };
    assert_eq!(number, 21);
    // SAFETY: the thread is on its own stack again.
    assert_eq!(unsafe { before.replace() }, Activation::NONE);
    // SAFETY: it is a compiled function with one parameter.
    assert_eq!(unsafe { enter(outside, 3) }, 3);
    RUNTIME.with_borrow(|runtime| assert_eq!(runtime.heap.errors, []));
}
