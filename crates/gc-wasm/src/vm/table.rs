//! Tables: their elements are outside the heap and are written with the collector's barrier.

use super::func_ref::FuncRef;
use super::instance::SegmentElements;
use super::layout::DEFINITION_LEN;
use super::words::VMWords;
use crate::Engine;
use crate::module::table_growth::TableGrowth;
use crate::pool::PoolPermit;
use anyhow::Result;
use gc_runtime::{GcStore, HeapError, MemoryPurpose, SlotsId, ZeroedVec};
use gc_types::{Trap, VMGcRef};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use wasmtime_types::Table;

/// The maximal number of elements of a table.
pub(crate) const MAX_ELEMENTS: u64 = 10_000_000;

/// A table's elements. Null consists of zero bytes, so it uses no memory until it is overwritten.
pub(crate) enum TableElements {
    /// References into the heap, as words. Each is counted.
    Gc(ZeroedVec<u32>),
    /// Function references.
    Func(ZeroedVec<Option<FuncRef>>),
}

/// One element that is passed around: a reference word, which is not counted, or a function.
#[derive(Clone, Copy)]
pub(crate) enum Element {
    Gc(u32),
    Func(Option<FuncRef>),
}

/// A table of a store.
pub(crate) struct TableData {
    /// The part that compiled code reads.
    pub(crate) definition: VMWords,
    pub(crate) ty: Table,
    growth: TableGrowth,
    pub(crate) elements: TableElements,
    /// Its number in the store.
    number: u32,
    /// Its elements as roots, if it has any.
    roots: Option<SlotsId>,
    /// Whether it has new elements that are being filled and that nobody sees yet.
    is_growing: bool,
    /// The most elements that any table of the engine has.
    most: u64,
    _place: PoolPermit,
}

/// Overwrites a counted slot that is outside the heap.
pub(crate) fn write_slot(gc: &mut GcStore, slot: &mut u32, word: u32) {
    gc.write_slot(slot, VMGcRef::from_raw_u32(word).as_ref());
}

/// The reason why a memory or a table does not grow. Its text continues the message "cannot have so
/// many elements".
#[derive(Clone, Debug)]
pub(crate) enum CannotGrow {
    /// The maximum of its type.
    Maximum,
    /// The engine's limit.
    Limit(String),
    /// The store's limiter.
    Limiter,
    /// There is no memory.
    Memory(HeapError),
    /// The code that wanted it was ended.
    Interrupted,
    /// It is growing: its new elements are being filled.
    Growing,
    /// Too few elements are left for all tables of the store.
    Store { maximum: u64, left: u64 },
}

impl CannotGrow {
    /// Why a limiter refuses `desired` bytes or elements of a memory or table that has at most `maximum`.
    /// Limiters also refuse what is too much anyway.
    pub(crate) fn refused(desired: usize, maximum: Option<usize>) -> CannotGrow {
        match maximum {
            Some(maximum) if desired > maximum => CannotGrow::Maximum,
            _ => CannotGrow::Limiter,
        }
    }
}

impl fmt::Display for CannotGrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CannotGrow::Maximum => Ok(()),
            CannotGrow::Limit(limit) => write!(f, ": {limit}"),
            CannotGrow::Limiter => f.write_str(": the store's limiter refuses it"),
            CannotGrow::Memory(error) => write!(f, ": {error}"),
            CannotGrow::Interrupted => f.write_str(": it is interrupted"),
            CannotGrow::Growing => f.write_str(": it is growing already"),
            CannotGrow::Store { maximum, left } => write!(
                f,
                ": those of a store may have {maximum} in all \
                 (`table_elements_maximum`), and {left} are left"
            ),
        }
    }
}

/// The range of `len` elements from `at`, if it lies within `size` elements.
pub(crate) fn range(at: u64, len: u64, size: usize) -> Result<Range<usize>, Trap> {
    let end = at.checked_add(len).filter(|end| *end <= size as u64);
    let end = end.ok_or(Trap::TableOutOfBounds)?;
    Ok(at as usize..end as usize)
}

impl TableData {
    /// A table with no elements yet, number `number` of its store. The elements will come from
    /// the engine's source. `definition` is filled in.
    ///
    /// # Errors
    /// If the engine's pool has as many tables as it may have.
    pub(crate) fn new(
        engine: &Engine,
        number: usize,
        ty: Table,
        growth: TableGrowth,
        definition: VMWords,
    ) -> Result<TableData> {
        let (source, place) = (engine.memory_source(), engine.take_table()?);
        let elements = if ty.ref_type.is_vmgcref_type() {
            TableElements::Gc(ZeroedVec::new(source, MemoryPurpose::Table))
        } else {
            TableElements::Func(ZeroedVec::new(source, MemoryPurpose::Table))
        };
        let number = u32::try_from(number).expect("fewer than 2^32 tables");
        let most = engine.pool().map_or(MAX_ELEMENTS, |pool| pool.table_elements());
        let most = most.min(MAX_ELEMENTS);
        let _place = place;
        let mut table = TableData {
            definition,
            ty,
            growth,
            elements,
            number,
            roots: None,
            is_growing: false,
            most,
            _place,
        };
        table.set_definition(0);
        Ok(table)
    }

    fn set_definition(&mut self, len: usize) {
        let base = match &mut self.elements {
            TableElements::Gc(elements) => elements.as_mut_ptr().cast::<u8>(),
            TableElements::Func(elements) => elements.as_mut_ptr().cast(),
        };
        self.definition.set_pointer(0, base);
        self.definition.set(DEFINITION_LEN, len as u64);
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.definition.get(DEFINITION_LEN) as usize
    }

