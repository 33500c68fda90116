//! Globals and constants of a store: words outside the heap that compiled code reads. The words with references are
//! roots.
#![allow(unsafe_code)]

use super::StoreInner;
use crate::types::describe;
use crate::{Type, Value};
use anyhow::{Context as _, Result, ensure};
use gc_runtime::{GcStore, SlotsId};
use gc_types::{ArrayLayout, GcLayout, RootKind, StorageType, VMGcRef, ValRaw};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;

/// A word that compiled code reads. Its address never changes.
struct Cell {
    address: NonNull<u64>,
    /// Its registration as a root, if it has a reference.
    root: Option<SlotsId>,
}

// SAFETY: a cell belongs to a store and moves with it.
unsafe impl Send for Cell {}
// SAFETY: shared access to a store only reads it, and no compiled code runs meanwhile.
unsafe impl Sync for Cell {}

impl Cell {
    /// A cell that is zero. `kind` says what it is, if it has a reference.
    fn new(gc: &mut GcStore, number: u32, kind: Option<RootKind>) -> Cell {
        let address = NonNull::from(Box::leak(Box::new(0)));
        let root = kind.map(|kind| {
            // SAFETY: the cell stays there until it is removed, or is dropped with the store. It is zero.
            unsafe { gc.roots_mut().add_slots(kind, number, address.cast(), 1) }
        });
        Cell { address, root }
    }

    fn address(&self) -> usize {
        self.address.as_ptr().expose_provenance()
    }

    fn get(&self) -> u64 {
        // SAFETY: it is there, and compiled code that writes it does not run.
        unsafe { self.address.read() }
    }

    fn set(&self, word: u64) {
        // SAFETY: as above.
        unsafe { self.address.write(word) };
    }

    /// Writes a reference, with the barrier.
    fn set_ref(&self, gc: &mut GcStore, gc_ref: Option<&VMGcRef>) {
        // SAFETY: the cell begins with a reference or null. Nobody else uses it now.
        gc.write_slot(unsafe { self.address.cast::<u32>().as_mut() }, gc_ref);
    }

    /// Drops the reference in it, if it has one, and its registration.
    fn remove(mut self, gc: &mut GcStore) {
        if let Some(root) = self.root.take() {
            self.set_ref(gc, None);
            gc.roots_mut().remove_slots(root);
        }
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // SAFETY: it was a box. It is dropped with the store, or after its registration was removed, when no code
        // has its address.
        drop(unsafe { Box::from_raw(self.address.as_ptr()) });
    }
}

/// What makes a constant different from others: the name of its type, and its bytes.
type ConstantKey = (Arc<str>, Arc<[u8]>);

/// The globals and constants of a store.
#[derive(Default)]
pub(super) struct Cells {
    globals: BTreeMap<Arc<str>, (Type, Cell)>,
    /// Each with the number of loaded pieces that have it.
    constants: BTreeMap<ConstantKey, (Cell, usize)>,
    /// The number of constants that were made.
    made: u32,
}

impl Cells {
    /// Checks that a global with this name has this type, if there is one.
    pub(super) fn check_global(&self, name: &str, ty: Type) -> Result<()> {
        match self.globals.get(name) {
            Some((known, _)) => {
                ensure!(*known == ty, "the global `{name}` is of type {known}, not {ty}");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The address of the global with this name, whose type was checked. It is made if it is not there.
    pub(super) fn global(&mut self, gc: &mut GcStore, name: &Arc<str>, ty: Type) -> usize {
        let number = self.globals.len() as u32;
        let (_, cell) = self.globals.entry(name.clone()).or_insert_with(|| {
            let kind = (ty == Type::Ref).then_some(RootKind::Global);
            (ty, Cell::new(gc, number, kind))
        });
        cell.address()
    }

    /// The names and types of the globals.
    pub(super) fn globals(&self) -> impl Iterator<Item = (&str, Type)> {
        self.globals.iter().map(|(name, (ty, _))| (&**name, *ty))
    }

    /// The numbers of the functions in globals.
    pub(super) fn functions(&self) -> impl Iterator<Item = u32> {
        let globals = self.globals.values().filter(|(ty, _)| *ty == Type::Func);
        globals.map(|(_, cell)| cell.get() as u32)
    }
}

impl StoreInner {
    /// The address of the cell of a constant: an array of the type with this name and layout, and these
    /// bytes. A piece that is being loaded has it. May collect.
    pub(super) fn constant(
        &mut self,
        name: &Arc<str>,
        layout: &Arc<GcLayout>,
        bytes: &Arc<[u8]>,
    ) -> Result<usize> {
        let key = (name.clone(), bytes.clone());
        if let Some((cell, pieces)) = self.cells.constants.get_mut(&key) {
            *pieces += 1;
            return Ok(cell.address());
        }
        let is_bytes =
            matches!(**layout, GcLayout::Array(ArrayLayout { element: StorageType::I8, .. }));
        ensure!(is_bytes, "a constant is of the type `{name}`, {}", describe(layout));
        let index = self.index_of_type(name, layout)?;
        let length = u32::try_from(bytes.len()).context("a constant has less than 2^32 bytes")?;
        let array = self.alloc(|gc, roots| gc.alloc_array(roots, index, length))?;
        let StoreInner { cells, jit, .. } = self;
        let gc = jit.gc_mut();
        if let Err(error) = gc.array_write_bytes(&array, 0, bytes) {
            gc.drop_gc_ref(array);
            return Err(error.into());
        }
        let cell = Cell::new(gc, cells.made, Some(RootKind::Constant));
        cells.made = cells.made.wrapping_add(1);
        cell.set_ref(gc, Some(&array));
        gc.drop_gc_ref(array);
        let address = cell.address();
        cells.constants.insert(key, (cell, 1));
        Ok(address)
    }

    /// A piece that had this constant is gone.
    pub(super) fn forget_constant(&mut self, name: &Arc<str>, bytes: &Arc<[u8]>) {
        let key = (name.clone(), bytes.clone());
        let StoreInner { cells, jit, .. } = self;
        let Some((_, pieces)) = cells.constants.get_mut(&key) else { return };
        *pieces -= 1;
        if *pieces == 0
            && let Some((cell, _)) = cells.constants.remove(&key)
        {
            cell.remove(jit.gc_mut());
        }
    }

    fn find_global(&self, name: &str, ty: Type) -> Result<&Cell> {
        self.cells.check_global(name, ty)?;
        let found = self.cells.globals.get(name);
        let (_, cell) =
            found.with_context(|| format!("the code of the store has no global `{name}`"))?;
        Ok(cell)
    }

    /// The value of a global.
    pub(super) fn read_global<V: Value>(&mut self, name: &str) -> Result<V> {
        let word = self.find_global(name, V::TYPE)?.get();
        V::from_raw(self, ValRaw::u64(word))
    }

    /// Overwrites a global.
    pub(super) fn write_global<V: Value>(&mut self, name: &str, value: V) -> Result<()> {
        self.find_global(name, V::TYPE)?;
        value.check(self)?;
        let raw = value.into_raw(self)?;
        let StoreInner { cells, jit, .. } = self;
        let (_, cell) = cells.globals.get(name).context("it was there")?;
        match V::TYPE {
            Type::Ref => {
                let gc_ref = VMGcRef::from_raw_u32(raw.get_u32());
                cell.set_ref(jit.gc_mut(), gc_ref.as_ref());
            }
            _ => cell.set(raw.get_u64()),
        }
        Ok(())
    }
}
