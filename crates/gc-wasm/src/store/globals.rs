//! The globals of a store, which are registered as roots.
//!
//! No barrier notes what is stored into mutable globals: a collection looks at all of them.
//! Immutable ones, of which a program can have many (string constants, type descriptors),
//! are registered when they have their values, which never change.

use super::StoreOpaque;
use crate::vmctx::VMGlobal;
use gc_types::RootKind;
use std::ptr::NonNull;
use wasmtime_types::Global;

/// A global: where its value is, and its type.
pub(crate) struct GlobalData {
    pub(crate) place: NonNull<VMGlobal>,
    pub(crate) ty: Global,
}

impl StoreOpaque {
    /// Adds a global, which is zero, and returns its number.
    ///
    /// # Safety
    /// Its place must be valid as long as the store is.
    pub(crate) unsafe fn add_global(&mut self, global: GlobalData) -> usize {
        let number = self.globals.len();
        let is_variable = global.ty.mutability;
        self.globals.push(global);
        if is_variable {
            self.register_global(number, RootKind::Global);
        }
        number
    }

    /// Notes that global `number` has its initial value.
    pub(crate) fn global_initialized(&mut self, number: usize) {
        if !self.globals[number].ty.mutability {
            self.register_global(number, RootKind::Constant);
        }
    }

    fn register_global(&mut self, number: usize, kind: RootKind) {
        let GlobalData { place, ty } = self.globals[number];
        if ty.wasm_ty.is_vmgcref_type() {
            let roots = self.gc_store_mut().roots_mut();
            // SAFETY: a global of a reference type holds a reference or null in its
            // first word, and lives as long as the store.
            unsafe { roots.add_slots(kind, number as u32, place.cast(), 1) };
        }
    }
}
