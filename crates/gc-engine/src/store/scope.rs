//! Scopes of handles: the calls of host functions, and those that the host makes itself.

use super::StoreInner;
use gc_runtime::HandleScope;

/// A scope. It ends when this is dropped, also if the code in it panics.
struct Scope<'a, S> {
    access: &'a mut S,
    inner: fn(&mut S) -> &mut StoreInner,
    begin: HandleScope,
}

impl<S> Drop for Scope<'_, S> {
    fn drop(&mut self) {
        (self.inner)(self.access).gc_mut().exit_handle_scope(self.begin);
    }
}

/// Runs `run` in a scope of its own. `inner` returns the store of what gives access to it.
#[inline]
pub(super) fn in_scope<S, R>(
    access: &mut S,
    inner: fn(&mut S) -> &mut StoreInner,
    run: impl FnOnce(&mut S) -> R,
) -> R {
    let begin = inner(access).gc().enter_handle_scope();
    let scope = Scope { access, inner, begin };
    run(scope.access)
}
