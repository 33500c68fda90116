//! Tests of a store's log messages. They are alone in their binary, because the logger belongs to
//! the process.

use gc_runtime::collector::drc::DrcCollector;
use gc_runtime::{GcRootsList, GcStore, HeapOptions, IncompleteWalk, TraceRoots};
use std::sync::atomic::{AtomicUsize, Ordering};

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

/// Counts warnings.
struct Counter;

impl log::Log for Counter {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            WARNINGS.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// A mutator that cannot find its roots.
struct Lost;

impl TraceRoots for Lost {
    fn trace_stack(&mut self, _: &mut GcRootsList) -> Result<(), IncompleteWalk> {
        Err(IncompleteWalk { why: "the test says so".into() })
    }
}

#[test]
fn skipped_collections_are_warned_of_once_for_each_store() {
    log::set_logger(&Counter).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    for stores in 1..=2 {
        let mut store = GcStore::new(&DrcCollector, &HeapOptions::default()).unwrap();
        for _ in 0..3 {
            assert_eq!(store.gc(&mut Lost), Ok(false));
        }
        assert_eq!(WARNINGS.load(Ordering::Relaxed), stores);
    }
}
