//! The processor time of a thread.

use std::time::Duration;

/// The time for which this thread has used a processor. Unlike wall-clock time, it does not grow while
/// other processes use the processor. Each call takes some 200 ns.
#[cfg(not(miri))]
pub(crate) fn thread_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Wall-clock time, because Miri has no other.
#[cfg(miri)]
pub(crate) fn thread_time() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}
