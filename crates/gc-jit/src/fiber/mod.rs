//! Fibers: calls of a store on a native stack of their own, which can be suspended in the middle and
//! resumed later, also on another thread. They are how a call is a future.
//!
//! The host polls a [`Fiber`], which switches to the fiber's stack. A host function on that stack
//! that has to wait for another future uses [`Blocking`], which switches back, and the fiber's `poll`
//! returns `Pending`. The collector walks the frames of a fiber that runs, and of all stacks below it
//! that resumed it: each is a stack of the store that is suspended (see `stack`).
//!
//! A fiber that is dropped in the middle is resumed once more with an error ([`Cancelled`]). The host
//! function that waits fails with it, so the compiled frames are left as after any error, and all
//! values on the stack are dropped. (Unwinding cannot do that: compiled frames have no landing pads.)
//!
//! The switch itself is that of the crate `corosensei`.
#![allow(unsafe_code)]

mod stack;

pub use stack::{FiberStack, FiberStacks};

use crate::stack::{CallingThread, ThreadWords};
use crate::vmcontext::StackWords;
use crate::{JitState, JitStore, VMStoreContext};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::ptr::{NonNull, from_ref, null_mut};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;

/// The context of the poll that resumes a fiber. `None` cancels it.
type Resumed = Option<NonNull<Context<'static>>>;

/// The error with which a host function must fail whose fiber was dropped while it waited.
///
/// # Examples
/// ```
/// let error = anyhow::Error::from(gc_jit::Cancelled);
/// assert_eq!(error.to_string(), "the future of this call was dropped");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled;

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the future of this call was dropped")
    }
}

impl std::error::Error for Cancelled {}

/// The data of a fiber that has begun and not ended. It is in the fiber's first frame.
#[derive(Debug)]
pub(crate) struct RunningFiber {
    yielder: *const Yielder<Resumed, ()>,
    /// The context of the poll that runs. `None` while the fiber uses it and after it was cancelled.
    poll: Cell<Resumed>,
    is_cancelled: Cell<bool>,
    /// Whether collections suspend it between their increments.
    yields_in_collections: Cell<bool>,
    /// The number of the native stack.
    native: usize,
}

/// A future that runs a function with a store on a stack of its own. The function and the host
/// functions that it calls can wait for other futures ([`JitState::blocking`]).
///
/// The function runs in the calls of `poll`. If it panics, `poll` does. If the fiber is dropped
/// before it is ready, what waits on its stack fails with [`Cancelled`], and the function runs to its
/// end within the drop.
///
/// It is not [`Send`], because nobody knows what is on its stack. Who knows that everything there can
/// be sent to another thread may wrap it in a type that is.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// use gc_jit::{Fiber, FiberStacks, JitStore};
/// use std::pin::Pin;
/// use std::sync::Arc;
/// use std::task::{Context, Poll, Waker};
///
/// # fn main() -> anyhow::Result<()> {
/// # let mut store = new_store()?;
/// let stacks = Arc::new(FiberStacks::new(1 << 20, None));
/// let mut fiber = Fiber::new(&mut store, &stacks, |store| {
///     let blocking = store.jit().blocking().expect("this runs on a fiber");
///     blocking.yield_now()?;
///     anyhow::Ok(42)
/// })?;
/// let mut context = Context::from_waker(Waker::noop());
/// assert!(Pin::new(&mut fiber).poll(&mut context).is_pending());
/// let Poll::Ready(result) = Pin::new(&mut fiber).poll(&mut context) else { unreachable!() };
/// assert_eq!(result?, 42);
/// # Ok(())
/// # }
/// ```
pub struct Fiber<'a, S, R> {
    /// `None` when it has ended.
    coroutine: Option<Coroutine<Resumed, (), thread::Result<R>, FiberStack>>,
    context: Arc<VMStoreContext>,
    /// The words of its stack while it is suspended.
    words: StackWords,
    /// The thread's words on its stack while it is suspended, and those of the stack that resumed it
    /// while it runs.
    thread: ThreadWords,
    stacks: Arc<FiberStacks>,
    _store: PhantomData<&'a mut S>,
}

