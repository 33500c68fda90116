//! Tables: elements outside the heap, written through the collector's barrier.

use crate::instance::data::SegmentElements;
use crate::instance::zeroed::ZeroedVec;
use crate::store::StoreOpaque;
use crate::vmctx::VMTableDefinition;
use crate::{Func, Val};
use anyhow::Result;
use gc_jit::VMFuncRef;
use gc_runtime::{GcStore, SlotsId};
use gc_types::{RootKind, Trap, VMGcRef};
use std::fmt;
use std::ptr::NonNull;
use wasmtime_types::Table;

/// Elements a table may never have more of.
pub(crate) const MAX_ELEMENTS: u64 = 10_000_000;

/// A table's elements. Null is all zero bytes, and so costs nothing until overwritten.
pub(crate) enum TableElements {
    /// References into the heap, as words; each is counted.
    Gc(ZeroedVec<u32>),
    /// Function references.
    Func(ZeroedVec<*mut VMFuncRef>),
}

/// One element, on its way: a reference word that is not counted, or a function.
#[derive(Clone, Copy)]
pub(crate) enum Element {
    Gc(u32),
    Func(*mut VMFuncRef),
}

/// A table of a store.
pub(crate) struct TableData {
    /// What compiled code sees.
    pub(crate) definition: NonNull<VMTableDefinition>,
    pub(crate) ty: Table,
    pub(crate) elements: TableElements,
    /// Its number in the store.
    number: u32,
    /// Its elements as roots, once there are any.
    roots: Option<SlotsId>,
}

/// Overwrites a counted slot outside the heap.
pub(crate) fn write_slot(gc: &mut GcStore, slot: &mut u32, word: u32) {
    gc.write_slot(slot, VMGcRef::from_raw_u32(word).as_ref());
}

/// Why a table does not grow. Shows what to say behind "cannot have so many elements".
#[derive(Clone, Copy, Debug)]
pub(crate) enum CannotGrow {
    /// The table's own limit, or the system has no memory.
    Table,
    /// Too few elements are left for all tables of the store.
    Store { maximum: u64, left: u64 },
}

impl fmt::Display for CannotGrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CannotGrow::Table => Ok(()),
            CannotGrow::Store { maximum, left } => write!(
                f,
                ": those of a store may have {maximum} in all \
                 (`table_elements_maximum`), and {left} are left"
            ),
        }
    }
}

/// The range of `len` elements from `at` on, if it is inside `size` elements.
pub(crate) fn range(at: u32, len: u32, size: usize) -> Result<std::ops::Range<usize>, Trap> {
    let end = u64::from(at) + u64::from(len);
    if end > size as u64 {
        return Err(Trap::TableOutOfBounds);
    }
    Ok(at as usize..end as usize)
}

impl TableData {
    /// A table with no elements yet, number `number` of its store. `definition` is filled in and must live as
    /// long as the table does.
    pub(crate) fn new(
        number: usize,
        ty: Table,
        definition: NonNull<VMTableDefinition>,
    ) -> TableData {
        let elements = if ty.ref_type.is_vmgcref_type() {
            TableElements::Gc(ZeroedVec::new())
        } else {
            TableElements::Func(ZeroedVec::new())
        };
        let number = u32::try_from(number).expect("fewer than 2^32 tables");
        let mut table = TableData { definition, ty, elements, number, roots: None };
        table.set_definition();
        table
    }

    fn set_definition(&mut self) {
        let (base, len) = match &mut self.elements {
            TableElements::Gc(elements) => (elements.as_mut_ptr().cast(), elements.len()),
            TableElements::Func(elements) => (elements.as_mut_ptr().cast(), elements.len()),
        };
        // SAFETY: the definition lives as long as the table.
        unsafe { self.definition.write(VMTableDefinition { base, len }) };
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        match &self.elements {
            TableElements::Gc(elements) => elements.len(),
            TableElements::Func(elements) => elements.len(),
        }
    }

    /// Grows by `delta` elements, all `init`; the former size, `None` if it cannot.
    fn grow(&mut self, gc: &mut GcStore, delta: u64, init: Element) -> Option<u32> {
        let old = self.len();
        let maximum = self.ty.limits.max.unwrap_or(MAX_ELEMENTS).min(MAX_ELEMENTS);
        let new = (old as u64).checked_add(delta).filter(|new| *new <= maximum)? as usize;
        let maximum = maximum as usize;
        match (&mut self.elements, init) {
            (TableElements::Gc(elements), Element::Gc(word)) => {
                elements.grow(new, maximum)?;
                let first = NonNull::new(elements.as_mut_ptr()).expect("elements have an address");
                let roots = gc.roots_mut();
                // SAFETY: elements are references, at this address until the table grows
                // again or the store, with the heap and its roots, is dropped.
                unsafe {
                    match self.roots {
                        Some(id) => roots.move_slots(id, first, new),
                        None => {
                            let kind = RootKind::Table;
                            self.roots = Some(roots.add_slots(kind, self.number, first, new));
                        }
                    }
                }
                if word != 0 {
                    for slot in &mut elements[old..] {
                        write_slot(gc, slot, word);
                    }
                }
            }
            (TableElements::Func(elements), Element::Func(func)) => {
                elements.grow(new, maximum)?;
                if !func.is_null() {
                    elements[old..].fill(func);
                }
            }
            _ => unreachable!("an element of the table's own kind"),
        }
        self.set_definition();
        u32::try_from(old).ok()
    }

    /// Element `index`, not counted; `None` if there is none.
    pub(crate) fn get(&self, index: u32) -> Option<Element> {
        let index = index as usize;
        match &self.elements {
            TableElements::Gc(elements) => elements.get(index).map(|word| Element::Gc(*word)),
            TableElements::Func(elements) => elements.get(index).map(|func| Element::Func(*func)),
        }
    }

