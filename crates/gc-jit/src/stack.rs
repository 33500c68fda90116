//! Stacks: what compiled code of one store has on one native stack.
//!
//! A chain of [`Activation`]s belongs to a stack, not to a thread and not to a store. The
//! stack that runs is the [`VMStack`] in its store's context, where compiled code finds it.
//! If a host function hands its store to another thread, which calls compiled code, a second
//! stack begins there: the first one is suspended until that call has returned, which means
//! that its words stand in a [`SuspendedStack`] meanwhile.
//!
//! Nothing is assumed of where two stacks are: frame pointers rise within one alone. The
//! one thread-local word says which store's stack runs on a thread, for the signal handler,
//! which is given nothing but the faulting registers.

use crate::vmcontext::{Pointer, Word};
use crate::{Activation, VMStoreContext, arch, stack_bounds};
use std::cell::Cell;
use std::ptr::null;

/// What compiled code of one store has on one native stack, while it runs there.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct VMStack {
    /// The lowest stack pointer compiled code may have.
    pub(crate) limit: Word,
    /// Frame pointer of the trampoline through which the innermost activation last
    /// called the host; zero before it did.
    pub(crate) last_exit_fp: Word,
    /// The innermost activation; null if no compiled code is on the stack.
    pub(crate) activation: Pointer<Activation>,
}

/// A stack of a store that waits until another one of the store has ended.
#[derive(Debug)]
pub(crate) struct SuspendedStack {
    limit: usize,
    pub(crate) last_exit_fp: usize,
    pub(crate) activation: *mut Activation,
    native: usize,
    /// The stack that was suspended before this one; null if there is none.
    pub(crate) next: *const SuspendedStack,
}

thread_local! {
    /// The context of the store whose compiled code runs on this thread, the innermost if
    /// several do. Const-initialised and without a destructor, so that a signal handler may
    /// read it.
    static RUNNING: Cell<*const VMStoreContext> = const { Cell::new(null()) };
}

/// The context of the store whose compiled code runs on this thread; null if none does.
pub(crate) fn running() -> *const VMStoreContext {
    RUNNING.get()
}

/// Says whose compiled code runs on this thread; returns what was said before.
pub(crate) fn set_running(context: *const VMStoreContext) -> *const VMStoreContext {
    RUNNING.replace(context)
}

/// A number that no other native stack has while this one exists.
fn native_stack() -> usize {
    RUNNING.with(|word| std::ptr::from_ref(word).addr())
}

impl VMStoreContext {
    /// Makes ready for a call from here. Returns `false` if the store's compiled code is on
    /// another native stack: then that must be suspended first.
    #[inline(always)]
    pub(crate) fn enter_stack(&self, max_stack: usize) -> bool {
        let here = native_stack();
        if self.stack.activation.get().is_null() {
            let limit = arch::stack_pointer().saturating_sub(max_stack);
            self.stack.limit.set(limit.max(stack_bounds::lowest_for_compiled_code()));
            self.native_stack.set(here);
            return true;
        }
        self.native_stack.get() == here
    }

    /// Does `action` while the stack that runs is suspended, so that calls in it begin a new
    /// one.
    #[cold]
    pub(crate) fn with_stack_suspended<R>(&self, action: impl FnOnce() -> R) -> R {
        /// Resumes it, also if `action` panics.
        struct Resume<'a>(&'a VMStoreContext, &'a SuspendedStack);
        impl Drop for Resume<'_> {
            fn drop(&mut self) {
                let Resume(context, suspended) = *self;
                context.stack.limit.set(suspended.limit);
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