impl<'a, S: JitStore, R: 'a> Fiber<'a, S, R> {
    /// Makes a fiber that will run `function` with `store`. Its stack is one of `stacks`.
    ///
    /// # Errors
    /// If there is no stack for it.
    pub fn new(
        store: &'a mut S,
        stacks: &Arc<FiberStacks>,
        function: impl FnOnce(&mut S) -> R + 'a,
    ) -> anyhow::Result<Fiber<'a, S, R>> {
        let stack = stacks.take()?;
        let lowest = stack.lowest_for_compiled_code();
        let context = store.jit().shared_context().clone();
        let (pointer, shared): (*mut S, _) = (store, context.clone());
        let body = move |yielder: &Yielder<Resumed, ()>, poll: Resumed| {
            let fiber = RunningFiber {
                yielder,
                poll: Cell::new(poll),
                is_cancelled: Cell::new(false),
                yields_in_collections: Cell::new(false),
                native: lowest,
            };
            shared.fiber.set(from_ref(&fiber).cast_mut());
            // SAFETY: the fiber has borrowed the store for longer than it exists.
            let store = unsafe { &mut *pointer };
            let result = catch_unwind(AssertUnwindSafe(|| function(store)));
            shared.fiber.set(null_mut());
            result
        };
        // SAFETY: the fiber's drop runs the function to its end or drops it, and the fiber does not
        // live longer than what the function borrows. If the fiber is forgotten, its stack is never
        // used again, and what was borrowed is not accessed any more.
        let coroutine = unsafe { Coroutine::with_stack_unchecked(stack, body) };
        Ok(Fiber {
            coroutine: Some(coroutine),
            context,
            words: StackWords::default(),
            thread: ThreadWords::new(lowest),
            stacks: stacks.clone(),
            _store: PhantomData,
        })
    }
}

impl<S, R> Fiber<'_, S, R> {
    /// Runs the function until it waits or ends.
    fn resume(&mut self, poll: Resumed) -> Option<thread::Result<R>> {
        let coroutine = self.coroutine.as_mut().expect("a fiber that has ended was resumed");
        let (words, thread) = (self.words, &mut self.thread);
        let (result, words) = self.context.with_stack(words, || {
            thread.swap();
            let result = coroutine.resume(poll);
            thread.swap();
            result
        });
        match result {
            CoroutineResult::Yield(()) => {
                self.words = words;
                None
            }
            CoroutineResult::Return(result) => {
                let coroutine = self.coroutine.take().expect("it was resumed");
                self.stacks.give_back(coroutine.into_stack());
                Some(result)
            }
        }
    }
}

impl<S, R> Unpin for Fiber<'_, S, R> {}

impl<S, R> Future for Fiber<'_, S, R> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        // The fiber uses it only during this poll.
        match self.resume(Some(NonNull::from(context).cast())) {
            Some(result) => Poll::Ready(result.unwrap_or_else(|panic| resume_unwind(panic))),
            None => Poll::Pending,
        }
    }
}

impl<S, R> Drop for Fiber<'_, S, R> {
    fn drop(&mut self) {
        let Some(coroutine) = &mut self.coroutine else { return };
        if !coroutine.started() {
            coroutine.force_unwind();
            let coroutine = self.coroutine.take().expect("it is there");
            self.stacks.give_back(coroutine.into_stack());
            return;
        }
        // After this it cannot be suspended again.
        let result = self.resume(None).expect("a cancelled fiber runs to its end");
        if let Err(panic) = result
            && !thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

impl<S, R> fmt::Debug for Fiber<'_, S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fiber").field("ended", &self.coroutine.is_none()).finish_non_exhaustive()
    }
}

