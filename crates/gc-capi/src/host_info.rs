//! What C attaches to a thing: an address, and a function that is called when the thing is gone.

use std::ffi::c_void;
use std::ptr;

/// A function that is called when a thing is gone, with what was attached to it. It may delete
/// handles, but must not use the store.
pub type Finalizer = Option<extern "C" fn(*mut c_void)>;

/// What C has attached to a thing, or gave with a function. The finalizer is called when this is
/// dropped.
pub(crate) struct HostInfo {
    data: *mut c_void,
    finalizer: Finalizer,
}

// SAFETY: nothing is read at the address. The header says that things, and so their finalizers, are
// used by one thread at a time.
unsafe impl Send for HostInfo {}
// SAFETY: as above.
unsafe impl Sync for HostInfo {}

impl HostInfo {
    pub(crate) fn new(data: *mut c_void, finalizer: Finalizer) -> HostInfo {
        HostInfo { data, finalizer }
    }

    /// The address.
    pub(crate) fn data(&self) -> *mut c_void {
        self.data
    }
}

impl Default for HostInfo {
    fn default() -> HostInfo {
        HostInfo { data: ptr::null_mut(), finalizer: None }
    }
}

impl Drop for HostInfo {
    fn drop(&mut self) {
        if let Some(finalizer) = self.finalizer {
            finalizer(self.data);
        }
    }
}
