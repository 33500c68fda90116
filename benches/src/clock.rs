//! Two clocks: wall-clock time, and the processor time of this thread, user and system together.
//! Compiled code and all collectors run on the thread that calls them. Only memory is touched ahead on
//! another thread, which does not count, as V8's other threads do not. On a busy machine processor time is
//! the better measure.

use clap::ValueEnum;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// The clock of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The processor time of the thread.
    #[default]
    Cpu,
    /// Wall-clock time.
    Wall,
}

impl Which {
    /// The clock's name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Which::Cpu => "processor time",
            Which::Wall => "wall-clock time",
        }
    }
}

/// Time spent, by both clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Wall-clock time.
    pub wall: Duration,
    /// Processor time of this thread.
    pub cpu: Duration,
}

impl Spent {
    /// The time by one of the clocks.
    pub fn by(self, which: Which) -> Duration {
        match which {
            Which::Cpu => self.cpu,
            Which::Wall => self.wall,
        }
    }
}

/// Both clocks, started at the same time.
#[derive(Debug)]
pub struct Clock {
    wall: Instant,
    cpu: Duration,
}

impl Clock {
    /// Starts both clocks.
    pub fn start() -> Clock {
        let cpu = thread_time();
        Clock { wall: Instant::now(), cpu }
    }

    /// The time since the start.
    pub fn spent(&self) -> Spent {
        let wall = self.wall.elapsed();
        Spent { wall, cpu: thread_time().saturating_sub(self.cpu) }
    }
}

/// The processor time of this thread since it began.
pub fn thread_time() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// The processor time of all threads of this process since it began.
pub fn process_time() -> Duration {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    // Neither part is negative, because the value is a duration.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