impl<S: JitStore> JitState<S> {
    /// What lets the running code wait for futures. `None` if it may not wait: if it does not run on
    /// a [`Fiber`] of this store, if it runs in a call that a host function on the fiber made without
    /// a fiber, or if it is already waiting for a future.
    ///
    /// A host function that makes a call expects that the call returns in the same thread. So calls
    /// in host functions cannot wait, unless they have a fiber of their own.
    pub fn blocking(&self) -> Option<Blocking> {
        Blocking::of(self.shared_context())
    }
}

/// Runs `action`, which cannot wait for futures: [`JitState::blocking`] returns `None` in it. Use it
/// around code that expects to stay in its thread, and that a fiber calls other than by a host function
/// of compiled code.
///
/// # Examples
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/store.rs.in"));
/// use gc_jit::{Fiber, FiberStacks, JitStore, without_waiting};
/// # use std::pin::Pin;
/// # use std::sync::Arc;
/// # use std::task::{Context, Poll, Waker};
///
/// # fn main() -> anyhow::Result<()> {
/// # let mut store = new_store()?;
/// # let stacks = Arc::new(FiberStacks::new(1 << 20, None));
/// let mut fiber = Fiber::new(&mut store, &stacks, |store| {
///     let inside = without_waiting(store, |store| store.jit().blocking().is_some());
///     (inside, store.jit().blocking().is_some())
/// })?;
/// # let mut context = Context::from_waker(Waker::noop());
/// let polled = Pin::new(&mut fiber).poll(&mut context);
/// assert_eq!(polled, Poll::Ready((false, true)));
/// # Ok(())
/// # }
/// ```
pub fn without_waiting<S: JitStore, R>(store: &mut S, action: impl FnOnce(&mut S) -> R) -> R {
    /// Puts the fiber back, also if `action` panics.
    struct PutBack(Arc<VMStoreContext>, *mut RunningFiber);
    impl Drop for PutBack {
        fn drop(&mut self) {
            self.0.fiber.set(self.1);
        }
    }
    let context = store.jit().shared_context().clone();
    let fiber = context.fiber.replace(null_mut());
    let _put_back = PutBack(context, fiber);
    action(store)
}

/// The identity of a [`Fiber`] while its function runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FiberId(usize);

impl<S: JitStore> JitState<S> {
    /// The fiber on which this runs. `None` if it is none of this store, or one that
    /// [cannot wait](without_waiting).
    pub fn running_fiber(&self) -> Option<FiberId> {
        let fiber = self.shared_context().fiber.get();
        (!fiber.is_null()).then(|| FiberId(fiber.addr()))
    }

    /// Whether `fiber` runs, or called what runs. It does not if it is suspended, or was forgotten
    /// then.
    pub fn is_running(&self, fiber: FiberId) -> bool {
        let context = self.shared_context();
        if context.fiber.get().addr() == fiber.0 {
            return true;
        }
        let mut suspended = context.suspended.get().cast_const();
        // SAFETY: the words of a suspended stack are in a frame of the thread that runs this.
        while let Some(stack) = unsafe { suspended.as_ref() } {
            if stack.words.fiber.addr() == fiber.0 {
                return true;
            }
            suspended = stack.next;
        }
        false
    }
}

/// Whether a fiber runs that collections suspend between their increments.
pub(crate) fn yields_in_collections(context: &Arc<VMStoreContext>) -> bool {
    let yields = |fiber: &RunningFiber| fiber.yields_in_collections.get();
    Blocking::of(context).is_some_and(|blocking| blocking.fiber().is_some_and(yields))
}

/// Lets the code that runs on a [`Fiber`] wait for futures. [`JitState::blocking`] returns it.
#[derive(Debug)]
pub struct Blocking {
    context: Arc<VMStoreContext>,
    fiber: *const RunningFiber,
}

impl Blocking {
    /// See [`JitState::blocking`].
    pub(crate) fn of(context: &Arc<VMStoreContext>) -> Option<Blocking> {
        let fiber = context.fiber.get().cast_const();
        if fiber.is_null() {
            return None;
        }
        let blocking = Blocking { context: context.clone(), fiber };
        let fiber = blocking.fiber()?;
        // A cancelled fiber does not wait: it gets the error.
        let is_free = fiber.is_cancelled.get() || fiber.poll.get().is_some();
        is_free.then_some(blocking)
    }

