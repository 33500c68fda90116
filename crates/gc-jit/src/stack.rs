//! Stacks: the state of one store's compiled code on one native stack.
//!
//! A chain of [`Activation`](crate::Activation)s belongs to a stack, not to a thread or a store.
//! The running stack is the `VMStack` in the store's context, where compiled code finds it. If a
//! host function passes its store to another thread and that thread calls compiled code, a second
//! stack begins there. The first stack is suspended until that call has returned: a
//! [`SuspendedStack`] keeps its words.
//!
//! The code assumes nothing about the addresses of two stacks: frame pointers rise only within one
//! stack. One thread-local word says which store's stack runs on a thread. It is for the signal
//! handler, which gets only the registers of the fault.

use crate::vmcontext::SuspendedStack;
use crate::{VMStoreContext, arch, stack_bounds};
use std::cell::Cell;
use std::ptr::null;

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
#[inline]
pub(crate) fn set_running(context: *const VMStoreContext) -> *const VMStoreContext {
    RUNNING.replace(context)
}

/// A number that identifies the native stack while it exists.
#[inline]
fn native_stack() -> usize {
    RUNNING.with(|word| std::ptr::from_ref(word).addr())
}

impl VMStoreContext {
    /// Prepares a call on the current native stack. Returns `false` if the store's compiled code is
    /// on another native stack, which must be suspended first.
    #[inline(always)]
    pub(crate) fn enter_stack(&self, max_stack: usize) -> bool {
        let here = native_stack();
        if self.stack.activation.get().is_null() {
            let limit = arch::stack_pointer().saturating_sub(max_stack);
            self.set_stack_limit(limit.max(stack_bounds::lowest_for_compiled_code()));
            self.native_stack.set(here);
            return true;
        }
        self.native_stack.get() == here
    }

    /// Runs `action` while the running stack is suspended. Calls in `action` begin a new stack.
    #[cold]
    pub(crate) fn with_stack_suspended<R>(&self, action: impl FnOnce() -> R) -> R {
        /// Resumes the stack, also if `action` panics.
        struct Resume<'a>(&'a VMStoreContext, &'a SuspendedStack);
        impl Drop for Resume<'_> {
            fn drop(&mut self) {
                let Resume(context, suspended) = *self;
                context.set_stack_limit(suspended.limit);
                context.stack.last_exit_fp.set(suspended.last_exit_fp);
                context.stack.activation.set(suspended.activation);
                context.native_stack.set(suspended.native);
                context.suspended.set(suspended.next.cast_mut());
            }
        }
        let suspended = SuspendedStack {
            limit: self.stack.limit.get(),
            last_exit_fp: self.stack.last_exit_fp.get(),
            activation: self.stack.activation.get(),
            native: self.native_stack.get(),
            next: self.suspended.get(),
        };
        let _resume = Resume(self, &suspended);
        self.suspended.set((&raw const suspended).cast_mut());
        self.stack.last_exit_fp.set(0);
        self.stack.activation.set(std::ptr::null_mut());
        action()
    }
}
