//! A host that makes many handles outside a scope is warned of it, once for each store.

use anyhow::Result;
use gc_wasm::{AnyRef, I31, RootScope, Store};
use std::sync::Mutex;

static WARNINGS: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() == log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            WARNINGS.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn warnings() -> usize {
    let warnings = WARNINGS.lock().unwrap();
    assert!(warnings.iter().all(|text| text.contains("RootScope")), "{warnings:?}");
    warnings.len()
}

#[test]
fn a_loop_without_a_scope_is_warned_of() -> Result<()> {
    log::set_logger(&Logger).expect("there is no other logger");
    log::set_max_level(log::LevelFilter::Warn);
    let many = Store::<()>::ROOTED_WARNING;
    let make = |store: &mut Store<()>| {
        AnyRef::from_i31(store, I31::wrapping_i32(1));
    };

    let mut store = Store::<()>::default();
    for _ in 0..3 * many {
        let mut scope = RootScope::new(&mut store);
        AnyRef::from_i31(&mut scope, I31::wrapping_i32(1));
    }
    assert_eq!(warnings(), 0, "each turn has a scope");
    (1..many).for_each(|_| make(&mut store));
    assert_eq!(warnings(), 0);
    (0..many).for_each(|_| make(&mut store));
    assert_eq!(warnings(), 1);

    let mut other = Store::<()>::default();
    let mut scope = RootScope::new(&mut other);
    for _ in 0..many {
        AnyRef::from_i31(&mut scope, I31::wrapping_i32(1));
    }
    drop(scope);
    (0..many).for_each(|_| make(&mut other));
    assert_eq!(warnings(), 2, "one for each store");
    Ok(())
}