    /// The bytes of an element.
    pub(crate) fn element_size(&self) -> u32 {
        match &self.elements {
            TableElements::Gc(_) => 4,
            TableElements::Func(_) => 8,
        }
    }

    /// Checks that it has `len` elements from `at` on.
    pub(crate) fn check(&self, at: u64, len: u64) -> Result<(), Trap> {
        range(at, len, self.len()).map(drop)
    }

    /// Begins to grow by `delta` elements. They are null, and nobody sees them until
    /// [`end_growth`](TableData::end_growth). Returns the old size.
    pub(crate) fn begin_growth(&mut self, gc: &mut GcStore, delta: u64) -> Result<u64, CannotGrow> {
        if self.is_growing {
            return Err(CannotGrow::Growing);
        }
        let old = self.len();
        let own = self.ty.limits.max.unwrap_or(u64::MAX);
        let new = (old as u64).checked_add(delta).filter(|new| *new <= own);
        let (new, maximum) = (new.ok_or(CannotGrow::Maximum)?, own.min(self.most));
        if new > maximum {
            let limit =
                format!("a table of {new} elements exceeds the limit of {maximum} elements");
            return Err(CannotGrow::Limit(limit));
        }
        let (new, maximum) = (new as usize, maximum as usize);
        let is_first = new as u64 == self.ty.limits.min;
        assert!(is_first || !self.growth.is_never(), "compiled code relies on the table's size");
        match &mut self.elements {
            TableElements::Gc(elements) => {
                // There may be more, if they could not be filled.
                let all = new.max(elements.len());
                elements.grow(all, maximum).map_err(CannotGrow::Memory)?;
                let first = NonNull::new(elements.as_mut_ptr()).expect("elements have an address");
                let roots = gc.roots_mut();
                // SAFETY: the elements are references. They stay at this address until the table
                // grows again, or until the store, with the heap and its roots, is dropped.
                unsafe {
                    match self.roots {
                        Some(id) => roots.move_slots(id, first, all),
                        None => {
                            let kind = self.growth.root_kind();
                            self.roots = Some(roots.add_slots(kind, self.number, first, all));
                        }
                    }
                }
            }
            TableElements::Func(elements) => {
                let all = new.max(elements.len());
                elements.grow(all, maximum).map_err(CannotGrow::Memory)?;
            }
        }
        self.set_definition(old);
        self.is_growing = true;
        Ok(old as u64)
    }

    /// Overwrites `len` of the new elements, from `at` on, counted from the first element of the table.
    pub(crate) fn fill_new(&mut self, gc: &mut GcStore, at: u64, init: Element, len: u64) {
        debug_assert!(self.is_growing && at >= self.len() as u64);
        match init {
            Element::Gc(0) | Element::Func(None) => {}
            init => self.overwrite(gc, at as usize..(at + len) as usize, init),
        }
    }

    /// Ends the growth: the new elements exist.
    pub(crate) fn end_growth(&mut self, delta: u64) {
        self.is_growing = false;
        self.set_definition(self.len() + delta as usize);
    }

    /// Takes the growth back: the new elements become null again.
    pub(crate) fn cancel_growth(&mut self, gc: &mut GcStore) {
        let len = self.len();
        match &mut self.elements {
            TableElements::Gc(elements) => {
                for slot in elements[len..].iter_mut().filter(|slot| **slot != 0) {
                    write_slot(gc, slot, 0);
                }
            }
            TableElements::Func(elements) => elements[len..].fill(None),
        }
        self.is_growing = false;
    }

    /// Element `index`, which is not counted. `None` if there is no such element.
    pub(crate) fn get(&self, index: u64) -> Option<Element> {
        let index = usize::try_from(index).ok().filter(|index| *index < self.len())?;
        match &self.elements {
            TableElements::Gc(elements) => elements.get(index).map(|word| Element::Gc(*word)),
            TableElements::Func(elements) => elements.get(index).map(|func| Element::Func(*func)),
        }
    }

    /// Overwrites the `len` elements that begin at `at`.
    pub(crate) fn fill(
        &mut self,
        gc: &mut GcStore,
        at: u64,
        element: Element,
        len: u64,
    ) -> Result<(), Trap> {
        let target = range(at, len, self.len())?;
        self.overwrite(gc, target, element);
        Ok(())
    }

    fn overwrite(&mut self, gc: &mut GcStore, target: Range<usize>, element: Element) {
        match (&mut self.elements, element) {
            (TableElements::Gc(elements), Element::Gc(word)) => {
                for slot in &mut elements[target] {
                    write_slot(gc, slot, word);
                }
            }
            (TableElements::Func(elements), Element::Func(func)) => elements[target].fill(func),
            _ => unreachable!("an element of the table's own kind"),
        }
    }

    /// Copies `source[from..][..len]` to `at`.
    pub(crate) fn init(
        &mut self,
        gc: &mut GcStore,
        at: u64,
        source: &SegmentElements,
        from: u64,
        len: u64,
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
            // A dropped segment has no elements.
            _ => debug_assert_eq!(len, 0),
        }
        Ok(())
    }

    /// Copies `len` elements from `from` to `at`. The ranges may overlap.
    pub(crate) fn copy_within(
        &mut self,
        gc: &mut GcStore,
        at: u64,
        from: u64,
        len: u64,
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

    /// Copies elements of another table.
    pub(crate) fn copy_from(
        &mut self,
        gc: &mut GcStore,
        at: u64,
        other: &TableData,
        from: u64,
        len: u64,
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
