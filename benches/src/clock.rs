//! Time by two clocks: that on the wall, and the processor time of this thread, user and
//! system together. Compiled code and all collectors run on the thread that calls them, so
//! that on a machine with other things to do the second says more.

use clap::ValueEnum;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Which of the two a report is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// The processor time of the thread.
    #[default]
    Cpu,
    /// The clock on the wall.
    Wall,
}

impl Which {
    /// What it is called in a report.
    pub fn name(self) -> &'static str {
        match self {
            Which::Cpu => "processor time",
            Which::Wall => "wall-clock time",
        }
    }
}

/// What something took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// By the clock on the wall.
    pub wall: Duration,
    /// Of the processor, by this thread.
    pub cpu: Duration,
}

impl Spent {
    /// By one of the clocks.
    pub fn by(self, which: Which) -> Duration {
        match which {
            Which::Cpu => self.cpu,
            Which::Wall => self.wall,
        }
    }
}

/// Both clocks, running.
#[derive(Debug)]
pub struct Clock {
    wall: Instant,
    cpu: Duration,
}

impl Clock {
    /// Starts them.
    pub fn start() -> Clock {
        let cpu = thread_time();
        Clock { wall: Instant::now(), cpu }
    }

    /// What was spent since.
    pub fn spent(&self) -> Spent {
        let wall = self.wall.elapsed();
        Spent { wall, cpu: thread_time().saturating_sub(self.cpu) }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither part is negative: it is a duration.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
