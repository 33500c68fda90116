//! Executors for tests. What they do does not depend on time, so a failure can be repeated, except for [`beside`].

use gc_heap::lend::{GcExecutor, GcThreads, GcWork};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Does all work at once, on the thread that asks for it. So a heap lends, and has its tables back in the slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtOnce;

impl GcExecutor for AtOnce {
    fn execute(&self, work: Arc<dyn GcWork>) {
        work.run();
    }
}

/// Does work when it is asked for the next one. So most recalls come before a thread has begun, and some work comes when
/// something else is lent.
///
/// # Examples
/// ```
/// use gc_heap::HeapOptions;
/// use gc_testkit::threads::Late;
/// use std::sync::Arc;
///
/// let options = HeapOptions { threads: Arc::new(Late::default()), ..HeapOptions::default() };
/// assert!(options.threads.is_parallel());
/// ```
#[derive(Default)]
pub struct Late(Mutex<Option<Arc<dyn GcWork>>>);

impl fmt::Debug for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Late")
    }
}

impl GcExecutor for Late {
    fn execute(&self, work: Arc<dyn GcWork>) {
        let before = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(work);
        if let Some(work) = before {
            work.run();
        }
    }
}

/// One thread for all heaps of the process that ask for it.
pub fn beside() -> Arc<dyn GcExecutor> {
    static THREADS: LazyLock<Arc<GcThreads>> = LazyLock::new(|| Arc::new(GcThreads::new(1)));
    THREADS.clone()
}
