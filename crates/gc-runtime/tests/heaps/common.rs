//! Shared parts of these tests: the types that they allocate and the heaps on which they run.

use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector, NullCollector};
use gc_runtime::{
    GcRootsList, GcRuntime, GcStore, HeapBounds, HeapOptions, IncompleteWalk, NoStack, TraceRoots,
};
use gc_types::{ArrayLayout, ExnLayout, GcLayout, StorageType, StructLayout, TypeIndex, VMGcRef};
use std::sync::Arc;

pub(crate) const NODE: TypeIndex = TypeIndex::new(0).unwrap();
pub(crate) const MIXED: TypeIndex = TypeIndex::new(1).unwrap();
pub(crate) const BYTES: TypeIndex = TypeIndex::new(2).unwrap();
pub(crate) const REFS: TypeIndex = TypeIndex::new(3).unwrap();
pub(crate) const LONGS: TypeIndex = TypeIndex::new(4).unwrap();
pub(crate) const EXN: TypeIndex = TypeIndex::new(5).unwrap();

/// Offsets of a node's two references and its number.
pub(crate) const LEFT: u32 = 8;
pub(crate) const RIGHT: u32 = 12;
pub(crate) const VALUE: u32 = 16;

/// The collectors whose heaps keep an object that the host refers to without a root.
pub(crate) const COLLECTORS: [&dyn GcRuntime; 2] = [&NullCollector, &DrcCollector];
pub(crate) const ALL_COLLECTORS: [&dyn GcRuntime; 4] =
    [&NullCollector, &DrcCollector, &CopyingCollector, &GenerationalCollector::new()];

pub(crate) fn layouts() -> Vec<(TypeIndex, Arc<GcLayout>)> {
    use StorageType::*;
    let array = |ty| GcLayout::Array(ArrayLayout::new(ty));
    [
        (NODE, GcLayout::Struct(StructLayout::new([Ref, Ref, I64]).unwrap())),
        (MIXED, GcLayout::Struct(StructLayout::new([I8, I16, F32, F64, V128, Ref]).unwrap())),
        (BYTES, array(I8)),
        (REFS, array(Ref)),
        (LONGS, array(I64)),
        (EXN, GcLayout::Exn(ExnLayout::new([Ref, I32]).unwrap())),
    ]
    .map(|(ty, layout)| (ty, Arc::new(layout)))
    .into()
}

pub(crate) fn store_with(runtime: &dyn GcRuntime, options: &HeapOptions) -> GcStore {
    let mut store = GcStore::new(runtime, options).unwrap();
    layouts().iter().for_each(|(ty, layout)| store.ensure_layout(*ty, layout).unwrap());
    store
}

pub(crate) fn options(bounds: HeapBounds) -> HeapOptions {
    HeapOptions { initial: 256 << 10, maximum: 8 << 20, bounds, ..HeapOptions::default() }
}

/// Runs `test` on a heap of each of [`COLLECTORS`], guarded and checked.
pub(crate) fn on_every_heap(test: impl Fn(&str, GcStore)) {
    on_heaps_of(&COLLECTORS, test);
}

/// Runs `test` on a heap of each of these collectors, guarded and checked.
pub(crate) fn on_heaps_of(collectors: &[&dyn GcRuntime], test: impl Fn(&str, GcStore)) {
    for runtime in collectors {
        for bounds in [HeapBounds::Guarded, HeapBounds::Checked] {
            if cfg!(miri) && bounds == HeapBounds::Guarded {
                continue;
            }
            test(runtime.name(), store_with(*runtime, &options(bounds)));
        }
    }
}

pub(crate) fn node(store: &mut GcStore) -> VMGcRef {
    store.alloc_struct(&mut NoStack, NODE).unwrap()
}

/// A table with one element, which is registered with a store.
#[cfg(feature = "gc_zeal")]
pub(crate) fn table(store: &mut GcStore) -> Vec<u32> {
    let mut table = vec![0];
    gc_testkit::roots::add_slots(&mut table, gc_types::RootKind::Table, 2, store.roots_mut());
    table
}

/// A mutator that cannot find its roots.
pub(crate) struct Lost;

impl TraceRoots for Lost {
    fn trace_stack(&mut self, _roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        Err(IncompleteWalk { why: "the test says so".into() })
    }
}
