//! The globals of a store, and which of them are roots of a collection.
//!
//! No barrier notes what is stored into mutable globals, so every collection looks at all of
//! these. Immutable ones, of which a program can have many (string constants, type
//! descriptors), are written once: collections that need what was written since the last
//! one look at each once.

use crate::vmctx::VMGlobal;
use gc_runtime::{GcRootsList, RootKind, RootsWanted};
use std::ops::Index;
use std::ptr::NonNull;
use wasmtime_types::Global;

/// A global: where its value is, and its type.
pub(crate) struct GlobalData {
    pub(crate) place: NonNull<VMGlobal>,
    pub(crate) ty: Global,
}

/// All globals of one store, by their numbers in it.
#[derive(Default)]
pub(crate) struct Globals {
    all: Vec<GlobalData>,
    /// Mutable ones that hold references.
    variables: Vec<NonNull<VMGlobal>>,
    /// Immutable ones that hold references and have their values.
    constants: Vec<NonNull<VMGlobal>>,
    /// How many of these were named to a collection that needed what was written since the
    /// last one.
    seen: usize,
}

impl Globals {
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Adds a global, which is zero, and returns its number.
    ///
    /// # Safety
    /// Its place must be valid as long as the store is.
    pub(crate) unsafe fn push(&mut self, global: GlobalData) -> usize {
        if global.ty.wasm_ty.is_vmgcref_type() && global.ty.mutability {
            self.variables.push(global.place);
        }
        self.all.push(global);
        self.all.len() - 1
    }

    /// Notes that global `index` has its initial value.
    pub(crate) fn initialized(&mut self, index: usize) {
        let GlobalData { place, ty } = &self.all[index];
        if ty.wasm_ty.is_vmgcref_type() && !ty.mutability {
            self.constants.push(*place);
        }
    }

    /// Adds those to `roots` that are wanted.
    pub(crate) fn trace(&mut self, roots: &mut GcRootsList) {
        let constants = match roots.wanted() {
            RootsWanted::Stack => return,
            RootsWanted::Remembered => {
                let first = std::mem::replace(&mut self.seen, self.constants.len());
                &self.constants[first..]
            }
            RootsWanted::All => &self.constants[..],
        };
        for place in self.variables.iter().chain(constants) {
            // SAFETY: a global of a reference type holds a reference or null in its
            // first word, and lives as long as the store.
            unsafe { roots.add_non_stack_root(place.as_ptr().cast::<u32>(), RootKind::Global) };
        }
    }
}

impl Index<usize> for Globals {
    type Output = GlobalData;

    fn index(&self, index: usize) -> &GlobalData {
        &self.all[index]
    }
}
