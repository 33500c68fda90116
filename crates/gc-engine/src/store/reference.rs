//! References to functions, which compiled code reads.
#![allow(unsafe_code)]

use crate::Signature;
use crate::registry::EngineType;
use gc_jit::{JitState, VMFuncRef};
use std::ptr::{NonNull, null, null_mut};

/// A reference to a function. Its address never changes: compiled code and the store's table of functions
/// have it.
pub(super) struct Reference {
    address: NonNull<VMFuncRef>,
    /// The function's type, whose index it keeps.
    ty: EngineType,
}

// SAFETY: a reference points to what belongs to the same store and moves with it.
unsafe impl Send for Reference {}
// SAFETY: shared access to a store does not read it.
unsafe impl Sync for Reference {}

impl Reference {
    /// A reference to a function of this type, with a number in the store's table. There is no code until
    /// [`set`](Reference::set).
    pub(super) fn new<S: gc_jit::JitStore>(jit: &mut JitState<S>, ty: EngineType) -> Reference {
        let func_ref =
            VMFuncRef { code: null(), vmctx: null_mut(), ty: ty.index().as_u32(), id: 0 };
        let address = NonNull::from(Box::leak(Box::new(func_ref)));
        let id = jit.gc_mut().func_refs_mut().add(address.as_ptr().expose_provenance());
        jit.refresh_func_refs();
        // SAFETY: it is there, and nobody else uses it yet.
        unsafe { (*address.as_ptr()).id = id };
        Reference { address, ty }
    }

    /// Removes the number of the function from the table, before the reference is dropped while the store goes
    /// on.
    pub(super) fn forget<S: gc_jit::JitStore>(self, jit: &mut JitState<S>) {
        jit.gc_mut().func_refs_mut().remove(self.number());
        jit.refresh_func_refs();
    }

    /// Writes what compiled code reads of the function.
    pub(super) fn set(&self, code: *const u8, vmctx: *mut u8) {
        // SAFETY: it is there as long as this. Compiled code that reads it waits for the host function
        // that has access to the store.
        unsafe {
            (*self.address.as_ptr()).code = code;
            (*self.address.as_ptr()).vmctx = vmctx;
        }
    }

    /// The function's signature.
    pub(super) fn signature(&self) -> &Signature {
        self.ty.signature().expect("it is a type of functions")
    }

    /// The number of the function in the store's table.
    pub(super) fn number(&self) -> u32 {
        // SAFETY: it is there, and the number is not written again.
        unsafe { (*self.address.as_ptr()).id }
    }

    /// The address, for compiled code.
    pub(super) fn address(&self) -> usize {
        self.address.as_ptr().expose_provenance()
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: it was a box. It is dropped when no code has its address, and no code can find it in the
        // table of functions.
        drop(unsafe { Box::from_raw(self.address.as_ptr()) });
    }
}
