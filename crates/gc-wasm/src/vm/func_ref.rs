//! [`FuncRef`]: a function reference by its address, as compiled code has it.

use super::words::VMWords;
use gc_jit::VMFuncRef;
use gc_runtime::ZeroIsNone;
use gc_types::host_calls::HostCallParam;
use gc_types::{HostCallType, TypeIndex, VMOffsets};
use std::ptr::NonNull;

/// The address of a function reference. It is valid for as long as the store of the function:
/// function references stand in vmctxs, which a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct FuncRef(NonNull<VMFuncRef>);

// SAFETY: it is only used together with the store of the function, and only one thread has that.
unsafe impl Send for FuncRef {}
// SAFETY: as above.
unsafe impl Sync for FuncRef {}

// SAFETY: a null pointer is `None`, which is all zero bytes.
unsafe impl ZeroIsNone for FuncRef {}

impl FuncRef {
    /// The reference at an address; `None` at zero.
    ///
    /// # Safety
    /// The address must be zero, or that of a function reference of a store, and the result
    /// is used only while that store lives.
    pub(crate) unsafe fn from_address(address: *mut VMFuncRef) -> Option<FuncRef> {
        NonNull::new(address).map(FuncRef)
    }

    /// Fills in the function reference at `offset` in a vmctx, without an id yet.
    pub(crate) fn fill(
        vmctx: &VMWords,
        offset: u32,
        code: *const u8,
        callee: *mut u8,
        ty: TypeIndex,
    ) {
        const O: VMOffsets = VMOffsets::HOST;
        vmctx.set_pointer(offset + O.func_ref_code(), code);
        vmctx.set_pointer(offset + O.func_ref_vmctx(), callee);
        vmctx.set_u32s(offset + O.func_ref_type(), ty.as_u32(), 0);
    }

    /// The function reference at `offset` in a vmctx, which was [filled in](FuncRef::fill).
    pub(crate) fn at(vmctx: &VMWords, offset: u32) -> FuncRef {
        let address = vmctx.address().wrapping_add(offset as usize).cast();
        FuncRef(NonNull::new(address).expect("memory is not at zero"))
    }

    /// Its address.
    pub(crate) fn address(self) -> *mut VMFuncRef {
        self.0.as_ptr()
    }

    /// What stands there now.
    #[inline]
    pub(crate) fn get(self) -> VMFuncRef {
        // SAFETY: function references live as long as their store, which is in use.
        unsafe { self.0.read() }
    }

    /// Its id in the store.
    #[inline]
    pub(crate) fn id(self) -> u32 {
        self.get().id
    }

    /// The function's type.
    pub(crate) fn ty(self) -> TypeIndex {
        TypeIndex::new(self.get().ty).expect("function references have registered types")
    }

    /// Says what its id is. Compiled code does not run meanwhile.
    pub(crate) fn set_id(self, id: u32) {
        // SAFETY: as in `get`; nobody holds a Rust reference to it.
        unsafe { (&raw mut (*self.0.as_ptr()).id).write(id) };
    }

    /// Says what its code is, as above.
    pub(crate) fn set_code(self, code: *const u8) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.0.as_ptr()).code).write(code) };
    }
}

/// A function reference or null, as compiled code passes it to a host call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FuncArg(pub(crate) Option<FuncRef>);

impl HostCallParam for FuncArg {
    const TYPE: HostCallType = HostCallType::Pointer;

    fn from_word(word: u64) -> FuncArg {
        let address = std::ptr::with_exposed_provenance_mut(word as usize);
        // SAFETY: only compiled code makes host calls, and it passes function references of
        // its own store, from a table, a global or its vmctx.
        FuncArg(unsafe { FuncRef::from_address(address) })
    }
}
