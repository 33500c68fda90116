//! Stacks: the state of one store's compiled code on one native stack.
//!
//! A chain of [`Activation`](crate::Activation)s belongs to a stack, not to a thread or a store.
//! The running stack is the `VMStack` in the store's context, where compiled code finds it. If a
//! host function passes its store to another thread and that thread calls compiled code, a second
//! stack begins there. The first stack is suspended until that call has returned: a
//! [`SuspendedStack`] keeps its words.
//!
//! A second stack also begins on each [`Fiber`](crate::Fiber), which has a native stack of its own.
//! When the fiber is suspended, its words are in the fiber, and those of the stack that resumed it are
//! in the context again.
//!
//! The code assumes nothing about the addresses of two stacks: frame pointers rise only within one
//! stack. One thread-local word says which store's stack runs on a thread. It is for the signal
//! handler, which gets only the registers of the fault.
//!
//! A fiber may be suspended on one thread and resumed on another. So the function that finds a
//! thread's words is not inlined: the compiler could otherwise keep the address of the first thread's
//! words in a register across the suspension. A call finds them once, and again at its end if it ran
//! on a fiber.
#![allow(unsafe_code)]

use crate::vmcontext::{StackWords, SuspendedStack};
use crate::{VMStoreContext, arch, os, stack_bounds};
use std::cell::Cell;
use std::ptr::{null, null_mut};

/// What is known of the stack that runs on a thread. It is const-initialised and has no destructor, so
/// that a signal handler may read it.
pub(crate) struct Thread {
    /// The context of the store whose compiled code runs on this thread. If code of several stores
    /// does, it is the innermost.
    running: Cell<*const VMStoreContext>,
    /// The lowest address that compiled code's stack pointer may have. Zero before it is computed: it
    /// is cached because asking the system is slow.
    lowest: Cell<usize>,
}

thread_local! {
    static THREAD: Thread = const { Thread { running: Cell::new(null()), lowest: Cell::new(0) } };
}

/// The words of this thread.
// See above for why it is not inlined. The address is good as long as the thread, which outlives the
// call.
#[inline(never)]
fn this_thread() -> *const Thread {
    THREAD.with(std::ptr::from_ref)
}

/// The thread on which a call of compiled code begins.
#[derive(Clone, Copy)]
pub(crate) struct CallingThread(*const Thread);

impl CallingThread {
    #[inline(always)]
    pub(crate) fn new() -> CallingThread {
        CallingThread(this_thread())
    }

    #[inline(always)]
    fn get(&self) -> &Thread {
        // SAFETY: this is used during the call, on this thread, which is alive.
        unsafe { &*self.0 }
    }

    /// Sets the context of the store whose compiled code runs on the thread. Returns the previous
    /// one.
    #[inline(always)]
    pub(crate) fn replace_running(&self, context: *const VMStoreContext) -> *const VMStoreContext {
        self.get().running.replace(context)
    }

    /// Sets it again after the call, which may have been suspended on a fiber and resumed on another
    /// thread.
    #[inline(always)]
    pub(crate) fn restore_running(&self, context: &VMStoreContext, outer: *const VMStoreContext) {
        let now = if context.fiber.get().is_null() { *self } else { CallingThread::new() };
        now.get().running.set(outer);
    }

    /// The lowest address that compiled code's stack pointer may have on the running stack,
    /// independently of the store's limit. It is one (no bound) if the system does not tell the size
    /// of the thread's stack.
    #[inline(always)]
    pub(crate) fn lowest(&self) -> usize {
        match self.get().lowest.get() {
            0 => self.first_lowest(),
            lowest => lowest,
        }
    }

    #[cold]
    fn first_lowest(&self) -> usize {
        let lowest = stack_bounds::of_this_thread().unwrap_or(1);
        self.get().lowest.set(lowest);
        lowest
    }

    /// A number that identifies the running native stack while it exists.
    #[inline(always)]
    pub(crate) fn native_stack(&self) -> usize {
        match self.lowest() {
            0 | 1 => self.0.addr(),
            lowest => lowest,
        }
    }
}

/// The context of the store whose compiled code runs on this thread. Null if none does. It is for the
/// signal handler.
pub(crate) fn running() -> *const VMStoreContext {
    CallingThread::new().get().running.get()
}

