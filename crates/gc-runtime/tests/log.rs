//! Tests of a store's log messages. They are one test, alone in its binary, because the logger belongs
//! to the process.

use gc_runtime::collector::{CopyingCollector, DrcCollector, GenerationalCollector};
use gc_runtime::{
    GcRootsList, GcRuntime, GcStore, HeapOptions, IncompleteWalk, NoStack, TraceRoots,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

static WARNINGS: AtomicUsize = AtomicUsize::new(0);
static ROOTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Counts warnings, and keeps the messages about roots.
struct Counter;

impl log::Log for Counter {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() <= log::Level::Warn {
            WARNINGS.fetch_add(1, Ordering::Relaxed);
        }
        let message = record.args().to_string();
        if record.level() == log::Level::Trace && message.starts_with("root: ") {
            ROOTS.lock().unwrap().push(message);
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
fn messages_of_collections() {
    log::set_logger(&Counter).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    skipped_collections_are_warned_of_once_for_each_store();
    roots_are_logged_for_each_collection();
}

/// Each collection logs the roots that its collector asks for, where the level asks for that.
fn roots_are_logged_for_each_collection() {
    let collectors: [&dyn GcRuntime; 3] =
        [&DrcCollector, &CopyingCollector, &GenerationalCollector::new()];
    for collector in collectors {
        let mut store = GcStore::new(collector, &HeapOptions::default()).unwrap();
        let externref = store.alloc_externref(&mut NoStack, Box::new(7));
        let scoped = store.root(externref.map_err(|(error, _)| error).unwrap()).unwrap();
        ROOTS.lock().unwrap().clear();
        store.gc(&mut NoStack).unwrap();
        let logged = std::mem::take(&mut *ROOTS.lock().unwrap());
        assert_eq!(logged.len(), 1, "{}: {logged:?}", collector.name());
        assert!(logged[0].starts_with("root: scoped handle 0 at 0x"), "{}", logged[0]);
        log::set_max_level(log::LevelFilter::Debug);
        store.gc(&mut NoStack).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        assert!(ROOTS.lock().unwrap().is_empty());
        assert!(store.rooted(&scoped).is_ok());
    }
}

fn skipped_collections_are_warned_of_once_for_each_store() {
    for stores in 1..=2 {
        let mut store = GcStore::new(&DrcCollector, &HeapOptions::default()).unwrap();
        for _ in 0..3 {
            assert_eq!(store.gc(&mut Lost), Ok(false));
        }
        assert_eq!(WARNINGS.load(Ordering::Relaxed), stores);
    }
}
