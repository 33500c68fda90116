//! The globals of a store, and their registration as roots.
//!
//! No barrier notes what is stored into mutable globals, so every collection looks at all of them.
//! Immutable ones, of which a program can have many (string constants, type descriptors), are
//! registered when they have their values, which never change.

use super::func_ref::FuncRef;
use super::table::write_slot;
use super::words::VMWords;
use gc_runtime::GcStore;
use gc_types::RootKind;
use std::ops::Index;
use std::ptr::NonNull;
use wasmtime_types::Global;

/// A global: the place of its value, and its type.
pub(crate) struct GlobalData {
    pub(crate) place: VMWords,
    pub(crate) ty: Global,
}

/// All globals of one store, by number.
#[derive(Default)]
pub(crate) struct Globals {
    all: Vec<GlobalData>,
}

impl Globals {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds a global, which is zero, and returns its number.
    pub(crate) fn push(&mut self, gc: &mut GcStore, global: GlobalData) -> usize {
        let (number, is_variable) = (self.all.len(), global.ty.mutability);
        self.all.push(global);
        if is_variable {
            self.register(gc, number, RootKind::Global);
        }
        number
    }

    /// Records that global `number` has its initial value.
    pub(crate) fn initialized(&mut self, gc: &mut GcStore, number: usize) {
        if !self.all[number].ty.mutability {
            self.register(gc, number, RootKind::Constant);
        }
    }

    fn register(&mut self, gc: &mut GcStore, number: usize, kind: RootKind) {
        let GlobalData { place, ty } = &self.all[number];
        if ty.wasm_ty.is_vmgcref_type() {
            let slot = NonNull::new(place.address().cast::<u32>()).expect("memory is not at zero");
            // SAFETY: a global of a reference type holds a reference or null in its
            // first word, and the store keeps its place.
            unsafe { gc.roots_mut().add_slots(kind, number as u32, slot, 1) };
        }
    }

    /// The function reference in global `number`, whose type is one; `None` for null.
    pub(crate) fn func_ref(&self, number: usize) -> Option<FuncRef> {
        let GlobalData { place, ty } = &self.all[number];
        assert!(!ty.wasm_ty.is_vmgcref_type(), "a global of function references");
        // SAFETY: what stands in such a global is a function reference of the store, or null.
        unsafe { FuncRef::from_address(place.get_pointer(0)) }
    }

    /// Overwrites the reference in global `number`, with the barrier.
    pub(crate) fn write_ref(&mut self, number: usize, gc: &mut GcStore, word: u32) {
        let slot = self.all[number].place.address().cast::<u32>();
        // SAFETY: the global's own word, aligned, which lives as long as its place is held; a
        // store that is borrowed runs no code that could use it.
        write_slot(gc, unsafe { &mut *slot }, word);
    }
}

impl Index<usize> for Globals {
    type Output = GlobalData;

    fn index(&self, number: usize) -> &GlobalData {
        &self.all[number]
    }
}