/// The words of the running stack, from here to where the store's compiled code was first entered, and of the
/// registers. `None` if this is not the stack on which the store's code runs, or not its only one.
///
/// # Safety
/// The frames of the context's activations are on their stacks.
pub(crate) unsafe fn words_of(context: &VMStoreContext) -> Option<Vec<usize>> {
    let thread = CallingThread::new();
    let is_only = context.suspended.get().is_null() && context.fiber.get().is_null();
    if !is_only || context.native_stack.get() != thread.native_stack() {
        return None;
    }
    let mut end = 0;
    let mut activation = context.stack.activation.get().cast_const();
    // SAFETY: the activations on the store's list are alive.
    while let Some(outer) = unsafe { activation.as_ref() } {
        // The entry trampoline's frame. The host's call of a host function has none, but an activation of its
        // own.
        end = end.max(outer.entry_fp).max(activation.addr());
        activation = outer.previous;
    }
    // The embedder may have switched to another stack, now or before the code was entered.
    let stack = os::this_thread_stack()?;
    let sp = arch::stack_pointer();
    if !stack.contains(&sp) || end <= sp || end > stack.end {
        return None;
    }
    // SAFETY: both addresses are on the stack of this thread, which is mapped from the stack pointer on.
    Some(unsafe { arch::stack_words(end) })
}

/// What the thread-local words hold while a native stack runs.
#[derive(Debug)]
pub(crate) struct ThreadWords {
    /// The context of the store whose compiled code runs.
    running: *const VMStoreContext,
    /// The lowest address for compiled code.
    lowest: usize,
}

impl ThreadWords {
    /// Those of a stack that nothing runs on yet.
    pub(crate) fn new(lowest: usize) -> ThreadWords {
        ThreadWords { running: null(), lowest }
    }

    /// Exchanges these words with the thread's.
    pub(crate) fn swap(&mut self) {
        let thread = CallingThread::new();
        self.running = thread.get().running.replace(self.running);
        self.lowest = thread.get().lowest.replace(self.lowest);
    }
}

impl VMStoreContext {
    /// Prepares a call on the current native stack. Returns `false` if the store's compiled code is
    /// on another native stack, which must be suspended first.
    #[inline(always)]
    pub(crate) fn enter_stack(&self, thread: CallingThread, max_stack: usize) -> bool {
        let here = thread.native_stack();
        if self.stack.activation.get().is_null() {
            let limit = arch::stack_pointer().saturating_sub(max_stack);
            self.set_stack_limit(limit.max(thread.lowest()));
            self.native_stack.set(here);
            return true;
        }
        self.native_stack.get() == here
    }

    /// Runs `action` while the running stack is suspended and `next` is the running one. Returns its
    /// result and the words that the stack then has.
    #[inline]
    pub(crate) fn with_stack<R>(
        &self,
        next: StackWords,
        action: impl FnOnce() -> R,
    ) -> (R, StackWords) {
        /// Resumes the stack, also if `action` panics.
        struct Resume<'a>(&'a VMStoreContext, &'a SuspendedStack);
        impl Drop for Resume<'_> {
            fn drop(&mut self) {
                let Resume(context, suspended) = *self;
                context.set_stack_words(suspended.words);
                context.suspended.set(suspended.next.cast_mut());
            }
        }
        let suspended = SuspendedStack { words: self.stack_words(), next: self.suspended.get() };
        let resume = Resume(self, &suspended);
        self.suspended.set((&raw const suspended).cast_mut());
        self.set_stack_words(next);
        let result = action();
        let words = self.stack_words();
        drop(resume);
        (result, words)
    }

    /// Runs `action` while the running stack is suspended. Calls in `action` begin a new stack.
    #[cold]
    pub(crate) fn with_stack_suspended<R>(&self, action: impl FnOnce() -> R) -> R {
        self.with_stack(StackWords::default(), action).0
    }

    fn stack_words(&self) -> StackWords {
        StackWords {
            limit: self.stack.limit.get(),
            last_exit_fp: self.stack.last_exit_fp.get(),
            activation: self.stack.activation.get(),
            native: self.native_stack.get(),
            fiber: self.fiber.get(),
        }
    }

    fn set_stack_words(&self, words: StackWords) {
        self.set_stack_limit(words.limit);
        self.stack.last_exit_fp.set(words.last_exit_fp);
        self.stack.activation.set(words.activation);
        self.native_stack.set(words.native);
        self.fiber.set(words.fiber);
    }
}

impl Default for StackWords {
    /// Those of a stack that no compiled code is on.
    fn default() -> StackWords {
        StackWords {
            limit: 0,
            last_exit_fp: 0,
            activation: null_mut(),
            native: 0,
            fiber: null_mut(),
        }
    }
}
