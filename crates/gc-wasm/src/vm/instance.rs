//! What a store keeps of an instance.

use super::func_ref::FuncRef;
use super::words::VMWords;
use crate::Module;
use gc_runtime::SegmentId;

/// The elements of a segment, evaluated. Dropped segments have none.
pub(crate) enum SegmentElements {
    /// References into the heap, which are among the roots.
    Gc { id: SegmentId, len: usize },
    /// Function references.
    Func(Box<[Option<FuncRef>]>),
}

impl SegmentElements {
    /// Number of elements.
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
    /// Where each of the module's tables is in the store.
    pub(crate) tables: Vec<usize>,
    /// Where each of the module's memories is in the store.
    pub(crate) memories: Vec<usize>,
    /// Where each of the module's globals is in the store.
    pub(crate) globals: Vec<usize>,
    /// The elements of the module's segments.
    pub(crate) elements: Vec<SegmentElements>,
    /// Which of the module's data segments were dropped.
    pub(crate) dropped_data: Vec<bool>,
}

impl InstanceData {
    /// The reference to the module's function `index`, which must be imported or
    /// one that references can be made to.
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

    /// The bytes of data segment `index`; none once it was dropped.
    pub(crate) fn data(&self, index: u32) -> &[u8] {
        if self.dropped_data[index as usize] {
            return &[];
        }
        &self.module.info().data[index as usize].bytes
    }
}
