//! `drc` (being written).

use crate::*;

/// Makes heaps under deferred reference counting.
#[derive(Clone, Copy, Debug, Default)]
pub struct DrcCollector;

impl GcRuntime for DrcCollector {
    fn name(&self) -> &'static str {
        gc_types::collector::drc::NAME
    }

    fn new_gc_heap(&self, _memory: HeapMemory, _zeal: u32) -> Result<Box<dyn GcHeap>, HeapError> {
        todo!()
    }
}
