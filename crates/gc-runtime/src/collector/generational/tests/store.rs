//! A store drives the heap: what it collects when, over many nurseries.

use super::*;
use crate::{GcStore, IncompleteWalk, NoRoots, TraceRoots};

/// Names a stack of one slot.
struct OneSlot(u64);

impl TraceRoots for OneSlot {
    #[allow(unsafe_code)]
    fn trace_roots(&mut self, roots: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        // SAFETY: borrowed with `self`.
        unsafe { roots.add_stack_root(&raw mut self.0) };
        Ok(())
    }
}

#[test]
fn a_store_collects_the_nursery_mostly_and_the_rest_in_time() {
    let options = HeapOptions { initial: 1 << 20, ..options(64 << 20) };
    let mut store = GcStore::new(&GenerationalCollector, &options).unwrap();
    add_layouts(store.heap_mut());
    // A queue of 20,000 pairs: each dies old.
    let mut stack = OneSlot(0);
    let anchor = store.alloc_struct(&mut stack, PAIR).unwrap();
    stack.0 = u64::from(anchor.as_raw_u32());
    let anchor = |stack: &OneSlot| VMGcRef::from_raw_u32(stack.0 as u32).unwrap();
    for n in 0..2_000_000 {
        let pair = store.alloc_struct(&mut stack, PAIR).unwrap();
        let anchor = anchor(&stack);
        let field = |at| store.read_field(&anchor, at, StorageType::Ref).unwrap() as u32;
        let (first, last) = (VMGcRef::from_raw_u32(field(8)), VMGcRef::from_raw_u32(field(12)));
        match last {
            Some(last) => store.write_field_ref(&last, 12, Some(&pair)).unwrap(),
            None => store.write_field_ref(&anchor, 8, Some(&pair)).unwrap(),
        }
        store.write_field_ref(&anchor, 12, Some(&pair)).unwrap();
        if let Some(first) = first.filter(|_| n > 20_000) {
            let second = store.read_field(&first, 12, StorageType::Ref).unwrap() as u32;
            let second = VMGcRef::from_raw_u32(second);
            store.write_field_ref(&anchor, 8, second.as_ref()).unwrap();
        }
    }
    let stats = store.stats();
    assert!(stats.collections > 100, "{stats:?}");
    assert!(stats.heap_bytes < 8 << 20, "{stats:?}");
    assert!(store.gc(&mut stack).unwrap());
    assert_eq!(store.stats().live_objects, 20_002);
    store.heap().verify().unwrap();
    assert!(store.gc(&mut NoRoots).unwrap());
    assert_eq!(store.stats().live_objects, 0);
}
