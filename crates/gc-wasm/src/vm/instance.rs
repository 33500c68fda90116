//! The store's data for an instance.

use super::func_ref::FuncRef;
use super::words::VMWords;
use crate::Module;
use crate::pool::PoolPermit;
use gc_runtime::{Admission, SegmentId};

/// The evaluated elements of a segment. A dropped segment has none.
pub(crate) enum SegmentElements {
    /// References into the heap. They are roots.
    Gc { id: SegmentId, len: usize },
    /// Function references.
    Func(Box<[Option<FuncRef>]>),
}

impl SegmentElements {
    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        match self {
            SegmentElements::Gc { len, .. } => *len,
            SegmentElements::Func(elements) => elements.len(),
        }
    }
}

/// An instance: a module with its imports resolved.
pub(crate) struct InstanceData {
    pub(crate) module: Module,
    pub(crate) vmctx: VMWords,
    /// The number in the store of each of the module's tables.
    pub(crate) tables: Vec<usize>,
    /// The number in the store of each of the module's memories.
    pub(crate) memories: Vec<usize>,
    /// The number in the store of each of the module's globals.
    pub(crate) globals: Vec<usize>,
    /// Its tags, by index in the store.
    pub(crate) tags: Vec<usize>,
    /// The elements of the module's segments.
    pub(crate) elements: Vec<SegmentElements>,
    /// For each of the module's data segments, whether it was dropped.
    pub(crate) dropped_data: Vec<bool>,
    /// Admits the memory of `vmctx`.
    pub(crate) _admission: Admission,
    pub(crate) _place: PoolPermit,
}

impl InstanceData {
    /// The reference to the module's function `index`, which must be imported or be one for which
    /// references can be made.
    pub(crate) fn func_ref(&self, index: u32) -> FuncRef {
        let (info, layout) = (self.module.info(), self.module.layout());
        let address = if info.defined_func(index).is_none() {
            self.vmctx.get_pointer(layout.func_import_ref(index))
        } else {
            let n = info.funcs[index as usize].func_ref.expect("a function that escapes");
            self.vmctx.at(layout.func_ref(n)).address().cast()
        };
        // SAFETY: imports are filled in when an instance is made, and what is in its own vmctx
        // lives as long as it does, which is as long as its store.
        unsafe { FuncRef::from_address(address) }.expect("a function that was filled in")
    }

    /// The bytes of data segment `index`. A dropped segment has none.
    pub(crate) fn data(&self, index: u32) -> &[u8] {
        if self.dropped_data[index as usize] {
            return &[];
        }
        &self.module.info().data[index as usize].bytes
    }
}