    /// Overwrites `len` elements from `at` on.
    pub(crate) fn fill(
        &mut self,
        gc: &mut GcStore,
        at: u32,
        element: Element,
        len: u32,
    ) -> Result<(), Trap> {
        let target = range(at, len, self.len())?;
        match (&mut self.elements, element) {
            (TableElements::Gc(elements), Element::Gc(word)) => {
                for slot in &mut elements[target] {
                    write_slot(gc, slot, word);
                }
            }
            (TableElements::Func(elements), Element::Func(func)) => elements[target].fill(func),
            _ => unreachable!("an element of the table's own kind"),
        }
        Ok(())
    }

    /// Copies `source[from..][..len]` to `at`.
    pub(crate) fn init(
        &mut self,
        gc: &mut GcStore,
        at: u32,
        source: &SegmentElements,
        from: u32,
        len: u32,
    ) -> Result<(), Trap> {
        let source_range = range(from, len, source.len())?;
        let target = range(at, len, self.len())?;
        match (&mut self.elements, source) {
            (TableElements::Gc(elements), SegmentElements::Gc { id, .. }) => {
                for (slot, element) in elements[target].iter_mut().zip(source_range) {
                    let value = &gc.roots().segment(*id)[element];
                    let value = value.as_ref().map(VMGcRef::unchecked_copy);
                    gc.write_slot(slot, value.as_ref());
                }
            }
            (TableElements::Func(elements), SegmentElements::Func(source)) => {
                elements[target].copy_from_slice(&source[source_range]);
            }
            // A dropped segment has no elements of any kind.
            _ => debug_assert_eq!(len, 0),
        }
        Ok(())
    }

    /// Copies `len` elements from `from` to `at`; the ranges may overlap.
    pub(crate) fn copy_within(
        &mut self,
        gc: &mut GcStore,
        at: u32,
        from: u32,
        len: u32,
    ) -> Result<(), Trap> {
        let source = range(from, len, self.len())?;
        let target = range(at, len, self.len())?;
        match &mut self.elements {
            TableElements::Gc(elements) => {
                let mut copy = |i: usize| {
                    let word = elements[source.start + i];
                    write_slot(gc, &mut elements[target.start + i], word);
                };
                if target.start <= source.start {
                    (0..len as usize).for_each(&mut copy);
                } else {
                    (0..len as usize).rev().for_each(&mut copy);
                }
            }
            TableElements::Func(elements) => elements.copy_within(source, target.start),
        }
        Ok(())
    }

    /// Copies elements of another table here.
    pub(crate) fn copy_from(
        &mut self,
        gc: &mut GcStore,
        at: u32,
        other: &TableData,
        from: u32,
        len: u32,
    ) -> Result<(), Trap> {
        let source_range = range(from, len, other.len())?;
        let target = range(at, len, self.len())?;
        match (&mut self.elements, &other.elements) {
            (TableElements::Gc(elements), TableElements::Gc(source)) => {
                for (slot, word) in elements[target].iter_mut().zip(&source[source_range]) {
                    write_slot(gc, slot, *word);
                }
            }
            (TableElements::Func(elements), TableElements::Func(source)) => {
                elements[target].copy_from_slice(&source[source_range]);
            }
            _ => unreachable!("validation compares the tables' types"),
        }
        Ok(())
    }
}

impl StoreOpaque {
    /// A value of the host's as a table's element, not counted.
    pub(crate) fn element_of(&self, value: &Val) -> Result<Element> {
        Ok(match value {
            Val::FuncRef(func) => Element::Func(match func {
                Some(func) => func.as_vm(self)?.as_ptr(),
                None => std::ptr::null_mut(),
            }),
            _ => Element::Gc(self.gc_word(value)?),
        })
    }

    /// The word of a GC reference, not counted; zero for null.
    pub(crate) fn gc_word(&self, value: &Val) -> Result<u32> {
        Ok(value.gc_ref(self)?.map_or(0, |gc_ref| gc_ref.as_raw_u32()))
    }

    /// A table's element as a value of the host's.
    pub(crate) fn value_of(&mut self, element: Element, ty: &Table) -> Val {
        match element {
            Element::Func(func) => Val::FuncRef(Func::from_vm(self, func)),
            Element::Gc(word) => {
                let gc_ref = VMGcRef::from_raw_u32(word);
                let gc_ref = gc_ref.map(|gc_ref| self.gc_store_mut().clone_gc_ref(&gc_ref));
                Val::from_gc_ref(self, gc_ref, &ty.ref_type)
            }
        }
    }

    /// Takes `count` elements of those that tables and segments may have in all.
    pub(crate) fn take_elements(&mut self, count: u64) -> Result<(), CannotGrow> {
        match self.elements_left.checked_sub(count) {
            Some(left) => self.elements_left = left,
            None => {
                let maximum = self.engine().config().table_elements_maximum;
                return Err(CannotGrow::Store { maximum, left: self.elements_left });
            }
        }
        Ok(())
    }

    /// Grows a table by `delta` elements, all `init`; the former size.
    pub(crate) fn grow_table(
        &mut self,
        index: usize,
        delta: u64,
        init: Element,
    ) -> Result<u32, CannotGrow> {
        self.take_elements(delta)?;
        let (table, gc) = self.table_and_gc(index);
        table.grow(gc, delta, init).ok_or_else(|| {
            self.elements_left += delta;
            CannotGrow::Table
        })
    }

    /// A table beside the heap, to change both.
    pub(crate) fn table_and_gc(&mut self, index: usize) -> (&mut TableData, &mut GcStore) {
        (&mut self.tables[index], self.jit.gc_mut())
    }
}
