//! Heap memory. (skeleton)

/// How a heap is reserved and bounded.
#[derive(Clone, Debug)]
pub struct HeapOptions {
    /// Bytes mapped from the start.
    pub initial: u64,
    /// Bytes it may never grow past.
    pub maximum: u64,
    /// How emitted code may address it.
    pub bounds: HeapBounds,
    /// Collect at every Nth allocation; 0: never for that. Needs feature gc_zeal, otherwise GcStore::new errors.
    pub zeal: u32,
}

/// How emitted code stays inside the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum HeapBounds {
    /// 4 GiB and a guard are reserved: 32-bit indices cannot leave them; no checks are emitted.
    #[default]
    Guarded,
    /// Only `maximum` bytes are reserved; every access is compared against the mapped bound.
    Checked,
}

/// The bytes of one heap and its data words. Sole owner of writes.
#[derive(Debug)]
pub struct HeapMemory { _p: () }
