//! What a store keeps of an instance.

use crate::externals::{Extern, Global, Memory, Table};
use crate::store::StoreOpaque;
use crate::{Func, Module};
use gc_jit::VMFuncRef;
use gc_runtime::SegmentId;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use wasmtime_types::EntityIndex;

/// An instance's vmctx: memory of the layout its module needs.
pub(crate) struct VMContext {
    pointer: NonNull<u8>,
    layout: Layout,
}

impl VMContext {
    /// A vmctx of `size` bytes, all zero.
    pub(crate) fn new(size: u32) -> VMContext {
        let layout = Layout::from_size_align(size as usize, 16).expect("a vmctx's size");
        // SAFETY: the layout's size is not zero: there is always a prefix.
        let pointer = unsafe { alloc_zeroed(layout) };
        match NonNull::new(pointer) {
            Some(pointer) => VMContext { pointer, layout },
            None => handle_alloc_error(layout),
        }
    }

    /// Its address.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// The address `offset` bytes into it, as that of a `T`.
    pub(crate) fn at<T>(&self, offset: u32) -> NonNull<T> {
        let offset = offset as usize;
        assert!(offset + size_of::<T>() <= self.layout.size(), "an offset outside the vmctx");
        // SAFETY: the offset is inside the allocation.
        unsafe { self.pointer.add(offset) }.cast()
    }
}

impl Drop for VMContext {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.pointer.as_ptr(), self.layout) };
    }
}

/// The elements of a segment, evaluated. Dropped segments have none.
pub(crate) enum SegmentElements {
    /// References into the heap, which are among the roots.
    Gc { id: SegmentId, len: usize },
    /// Function references.
    Func(Box<[*mut VMFuncRef]>),
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
    pub(crate) vmctx: VMContext,
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
    pub(crate) fn func_ref(&self, index: u32) -> *mut VMFuncRef {
        let (info, layout) = (self.module.info(), self.module.layout());
        if info.defined_func(index).is_none() {
            // SAFETY: the imports of an instance in a store are filled in.
            return unsafe { self.vmctx.at(layout.func_import_ref(index)).read() };
        }
        let n = info.funcs[index as usize].func_ref.expect("a function that escapes");
        self.vmctx.at(layout.func_ref(n)).as_ptr()
    }

    /// A handle to the module's entity `index`, which must be exported.
    pub(crate) fn entity(&self, store: &StoreOpaque, index: EntityIndex) -> Extern {
        match index {
            EntityIndex::Function(index) => {
                let func = Func::from_vm(store, self.func_ref(index.as_u32()));
                Extern::Func(func.expect("the reference is not null"))
            }
            EntityIndex::Table(index) => {
                Extern::Table(Table::from_index(store, self.tables[index.as_u32() as usize]))
            }
            EntityIndex::Memory(index) => {
                Extern::Memory(Memory::from_index(store, self.memories[index.as_u32() as usize]))
            }
            EntityIndex::Global(index) => {
                Extern::Global(Global::from_index(store, self.globals[index.as_u32() as usize]))
            }
            EntityIndex::Tag(_) => unreachable!("tags do not pass validation"),
        }
    }

    /// The bytes of data segment `index`; none once it was dropped.
    pub(crate) fn data(&self, index: u32) -> &[u8] {
        if self.dropped_data[index as usize] {
            return &[];
        }
        &self.module.info().data[index as usize].bytes
    }
}
