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
//! A fiber may be suspended on one thread and resumed on another. So the functions that read or write
//! thread-local words are not inlined: the compiler could otherwise keep the address of the first
//! thread's words in a register across the suspension.

use crate::vmcontext::{StackWords, SuspendedStack};
use crate::{VMStoreContext, arch, stack_bounds};
use std::cell::Cell;
use std::ptr::{null, null_mut};

thread_local! {
    /// The context of the store whose compiled code runs on this thread. If code of several stores
    /// does, it is the innermost. It is const-initialised and has no destructor, so that a signal
    /// handler may read it.
    static RUNNING: Cell<*const VMStoreContext> = const { Cell::new(null()) };
}

/// The context of the store whose compiled code runs on this thread. Null if none does.
pub(crate) fn running() -> *const VMStoreContext {
    RUNNING.get()
}

/// Sets the context of the store whose compiled code runs on this thread. Returns the previous one.
#[inline(never)]
pub(crate) fn set_running(context: *const VMStoreContext) -> *const VMStoreContext {
    RUNNING.replace(context)
}

/// A number that identifies the native stack while it exists: `lowest`, the lowest address for
/// compiled code on it, if that is known.
#[inline]
fn native_stack(lowest: usize) -> usize {
    if lowest > 1 { lowest } else { thread_number() }
}

/// A number that identifies the thread.
#[cold]
#[inline(never)]
fn thread_number() -> usize {
    RUNNING.with(|word| std::ptr::from_ref(word).addr())
}

/// The number of the running native stack.
pub(crate) fn this_native_stack() -> usize {
    native_stack(stack_bounds::lowest_for_compiled_code())
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
        self.running = set_running(self.running);
        self.lowest = stack_bounds::replace_lowest(self.lowest);
    }
}

impl VMStoreContext {
    /// Prepares a call on the current native stack. Returns `false` if the store's compiled code is
    /// on another native stack, which must be suspended first.
    #[inline(always)]
    pub(crate) fn enter_stack(&self, max_stack: usize) -> bool {
        let lowest = stack_bounds::lowest_for_compiled_code();
        let here = native_stack(lowest);
        if self.stack.activation.get().is_null() {
            self.set_stack_limit(arch::stack_pointer().saturating_sub(max_stack).max(lowest));
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
