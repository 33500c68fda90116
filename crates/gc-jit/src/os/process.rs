//! Linux: when this process started.

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, SystemTime};

/// The number of the start time among the fields after the command's name in `/proc/PID/stat`, which is
/// the 22nd of all (`proc_pid_stat(5)`).
const START: usize = 22 - 3;

/// A moment up to a second before this process started. A file that was changed earlier is not of this
/// process. The second makes up for the coarse clocks of the system: process numbers do not come back
/// so fast.
pub(crate) fn process_start() -> Result<SystemTime> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
    let ticks = after_name(&stat).context("/proc/self/stat has no start time")?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let started = Duration::from_millis(ticks.saturating_mul(1000) / per_second);
    let now = clock_gettime(ClockId::Boottime);
    let now = Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32);
    let age = now.saturating_sub(started) + Duration::from_secs(1);
    Ok(SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// The start time in a line of `/proc/PID/stat`. The command's name, in parentheses, can have any
/// characters.
fn after_name(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(START)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_commands_are_no_fields() {
        let stat = "7 (a) 1 (b) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 9";
        assert_eq!(after_name(stat), Some(4242));
        assert_eq!(after_name("7 (a) S 1"), None);
    }

    #[test]
    fn the_process_started_a_moment_ago() {
        let start = process_start().unwrap();
        assert!(start < SystemTime::now());
        // Tests do not take a day.
        assert!(start.elapsed().unwrap() < Duration::from_secs(86_400));
    }
}
