//! All roots of a store, borrowed together with its heap.

use super::globals::Globals;
use super::roots::RootTable;
use crate::instance::data::{InstanceData, SegmentElements};
use crate::instance::table::{TableData, TableElements};
use gc_jit::StackRoots;
use gc_runtime::{GcRootsList, IncompleteWalk, RootKind, RootsWanted, TraceRoots};
use gc_types::VMGcRef;

/// The parts of a store that contain its roots.
pub(crate) struct StoreRoots<'a> {
    pub(crate) stack: StackRoots<'a>,
    pub(crate) handles: &'a mut RootTable,
    pub(crate) globals: &'a mut Globals,
    pub(crate) tables: &'a mut [TableData],
    pub(crate) instances: &'a mut [InstanceData],
}

impl TraceRoots for StoreRoots<'_> {
    fn trace_roots(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        self.stack.trace_roots(roots)?;
        match roots.wanted() {
            RootsWanted::Stack => return Ok(()),
            RootsWanted::Remembered => self.handles.trace_recent(roots),
            RootsWanted::All => self.handles.trace(roots),
        }
        self.globals.trace(roots);
        let in_tables = self.tables.iter_mut().filter_map(|table| match &mut table.elements {
            TableElements::Gc(elements) => Some(&mut elements[..]),
            TableElements::Func(_) => None,
        });
        if roots.wanted() == RootsWanted::Remembered {
            for elements in in_tables {
                // SAFETY: elements are references, and no table changes before the collection that
                // uses the list has ended.
                unsafe { roots.add_remembered(elements.as_mut_ptr(), elements.len()) };
            }
            return Ok(());
        }
        let segments = self.instances.iter_mut().flat_map(|instance| &mut instance.elements);
        let in_segments = segments.filter_map(|segment| match segment {
            SegmentElements::Gc(elements) => Some(&mut elements[..]),
            SegmentElements::Func(_) => None,
        });
        // A table may have ten million nulls, which should not be in a list of roots.
        for word in in_tables.chain(in_segments).flatten().filter(|word| **word != 0) {
            // SAFETY: elements are references, and no table or segment changes before the
            // collection that uses the list has ended.
            unsafe { roots.add_non_stack_root(word, RootKind::Table) };
        }
        Ok(())
    }

    fn drop_dead_handles(&mut self, drop: &mut dyn FnMut(VMGcRef)) {
        self.handles.take_dead().into_iter().for_each(drop);
    }
}
