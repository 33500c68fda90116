//! Code that was replaced: it is freed when nothing can call it and none of it runs.
//!
//! A piece of code for whose functions no name stands can still be on the stack, and the heap can have
//! references to its functions. The stack and the heap are searched each time the number of retired pieces has
//! doubled and their code has a part of the size of the heap. So all searches together take time in proportion to the
//! code that was loaded. A search collects all garbage first, which may refer to functions too.
#![allow(unsafe_code)]

use super::StoreInner;
use super::reference::Reference;
use anyhow::Result;
use gc_jit::JitStore as _;
use gc_runtime::HeapError;
use gc_types::{ArrayLayout, GcLayout, StorageType};
use std::collections::{BTreeMap, BTreeSet};

/// The number of retired pieces for which it is not worth while to look at the stack and the heap.
const FEW: usize = 16;

/// Where objects of a type have references to functions.
enum Places {
    Fields(Vec<u32>),
    Elements,
}

impl StoreInner {
    /// Frees the pieces and host functions that no name stands for and that nothing can call.
    pub(super) fn free_retired(&mut self) {
        let is_active = self.jit().is_active();
        if !is_active {
            self.retired_hosts.clear();
        }
        let is_cheap = !is_active && !self.has_references();
        if self.retired.is_empty() || !is_cheap && self.retired.len() < self.look_at {
            return;
        }
        // If the stack or the heap cannot be searched, they may have everything.
        if let Ok(needed) = self.needed() {
            self.free_others(&needed);
        }
        self.look_at = 2 * self.retired.len() + FEW + self.pieces_like_heap();
    }

    /// The number of pieces of code that take about a quarter of the memory of the live objects: a search takes time
    /// in proportion to these.
    fn pieces_like_heap(&self) -> usize {
        const PIECE: u64 = 16 << 10;
        (self.gc().stats().live_bytes / (4 * PIECE)) as usize
    }

    /// Whether there are references to functions of retired pieces.
    fn has_references(&self) -> bool {
        self.retired.iter().any(|id| !self.pieces[id].references.is_empty())
    }

    /// The retired pieces that are on the stack or in the heap, by their places in the list.
    fn needed(&mut self) -> Result<Vec<bool>> {
        let on_stack: BTreeSet<_> = self.jit().code_on_stack()?.into_iter().collect();
        let references = self.retired.iter().flat_map(|id| &self.pieces[id].references);
        let numbers: BTreeSet<u32> = references.map(Reference::number).collect();
        let mut called = BTreeSet::new();
        if !numbers.is_empty() {
            // Stack maps do not have the numbers of functions, so a frame may have one anywhere.
            called = self.jit().numbers_on_stack(&numbers).unwrap_or(numbers);
            called.extend(self.functions_in_heap()?);
        }
        let needed = self.retired.iter().map(|id| {
            let piece = &self.pieces[id];
            let mut references = piece.references.iter();
            on_stack.contains(&piece.code.memory().base())
                || references.any(|it| called.contains(&it.number()))
        });
        Ok(needed.collect())
    }

    /// The numbers of the functions to which objects refer.
    fn functions_in_heap(&mut self) -> Result<BTreeSet<u32>> {
        let types = self.types.values().filter_map(|ty| {
            let (_, layout) = ty.object()?;
            Some((ty.index().as_u32(), places(layout)?))
        });
        let types: BTreeMap<u32, Places> = types.collect();
        let mut found: BTreeSet<u32> = self.cells.functions().collect();
        if types.is_empty() || !self.gc().has_heap() {
            return Ok(found);
        }
        // Garbage refers to functions too.
        self.collect()?;
        let gc = self.gc();
        let Some(heap) = gc.heap() else { return Ok(found) };
        let mut result: Result<(), HeapError> = Ok(());
        heap.for_each_object(&mut |object| {
            let mut look = || {
                let Some(places) = types.get(&gc.header(&object)?.ty().as_u32()) else {
                    return Ok(());
                };
                let mut add = |offset| {
                    let number = gc.read_field(&object, offset, StorageType::FuncRef)?;
                    found.insert(number as u32);
                    Ok(())
                };
                match places {
                    Places::Fields(offsets) => offsets.iter().copied().try_for_each(&mut add),
                    Places::Elements => {
                        let length = gc.array_len(&object)?;
                        let (first, _) = gc.array_element(&object, 0, length)?;
                        (0..length).try_for_each(|n| add(first + n * StorageType::FuncRef.size()))
                    }
                }
            };
            if result.is_ok() {
                result = look();
            }
        })?;
        result?;
        Ok(found)
    }

    /// Frees the retired pieces that are not `needed`.
    fn free_others(&mut self, needed: &[bool]) {
        let StoreInner { pieces, retired, .. } = self;
        let mut freed = Vec::new();
        let mut needed = needed.iter();
        retired.retain(|id| {
            let is_needed = needed.next().copied().unwrap_or(true);
            if !is_needed {
                freed.extend(pieces.remove(id));
            }
            is_needed
        });
        for piece in freed {
            // SAFETY: none of it is on the stack. No name stands for a function of this piece, and no object
            // refers to one.
            unsafe { self.free(piece) };
        }
    }
}

/// Where objects with this layout have references to functions. `None` if they have none.
fn places(layout: &GcLayout) -> Option<Places> {
    match layout {
        GcLayout::Array(ArrayLayout { element: StorageType::FuncRef, .. }) => {
            Some(Places::Elements)
        }
        GcLayout::Array(_) => None,
        GcLayout::Struct(_) | GcLayout::Exn(_) => {
            let fields = layout.fields()?.iter().filter(|field| field.ty == StorageType::FuncRef);
            let offsets: Vec<_> = fields.map(|field| field.offset).collect();
            (!offsets.is_empty()).then_some(Places::Fields(offsets))
        }
    }
}
