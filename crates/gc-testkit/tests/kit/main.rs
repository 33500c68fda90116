//! The test kit on this project's collectors.

mod clif;
mod random;
mod trials;
mod weak;

use gc_runtime::GcRuntime;
use gc_testkit::Subject;
use std::sync::{Arc, LazyLock};

/// This project's collectors.
fn ours() -> Vec<Subject<'static>> {
    static OURS: LazyLock<Vec<Arc<dyn GcRuntime>>> = LazyLock::new(gc_runtime::collector::all);
    Subject::each(&OURS)
}