    /// Lets collections suspend the fiber between their increments. If the fiber is dropped then, the
    /// collection goes on to its end. If it is forgotten, the heap cannot be used any more.
    ///
    /// # Panics
    /// If this does not run on the fiber for which it was made.
    pub fn yield_in_collections(&self) {
        self.running().yields_in_collections.set(true);
    }

    /// The fiber, if it is the running one and may be suspended.
    fn fiber(&self) -> Option<&RunningFiber> {
        let context = &self.context;
        if self.fiber.is_null() || context.fiber.get().cast_const() != self.fiber {
            return None;
        }
        // SAFETY: the context has the address of a fiber while that runs.
        let fiber = unsafe { &*self.fiber };
        // SAFETY: activations live in the frames of the calls that made them.
        let innermost = unsafe { context.stack.activation.get().as_ref() };
        let is_outermost = innermost.is_none_or(|activation| activation.previous.is_null());
        (is_outermost && CallingThread::new().native_stack() == fiber.native).then_some(fiber)
    }

    /// Waits for `future`. While it is pending, the fiber is suspended.
    ///
    /// # Errors
    /// If the fiber was dropped. The caller must then end soon: it cannot wait again.
    ///
    /// # Panics
    /// If this does not run on the fiber for which it was made, or in a call that may not wait
    /// ([`JitState::blocking`]).
    pub fn block_on<F: Future + Send>(&self, future: F) -> Result<F::Output, Cancelled> {
        let mut future = pin!(future);
        loop {
            let polled = self.poll(|context| future.as_mut().poll(context))?;
            match polled {
                Poll::Ready(output) => return Ok(output),
                Poll::Pending => self.suspend()?,
            }
        }
    }

    /// Suspends the fiber once and asks to be polled again.
    ///
    /// # Errors
    /// As [`block_on`](Blocking::block_on).
    ///
    /// # Panics
    /// As [`block_on`](Blocking::block_on).
    pub fn yield_now(&self) -> Result<(), Cancelled> {
        self.poll(|context| context.waker().wake_by_ref())?;
        self.suspend()
    }

    fn running(&self) -> &RunningFiber {
        self.fiber().expect("only the code that runs on a fiber can wait there")
    }

    /// Calls `poll` with the context of the poll that runs. Nested code cannot use the same context.
    fn poll<R>(&self, poll: impl FnOnce(&mut Context<'_>) -> R) -> Result<R, Cancelled> {
        let fiber = self.running();
        if fiber.is_cancelled.get() {
            return Err(Cancelled);
        }
        let context = fiber.poll.take().expect("a fiber waits for one future at a time");
        /// Puts the context back, also if `poll` panics.
        struct PutBack<'a>(&'a RunningFiber, NonNull<Context<'static>>);
        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                self.0.poll.set(Some(self.1));
            }
        }
        let put_back = PutBack(fiber, context);
        // SAFETY: the poll that resumed the fiber has not returned, so its context exists. Nobody else
        // uses it, because it was taken out. It has a shorter lifetime in `poll`.
        let result = poll(unsafe { &mut *context.cast::<Context<'_>>().as_ptr() });
        drop(put_back);
        Ok(result)
    }

    /// Switches to the stack that resumed the fiber, until it is resumed again.
    fn suspend(&self) -> Result<(), Cancelled> {
        let fiber = self.running();
        fiber.poll.set(None);
        // SAFETY: the fiber runs, so its yielder exists.
        let resumed = unsafe { &*fiber.yielder }.suspend(());
        fiber.poll.set(resumed);
        match resumed {
            Some(_) => Ok(()),
            None => {
                fiber.is_cancelled.set(true);
                Err(Cancelled)
            }
        }
    }
}
